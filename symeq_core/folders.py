"""Folders of a person's own images: what is in them, and zips unpacked into one. Needs no torch."""

import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

from . import files, zips
from .errors import SymeqError, UsageError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm"})
LEAST = 10  # images, so that a tenth of them can be kept for testing
LIMIT_BYTES = 2 << 30  # of all files in a zip, unpacked
LIMIT_FILES = 200_000
UPLOADS = ".images"  # beside the runs
ABANDONED_SECONDS = 3600.0  # no unpacking takes so long
AGAIN_SECONDS = 2.0  # until a folder's images are looked at again


class Contents(NamedTuple):
    """The images that are trained on, each with the number of its label, and the labels (none, or two and more)."""

    images: list[tuple[Path, int]]
    labels: list[str]

    def __str__(self) -> str:
        count = f"{len(self.images):,} images"
        if not self.labels:
            return f"{count}, without labels"
        shown = ", ".join(self.labels[:6]) + (", ..." if len(self.labels) > 6 else "")
        return f"{count} with {len(self.labels)} labels ({shown})"


def image_files(folder: Path) -> list[Path]:
    """The image files directly in a folder, sorted by name; hidden ones aside."""
    return _visible(folder, lambda f: f.suffix.lower() in SUFFIXES and f.is_file())


def image_folders(folder: Path) -> list[Path]:
    """The folders directly in a folder that hold image files, sorted by name; hidden ones aside."""
    return _visible(folder, lambda d: d.is_dir() and bool(image_files(d)))


def _visible(folder: Path, wanted: Callable[[Path], bool]) -> list[Path]:
    try:
        found = [f for f in folder.iterdir() if not f.name.startswith(".") and wanted(f)]
    except OSError as e:
        raise SymeqError(f"{folder} can't be read ({e.strerror or e}): allow it, or choose another folder.") from e
    return sorted(found, key=lambda f: f.name)  # by text, as paths sort otherwise on Windows


def contents(path: Path) -> Contents:
    """What a folder of images holds: two or more sub-folders are the labels, and images beside these are left out.

    SymeqError where there are too few to train and test on.
    """
    folders = image_folders(path)
    labels = [d.name for d in folders] if len(folders) > 1 else []  # one alone tells nothing apart
    if not labels and image_files(path):
        folders = [path]
    found = [(f, k) for k, folder in enumerate(folders) for f in image_files(folder)]
    if len(found) < LEAST:
        raise SymeqError(
            f"{path} holds too few images to train and test on ({len(found)}; {', '.join(sorted(SUFFIXES))}): "
            f"put at least {LEAST} there, or into sub-folders named after their labels."
        )
    return Contents(found, labels)


def fingerprint(images: Sequence[Path]) -> str:
    """What tells image files from others: their names, sizes and times."""
    digest = hashlib.blake2b(b"1", digest_size=8)  # the number changes with how images are decoded
    for file in images:
        try:
            stat = file.stat()
            facts = f"{stat.st_size} {stat.st_mtime_ns}"
        except OSError:
            facts = "missing"  # decoding says so
        digest.update(os.fsencode(f"{file.parent.name}/{file.name} {facts}\n"))
    return digest.hexdigest()


def state(path: str | None) -> str:
    """The fingerprint of the images in a folder now, or a moment ago; empty where there are none, or no folder."""
    return _state(path, int(time.monotonic() / AGAIN_SECONDS)) if path else ""


@lru_cache(maxsize=16)
def _state(path: str, moment: int) -> str:
    try:
        return fingerprint([f for f, _ in contents(Path(path)).images])
    except SymeqError:
        return ""


# --- uploads ---------------------------------------------------------------------------------------------------


def uploaded(root: Path) -> list[str]:
    """Names of the zips that were unpacked beside these runs, the last first."""
    home = root / UPLOADS
    try:
        found = [f for f in home.iterdir() if f.is_dir() and not f.name.startswith(".")]
        return [f.name for f in sorted(found, key=lambda f: f.stat().st_mtime, reverse=True)]
    except OSError:
        return []


def unpack(file: BinaryIO, name: str, root: Path, limit_bytes: int = LIMIT_BYTES) -> Path:
    """The folder with the images of a zip, each in a sub-folder of its label; a zip that was seen before is not
    unpacked again.

    Everything else in the zip is passed over. UsageError with the reason where it is not sound, and nothing is left
    behind then. limit_bytes: of all files together, unpacked.
    """
    stem = re.sub(r"[^\w.-]+", "-", PurePosixPath(name).stem).strip(".-")[:40] or "images"
    folder = root / UPLOADS / f"{stem}-{_digest(file)}"
    if folder.is_dir():
        return folder
    with zips.opened(file, LIMIT_FILES, limit_bytes) as z:
        found = [m for m in zips.members(z) if _is_image(PurePosixPath(m.filename))]
        if len(found) < LEAST:
            zips.refuse(f"it holds {len(found)} images ({', '.join(sorted(SUFFIXES))}), and {LEAST} is the least")
        deep = all(len(PurePosixPath(m.filename).parts) > 2 for m in found)  # all in one folder of folders
        with files.told(f"{name} could not be unpacked into {root}"), _apart(folder) as partial:
            for i, m in enumerate(found):
                path = PurePosixPath(m.filename)
                parts = path.parts[deep:]
                target = partial / (parts[-2] if len(parts) > 1 else "") / f"{i:06}-{path.stem[:60]}{path.suffix}"
                target.parent.mkdir(parents=True, exist_ok=True)
                with z.open(m) as source, open(target, "wb") as f:
                    shutil.copyfileobj(source, f)
                _check_image(target, m.filename)
            contents(partial)
    return folder


def _digest(file: BinaryIO) -> str:
    file.seek(0)
    digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=6)).hexdigest()  # type: ignore[arg-type]
    file.seek(0)
    return digest


def _is_image(path: PurePosixPath) -> bool:
    return path.suffix.lower() in SUFFIXES and not any(part.startswith(".") for part in path.parts)


@contextmanager
def _apart(folder: Path) -> Iterator[Path]:
    """A new folder that takes its name when all went well, and vanishes elsewhere."""
    home = folder.parent
    home.mkdir(parents=True, exist_ok=True)
    for left in home.glob(".*.partial"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > ABANDONED_SECONDS:
                shutil.rmtree(left)
    partial = home / f".{folder.name}-{time.time_ns():x}.partial"
    try:
        partial.mkdir()
        yield partial
        try:
            partial.rename(folder)
        except OSError:
            if not folder.is_dir():  # else somebody was quicker with the same zip
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _check_image(path: Path, name: str) -> None:
    """UsageError where a file is not the image that its name says."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            image.verify()
    except Exception:  # Pillow raises many kinds
        raise UsageError(f"This zip can't be imported: {name[-100:]!r} in it is not a sound image.") from None
