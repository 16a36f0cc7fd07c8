"""How near a pair is to consistency: to one joint distribution that has both p(x|z) and q(z|x) as its conditionals."""

import math
from typing import Any

import torch
from torch import Tensor

from . import exact
from .aggregated import aggregated, information
from .factors import Chain
from .likelihood import (
    IMPLICIT,
    Figure,
    Progress,
    choice,
    each,
    figure,
    has_density,
    log_mean,
    log_ratio,
    log_weights,
    missing,
    samples_for,
)
from .observables import Extractor
from .seeds import derive, seeded
from .trips import CHAINS, chain_statistics

IMAGES = 1000
RETENTION = (1, 10, 100, 1000)
NATS = "nats per image"


@torch.no_grad()
def figures(
    p: Chain,
    q: Chain,
    x: Tensor,
    labels: Tensor | None = None,
    extractor: Extractor | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    chain: dict[str, Any] | None = None,
    limit: int = IMAGES,
    samples: int | None = None,
    chains: int = CHAINS,
) -> dict[str, Figure]:
    """Every figure of consistency, on at most `limit` of the images x [N, C, H, W], a seeded choice.

    inconsistency on data, inconsistency on dreams: E KL(q(z|x) || p(z|x)) and E KL(p(z|x) || q(z|x)), exact where the
    codes have at most 14 bits, else bounds by `samples` codes an image (the dreams' from both sides).
    label retention after 1, 10, 100, 1000 round trips; drift of the codes after 1000. chain: the `chain_statistics`
    from test images, where they are known already; else `chains` chains are run.
    unit KL, largest unit KL, largest correlation, aggregated KL: codes of data against the prior.
    unit information, mutual information: what codes tell about images.
    progress(what, fraction done). The caller's random state is left as it was.
    """
    device = next(p.parameters()).device
    samples = samples or samples_for(x)
    part = x[choice(len(x), limit, seed)].to(device)
    with seeded(derive(seed, "consistency"), device):
        found = on_data(p, q, part, samples, seed, progress)
        found |= on_dreams(p, q, len(part), samples, seed, progress)
        found |= aggregated(p, q, part, seed)
        found |= information(p, q, part, seed)
    if chain is None:
        chain = chain_statistics(
            p, q, x, labels, extractor, sorted({0, *RETENTION}), seed, progress=progress, chains=chains
        )
    return found | along_the_chain(chain, extractor)


def on_data(
    p: Chain, q: Chain, x: Tensor, samples: int, seed: int, progress: Progress | None = None
) -> dict[str, Figure]:
    """E_pi(x) KL(q(z|x) || p(z|x))."""
    name = "inconsistency on data"
    meaning = (
        "E KL(q(z|x) || p(z|x)) over test images: how far the encoder is from the decoder's own posterior; 0 is best"
    )
    if not has_density(p):
        return {name: missing(NATS, meaning, seed, IMPLICIT, better="lower")}
    if exact.code_bits(p) <= exact.MAX_CODE_BITS:
        log_q, log_p = _posteriors(p, q, x)
        kl = (log_q.exp() * (log_q - log_p)).sum(1)
        how = f"{meaning}. Exact for each image, all codes enumerated"
        return {name: figure(kl, NATS, how, seed, better="lower", **each(kl, x))}
    log_w = log_weights(p, q, x, samples, progress and (lambda done: progress("inconsistency on data", done)))
    # E KL = log p(x) - ELBO, and the importance-weighted bound is at most log p(x)
    gap = log_mean(log_w) - log_w.mean(1)
    how = f"A lower bound in expectation: the importance-weighted bound of log p(x) minus the ELBO, K = {samples:,}"
    return {name: figure(gap, NATS, f"{meaning}. {how}", seed, "lower", better="lower", K=samples, **each(gap, x))}


def _posteriors(p: Chain, q: Chain, x: Tensor) -> tuple[Tensor, Tensor]:
    """(log q(z|x), log p(z|x)), [N, S] each, for all S codes."""
    codes = exact.enumerate_codes(p)
    return exact.log_q_of_codes(q, codes, x), exact.log_p_of_codes(p, codes, x).log_softmax(1)


def on_dreams(
    p: Chain, q: Chain, n: int, samples: int, seed: int, progress: Progress | None = None
) -> dict[str, Figure]:
    """E_p(x) KL(p(z|x) || q(z|x)), exact or bounded from both sides."""
    name = "inconsistency on dreams"
    meaning = "E KL(p(z|x) || q(z|x)) over images drawn from the decoder: how well the encoder reads them; 0 is best"
    if not has_density(p):
        return {name: missing(NATS, meaning, seed, IMPLICIT, better="lower")}
    v = p.sample(n=n)
    if exact.code_bits(p) <= exact.MAX_CODE_BITS:
        log_q, log_p = _posteriors(p, q, v["x"])
        kl = (log_p.exp() * (log_p - log_q)).sum(1)
        return {name: figure(kl, NATS, f"{meaning}. Exact for each image, all codes enumerated", seed, better="lower")}
    log_w = log_weights(p, q, v["x"], samples, progress and (lambda done: progress("inconsistency on dreams", done)))
    true = log_ratio(p, q, v)
    # KL = E log w(z) - log p(x) with z the code the dream came from. The mean weight of codes from q is at most
    # log p(x) in expectation; with that z among them it is at least log p(x) (Grosse et al., 2015).
    above = true - log_mean(log_w)
    below = true - log_mean(torch.cat((true[:, None], log_w[:, 1:]), 1))
    how = f"in expectation, log p(x) being estimated from K = {samples:,} codes z ~ q(z|x)"
    return {
        name: figure(above, NATS, f"{meaning}. An upper bound {how}", seed, "upper", better="lower", K=samples),
        f"{name}, at least": figure(
            below,
            NATS,
            f"{meaning}. A lower bound {how} and the dream's own; it can't exceed log K = {math.log(samples):.2f}",
            seed,
            "lower",
            better="lower",
            K=samples,
        ),
    }


def along_the_chain(chain: dict[str, Any], extractor: Any = None) -> dict[str, Figure]:
    """Label retention and drift from the prior, out of the `chain_statistics` of chains from test images, whose classes
    are those that the extractor sees."""
    found: dict[str, Figure] = {}
    common = {"n": chain["n"], "bound": None, "seed": chain["seed"]}
    seen = {"extractor": getattr(extractor, "title", None)}
    for k in RETENTION:
        found[f"label retention after {k}"] = _at(chain, "retention", k, "higher") | common | seen
    last = max(chain["ks"])
    found[f"drift after {last}"] = _at(chain, "prior_drift", last, "lower") | common
    found[f"correlation after {last}"] = _at(chain, "prior_correlation", last, "lower") | common
    return found


def _at(chain: dict[str, Any], name: str, k: int, better: str) -> Figure:
    group = chain[name]
    meaning = f"{group['meaning']}. After {k:,} sampled round trips from test images"
    found: Figure = {"value": None, "stderr": None, "unit": group["unit"], "meaning": meaning, "better": better}
    if group["reason"] is not None:
        return found | {"reason": group["reason"]}
    if k not in chain["ks"]:
        return found | {"reason": f"the chain was not looked at after {k:,} round trips"}
    i = chain["ks"].index(k)
    found["value"] = group["value"][i]
    found["stderr"] = group["stderr"][i] if "stderr" in group else None
    if "chance" in group:
        found["chance"] = group["chance"][i]
    if "floor" in group:
        found["floor"] = group["floor"]
    return found
