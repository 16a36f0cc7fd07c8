"""Round trips x -> z ~ q(z|x) -> x' ~ p(x|z) -> ..., and their limiting distribution."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from .factors import Chain, Values
from .families import Shape
from .models import latents_of, random_codes
from .seeds import derive


@torch.no_grad()
def decode(p: Chain, v: Values) -> Tensor:
    """E[x | z], [B, C, H, W]."""
    return p.mean(v, "x")


@torch.no_grad()
def decoded_prior(p: Chain, n: int) -> Tensor:
    """Random codes: z0 from the prior, the further latents sampled, then the mean of x; [n, C, H, W]."""
    return decode(p, random_codes(p, n))


@torch.no_grad()
def round_trips(p: Chain, q: Chain, x: Tensor, steps: int) -> Iterator[Values]:
    """Yields, for k = 0 ... steps, the k-th x of the chain with the codes z drawn from it (both sampled)."""
    for k in range(steps + 1):
        v = q.sample({"x": x})
        yield v
        if k < steps:
            x = p.sample({name: v[name] for name in latents_of(p)})["x"]


def shared_uniforms(seed: int, k: int) -> Callable[[str, Shape], Tensor]:
    """(variable, shape) -> uniforms in (0, 1): a function of (seed, k, variable, shape) alone.

    So two chains that draw by them have common random numbers in whatever order they draw, wherever their shapes agree.
    """

    def uniforms(name: str, shape: Shape) -> Tensor:
        g = torch.Generator().manual_seed(derive(seed, "chain", k, name))
        return torch.rand(shape, generator=g).clamp_(2**-25, 1 - 2**-24)

    return uniforms


@torch.no_grad()
def coupled_trips(p: Chain, q: Chain, x: Tensor, steps: int, seed: int) -> Iterator[Values]:
    """As `round_trips`, on the CPU, with random numbers that any other pair's chain of this seed shares.

    No generator but its own is used: chains of several threads don't disturb each other.
    """
    for k in range(steps + 1):
        v = q.propagate({"x": x}, uniforms=shared_uniforms(seed, k))[0]
        yield v
        if k < steps:
            codes = {name: v[name] for name in latents_of(p)}
            x = p.propagate(codes, uniforms=shared_uniforms(seed, k + 1))[0]["x"]


@torch.no_grad()
def reconstruct(p: Chain, q: Chain, x: Tensor) -> Tensor:
    """E[x' | z] for one z ~ q(z|x), [B, C, H, W]."""
    return decode(p, q.sample({"x": x}))


@torch.no_grad()
def interpolations(p: Chain, q: Chain, a: Tensor, b: Tensor, length: int) -> Tensor:
    """Decoded paths from a code of each image of a [N, C, H, W] to one of its partner in b; [length, N, C, H, W].

    Real codes go straight. Discrete ones switch unit by unit, in one random order for all layers and images, so that
    every point of a path is a code.
    """
    ends = q.sample({"x": a}), q.sample({"x": b})
    names = latents_of(p)
    order = {name: torch.rand(ends[0][name].shape[1], device=a.device) for name in names}
    return torch.stack([decode(p, _between(q, *ends, order, k / (length - 1))) for k in range(length)])


def _between(q: Chain, a: Values, b: Values, order: dict[str, Tensor], t: float) -> Values:
    """The codes at fraction t of the way from a to b; unit j of a discrete layer switches at t = order[layer][j]."""
    found = {}
    for name, when in order.items():
        if q.explicit()[name].family.discrete:
            switched = (when < t) if t < 1 else torch.ones_like(when, dtype=torch.bool)
            found[name] = torch.where(switched.reshape(1, -1, *[1] * (a[name].dim() - 2)), b[name], a[name])
        else:
            found[name] = torch.lerp(a[name], b[name], t)
    return found


@torch.no_grad()
def limiting(p: Chain, q: Chain, n: int, steps: int = 1000, progress: Callable[[int], object] | None = None) -> Tensor:
    """Limiting images [n, C, H, W]: pixels Bernoulli(1/2), `steps` sampled round trips, then the mean of x.

    progress is told the number of round trips made. Source: the protocol of the authors' published scores.
    """
    x = torch.bernoulli(torch.full((n, *p["x"].event), 0.5, device=next(p.parameters()).device))
    v: Values = {}
    for k, v in enumerate(round_trips(p, q, x, steps)):  # noqa: B007 (the last one is wanted)
        if progress:
            progress(k)
    return decode(p, v)
