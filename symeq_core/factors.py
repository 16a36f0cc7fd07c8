"""A joint distribution as a chain of conditionals: Factor, Implicit, Chain."""

from collections.abc import Callable, Iterable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from .errors import SymeqError
from .families import Family, Shape

Values = dict[str, Tensor]  # {"x": [B, 1, 28, 28], "z0": [B, 30], "z1": [B, 100]}


class Term(nn.Module):
    """What some parents contribute to a variable's scores: net(*parents), before `natural`."""

    def __init__(self, parents: Sequence[str], net: nn.Module) -> None:
        super().__init__()
        self.parents, self.net = tuple(parents), net

    def forward(self, known: Values) -> Tensor:
        return self.net(*[known[k] for k in self.parents])


class Constant(nn.Module):
    """A learned raw score without parents, [1, *shape]."""

    def __init__(self, raw: Tensor) -> None:
        super().__init__()
        self.raw = nn.Parameter(raw)

    def forward(self) -> Tensor:
        return self.raw


class Factor(nn.Module):
    """p(name | parents), its scores a sum: constant + base's scores + sum_k natural(net_k(parents_k)).

    constant: fixed scores [1, *score_shape]. base: another chain's factor of the same variable whose scores are
    added (the ladder's shared decoder block); it stays that chain's, so its parameters are not ours.
    """

    constant: Tensor | None

    def __init__(
        self,
        name: str,
        family: Family,
        event: Shape,
        terms: Iterable[Term] = (),
        constant: Tensor | None = None,
        base: "Factor | None" = None,
    ) -> None:
        super().__init__()
        self.name, self.family, self.event = name, family, tuple(event)
        self.terms = nn.ModuleList(terms)
        self.register_buffer("constant", constant)
        self._base = (base,)  # in a tuple: not registered, it belongs to the other player

    @property
    def base(self) -> "Factor | None":
        return self._base[0]

    @property
    def parents(self) -> frozenset[str]:
        """Names of the variables and features the scores depend on."""
        own = {k for t in self.terms.children() for k in cast(Term, t).parents}
        return frozenset(own | (self.base.parents if self.base else set()))

    def scores(self, known: Values, n: int) -> Tensor:
        """Natural parameters [n, *score_shape] given the parents' values."""
        parts: list[Tensor] = [self.family.natural(term(known)) for term in self.terms]
        if self.constant is not None:
            parts.append(self.constant)
        if self.base is not None:
            parts.append(self.base.scores(known, n))
        s = parts[0]
        for part in parts[1:]:
            s = s + part
        return s if s.shape[0] == n else s.expand(n, *s.shape[1:])


class Implicit(nn.Module):
    """A distribution known by its samples only: draw(n) -> [n, *event]; to a utility it adds a dropped constant."""

    like: Tensor

    def __init__(self, name: str, draw: Callable[[int], Tensor] | None, event: Shape) -> None:
        super().__init__()
        self.name, self.draw, self.event = name, draw, tuple(event)
        self.register_buffer("like", torch.zeros(()))  # knows device and dtype

    def sample(self, n: int) -> Tensor:
        """n samples [n, *event]."""
        if self.draw is None:
            raise SymeqError(
                f"The prior of {self.name} was a function given by the caller and is not stored with the pair: "
                "pass it again as load(folder, prior=function) to sample from it."
            )
        v = self.draw(n)
        if tuple(v.shape) != (n, *self.event):
            raise SymeqError(
                f"The implicit prior of {self.name} must draw a tensor of shape {[n, *self.event]}, "
                f"but it drew {list(v.shape)}."
            )
        return v.to(self.like)


class Feature(Term):
    """A deterministic variable of a chain (an encoder trunk), computed when a factor first asks for it."""


class _Known(dict):
    """Values of one call; features are computed on demand and forgotten with the call."""

    def __init__(self, values: Values, features: dict[str, Feature]) -> None:
        super().__init__(values)
        self.features = features

    def __missing__(self, name: str) -> Tensor:
        self[name] = value = self.features[name](self)
        return value


class Chain(nn.Module):
    """Factors in ancestral order, with the features they share."""

    def __init__(self, factors: Sequence["Factor | Implicit"], features: dict[str, Feature] | None = None) -> None:
        super().__init__()
        self.factors = nn.ModuleDict({f.name: f for f in factors})
        self.features = nn.ModuleDict(features or {})
        # the same objects in plain containers: looking a module up by attribute is slow
        self._order = {f.name: f for f in factors}
        self._explicit = {f.name: f for f in factors if isinstance(f, Factor)}
        self._features = dict(features or {})

    @property
    def names(self) -> tuple[str, ...]:
        """Variables in ancestral order."""
        return tuple(self._order)

    def __getitem__(self, name: str) -> "Factor | Implicit":
        """The factor of a variable."""
        return self._order[name]

    def explicit(self) -> dict[str, Factor]:
        """The factors that have a density, by variable."""
        return self._explicit

    def propagate(
        self,
        given: Values | None = None,
        n: int | None = None,
        differentiable: bool = False,
        uniforms: Callable[[str, Shape], Tensor] | None = None,
    ) -> tuple[Values, Values]:
        """Ancestral sampling: (values, scores) of what was given and of all the rest; scores only of the rest.

        given: values that stay clamped. n: batch size, needed where nothing is given.
        differentiable: draw by `rsample`, so that gradients pass the samples.
        uniforms: (name, shape) -> the uniform numbers each variable is drawn by; an implicit one ignores them.
        """
        given = given or {}
        n = n if n is not None else len(next(iter(given.values())))
        known, scores = _Known(given, self._features), {}
        for name, factor in self._order.items():
            if name in given:
                continue
            if isinstance(factor, Implicit):
                known[name] = factor.sample(n)
                continue
            scores[name] = s = factor.scores(known, n)
            if uniforms is not None:
                known[name] = factor.family.at(s, uniforms(name, (n, *factor.event)))
            else:
                known[name] = factor.family.rsample(s) if differentiable else factor.family.sample(s)
        return {k: v for k, v in known.items() if k not in self._features}, scores

    @torch.no_grad()
    def sample(self, given: Values | None = None, n: int | None = None) -> Values:
        """Draws what is missing; what is given stays clamped. Never differentiable."""
        return self.propagate(given, n)[0]

    def rsample(self, given: Values) -> Values:
        """As `sample`, with gradients passing the samples: pathwise or ZGR, by family."""
        return self.propagate(given, differentiable=True)[0]

    def evaluated_features(self, v: Values) -> Values:
        """The features at the values v, by name; given along with v they aren't computed again."""
        known = _Known(v, self._features)
        return {k: known[k] for k in self._features}

    def scores(self, v: Values, of: Iterable[str] | None = None) -> Values:
        """Natural parameters of the factors in `of` (default: all that have a density), by variable."""
        known, n = _Known(v, self._features), len(next(iter(v.values())))
        return {k: self._explicit[k].scores(known, n) for k in (self._explicit if of is None else of)}

    def log_probs(self, v: Values, of: Iterable[str] | None = None) -> Values:
        """log p(variable | parents) of each factor, [B] in nats, by variable; an implicit factor has none."""
        return {k: self._explicit[k].family.log_prob(s, v[k]) for k, s in self.scores(v, of).items()}

    def mean(self, v: Values, name: str) -> Tensor:
        """E[name | parents] at the values v, [B, *event]."""
        return self._explicit[name].family.mean(self.scores(v, (name,))[name])
