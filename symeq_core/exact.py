"""Pairs small enough to enumerate: every joint value, and from it exact utilities, ELBO and gradients."""

import itertools
import math
from typing import NamedTuple

import torch
from torch import Tensor

from .errors import UsageError
from .factors import Chain, Values
from .families import Bernoulli

MAX_STATES = 1 << 20


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
