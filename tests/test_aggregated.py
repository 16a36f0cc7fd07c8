"""The aggregated posterior and information against enumeration and quadrature."""

import math

import numpy as np
import pytest
import torch

from symeq_core import exact
from symeq_core.aggregated import aggregated, information

from .harmonium import broken, harmonium
from .test_exact import make_pair

PAIRS = {
    "flat": ("flat", "bernoulli:3", None),
    "classes": ("flat", "categorical:2x3", None),
    "ladder": ("ladder", "bernoulli:2 bernoulli:2", None),
    "reverse": ("reverse", "bernoulli:2 categorical:1x3", None),
    "labelled": ("flat", "bernoulli:2", "categorical:1x3"),
}


@pytest.fixture(params=PAIRS)
def tables(request):
    """A pair, its 16 images and the table q(z|x) [16, S]."""
    kind, latents, label = PAIRS[request.param]
    p, q = make_pair(kind, latents, label)
    x = exact.values_of(p, "x").double()
    states = exact.enumerate_states(p)
    log_q = exact.log_joint(q, states._replace(values={k: v.double() for k, v in states.values.items()}))
    return p, q, x, log_q.detach().reshape(-1, 16).T.exp()


def entropy(prob):
    return -torch.special.xlogy(prob, prob).sum(-1)


def test_mutual_information_is_that_of_the_table(tables):
    p, q, x, q_z = tables
    truth = entropy(q_z.mean(0)) - entropy(q_z).mean()
    found = information(p, q, x, 0)["mutual information"]
    assert found["value"] == pytest.approx(truth.item(), abs=1e-9)
    assert found["bound"] == "lower"


def test_sampled_mutual_information_agrees_with_the_enumerated(tables, monkeypatch):
    """16 images, 100 times each so that the mixture is theirs: within 4.5 s.e. of n = 1,600 codes."""
    p, q, x, q_z = tables
    truth = entropy(q_z.mean(0)) - entropy(q_z).mean()
    monkeypatch.setattr(exact, "MAX_CODE_BITS", 0.0)
    torch.manual_seed(1)
    found = information(p, q, x.repeat(100, 1, 1, 1), 0)["mutual information"]
    assert abs(found["value"] - truth) < 4.5 * found["stderr"]


def test_unit_information_is_that_of_each_units_table(tables):
    p, q, x, q_z = tables
    codes, found = exact.enumerate_codes(p), information(p, q, x, 0)["unit information"]
    for name, values in found["units"].items():
        for i, value in enumerate(values):
            unit = codes[name][:, i]
            hot = unit.reshape(len(unit), -1) if unit.dim() == 2 else torch.stack((unit, 1 - unit), 1)
            of_unit = q_z @ hot  # [16, values of the unit]
            assert value == pytest.approx((entropy(of_unit.mean(0)) - entropy(of_unit).mean()).item(), abs=1e-9)
    assert found["value"] == pytest.approx(sum(map(sum, found["units"].values())))
    left_out = set(q.names) - set(found["units"])
    assert all(name in found["meaning"] for name in left_out)


def test_information_of_gaussian_units_agrees_with_quadrature():
    """16 images, 100 times each; log of the mixture on a grid; within 4.5 s.e. of n = 1,600 codes."""
    p, q = make_pair("flat", "gaussian:1")
    x = exact.values_of(p, "x").double()
    grid = torch.linspace(-60, 60, 60_001, dtype=torch.float64)[:, None]
    each = exact.log_q_of_codes(q, {"z0": grid}, x).exp()
    step = 120 / 60_000
    truth = ((entropy(each.mean(0)) - entropy(each).mean()) * step).item()
    assert each.sum(1).mul(step).sub(1).abs().max() < 1e-6
    torch.manual_seed(2)
    found = information(p, q, x.repeat(100, 1, 1, 1), 0)
    for name in ("unit information", "mutual information"):
        assert abs(found[name]["value"] - truth) < 4.5 * found[name]["stderr"]
    assert truth > 0.1


def test_aggregated_kl_is_that_of_the_table(tables):
    p, q, x, q_z = tables
    codes = exact.enumerate_codes(p)
    prior = sum(p.log_probs(codes, list(codes)).values()).exp().detach()
    mixture = q_z.mean(0)
    truth = (mixture * (mixture / prior).log()).sum().item()
    found = aggregated(p, q, x, 0)["aggregated KL"]
    assert found["value"] == pytest.approx(truth, abs=1e-9)
    assert found["bound"] == "upper"


def test_a_finite_sample_bounds_the_aggregated_kl_from_above():
    """40 draws of n = 50 images from a harmonium, whose aggregated KL is zero: positive, and less with n = 1,000."""
    p, q = harmonium()
    torch.manual_seed(3)
    x = p.sample(n=2000)["x"]

    def mean(n):
        return np.mean([aggregated(p, q, part, 0)["aggregated KL"]["value"] for part in x.split(n)])

    few, many = mean(50), mean(1000)
    assert few > many > 0
    assert many < 0.01


def test_unit_kl_and_correlation_see_a_broken_encoder_and_no_consistent_one():
    """n = 2,000: 2 n KL is about chi-square of 3 d.f.; correlations within 5 / sqrt(n)."""
    p, q = harmonium()
    torch.manual_seed(4)
    x = p.sample(n=2000)["x"]
    good, bad = aggregated(p, q, x, 0), aggregated(*broken(), x, 0)
    assert good["unit KL"]["value"] * 4000 < 30
    assert good["largest correlation"]["value"] < 5 / math.sqrt(2000)
    assert bad["largest correlation"]["value"] > 5 / math.sqrt(2000)
    for k in ("unit KL", "largest unit KL", "aggregated KL"):
        assert bad[k]["value"] > 10 * good[k]["value"], k
    assert len(good["unit KL"]["units"]["z0"]) == 3
    assert max(bad["unit KL"]["units"]["z0"]) == pytest.approx(bad["largest unit KL"]["value"])
