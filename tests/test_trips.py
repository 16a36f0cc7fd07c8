"""Chain statistics against powers of the enumerated transition matrix, and the limiting distribution of harmoniums."""

import json
import math

import pytest
import torch

from symeq_core import exact
from symeq_core.errors import UsageError
from symeq_core.models import latents_of
from symeq_core.trips import _walk, chain_statistics

from .harmonium import Halves, harmonium, of_classes
from .test_exact import make_pair

KS = (0, 1, 3, 10)
GROUPS = {
    "frechet",
    "retention",
    "classes",
    "effective_classes",
    "pixel_autocorrelation",
    "latent_autocorrelation",
    "prior_drift",
    "prior_correlation",
    "transitions",
}


class TopRow:
    """Two classes by the brightness of the first pixel of a 2 x 2 image."""

    def features(self, x):
        return x.flatten(1)

    def probabilities(self, x):
        on = x.flatten(1)[:, 0]
        return torch.stack((1 - on, on), 1)


def tables(p, q):
    """(images [X, ...], codes [S, ...], q(z|x) [X, S], p(x|z) [S, X])."""
    x = exact.values_of(p, "x").double()
    codes = exact.enumerate_codes(p)
    q_z = exact.log_q_of_codes(q, codes, x).exp()
    log_p = exact.log_p_of_codes(p, codes, x)
    return x, codes, q_z, log_p.softmax(0).T


@pytest.fixture(scope="module")
def tiny():
    """A pair of 3 bits and 4 pixels, 4,000 starting images, and the statistics of their chains (seed 3)."""
    torch.set_num_threads(1)
    p, q = make_pair("flat", "bernoulli:3", seed=4)
    images = exact.values_of(p, "x").double()
    pi = torch.rand(16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    index = pi.multinomial(4000, replacement=True, generator=torch.Generator().manual_seed(2))
    found = chain_statistics(p, q, images[index], None, TopRow(), ks=KS, seed=3, chains=4000)
    return p, q, index, found


def near(value, error, truth, at_most=4.5):
    assert abs(value - truth) <= at_most * error + 1e-9, (value, error, truth)


def correlation(joint, a, b):
    """The pooled correlation of tables a [A, D] and b [B, D] under joint [A, B]."""
    p_a, p_b = joint.sum(1), joint.sum(0)
    a, b = a - p_a @ a, b - p_b @ b
    cov = (joint[:, :, None] * a[:, None] * b[None]).sum()
    return (cov / ((p_a @ a**2).sum() * (p_b @ b**2).sum()).sqrt()).item()


def test_statistics_agree_with_powers_of_the_transition_matrix(tiny):
    """n = 4,000 chains; within 4.5 s.e. of the figure's own standard error, the drift's bias included."""
    p, q, index, found = tiny
    images, codes, q_z, p_x = tables(p, q)
    pi = torch.bincount(index, minlength=16).double() / len(index)
    step, means = p_x @ q_z, p_x @ images.flatten(1)
    origin, shown = images.flatten(1)[:, 0] > 0.5, means[:, 0] > 0.5
    z = codes["z0"]
    for i, k in enumerate(KS):
        power = torch.linalg.matrix_power(step, k)
        joint = pi[:, None] * (q_z @ power)  # [start image, code at k]
        codes_joint = (pi @ q_z)[:, None] * power  # [code at 0, code at k]
        same = (joint * (origin[:, None] == shown[None])).sum().item()
        now = joint.sum(0)
        share = torch.stack((now[~shown].sum(), now[shown].sum()))
        effective = (-torch.special.xlogy(share, share).sum()).exp().item()
        truths = {
            "retention": same,
            "effective_classes": effective,
            "pixel_autocorrelation": correlation(joint, images.flatten(1), means),
            "latent_autocorrelation": correlation(codes_joint, z, z),
        }
        for name, truth in truths.items():
            near(found[name]["value"][i], found[name]["stderr"][i], truth)
        m = now @ z
        drift = (m * (m / 0.5).log() + (1 - m) * ((1 - m) / 0.5).log()).sum().item()
        near(found["prior_drift"]["value"][i], found["prior_drift"]["stderr"][i] + 3 / (2 * 4000), drift)
        centred = z - m
        cov = (now[:, None, None] * centred[:, :, None] * centred[:, None]).sum(0)
        scale = cov.diagonal().sqrt()
        largest = (cov / scale[:, None] / scale[None] - torch.eye(3)).abs().max().item()
        near(found["prior_correlation"]["value"][i], 1 / math.sqrt(4000), largest)


def test_transition_counts_agree_with_the_exact_matrix(tiny):
    """n = 4,000 chains; each entry within 4.5 binomial s.e."""
    p, q, index, found = tiny
    images, _, q_z, p_x = tables(p, q)
    pi = torch.bincount(index, minlength=16).double() / len(index)
    step, shown = p_x @ q_z, (p_x @ images.flatten(1))[:, 0] > 0.5
    origin = images.flatten(1)[:, 0] > 0.5
    assert found["transitions"]["ks"] == [1, 10]
    for i, k in enumerate((1, 10)):
        joint = pi[:, None] * (q_z @ torch.linalg.matrix_power(step, k))
        for a in (False, True):
            row = joint[origin == a].sum(0)
            n = sum(found["transitions"]["counts"][i][int(a)])
            assert n == (origin[index] == a).sum()
            truth = (row[shown].sum() / row.sum()).item()
            value = found["transitions"]["fraction"][i][int(a)][1]
            near(value, math.sqrt(truth * (1 - truth) / n), truth)


@pytest.mark.parametrize("make", [harmonium, of_classes])
def test_the_prior_of_a_harmonium_is_stationary(make):
    p, q = make()
    _, codes, q_z, p_x = tables(p, q)
    pi = p.log_probs(codes, ["z0"])["z0"].exp().detach()
    torch.testing.assert_close(pi @ p_x @ q_z, pi, atol=1e-12, rtol=0)
    of_x = pi @ p_x
    torch.testing.assert_close(of_x @ q_z @ p_x, of_x, atol=1e-12, rtol=0)


def test_the_limiting_distribution_of_a_harmonium_is_its_marginal():
    """n = 4,000 chains of 60 trips from noise; chi-square of the codes (3 d.f.) and of the images within 5 s.d."""
    p, q = of_classes()
    _, codes, _, p_x = tables(p, q)
    pi = p.log_probs(codes, ["z0"])["z0"].exp().detach()
    torch.manual_seed(5)
    n = 4000
    noise = torch.bernoulli(torch.full((n, 1, 2, 4), 0.5, dtype=torch.float64))
    *_, parts = _walk(p, q, {"x": noise}, 60, 1000)
    z = torch.cat([v["z0"] for v in parts])
    counts = z[:, 0].sum(0)
    chi2 = ((counts - n * pi) ** 2 / (n * pi)).sum().item()
    assert chi2 < 3 + 5 * math.sqrt(6)
    x = p.sample({"z0": z})["x"].flatten(1)
    mean = pi @ p_x @ exact.values_of(p, "x").double().flatten(1)
    assert ((x.mean(0) - mean).abs() / (mean * (1 - mean) / n).sqrt()).max() < 5


def test_the_chains_of_a_harmonium_stay_at_the_prior():
    """n = 2,000; 2 n KL is about chi-square of 3 d.f.: at most 30; correlations within 5 / sqrt(n)."""
    p, q = harmonium()
    x = p.sample(n=2000)["x"]
    for start in ("test", "prior"):
        found = chain_statistics(p, q, x, None, Halves(), ks=(0, 1, 20), start=start, chains=2000)
        assert max(found["prior_drift"]["value"]) * 2 * 2000 < 30
        assert max(found["prior_correlation"]["value"]) < 5 / math.sqrt(2000)


def timeless(found):
    return {k: v for k, v in found.items() if k not in ("seconds", "round_trips_per_second")}


@pytest.mark.parametrize("start", ["test", "noise", "prior"])
def test_the_same_seed_gives_the_same_numbers_and_disturbs_nobody(start):
    p, q = harmonium()
    x = p.sample(n=300)["x"]
    torch.manual_seed(0)
    state = torch.get_rng_state()
    a, b, c = (
        chain_statistics(p, q, x, None, Halves(), ks=(0, 1, 5), seed=s, start=start, chains=200) for s in (1, 1, 2)
    )
    assert torch.equal(state, torch.get_rng_state())
    assert timeless(a) == timeless(b)
    assert a["prior_drift"]["value"] != c["prior_drift"]["value"]


def test_batches_of_another_size_agree_within_the_stated_error():
    """n = 1,000 chains, batches of 70 and of 1,000; within 4.5 combined s.e."""
    p, q = make_pair("flat", "bernoulli:3", seed=4)
    x = p.sample(n=1000)["x"]
    a, b = (chain_statistics(p, q, x, None, TopRow(), ks=KS, batch=size) for size in (70, 1000))
    for name in ("retention", "latent_autocorrelation", "pixel_autocorrelation", "prior_drift", "effective_classes"):
        for i in range(1, len(KS)):
            error = math.hypot(a[name]["stderr"][i], b[name]["stderr"][i]) + 3 / 2000
            near(a[name]["value"][i], error, b[name]["value"][i])


MODELS = {
    "classes": ("flat", "categorical:2x3", None),
    "plane": ("flat", "gaussian:2", None),
    "ladder": ("ladder", "bernoulli:2 gaussian:2", None),
    "reverse": ("reverse", "bernoulli:2 bernoulli:3", None),
    "labelled": ("ladder", "bernoulli:1 bernoulli:2", "categorical:1x3"),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("start", ["test", "noise", "prior"])
def test_every_kind_of_pair_gives_the_documented_json(name, start):
    kind, latents, label = MODELS[name]
    p, q = make_pair(kind, latents, label)
    x = p.sample(n=40)["x"]
    seen = []
    found = chain_statistics(p, q, x, None, TopRow(), ks=(2, 0, 1), start=start, progress=lambda *a: seen.append(a))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["n"] == 40
    assert found["ks"] == [0, 1, 2]
    assert found["latents"] == list(latents_of(p))
    assert seen[-1] == ("round trips", 1.0)
    for group in GROUPS:
        g = found[group]
        assert g["unit"]
        assert g["meaning"]
        if g["reason"] is None and "value" in g:
            assert len(g["value"]) == 3
    undefined = {k for k in GROUPS if found[k]["reason"] is not None}
    assert undefined == ({"retention", "transitions"} if start == "noise" else set())
    assert set(found["prior_drift"]["layers"]) == set(found["latents"])
    if start == "prior":
        assert found["retention"]["value"][0] == 1


def test_without_a_classifier_its_statistics_are_left_out_with_a_reason():
    p, q = harmonium()
    found = chain_statistics(p, q, p.sample(n=20)["x"], ks=(0, 1))
    undefined = {k for k in GROUPS if found[k]["reason"] is not None}
    assert undefined == {"frechet", "retention", "classes", "effective_classes", "transitions"}
    assert all(found[k]["value"] is None for k in undefined - {"transitions"})
    assert found["transitions"]["counts"] is None


def test_an_implicit_prior_is_compared_by_its_samples():
    p, q = harmonium(implicit=True)
    found = chain_statistics(p, q, p.sample(n=500)["x"], None, Halves(), ks=(0, 1), start="prior")
    assert max(found["prior_drift"]["value"]) * 2 * 500 < 30


def test_labels_may_be_numbers_or_one_hot_and_attributes_are_not_classes():
    p, q = harmonium()
    x = p.sample(n=100)["x"]
    y = Halves().probabilities(x).argmax(1)
    hot = torch.nn.functional.one_hot(1 - y, 2).unsqueeze(1)
    first = {
        name: chain_statistics(p, q, x, labels, Halves(), ks=(0,))["retention"]
        for name, labels in {"numbers": y, "hot": hot, "attributes": torch.zeros(100, 5), "none": None}.items()
    }
    assert first["hot"]["value"][0] == pytest.approx(1 - first["numbers"]["value"][0])
    assert "its label" in first["numbers"]["meaning"]
    assert "classifier" in first["attributes"]["meaning"]
    assert first["attributes"] == first["none"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [({"start": "home"}, "not from 'home'"), ({"ks": ()}, "Name the steps"), ({"chains": 1}, "At least 2 chains")],
)
def test_what_makes_no_sense_is_refused(options, sentence):
    p, q = harmonium()
    with pytest.raises(UsageError, match=sentence):
        chain_statistics(p, q, p.sample(n=10)["x"], **options)
