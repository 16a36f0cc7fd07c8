"""Computed results: cached by content, so that none is computed twice, and computed beside the app where it takes long.

An entry is a folder SYMEQ_CACHE/KIND/HASH, the hash being that of everything the result depends on. It holds the result
(result.json or result.safetensors), progress.json while it is computed, and a lock held by the computing process.
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import platformdirs
from filelock import FileLock, Timeout

from . import files, folders
from .errors import SymeqError
from .runs import Run, read_config, saved

PROGRESS_SECONDS = 0.2  # between reports
STARTING_SECONDS = 60.0  # a launched process has this long to take the lock
KILLED = "Its process ended before it was done: try again, with more memory free if it ends so once more."


def cache_root() -> Path:
    """SYMEQ_CACHE, else the platform's cache folder."""
    given = os.environ.get("SYMEQ_CACHE")
    return Path(given).expanduser() if given else Path(platformdirs.user_cache_dir("symeq")) / "results"


def content(folder: Path) -> str:
    """A hash of a pair's weights and of the parts of its config that say how it is built and on which data."""
    path = saved(folder)
    if path is None:
        raise SymeqError(f"{folder} holds no weights yet: train it, or name another folder.")
    config = read_config(folder)
    try:
        parts = repr((config.data, config.model)), file_hash(path)
    except OSError as e:
        raise SymeqError(f"{path} can't be read ({e.strerror or e}): choose another pair.") from e
    return hashlib.blake2b("/".join(parts).encode(), digest_size=16).hexdigest()


def subject(folder: Path) -> str:
    """What is measured: the pair's content and, where its data are a person's own images, these as they are now."""
    path = read_config(folder).data.path
    return content(folder) + (f" on {folders.state(path)}" if path else "")


@files.once
def file_hash(path: Path, size: int = 16) -> str:
    """The hash of a file's content, of `size` bytes."""
    with open(path, "rb") as f:
        return hashlib.file_digest(f, lambda: hashlib.blake2b(digest_size=size)).hexdigest()


def check_unchanged(before: "Entry", now: "Entry", folder: Path) -> None:
    """SymeqError where the pair changed while its result was computed, which would be kept as that of other weights."""
    if now.folder != before.folder:
        raise SymeqError(
            f"{folder} changed while it was measured, as it is trained or has new images: measure it again."
        )


class Entry:
    """One result: `kind` says what it is, `key` (JSON values) everything that it depends on."""

    def __init__(self, kind: str, key: dict[str, Any], root: Path | None = None) -> None:
        text = json.dumps(key, sort_keys=True)
        name = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        self.folder = (root or cache_root()) / kind / name
        self.json, self.tensors = self.folder / "result.json", self.folder / "result.safetensors"

    def is_done(self) -> bool:
        """Whether the result is there."""
        return self.json.is_file() or self.tensors.is_file()

    def is_running(self) -> bool:
        """Whether a process computes it now, or was started to a moment ago."""
        if Run(self.folder).is_running():
            return True
        with suppress(OSError):
            return not self.is_done() and time.time() - (self.folder / "launched").stat().st_mtime < STARTING_SECONDS
        return False

    def progress(self) -> tuple[str, float]:
        """(what is being done, fraction done)."""
        with suppress(SymeqError, KeyError, TypeError):
            found = files.read_json(self.folder / "progress.json")
            return str(found["what"]), min(1.0, max(0.0, float(found["done"])))
        return "starting", 0.0

    def failure(self) -> str | None:
        """Why the last attempt failed, in one sentence."""
        left = any((self.folder / name).exists() for name in ("progress.json", "launched"))
        with suppress(OSError):
            return (self.folder / "failed").read_text(encoding="utf-8")
        if not left or self.is_done() or self.is_running():
            return None
        self._fail(KILLED)
        self._forget("progress.json", "launched")
        return KILLED

    def _fail(self, why: str) -> None:
        with suppress(SymeqError):
            files.write(self.folder / "failed", " ".join(why.split())[:500].encode())

    @contextmanager
    def computing(self, also: Callable[[str, float], object] | None = None) -> Iterator[Callable[[str, float], None]]:
        """Hold the entry while its result is computed, waiting for another process that does; yields what to tell
        progress to, which tells `also`, too. Whoever enters looks again whether the result is there by now.
        """
        told = 0.0

        def tell(what: str, done: float) -> None:
            nonlocal told
            if time.monotonic() - told > PROGRESS_SECONDS:
                told = time.monotonic()
                files.write_json(self.folder / "progress.json", {"what": what, "done": done})
            if also:
                also(what, done)

        lock = FileLock(self.folder / "lock")
        with files.told(f"{self.folder} could not be written"):
            self.folder.mkdir(parents=True, exist_ok=True)
            while not lock.is_locked:
                with suppress(Timeout):
                    lock.acquire(timeout=1.0)
        try:
            files.write_json(self.folder / "progress.json", {"what": "starting", "done": 0.0})
            self._forget("failed", "launched")
            yield tell
        except Exception as e:
            self._fail(str(e) or type(e).__name__)  # as MemoryError has no words
            raise
        finally:
            self._forget("progress.json", "launched")  # before another process may have its own
            lock.release()

    def _forget(self, *names: str) -> None:
        for name in names:
            with suppress(OSError):
                (self.folder / name).unlink(missing_ok=True)

    def launch(self, arguments: Sequence[str]) -> None:
        """Compute it in a process of its own, `python -m symeq_core ARGUMENTS`, which outlives the app; once only."""
        if self.is_done() or self.is_running():
            return
        with files.told(f"{self.folder} could not be written"):
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / "launched").touch()
            self._forget("failed", "progress.json")  # of an earlier attempt
            with open(self.folder / "log.txt", "wb") as log:
                subprocess.Popen(
                    [sys.executable, "-m", "symeq_core", *arguments],
                    cwd=Path(__file__).parent.parent,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
