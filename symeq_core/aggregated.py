"""The aggregated posterior E_pi(x) q(z|x): its distance from the prior, and what codes tell about images."""

import math

import torch
from torch import Tensor

from . import exact
from .factors import Chain
from .families import Family
from .likelihood import IMPLICIT, Figure, figure, has_density, missing
from .marginals import distances, largest_correlation, largest_kl, prior_codes, prior_layers, total_kl


@torch.no_grad()
def aggregated(p: Chain, q: Chain, x: Tensor, seed: int) -> dict[str, Figure]:
    """The aggregated posterior E_pi(x) q(z|x) against the prior pi(z)."""
    layers = prior_layers(p, q)
    z = q.sample({"x": x})
    mine, floor = distances(layers, z), distances(layers, prior_codes(p, len(x)))
    value, error = total_kl(mine.values())
    where, largest, largest_error = largest_kl(mine)
    linked, linked_error = largest_correlation(mine.values())
    common = {"n": len(x), "bound": None, "better": "lower", "seed": seed}
    floor_is = "Floor: the same of as many codes drawn from the prior"
    found: dict[str, Figure] = {
        "unit KL": {
            "value": value,
            "stderr": error,
            "unit": "nats",
            "meaning": "KL(marginal of the codes of test images || marginal under the prior), summed over all units of "
            f"all layers, one code an image. {floor_is}",
            "floor": total_kl(floor.values())[0],
            "units": {k: d.units.tolist() for k, d in mine.items()},
        },
        "largest unit KL": {
            "value": largest,
            "stderr": largest_error,
            "unit": "nats",
            "meaning": f"the largest of the single units' KL of codes of test images from the prior, at {where}. "
            f"{floor_is}",
            "floor": largest_kl(floor)[1],
        },
        "largest correlation": {
            "value": linked,
            "stderr": linked_error,
            "unit": "correlation",
            "meaning": "of two units of a layer in codes of test images, beyond that under the prior; the largest of "
            f"all pairs. {floor_is}",
            "floor": largest_correlation(floor.values())[0],
        },
    }
    return {k: {**f, **common} for k, f in found.items()} | _joint(p, q, x, seed)


def _joint(p: Chain, q: Chain, x: Tensor, seed: int) -> dict[str, Figure]:
    name, unit = "aggregated KL", "nats"
    meaning = "KL(E_pi(x) q(z|x) || pi(z)) of whole codes"
    if not has_density(p):
        return {name: missing(unit, meaning, seed, IMPLICIT, better="lower")}
    if exact.code_bits(p) > exact.MAX_CODE_BITS:
        reason = f"not computed: the codes can't be enumerated, as they have more than {exact.MAX_CODE_BITS:.0f} bits"
        return {name: missing(unit, meaning, seed, reason, better="lower")}
    codes = exact.enumerate_codes(p)
    each = exact.log_q_of_codes(q, codes, x)
    mixture = each.logsumexp(0) - math.log(len(x))
    prior = sum(t.double() for t in p.log_probs(codes, list(codes)).values())
    terms = (each.exp() * (mixture - prior)).sum(1)
    how = "all codes enumerated; an upper bound in expectation, as so few images make the mixture rougher than it is"
    return {name: figure(terms, unit, f"{meaning}; {how}", seed, "upper", better="lower")}


@torch.no_grad()
def information(p: Chain, q: Chain, x: Tensor, seed: int) -> dict[str, Figure]:
    """I_q(x; z) of whole codes, and of single units where their conditionals are known in closed form."""
    n = len(x)
    name, limit = "mutual information", f"It can't exceed log n = {math.log(n):.2f}"
    meaning = "I_q(x; z), what a code tells about the image"
    if exact.code_bits(p) <= exact.MAX_CODE_BITS:
        log_q = exact.log_q_of_codes(q, exact.enumerate_codes(p), x)
        terms = (log_q.exp() * (log_q - log_q.logsumexp(0) + math.log(n))).sum(1)
        how = "all codes enumerated"
    else:
        z = q.sample({"x": x})
        log_q = exact.log_q_of_codes(q, {k: v for k, v in z.items() if k != "x"}, x)  # [image, code of an image]
        terms = log_q.diagonal() - log_q.logsumexp(0) + math.log(n)
        how = "one code an image"
    meaning = f"{meaning}; {how}. A lower bound, from the mixture of these {n:,} images only. {limit}"
    return {name: figure(terms, "nats", meaning, seed, "lower")} | _unit_information(q, x, seed)


def _unit_information(q: Chain, x: Tensor, seed: int) -> dict[str, Figure]:
    """I_q(x; z_i) of single units, for layers drawn from x alone."""
    known, terms, others = {}, [], []
    scores, z = (
        q.scores({"x": x}, [k for k, f in q.explicit().items() if f.parents <= {"x", *q.features}]),
        q.sample({"x": x}),
    )
    for name, factor in q.explicit().items():
        if name not in scores:
            others.append(name)
            continue
        part = _unit_terms(factor.family, scores[name], z[name])
        known[name] = part.mean(0).tolist()
        terms.append(part.sum(1))
    meaning = "I_q(x; z_i), what a single unit tells about the image, summed over units"
    if not terms:
        return {
            "unit information": missing("nats", meaning, seed, "not computed: no layer is drawn from the image alone")
        }
    if others:
        meaning += f"; of the layers drawn from the image alone, so without {', '.join(others)}"
    return {"unit information": figure(torch.stack(terms).sum(0), "nats", meaning, seed, units=known)}


def _unit_terms(family: Family, s: Tensor, z: Tensor) -> Tensor:
    """[N, units] KL of each image's conditional from their average, in nats; of Gaussians by one code z an image."""
    if family.discrete:
        mean = family.mean(s).double()
        mean = mean if mean.dim() == 3 else torch.stack((mean, 1 - mean), 2)
        return (torch.special.xlogy(mean, mean) - torch.special.xlogy(mean, mean.mean(0))).sum(2)
    normal, found = family.distribution(s.double()), []
    for loc, scale, v in zip(normal.mean.T, normal.stddev.T, z.double().T, strict=True):
        log_q = torch.distributions.Normal(loc, scale).log_prob(v[:, None])  # [code, image]
        found.append(log_q.diagonal() - log_q.logsumexp(1) + math.log(len(v)))
    return torch.stack(found, 1)
