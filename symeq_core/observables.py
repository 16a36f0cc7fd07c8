"""What is looked at along a chain: each observable is shown codes and mean images at some steps and sums up at the end.

Their results are the groups that `trips.chain_statistics` documents.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from .factors import Chain, Values
from .marginals import correlation, distances, largest_correlation, largest_kl, prior_codes, prior_layers, total_kl
from .seeds import derive, seeded


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
        correlations = [largest_correlation(f.values()) for f in self.found]
        return {
            "prior_drift": group(
                "nats",
                "KL(marginal of the codes || marginal under the prior), summed over all units. "
                "Floor: the same of as many codes drawn from the prior",
                value=[t[0] for t in totals],
                stderr=[t[1] for t in totals],
                floor=total_kl(floor)[0],
                max=[largest_kl(f)[1] for f in self.found],
                max_floor=largest_kl(self.floor)[1],
                layers={k: [f[k].units.sum().item() for f in self.found] for k in self.layers},
            ),
            "prior_correlation": group(
                "correlation",
                "the largest difference between the correlation of two units of a layer and that under the prior. "
                "Floor: the same of as many codes drawn from the prior",
                value=[value for value, _ in correlations],
                stderr=[error for _, error in correlations],
                floor=largest_correlation(floor)[0],
                layers={k: [f[k].correlation[0] for f in self.found] for k in self.layers},
            ),
        }
