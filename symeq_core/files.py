"""Writing and reading files so that nothing saved is ever lost or half-written."""

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import SymeqError


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # a folder can't be opened there
        return
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as e:
        raise SymeqError(f"{path} could not be written ({e.strerror or e}): free or unlock that disk.") from e


def write(path: Path, content: bytes) -> None:
    """Replace a file whole: written beside it, synced, renamed. SymeqError where the disk refuses."""
    with _told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary(path)
        try:
            with open(temporary, "wb") as f:
                f.write(content)
                f.flush()
                os.fsync(f.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


def write_folder(path: Path, contents: dict[str, bytes]) -> None:
    """Replace a folder of files whole, as `write` does a file; an older one stays until the new one is complete."""
    with _told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary, old = _temporary(path), _temporary(path)
        try:
            temporary.mkdir()
            for name, content in contents.items():
                write(temporary / name, content)
            if path.exists():
                os.rename(path, old)
            os.rename(temporary, path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)
        _sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file whole."""
    write(path, json.dumps(value, indent=2, allow_nan=False).encode() + b"\n")


def read_json(path: Path, limit: int = 1 << 20) -> Any:
    """A JSON file of at most `limit` bytes; SymeqError with one sentence where it is missing or not JSON."""
    try:
        if path.stat().st_size > limit:
            raise SymeqError(f"{path} is too large to be one of ours ({path.stat().st_size:,} bytes).")
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SymeqError(f"There is no {path}: name a folder that holds one.") from None
    except OSError as e:
        raise SymeqError(f"{path} can't be read ({e.strerror}).") from e
    except (ValueError, RecursionError) as e:
        raise SymeqError(f"{path} is damaged: it is not JSON. Restore it from a copy.") from e
