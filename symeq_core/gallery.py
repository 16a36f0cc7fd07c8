"""The pairs one can look at: those shipped in checkpoints/, and one's own runs and imported checkpoints.

A pair's key names it in URLs: the folder's name for a shipped pair, own:NAME for one in the folder of runs.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import folders, shapes
from .config import Config
from .errors import SymeqError
from .runs import Run, read_config, saved

SHIPPED = Path(__file__).parent.parent / "checkpoints"
OWN = "own:"
Stamp = tuple[str, int, int, str]
_NAME = re.compile(r"\w[\w.+=@, -]{0,199}")


@dataclass(frozen=True)
class Pair:
    """A folder with a config and weights: a checkpoint, or a run that has saved some."""

    key: str
    folder: Path

    @property
    def shipped(self) -> bool:
        """Whether it came with the project."""
        return not self.key.startswith(OWN)

    def config(self) -> Config:
        """The validated config; SymeqError where it is damaged."""
        return read_config(self.folder)

    def metrics(self) -> dict[str, Any] | None:
        """What `evaluate` stored beside it; None where nothing is, SymeqError where that is damaged or foreign."""
        path = self.folder / "metrics.json"
        if not path.is_file():
            return None
        return shapes.read(path, shapes.Metrics, "evaluate the pair anew")

    def snapshots(self) -> dict[int, Path]:
        """Snapshot folders by training step, in order."""
        return Run(self.folder).snapshots()

    def events(self) -> list[dict[str, Any]]:
        """What happened while it was trained, where that is known."""
        return Run(self.folder).events()

    def stamp(self) -> Stamp:
        """(weights file, time of change in ns, bytes, own images): changes with them, for keys of caches."""
        path = saved(self.folder)
        if path is None:
            raise SymeqError(f"{self.folder} holds no weights yet: train it, or choose another pair.")
        try:
            state = path.stat()
        except OSError as e:
            raise SymeqError(f"{path} can't be read ({e.strerror or e}): choose another pair.") from e
        return str(path), state.st_mtime_ns, state.st_size, folders.state(self.config().data.path)

    def thumbnail(self) -> Path | None:
        """A picture of its samples, where there is one."""
        last = [*self.snapshots().values()][-1:]
        found = [self.folder / "thumbnail.png", *(f / "samples.png" for f in last)]
        return next((f for f in found if f.is_file()), None)


def shipped() -> list[Pair]:
    """The pairs that came with the project, by name."""
    return [Pair(f.name, f) for f in _folders(SHIPPED)]


def own(root: Path) -> list[Pair]:
    """Runs and checkpoints in the folder of runs that have weights, the last changed first."""
    found = sorted(_folders(root), key=_changed, reverse=True)
    return [Pair(OWN + f.name, f) for f in found]


def _changed(folder: Path) -> float:
    with suppress(OSError):  # it may be deleted at this moment
        return folder.stat().st_mtime
    return 0.0


def _folders(root: Path) -> Iterator[Path]:
    for folder in sorted(root.iterdir()) if root.is_dir() else ():
        if _NAME.fullmatch(folder.name) and (folder / "config.json").is_file() and saved(folder):
            yield folder


def find(root: Path, key: str) -> Pair:
    """The pair of this key, which may come from anybody; SymeqError where there is none."""
    base, name = (root, key.removeprefix(OWN)) if key.startswith(OWN) else (SHIPPED, key)
    try:
        folder = base.resolve() / name
        if _NAME.fullmatch(name) and folder.resolve() == folder and (folder / "config.json").is_file():
            return Pair(key, base / name)
    except (OSError, ValueError):
        pass
    raise SymeqError(f"There is no pair {key[:80]!r} here: choose one from the list.")


def counterpart(pair: Pair, among: list[Pair]) -> Pair | None:
    """The first other pair of the same data and model that another learner made, to be put beside it.

    SymeqError where the pair itself is damaged; damaged others are passed over.
    """
    mine = pair.config()
    for other in among:
        try:
            theirs = other.config()
        except SymeqError:
            continue
        same = (theirs.data.name, theirs.model.kind, theirs.model.latents) == (
            mine.data.name,
            mine.model.kind,
            mine.model.latents,
        )
        if same and theirs.learner.name != mine.learner.name:
            return other
    return None
