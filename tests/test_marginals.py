"""Marginals of codes against the prior: closed forms, and the enumerated marginal of lower layers."""

import math

import numpy as np
import pytest
import torch

from symeq_core import exact
from symeq_core.families import FAMILIES
from symeq_core.marginals import (
    PRIOR_SAMPLES,
    correlations,
    distances,
    fitted,
    largest_correlation,
    largest_kl,
    prior_codes,
    prior_layers,
    total_kl,
)

from .harmonium import harmonium
from .test_exact import make_pair


def draws(family, n=500):
    g = torch.Generator().manual_seed(0)
    if family == "bernoulli":
        return torch.bernoulli(torch.tensor([0.1, 0.5, 0.9]).expand(n, 3), generator=g).double()
    if family == "categorical":
        return torch.nn.functional.one_hot(torch.rand(n, 2, 3, generator=g).argmax(2), 3).double()
    return (torch.randn(n, 3, generator=g) * torch.tensor([0.3, 1.0, 2.0]) + 1).double()


@pytest.mark.parametrize("name", ["bernoulli", "categorical", "gaussian"])
def test_the_fitted_marginals_have_the_moments_of_the_codes(name):
    z, family = draws(name), FAMILIES[name]()
    s = fitted(family, z)
    torch.testing.assert_close(family.mean(s)[0], z.mean(0))
    if name == "gaussian":
        torch.testing.assert_close(family.distribution(s).variance[0], z.var(0, correction=0))


@pytest.mark.parametrize(("kind", "latents"), [("bernoulli", "bernoulli:3"), ("categorical", "categorical:2x3")])
def test_unit_kl_of_discrete_codes_is_the_closed_form(kind, latents):
    p, q = make_pair("flat", latents)
    z = draws(kind)
    found = distances(prior_layers(p, q), {"z0": z})["z0"]
    mean = z.mean(0) if kind == "categorical" else torch.stack((z.mean(0), 1 - z.mean(0)), 1)
    truth = (mean * (mean * mean.shape[1]).log()).sum(1)
    torch.testing.assert_close(found.units, truth)
    assert total_kl([found])[0] == pytest.approx(truth.sum().item())


def test_unit_kl_of_gaussian_codes_is_that_of_moment_matched_normals():
    p, q = make_pair("flat", "gaussian:3")
    z = draws("gaussian")
    found = distances(prior_layers(p, q), {"z0": z})["z0"]
    m, v = z.mean(0), z.var(0, correction=0)
    torch.testing.assert_close(found.units, (v + m**2 - 1 - v.log()) / 2)


def test_the_standard_error_is_that_of_repetitions():
    """400 samples of n = 300 biased bits; the stated s.e. is within a tenth of the spread of the values."""
    p, q = make_pair("flat", "bernoulli:3")
    layers = prior_layers(p, q)
    torch.manual_seed(0)
    found = [
        total_kl(
            distances(layers, {"z0": torch.bernoulli(torch.tensor([0.1, 0.2, 0.8]).double().expand(300, 3))}).values()
        )
        for _ in range(400)
    ]
    value, error = torch.tensor(found).T
    assert error.mean().item() == pytest.approx(value.std().item(), rel=0.1)


def test_the_standard_errors_of_the_largest_are_those_of_repetitions():
    """400 samples of n = 300 bits, one of them biased and two linked; within 15% of the spread of the values."""
    p, q = make_pair("flat", "bernoulli:3")
    layers = prior_layers(p, q)
    torch.manual_seed(0)
    found = []
    for _ in range(400):
        z = torch.bernoulli(torch.tensor([0.85, 0.5, 0.5]).expand(300, 3))
        z[:, 2] = torch.where(torch.rand(300) < 0.5, z[:, 1], z[:, 2])
        d = distances(layers, {"z0": z})
        assert largest_kl(d)[0] == "z0[0]"
        found.append((*largest_kl(d)[1:], *largest_correlation(d.values())))
    kl, kl_error, link, link_error = torch.tensor(found).T
    assert link.mean().item() == pytest.approx(0.5, abs=0.02)
    assert kl_error.mean().item() == pytest.approx(kl.std().item(), rel=0.15)
    assert link_error.mean().item() == pytest.approx(link.std().item(), rel=0.15)


def test_correlations_agree_with_numpy_and_leave_out_the_unit_itself():
    bits = draws("bernoulli")
    bits[:, 1] = bits[:, 0]
    found = correlations(bits)
    truth = np.corrcoef(bits.numpy().T) - np.eye(3)
    np.testing.assert_allclose(found.numpy(), truth, atol=1e-12)
    classes = correlations(draws("categorical"))
    assert (classes[:3, :3] == 0).all()
    assert (classes[:3, 3:] != 0).all()


def test_a_unit_that_never_changes_is_correlated_with_none():
    bits = draws("bernoulli")
    bits[:, 0] = 1
    found = correlations(bits)
    assert (found[0] == 0).all()
    assert found[1, 2] != 0


def test_a_lower_layers_marginal_is_estimated_from_the_decoder():
    """PRIOR_SAMPLES codes; means and correlations within 4.5 s.e. of the enumerated ones."""
    p, q = make_pair("reverse", "bernoulli:2 bernoulli:3", seed=1)
    torch.manual_seed(1)
    layers = prior_layers(p, q)
    codes = exact.enumerate_codes(p)
    pi = sum(p.log_probs(codes, ["z0", "z1"]).values()).exp().detach()
    z = codes["z1"]
    mean = pi @ z
    error = (mean * (1 - mean) / PRIOR_SAMPLES).sqrt()
    assert ((layers["z1"].scores[0].sigmoid() - mean).abs() / error).max() < 4.5
    cov = (pi[:, None, None] * (z - mean)[:, :, None] * (z - mean)[:, None]).sum(0)
    truth = cov / (cov.diagonal()[:, None] * cov.diagonal()).sqrt() - torch.eye(3)
    assert (layers["z1"].correlation - truth).abs().max() < 4.5 / math.sqrt(PRIOR_SAMPLES)
    assert truth.abs().max() > 0.1
    assert (layers["z0"].correlation == 0).all()
    assert (layers["z0"].scores == 0).all()


def test_a_prior_of_correlated_units_is_known_by_its_samples():
    """The harmonium's table: fitted means within 4.5 s.e. of the table's."""
    p, q = harmonium()
    torch.manual_seed(2)
    layer = prior_layers(p, q)["z0"]
    codes = exact.enumerate_codes(p)
    mean = p.log_probs(codes, ["z0"])["z0"].exp() @ codes["z0"]
    error = (mean * (1 - mean) / PRIOR_SAMPLES).sqrt()
    assert ((layer.scores[0].sigmoid() - mean).abs() / error).max() < 4.5
    assert layer.correlation.abs().max() > 0.1


def test_prior_codes_draw_no_image(monkeypatch):
    p, _ = make_pair("reverse", "bernoulli:2 bernoulli:3")
    monkeypatch.setattr(p["x"].family, "sample", None)
    assert {k: v.shape for k, v in prior_codes(p, 7).items()} == {"z0": (7, 2), "z1": (7, 3)}
