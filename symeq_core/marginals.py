"""Many codes z beside the prior pi(z), layer by layer: marginals of single units, and correlations of pairs of units.

Layers below the top have no marginal in closed form: there it is estimated from many codes drawn from the decoder.
"""

from collections.abc import Iterable, Mapping
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
    """How far codes are from the prior. Standard errors are those of the codes: a prior that is known from samples
    only is taken as it is, and the largest of several counts as if it had been chosen beforehand.
    """

    units: Tensor  # [units] KL(unit's marginal || its marginal under the prior) in nats
    terms: Tensor  # [N, units], whose means are `units`
    correlation: tuple[float, float]  # the largest |difference| of a pairwise correlation to the prior's, its error

    @property
    def largest(self) -> tuple[int, float, float]:
        """The unit farthest from the prior: (which, its KL, standard error) in nats."""
        i = int(self.units.argmax())
        return i, self.units[i].item(), _error(self.terms[:, i])


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


def correlation(a: Tensor, b: Tensor) -> tuple[float | None, float | None]:
    """sum_i cov(a_i, b_i) / sqrt(sum_i var(a_i) sum_i var(b_i)) of a, b [N, D], with its standard error (delta method).

    (None, None) where one of them doesn't vary.
    """
    a, b = a.double() - a.double().mean(0), b.double() - b.double().mean(0)
    var_a, var_b, cov = a.square().sum(1), b.square().sum(1), (a * b).sum(1)
    scale = (var_a.mean() * var_b.mean()).sqrt()
    if scale < 1e-12:
        return None, None
    value = cov.mean() / scale
    terms = cov / scale - value / 2 * (var_a / var_a.mean() + var_b / var_b.mean())
    return value.item(), _error(terms)


def _error(terms: Tensor) -> float:
    return (terms.std() / len(terms) ** 0.5).item()


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
        found[name] = Distance(ratio.mean(0), ratio, _largest_correlation(v, layer.correlation))
    return found


def _largest_correlation(v: Tensor, prior: Tensor) -> tuple[float, float]:
    difference = (correlations(v) - prior).abs()
    i, j = divmod(int(difference.argmax()), len(prior))
    flat = v.flatten(1)
    error = correlation(flat[:, i : i + 1], flat[:, j : j + 1])[1]
    return difference[i, j].item(), error or 0.0  # an entry that doesn't vary has no correlation


def _unit_log_probs(family: Family, scores: Tensor, v: Tensor) -> Tensor:
    return family.unit_log_prob(scores.expand(len(v), *scores.shape[1:]), v).flatten(1)


def total_kl(found: Iterable[Distance]) -> tuple[float, float]:
    """(sum over all units of all layers, standard error) in nats."""
    terms = torch.stack([d.terms.sum(1) for d in found]).sum(0)
    return terms.mean().item(), _error(terms)


def largest_kl(found: Mapping[str, Distance]) -> tuple[str, float, float]:
    """(layer[unit], its KL from the prior, standard error) in nats of the unit that is farthest from it."""
    name, (unit, value, error) = max(((name, d.largest) for name, d in found.items()), key=lambda item: item[1][1])
    return f"{name}[{unit}]", value, error


def largest_correlation(found: Iterable[Distance]) -> tuple[float, float]:
    """(largest difference of a pairwise correlation to the prior's, standard error)."""
    return max(d.correlation for d in found)
