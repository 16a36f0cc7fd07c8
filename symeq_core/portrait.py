"""Pictures of a pair's present weights, for pairs without snapshots of training: computed once, kept by content."""

from collections.abc import Callable
from pathlib import Path

from . import files
from .runs import read_config
from .store import Entry, check_unchanged, subject

CHAIN = 1000  # round trips from noise to the limiting images
VERSION = 1  # of what is drawn


def entry(folder: Path) -> Entry:
    """Where the pictures of these weights are kept; SymeqError where the folder holds no pair."""
    return Entry("pictures", {"pair": subject(folder), "seed": read_config(folder).seed, "version": VERSION})


def compute(folder: Path, progress: Callable[[str, float], object] | None = None) -> Path:
    """The folder with the pictures that a snapshot holds, drawn where they aren't there: seconds, or minutes for large
    convolutional networks.
    """
    stored = entry(folder)
    with stored.computing(progress) as tell:
        if not stored.is_done():  # by another process meanwhile
            drawn = _draw(folder, tell)
            check_unchanged(stored, entry(folder), folder)
            for name, picture in drawn.items():
                files.write(stored.folder / name, picture)
            files.write_json(stored.json, {"chain": CHAIN})
    return stored.folder


def _draw(folder: Path, tell: Callable[[str, float], object]) -> dict[str, bytes]:
    from . import snapshots
    from .checkpoints import load
    from .datasets import load_data
    from .seeds import derive

    tell("loading the images", 0.0)
    config = read_config(folder)
    probe, _ = snapshots.probe_set(load_data(config.data), config)
    tell("loading the pair", 0.2)
    p, q = load(folder)
    tell("drawing", 0.3)
    taken = snapshots.take(
        p,
        q,
        probe,
        derive(config.seed, "probe"),
        CHAIN,
        lambda k: tell("round trips from noise", 0.3 + 0.7 * k / CHAIN),
    )
    return {name: picture for name, picture in taken.items() if name.endswith(".png")}
