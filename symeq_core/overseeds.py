"""Figures of pairs trained from several seeds: what differs from one training to the next. Imports no torch."""

from collections.abc import Mapping
from statistics import mean, stdev
from typing import Any, NamedTuple

from . import files, measured
from .gallery import SHIPPED
from .results import KINDS

FILE = SHIPPED / "seeds.json"
LEARNERS = ("elbo", "symmetric")


class Row(NamedTuple):
    """A figure of a match over seeds: the values of ELBO and game from the same seeds, in their order."""

    match: str
    kind: str  # one of results.KINDS
    elbo: tuple[float, ...]
    game: tuple[float, ...]
    n: int  # images in each value

    @property
    def better(self) -> int:
        """From how many seeds the game's value is the lower one."""
        return sum(g < e for g, e in zip(self.game, self.elbo, strict=True))


def known() -> list[Row]:
    """What is shipped; nothing where that file is missing."""
    return checked(files.read_json(FILE)) if FILE.is_file() else []


def checked(found: Mapping[str, Any]) -> list[Row]:
    """Rows of the content of FILE: {match: {"seeds": [...], "n": n, kind: {learner: [a value for each seed]}}}."""
    return [
        Row(name, kind, tuple(match[kind]["elbo"]), tuple(match[kind]["symmetric"]), match["n"])
        for name, match in found.items()
        for kind in KINDS
    ]


def spread(values: tuple[float, ...]) -> str:
    """Mean ± standard deviation from one seed to the next, as precise as that allows."""
    return measured.shown({"value": mean(values), "stderr": stdev(values) if len(values) > 1 else None})


def markdown(rows: list[Row]) -> str:
    """The table in Markdown."""
    lines = ["| pair | images | ELBO | game | game better in | n |", "| --- | --- | --- | --- | --- | --- |"]
    for r in rows:
        seeds = f"{r.better} of {len(r.game)} seeds"
        lines.append(f"| {r.match} | {r.kind} | {spread(r.elbo)} | {spread(r.game)} | {seeds} | {r.n:,} |")
    return "\n".join(lines)
