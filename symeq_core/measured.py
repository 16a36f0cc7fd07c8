"""What has been measured of a pair, and where it is kept; `evaluation` measures it. Imports no torch."""

import base64
import hashlib
import json
import math
from collections.abc import Container, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from . import folders, shapes
from .config import DataConfig
from .errors import SymeqError, UsageError
from .gallery import SHIPPED, Pair
from .runs import read_config
from .store import Entry, cache_root, content, file_hash

Figure = dict[str, Any]  # {"value", "stderr", "n", "unit", "meaning", "better": "lower" | "higher" | None, "seed", ...}

FORMAT = 1
VERSION = 1  # of what is computed: results of another one are computed anew
ERRORS = 2.0  # a difference counts from this many standard errors of it on
OPEN = {("lower", "lower"), ("upper", "higher")}  # (bound, better) of figures that may be far worse than they look
WITH_EXTRACTOR = {"digits", "mnist"}  # shipped with one


@dataclass(frozen=True)
class Options:
    """What an evaluation's numbers depend on, besides the pair."""

    n: int = 2000  # images in each set whose quality is scored
    chain: int = 1000  # round trips of the longest chain
    seed: int = 0
    limit: int = 10_000  # test images for likelihood, consistency and utilities, which have limits of their own
    inception: bool = False

    def __post_init__(self) -> None:
        if not 20 <= self.n <= 35_000 or not 1 <= self.chain <= 100_000:
            raise UsageError("--n is from 20 to 35,000 (half of MNIST), and --chain from 1 to 100,000.")
        if self.limit < 20:
            raise UsageError(f"A limit of {self.limit} leaves no uncertainty to state: use at least 20 images.")


QUICK = Options(n=500, chain=100, limit=500)


def extractor_folder(data: DataConfig) -> Path:
    """Where the extractor of these data is, or would be."""
    if data.name in WITH_EXTRACTOR:
        return SHIPPED / "extractors" / data.name
    key = json.dumps([data.path, data.size, data.channels])
    return cache_root() / "extractors" / f"{data.name}-{hashlib.blake2b(key.encode(), digest_size=6).hexdigest()}"


def extractor_name(data: DataConfig) -> str | None:
    """Which extractor these data have now, by the hash of its weights; None where they have none."""
    path = extractor_folder(data) / "extractor.safetensors"
    if not path.is_file():
        return None
    return f"symeq-{data.name}-{file_hash(path, 4)}"


def key(folder: Path, options: Options | None = None) -> dict[str, Any]:
    """All that an evaluation depends on, as it is now; SymeqError where the folder holds no pair."""
    data = read_config(folder).data
    return {
        "content": content(folder),
        "images": folders.state(data.path),
        "options": asdict(options or Options()),
        "extractor": extractor_name(data),
        "version": VERSION,
    }


def stored(folder: Path, options: Options | None = None) -> Entry:
    """Where the result of this pair and these options is kept; SymeqError where the folder holds no pair."""
    return Entry("evaluation", key(folder, options))


def beside(pair: Pair, options: Options | None = None) -> dict[str, Any] | None:
    """What its metrics.json tells, if that is of the weights it holds now and of these options; SymeqError where it is
    damaged. Images and extractor count where they are on this machine.
    """
    told = pair.metrics()
    return told if told and _is_of(told, key(pair.folder, options)) else None


def _is_of(told: dict[str, Any], wanted: dict[str, Any]) -> bool:
    return all(told.get(k) == v for k, v in wanted.items() if v)


def found(pair: Pair) -> dict[str, Any] | None:
    """The evaluation that is known of a pair: from its metrics.json or from the store, at default options; else its
    metrics.json at others; None where there is none. SymeqError where the pair is damaged, or its metrics.json is and
    the store has no other.
    """
    wanted, told, wrong = key(pair.folder), None, None
    try:
        told = pair.metrics()
    except SymeqError as e:
        wrong = e
    if told and _is_of(told, wanted):
        return told
    entry = Entry("evaluation", wanted)
    if entry.is_done():
        return read(entry, pair.folder)
    if wrong:
        raise wrong
    return told if told and told["content"] == wanted["content"] else None


def read(entry: Entry, folder: Path) -> dict[str, Any]:
    """The result that the store holds."""
    return described(shapes.read(entry.json, shapes.Metrics, "delete it, and evaluate the pair anew"), folder)


def described(found: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A result with what the folder says of itself: a copy under another name has the same content."""
    c = read_config(folder)
    mine = {
        "format": FORMAT,
        "name": c.name,
        "data": c.data.name,
        "trained on test images": c.data.split == "all",
        "model": f"{c.model.kind} {' '.join(map(str, c.model.latents))}",
        "learner": c.learner.name,
        "training seed": c.seed,
    }
    return mine | found | mine


def unranked(figures: Sequence[Figure | None]) -> str | None:
    """Why the same figure of several pairs doesn't tell which is better; None where it may.

    Distances in features depend on the extractor and on n. A figure that is bounded from its better side only may be
    far worse than the bound.
    """
    known = [f for f in figures if f and f.get("value") is not None]
    if len(known) < 2:
        return None
    if any((f.get("bound"), f.get("better")) in OPEN for f in known):
        return "no verdict, as the bound is on the better side: the true values may be much worse"
    features = dict.fromkeys(f["extractor"] for f in known if f.get("extractor"))
    if len(features) > 1:
        return "not comparable: other features"
    counts = dict.fromkeys(f["n"] for f in known)
    if features and len(counts) > 1:
        return f"not comparable: n = {' and '.join(f'{k:,}' for k in counts)}"
    return None


def at_least(name: str) -> str:
    """What the lower bound is called of a figure that is known by an upper one."""
    return f"{name}, at least"


def error_of_difference(a: Figure, b: Figure) -> float | None:
    """Standard error of the difference of two figures; None where one of theirs is unknown.

    Image by image where both tell the value of each of the same images, else as of independent figures.
    """
    if a.get("stderr") is None or b.get("stderr") is None:
        return None
    one, other = _each(a), _each(b)
    if a.get("images") and a.get("images") == b.get("images") and len(one) == len(other) > 1:
        return float((one - other).std(ddof=1)) / math.sqrt(len(one))
    return math.hypot(a["stderr"], b["stderr"])


def _each(figure: Figure) -> np.ndarray:
    """The values of the single images [n]; none where they aren't told."""
    try:
        found = np.frombuffer(base64.b64decode(figure.get("each") or ""), "<f4").astype(float)
    except ValueError:
        return np.zeros(0)
    return found if np.isfinite(found).all() else np.zeros(0)


def winner(
    game: Figure, elbo: Figure, least: tuple[Figure | None, Figure | None] = (None, None)
) -> Literal["game", "elbo", "tie"] | None:
    """Who is better by more than ERRORS standard errors of the difference: "game", "elbo" or "tie"; None where that
    can't be said, as an uncertainty is unknown or the figures are `unranked`.

    least: the lower bounds of both (`at_least`), for upper bounds of what is better lower: the better one then has to
    beat the other's lower bound too, so as to be better whatever the true values are.
    """
    a, b, better = game.get("value"), elbo.get("value"), game.get("better")
    error = error_of_difference(game, elbo)
    if a is None or b is None or error is None or better not in ("lower", "higher") or unranked((game, elbo)):
        return None
    if abs(a - b) <= ERRORS * error or a == b:
        return "tie"
    if (a < b) == (better == "lower"):
        return "game" if _beats(game, least[1]) else None
    return "elbo" if _beats(elbo, least[0]) else None


def _beats(upper: Figure, least: Figure | None) -> bool:
    if least is None or least.get("value") is None:
        return True
    return winner(upper | {"bound": None}, least | {"bound": None}) == "game"


def best(figures: Sequence[Figure | None], least: Sequence[Figure | None] = ()) -> int | None:
    """Which of the same figure of several pairs is the best: None unless it beats every other one beyond the
    uncertainty, as `winner` has it. least: the lower bounds of all of them.
    """
    bounds = dict(enumerate(least))
    known = {i: f for i, f in enumerate(figures) if f and f.get("value") is not None}
    if len(known) < 2:
        return None
    for i, f in known.items():
        if all(winner(f, g, (bounds.get(i), bounds.get(k))) == "game" for k, g in known.items() if k != i):
            return i
    return None


def shown(figure: Figure | None) -> str:
    """A figure with its uncertainty, as precise as that allows."""
    if not figure or figure.get("value") is None:
        return "–"
    value, error = figure["value"], figure.get("stderr")
    if not error:
        return f"{value:.4g}"
    digits = min(12, max(0, 1 - math.floor(math.log10(error))))
    return f"{value:,.{digits}f} ± {error:.{digits}f}"


class Headline(NamedTuple):
    """One of the few figures that say most: (group, name), the first of several that is known, and what a card of the
    gallery calls it ("" where it has no place there).
    """

    keys: tuple[tuple[str, str], ...]
    card: str = ""


HEADLINES = (
    Headline((("quality", "Frechet distance, random code"),)),
    Headline((("quality", "Frechet distance, limiting"),), "limiting images, FD ↓"),
    Headline((("likelihood", "log-likelihood"), ("likelihood", "importance-weighted bound"))),
    Headline((("consistency", "inconsistency on data"), ("consistency", "inconsistency on dreams"))),
    Headline((("likelihood", "ELBO"),), "ELBO ↑"),
    Headline((("consistency", "label retention after 10"),), "same class after 10 ↑"),
    Headline((("last probe", "L_p"),)),
    Headline((("last probe", "L_q"),)),
    Headline((("last probe", "ELBO"),)),
)


def headlines(known: Container[tuple[str, str]]) -> list[tuple[Headline, tuple[str, str]]]:
    """Those of these (group, name) that say most."""
    return [(h, key) for h in HEADLINES if (key := next((k for k in h.keys if k in known), None))]


def on_card(metrics: dict[str, Any]) -> dict[str, Figure]:
    """The figures of an evaluation that a card shows, where they are defined, by what it calls them."""
    known = {(g, n): f for g, of in metrics.get("figures", {}).items() for n, f in of.items() if f["value"] is not None}
    return {h.card: known[key] for h, key in headlines(known) if h.card}


def label(text: str) -> str:
    """What a figure is called where people read; its key in files is plain ASCII."""
    return text.replace("Frechet", "Fréchet").replace("after 1000", "after 1,000")


def explained(f: Figure | None) -> str:
    """What a figure means, its value, of how many images, by which seed and extractor; or why there is none."""
    if not f or f.get("value") is None:
        return (f or {}).get("reason") or "not measured"
    meaning = str(f.get("meaning") or "").rstrip(".")
    error = "" if f.get("stderr") is None else f" ± {f['stderr']:.2g} (one standard error)"
    extractor = f" Extractor: {f['extractor']}." if f.get("extractor") else ""
    seed = f", seed {f['seed']}" if "seed" in f else ""
    text = f"{f['value']:.6g}{error} {f.get('unit', '')}, n = {f.get('n') or 0:,}{seed}.{extractor}"
    return label(f"{meaning}. {text}" if meaning else text)
