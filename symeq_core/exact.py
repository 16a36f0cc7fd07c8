"""Pairs small enough to enumerate: every joint value, and from it exact utilities, ELBO and gradients.

Where only the codes are few, they are enumerated for given images: exact log p(x), p(z|x) and q(z|x).
"""

import itertools
import math
from typing import NamedTuple

import torch
from torch import Tensor

from .errors import UsageError
from .factors import Chain, Values
from .families import Bernoulli, Gaussian

MAX_STATES = 1 << 20
MAX_CODE_BITS = 14.0  # of all latents together, for codes enumerated beside many images
ROWS = 1 << 14  # codes, or pairs of image and code, that are evaluated at once


class States(NamedTuple):
    """All S joint values of a pair's variables, and for each which value of each variable it holds."""

    values: Values  # [S, *event]
    which: dict[str, Tensor]  # [S], from 0 to the number of values of the variable - 1


def values_of(chain: Chain, name: str) -> Tensor:
    """Every value of one discrete variable, [number, *event], in lexicographic order."""
    factor = chain.explicit().get(name)
    if factor is None:
        raise UsageError(f"{name} can't be enumerated: it is implicit and has no density.")
    if not factor.family.discrete:
        raise UsageError(f"{name} can't be enumerated: it is not discrete.")
    bits = isinstance(factor.family, Bernoulli)
    units, levels = (math.prod(factor.event), 2) if bits else factor.event
    if units * math.log2(levels) > math.log2(MAX_STATES):
        raise UsageError(f"{name} has {levels}^{units} values, too many to enumerate.")
    codes = torch.tensor(list(itertools.product(range(levels), repeat=units)))
    if bits:
        return codes.float().reshape(-1, *factor.event)
    return torch.nn.functional.one_hot(codes, levels).float()


def enumerate_states(p: Chain) -> States:
    """All joint values of p's variables; UsageError where one is continuous or they are too many."""
    tables = {name: values_of(p, name) for name in p.names}
    count = math.prod(map(len, tables.values()))
    if count > MAX_STATES:
        raise UsageError(f"The pair has {count:,} joint values, too many to enumerate.")
    index = torch.cartesian_prod(*(torch.arange(len(t)) for t in tables.values()))
    return States(
        {name: t[index[:, i]] for i, (name, t) in enumerate(tables.items())},
        {name: index[:, i] for i, name in enumerate(tables)},
    )


def log_joint(chain: Chain, states: States) -> Tensor:
    """[S] log p(x, z), or log q(z | x), in nats."""
    return torch.stack(list(chain.log_probs(states.values).values())).sum(0)


def weights_q(q: Chain, states: States, pi: Tensor) -> Tensor:
    """[S] pi(x) q(z | x), pi being [number of values of x]."""
    return pi[states.which["x"]] * log_joint(q, states).exp()


def L_p(p: Chain, q: Chain, states: States, pi: Tensor) -> Tensor:
    """E_pi(x) E_q(z|x) log p(x, z), differentiable in theta, q held fixed."""
    return (weights_q(q, states, pi).detach() * log_joint(p, states)).sum()


def L_q(p: Chain, q: Chain, states: States) -> Tensor:
    """E_pi(z) E_p(x|z) log q(z | x), differentiable in phi, p held fixed."""
    return (log_joint(p, states).exp().detach() * log_joint(q, states)).sum()


def elbo(p: Chain, q: Chain, states: States, pi: Tensor) -> Tensor:
    """E_pi(x) E_q(z|x) [log p(x, z) - log q(z | x)], differentiable in theta and phi."""
    log_q = log_joint(q, states)
    return (pi[states.which["x"]] * log_q.exp() * (log_joint(p, states) - log_q)).sum()


def code_bits(p: Chain) -> float:
    """log2 of the number of codes: all values of all latents together; infinite where one is continuous."""
    bits = 0.0
    for name in (k for k in p.names if k != "x"):
        factor = p.explicit().get(name)
        if factor is None or not factor.family.discrete:
            return math.inf
        binary = isinstance(factor.family, Bernoulli)
        bits += math.prod(factor.event) if binary else factor.event[0] * math.log2(factor.event[1])
    return bits


def enumerate_codes(p: Chain) -> Values:
    """All S codes, without x: {"z0": [S, *event], ...}; UsageError beyond MAX_CODE_BITS."""
    names = [k for k in p.names if k != "x"]
    bits = code_bits(p)
    if MAX_CODE_BITS + 1e-9 < bits < math.inf:
        raise UsageError(f"The codes have {bits:.0f} bits, too many to enumerate: at most {MAX_CODE_BITS:.0f}.")
    tables = [values_of(p, name) for name in names]
    index = torch.cartesian_prod(*(torch.arange(len(t)) for t in tables)).reshape(-1, len(tables))
    like = next(p.parameters())
    return {name: t[index[:, i]].to(like) for i, (name, t) in enumerate(zip(names, tables, strict=True))}


@torch.no_grad()
def log_p_of_codes(p: Chain, codes: Values, x: Tensor) -> Tensor:
    """[N, S] log p(x, z) of images x [N, C, H, W] with each of S codes, in nats and float64.

    In a family with scores s, log p(x | s) = <s, T(x)> + log p(0 | s), as T(0) = 0: one matrix product for all pairs.
    """
    latents = [k for k in p.names if k != "x"]
    statistic = x.double().flatten(1)
    if isinstance(p.explicit()["x"].family, Gaussian):
        statistic = torch.cat((statistic, statistic.square()), 1)
    found = []
    for start in range(0, len(codes[latents[0]]), ROWS // 4):
        v = {k: codes[k][start : start + ROWS // 4] for k in latents}
        prior = sum(t.double() for t in p.log_probs(v, latents).values())
        family, s = p.explicit()["x"].family, p.scores(v, ("x",))["x"].double()
        base = prior + family.log_prob(s, torch.zeros(len(s), *x.shape[1:], dtype=s.dtype, device=s.device))
        found.append(statistic @ s.flatten(1).T + base)
    return torch.cat(found, 1)


@torch.no_grad()
def log_q_of_codes(q: Chain, codes: Values, x: Tensor) -> Tensor:
    """[N, S] log q(z | x) of each of S codes given images x [N, C, H, W], in nats and float64.

    What depends on x alone is computed once an image, what depends on z alone once a code.
    """
    size, factors = len(next(iter(codes.values()))), q.explicit()
    alone = [k for k, f in factors.items() if not f.parents & {"x", *q.features}]
    found = torch.zeros(len(x), size, dtype=torch.float64, device=x.device)
    for term in q.log_probs(codes, alone).values() if alone else ():
        found += term
    both = [k for k in factors if k not in alone]
    given = q.evaluated_features({"x": x})
    if not given or any("x" in factors[k].parents for k in both):
        given["x"] = x
    images = max(1, ROWS // size)
    for start in range(0, len(x), images):
        part = {k: v[start : start + images] for k, v in given.items()}
        n = len(next(iter(part.values())))
        v = {k: v.repeat_interleave(size, 0) for k, v in part.items()}
        v |= {k: v.repeat(n, *[1] * (v.dim() - 1)) for k, v in codes.items()}
        for term in q.log_probs(v, both).values():
            found[start : start + n] += term.reshape(n, size)
    return found
