"""From a ModelConfig to the pair (p, q).

p(y) p(z0) p(z1 | z0, y) ... p(x | z_{L-1}); the label y, where there is one, is a second top-level latent.

    flat, reverse   q(y|x) q(z_{L-1}|x) q(z_{L-2}|z_{L-1}) ... q(z0|z1, y)
    ladder          q(y|x) q(z0|x, y) q(z1|z0, y, x) ...: the scores of z_k are p's own plus a term from x
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from .config import Latent, ModelConfig
from .errors import UsageError
from .factors import Chain, Constant, Factor, Feature, Implicit, Term, Values
from .families import FAMILIES, Family, Gaussian, Shape
from .nets import NETS, Nets
from .priors import IMPLICIT, Draw, Empirical
from .seeds import seeded


class _Builder:
    """What p and q are built from: variables by name and the network parts."""

    def __init__(self, config: ModelConfig) -> None:
        if config.x_shape is None:
            raise UsageError("The model does not know the image shape yet: set model.x_shape, as in [1, 28, 28].")
        self.config = config
        self.nets: Nets = NETS[config.nets](config)
        self.x: Shape = config.x_shape
        self.latents: dict[str, Latent] = dict(zip(config.latent_names, config.latents, strict=True))
        if config.label is not None:
            self.latents["y"] = config.label
        self.order = config.latent_names

    def factor(self, name: str, terms: list[Term], **extra: Any) -> Factor:
        """A latent's factor."""
        latent = self.latents[name]
        return Factor(name, FAMILIES[latent.family](), latent.event, terms, **extra)

    def raw(self, name: str) -> Shape:
        """Score shape of a latent."""
        return FAMILIES[self.latents[name].family]().score_shape(self.latents[name].event)

    def size(self, *names: str) -> int:
        return sum(math.prod(self.latents[k].event) for k in names)

    def with_label(self, *names: str) -> tuple[str, ...]:
        """These parents and the label, if there is one."""
        return (*names, "y") if "y" in self.latents else names

    def between(self, net: Any, parents: tuple[str, ...], name: str) -> list[Term]:
        """Terms of one latent layer given another: a network and, where the nets have one, a linear skip."""
        terms = [Term(parents, net(self.size(*parents), self.raw(name)))]
        skip = self.nets.skip(self.size(parents[0]), self.raw(name))
        return terms + ([Term(parents[:1], skip)] if skip else [])


def _neutral(family: Family, shape: Shape) -> Tensor:
    """Scores of the standard prior [1, *shape]: uniform bits and classes, N(0, 1)."""
    scores = torch.zeros(1, *shape)
    if isinstance(family, Gaussian):
        scores[:, 1] = -0.5
    return scores


def _neutral_raw(family: Family, shape: Shape) -> Tensor:
    """Raw scores whose `natural` is the standard prior."""
    raw = torch.zeros(1, *shape)
    if isinstance(family, Gaussian):
        raw[:, 1] = math.log(math.expm1(0.5))  # softplus^-1(1/2)
    return raw


def _prior(b: _Builder, draw: Draw | None) -> Factor | Implicit:
    """p(z0): fixed, learned or implicit."""
    kind, latent = b.config.prior, b.latents["z0"]
    family, shape = FAMILIES[latent.family](), b.raw("z0")
    if kind == "fixed" and draw is None:
        return b.factor("z0", [], constant=_neutral(family, shape))
    if kind == "learned" and draw is None:
        return b.factor("z0", [Term((), Constant(_neutral_raw(family, shape)))])
    if kind in ("fixed", "learned"):
        raise UsageError(f"The model's prior is '{kind}', yet samples of another were given: set model.prior=implicit.")
    _, _, name = kind.partition("implicit:")
    if kind != "implicit" and name not in IMPLICIT:
        known = ", ".join(f"implicit:{k}" for k in IMPLICIT)
        raise UsageError(
            f"There is no prior {kind[:40]!r}; choose fixed, learned, {known}, or implicit with a function."
        )
    if draw is not None:  # a module would be registered, trained and stored as a part of p: it is the caller's
        return Implicit("z0", lambda n: draw(n), latent.event)
    return Implicit("z0", IMPLICIT[name](latent) if name else None, latent.event)


def _label_prior(b: _Builder) -> Factor | Implicit:
    """p(y): uniform, or drawn from a bank of the training labels."""
    if b.config.label_prior == "empirical":
        event = b.latents["y"].event
        return Implicit("y", Empirical(torch.zeros(Empirical.BANK, *event, dtype=torch.uint8)), event)
    return b.factor("y", [], constant=_neutral(FAMILIES[b.latents["y"].family](), b.raw("y")))


def _decoder(b: _Builder, draw: Draw | None) -> Chain:
    factors: list[Factor | Implicit] = [_label_prior(b)] if "y" in b.latents else []
    factors.append(_prior(b, draw))
    above = b.with_label("z0")
    for name in b.order[1:]:
        factors.append(b.factor(name, b.between(b.nets.down, above, name)))
        above = (name,)
    family = FAMILIES[b.config.x_family]()
    net = b.nets.pixels(b.size(*above), family.score_shape(b.x))
    return Chain([*factors, Factor("x", family, b.x, [Term(above, net)])])


def _label_term(b: _Builder, width: int) -> list[Factor]:
    """q(y | x), from the trunk."""
    return [b.factor("y", [Term(("h",), b.nets.above(width, b.raw("y")))])] if "y" in b.latents else []


def _from_trunk(b: _Builder, width: int, name: str, bottom: bool) -> tuple[Term, tuple[str, ...]]:
    """A term from x for one layer; the top layer sees the label too."""
    labelled = b.with_label() if name == "z0" else ()
    size = width + b.size(*labelled)
    net = b.nets.above if labelled or not bottom else b.nets.bottom
    return Term(("h", *labelled), net(size, b.raw(name))), labelled


def _reverse(b: _Builder, p: Chain) -> Chain:
    trunk, width = b.nets.trunk(b.x)
    bottom = b.order[-1]
    factors = [*_label_term(b, width), b.factor(bottom, [_from_trunk(b, width, bottom, True)[0]])]
    below = bottom
    for name in reversed(b.order[:-1]):
        parents = b.with_label(below) if name == "z0" else (below,)
        factors.append(b.factor(name, b.between(b.nets.up, parents, name)))
        below = name
    return Chain(factors, {"h": Feature(("x",), trunk)})


def _ladder(b: _Builder, p: Chain) -> Chain:
    """Each layer's term from x is a feature of its own, so that the next layer up can take a skip from it."""
    trunk, width = b.nets.trunk(b.x)
    features = {"h": Feature(("x",), trunk)}
    terms: dict[str, list[Term]] = {}
    below = None
    for name in reversed(b.order):
        term, labelled = _from_trunk(b, width, name, below is None)
        terms[name] = [term]
        if not labelled:  # only a function of x can be a feature
            features[f"{name}|x"] = Feature(term.parents, term.net)
            terms[name] = [Term((f"{name}|x",), nn.Identity())]
        if below is not None:
            skip = b.nets.skip(math.prod(b.raw(below)), b.raw(name))
            terms[name] += [Term((f"{below}|x",), skip)] if skip else []
        below = name
    shared = p.explicit()
    factors = [b.factor(name, terms[name], base=shared.get(name)) for name in b.order]
    return Chain([*_label_term(b, width), *factors], features)


ENCODERS = {"flat": _reverse, "reverse": _reverse, "ladder": _ladder}


def build(config: ModelConfig, seed: int = 0, prior: Draw | None = None) -> tuple[Chain, Chain]:
    """The pair (p, q), freshly initialised from `seed` (the caller's random state is left as it was).

    prior: for model.prior = "implicit", any callable n -> [n, *event of z0]; it isn't stored with checkpoints.
    Raises UsageError where the config asks for what can't be.
    """
    with seeded(seed):
        b = _Builder(config)
        p = _decoder(b, prior)
        return p, ENCODERS[config.kind](b, p)


def set_label_bank(p: Chain, labels: Tensor, seed: int) -> None:
    """Fill an empirical label prior with draws (with replacement) from `labels` [N, *event]; else nothing."""
    factor = p["y"] if "y" in p.names else None
    if isinstance(factor, Implicit) and isinstance(factor.draw, Empirical):
        g = torch.Generator().manual_seed(seed)
        factor.draw.samples.copy_(labels[torch.randint(len(labels), (Empirical.BANK,), generator=g)])


def latents_of(p: Chain) -> tuple[str, ...]:
    """Names of the latents in p's ancestral order: all but x."""
    return tuple(k for k in p.names if k != "x")


def random_codes(p: Chain, n: int) -> Values:
    """Latents drawn from the prior down to the lowest layer, without x."""
    v = p.sample(n=n)
    return {name: v[name] for name in latents_of(p)}
