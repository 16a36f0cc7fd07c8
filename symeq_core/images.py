"""Image files -> bytes."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from .errors import SymeqError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm"})


def image_files(folder: Path) -> list[Path]:
    """The image files directly in a folder, sorted by name; hidden ones aside."""
    found = (f for f in folder.iterdir() if f.suffix.lower() in SUFFIXES and not f.name.startswith("."))
    return sorted(f for f in found if f.is_file())


def read(file: Path, side: int, channels: int) -> Tensor:
    """The central square of an image, resized: bytes [channels, side, side]; SymeqError names a damaged file."""
    try:
        with Image.open(file) as opened:
            picture = ImageOps.exif_transpose(opened).convert("L" if channels == 1 else "RGB")
            pixels = np.asarray(ImageOps.fit(picture, (side, side), Image.Resampling.LANCZOS))
    except Exception as e:  # Pillow raises many kinds, also for images too large to be honest
        raise SymeqError(f"{file} can't be read as an image ({type(e).__name__}): repair or remove it.") from e
    return torch.from_numpy(pixels.reshape(side, side, channels).copy()).permute(2, 0, 1)


def decoded(
    cache: Path,
    shape: tuple[int, ...],
    picture: Callable[[int], Tensor],
    where: Path,
    progress: Callable[[str, int, int | None], None] | None,
) -> Tensor:
    """All pictures as bytes of `shape`, decoded once and then kept in `cache` (memory-mapped), if it can be written."""
    if cache.is_file():
        try:
            kept = np.load(cache, mmap_mode="r", allow_pickle=False)
            if kept.shape == shape and kept.dtype == np.uint8:
                return torch.from_numpy(np.array(kept))
        except (OSError, ValueError):
            pass  # damaged: decode anew
    pixels = torch.empty(shape, dtype=torch.uint8)
    for i in range(shape[0]):
        try:
            pixels[i] = picture(i)
        except Exception as e:
            raise SymeqError(
                f"Image {i + 1} of {shape[0]} in {where} is missing or damaged ({type(e).__name__}): "
                "delete that folder and try again to download it anew."
            ) from e
        if progress and i % 500 == 0:
            progress(f"decoding {where.name}", i, shape[0])
    temporary = cache.with_name(f"{cache.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as f:
            np.save(f, pixels.numpy())
        os.replace(temporary, cache)
    except OSError:
        temporary.unlink(missing_ok=True)  # a read-only or full disk costs only time
    return pixels
