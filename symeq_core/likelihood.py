"""How much probability a pair gives to images: ELBO, importance-weighted bound, and exactly where codes are few."""

import base64
import hashlib
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from . import exact
from .factors import Chain, Values
from .seeds import derive, seeded

Figure = dict[str, Any]  # value, stderr, n, unit, meaning, bound, better, seed; and reason where value is None
Progress = Callable[[str, float], object]

SAMPLES = 100  # K of the importance-weighted bound; SMALL_SAMPLES for images of at most SMALL pixels
SMALL_SAMPLES, SMALL = 1000, 256
IMAGES = 2000
ROWS = 1 << 13  # pairs of image and code that pass the networks at once

NATS = "nats per image"
IMPLICIT = "not defined: the prior is known by samples only and has no density"


def figure(values: Tensor, unit: str, meaning: str, seed: int, bound: str | None = None, **extra: Any) -> Figure:
    """The mean of [n] values with its standard error over them."""
    error = (values.std() / len(values) ** 0.5).item() if len(values) > 1 else None
    found = {"value": values.mean().item(), "stderr": error, "n": len(values), "unit": unit, "meaning": meaning}
    return found | {"bound": bound, "better": None, "seed": seed} | extra


def each(values: Tensor, x: Tensor) -> Figure:
    """What a figure tells of each image: values [n], as float32 in base64, and which images x [n, ...] they are of.

    So two pairs measured on the same images are compared image by image (`measured.error_of_difference`).
    """
    raw = values.float().cpu().numpy().astype("<f4").tobytes()
    images = hashlib.blake2b(x.cpu().contiguous().numpy().tobytes(), digest_size=8).hexdigest()
    return {"each": base64.b64encode(raw).decode(), "images": images}


def missing(unit: str, meaning: str, seed: int, reason: str, **extra: Any) -> Figure:
    """A figure that is undefined here, and why."""
    found: Figure = {"value": None, "stderr": None, "n": 0, "unit": unit, "meaning": meaning}
    return found | {"bound": None, "better": None, "seed": seed, "reason": reason} | extra


def choice(n: int, limit: int, seed: int, purpose: str = "images") -> Tensor:
    """Indices of at most `limit` of n images, a choice by seed and purpose, in their order."""
    if n <= limit:
        return torch.arange(n)
    g = torch.Generator().manual_seed(derive(seed, purpose))
    return torch.randperm(n, generator=g)[:limit].sort().values


def samples_for(x: Tensor) -> int:
    """K of the importance-weighted bound for images x: more where they are small and so cheap."""
    return SMALL_SAMPLES if x[0].numel() <= SMALL else SAMPLES


def has_density(p: Chain) -> bool:
    """Whether log p(x, z) is defined: no prior is implicit."""
    return len(p.explicit()) == len(p.names)


def log_ratio(p: Chain, q: Chain, v: Values) -> Tensor:
    """[B] log p(x, z) - log q(z | x), in nats and float64."""
    log_p, log_q = p.log_probs(v), q.log_probs(v)
    return torch.stack([*log_p.values()]).double().sum(0) - torch.stack([*log_q.values()]).double().sum(0)


@torch.no_grad()
def log_weights(p: Chain, q: Chain, x: Tensor, samples: int, tell: Callable[[float], object] | None = None) -> Tensor:
    """[N, samples] log p(x, z) - log q(z | x) of codes z ~ q(z | x), in nats and float64."""
    found = []
    images = max(1, ROWS // samples)
    for start in range(0, len(x), images):
        part = x[start : start + images]
        given = {"x": part, **q.evaluated_features({"x": part})}  # of an image, not of each of its codes
        parts = []
        for _, k in _shares(samples):
            v: Values = {name: t.repeat_interleave(k, 0) for name, t in given.items()}
            drawn = v | q.sample(v)
            parts.append(log_ratio(p, q, drawn).reshape(len(part), k))
        found.append(torch.cat(parts, 1))
        if tell:
            tell(min(1.0, (start + images) / len(x)))
    return torch.cat(found)


def _shares(samples: int) -> list[tuple[int, int]]:
    """(start, number) of samples drawn at once, at most ROWS."""
    return [(k, min(ROWS, samples - k)) for k in range(0, samples, ROWS)]


def log_mean(log_w: Tensor) -> Tensor:
    """[N] log of the mean weight: in expectation at most log p(x). Source: Burda et al., 2016."""
    return log_w.logsumexp(1) - math.log(log_w.shape[1])


@torch.no_grad()
def figures(
    p: Chain,
    q: Chain,
    x: Tensor,
    seed: int = 0,
    progress: Progress | None = None,
    samples: int | None = None,
    limit: int = IMAGES,
) -> dict[str, Figure]:
    """ELBO, importance-weighted bound and, for codes of at most 14 bits, log p(x); means over images x [N, C, H, W].

    At most `limit` images, a seeded choice; `samples` is K. A label y is one of the latents. Implicit priors have no
    likelihood: value None and a reason. progress(what, fraction done). The caller's random state is left as it was.
    """
    samples = samples or samples_for(x)
    device = next(p.parameters()).device
    x = x[choice(len(x), limit, seed)].to(device)
    means = {
        "ELBO": f"E_q(z|x) [log p(x, z) - log q(z|x)], at most log p(x); {samples:,} codes an image",
        "importance-weighted bound": f"log of the mean of p(x, z) / q(z|x) over K = {samples:,} codes z ~ q(z|x), "
        "in expectation at most log p(x) and at least the ELBO",
        "log-likelihood": "log p(x), summed exactly over all codes",
    }
    if not has_density(p):
        return {k: missing(NATS, m, seed, IMPLICIT, better="higher") for k, m in means.items()}
    with seeded(derive(seed, "likelihood"), device):
        log_w = log_weights(p, q, x, samples, progress and (lambda done: progress("importance-weighted bound", done)))
    values: dict[str, tuple[Tensor, str | None]] = {
        "ELBO": (log_w.mean(1), "lower"),
        "importance-weighted bound": (log_mean(log_w), "lower"),
    }
    bits = exact.code_bits(p)
    if bits <= exact.MAX_CODE_BITS:
        values["log-likelihood"] = (exact.log_p_of_codes(p, exact.enumerate_codes(p), x).logsumexp(1), None)
    found = {
        k: figure(v, NATS, f"{means[k]}. {_per_pixel(p, v, x)}", seed, bound, better="higher", **each(v, x))
        for k, (v, bound) in values.items()
    }
    found["importance-weighted bound"]["K"] = found["ELBO"]["K"] = samples
    if "log-likelihood" not in found:
        found["log-likelihood"] = missing(NATS, means["log-likelihood"], seed, _too_many(bits), better="higher")
    return found


def _too_many(bits: float) -> str:
    if math.isinf(bits):
        return "not computed: the codes are continuous and can't be enumerated; see the importance-weighted bound"
    return (
        f"not computed: the codes have {bits:.0f} bits, and at most {exact.MAX_CODE_BITS:.0f} are enumerated; "
        "see the importance-weighted bound"
    )


def _per_pixel(p: Chain, v: Tensor, x: Tensor) -> str:
    rate = -v.mean().item() / (x[0].numel() * math.log(2))
    density = "" if p.explicit()["x"].family.discrete else " (of a density, so it may be negative)"
    return f"That is {rate:.3f} bits per pixel value{density}"
