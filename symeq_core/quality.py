"""Sample quality: Fréchet and kernel distance, precision and recall, of generated images against real ones.

By torch-fidelity, with our extractor registered in it. Generated are random codes and limiting images, as the authors
scored theirs: the mean of x. Real are the data as the model sees them, train and test images together. All sets are
of the same n, since the Fréchet distance falls with n; the floor is the same figure of other real images.
"""

import socket
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from . import chains
from .config import DataConfig
from .datasets import NETWORK_SECONDS, Dataset
from .errors import SymeqError, UsageError
from .extractors import Extractor
from .factors import Chain
from .metrics import Figure
from .seeds import derive, seeded
from .sources import clean

Progress = Callable[[str, float], object]  # what is being done, fraction done
SETS = ("random code", "limiting", "floor")
RESAMPLES = 50
NEIGHBOURS = 3
BATCH = 500  # chains side by side: larger ones leave the processor's cache
FEWEST = 20  # images
PART = 2000  # images whose distances from all others are held at once

_OF = {
    "random code": "images decoded from random codes (z from the prior, mean of x)",
    "limiting": "limiting images ({steps:,} sampled round trips from noise, then the mean of x)",
    "floor": "other real images (the best that can be had at this n)",
}
_MEANING = {
    "Frechet distance": (
        "lower",
        "squared feature distance",
        "Distance of mean and covariance of the extractor's features, of {of} against {n:,} real images; it shrinks "
        "with n, so compare it at the same n only, and with the floor.",
    ),
    "kernel distance": (
        "lower",
        "squared MMD",
        "Squared maximum mean discrepancy of the extractor's features (cubic kernel), of {of} against {n:,} real "
        "images; unbiased, so equal distributions give values around 0.",
    ),
    "precision": (
        "higher",
        "fraction",
        "How many of the {of} lie among the real images: within a ball that reaches from a real image to its third "
        "nearest, in the extractor's features.",
    ),
    "recall": (
        "higher",
        "fraction",
        "How many of {n:,} real images lie among the {of}: within a ball that reaches from such an image to its third "
        "nearest, in the extractor's features.",
    ),
}


class Real(NamedTuple):
    """Disjoint random sets of real images [n, C, H, W] as the model sees them."""

    reference: Tensor
    other: Tensor


def real_images(data: Dataset, config: DataConfig, n: int, seed: int) -> Real:
    """Two sets of n, or of half of all images if those are fewer; they depend on data and seed alone."""
    pixels = [data.train.images] if config.split == "all" else [data.train.images, data.test.images]
    total = sum(map(len, pixels))
    n = min(n, total // 2)
    if n < FEWEST:
        raise UsageError(
            f"Sample quality needs at least {FEWEST} images in each set, not {n}: give a larger --n, or more images."
        )
    order = torch.randperm(total, generator=torch.Generator().manual_seed(derive(seed, "real images")))
    everything = torch.cat(pixels)
    return Real(clean(everything[order[:n]], config), clean(everything[order[n : 2 * n]], config))


def random_code_images(p: Chain, n: int, seed: int, batch: int = BATCH) -> Tensor:
    """Random codes, decoded: the mean of x in [0, 1], [n, C, H, W]."""
    found = []
    device = next(p.parameters()).device
    for b, size in enumerate(_sizes(n, batch)):
        with seeded(derive(seed, "random code", b), device):
            found.append(chains.decoded_prior(p, size).cpu())
    return torch.cat(found).clamp(0, 1)


def limiting_images(
    p: Chain, q: Chain, n: int, steps: int, seed: int, batch: int = BATCH, progress: Progress | None = None
) -> Tensor:
    """Limiting images, the mean of x in [0, 1], [n, C, H, W]."""
    found: list[Tensor] = []
    sizes = _sizes(n, batch)
    done = 0

    def tell(k: int) -> None:
        if progress:
            progress(f"round trips of {n:,} images", (done + size * k / steps) / n)

    for b, size in enumerate(sizes):
        with seeded(derive(seed, "limiting", b), next(p.parameters()).device):
            found.append(chains.limiting(p, q, size, steps, tell).cpu())
        done += size
    return torch.cat(found).clamp(0, 1)


def _sizes(n: int, batch: int) -> list[int]:
    return [min(batch, n - start) for start in range(0, n, batch)]


class _Images(torch.utils.data.Dataset):
    """Images as torch-fidelity takes them."""

    def __init__(self, x: Tensor) -> None:
        self.x = x

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> Tensor:
        return self.x[i]


def registered(extractor: Extractor) -> str:
    """The name under which torch-fidelity knows this extractor, as in calculate_metrics(feature_extractor=NAME)."""
    from torch_fidelity import registry
    from torch_fidelity.feature_extractor_base import FeatureExtractorBase

    class Ours(FeatureExtractorBase):
        """Takes x [B, C, H, W] in [0, 1]."""

        def __init__(self, name: str, features_list: list[str], **_: object) -> None:
            super().__init__(name, features_list)

        @staticmethod
        def get_provided_features_list() -> tuple[str, ...]:
            return ("features", "logits")

        @staticmethod
        def get_default_feature_layer_for_metric(metric: str) -> str:
            return "logits" if metric == "isc" else "features"

        @staticmethod
        def can_be_compiled() -> bool:
            return False

        def forward(self, x: Tensor) -> tuple[Tensor, ...]:
            return tuple(getattr(extractor, name)(x) for name in self.features_list)

    if extractor.name not in registry.FEATURE_EXTRACTORS_REGISTRY:
        registry.register_feature_extractor(extractor.name, Ours)
    return extractor.name


def features(x: Tensor, name: str, layer: str = "features", batch: int = 500, **options: Any) -> Tensor:
    """[n, D] of images, by an extractor that torch-fidelity knows."""
    from torch_fidelity.utils import create_feature_extractor, get_featuresdict_from_dataset

    net = create_feature_extractor(name, [layer], cuda=False, verbose=False, **options)
    return get_featuresdict_from_dataset(_Images(x), net, batch, False, True, False)[layer]


def frechet(a: Tensor, b: Tensor) -> float:
    """Fréchet distance of Gaussians fitted to features [n, D] and [m, D]."""
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

    stats = fid_features_to_statistics(a.double()), fid_features_to_statistics(b.double())
    return max(0.0, fid_statistics_to_metric(*stats, False)[KEY_METRIC_FID])


def scores(generated: Tensor, real: Tensor, seed: int) -> dict[str, tuple[float, float]]:
    """(value, standard error) of each figure, of features [n, D] each.

    The errors tell how much another set of n generated images would differ, the real ones being the same: bootstrap of
    the generated images; for recall, which repeated images would bias, a jackknife over groups of them.
    """
    rng = np.random.default_rng(derive(seed, "resamples"))
    picks = rng.integers(len(generated), size=(RESAMPLES, len(generated)))
    distances = [frechet(generated[torch.from_numpy(i)], real) for i in picks]
    return {
        "Frechet distance": (frechet(generated, real), float(np.std(distances, ddof=1))),
        "kernel distance": _kernel(generated, real, picks),
        **_precision_recall(generated, real, picks),
    }


def _kernel(generated: Tensor, real: Tensor, picks: np.ndarray) -> tuple[float, float]:
    """Unbiased squared MMD over all images; a resample counts pairs of different images only, to be unbiased, too.

    Summed over parts of the images, as the kernel of 35,000 with themselves would have ten gigabytes.
    """
    from torch_fidelity.metric_kid import kernel_poly

    x, y = generated.double().numpy(), real.double().numpy()
    n, m = len(x), len(y)
    # how often each image is in the set itself and in its resamples
    w = np.stack([np.ones(n), *(np.bincount(pick, minlength=n) for pick in picks)], 1)
    own, cross, others = np.zeros(w.shape[1]), np.zeros(w.shape[1]), 0.0
    for start in range(0, n, PART):
        rows, k = slice(start, start + PART), kernel_poly(x[start : start + PART], x)
        own += (w[rows] * (k @ w)).sum(0) - (w[rows] ** 2 * np.diagonal(k, start)[:, None]).sum(0)
        cross += w[rows].T @ kernel_poly(x[rows], y).mean(1)
    for start in range(0, m, PART):
        k = kernel_poly(y[start : start + PART], y)
        others += k.sum() - np.diagonal(k, start).sum()
    found = own / (w.sum(0) ** 2 - (w**2).sum(0)) - 2 * cross / n + others / (m * (m - 1))
    return float(found[0]), float(np.std(found[1:], ddof=1))


def _precision_recall(generated: Tensor, real: Tensor, picks: np.ndarray) -> dict[str, tuple[float, float]]:
    """As torch-fidelity's, by parts, with their errors: that of one image at least, where all or none are counted."""
    reach_real, reach = _reaches(real), _reaches(generated)
    inside = torch.cat([(torch.cdist(g, real) <= reach_real).any(1) for g in generated.split(PART)]).double().numpy()
    groups = torch.arange(len(generated)) % RESAMPLES
    without = torch.zeros(RESAMPLES, dtype=torch.float64)  # how many real images are covered without a group
    covered = 0
    for r in real.split(PART):
        covers = (torch.cdist(r, generated) <= reach).float()  # [real, generated]
        by_group = torch.zeros(len(r), RESAMPLES).index_add_(1, groups, covers)
        total = by_group.sum(1, keepdim=True)
        covered += int((total > 0).sum())
        without += ((total - by_group) > 0).double().sum(0)
    spread = ((without / len(real)).var(correction=0) * (RESAMPLES - 1)).sqrt().item()
    return {
        "precision": (float(inside.mean()), max(float(np.std(inside[picks].mean(1), ddof=1)), 1 / len(generated))),
        "recall": (covered / len(real), max(spread, 1 / len(real))),
    }


def _reaches(x: Tensor) -> Tensor:
    """[n] distance of each to its NEIGHBOURS-th nearest other one."""
    return torch.cat([torch.cdist(part, x).kthvalue(NEIGHBOURS + 1).values for part in x.split(PART)])


def figures(images: dict[str, Tensor], real: Tensor, extractor: Extractor, steps: int, seed: int) -> dict[str, Figure]:
    """All figures of the sets of images [n, C, H, W], which are SETS or some of them, against the real ones."""
    name = registered(extractor)
    reference = features(real, name)
    found: dict[str, Figure] = {}
    for what, x in images.items():
        for figure, (value, error) in scores(features(x, name), reference, derive(seed, what)).items():
            better, unit, meaning = _MEANING[figure]
            of = _OF[what].format(steps=steps)
            found[f"{figure}, {what}"] = {
                "value": value,
                "stderr": error,
                "n": len(x),
                "unit": unit,
                "better": better,
                "meaning": meaning.format(of=of, n=len(real)),
                "extractor": extractor.title,
                "seed": seed,
            }
    return found


INCEPTION = "inception-v3-compat"


def inception_features(x: Tensor) -> Tensor:
    """[n, 2048], the weights being torch-fidelity's own download; SymeqError where they can't be had."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(NETWORK_SECONDS)
    try:
        return features(_as_pictures(x), INCEPTION, "2048", 50)
    except (OSError, RuntimeError) as e:
        raise SymeqError(
            f"Inception's weights can't be had ({' '.join(str(e).split())[:120]}), so its FID is left out: "
            "try again with a connection to github.com."
        ) from e
    finally:
        socket.setdefaulttimeout(before)


def inception_figures(images: dict[str, Tensor], reference: Tensor, steps: int, seed: int) -> dict[str, Figure]:
    """FID of the sets of images against the `inception_features` of real ones."""
    found: dict[str, Figure] = {}
    for what, x in images.items():
        value = frechet(own := inception_features(x), reference)
        rng = np.random.default_rng(derive(seed, "resamples", what))
        picks = [torch.from_numpy(rng.integers(len(x), size=len(x))) for _ in range(5)]
        found[f"Inception FID, {what}"] = {
            "value": value,
            "stderr": float(np.std([frechet(own[i], reference) for i in picks], ddof=1)),
            "n": len(x),
            "unit": "squared feature distance",
            "better": "lower",
            "meaning": f"Fréchet distance in Inception's 2,048 features, of {_OF[what].format(steps=steps)} against "
            f"{len(reference):,} real images as the model sees them (binarised, if it does that). Published FIDs use "
            "all images; at smaller n it is larger: see the floor.",
            "extractor": INCEPTION,
            "seed": seed,
        }
    return found


def _as_pictures(x: Tensor) -> Tensor:
    """Bytes [n, 3, H, W]."""
    return (x * 255).round().to(torch.uint8).expand(-1, 3, -1, -1)
