"""What a round-trip chain keeps and where it goes: statistics of many chains at chosen steps."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from .chains import decode
from .errors import UsageError
from .factors import Chain, Values
from .likelihood import choice
from .marginals import prior_codes
from .models import latents_of
from .observables import Drift, Extractor, Memory, Observable
from .recognition import Classes, Quality
from .seeds import derive, seeded

KS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
CHAINS = 1000
BATCH = 250  # images that pass the networks at once; chains of all batches advance together
STARTS = ("test", "noise", "prior")
Progress = Callable[[str, float], object]


@torch.no_grad()
def chain_statistics(
    p: Chain,
    q: Chain,
    x: Tensor,
    labels: Tensor | None = None,
    extractor: Extractor | None = None,
    ks: Sequence[int] = KS,
    seed: int = 0,
    reference: Tensor | None = None,
    progress: Progress | None = None,
    start: str = "test",
    chains: int = CHAINS,
    batch: int = BATCH,
) -> dict[str, Any]:
    """Runs chains x_0 -> z_0 ~ q(z|x_0) -> x_1 ~ p(x|z_0) -> z_1 -> ... (always sampled) and looks at them at steps ks.

    x [N, C, H, W] in [0, 1]: real images, of which `chains` (all, if fewer; a seeded choice) are the starting points.
    start: "test" starts from them, "noise" from as many images of pixels Bernoulli(1/2), "prior" from as many codes
    z_0 ~ pi(z), so that its image at k = 0 is a random code. labels: [N] whole numbers or one-hot [N, 1, classes];
    without them (or with labels of another form) a start's class is the classifier's. reference: real images for the
    Fréchet distance; default: the images of x that no chain started from or, where those are fewer than the chains,
    each half of the chains against the other half's starts.
    progress(what, fraction done). Returns JSON values; the image at step k is the mean E[x | z_k]:

        n, seed, start, ks, steps, latents   what was run (steps = largest k)
        seconds, round_trips_per_second      of the chain itself, statistics left out
        frechet                 value [len(ks)], stderr, floor, n_reference, features
        retention               value, stderr, chance: fraction of chains whose class at k is that of their start
        classes                 value, stderr: different classes met at the ks so far, per chain
        effective_classes       value, stderr: exp(entropy) of the classes of all chains at k
        pixel_autocorrelation   value, stderr
        latent_autocorrelation  value, stderr, layers {"z0": [...]}
        prior_drift             value, stderr, floor, max (over units), max_floor, layers {"z0": [...]}
        prior_correlation       value, floor, layers {"z0": [...]}
        transitions             ks, counts [k][from][to], fraction (rows of counts normalised; None where no chain
                                started in that class)

    Each of these groups also has unit, meaning and reason: value (or counts) is None where it is undefined, and reason
    says why in one sentence, else reason is None. An autocorrelation is sum_i cov(a_i, b_i) / sqrt(sum_i var(a_i)
    sum_i var(b_i)) over entries i, moments over the chains: 1 where the start is remembered exactly, 0 where it is
    forgotten; of pixels between the start (x_0, or E[x|z_0] from the prior) and E[x|z_k], of codes between z_0 and
    z_k. A floor is the same figure of n codes drawn from the prior itself (frechet: of real images). Standard errors:
    binomial, delta method, or bootstrap of 20 (frechet).
    1,000 chains of 1,000 steps take seconds on digits and about a minute on MNIST with MLPs, on one thread.
    """
    ks = sorted(set(ks))
    if not ks or ks[0] < 0:
        raise UsageError("Name the steps to look at, from 0 upwards, as in ks=(0, 1, 10).")
    if start not in STARTS:
        raise UsageError(f"A chain starts from one of {', '.join(STARTS)}, not from {start!r}.")
    if min(len(x), chains) < 2:
        raise UsageError("At least 2 chains are needed, or no uncertainty can be stated.")
    chosen = choice(len(x), chains, seed, "starts")
    first = _first(p, x, chosen, start, seed)
    known = _classes(labels, chosen) if start == "test" else None
    looks: list[Observable] = [
        Quality(extractor, x, chosen, reference, seed, batch),
        Classes(extractor, known, first.get("x"), start, batch),
        Memory(first.get("x"), latents_of(p)),
        Drift(p, q, len(chosen), seed),
    ]
    seconds = _look_along(p, q, first, ks, looks, seed, batch, progress)
    found: dict[str, Any] = {
        "n": len(chosen),
        "seed": seed,
        "start": start,
        "ks": ks,
        "steps": ks[-1],
        "latents": list(latents_of(p)),
        "seconds": seconds,
        "round_trips_per_second": len(chosen) * ks[-1] / seconds if ks[-1] else None,
    }
    for look in looks:
        found |= look.result()
    return found


def _classes(labels: Tensor | None, chosen: Tensor) -> Tensor | None:
    """The labels as whole numbers [N], where they are classes."""
    if labels is None:
        return None
    if labels.dim() == 3 and labels.shape[1] == 1:
        return labels[chosen, 0].argmax(1)
    return labels[chosen].long() if labels.dim() == 1 else None


def _first(p: Chain, x: Tensor, chosen: Tensor, start: str, seed: int) -> Values:
    """Where the chains begin: {"x": images}, or codes from the prior."""
    device = next(p.parameters()).device
    if start == "test":
        return {"x": x[chosen].to(device)}
    with seeded(derive(seed, "start", start), device):
        if start == "prior":
            return prior_codes(p, len(chosen))
        return {"x": torch.bernoulli(torch.full((len(chosen), *x.shape[1:]), 0.5, dtype=x.dtype, device=device))}


def _walk(p: Chain, q: Chain, first: Values, steps: int, batch: int) -> Iterator[list[Values]]:
    """Yields, for k = 0 ... steps, the codes z_k, in batches; the chains of all batches advance together."""
    names = latents_of(p)
    sizes = [len(part) for part in next(iter(first.values())).split(batch)]
    split = {name: v.split(sizes) for name, v in first.items()}
    parts = [{name: v[i] for name, v in split.items()} for i in range(len(sizes))]
    for k in range(steps + 1):
        images = parts if k == 0 else [{"x": p.sample(part)["x"]} for part in parts]
        drawn = images if "x" not in images[0] else [q.sample(image) for image in images]
        parts = [{name: v[name] for name in names} for v in drawn]
        yield parts


def _look_along(
    p: Chain,
    q: Chain,
    first: Values,
    ks: Sequence[int],
    looks: Sequence[Observable],
    seed: int,
    batch: int,
    progress: Progress | None,
) -> float:
    """Show the chains to every observable at the steps ks; returns the seconds that the chains themselves took."""
    seconds = 0.0
    with seeded(derive(seed, "chain"), next(p.parameters()).device):
        began = time.perf_counter()
        for k, parts in enumerate(_walk(p, q, first, ks[-1], batch)):
            seconds += time.perf_counter() - began
            if k in ks:
                z = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
                image = torch.cat([decode(p, part) for part in parts]).cpu()
                for look in looks:
                    look.at(k, z, image)
            if progress:
                progress("round trips", k / max(1, ks[-1]))
            began = time.perf_counter()
    return seconds
