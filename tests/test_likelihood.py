"""ELBO and importance-weighted bound against the enumerated likelihood."""

import base64
import itertools
import json
import math

import numpy as np
import pytest
import torch

from symeq_core import exact, likelihood
from symeq_core.likelihood import log_mean, log_weights

from .harmonium import harmonium, of_classes
from .test_exact import LABELLED, MODELS, data_distribution, draw_x, make_pair

NAMES = ("ELBO", "importance-weighted bound", "log-likelihood")


def pair_of(name, scale=3.0):
    kind, latents = (MODELS | LABELLED)[name]
    return make_pair(kind, latents, label="categorical:1x3" if name in LABELLED else None, scale=scale)


def truth(p, x):
    """[N] log p(x) out of the table of the joint."""
    s = exact.enumerate_states(p)
    log_p = exact.log_joint(p, s._replace(values={k: v.double() for k, v in s.values.items()})).detach()
    table = torch.full((16,), -math.inf, dtype=torch.float64)
    for i in range(16):
        table[i] = log_p[s.which["x"] == i].logsumexp(0)
    return table[(x.flatten(1).long() * torch.tensor([8, 4, 2, 1])).sum(1)]


@pytest.mark.parametrize("name", [*MODELS, *LABELLED])
def test_the_exact_likelihood_is_that_of_the_joint_table(name):
    p, q = pair_of(name)
    x = draw_x(data_distribution(), 200)
    found = likelihood.figures(p, q, x, samples=5)
    assert found["log-likelihood"]["value"] == pytest.approx(truth(p, x).mean().item(), abs=1e-9)
    assert found["log-likelihood"]["stderr"] == pytest.approx(truth(p, x).std().item() / math.sqrt(200))
    each = np.frombuffer(base64.b64decode(found["log-likelihood"]["each"]), "<f4")
    np.testing.assert_allclose(each, truth(p, x).numpy(), rtol=1e-6)
    assert found["log-likelihood"]["images"] == found["ELBO"]["images"]


@pytest.mark.parametrize("name", [*MODELS, *LABELLED])
def test_bounds_are_ordered_and_tighten_to_the_exact_value(name):
    """n = 200, milder weights; margins of 4 s.e. of paired differences, and K = 1,000 within 0.02 nats."""
    p, q = pair_of(name, scale=1.5)
    x = draw_x(data_distribution(), 200)
    exactly = truth(p, x)
    torch.manual_seed(1)
    log_w = log_weights(p, q, x, 1000)
    gaps = [exactly - log_mean(log_w[:, :k]) for k in (1, 10, 100, 1000)]
    for looser, tighter in itertools.pairwise(gaps):
        assert looser.mean() > tighter.mean() - 4 * (looser - tighter).std() / math.sqrt(200)
        assert tighter.mean() > -4 * tighter.std() / math.sqrt(200)
    elbo = exactly - log_w.mean(1)
    assert elbo.mean() > gaps[1].mean() > gaps[-1].mean()
    assert abs(gaps[-1].mean()) < 0.02


@pytest.mark.parametrize("name", MODELS)
def test_the_elbo_is_the_enumerated_one(name):
    """Each of 16 images, 60 times, 200 codes each; within 4.5 s.e. over these repetitions."""
    p, q = pair_of(name)
    x = exact.values_of(p, "x").double()
    s = exact.enumerate_states(p)
    s = s._replace(values={k: v.double() for k, v in s.values.items()})
    uniform = torch.full((16,), 1 / 16, dtype=torch.float64)
    torch.manual_seed(2)
    each = torch.stack([log_weights(p, q, x, 200).mean(1).mean() for _ in range(60)])
    assert abs(each.mean() - exact.elbo(p, q, s, uniform).detach()) < 4.5 * each.std() / math.sqrt(60)


@pytest.mark.parametrize("make", [harmonium, of_classes])
def test_all_three_are_equal_for_a_consistent_pair(make):
    p, q = make()
    found = likelihood.figures(p, q, p.sample(n=100)["x"], samples=3)
    values = [found[k]["value"] for k in NAMES]
    assert max(values) - min(values) < 1e-9


@pytest.mark.parametrize(
    ("kind", "latents", "label"),
    [
        ("flat", "gaussian:2", None),
        ("ladder", "gaussian:1 bernoulli:3", None),
        ("reverse", "bernoulli:10 bernoulli:8", None),
        ("flat", "gaussian:1", "categorical:1x3"),
    ],
)
def test_what_can_not_be_enumerated_says_so_and_is_bounded(kind, latents, label):
    p, q = make_pair(kind, latents, label)
    found = likelihood.figures(p, q, p.sample(n=100)["x"])
    assert json.loads(json.dumps(found)) == found
    assert found["log-likelihood"]["value"] is None
    assert "enumerated" in found["log-likelihood"]["reason"]
    assert found["ELBO"]["value"] < found["importance-weighted bound"]["value"]
    assert found["ELBO"]["bound"] == found["importance-weighted bound"]["bound"] == "lower"
    assert found["importance-weighted bound"]["K"] == 1000


def test_a_gaussian_pair_agrees_with_quadrature():
    """log p(x) = log E_pi(z) p(x|z), on a fine grid of z; n = 100 images, K = 2,000; within 0.02 nats."""
    p, q = make_pair("flat", "gaussian:1", scale=1.5)
    x = draw_x(data_distribution(), 100)
    grid = torch.linspace(-8, 8, 4001, dtype=torch.float64)[:, None]
    log_p = exact.log_p_of_codes(p, {"z0": grid}, x)
    exactly = log_p.logsumexp(1) + math.log(16 / 4000)
    found = likelihood.figures(p, q, x, samples=2000)["importance-weighted bound"]
    assert found["value"] == pytest.approx(exactly.mean().item(), abs=0.02)


def test_an_implicit_prior_has_no_likelihood():
    p, q = harmonium(implicit=True)
    found = likelihood.figures(p, q, p.sample(n=10)["x"])
    assert set(found) == set(NAMES)
    assert all(f["value"] is None and "density" in f["reason"] for f in found.values())


def test_the_same_seed_gives_the_same_numbers_and_other_parts_agree(monkeypatch):
    """Parts of 8,192 and of 64 rows, n = 300 and K = 20: within 4.5 combined s.e. over codes, here 0.05 nats."""
    p, q = make_pair("reverse", "bernoulli:10 bernoulli:8")
    x = p.sample(n=300)["x"]
    torch.manual_seed(0)
    state = torch.get_rng_state()
    a, b = (likelihood.figures(p, q, x, seed=1, samples=20) for _ in range(2))
    assert torch.equal(state, torch.get_rng_state())
    assert a == b
    monkeypatch.setattr(likelihood, "ROWS", 64)
    c = likelihood.figures(p, q, x, seed=1, samples=20)
    assert c["ELBO"]["value"] != a["ELBO"]["value"]
    for name in NAMES[:2]:
        assert c[name]["value"] == pytest.approx(a[name]["value"], abs=math.hypot(a[name]["stderr"], c[name]["stderr"]))


def test_at_most_the_limit_of_images_is_used_and_progress_told():
    p, q = harmonium()
    seen = []
    found = likelihood.figures(p, q, p.sample(n=100)["x"], limit=30, progress=lambda *a: seen.append(a))
    assert {f["n"] for f in found.values()} == {30}
    assert seen[-1] == ("importance-weighted bound", 1.0)
