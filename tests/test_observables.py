"""The pooled autocorrelation, its error, and what an observable says where nothing varies."""

import numpy as np
import pytest
import torch

from symeq_core.marginals import correlation
from symeq_core.observables import Memory, group


def test_the_correlation_of_single_entries_is_pearsons():
    g = torch.Generator().manual_seed(0)
    a = torch.randn(200, 1, generator=g)
    b = a + torch.randn(200, 1, generator=g)
    assert correlation(a, b)[0] == pytest.approx(np.corrcoef(a[:, 0], b[:, 0])[0, 1], abs=1e-6)
    assert correlation(a, a)[0] == pytest.approx(1)
    assert correlation(a, -a)[0] == pytest.approx(-1)


def test_the_delta_methods_error_is_that_of_repetitions():
    """400 repetitions of n = 200; the mean stated s.e. is within a tenth of the spread."""
    g = torch.Generator().manual_seed(1)
    a = torch.randn(400, 200, 3, generator=g) * torch.tensor([1.0, 2.0, 0.5])
    b = 0.7 * a + torch.randn(400, 200, 3, generator=g)
    value, error = torch.tensor([correlation(a[i], b[i]) for i in range(400)]).T
    assert error.mean().item() == pytest.approx(value.std().item(), rel=0.1)


def test_where_nothing_varies_there_is_no_correlation():
    assert correlation(torch.ones(5, 2), torch.rand(5, 2)) == (None, None)
    memory = Memory(torch.ones(5, 1, 2, 2), ("z0",))
    memory.at(0, {"z0": torch.rand(5, 3)}, torch.rand(5, 1, 2, 2))
    found = memory.result()
    assert found["pixel_autocorrelation"]["value"] == [None]
    assert found["latent_autocorrelation"]["value"] == [pytest.approx(1)]


def test_a_group_with_a_reason_keeps_its_columns_empty():
    assert group("u", "m", "because", value=1) == {"value": None, "unit": "u", "meaning": "m", "reason": "because"}
