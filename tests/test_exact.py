"""Objectives and gradients against exact enumeration of small discrete pairs, and quadrature for Gaussian latents.

Everything here is float64. Statistical tests state n; their tolerance is in standard errors (s.e.), the gradient's
s.e. being estimated from independent batches.
"""

import math

import numpy as np
import pytest
import torch

from symeq_core import exact
from symeq_core.config import LearnerConfig, ModelConfig
from symeq_core.errors import UsageError
from symeq_core.learners import Batch, elbo_terms, moves, players
from symeq_core.models import build

X = (1, 2, 2)
MODELS = {
    "flat-bits": ("flat", "bernoulli:3"),
    "flat-classes": ("flat", "categorical:2x3"),
    "ladder-2": ("ladder", "categorical:1x3 bernoulli:2"),
    "ladder-3": ("ladder", "bernoulli:2 categorical:1x3 bernoulli:2"),
    "reverse-2": ("reverse", "bernoulli:2 categorical:2x2"),
    "reverse-3": ("reverse", "categorical:1x3 bernoulli:2 categorical:1x2"),
}
LABELLED = {"ladder-label": ("ladder", "bernoulli:1 bernoulli:2"), "flat-label": ("flat", "bernoulli:2")}


def make_pair(kind, latents, label=None, seed=0, scale=3.0, **fields):
    """A float64 pair whose weights are large enough for its conditionals to differ clearly."""
    config = ModelConfig(kind=kind, latents=latents, label=label, x_shape=X, hidden=(4,), **fields)
    p, q = build(config, seed)
    with torch.no_grad():
        for w in {*p.parameters(), *q.parameters()}:
            w.mul_(scale)
    return p.double(), q.double()


@pytest.fixture(params=[*MODELS, *LABELLED])
def pair(request):
    if request.param in MODELS:
        return make_pair(*MODELS[request.param])
    return make_pair(*LABELLED[request.param], label="categorical:1x3")


def states_of(p):
    """States in float64."""
    s = exact.enumerate_states(p)
    return s._replace(values={k: v.double() for k, v in s.values.items()})


def data_distribution(seed=1):
    """A random distribution pi(x) over the 16 binary images."""
    return torch.rand(16, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).softmax(0)


def draw_x(pi, n, seed=2):
    """n images from pi."""
    index = pi.multinomial(n, replacement=True, generator=torch.Generator().manual_seed(seed))
    bits = torch.tensor([[i >> k & 1 for k in (3, 2, 1, 0)] for i in range(16)], dtype=torch.float64)
    return bits[index].reshape(n, *X)


def flat_grad(value, params):
    grads = torch.autograd.grad(value, params, allow_unused=True)
    return torch.cat([torch.zeros(w.numel()) if g is None else g.flatten() for w, g in zip(params, grads, strict=True)])


def test_p_and_q_are_distributions(pair):
    p, q = pair
    s = states_of(p)
    assert exact.log_joint(p, s).exp().sum().item() == pytest.approx(1, abs=1e-12)
    q_of_z = torch.zeros(16, dtype=torch.float64).index_add(0, s.which["x"], exact.log_joint(q, s).exp())
    torch.testing.assert_close(q_of_z, torch.ones(16, dtype=torch.float64), atol=1e-12, rtol=0)


def test_enumeration_lists_every_state_once():
    p, _ = make_pair(*MODELS["ladder-3"])
    s = states_of(p)
    rows = torch.cat([v.flatten(1) for v in s.values.values()], 1)
    assert len(rows) == 4 * 3 * 4 * 16 == len(rows.unique(dim=0))


def test_sampling_follows_the_joint_table(pair):
    """n = 40,000 ancestral samples of p; chi-square of the 40 likeliest states within 5 s.d. of its mean."""
    p, _ = pair
    s = states_of(p)
    prob = exact.log_joint(p, s).exp().detach()
    torch.manual_seed(3)
    n = 40_000
    drawn = p.sample(n=n)
    weights = {k: 7919**i for i, k in enumerate(p.names)}

    def key(values):
        total = torch.zeros(len(values["x"]), dtype=torch.float64)
        for k, v in values.items():
            bits = v.flatten(1)
            total += (bits * torch.arange(1, bits.shape[1] + 1) ** 2.3).sum(1) * weights[k]
        return total

    top = prob.topk(40).indices
    table, seen = key(s.values), key(drawn)
    counts = torch.stack([(seen - table[i]).abs().lt(1e-6).sum() for i in top]).double()
    expected = n * prob[top]
    chi2 = ((counts - expected) ** 2 / (expected * (1 - prob[top]))).sum().item()
    assert abs(chi2 - 40) < 5 * math.sqrt(80)


def test_sampled_utilities_agree_with_the_enumerated_ones(pair):
    """n = 40,000 samples each; within 4 s.e."""
    p, q = pair
    s, pi, n = states_of(p), data_distribution(), 40_000
    move_p, move_q = moves(p, q, LearnerConfig())
    torch.manual_seed(4)
    x = {"x": draw_x(pi, n)}
    sampled = {
        "L_p": (move_p.utility(Batch(x)), exact.L_p(p, q, s, pi)),
        "L_q": (move_q.utility(Batch(x)), exact.L_q(p, q, s)),
        "ELBO": (elbo_terms(p, q, x)[0], exact.elbo(p, q, s, pi)),
    }
    for name, (terms, truth) in sampled.items():
        values = torch.stack(list(terms.values())).sum(0).detach()
        error = values.std().item() / math.sqrt(n)
        assert abs(values.mean().item() - truth.item()) < 4 * error, name


def test_a_move_ascends_the_enumerated_utility_with_the_sampling_held_fixed(pair, monkeypatch):
    """The move's own gradient, its sampler replaced by all states and their weights, equals the exact one."""
    p, q = pair
    s, pi = states_of(p), data_distribution()
    theta, phi = players(p, q)
    move_p, move_q = moves(p, q, LearnerConfig())
    for chain in (p, q):
        monkeypatch.setattr(chain, "sample", lambda *a, **k: dict(s.values))
    cases = [
        (move_p, theta, exact.weights_q(q, s, pi), exact.L_p(p, q, s, pi)),
        (move_q, phi, exact.log_joint(p, s).exp(), exact.L_q(p, q, s)),
    ]
    for move, params, weights, truth in cases:
        terms = torch.stack(list(move.utility(Batch({"x": s.values["x"]})).values())).sum(0)
        got = flat_grad((weights.detach() * terms).sum(), move.params)
        torch.testing.assert_close(got, flat_grad(truth, params), atol=1e-12, rtol=1e-9)
        assert got.norm() > 1e-3


def batch_gradients(utility, params, pi, batches, n):
    """Gradients [batches, parameters] of the mean utility on independent batches of n images."""
    torch.manual_seed(5)
    out = []
    for k in range(batches):
        terms = utility(Batch({"x": draw_x(pi, n, seed=100 + k)}))
        out.append(flat_grad(sum(t.mean() for t in terms.values()), params))
    return torch.stack(out)


def z_scores(samples, truth):
    """(mean - truth) in s.e. for the coordinates that vary."""
    error = samples.std(0) / math.sqrt(len(samples))
    live = error > 1e-9
    assert live.sum() > 10
    return ((samples.mean(0) - truth)[live] / error[live]).abs()


def assert_unbiased(samples, truth):
    """No coordinate beyond 5.5 s.e. and the mean square of all near 1: together they see small common biases too."""
    z = z_scores(samples, truth)
    assert z.max() < 5.5
    assert (z**2).mean() < 2.5


def test_sampled_gradients_of_the_game_are_unbiased(pair):
    """60 batches of n = 1,000."""
    p, q = pair
    s, pi = states_of(p), data_distribution()
    for move, truth in zip(moves(p, q, LearnerConfig()), (exact.L_p(p, q, s, pi), exact.L_q(p, q, s)), strict=True):
        got = batch_gradients(move.utility, move.params, pi, 60, 1000)
        assert_unbiased(got, flat_grad(truth, move.params))


@pytest.mark.parametrize("samples", [1, 2, 5])
def test_score_function_gradient_of_the_elbo_is_unbiased(pair, samples):
    """60 batches of n = 1,000 images, with 1 (no baseline), 2 and 5 samples of z each."""
    p, q = pair
    s, pi = states_of(p), data_distribution()
    params = [*p.parameters(), *q.parameters()]
    move = moves(p, q, LearnerConfig("elbo", estimator="score", samples=samples))[0]
    got = batch_gradients(move.utility, params, pi, 60, 1000)
    assert_unbiased(got, flat_grad(exact.elbo(p, q, s, pi), params))


def test_the_baseline_reduces_variance():
    """Total gradient variance with the leave-one-out baseline against none, at the same number of samples of z."""
    p, q = make_pair(*MODELS["reverse-2"])
    pi, params = data_distribution(), list(q.parameters())

    def variance(samples, n):
        utility = moves(p, q, LearnerConfig("elbo", estimator="score", samples=samples))[0].utility
        return batch_gradients(utility, params, pi, 60, n).var(0).sum().item()

    assert variance(4, 250) < 0.5 * variance(1, 1000)


def zgr_bias(p, q, pi, s):
    """(relative bias, its noise, cosine) of ZGR's mean gradient in phi over 200 batches of n = 2,000."""
    params = list(q.parameters())
    move = moves(p, q, LearnerConfig("elbo", estimator="zgr"))[0]
    got = batch_gradients(move.utility, params, pi, 200, 2000)
    truth = flat_grad(exact.elbo(p, q, s, pi), params)
    mean = got.mean(0)
    noise = (got.var(0) / len(got)).sum().sqrt() / truth.norm()
    cosine = torch.cosine_similarity(mean, truth, dim=0)
    return ((mean - truth).norm() / truth.norm()).item(), noise.item(), cosine.item()


@pytest.mark.parametrize("name", MODELS)
def test_zgr_is_biased_but_points_the_right_way(name):
    """The relative bias |E g - g| / |g| in phi: measured 0.04 to 0.25 on these pairs, cosine at least 0.97.

    It is real, beyond 5 times its noise; with smaller weights (scale 1.5) it was 0.007 to 0.06.
    """
    p, q = make_pair(*MODELS[name])
    bias, noise, cosine = zgr_bias(p, q, data_distribution(), states_of(p))
    assert 5 * noise < bias < 0.3
    assert cosine > 0.95


@pytest.mark.parametrize("latents", ["bernoulli:3", "categorical:2x3"])
def test_zgr_is_exact_for_quadratic_functions_and_not_for_cubic_ones(latents):
    """E over all states of ZGR's gradient equals d E f / d s for quadratic f of the sample."""
    p, _ = make_pair("flat", latents)
    family, s = p["z0"].family, torch.randn(1, *p["z0"].event, dtype=torch.float64, generator=torch.manual_seed(0))
    states = exact.values_of(p, "z0").double()
    size = states[0].numel()
    a = torch.randn(size, size, dtype=torch.float64)

    def quadratic(v):
        v = v.flatten(1)
        return ((v @ a) * v).sum(1)

    def expected_zgr(f):
        scores = s.expand(len(states), *s.shape[1:]).clone().requires_grad_()
        family.sample = lambda _: states
        v = family.rsample(scores)
        torch.testing.assert_close(v, states)
        prob = family.log_prob(scores, states).exp().detach()
        del family.sample
        return torch.autograd.grad((prob * f(v)).sum(), scores)[0].sum(0)

    def truth(f):
        scores = s.clone().requires_grad_()
        prob = family.log_prob(scores.expand(len(states), *s.shape[1:]), states).exp()
        return torch.autograd.grad((prob * f(states)).sum(), scores)[0][0]

    torch.testing.assert_close(expected_zgr(quadratic), truth(quadratic), atol=1e-12, rtol=1e-9)
    quartic = lambda v: quadratic(v) ** 2  # noqa: E731
    assert (expected_zgr(quartic) - truth(quartic)).norm() > 1e-3


@pytest.mark.parametrize("estimator", ["pathwise", "score"])
def test_gaussian_gradients_agree_with_quadrature(estimator):
    """One Gaussian latent; the exact ELBO gradient by 80-point Gauss-Hermite quadrature; 60 batches of n = 1,000."""
    p, q = make_pair("flat", "gaussian:1", scale=1.5)
    pi, params = data_distribution(), [*p.parameters(), *q.parameters()]
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    xi, w = torch.tensor(nodes), torch.tensor(weights / weights.sum())
    x = exact.values_of(p, "x").double()
    scores = q.scores({"x": x}, ["z0"])["z0"]
    normal = q["z0"].family.distribution(scores)
    truth = 0.0
    for k in range(80):
        z = normal.loc + normal.scale * xi[k]
        v = {"x": x, "z0": z}
        ratio = sum(p.log_probs(v).values()) - sum(q.log_probs(v).values())
        truth = truth + w[k] * (pi * ratio).sum()
    move = moves(p, q, LearnerConfig("elbo", estimator=estimator, samples=3))[0]
    got = batch_gradients(move.utility, params, pi, 60, 1000)
    assert_unbiased(got, flat_grad(truth, params))


def test_labelled_terms_are_what_the_equations_say(monkeypatch):
    """E_pi(x,y) E_q(z|x,y) log p(x, y, z) and E_pi(x,y) log q(y|x), weighted; enumerated for all pairs (x, y)."""
    p, q = make_pair("ladder", "bernoulli:1 bernoulli:2", label="categorical:1x3")
    s = states_of(p)
    theta, phi = players(p, q)
    weight = 0.7
    pairs = torch.rand(16, 3, dtype=torch.float64, generator=torch.manual_seed(6)).flatten().softmax(0).reshape(16, 3)
    w_s = pairs[s.which["x"], s.which["y"]]  # [S]
    q_logs = q.log_probs(s.values)
    z_given_xy = sum(v for k, v in q_logs.items() if k != "y").exp()
    truth_p = (w_s * z_given_xy.detach() * exact.log_joint(p, s)).sum() * weight
    every_z = len(s.values["x"]) / (16 * 3)
    truth_q = (w_s * q_logs["y"]).sum() / every_z * weight
    move_p, move_q = moves(p, q, LearnerConfig(labelled_weight=weight))
    monkeypatch.setattr(q, "sample", lambda *a, **k: dict(s.values))
    batch = Batch({"x": s.values["x"]}, {"x": s.values["x"], "y": s.values["y"]})
    part_p = sum(v for k, v in move_p.utility(batch).items() if k.startswith("labelled/"))
    part_q = sum(v for k, v in move_q.utility(batch).items() if k.startswith("labelled/"))
    got_p = flat_grad((w_s * z_given_xy.detach() * part_p).sum(), theta)
    torch.testing.assert_close(got_p, flat_grad(truth_p, theta), atol=1e-12, rtol=1e-9)
    got_q = flat_grad((w_s * part_q).sum() / every_z, phi)
    torch.testing.assert_close(got_q, flat_grad(truth_q, phi), atol=1e-12, rtol=1e-9)
    assert got_q.norm() > 1e-3


def test_labelled_elbo_bounds_log_p_of_x_and_y():
    """With y given, the enumerated mean of the ELBO's terms is E_q(z|x,y) [log p(x, y, z) - log q(z|x, y)]."""
    p, q = make_pair("flat", "bernoulli:2", label="categorical:1x3")
    s, n = states_of(p), 40_000
    torch.manual_seed(7)
    state = torch.randint(len(s.values["x"]), (1,))
    given = {k: s.values[k][state].expand(n, *s.values[k].shape[1:]) for k in ("x", "y")}
    values = torch.stack(list(elbo_terms(p, q, given)[0].values())).sum(0).detach()
    same = (s.which["x"] == s.which["x"][state]) & (s.which["y"] == s.which["y"][state])
    q_z = q.log_probs(s.values)["z0"][same]
    truth = (q_z.exp() * (exact.log_joint(p, s)[same] - q_z)).sum().item()
    assert abs(values.mean().item() - truth) < 4 * values.std().item() / math.sqrt(n)


def test_theta_and_phi_never_overlap(pair):
    p, q = pair
    theta, phi = players(p, q)
    assert {id(w) for w in theta}.isdisjoint({id(w) for w in phi})
    assert {id(w) for w in phi} == {id(w) for w in q.parameters()}


def test_the_collapsed_pair_is_an_equilibrium():
    """q(z|x) = pi(z) with a decoder that ignores z and fits pi(x)'s pixel means: both gradients vanish."""
    p, q = make_pair("flat", "bernoulli:3")
    s, pi = states_of(p), data_distribution()
    means = torch.zeros(X, dtype=torch.float64)
    means += (pi[:, None, None, None] * exact.values_of(p, "x").double()).sum(0)
    with torch.no_grad():
        for chain in (p, q):
            for w in chain.parameters():
                w.zero_()
        p["x"].terms[0].net.layers[-1].bias.copy_(means.flatten().logit())
    theta, phi = players(p, q)
    assert flat_grad(exact.L_p(p, q, s, pi), theta).norm() < 1e-12
    assert flat_grad(exact.L_q(p, q, s), phi).norm() < 1e-12


def test_what_is_too_large_or_continuous_is_refused():
    p, _ = build(ModelConfig(latents="gaussian:2", x_shape=X))
    with pytest.raises(UsageError, match="z0 can't be enumerated"):
        exact.enumerate_states(p)
    p, _ = build(ModelConfig(latents="bernoulli:3", x_shape=(1, 28, 28)))
    with pytest.raises(UsageError, match="too many"):
        exact.enumerate_states(p)


@pytest.mark.parametrize("name", [*MODELS, *LABELLED])
def test_codes_enumerated_beside_images_agree_with_the_joint_table(name):
    kind, latents = (MODELS | LABELLED)[name]
    p, q = make_pair(kind, latents, label="categorical:1x3" if name in LABELLED else None)
    s, codes, x = states_of(p), exact.enumerate_codes(p), exact.values_of(p, "x").double()
    log_p, log_q = exact.log_p_of_codes(p, codes, x), exact.log_q_of_codes(q, codes, x)
    # p's variables end with x, so that the joint table runs through the codes slowly and through the images fast
    torch.testing.assert_close(log_p.T.flatten(), exact.log_joint(p, s).detach(), atol=1e-10, rtol=0)
    torch.testing.assert_close(log_q.T.flatten(), exact.log_joint(q, s).detach(), atol=1e-10, rtol=0)


@pytest.mark.parametrize("family", ["gaussian", "gaussian-scale"])
def test_grey_images_have_exact_posteriors_too(family):
    """log p(x, z) of every image with every code, as the chain itself computes it one by one."""
    p, q = make_pair("flat", "bernoulli:3", x_family=family)
    codes, x = exact.enumerate_codes(p), torch.rand(5, *X, dtype=torch.float64, generator=torch.manual_seed(0))
    for i in range(5):
        v = codes | {"x": x[i : i + 1].expand(8, *X)}
        one = sum(p.log_probs(v).values()).detach()
        torch.testing.assert_close(exact.log_p_of_codes(p, codes, x)[i], one, atol=1e-10, rtol=1e-10)
        one = sum(q.log_probs(v).values()).detach()
        torch.testing.assert_close(exact.log_q_of_codes(q, codes, x)[i], one, atol=1e-10, rtol=1e-10)


def test_many_codes_and_images_are_evaluated_in_parts(monkeypatch):
    p, q = make_pair("ladder", "bernoulli:2 bernoulli:3")
    codes, x = exact.enumerate_codes(p), exact.values_of(p, "x").double()
    whole = exact.log_p_of_codes(p, codes, x), exact.log_q_of_codes(q, codes, x)
    monkeypatch.setattr(exact, "ROWS", 96)
    torch.testing.assert_close(exact.log_p_of_codes(p, codes, x), whole[0], atol=1e-12, rtol=0)
    torch.testing.assert_close(exact.log_q_of_codes(q, codes, x), whole[1], atol=1e-12, rtol=0)


def test_bits_of_codes_are_counted_and_too_many_refused():
    def bits(latents, kind="flat", **fields):
        return exact.code_bits(build(ModelConfig(kind=kind, latents=latents, x_shape=X, hidden=(4,), **fields), 0)[0])

    assert bits("bernoulli:14") == 14
    assert bits("bernoulli:2 categorical:2x3", "ladder") == pytest.approx(2 + 2 * math.log2(3))
    assert bits("bernoulli:2", label="categorical:1x8") == 5
    assert bits("gaussian:1") == bits("bernoulli:8", prior="implicit:few-hot") == math.inf
    p, _ = build(ModelConfig(latents="bernoulli:15", x_shape=X), 0)
    with pytest.raises(UsageError, match="15 bits, too many to enumerate: at most 14"):
        exact.enumerate_codes(p)
    p, _ = build(ModelConfig(latents="gaussian:2", x_shape=X), 0)
    with pytest.raises(UsageError, match="not discrete"):
        exact.enumerate_codes(p)
