"""Writing and reading files so that nothing saved is ever lost or half-written."""

import glob
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from .errors import SymeqError

T = TypeVar("T")

ABANDONED_SECONDS = 3600.0  # no write takes so long: a temporary of that age was left by a process that died


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # Windows and some network file systems can't; the renames are done already
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")


def _sweep(path: Path) -> None:
    """Remove what abandoned writes of `path` left beside it."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > ABANDONED_SECONDS:
                shutil.rmtree(left) if left.is_dir() else left.unlink()


@contextmanager
def told(what: str) -> Iterator[None]:
    """Inside, what the disk refuses is a SymeqError: `what`, why, and the way out."""
    try:
        yield
    except OSError as e:
        raise SymeqError(f"{what} ({e.strerror or e}): free or unlock that disk.") from e


def _put(path: Path, content: bytes) -> None:
    with open(path, "wb") as f:
        f.write(content)
        f.flush()
        os.fsync(f.fileno())


def write(path: Path, content: bytes) -> None:
    """Replace a file whole: written beside it, synced, renamed. SymeqError where the disk refuses."""
    with told(f"{path} could not be written"):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary(path)
        try:
            _put(temporary, content)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
        _sweep(path)


def write_folder(path: Path, contents: dict[str, bytes]) -> None:
    """Replace a folder of files whole, as `write` does a file; an older one stays until the new one is complete.

    A folder can't be exchanged for another in one go: a process killed between the two renames leaves both, whole,
    under hidden names (which readers pass over) and none under `path`, until `path` is written again.
    """
    with told(f"{path} could not be written"):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary, old = _temporary(path), _temporary(path)
        try:
            temporary.mkdir()
            for name, content in contents.items():
                _put(temporary / name, content)
            _sync_folder(temporary)
            if path.exists():
                os.rename(path, old)
            os.rename(temporary, path)
        except BaseException:
            if old.exists() and not path.exists():
                os.rename(old, path)
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        _sync_folder(path.parent)
        shutil.rmtree(old, ignore_errors=True)
        _sweep(path)


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file whole."""
    write(path, json.dumps(value, indent=2, allow_nan=False).encode() + b"\n")


def once(read: Callable[..., T]) -> Callable[..., T]:
    """A function of a file's path that is called again only when the file has changed: never change what it returns.

    A file counts as changed with its inode, time of change or size. What is given beside its path must be hashable.
    """

    @lru_cache(maxsize=256)
    def known(path: Path, state: tuple[int, ...], *options: Hashable) -> T:
        return read(path, *options)

    @wraps(read)
    def looked(path: Path, *options: Hashable) -> T:
        try:
            s = path.stat()
        except (OSError, ValueError):
            return read(path, *options)  # which tells why
        return known(path, (s.st_ino, s.st_mtime_ns, s.st_size), *options)

    return looked


def read_json(path: Path, limit: int = 1 << 20) -> Any:
    """A JSON file of at most `limit` bytes; SymeqError with one sentence where it is missing or not JSON."""
    try:
        with open(path, "rb") as f:
            content = f.read(limit + 1)
        if len(content) > limit:
            raise SymeqError(f"{path} is too large to be one of ours: it has more than {limit:,} bytes.")
        return json.loads(content, parse_constant=_refuse)
    except FileNotFoundError:
        raise SymeqError(f"There is no {path}: name a folder that holds one.") from None
    except OSError as e:
        raise SymeqError(f"{path} can't be read ({e.strerror or e}).") from e
    except (ValueError, RecursionError) as e:
        raise SymeqError(f"{path} is damaged, as it is not JSON: restore it from a copy.") from e


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
