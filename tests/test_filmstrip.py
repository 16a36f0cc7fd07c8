"""Films of chains: shared random numbers, starts, frames; against exact enumeration where there is one."""

import io
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image

from symeq_core.chains import coupled_trips, shared_uniforms
from symeq_core.config import Latent, ModelConfig
from symeq_core.errors import SymeqError
from symeq_core.families import FAMILIES
from symeq_core.filmstrip import CHAINS, Film, begin, marks, one_of_each, sprite
from symeq_core.models import build

SHAPE = (1, 3, 4)
MODELS = {
    "flat": ModelConfig(kind="flat", latents="bernoulli:5", x_shape=SHAPE),
    "reverse": ModelConfig(kind="reverse", latents="bernoulli:4 bernoulli:6", x_shape=SHAPE),
    "ladder": ModelConfig(kind="ladder", latents="bernoulli:4 bernoulli:6", x_shape=SHAPE),
    "classes": ModelConfig(kind="flat", latents="categorical:2x3", x_shape=SHAPE),
    "plane": ModelConfig(kind="flat", latents="gaussian:2", x_shape=SHAPE),
    "grey": ModelConfig(kind="flat", latents="bernoulli:5", x_shape=SHAPE, x_family="gaussian-scale"),
    "labelled": ModelConfig(kind="reverse", latents="bernoulli:4", label=Latent("categorical", 1, 3), x_shape=SHAPE),
}
X = (torch.rand(7, *SHAPE, generator=torch.Generator().manual_seed(0)) < 0.5).float()


def chain(pair, seed, steps=6, x=X):
    return [{k: v.clone() for k, v in values.items()} for values in coupled_trips(*pair, x, steps, seed)]


def same(a, b):
    return all(torch.equal(v[k], w[k]) for v, w in zip(a, b, strict=True) for k in v)


def test_marks_are_all_small_steps_then_log_spaced_with_the_round_ones():
    ks = marks()
    assert ks[:8] == (0, 1, 2, 3, 4, 5, 6, 7)
    assert set(ks) >= {10, 20, 50, 100, 200, 500, 1000}
    assert max(ks) == 1000
    assert 55 <= len(ks) <= 75
    assert list(ks) == sorted(set(ks))
    late = [b / a for a, b in pairwise(ks[10:])]
    assert max(late) < 1.3
    assert marks(5) == (0, 1, 2, 3, 4, 5)


@pytest.mark.parametrize("name", MODELS)
def test_the_same_pair_makes_the_same_chain_whatever_runs_beside_it(name):
    a, twin, b = build(MODELS[name], seed=1), build(MODELS[name], seed=1), build(MODELS[name], seed=2)
    alone = chain(a, 5)
    pairs = zip(coupled_trips(*twin, X, 6, 5), coupled_trips(*b, X, 6, 5), strict=True)
    torch.manual_seed(3)
    beside = []
    for v, _ in pairs:
        torch.rand(3)  # whatever else draws numbers
        beside.append(v)
    assert same(alone, beside)
    assert not same(alone, chain(a, 6))
    assert not same(alone, chain(b, 5))


def test_nobody_elses_randomness_is_moved():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    chain(build(MODELS["reverse"]), 0)
    assert torch.equal(before, torch.get_rng_state())


def test_uniforms_depend_on_seed_step_name_and_shape_alone():
    u = shared_uniforms(1, 2)
    assert torch.equal(u("z0", (3, 4)), shared_uniforms(1, 2)("z0", (3, 4)))
    others = [u("z1", (3, 4)), shared_uniforms(1, 3)("z0", (3, 4)), shared_uniforms(2, 2)("z0", (3, 4))]
    assert not any(torch.equal(u("z0", (3, 4)), other) for other in others)
    many = shared_uniforms(0, 0)("x", (100_000,))
    assert many.min() > 0
    assert many.max() < 1


@pytest.mark.parametrize("name", ["bernoulli", "categorical", "gaussian"])
def test_a_value_picked_by_uniforms_has_the_familys_distribution(name):
    """n = 40,000, seed 0; mean and variance within 4 standard errors of the exact ones."""
    n, family = 40_000, FAMILIES[name]()
    event = (2, 3) if name == "categorical" else (3,)
    g = torch.Generator().manual_seed(0)
    s = family.natural(torch.randn(1, *family.score_shape(event), generator=g)).expand(n, *family.score_shape(event))
    u = torch.rand(n, *event, generator=g).clamp_(1e-7, 1 - 1e-7)
    v = family.at(s, u)
    exact = family.distribution(s[:1])
    assert torch.all((v.mean(0) - exact.mean[0]).abs() < 4 * (exact.variance[0] / n).sqrt())
    spread = (v - exact.mean[0]).square()
    assert torch.all((spread.mean(0) - exact.variance[0]).abs() < 4 * spread.std(0) / n**0.5 + 1e-6)


def test_coupled_bits_differ_no_more_than_their_probabilities():
    """u < p and u < p' differ with probability |p - p'|: the most alike that two draws can be. n = 20,000, 4 se."""
    family, n = FAMILIES["bernoulli"](), 20_000
    s, t = torch.tensor([[0.3, -1.0]]).expand(n, 2), torch.tensor([[0.5, -1.0]]).expand(n, 2)
    u = shared_uniforms(0, 0)("z", (n, 2))
    differ = (family.at(s, u) != family.at(t, u)).float().mean(0)
    gap = (s.sigmoid() - t.sigmoid()).abs()[0]
    assert abs(differ[0] - gap[0]) < 4 * (gap[0] * (1 - gap[0]) / n) ** 0.5
    assert differ[1] == 0


def test_one_step_of_the_chain_has_the_exact_probabilities():
    """P(x_1 pixel = 1 | x_0) by summing over all codes; 20,000 chains, seed 0, 4 standard errors."""
    p, q = build(ModelConfig(kind="flat", latents="bernoulli:3", x_shape=(1, 2, 2)), seed=4)
    x = torch.tensor([1.0, 0, 1, 1]).reshape(1, 1, 2, 2)
    codes = torch.tensor([[i >> j & 1 for j in range(3)] for i in range(8)]).float()
    weight = q.log_probs({"x": x.expand(8, 1, 2, 2), "z0": codes})["z0"].exp()
    exact = (weight[:, None] * p.mean({"z0": codes}, "x").flatten(1)).sum(0).detach()
    n = 20_000
    found = chain((p, q), 0, steps=1, x=x.expand(n, 1, 2, 2))[1]["x"].flatten(1).mean(0)
    assert torch.all((found - exact).abs() < 4 * (exact * (1 - exact) / n).sqrt())


def test_starts():
    p, _ = build(MODELS["reverse"], seed=1)
    other, _ = build(MODELS["flat"], seed=2)
    classes = torch.tensor([2, 0, 2, 1, 0, 2, 1])
    each = begin(p, "each", X, classes, index=1)
    assert each.classes.tolist() == [0, 1, 2]
    assert torch.equal(each.x, X[[4, 6, 2]])
    one = begin(p, "image", X, classes, index=3)
    assert one.classes.tolist() == [1] * CHAINS
    assert all(torch.equal(x, X[3]) for x in one.x)
    noise = begin(p, "noise", X, seed=1)
    assert torch.equal(noise.x, begin(other, "noise", X, seed=1).x), "A and B begin in the same noise"
    assert not noise.classed
    assert set(noise.x.unique().tolist()) == {0.0, 1.0}
    prior = begin(p, "prior", X, seed=1).x
    assert torch.equal(prior, begin(p, "prior", X, seed=1).x)
    assert not torch.equal(prior, begin(p, "prior", X, seed=2).x)
    drawn = begin(p, "draw", X, drawn=X[:1])
    assert drawn.x.shape == (CHAINS, *SHAPE)
    with pytest.raises(SymeqError, match="draw a digit"):
        begin(p, "draw", X)


def test_one_of_each_counts_round_and_without_classes_takes_a_run():
    classes = torch.tensor([1, 0, 1])
    assert one_of_each(classes, 3, 3) == [1, 2]
    assert one_of_each(None, 1, 15) == [10, 11, 12, 13, 14, 0, 1, 2, 3, 4]
    assert one_of_each(None, 0, 4) == [0, 1, 2, 3]


def film(name="reverse", **options):
    pair = build(MODELS[name], seed=1)
    return Film(*pair, begin(pair[0], "each", X, None), seed=0, ks=marks(30), **options)


def test_a_film_in_parts_is_the_film_at_once():
    whole, parts = film(), film()
    whole.advance()
    for until in (0, 3, 4, 17, 100):
        parts.advance(until)
    parts.advance(seconds=0)
    assert whole.done
    assert parts.done
    assert len(whole.samples) == len(whole.means) == len(whole.ks)
    assert all(np.array_equal(a, b) for a, b in zip(whole.means, parts.means, strict=True))


def test_a_film_stopped_between_steps_goes_on_where_it_was():
    whole, stopped = film(), film()
    whole.advance()
    calls = iter(range(1000))

    def stop_at_seven():
        if next(calls) == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped.advance(between=stop_at_seven)
    assert stopped.k == 6
    stopped.advance(between=lambda: next(calls))
    assert next(calls) == 7 + 1 + len(range(7, 31)), "asked before each step"
    assert all(np.array_equal(a, b) for a, b in zip(whole.samples, stopped.samples, strict=True))


def test_frames_are_the_chains_own_images_and_the_means_they_were_drawn_from():
    f = film()
    f.advance()
    assert np.array_equal(f.samples[0], X[:7, 0].mul(255).byte().numpy())
    assert np.array_equal(f.means[0], f.samples[0])
    from symeq_core.seeds import derive

    trips = list(coupled_trips(f.p, f.q, f.begun.x, 30, derive(0, "film")))
    at = f.ks.index(10)
    assert np.array_equal(f.samples[at], trips[10]["x"][:, 0].mul(255).byte().numpy())
    mean = f.p.mean({k: trips[9][k] for k in ("z0", "z1")}, "x")[:, 0].detach().mul(255).round().byte().numpy()
    assert np.array_equal(f.means[at], mean)


def test_what_is_seen_is_judged_by_the_mean_and_the_origin_is_the_label_where_there_is_one():
    def two_classes(x):
        dark = x.flatten(1).mean(1)
        return torch.stack((dark, 1 - dark), 1)

    f = film(probabilities=two_classes)
    f.advance(5)
    share = f.means[3].reshape(7, -1).mean(1) / 255
    assert [c for c, _ in f.seen[3]] == [int(s <= 0.5) for s in share]
    assert f.origin == [c for c, _ in f.seen[0]]
    pair = build(MODELS["flat"], seed=1)
    labelled = Film(*pair, begin(pair[0], "each", X, torch.arange(7)), 0, two_classes, marks(5))
    assert labelled.origin == list(range(7))
    noise = Film(*pair, begin(pair[0], "noise", X), 0, two_classes, marks(5))
    noise.advance()
    assert noise.origin is None
    silent = film()
    silent.advance(2)
    assert silent.origin is None


def test_a_sprite_holds_every_frame_and_is_small_where_black_and_white_is_enough():
    g = np.random.default_rng(0)
    frames = [g.integers(0, 2, (3, 4, 5)).astype(np.uint8) * 255 for _ in range(6)]
    picture = Image.open(io.BytesIO(sprite(frames)))
    assert (picture.mode, picture.size) == ("1", (15, 24))
    pixels = np.asarray(picture).astype(np.uint8) * 255
    assert np.array_equal(pixels[2 * 4 : 3 * 4, 5:10], frames[2][1])
    grey = [g.integers(0, 256, (3, 4, 5)).astype(np.uint8) for _ in range(2)]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(sprite(grey))))[4:8, 10:], grey[1][2])
    colour = [g.integers(0, 256, (3, 4, 5, 3)).astype(np.uint8)]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(sprite(colour))))[:, 5:10], colour[0][1])
