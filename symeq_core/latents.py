"""Codes of images: what a layer's units say about the image, how they match the prior, what flipping one does."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .chains import decode
from .factors import Chain, Implicit, Values
from .families import Categorical, Gaussian
from .learners import elbo_terms
from .models import latents_of
from .seeds import derive, seeded

Array = NDArray[np.float32]
DRAWS = 8  # of the layers that a layer's mean depends on
BATCH = 1000


@dataclass(frozen=True)
class Codes:
    """Codes of N images in one layer, flattened [N, D].

    mean: E[z | x], averaged over DRAWS draws of the encoder's earlier layers where it depends on them. sample: one
    draw. sd: standard deviations given those draws, Gaussian layers only.
    """

    mean: Array
    sample: Array
    sd: Array | None


def layers(p: Chain) -> tuple[str, ...]:
    """The latent layers, top first; a label is none."""
    return tuple(k for k in latents_of(p) if k != "y")


@torch.no_grad()
def encode(q: Chain, x: Tensor, names: Sequence[str], seed: int = 0) -> dict[str, Codes]:
    """Codes of images x [N, C, H, W] in the named layers; the same seed gives the same noise to every pair."""
    direct = all(q.explicit()[k].parents <= {"x", *q.features} for k in names)
    found: dict[str, list[list[Tensor]]] = {k: [[], [], []] for k in names}
    for start in range(0, len(x), BATCH):
        part = x[start : start + BATCH]
        means: dict[str, Tensor] = {}
        with seeded(derive(seed, "codes", start)):
            for draw in range(1 if direct else DRAWS):
                v, scores = q.propagate({"x": part})
                for k in names:
                    mean = q.explicit()[k].family.mean(scores[k])
                    means[k] = means[k] + mean if draw else mean
                    if not draw:
                        found[k][1].append(v[k].flatten(1))
                        found[k][2].append(_sd(q, k, scores[k]).flatten(1))
        for k in names:
            found[k][0].append(means[k].flatten(1) / (1 if direct else DRAWS))
    return {k: _codes(q, k, *parts) for k, parts in found.items()}


def _sd(q: Chain, name: str, scores: Tensor) -> Tensor:
    family = q.explicit()[name].family
    return family.distribution(scores).stddev if isinstance(family, Gaussian) else torch.zeros(len(scores), 1)


def _codes(q: Chain, name: str, mean: list[Tensor], sample: list[Tensor], sd: list[Tensor]) -> Codes:
    gaussian = isinstance(q.explicit()[name].family, Gaussian)
    return Codes(torch.cat(mean).numpy(), torch.cat(sample).numpy(), torch.cat(sd).numpy() if gaussian else None)


@torch.no_grad()
def image_figures(p: Chain, q: Chain, x: Tensor, seed: int = 0) -> dict[str, Array]:
    """Figures of each image [N], one draw of z each: what its decoding misses, and nats.

    error: sum over pixels of |x - E[x|z]|. -log p(x|z), and, where the prior has a density, -ELBO and what it adds
    (rate: KL or log-ratio of the codes).
    """
    found: dict[str, list[Tensor]] = {}
    implicit = any(isinstance(p[k], Implicit) for k in p.names)
    for start in range(0, len(x), BATCH):
        given = {"x": x[start : start + BATCH]}
        with seeded(derive(seed, "codes", start)):
            v = q.sample(given)
        row = {"error": (decode(p, v) - given["x"]).abs().flatten(1).sum(1)}
        if implicit:
            row["distortion"] = -p.log_probs(v, ["x"])["x"]
        else:
            with seeded(derive(seed, "codes", start)):
                terms = elbo_terms(p, q, given)[0]
            row["distortion"] = -terms.pop("x")
            row["rate"] = -torch.stack(list(terms.values())).sum(0)
            row["-ELBO"] = row["distortion"] + row["rate"]
        for k, value in row.items():
            found.setdefault(k, []).append(value)
    return {k: torch.cat(parts).numpy() for k, parts in found.items()}


def units(p: Chain, name: str, codes: Array) -> Array:
    """Codes [N, D] of a discrete layer as class probabilities [N, units, classes]; a bit has classes 0 and 1."""
    event = p[name].event
    if len(event) == 2:
        return codes.reshape(len(codes), *event)
    return np.stack((1 - codes, codes), -1)


def _entropy(p: Array) -> Array:
    p = p.astype(np.float64)
    return -(p * np.log(np.where(p > 0, p, 1.0))).sum(-1)


def information(prob: Array) -> Array:
    """I(z_j; x) of every unit [units] in nats, from its class probabilities [N, units, classes] given each image."""
    return np.maximum(_entropy(prob.mean(0)) - _entropy(prob).mean(0), 0)


def label_information(prob: Array, labels: NDArray[np.int64]) -> Array:
    """I(z_j; label) of every unit [units] in nats; over N images biased upwards by about (classes - 1) / 2N."""
    within = np.zeros(prob.shape[1])
    for c in np.unique(labels):
        mine = labels == c
        within = within + mine.mean() * _entropy(prob[mine].mean(0))
    return np.maximum(_entropy(prob.mean(0)) - within, 0)


@torch.no_grad()
def prior_draws(p: Chain, name: str, n: int, seed: int = 0) -> tuple[Array, Array]:
    """(one draw [n, D], its mean given the layers above [n, D]) from the prior of a layer."""
    with seeded(derive(seed, "prior", name)):
        v, scores = p.propagate(n=n)
    mean = p.explicit()[name].family.mean(scores[name]) if name in scores else v[name]
    return v[name].flatten(1).numpy(), mean.flatten(1).numpy()


def divergence(prob: Array, prior: Array) -> Array:
    """KL of every unit's aggregated posterior from its prior, [units] in nats; both [N, units, classes]."""
    a, b = prob.mean(0).astype(np.float64), prior.mean(0).astype(np.float64)
    return np.maximum((a * (np.log(np.maximum(a, 1e-12)) - np.log(np.maximum(b, 1e-12)))).sum(-1), 0)


def gaussian_divergence(codes: Codes, mean: float = 0.0, sd: float = 1.0) -> tuple[Array, Array, Array]:
    """(mean, s.d., KL in nats) [D] of the aggregated posterior's units, taken as normal, from a normal prior."""
    assert codes.sd is not None
    centre = codes.mean.mean(0)
    spread = np.sqrt(codes.mean.var(0) + (codes.sd**2).mean(0))
    ratio = (spread / sd) ** 2
    return centre, spread, 0.5 * (ratio + ((centre - mean) / sd) ** 2 - 1 - np.log(ratio))


@dataclass(frozen=True)
class Flips:
    """What becomes of an image when one unit of its code is switched.

    base [C, H, W] and images [units, C, H, W]: decodings, averaged over `draws` draws of the layers below. effect
    [units]: sum over pixels of |change of E[x|z]|, the noise of those layers being shared, averaged over the draws.
    """

    base: Tensor
    images: Tensor
    effect: Array
    draws: int


@torch.no_grad()
def variants(p: Chain, name: str, codes: Tensor, draws: int = 32, seed: int = 0) -> Tensor:
    """E[x|z] of codes [K, *event] of one layer, [K, draws, C, H, W]; draw i has the same noise for every code.

    Layers below are sampled; for the lowest one there is nothing to draw, and `draws` counts 1.
    """
    lowest = name == layers(p)[-1]
    count = 1 if lowest else draws
    found = []
    for code in codes:
        given = {name: code.expand(count, *code.shape)}
        above: Values = {} if lowest else {k: _fixed(p, k, count, seed) for k in latents_of(p) if _before(p, k, name)}
        with seeded(derive(seed, "below")):
            v = given if lowest else p.propagate(above | given)[0]
            found.append(decode(p, _with_label(p, v, count, seed)))
    return torch.stack(found)


def _before(p: Chain, k: str, name: str) -> bool:
    return p.names.index(k) < p.names.index(name)


def _fixed(p: Chain, name: str, n: int, seed: int) -> Tensor:
    """Layers above play no part once the layer itself is given, but must be there; labels do: drawn once."""
    with seeded(derive(seed, "above")):
        return p.sample(n=n)[name]


def _with_label(p: Chain, v: Values, n: int, seed: int) -> Values:
    needed = p.explicit()["x"].parents - set(v)
    return v | {k: _fixed(p, k, n, seed) for k in needed}


@torch.no_grad()
def flips(p: Chain, name: str, code: Tensor, draws: int = 32, seed: int = 0) -> Flips:
    """Every unit of a code [*event] switched by itself: a bit to its opposite, a class to the next one."""
    rows = [code]
    for j in range(code.shape[0]):
        other = code.clone()
        other[j] = code[j].roll(1, -1) if isinstance(p.explicit()[name].family, Categorical) else 1 - code[j]
        rows.append(other)
    found = variants(p, name, torch.stack(rows), draws, seed)
    effect = (found[1:] - found[:1]).abs().flatten(2).sum(2).mean(1)
    means = found.mean(1)
    return Flips(means[0], means[1:], effect.numpy(), found.shape[1])


@torch.no_grad()
def traversals(p: Chain, name: str, code: Tensor, values: Sequence[float], draws: int = 32, seed: int = 0) -> Tensor:
    """Decodings [D, len(values), C, H, W] of a real code [D], one unit at a time set to each of the values."""
    rows = [torch.cat((code[:j], code.new_tensor([v]), code[j + 1 :])) for j in range(len(code)) for v in values]
    found = variants(p, name, torch.stack(rows), draws, seed).mean(1)
    return found.unflatten(0, (len(code), len(values)))


def mlp(p: Chain) -> list[tuple[Array, Array]] | None:
    """The decoder of pixels as [(weights [out, in], bias [out]), ...] if it is one perceptron of z0 alone, else None.

    Hidden layers are activated as `activation` says, the last one as `output`.
    """
    from .nets import MLP

    factor = p.explicit()["x"]
    terms = list(factor.terms.children())
    if len(terms) != 1 or factor.base is not None or factor.constant is not None or factor.parents != {"z0"}:
        return None
    net = terms[0].net
    if not isinstance(net, MLP):
        return None
    linear = [m for m in net.layers if isinstance(m, torch.nn.Linear)]
    return [(m.weight.detach().numpy(), m.bias.detach().numpy()) for m in linear]
