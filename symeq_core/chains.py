"""Round trips x -> z ~ q(z|x) -> x' ~ p(x|z) -> ..., and their limiting distribution."""

from collections.abc import Iterator

import torch
from torch import Tensor

from .factors import Chain, Values
from .models import latents_of, random_codes


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


@torch.no_grad()
def reconstruct(p: Chain, q: Chain, x: Tensor) -> Tensor:
    """E[x' | z] for one z ~ q(z|x), [B, C, H, W]."""
    return decode(p, q.sample({"x": x}))


@torch.no_grad()
def limiting(p: Chain, q: Chain, n: int, steps: int = 1000) -> Tensor:
    """Limiting images [n, C, H, W]: pixels Bernoulli(1/2), `steps` sampled round trips, then the mean of x.

    Source: the protocol of the authors' published scores.
    """
    x = torch.bernoulli(torch.full((n, *p["x"].event), 0.5, device=next(p.parameters()).device))
    v: Values = {}
    for v in round_trips(p, q, x, steps):  # noqa: B007 (the last one is wanted)
        pass
    return decode(p, v)
