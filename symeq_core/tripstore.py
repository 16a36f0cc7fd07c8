"""Statistics of a pair's chains, and pictures of where they end: looked up, or computed once and kept."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import files, measured, shapes
from .errors import SymeqError
from .gallery import Pair
from .measured import extractor_name
from .runs import read_config
from .store import Entry, check_unchanged, content, subject

STARTS = ("test", "prior", "noise")
FILE = "chains.json"  # beside a shipped pair's weights
PICTURES = ("samples.png", "limiting.png")
IMAGES = 64  # in a picture
LONGEST = 1000  # round trips of an evaluation's chains, at least
SEED = 0
VERSION = 1  # of what is computed

Progress = Callable[[str, float], object]


def entry(folder: Path, start: str = "test") -> Entry:
    """Where the statistics of chains from this kind of start are kept; SymeqError where the folder holds no pair."""
    return Entry(
        "chain",
        {
            "pair": subject(folder),
            "start": start,
            "classifier": extractor_name(read_config(folder).data),
            "version": VERSION,
        },
    )


def found(pair: Pair, start: str = "test") -> dict[str, Any] | None:
    """What `chain_statistics` found, as it came with these very weights or was computed here; None where neither is.

    SymeqError where the pair is damaged, or the file that came with it is and nothing was computed here.
    """
    stored, wrong = entry(pair.folder, start), None
    try:
        beside = _beside(pair, start)
        if beside is not None:
            return beside
    except SymeqError as e:
        wrong = e
    if stored.is_done():
        return _read(stored)
    if wrong:
        raise wrong
    return None


def _beside(pair: Pair, start: str) -> dict[str, Any] | None:
    """What is known of these very weights: of chains from test images by an evaluation, of all others from FILE."""
    if start == "test":
        found = (measured.found(pair) or {}).get("chain")
        return found if found and found["start"] == start and found["ks"][-1] >= LONGEST else None
    path = pair.folder / FILE
    if not path.is_file():
        return None
    held = shapes.read(path, shapes.Chains, "measure the chains anew")
    found = held.get(start) if held["content"] == content(pair.folder) else None
    return found if found and found["start"] == start else None


def _read(stored: Entry) -> dict[str, Any]:
    return shapes.read(stored.json, shapes.Statistics, "delete it, and measure anew")


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
            result, drawn = _compute(folder, start, tell)
            check_unchanged(stored, entry(folder, start), folder)
            for name, picture in drawn.items():
                files.write(stored.folder / name, picture)
            files.write_json(stored.json, result)
    return _read(stored)


def _compute(folder: Path, start: str, tell: Progress) -> tuple[dict[str, Any], dict[str, bytes]]:
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
    return result, _draw(p, q)


def _draw(p: Any, q: Any) -> dict[str, bytes]:
    """Pictures of random codes and of limiting images."""
    from . import chains, figures
    from .seeds import derive, seeded
    from .sheets import png

    with seeded(derive(SEED, "pictures")):
        made = {"samples.png": chains.decoded_prior(p, IMAGES), "limiting.png": chains.limiting(p, q, IMAGES)}
    return {name: png(figures.grid(x, 8)) for name, x in made.items()}
