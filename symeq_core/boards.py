"""Cutting the boards of snapshots into their images again, and lining up the snapshots of several pairs; no torch.

A board is a grid of equal tiles with a gap around each (figures.grid). A box is (x, y, width, height) in its pixels.
"""

import hashlib
import io
import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from .sheets import GAP, GREY, TILE, TRIPS, png

Box = tuple[int, int, int, int]
Shape = tuple[int, int, int]  # C, H, W of one image


class Kind(NamedTuple):
    """What a board shows: its file, and what the images of one index are called (one, unless it is a sequence)."""

    file: str
    sequence: tuple[str, ...] = ()


PATH_LENGTH = 9
KINDS: dict[str, Kind] = {
    "reconstructions": Kind("reconstructions.png"),
    "codes": Kind("samples.png"),
    "limiting": Kind("limiting.png"),
    "interpolations": Kind("interpolations.png", tuple(f"{k}/{PATH_LENGTH - 1}" for k in range(PATH_LENGTH))),
    "trips": Kind("round_trips.png", tuple(f"k = {k}" for k in TRIPS[1:])),
}


@dataclass(frozen=True)
class Layout:
    """Where the images are: for each index its boxes in the board, and which probe images stand beside them."""

    model: list[list[Box]]
    data: list[list[int]]


def tile(shape: Shape) -> tuple[int, int]:
    """(width, height) of an image of this shape in a board, enlarged by a whole number."""
    scale = max(1, -(-TILE // shape[1]))
    return shape[2] * scale, shape[1] * scale


def boxes(board: Image.Image, width: int, height: int) -> list[Box]:
    """The boxes of all tiles, row by row, without the blank ones that fill up the last row."""
    columns, rows = (board.width - GAP) // (width + GAP), (board.height - GAP) // (height + GAP)
    found = [
        (GAP + c * (width + GAP), GAP + r * (height + GAP), width, height) for r in range(rows) for c in range(columns)
    ]
    pixels = np.asarray(board)
    while found and len(found) > (rows - 1) * columns + 1 and (_cut(pixels, found[-1]) == GREY).all():
        found.pop()
    return found


def layout(kind: str, board: Image.Image, shape: Shape) -> Layout:
    """How a board of this kind is laid out, for images of this shape [C, H, W]."""
    w, h = tile(shape)
    if kind == "reconstructions":  # pairs without a gap: the image, then its reconstruction
        model = [[(x + w, y, w, h)] for x, y, *_ in boxes(board, 2 * w, h)]
        return Layout(model, [[i] for i in range(len(model))])
    found = boxes(board, w, h)
    columns = (board.width - GAP) // (w + GAP)
    if kind == "interpolations":  # row i leads from probe image i to the next
        model = [found[i : i + columns] for i in range(0, len(found), columns)]
        return Layout(model, [[i, i + 1] for i in range(len(model))])
    if kind == "trips":  # column i is one image, its first row the data
        return Layout([found[i + columns :: columns] for i in range(columns)], [[i] for i in range(columns)])
    return Layout([[box] for box in found], [[i] for i in range(len(found))])


def _cut(pixels: np.ndarray, box: Box) -> np.ndarray:
    x, y, w, h = box
    return pixels[y : y + h, x : x + w]


def tiles(board: Image.Image, where: Sequence[Box]) -> np.ndarray:
    """The pixels of these boxes as they are in the board, uint8 [N, h, w] or, in colour, [N, h, w, 3]."""
    pixels = np.asarray(board)
    return np.stack([_cut(pixels, box) for box in where])


def probe(reconstructions: Image.Image, shape: Shape) -> np.ndarray:
    """The probe images, which stand in the board of reconstructions: uint8 [N, h, w] or [N, h, w, 3]."""
    w, h = tile(shape)
    return tiles(reconstructions, [(x, y, w, h) for x, y, *_ in boxes(reconstructions, 2 * w, h)])


def kept(snapshots: Mapping[int, Path], shape: Shape) -> np.ndarray | None:
    """The probe images that a pair's snapshots (by step) show, at their own size: uint8 [N, C, H, W]; None without."""
    content = _reconstructions(snapshots)
    if content is None:
        return None
    scale = tile(shape)[1] // shape[1]
    images = probe(Image.open(io.BytesIO(content)), shape)[:, ::scale, ::scale]
    return images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)


def _reconstructions(snapshots: Mapping[int, Path]) -> bytes | None:
    """The first sound board of reconstructions, which shows the probe images as all of them do."""
    return next(filter(None, (_png(f / "reconstructions.png") for f in snapshots.values())), None)


def strip(images: np.ndarray) -> bytes:
    """PNG of images [N, h, w(, 3)] side by side, without gaps."""
    return png(Image.fromarray(np.concatenate(list(images), 1)))


def timeline(steps: Sequence[Sequence[int]]) -> tuple[list[int], list[list[int | None]]]:
    """All training steps at which some pair has a snapshot, and for each of them which one every pair shows: the place
    of its nearest snapshot not later than that (its last one, once its training has ended), None where it has none yet.
    """
    union = sorted({s for own in steps for s in own})
    shown = [[place - 1 if (place := bisect_right(own, s)) else None for own in steps] for s in union]
    return union, shown


@dataclass(frozen=True)
class Film:
    """One pair's boards of one kind along training, as PNG, how they are laid out, and its probe images in a strip."""

    steps: list[int]
    boards: list[bytes]
    layout: Layout
    shape: Shape
    probe: bytes
    probe_count: int
    still: bool = False  # it shows weights that don't change, and so stands for every step


def film(kind: str, snapshots: Mapping[int, Path], shape: Shape) -> Film | None:
    """The boards of this kind of a pair's snapshots (by step); damaged ones are left out, None where none is left."""
    found: dict[int, bytes] = {}
    for step, folder in snapshots.items():
        content = _png(folder / KINDS[kind].file)
        if content:
            found[step] = content
    faces = _reconstructions(snapshots)
    if not found or faces is None:
        return None
    last = Image.open(io.BytesIO(next(reversed(found.values()))))
    steps = [s for s, content in found.items() if Image.open(io.BytesIO(content)).size == last.size]
    images = probe(Image.open(io.BytesIO(faces)), shape)
    return Film(steps, [found[s] for s in steps], layout(kind, last, shape), shape, strip(images), len(images))


def still(kind: str, pictures: Path, shape: Shape) -> Film | None:
    """The boards of this kind of weights that have one state only."""
    found = film(kind, {0: pictures}, shape)
    return found and replace(found, still=True)


def _png(path: Path) -> bytes | None:
    """A whole PNG; None where it is missing or torn."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    return content if content.startswith(b"\x89PNG\r\n\x1a\n") and b"IEND" in content[-12:] else None


def pack(kind: str, title: str, films: Sequence[Film], about: Sequence[Mapping[str, Any]]) -> bytes:
    """What the scrubber in the browser draws: uint32 length of a JSON header, the header, then the PNGs it counts.

    about: letter, name and colours of each film. A still one makes no steps of its own. The data column is shared where
    all probe images are the same, else every film has its own; differences need images of one shape.
    """
    same = len({f.probe for f in films}) == 1
    steps, shown = timeline([f.steps for f in films if not f.still] or [f.steps for f in films])
    places = {k: i for i, k in enumerate(k for k, f in enumerate(films) if not f.still)}
    if places:
        shown = [[row[places[k]] if k in places else 0 for k in range(len(films))] for row in shown]
    blobs: list[bytes] = []
    pairs: list[dict[str, Any]] = []
    for f, words in zip(films, about, strict=True):
        native, size = (f.shape[2], f.shape[1]), tile(f.shape)
        pairs.append(
            {**words, "native": native, "tile": size, "steps": f.steps, "first": len(blobs), "count": len(f.boards)}
            | {"boxes": f.layout.model, "still": f.still}
        )
        blobs += f.boards
    data = []
    for f in films[:1] if same else films:
        data.append({"blob": len(blobs), "tile": tile(f.shape), "count": f.probe_count, "rows": f.layout.data})
        blobs.append(f.probe)
    header = {
        "kind": kind,
        "title": title,
        "sequence": KINDS[kind].sequence,
        "steps": steps,
        "shown": shown,
        "pairs": pairs,
        "data": data,
        "comparable": len({f.shape for f in films}) == 1,
        "sizes": [len(b) for b in blobs],
    }
    digest = hashlib.blake2b(json.dumps(header).encode(), digest_size=12)
    for b in blobs:
        digest.update(b)
    text = json.dumps(header | {"stamp": digest.hexdigest()}).encode()
    return len(text).to_bytes(4, "little") + text + b"".join(blobs)
