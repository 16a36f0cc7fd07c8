"""What is looked at along a chain: each observable is shown codes and mean images at some steps and sums up at the end.

Their results are the groups that `trips.chain_statistics` documents.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from .factors import Chain, Values
from .marginals import distances, prior_codes, prior_layers, total_kl
from .seeds import derive, seeded

MATRICES = (1, 10, 100, 1000)  # steps at which the transition matrix is kept, where they are looked at
BOOTSTRAPS = 20
NO_EXTRACTOR = "there is no classifier of these images, so their classes and features are not known"


class Extractor(Protocol):
    """A classifier of the data set's images [B, C, H, W] in [0, 1]."""

    def features(self, x: Tensor) -> Tensor: ...  # [B, D]
    def probabilities(self, x: Tensor) -> Tensor: ...  # [B, classes]


class Observable(Protocol):
    """One group of statistics."""

    def at(self, k: int, z: Values, image: Tensor) -> None: ...  # called once for every k, in order
    def result(self) -> dict[str, dict[str, Any]]: ...


def group(unit: str, meaning: str, reason: str | None = None, **columns: Any) -> dict[str, Any]:
    """A group of the result: `columns` first, all None (or dropped) where there is a reason."""
    if reason is not None:
        columns = dict.fromkeys(columns)
    return {**columns, "unit": unit, "meaning": meaning, "reason": reason}


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """|mean difference|^2 + tr(A + B - 2 (A B)^(1/2)) of the normals fitted to features a [N, D] and b [M, D].

    Source: Dowson and Landau, 1982; Heusel et al., 2017.
    """
    a, b = a.double(), b.double()
    cov_a, cov_b = torch.cov(a.T), torch.cov(b.T)
    values, vectors = torch.linalg.eigh(cov_b)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    # tr (A B)^(1/2) = tr (R A R)^(1/2) with R R = B; symmetric, so that its eigenvalues are real
    mixed = torch.linalg.eigvalsh(root @ cov_a @ root).clamp(min=0).sqrt().sum()
    return ((a.mean(0) - b.mean(0)).square().sum() + cov_a.trace() + cov_b.trace() - 2 * mixed).item()


def in_parts(function: Any, x: Tensor, batch: int) -> Tensor:
    """function(x), `batch` rows at a time."""
    return torch.cat([function(part) for part in x.split(batch)])


class Quality:
    """Frechet distance of the mean images' features to those of real images."""

    def __init__(
        self, extractor: Extractor | None, x: Tensor, chosen: Tensor, reference: Tensor | None, seed: int, batch: int
    ):
        self.extractor, self.seed, self.batch = extractor, seed, batch
        self.values: list[float] = []
        self.errors: list[float] = []
        if extractor is None:
            return
        real = in_parts(extractor.features, x if reference is None else reference, batch)
        if reference is None:
            order = torch.randperm(len(x), generator=torch.Generator().manual_seed(derive(seed, "halves")))
            a, b = real[order[: len(x) // 2]], real[order[len(x) // 2 :]]
            self.how = f"between two halves of the {len(x):,} real images"
        else:
            a, b = in_parts(extractor.features, x[chosen], batch), real
            self.how = f"of {len(chosen):,} other real images to the same {len(real):,}"
        self.real, self.floor = real, frechet_distance(a, b)

    def at(self, k: int, z: Values, image: Tensor) -> None:
        if self.extractor is None:
            return
        features = in_parts(self.extractor.features, image, self.batch)
        self.values.append(frechet_distance(features, self.real))
        g, n = torch.Generator().manual_seed(derive(self.seed, "bootstrap", k)), len(features)
        again = [frechet_distance(features[torch.randint(n, (n,), generator=g)], self.real) for _ in range(BOOTSTRAPS)]
        self.errors.append(torch.tensor(again).std().item())

    def result(self) -> dict[str, dict[str, Any]]:
        unit, meaning = "Frechet distance", "distance of the mean images' features from those of real images; 0 is best"
        if self.extractor is None:
            nothing = dict.fromkeys(("value", "stderr", "floor", "n_reference", "features"))
            return {"frechet": group(unit, meaning, NO_EXTRACTOR, **nothing)}
        return {
            "frechet": group(
                unit,
                f"{meaning}. Floor: the same figure {self.how}",
                value=self.values,
                stderr=self.errors,
                floor=self.floor,
                n_reference=len(self.real),
                features=self.real.shape[1],
            )
        }


class Classes:
    """Which classes the chains are in, as the classifier sees the mean images."""

    def __init__(self, extractor: Extractor | None, classes: Tensor | None, x: Tensor | None, start: str, batch: int):
        self.extractor, self.start, self.batch = extractor, start, batch
        self.origin = classes
        self.how = "its label" if classes is not None else "the class the classifier gives its start"
        if extractor is not None and start == "test" and classes is None and x is not None:
            self.origin = self._classify(x.cpu())[0]
        self.seen: dict[int, Tensor] = {}
        self.number = 0

    def _classify(self, image: Tensor) -> tuple[Tensor, int]:
        assert self.extractor is not None
        found = in_parts(self.extractor.probabilities, image, self.batch)
        return found.argmax(1).cpu(), found.shape[1]

    def at(self, k: int, z: Values, image: Tensor) -> None:
        if self.extractor is None:
            return
        self.seen[k], self.number = self._classify(image)
        if self.origin is None and self.start == "prior":
            self.origin, self.how = self.seen[k], "the class of the image at the first step looked at"

    def result(self) -> dict[str, dict[str, Any]]:
        reason = NO_EXTRACTOR if self.extractor is None else None
        lost = "pixel noise is of no class, so there is none to keep" if self.start == "noise" else None
        return {
            "retention": self._retention(reason or lost),
            "classes": self._visited(reason),
            "effective_classes": self._effective(reason),
            "transitions": self._transitions(reason or lost),
        }

    def _retention(self, reason: str | None) -> dict[str, Any]:
        unit, meaning = "fraction of chains", f"chains whose image is still of the class they began with ({self.how})"
        if reason or self.origin is None:
            return group(unit, meaning, reason, **dict.fromkeys(("value", "stderr", "chance")))
        kept = torch.stack([c == self.origin for c in self.seen.values()]).double().mean(1)
        n = len(self.origin)
        begun = torch.bincount(self.origin, minlength=self.number).double() / n
        chance = [(begun[: self.number] @ self._shares(c)).item() for c in self.seen.values()]
        error = (kept * (1 - kept) / n).sqrt()
        meaning += ". Chance: the same if an image's class had nothing to do with its start"
        return group(unit, meaning, value=kept.tolist(), stderr=error.tolist(), chance=chance)

    def _shares(self, classes: Tensor) -> Tensor:
        return torch.bincount(classes, minlength=self.number).double() / len(classes)

    def _visited(self, reason: str | None) -> dict[str, Any]:
        unit, meaning = (
            "classes",
            "different classes that a chain was in at the steps looked at so far, mean over chains",
        )
        if reason:
            return group(unit, meaning, reason, value=None, stderr=None)
        met = torch.zeros(len(next(iter(self.seen.values()))), self.number, dtype=torch.bool)
        value, error = [], []
        for c in self.seen.values():
            met[torch.arange(len(c)), c] = True
            count = met.sum(1).double()
            value.append(count.mean().item())
            error.append((count.std() / len(c) ** 0.5).item())
        return group(unit, meaning, value=value, stderr=error)

    def _effective(self, reason: str | None) -> dict[str, Any]:
        unit = "classes"
        meaning = (
            "exp(entropy) of the classes of all chains: 10 where ten are equally frequent, 1 where only one is left"
        )
        if reason:
            return group(unit, meaning, reason, value=None, stderr=None)
        value, error = [], []
        for c in self.seen.values():
            share = self._shares(c)
            surprise = -share[c].log()
            value.append(surprise.mean().exp().item())
            error.append(value[-1] * (surprise.std() / len(c) ** 0.5).item())
        return group(unit, meaning, value=value, stderr=error)

    def _transitions(self, reason: str | None) -> dict[str, Any]:
        unit, meaning = "fraction of chains", f"from the class a chain began with ({self.how}) to its class at step k"
        if reason or self.origin is None:
            return group(unit, meaning, reason, **dict.fromkeys(("ks", "counts", "fraction")))
        ks = [k for k in self.seen if k in MATRICES]
        size = max(self.number, int(self.origin.max()) + 1)
        counts = [
            torch.bincount(self.origin * size + self.seen[k], minlength=size * size).reshape(size, size) for k in ks
        ]
        fraction = [[(row / row.sum()).tolist() if row.sum() else None for row in c] for c in counts]
        return group(unit, meaning, ks=ks, counts=[c.tolist() for c in counts], fraction=fraction)


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
    return value.item(), (terms.std() / len(terms) ** 0.5).item()


class Memory:
    """How well pixels and codes still tell where the chain began."""

    def __init__(self, x: Tensor | None, latents: Sequence[str]) -> None:
        self.x = None if x is None else x.flatten(1).cpu()
        self.z: Values = {}
        self.found: dict[str, list[tuple[float | None, float | None]]] = {k: [] for k in ("x", "z", *latents)}

    def at(self, k: int, z: Values, image: Tensor) -> None:
        if self.x is None:
            self.x = image.flatten(1)
        self.z = self.z or z
        flat = {name: (self.z[name].flatten(1), z[name].flatten(1)) for name in z}
        self.found["x"].append(correlation(self.x, image.flatten(1)))
        self.found["z"].append(correlation(*(torch.cat(side, 1) for side in zip(*flat.values(), strict=True))))
        for name, (a, b) in flat.items():
            self.found[name].append(correlation(a, b))

    def result(self) -> dict[str, dict[str, Any]]:
        columns = {k: [list(c) for c in zip(*v, strict=True)] for k, v in self.found.items()}
        layers = {k: c[0] for k, c in columns.items() if k not in "xz"}
        means = "1 where it is remembered exactly, 0 where it is forgotten; empty where nothing varies"
        return {
            "pixel_autocorrelation": group(
                "correlation",
                f"of the pixels of the mean image with those of the chain's start, over chains: {means}",
                value=columns["x"][0],
                stderr=columns["x"][1],
            ),
            "latent_autocorrelation": group(
                "correlation",
                f"of the code with the chain's first code, over chains: {means}",
                value=columns["z"][0],
                stderr=columns["z"][1],
                layers=layers,
            ),
        }


class Drift:
    """How far the codes of all chains are from the prior."""

    def __init__(self, p: Chain, q: Chain, n: int, seed: int) -> None:
        device = next(p.parameters()).device
        with seeded(derive(seed, "prior"), device):
            self.layers = prior_layers(p, q)
            self.floor = distances(self.layers, prior_codes(p, n))
        self.found: list[Any] = []

    def at(self, k: int, z: Values, image: Tensor) -> None:
        self.found.append(distances(self.layers, z))

    def result(self) -> dict[str, dict[str, Any]]:
        totals = [total_kl(f.values()) for f in self.found]
        floor = self.floor.values()
        return {
            "prior_drift": group(
                "nats",
                "KL(marginal of the codes || marginal under the prior), summed over all units. "
                "Floor: the same of as many codes drawn from the prior",
                value=[t[0] for t in totals],
                stderr=[t[1] for t in totals],
                floor=total_kl(floor)[0],
                max=[max(d.units.max().item() for d in f.values()) for f in self.found],
                max_floor=max(d.units.max().item() for d in floor),
                layers={k: [f[k].units.sum().item() for f in self.found] for k in self.layers},
            ),
            "prior_correlation": group(
                "correlation",
                "the largest difference between the correlation of two units of a layer and that under the prior. "
                "Floor: the same of as many codes drawn from the prior",
                value=[max(d.correlation for d in f.values()) for f in self.found],
                floor=max(d.correlation for d in floor),
                layers={k: [f[k].correlation for f in self.found] for k in self.layers},
            ),
        }
