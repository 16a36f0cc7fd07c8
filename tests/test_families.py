"""Every family against torch.distributions (and scipy) in their own parametrisation: mean, variance, probabilities."""

import math

import pytest
import scipy.stats
import torch
from torch import distributions as D

from symeq_core.families import FAMILIES, Bernoulli, Categorical, Gaussian, GaussianScale

B = 5
EVENTS = {"bernoulli": (2, 3), "categorical": (3, 4), "gaussian": (4,), "gaussian-scale": (1, 2, 2)}


def raw_scores(family, name, seed=0):
    g = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(B, *family.score_shape(EVENTS[name]), generator=g, dtype=torch.float64)


@pytest.fixture(params=FAMILIES)
def case(request):
    """(family, scores, the same distribution by torch.distributions from means and probabilities)."""
    family = FAMILIES[request.param]().double()
    if isinstance(family, GaussianScale):
        with torch.no_grad():
            family.log_sigma.fill_(-0.3)
    raw = raw_scores(family, request.param)
    s = family.natural(raw)
    return family, s, reference(family, raw, s)


def reference(family, raw, s):
    if isinstance(family, Bernoulli):
        return D.Independent(D.Bernoulli(probs=1 / (1 + (-s).exp())), 2)
    if isinstance(family, Categorical):
        odds = s.exp()
        return D.Independent(D.OneHotCategorical(probs=odds / odds.sum(-1, keepdim=True)), 1)
    if isinstance(family, GaussianScale):
        return D.Independent(D.Normal(raw, torch.tensor(math.exp(-0.3), dtype=torch.float64)), 3)
    precision = 2 * (raw[:, 1].exp().log1p() + 1e-6)
    return D.Independent(D.Normal(raw[:, 0] / precision, precision.rsqrt()), 1)


def test_log_prob(case):
    family, s, ref = case
    v = ref.sample()
    assert family.log_prob(s, v).shape == (B,)
    torch.testing.assert_close(family.log_prob(s, v), ref.log_prob(v))


def test_mean(case):
    family, s, ref = case
    torch.testing.assert_close(family.mean(s), ref.mean)


def test_kl(case):
    family, s, ref = case
    t = s.flip(0)
    expected = D.kl_divergence(ref.base_dist, type(ref.base_dist)(**flipped(ref.base_dist)))
    torch.testing.assert_close(family.kl(s, t), expected.flatten(1).sum(1))
    torch.testing.assert_close(family.kl(s, s), torch.zeros(B, dtype=torch.float64), atol=1e-12, rtol=0)


def flipped(base):
    if isinstance(base, D.Normal):
        return {"loc": base.loc.flip(0), "scale": base.scale.flip(0)}
    return {"probs": base.probs.flip(0)}


@pytest.mark.parametrize("draw", ["sample", "rsample"])
def test_samples_have_the_right_moments(case, draw):
    """n = 20,000 samples: mean and variance of every unit within 5 s.e. (the variance's s.e. from fourth moments)."""
    family, s, ref = case
    n = 20_000
    torch.manual_seed(1)
    one = s[:1].expand(n, *s.shape[1:])
    v = getattr(family, draw)(one)
    mean, variance = ref.mean[0], ref.variance[0]
    assert ((v.mean(0) - mean).abs() < 5 * (variance / n).sqrt() + 1e-12).all()
    fourth = ((v - v.mean(0)) ** 4).mean(0)
    error = ((fourth - variance**2).clamp_min(0) / n).sqrt()
    assert ((v.var(0) - variance).abs() < 5 * error + 5e-4).all()


def test_sample_is_never_differentiable_and_rsample_is(case):
    family, s, _ = case
    s = s.detach().requires_grad_()
    assert not family.sample(s).requires_grad
    v = family.rsample(s)
    grad = torch.autograd.grad((v**2).sum(), s)[0]
    assert grad.isfinite().all()
    assert grad.norm() > 0


def test_values_are_legal(case):
    family, s, _ = case
    v = family.sample(s)
    if isinstance(family, Bernoulli):
        assert set(v.unique().tolist()) <= {0.0, 1.0}
    if isinstance(family, Categorical):
        assert set(v.unique().tolist()) == {0.0, 1.0}
        assert (v.sum(-1) == 1).all()


def test_scores_of_parents_add(case):
    """A sum of valid scores is valid, and its density is proportional to the product of the densities."""
    family, s, ref = case
    total = s + s.flip(0)
    a, b = ref.sample(), ref.sample()
    assert family.log_prob(total, a).isfinite().all()

    def ratio(scores):
        return family.log_prob(scores, a) - family.log_prob(scores, b)

    torch.testing.assert_close(ratio(total), ratio(s) + ratio(s.flip(0)))


def test_log_prob_of_scipy():
    s = torch.tensor([[0.3, -1.2]], dtype=torch.float64)
    assert Bernoulli().log_prob(s, torch.tensor([[1.0, 0.0]], dtype=torch.float64)).item() == pytest.approx(
        scipy.stats.bernoulli.logpmf(1, scipy.special.expit(0.3))
        + scipy.stats.bernoulli.logpmf(0, scipy.special.expit(-1.2))
    )
    mean, sd = 0.7, 1.9
    scores = torch.tensor([[[mean / sd**2], [-0.5 / sd**2]]], dtype=torch.float64)
    value = torch.tensor([[-0.4]], dtype=torch.float64)
    assert Gaussian().log_prob(scores, value).item() == pytest.approx(scipy.stats.norm.logpdf(-0.4, mean, sd))


@pytest.mark.parametrize("name", ["bernoulli", "categorical"])
@pytest.mark.parametrize("t", [-200.0, -18.0, 18.0, 200.0])
def test_kl_of_extreme_scores(name, t):
    """float32 value and gradient against float64, where probabilities round to 0 or 1; for one bit or two classes."""

    def kl(dtype):
        if name == "bernoulli":
            s, other = torch.zeros(1, 1, dtype=dtype), torch.full((1, 1), t, dtype=dtype)
        else:
            s, other = torch.zeros(1, 1, 2, dtype=dtype), torch.tensor([[[t, 0.0]]], dtype=dtype)
        s.requires_grad_()
        value = FAMILIES[name]().kl(s, other)
        return value.item(), torch.autograd.grad(value.sum(), s)[0].flatten()[0].item()

    truth = 0.5 * abs(t) - math.log(2) + math.log1p(math.exp(-abs(t)))  # KL(Bernoulli(1/2) || Bernoulli(sigmoid(t)))
    assert kl(torch.float64) == pytest.approx((truth, -t / 4))
    assert kl(torch.float32) == pytest.approx(kl(torch.float64), rel=1e-5)


@pytest.mark.parametrize("name", ["gaussian", "gaussian-scale"])
@pytest.mark.parametrize("extreme", [-200.0, 200.0])
def test_extreme_network_outputs_stay_proper(name, extreme):
    family = FAMILIES[name]()
    s = family.natural(torch.full((1, *family.score_shape((3,))), extreme))
    assert family.log_prob(s, torch.zeros(1, 3)).isfinite().all()
    assert family.sample(s).isfinite().all()


@pytest.mark.parametrize("name", ["bernoulli", "categorical"])
def test_extreme_scores_stay_finite(name):
    family = FAMILIES[name]()
    s = torch.tensor([[[90.0, -90.0]]])
    v = family.sample(s)
    assert v.tolist() == [[[1.0, 0.0]]]
    assert family.log_prob(s, v).item() == pytest.approx(0, abs=1e-6)
    assert family.log_prob(s, 1 - v).isfinite().all()
