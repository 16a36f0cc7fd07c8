"""Statistics of a pair's chains, and pictures of where they end: looked up, or computed once and kept."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import files
from .errors import SymeqError
from .gallery import Pair
from .measured import extractor_name
from .runs import read_config
from .store import Entry, content

STARTS = ("test", "prior", "noise")
FILE = "chains.json"  # beside a shipped pair's weights
PICTURES = ("samples.png", "limiting.png")
IMAGES = 64  # in a picture
SEED = 0
VERSION = 1  # of what is computed

Progress = Callable[[str, float], object]


def entry(folder: Path, start: str = "test") -> Entry:
    """Where the statistics of chains from this kind of start are kept; SymeqError where the folder holds no pair."""
    return Entry(
        "chain",
        {
            "pair": content(folder),
            "start": start,
            "classifier": extractor_name(read_config(folder).data),
            "version": VERSION,
        },
    )


def found(pair: Pair, start: str = "test") -> dict[str, Any] | None:
    """What `chain_statistics` found, as it came with these very weights or was computed here; None where neither is."""
    beside, name = (pair.metrics(), "chain") if start == "test" else (_shipped(pair.folder), start)
    if beside and isinstance(beside.get(name), dict) and beside.get("content") == content(pair.folder):
        return beside[name]
    stored = entry(pair.folder, start)
    return files.read_json(stored.json, limit=4 << 20) if stored.is_done() else None


def _shipped(folder: Path) -> dict[str, Any] | None:
    return files.read_json(folder / FILE, limit=4 << 20) if (folder / FILE).is_file() else None


def write(folder: Path, progress: Progress | None = None) -> Path:
    """Put what is shipped, the chains that metrics.json doesn't hold, into the pair's folder; returns the file."""
    starts = [start for start in STARTS if start != "test"]

    def part(i: int) -> Progress:
        return lambda what, done: progress and progress(what, (i + done) / len(starts))

    found = {start: compute(folder, start, part(i)) for i, start in enumerate(starts)}
    files.write_json(folder / FILE, {"content": content(folder)} | found)
    return folder / FILE


def pictures(pair: Pair) -> dict[str, Path]:
    """Pictures of random codes and of limiting images by name, as far as there are any: of the last snapshot, or as
    computed with statistics."""
    places = [*list(pair.snapshots().values())[-1:], *(entry(pair.folder, start).folder for start in STARTS)]
    known = {name: next((f / name for f in places if (f / name).is_file()), None) for name in PICTURES}
    return {name: path for name, path in known.items() if path}


def compute(folder: Path, start: str = "test", progress: Progress | None = None) -> dict[str, Any]:
    """What `found` looks up, computed where it isn't there; about a minute for MNIST, seconds for digits."""
    stored = entry(folder, start)
    with stored.computing(progress) as tell:
        if not stored.is_done():  # by another process meanwhile
            files.write_json(stored.json, _compute(folder, start, stored.folder, tell))
    return files.read_json(stored.json, limit=4 << 20)


def _compute(folder: Path, start: str, out: Path, tell: Progress) -> dict[str, Any]:
    from .checkpoints import load
    from .datasets import load_data
    from .extractors import extractor
    from .sources import clean
    from .trips import chain_statistics

    tell("loading", 0.0)
    p, q = load(folder)
    data = read_config(folder).data
    test = load_data(data).test
    try:
        known = extractor(data)
    except SymeqError:
        known = None
    x = clean(test.images, data)
    result = chain_statistics(
        p, q, x, test.labels, known, seed=SEED, start=start, progress=lambda what, done: tell(what, 0.9 * done)
    )
    tell("pictures", 0.9)
    _draw(p, q, out)
    return result


def _draw(p: Any, q: Any, out: Path) -> None:
    """Pictures of random codes and of limiting images."""
    from . import chains, figures
    from .seeds import derive, seeded
    from .sheets import png

    with seeded(derive(SEED, "pictures")):
        files.write(out / "samples.png", png(figures.grid(chains.decoded_prior(p, IMAGES), 8)))
        files.write(out / "limiting.png", png(figures.grid(chains.limiting(p, q, IMAGES), 8)))
