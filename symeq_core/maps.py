"""UMAP of codes of test images, of one pair or of two jointly: computed in a process of its own, cached by content,
shipped with shipped pairs."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from .checkpoints import load, read_tensors, write_tensors
from .datasets import load_data
from .errors import SymeqError, UsageError
from .gallery import SHIPPED
from .latents import encode, layers
from .projection import Array, Tell, joint_umap, umap
from .runs import read_config
from .seeds import derive
from .sources import clean
from .store import Entry, check_unchanged, content, subject

POINTS = 5000  # shown unless asked for otherwise; what is shipped
CODES = ("mean", "sample")
FILE = "projection.safetensors"  # beside a shipped pair's weights
JOINT = SHIPPED / "joint"  # maps of two shipped pairs together
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
    return Entry("projection", {"pair": subject(folder), "version": VERSION, **asdict(spec)})


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
    codes = _codes(folder, spec, tell)
    return umap(codes, tell=tell)


def _codes(folder: Path, spec: Spec, tell: Tell | None) -> Array:
    """The codes [n, D] of the images shown."""
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
    return codes.mean if spec.codes == "mean" else codes.sample


def project(folder: Path, spec: Spec) -> Path:
    """Compute the positions into the cache, unless they are there; returns the file."""
    cached = entry(folder, spec)
    with cached.computing() as tell:
        if not cached.is_done():
            positions = compute(folder, spec, tell)
            check_unchanged(cached, entry(folder, spec), folder)
            write_tensors(cached.tensors, {"positions": torch.from_numpy(positions)})
    return cached.tensors


def write(folder: Path) -> Path:
    """Compute what is shipped, the mean codes of every layer, into the pair's folder; returns the file."""
    names = layers(load(folder)[0])
    found = {f"{k}.mean": torch.from_numpy(compute(folder, Spec(k))).half() for k in names}
    facts = {"content": content(folder), "version": str(VERSION), "n": str(POINTS)}
    write_tensors(folder / FILE, found, facts)
    return folder / FILE


# --- two pairs on one map ---


class Two(NamedTuple):
    """Two pairs' folders and the codes of each."""

    folders: tuple[Path, Path]
    specs: tuple[Spec, Spec]

    def ordered(self) -> tuple["Two", bool]:
        """By name and content, so that B and A have the map of A and B; and whether they were turned round."""
        names = [(f.name, content(f), s.layer) for f, s in zip(self.folders, self.specs, strict=True)]
        turned = names[1] < names[0]
        return (Two(self.folders[::-1], self.specs[::-1]) if turned else self), turned

    @property
    def file(self) -> Path:
        """Where their joint map is shipped, if it is."""
        return JOINT / f"{'+'.join(f.name for f in self.folders)}.safetensors"


def joint_entry(two: Two) -> Entry:
    """Where the joint positions are cached."""
    two, _ = two.ordered()
    return Entry(
        "joint projection",
        {"pairs": [subject(f) for f in two.folders], "version": VERSION, "specs": [asdict(s) for s in two.specs]},
    )


def joint_shipped(two: Two) -> bool:
    """Whether the joint map of exactly these weights came with them."""
    return _joint_shipped(two.ordered()[0]) is not None


def _joint_shipped(two: Two) -> tuple[Array, Array] | None:
    one, other = two.specs
    if not two.file.is_file() or one != other or one != Spec(one.layer):
        return None
    try:
        tensors, facts = read_tensors(two.file)
    except SymeqError:
        return None
    if facts.get("contents") != _contents(two) or facts.get("version") != str(VERSION):
        return None
    return _two(tensors, f"{one.layer}.")


def _contents(two: Two) -> str:
    return " ".join(content(f) for f in two.folders)


def _two(tensors: dict[str, torch.Tensor], prefix: str = "") -> tuple[Array, Array] | None:
    first, second = (_positions(tensors.get(f"{prefix}{k}")) for k in (0, 1))
    return None if first is None or second is None or len(first) != len(second) else (first, second)


def joint_found(two: Two) -> tuple[Array, Array] | None:
    """The joint positions [n, 2] of both if they are shipped or have been computed; else None."""
    own, turned = two.ordered()
    positions = _joint_shipped(own)
    if positions is None:
        cached = joint_entry(own)
        if not cached.tensors.is_file():
            return None
        positions = _two(read_tensors(cached.tensors)[0])
        if positions is None:
            raise SymeqError(f"{cached.tensors} holds no positions: delete it, and the map is computed anew.")
    return (positions[1], positions[0]) if turned else positions


def joint_compute(two: Two, tell: Tell | None = None) -> tuple[Array, Array]:
    """Joint positions in the order of `ordered`; UsageError where they don't see the same images."""
    own, _ = two.ordered()
    a, b = (read_config(f).data for f in own.folders)
    if (a.name, a.split, a.path, a.size) != (b.name, b.split, b.path, b.size):
        raise UsageError(f"{own.folders[0]} and {own.folders[1]} see different images: no map has both.")
    first, second = (_codes(f, s, tell) for f, s in zip(own.folders, own.specs, strict=True))
    return joint_umap(first, second, tell=tell)


def joint_project(two: Two) -> Path:
    """Compute the joint positions into the cache, unless they are there; returns the file."""
    cached = joint_entry(two)
    with cached.computing() as tell:
        if not cached.is_done():
            positions = joint_compute(two, tell)
            check_unchanged(cached, joint_entry(two), two.folders[0])
            write_tensors(cached.tensors, {str(k): torch.from_numpy(v) for k, v in enumerate(positions)})
    return cached.tensors


def joint_write(a: Path, b: Path) -> Path:
    """Compute what is shipped, the mean codes of every layer of two pairs of one model; returns the file."""
    found: dict[str, torch.Tensor] = {}
    for layer in layers(load(a)[0]):
        positions = joint_compute(Two((a, b), (Spec(layer), Spec(layer))))
        found |= {f"{layer}.{k}": torch.from_numpy(v).half() for k, v in enumerate(positions)}
    own, _ = Two((a, b), (Spec(""), Spec(""))).ordered()
    JOINT.mkdir(parents=True, exist_ok=True)
    write_tensors(own.file, found, {"contents": _contents(own), "version": str(VERSION), "n": str(POINTS)})
    return own.file
