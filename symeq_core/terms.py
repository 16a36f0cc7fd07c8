"""What the terms of a utility are: their formulas, and how many numbers they are a sum over; no torch."""

import math
from collections.abc import Mapping, Sequence

from .config import Config, ModelConfig


def units(model: ModelConfig, name: str) -> int:
    """How many numbers a term's variable has: pixels of x, units of a layer of code."""
    name = name.removeprefix("labelled/")
    if name == "x":
        return math.prod(model.x_shape or (1,))
    if name in model.latent_names:
        return model.latents[model.latent_names.index(name)].units
    return model.label.units if model.label else 1


def formulas(config: Config, player: str) -> dict[str, str]:
    """The formula of each term of a player's utility in training, by the term's name; "sum" is the utility itself."""
    m, elbo = config.model, config.learner.name == "elbo"
    p_of, q_of = parents(m, "p"), parents(m, "q")
    p = {k: f"log p({_given(k, v)})" for k, v in p_of.items() if not _is_implicit(m, k)}
    if elbo:
        terms, whole = _bound(p_of, q_of), "E π(x) q(z|x) [log p(x, z) − log q(z|x)]"
    elif player == "p":
        terms, whole = p, "L_p = E π(x) q(z|x) log p(x, z)"
    else:
        terms, whole = {k: f"log q({_given(k, v)})" for k, v in q_of.items()}, "L_q = E π(z) p(x|z) log q(z | x)"
    return {"sum": whole, **terms}


def parents(model: ModelConfig, chain: str) -> dict[str, tuple[str, ...]]:
    """On which variables each factor of p or q depends, in ancestral order."""
    layers, y = model.latent_names, ("y",) if model.label else ()
    found: dict[str, tuple[str, ...]] = {}
    if chain == "p":
        found |= dict.fromkeys(y, ())
        above: tuple[str, ...] = ()
        for name in (*layers, "x"):
            found[name] = above
            above = (name, *y) if name == "z0" else (name,)
        return found
    found |= dict.fromkeys(y, ("x",))
    down = model.kind == "ladder"
    order = layers if down else layers[::-1]
    for k, name in enumerate(order):
        top = y if name == "z0" else ()
        if down:
            shared = (order[k - 1], *(y if order[k - 1] == "z0" else ())) if k else ()
            found[name] = (*shared, "x", *top)
        else:
            found[name] = (order[k - 1] if k else "x", *top)
    return found


def _given(name: str, parents: Sequence[str]) -> str:
    return f"{name} | {', '.join(parents)}" if parents else name


def _is_implicit(model: ModelConfig, name: str) -> bool:
    return (name == "z0" and model.prior.startswith("implicit")) or (name == "y" and model.label_prior == "empirical")


def _bound(p_of: Mapping[str, tuple[str, ...]], q_of: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Terms of the ELBO: a divergence where p's parents of a layer are known before q draws it, else a log-ratio."""
    known, found = {"x"}, {}
    for name, above in q_of.items():
        p, q = _given(name, p_of[name]), _given(name, above)
        closed = set(p_of[name]) <= known
        found[name] = f"−KL( q({q}) ‖ p({p}) )" if closed else f"log p({p}) − log q({q})"
        known.add(name)
    return found | {"x": f"log p({_given('x', p_of['x'])})"}
