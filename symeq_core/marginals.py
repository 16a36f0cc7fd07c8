"""Many codes z beside the prior pi(z), layer by layer: marginals of single units, and correlations of pairs of units.

Layers below the top have no marginal in closed form: there it is estimated from many codes drawn from the decoder.
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from .factors import Chain, Factor, Values
from .families import Bernoulli, Categorical, Family
from .models import latents_of

PRIOR_SAMPLES = 20_000  # from which marginals are estimated where they aren't known
_TINY = 1e-6  # keeps fitted probabilities and variances off their bounds


class Layer(NamedTuple):
    """What the prior says of one latent variable: its units' marginals and the correlations of pairs of entries."""

    family: Family
    scores: Tensor  # [1, *score_shape] of the units' marginals
    correlation: Tensor  # [entries, entries]; zero where the prior is known to be independent


class Distance(NamedTuple):
    """How far codes are from the prior; `terms` [N], whose mean is the sum of `units`, give the standard error."""

    units: Tensor  # [units] KL(unit's marginal || its marginal under the prior) in nats
    terms: Tensor
    correlation: float  # the largest |difference| of a pairwise correlation to the prior's


def prior_codes(p: Chain, n: int) -> Values:
    """n codes of all latents from the prior and the decoder's latent layers, without drawing x."""
    v = p.sample({"x": torch.empty(n, 0, device=next(p.parameters()).device)})
    return {name: v[name] for name in latents_of(p)}


def fitted(family: Family, z: Tensor) -> Tensor:
    """Scores [1, *score_shape] of independent units with the same moments as z [N, *event]."""
    mean = z.mean(0, keepdim=True)
    if isinstance(family, Bernoulli):
        return mean.clamp(_TINY, 1 - _TINY).logit()
    if isinstance(family, Categorical):
        return mean.clamp(min=_TINY).log()
    variance = z.var(0, keepdim=True, correction=0).clamp(min=_TINY)
    return torch.stack((mean / variance, -0.5 / variance), 1)


def correlations(z: Tensor) -> Tensor:
    """[entries, entries] correlations of z [N, units, *rest]; zero within a unit and where an entry is constant."""
    unit = torch.arange(z.shape[1], device=z.device).repeat_interleave(z[0, 0].numel())
    flat = z.flatten(1)
    flat = flat - flat.mean(0)
    scale = flat.square().sum(0).sqrt()
    flat = flat / torch.where(scale > _TINY * len(z), scale, torch.inf)
    return (flat.T @ flat) * (unit[:, None] != unit)


@torch.no_grad()
def prior_layers(p: Chain, q: Chain) -> dict[str, Layer]:
    """The prior of each latent, exact for a top layer with a density, else from PRIOR_SAMPLES codes."""
    drawn: Values = {}
    found = {}
    for name in latents_of(p):
        factor, family = p[name], q.explicit()[name].family
        # the encoder's families have independent units; another family's marginals aren't its scores
        if isinstance(factor, Factor) and not factor.parents and type(factor.family) is type(family):
            entries = torch.empty(factor.event).numel()
            scores = factor.scores({}, 1)
            found[name] = Layer(family, scores, torch.zeros(entries, entries, device=scores.device))
        else:
            drawn = drawn or prior_codes(p, PRIOR_SAMPLES)
            z = drawn[name]
            found[name] = Layer(family, fitted(family, z), correlations(z))
    return found


@torch.no_grad()
def distances(layers: dict[str, Layer], z: Values) -> dict[str, Distance]:
    """Each layer's distance of codes z from the prior."""
    found = {}
    for name, layer in layers.items():
        v = z[name]
        mine, theirs = fitted(layer.family, v), layer.scores
        # the mean of these log-ratios is the KL of the fitted marginals, whatever the family
        ratio = _unit_log_probs(layer.family, mine, v) - _unit_log_probs(layer.family, theirs, v)
        difference = (correlations(v) - layer.correlation).abs()
        found[name] = Distance(ratio.mean(0), ratio.sum(1), difference.max().item())
    return found


def _unit_log_probs(family: Family, scores: Tensor, v: Tensor) -> Tensor:
    return family.unit_log_prob(scores.expand(len(v), *scores.shape[1:]), v).flatten(1)


def total_kl(found: Iterable[Distance]) -> tuple[float, float]:
    """(sum over all units of all layers, standard error) in nats."""
    terms = torch.stack([d.terms for d in found]).sum(0)
    return terms.mean().item(), (terms.std() / len(terms) ** 0.5).item()
