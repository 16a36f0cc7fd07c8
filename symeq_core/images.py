"""Image files -> bytes."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from .errors import SymeqError
from .folders import fingerprint

Progress = Callable[[str, int, int | None], None]  # (what, done, of how many)

WAIT_SECONDS = 0.3  # between reports while another process loads the same


def read(file: Path, side: int, channels: int) -> Tensor:
    """The central square of an image as it is shown, resized: bytes [channels, side, side].

    Transparency lies on white. SymeqError names a damaged file.
    """
    try:
        with Image.open(file) as opened:
            upright = ImageOps.exif_transpose(opened)
            picture = _shown(upright, opened.format).convert("L" if channels == 1 else "RGB")
            pixels = np.asarray(ImageOps.fit(picture, (side, side), Image.Resampling.LANCZOS))
    except Exception as e:  # Pillow raises many kinds, also for images too large to be honest
        raise SymeqError(f"{file} can't be read as an image ({reason(e)}): repair or remove it.") from e
    return torch.from_numpy(pixels.reshape(side, side, channels).copy()).permute(2, 0, 1)


def _shown(picture: Image.Image, kind: str | None) -> Image.Image:
    """The picture in eight bits a channel, opaque: left to itself, Pillow cuts off values above 255 and drops alpha."""
    if picture.mode.startswith("I;16") or (picture.mode == "I" and kind in ("PNG", "PPM")):
        return Image.fromarray((np.asarray(picture).astype(np.uint16) >> 8).astype(np.uint8))
    if picture.mode[0] in "IF":
        raise ValueError("its pixels are 32-bit numbers of no known range; save it with 8 or 16 bits")
    if picture.has_transparency_data:
        return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture.convert("RGBA"))
    return picture


def reason(e: BaseException) -> str:
    """Why, in a few words on one line: the system's where it refused something, else the end of the message."""
    if isinstance(e, UnidentifiedImageError):  # its message repeats the path
        return "of no known image format"
    cause: BaseException | None = e
    while cause:  # requests hides the system's words three errors deep
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    lines = [line for line in str(e).splitlines() if line.strip()]
    last = lines[-1] if lines else f"not in the expected format, {type(e).__name__}"
    return last.strip().removeprefix("<urlopen error ").removesuffix(">").rstrip(".:")[:160]


@contextmanager
def alone(lock: Path, what: str, progress: Progress | None) -> Iterator[None]:
    """Inside, no other process holds this lock file. Where none can be made, nobody waits.

    `progress` hears of a wait now and then, and may end it by raising.
    """
    held = FileLock(lock)
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        while not _locked(held):
            if progress:
                progress(f"waiting for another process, which loads {what}", 0, None)
    except (OSError, NotImplementedError):
        pass  # a read-only folder, or a disk without locks
    try:
        yield
    finally:
        held.release()


def _locked(lock: FileLock) -> bool:
    try:
        lock.acquire(timeout=WAIT_SECONDS)
    except Timeout:
        return False
    return True


def decoded(
    what: str,
    files: Sequence[Path],
    picture: Callable[[Path], Tensor],
    shape: tuple[int, ...],
    cache: Path,
    progress: Progress | None,
) -> Tensor:
    """All pictures as bytes [N, *shape], decoded once and then kept beside `cache`, if that can be written.

    What is kept is memory-mapped, so processes share it. It goes by the files' names, sizes and times: other files are
    decoded anew, and replace what was kept of the earlier ones.
    """
    kept = cache.with_name(f"{cache.name}-{fingerprint(files)}.npy")
    with alone(cache.with_name(f".{cache.name}.lock"), what, progress):
        pixels = _load(kept, (len(files), *shape))
        if pixels is None:
            pixels = _decode(what, files, picture, shape, progress)
            _keep(kept, pixels)
            # Earlier images, and what a process that died, or the disk, left unfinished.
            for old in set(cache.parent.glob(f"{cache.name}-*")) - {kept}:
                with suppress(OSError):
                    old.unlink()
    return pixels


def _load(kept: Path, shape: tuple[int, ...]) -> Tensor | None:
    try:
        pixels = np.load(kept, mmap_mode="c", allow_pickle=False)  # "c": nobody writes into the file
        return torch.from_numpy(pixels) if pixels.shape == shape and pixels.dtype == np.uint8 else None
    except Exception:  # absent, or damaged in one of many ways
        return None


def _decode(
    what: str,
    files: Sequence[Path],
    picture: Callable[[Path], Tensor],
    shape: tuple[int, ...],
    progress: Progress | None,
) -> Tensor:
    try:
        pixels = torch.empty(len(files), *shape, dtype=torch.uint8)
    except RuntimeError as e:
        size = f"{len(files):,} images of {' x '.join(map(str, shape))} bytes"
        raise SymeqError(f"{size} do not fit into memory: choose a smaller data.size, or fewer images.") from e
    for i, file in enumerate(files):
        pixels[i] = picture(file)
        if progress and (i % 100 == 99 or i + 1 == len(files)):
            progress(f"decoding {what}", i + 1, len(files))
    return pixels


def _keep(kept: Path, pixels: Tensor) -> None:
    temporary = kept.with_name(f"{kept.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as f:
            np.save(f, pixels.numpy())
            f.flush()
            os.fsync(f.fileno())
        os.replace(temporary, kept)
    except OSError:
        pass  # a read-only or full disk costs only time
