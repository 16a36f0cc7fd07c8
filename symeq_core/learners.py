"""What each player maximises: a learner is a tuple of Moves, and a move is one player's turn.

Every utility is a dict of [B] tensors in nats, one per term; the trainer averages each over its batch and adds them.
Labelled pairs, where there are any, add the terms E_pi(x,y) with weight w.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .config import LearnerConfig
from .errors import UsageError
from .estimators import repeat, score_function
from .factors import Chain, Implicit, Values
from .models import latents_of


class Batch(NamedTuple):
    """One batch: `data` {"x": [B, C, H, W]}; `labelled` {"x": ..., "y": ...} of its own size, or None."""

    data: Values
    labelled: Values | None = None


Utility = Callable[[Batch], dict[str, Tensor]]


class Move(NamedTuple):
    """One player's turn: it ascends `utility` in `params` and in nothing else."""

    player: str
    params: tuple[nn.Parameter, ...]
    utility: Utility


def _weighted(terms: Values, weight: float) -> Values:
    return {f"labelled/{k}": weight * v for k, v in terms.items()}


def players(p: Chain, q: Chain) -> tuple[tuple[nn.Parameter, ...], tuple[nn.Parameter, ...]]:
    """(theta, phi), which never overlap: phi is what of q is not already p's."""
    theta = tuple(p.parameters())
    mine = {id(w) for w in theta}
    return theta, tuple(w for w in q.parameters() if id(w) not in mine)


def _game(p: Chain, q: Chain, config: LearnerConfig) -> tuple[Move, Move]:
    w = config.labelled_weight

    def L_p(batch: Batch) -> Values:
        terms = p.log_probs(q.sample(batch.data))  # E_pi(x) E_q(z|x) log p(x, z)
        if batch.labelled:  # E_pi(x,y) E_q(z|x,y) log p(x, y, z)
            terms |= _weighted(p.log_probs(q.sample(batch.labelled)), w)
        return terms

    def L_q(batch: Batch) -> Values:
        terms = q.log_probs(p.sample(n=len(batch.data["x"])))  # E_pi(z) E_p(x|z) log q(z|x)
        if batch.labelled:  # E_pi(x,y) log q(y|x)
            terms |= _weighted(q.log_probs(batch.labelled, of=["y"]), w)
        return terms

    theta, phi = players(p, q)
    return Move("p", theta, L_p), Move("q", phi, L_q)


def symmetric(p: Chain, q: Chain, config: LearnerConfig) -> tuple[Move, ...]:
    """The game: each player ascends its own utility. Source: Flach et al. 2024, L_p and L_q."""
    prior = p["z0"]
    if not isinstance(prior, Implicit) and any(True for _ in prior.parameters()):
        raise UsageError(
            "In the symmetric game the prior pi(z) is given, so it can't be learned: "
            "set model.prior=fixed, or learner.name=wake_sleep to learn it."
        )
    return _game(p, q, config)


def wake_sleep(p: Chain, q: Chain, config: LearnerConfig) -> tuple[Move, ...]:
    """Wake: p learns on q's codes of data; sleep: q learns on p's dreams, drawn from p's own, learned prior.

    With a fixed prior nothing distinguishes it from the symmetric game; tests hold the two equal.
    Source: Hinton et al., The wake-sleep algorithm, 1995.
    """
    _refuse_implicit(p, "Wake-sleep learns log p(z) and dreams from it", "the symmetric game needs samples only")
    return _game(p, q, config)


def elbo_terms(p: Chain, q: Chain, given: Values, differentiable: bool = False) -> tuple[Values, Values]:
    """(terms, log_q): the ELBO of log p(given), term by term [B] in nats, and log q of each sampled latent.

    A latent's term is -KL(q || p) in closed form where p's parents of it are known before it is drawn, and the
    log-ratio log p - log q of its sample elsewhere. A given label adds log p(y).
    """
    v, q_scores = q.propagate(given, differentiable=differentiable)
    p_scores = p.scores(v)
    p_factors, known = p.explicit(), set(given)
    terms: Values = {}
    log_q: Values = {}
    for name in (k for k in q.names if k in q_scores):
        s, t = q_scores[name], p_scores[name]
        family = p_factors[name].family
        log_q[name] = family.log_prob(s, v[name])
        if p_factors[name].parents <= known:
            terms[name] = -family.kl(s, t)
        else:
            terms[name] = family.log_prob(t, v[name]) - log_q[name]
        known.add(name)
    for name in given:
        terms[name] = p_factors[name].family.log_prob(p_scores[name], v[name])
    return terms, log_q


def _refuse_implicit(p: Chain, why: str, way_out: str) -> None:
    for name in p.names:
        if isinstance(p[name], Implicit):
            raise UsageError(
                f"{why}, but the prior of {name} is implicit: it is known by samples only and has no density. "
                f"Choose learner.name=symmetric ({way_out}) or a prior with a density."
            )


def check_estimator(p: Chain, estimator: str) -> str:
    """The estimator by which the ELBO's gradient passes p's latents; `auto` chooses. UsageError where it can't."""
    families = {k: p.explicit()[k].family for k in latents_of(p)}
    discrete = [k for k, f in families.items() if f.discrete]
    if estimator == "auto":
        return "zgr" if discrete else "pathwise"
    if estimator == "pathwise" and discrete:
        kind = type(families[discrete[0]]).__name__
        raise UsageError(
            f"The pathwise estimator needs Gaussian latents, but {discrete[0]} is {kind}: "
            "set learner.estimator to zgr or score."
        )
    if estimator == "zgr" and not discrete:
        raise UsageError("ZGR is for discrete latents, but all are Gaussian here: set learner.estimator=pathwise.")
    return estimator


def elbo(p: Chain, q: Chain, config: LearnerConfig) -> tuple[Move, ...]:
    """Both players ascend one utility, E_pi(x) E_q(z|x) [log p(x, z) - log q(z|x)]."""
    _refuse_implicit(p, "The ELBO contains KL(q(z|x) || p(z)), which needs log p(z)", "it needs samples only")
    score = check_estimator(p, config.estimator) == "score"
    samples, w = (config.samples if score else 1), config.labelled_weight

    def bound(given: Values) -> Values:
        terms, log_q = elbo_terms(p, q, repeat(given, samples) if score else given, differentiable=not score)
        if score and log_q:
            first = next(iter(terms))
            reward, log_probs = torch.stack([*terms.values()]).sum(0), torch.stack([*log_q.values()]).sum(0)
            terms[first] = terms[first] + score_function(reward, log_probs, samples)
        return terms

    def utility(batch: Batch) -> Values:
        terms = bound(batch.data)
        if batch.labelled:  # the bound of log p(x, y), and the classifier's log q(y|x)
            terms |= _weighted(bound(batch.labelled), w)
            terms["labelled/q"] = w * q.log_probs(batch.labelled, of=["y"])["y"]
        return terms

    theta, phi = players(p, q)
    return Move("p", theta, utility), Move("q", phi, utility)


LEARNERS: dict[str, Callable[[Chain, Chain, LearnerConfig], tuple[Move, ...]]] = {
    "symmetric": symmetric,
    "elbo": elbo,
    "wake_sleep": wake_sleep,
}


def moves(p: Chain, q: Chain, config: LearnerConfig) -> tuple[Move, ...]:
    """The moves of the configured learner; UsageError where it can't learn this pair."""
    return LEARNERS[config.name](p, q, config)
