"""Consistency against enumeration: harmoniums score zero, a broken pair is ranked worse by every figure."""

import json
import math

import pytest
import torch

from symeq_core import consistency, exact
from symeq_core.consistency import figures, on_data, on_dreams

from .harmonium import Halves, broken, harmonium, of_classes
from .test_exact import LABELLED, MODELS, data_distribution, draw_x, make_pair
from .test_likelihood import pair_of

FIELDS = {"value", "stderr", "n", "unit", "meaning", "bound", "better", "seed"}


@pytest.mark.parametrize("name", [*MODELS, *LABELLED])
def test_inconsistency_on_data_is_that_of_the_joint_table(name):
    """E_pi(x) KL(q || p) = E_pi(x) log p(x) - ELBO, both enumerated; every image equally often."""
    p, q = pair_of(name)
    s = exact.enumerate_states(p)
    s = s._replace(values={k: v.double() for k, v in s.values.items()})
    x, uniform = exact.values_of(p, "x").double(), torch.full((16,), 1 / 16, dtype=torch.float64)
    log_p = exact.log_joint(p, s).detach()
    evidence = torch.stack([log_p[s.which["x"] == i].logsumexp(0) for i in range(16)]).mean()
    truth = (evidence - exact.elbo(p, q, s, uniform)).item()
    assert on_data(p, q, x, 10, 0)["inconsistency on data"]["value"] == pytest.approx(truth, abs=1e-9)


@pytest.mark.parametrize("name", [*MODELS, *LABELLED])
def test_inconsistency_on_dreams_is_that_of_the_joint_table(name):
    """n = 4,000 dreams; within 4.5 s.e. of the enumerated E_p(x, z) log p(z|x) / q(z|x)."""
    p, q = pair_of(name)
    s = exact.enumerate_states(p)
    s = s._replace(values={k: v.double() for k, v in s.values.items()})
    log_p, log_q = exact.log_joint(p, s).detach(), exact.log_joint(q, s).detach()
    of_x = torch.stack([log_p[s.which["x"] == i].logsumexp(0) for i in range(16)])
    truth = (log_p.exp() * (log_p - of_x[s.which["x"]] - log_q)).sum().item()
    torch.manual_seed(1)
    found = on_dreams(p, q, 4000, 10, 0)["inconsistency on dreams"]
    assert abs(found["value"] - truth) < 4.5 * found["stderr"]


@pytest.mark.parametrize("name", ["flat-bits", "ladder-2", "reverse-3", "flat-label"])
def test_bounds_lie_on_their_sides_of_the_exact_values(name, monkeypatch):
    """n = 1,000 images, milder weights; K = 5 and 200: within 4 combined s.e., and tight within 0.03 nats at 200."""
    p, q = pair_of(name, scale=1.5)
    x = draw_x(data_distribution(), 1000)
    torch.manual_seed(2)
    data = on_data(p, q, x, 1, 0)["inconsistency on data"]["value"]
    dreams = on_dreams(p, q, 1000, 1, 0)["inconsistency on dreams"]
    monkeypatch.setattr(exact, "MAX_CODE_BITS", 0.0)
    loose, tight = (on_data(p, q, x, k, 0)["inconsistency on data"] for k in (5, 200))
    assert loose["bound"] == tight["bound"] == "lower"
    assert loose["value"] < tight["value"]
    assert tight["value"] == pytest.approx(data, abs=0.03)
    for k in (5, 200):
        found = on_dreams(p, q, 1000, k, 0)
        above, below = found["inconsistency on dreams"], found["inconsistency on dreams, at least"]
        assert (above["bound"], below["bound"]) == ("upper", "lower")
        assert below["value"] < above["value"]
        error = 4 * math.hypot(above["stderr"], dreams["stderr"])
        assert below["value"] - error < dreams["value"] < above["value"] + error
    assert above["value"] - below["value"] < 0.03


@pytest.mark.parametrize("make", [harmonium, of_classes])
@pytest.mark.parametrize("enumerated", [True, False])
def test_a_consistent_pair_scores_zero(make, enumerated, monkeypatch):
    p, q = make()
    if not enumerated:
        monkeypatch.setattr(exact, "MAX_CODE_BITS", 0.0)
    found = on_data(p, q, p.sample(n=200)["x"], 10, 0) | on_dreams(p, q, 200, 10, 0)
    assert len(found) == (2 if enumerated else 3)
    assert all(abs(f["value"]) < 1e-9 for f in found.values())


@pytest.fixture(scope="module")
def both():
    """Figures of the harmonium and of the same with its encoder's units exchanged; 6,000 images, seed 0."""
    torch.set_num_threads(1)
    p, q = harmonium()
    torch.manual_seed(3)
    x = p.sample(n=6000)["x"]
    return tuple(figures(*pair, x, None, Halves(), limit=6000, chains=6000) for pair in ((p, q), broken()))


def test_a_broken_pair_is_ranked_worse_by_every_figure_of_consistency(both):
    """Beyond 4 combined s.e."""
    good, bad = both
    ranked = [k for k, f in good.items() if f["better"] is not None]
    assert len(ranked) == 12
    for k in ranked:
        sign = 1 if good[k]["better"] == "lower" else -1
        worse = sign * (bad[k]["value"] - good[k]["value"])
        assert worse > 4 * math.hypot(good[k]["stderr"], bad[k]["stderr"]), k


def test_a_consistent_pair_is_at_its_floors(both):
    """n = 6,000: 2 n KL is about chi-square of 3 d.f.; correlations within 5 / sqrt(n)."""
    good, _ = both
    for k in ("unit KL", "drift after 1000"):
        assert good[k]["value"] * 2 * 6000 < 30
    for k in ("largest correlation", "correlation after 1000"):
        assert good[k]["value"] < 5 / math.sqrt(6000)


def test_every_figure_says_what_it_is(both):
    for found in both:
        assert json.loads(json.dumps(found, allow_nan=False)) == found
        for name, f in found.items():
            assert set(f) >= FIELDS, name
            assert f["meaning"]
            assert (f["value"] is None) == ("reason" in f)


@pytest.mark.parametrize(
    ("kind", "latents", "label"),
    [
        ("flat", "gaussian:2", None),
        ("ladder", "bernoulli:10 bernoulli:8", None),
        ("reverse", "gaussian:1 categorical:2x3", None),
        ("ladder", "bernoulli:9 bernoulli:8", "categorical:1x3"),
    ],
)
def test_every_kind_of_pair_has_its_figures(kind, latents, label):
    p, q = make_pair(kind, latents, label)
    seen = []
    x = p.sample(n=60)["x"]
    found = figures(p, q, x, chains=50, samples=20, progress=lambda *a: seen.append(a))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["inconsistency on data"]["bound"] == "lower"
    assert found["inconsistency on dreams"]["bound"] == "upper"
    assert found["label retention after 10"]["value"] is None
    assert "classifier" in found["label retention after 10"]["reason"]
    assert {what for what, _ in seen} == {"inconsistency on data", "inconsistency on dreams", "round trips"}


def test_an_implicit_prior_leaves_out_what_needs_its_density():
    p, q = harmonium(implicit=True)
    found = figures(p, q, p.sample(n=60)["x"], None, Halves(), chains=50)
    none = {k for k, f in found.items() if f["value"] is None}
    assert none == {"inconsistency on data", "inconsistency on dreams", "aggregated KL"}


def test_the_same_seed_gives_the_same_numbers_and_disturbs_nobody():
    p, q = make_pair("ladder", "bernoulli:10 bernoulli:8")
    x = p.sample(n=60)["x"]
    torch.manual_seed(0)
    state = torch.get_rng_state()
    a, b = (figures(p, q, x, chains=50, samples=20, seed=5) for _ in range(2))
    assert torch.equal(state, torch.get_rng_state())
    assert a == b


def test_a_chain_that_is_known_is_not_run_again(monkeypatch):
    p, q = harmonium()
    x = p.sample(n=60)["x"]
    chain = consistency.chain_statistics(p, q, x, None, Halves(), ks=(0, 1, 10))
    monkeypatch.setattr(consistency, "chain_statistics", None)
    found = figures(p, q, x, None, Halves(), chain=chain)
    assert found["label retention after 10"]["value"] == chain["retention"]["value"][2]
    assert "not looked at" in found["label retention after 100"]["reason"]
    assert found["drift after 10"]["floor"] == chain["prior_drift"]["floor"]
