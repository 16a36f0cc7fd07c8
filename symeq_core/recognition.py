"""What a classifier of the data set sees along a chain: quality and classes of the mean images."""

from typing import Any

import torch
from torch import Tensor

from .factors import Values
from .observables import Extractor, group
from .quality import FEWEST, frechet
from .seeds import derive

MATRICES = (1, 10, 100, 1000)  # steps at which the transition matrix is kept, where they are looked at
BOOTSTRAPS = 20
NO_EXTRACTOR = "there is no classifier of these images, so their classes and features are not known"
TOO_FEW = f"a distance needs at least {FEWEST} images, not {{}}"


def in_parts(function: Any, x: Tensor, batch: int) -> Tensor:
    """function(x), `batch` rows at a time."""
    return torch.cat([function(part) for part in x.split(batch)])


class Quality:
    """Fréchet distance of the mean images' features to those of real images that no chain started from.

    These are `reference`; else the images of x that were not chosen; else, where those are fewer than the chains, each
    half of the chains is compared with the real images that the other half started from, and the mean is taken.
    """

    def __init__(
        self,
        extractor: Extractor | None,
        x: Tensor,
        chosen: Tensor,
        reference: Tensor | None,
        seed: int,
        batch: int,
    ) -> None:
        n = len(chosen)
        self.reason = NO_EXTRACTOR if extractor is None else TOO_FEW.format(n) if n < FEWEST else None
        known = None if self.reason else extractor
        self.extractor, self.seed, self.batch = known, seed, batch
        self.values: list[float] = []
        self.errors: list[float] = []
        if known is None:
            return
        starts = in_parts(known.features, x[chosen], batch)
        if reference is None and len(x) >= 2 * n:
            others = torch.ones(len(x), dtype=torch.bool)
            others[chosen] = False
            reference = x[others.nonzero().squeeze(1)]
        self.sides: list[tuple[Tensor, Tensor]]  # which chains, and the features they are compared with
        if reference is not None:
            self.sides = [(torch.arange(n), in_parts(known.features, reference, batch))]
            self.floor = frechet(starts, self.sides[0][1])
        else:
            order = torch.randperm(n, generator=torch.Generator().manual_seed(derive(seed, "halves")))
            a, b = order[: n // 2], order[n // 2 :]
            self.sides = [(a, starts[b]), (b, starts[a])]
            self.floor = frechet(starts[a], starts[b])

    def at(self, k: int, z: Values, image: Tensor) -> None:
        if self.extractor is None:
            return
        features = in_parts(self.extractor.features, image, self.batch)
        self.values.append(sum(frechet(features[i], real) for i, real in self.sides) / len(self.sides))
        g = torch.Generator().manual_seed(derive(self.seed, "bootstrap", k))
        again = []
        for _ in range(BOOTSTRAPS):
            picks = [(i[torch.randint(len(i), (len(i),), generator=g)], real) for i, real in self.sides]
            again.append(sum(frechet(features[i], real) for i, real in picks) / len(picks))
        self.errors.append(torch.tensor(again).std().item())

    def result(self) -> dict[str, dict[str, Any]]:
        unit, meaning = "Fréchet distance", "distance of the mean images' features from those of real images; 0 is best"
        if self.extractor is None:
            nothing = dict.fromkeys(("value", "stderr", "floor", "n_reference", "features"))
            return {"frechet": group(unit, meaning, self.reason, **nothing)}
        chains, real = self.sides[0]
        meaning += f". {len(chains):,} images against {len(real):,}"
        if len(self.sides) == 2:
            meaning += ", the mean of both halves"
        return {
            "frechet": group(
                unit,
                f"{meaning}. Floor: the same of as many other real images; fewer images give larger distances",
                value=self.values,
                stderr=self.errors,
                floor=self.floor,
                n_reference=len(real),
                features=real.shape[1],
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
        error = (kept * (1 - kept) / n).sqrt().clamp(min=1 / n)  # where all or none were kept, that of one chain
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
