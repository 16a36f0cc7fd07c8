"""Codes, information, prior match and flips against enumeration and direct decoding."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from symeq_core import latents
from symeq_core.chains import decode
from symeq_core.config import Latent, ModelConfig
from symeq_core.learners import elbo_terms
from symeq_core.models import build
from symeq_core.seeds import derive, seeded


def pair(kind="flat", layers=("bernoulli:4",), seed=0, **extra):
    config = ModelConfig(
        kind=kind, latents=tuple(Latent(*_parsed(k)) for k in layers), x_shape=(1, 3, 3), hidden=(12,), **extra
    )
    p, q = build(config, seed)
    with torch.no_grad():  # away from the start, where every code is the same
        for w in {id(w): w for w in (*p.parameters(), *q.parameters())}.values():
            w.mul_(3)
    return p.requires_grad_(False), q.requires_grad_(False)


def _parsed(text):
    family, _, size = text.partition(":")
    return (family, *map(int, size.split("x")))


def images(n=60, seed=1):
    return (torch.rand(n, 1, 3, 3, generator=torch.Generator().manual_seed(seed)) > 0.5).float()


def test_mean_codes_of_a_flat_pair_are_the_encoders_own():
    _, q = pair()
    x = images()
    found = latents.encode(q, x, ["z0"])["z0"]
    np.testing.assert_allclose(found.mean, q.mean({"x": x}, "z0").numpy(), atol=1e-6)
    assert set(np.unique(found.sample)) <= {0, 1}
    assert found.sd is None


@pytest.mark.parametrize("kind", ["ladder", "reverse"])
def test_mean_codes_of_two_layers_are_right_on_average(kind, monkeypatch):
    """E[z|x] enumerated over the other layer against 4,000 draws; within four standard errors."""
    monkeypatch.setattr(latents, "DRAWS", 4000)
    _, q = pair(kind, ("bernoulli:2", "bernoulli:3"))
    x = images(4)
    found = latents.encode(q, x, ["z0", "z1"])
    first, second = ("z0", "z1") if kind == "ladder" else ("z1", "z0")
    np.testing.assert_allclose(found[first].mean, q.mean({"x": x}, first).numpy(), atol=2e-4)  # 4,000 float32 added
    size = q[first].event[0]
    exact = torch.zeros(len(x), q[second].event[0])
    for code in range(2**size):
        v = torch.tensor([[code >> k & 1 for k in range(size)]]).float().expand(len(x), size)
        exact += q.log_probs({"x": x, first: v}, [first])[first].exp()[:, None] * q.mean({"x": x, first: v}, second)
    np.testing.assert_allclose(found[second].mean, exact.numpy(), atol=4 * 0.5 / math.sqrt(4000))


def test_noise_is_a_function_of_the_seed():
    _, q = pair()
    x = images(30)
    again = latents.encode(q, x, ["z0"])["z0"]
    np.testing.assert_array_equal(latents.encode(q, x, ["z0"])["z0"].sample, again.sample)
    assert (latents.encode(q, x, ["z0"], seed=1)["z0"].sample != again.sample).any()


def test_gaussian_codes_bring_their_standard_deviation():
    _, q = pair(layers=("gaussian:2",))
    x = images()
    found = latents.encode(q, x, ["z0"])["z0"]
    d = q.explicit()["z0"].family.distribution(q.scores({"x": x})["z0"])
    np.testing.assert_allclose(found.sd, d.stddev.numpy(), rtol=1e-5)
    centre, spread, kl = latents.gaussian_divergence(found)
    np.testing.assert_allclose(spread**2, found.mean.var(0) + (found.sd**2).mean(0), rtol=1e-5)
    exact = torch.distributions.kl_divergence(
        torch.distributions.Normal(torch.tensor(centre), torch.tensor(spread)), torch.distributions.Normal(0.0, 1.0)
    )
    np.testing.assert_allclose(kl, exact.numpy(), atol=1e-5)


@pytest.mark.parametrize("kind", ["flat", "reverse"])
def test_figures_of_images_are_those_of_the_drawn_codes(kind):
    p, q = pair(kind, ("bernoulli:3", "bernoulli:4")[: 1 if kind == "flat" else 2])
    x = images(20)
    found = latents.image_figures(p, q, x)
    codes = latents.encode(q, x, latents.layers(p))
    v = {k: torch.from_numpy(c.sample) for k, c in codes.items()} | {"x": x}
    np.testing.assert_allclose(found["error"], (decode(p, v) - x).abs().flatten(1).sum(1).numpy(), rtol=1e-5)
    np.testing.assert_allclose(found["distortion"], -p.log_probs(v)["x"].numpy(), rtol=1e-4)
    with seeded(derive(0, "codes", 0)):
        total = -torch.stack([*elbo_terms(p, q, {"x": x})[0].values()]).sum(0)
    np.testing.assert_allclose(found["-ELBO"], total.numpy(), rtol=1e-4)
    np.testing.assert_allclose(found["-ELBO"], found["distortion"] + found["rate"], rtol=1e-4)


def test_an_implicit_prior_has_no_elbo():
    p, q = pair(prior="implicit:few-hot")
    assert set(latents.image_figures(p, q, images())) == {"error", "distortion"}
    draw, mean = latents.prior_draws(p, "z0", 50)
    assert (draw.sum(1) == 1).all()
    np.testing.assert_array_equal(draw, mean)


def enumerated(joint):
    """Mutual information in nats of a joint table."""
    a, b = joint.sum(1, keepdims=True), joint.sum(0, keepdims=True)
    ok = joint > 0
    return float((joint[ok] * np.log((joint / (a * b))[ok])).sum())


@pytest.mark.parametrize("layer", ["bernoulli:4", "categorical:3x5"])
def test_information_is_that_of_the_joint_table(layer):
    p, q = pair(layers=(layer,))
    prob = latents.units(p, "z0", latents.encode(q, images(), ["z0"])["z0"].mean)
    labels = np.random.default_rng(0).integers(0, 3, len(prob))
    with_image, with_label = latents.information(prob), latents.label_information(prob, labels)
    for j in range(prob.shape[1]):
        assert with_image[j] == pytest.approx(enumerated(prob[:, j] / len(prob)), abs=1e-6)
        table = np.stack([prob[labels == c, j].sum(0) for c in range(3)]) / len(prob)
        assert with_label[j] == pytest.approx(enumerated(table), abs=1e-6)
    assert (with_label <= with_image + 1e-9).all()


def test_a_bit_that_copies_the_label_knows_all_of_it():
    labels = np.repeat([0, 1], 50)
    prob = np.stack((1 - labels, labels), -1)[:, None].astype(np.float32)
    assert latents.label_information(prob, labels)[0] == pytest.approx(math.log(2))
    assert latents.information(np.full((10, 3, 2), 0.5, np.float32)) == pytest.approx(0)


def test_divergence_from_the_prior_by_hand():
    prob = np.array([[[0.9, 0.1]], [[0.5, 0.5]]], np.float32)
    prior = np.full((1, 1, 2), 0.5, np.float32)
    expected = 0.7 * math.log(0.7 / 0.5) + 0.3 * math.log(0.3 / 0.5)
    assert latents.divergence(prob, prior)[0] == pytest.approx(expected, abs=1e-6)


def test_prior_means_of_the_lower_layer_are_right_on_average():
    """E[z1] enumerated over z0, against 4,000 draws; four standard errors."""
    p, _ = pair("reverse", ("bernoulli:2", "bernoulli:3"))
    draw, mean = latents.prior_draws(p, "z1", 4000)
    z0 = torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]])
    exact = p.mean({"z0": z0}, "z1").mean(0).numpy()
    np.testing.assert_allclose(mean.mean(0), exact, atol=4 * 0.5 / math.sqrt(4000))
    np.testing.assert_allclose(draw.mean(0), exact, atol=4 * 0.5 / math.sqrt(4000))


def test_flips_of_the_lowest_layer_are_direct_decodings():
    p, _ = pair()
    code = torch.tensor([1.0, 0, 0, 1])
    found = latents.flips(p, "z0", code)
    base = decode(p, {"z0": code[None]})[0]
    torch.testing.assert_close(found.base, base)
    assert found.draws == 1
    for j in range(4):
        other = code.clone()
        other[j] = 1 - other[j]
        image = decode(p, {"z0": other[None]})[0]
        torch.testing.assert_close(found.images[j], image)
        assert found.effect[j] == pytest.approx((image - base).abs().sum().item(), rel=1e-5)


def test_flips_of_a_deeper_layer_share_their_noise():
    """Averages of 3,000 draws against enumeration over z1; a unit without influence has exactly no effect."""
    p, _ = pair("reverse", ("bernoulli:2", "bernoulli:3"))
    with torch.no_grad():
        p.explicit()["z1"].terms[0].net.layers[0].weight[:, 1] = 0  # z0[1] plays no part
    code = torch.tensor([1.0, 0])
    found = latents.flips(p, "z0", code, draws=3000)
    assert found.effect[1] == 0
    assert found.effect[0] > 0
    z1 = torch.tensor([[k >> j & 1 for j in range(3)] for k in range(8)]).float()
    for row, image in ((code, found.base), (1 - code, found.images[0])):
        weight = p.log_probs({"z0": row.expand(8, 2), "z1": z1}, ["z1"])["z1"].exp()
        exact = (weight[:, None, None, None] * decode(p, {"z1": z1})).sum(0)
        torch.testing.assert_close(image, exact, atol=4 * 0.5 / math.sqrt(3000), rtol=0)


def test_a_categorical_unit_takes_its_next_class():
    p, _ = pair(layers=("categorical:3x5",))
    code = torch.eye(5)[[0, 4, 2]]
    found = latents.flips(p, "z0", code)
    other = torch.eye(5)[[0, 0, 2]]
    torch.testing.assert_close(found.images[1], decode(p, {"z0": other[None]})[0])


def test_traversals_set_one_unit_at_a_time():
    p, _ = pair(layers=("gaussian:2",))
    found = latents.traversals(p, "z0", torch.tensor([0.3, -1.0]), [-2.0, 0.5])
    assert found.shape == (2, 2, 1, 3, 3)
    torch.testing.assert_close(found[1, 0], decode(p, {"z0": torch.tensor([[0.3, -2.0]])})[0])


def test_the_perceptron_handed_out_is_the_decoder():
    p, _ = pair(layers=("gaussian:2",))
    z = np.array([0.4, -1.2], np.float32)
    y = z
    layers = latents.mlp(p)
    for k, (w, b) in enumerate(layers):
        y = w @ y + b
        y = np.tanh(y) if k < len(layers) - 1 else 1 / (1 + np.exp(-y))
    np.testing.assert_allclose(y, decode(p, {"z0": torch.from_numpy(z)[None]}).flatten().numpy(), atol=1e-5)
    assert latents.mlp(pair("reverse", ("bernoulli:2", "bernoulli:3"))[0]) is None


def test_labels_are_no_layer_and_do_not_stand_in_the_way():
    config = ModelConfig(latents=(Latent("bernoulli", 3),), x_shape=(1, 3, 3), hidden=(8,))
    p, q = build(replace(config, label=Latent("categorical", 1, 4)))
    assert latents.layers(p) == ("z0",)
    assert latents.encode(q, images(5), ["z0"])["z0"].mean.shape == (5, 3)
    assert latents.flips(p, "z0", torch.zeros(3)).images.shape == (3, 1, 3, 3)
