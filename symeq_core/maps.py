"""UMAP of a pair's codes of test images: computed in a process of its own, cached by content, shipped with a pair."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from .checkpoints import load, read_tensors, write_tensors
from .datasets import load_data
from .errors import SymeqError, UsageError
from .latents import encode, layers
from .projection import Array, Tell, umap
from .runs import read_config
from .seeds import derive
from .sources import clean
from .store import Entry, content

POINTS = 5000  # shown unless asked for otherwise; what is shipped
CODES = ("mean", "sample")
FILE = "projection.safetensors"  # beside a shipped pair's weights
VERSION = 1  # of how positions are computed


@dataclass(frozen=True)
class Spec:
    """Which codes: the layer, `mean` or `sample`, and of how many test images."""

    layer: str
    codes: str = "mean"
    n: int = POINTS


def subset(total: int, n: int) -> np.ndarray:
    """The places [min(n, total)] of the test images shown: seeded, and fewer are the beginning of more."""
    return np.random.default_rng(derive(0, "test images shown")).permutation(total)[:n]


def entry(folder: Path, spec: Spec) -> Entry:
    """Where the positions of this spec are cached."""
    return Entry("projection", {"pair": content(folder), "version": VERSION, **asdict(spec)})


def shipped(folder: Path, spec: Spec) -> Array | None:
    """The positions [n, 2] that came with exactly these weights, if any did."""
    path = folder / FILE
    if not path.is_file() or spec.n != POINTS:
        return None
    try:
        tensors, facts = read_tensors(path)
    except SymeqError:
        return None
    same = facts.get("content") == content(folder) and facts.get("version") == str(VERSION)
    return _positions(tensors.get(f"{spec.layer}.{spec.codes}")) if same else None


def _positions(found: torch.Tensor | None) -> Array | None:
    """Positions that a file held; None where it held none, or others than points of a plane."""
    if found is None or not found.is_floating_point() or found.dim() != 2 or found.shape[1] != 2 or not len(found):
        return None
    return found.float().numpy() if found.isfinite().all() else None


def found(folder: Path, spec: Spec) -> Array | None:
    """The positions [n, 2] if they were shipped with this pair or have been computed; else None."""
    positions = shipped(folder, spec)
    if positions is not None:
        return positions
    cached = entry(folder, spec)
    if not cached.tensors.is_file():
        return None
    positions = _positions(read_tensors(cached.tensors)[0].get("positions"))
    if positions is None:
        raise SymeqError(f"{cached.tensors} holds no positions: delete it, and the map is computed anew.")
    return positions


def compute(folder: Path, spec: Spec, tell: Tell | None = None) -> Array:
    """UMAP positions [n, 2] of the codes; UsageError where the pair has no such layer."""
    p, q = load(folder)
    if spec.layer not in layers(p):
        raise UsageError(f"{folder} has no layer {spec.layer[:40]!r}: choose one of {', '.join(layers(p))}.")
    if spec.codes not in CODES or spec.n < 3:
        raise UsageError("--codes is mean or sample, and --n at least 3.")
    config = read_config(folder)
    if tell:
        tell("encoding the images", 0.0)
    test = load_data(config.data).test
    x = clean(test.images[torch.from_numpy(subset(len(test), spec.n))], config.data)
    codes = encode(q, x, [spec.layer])[spec.layer]
    return umap(codes.mean if spec.codes == "mean" else codes.sample, tell=tell)


def project(folder: Path, spec: Spec) -> Path:
    """Compute the positions into the cache, unless they are there; returns the file."""
    cached = entry(folder, spec)
    with cached.computing() as tell:
        if not cached.is_done():
            write_tensors(cached.tensors, {"positions": torch.from_numpy(compute(folder, spec, tell))})
    return cached.tensors


def write(folder: Path) -> Path:
    """Compute what is shipped, the mean codes of every layer, into the pair's folder; returns the file."""
    names = layers(load(folder)[0])
    found = {f"{k}.mean": torch.from_numpy(compute(folder, Spec(k))).half() for k in names}
    facts = {"content": content(folder), "version": str(VERSION), "n": str(POINTS)}
    write_tensors(folder / FILE, found, facts)
    return folder / FILE
