"""Who wins: the figures of pairs that differ in their learner only, and the authors' published ones. Imports no torch.

Figures are those of metrics.json (`evaluate`): {"value", "stderr", "n", "unit", "better": "lower" | "higher", ...}.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from .gallery import Pair

Figure = dict[str, Any]
ERRORS = 2.0  # a difference counts from this many standard errors of it on
KINDS = ("random code", "limiting")
DISTANCE = "Frechet distance"

# FID (Inception, generated against the 70,000 originals): (ELBO, game) for random codes and for limiting images.
# Source: the scores the paper's authors published with their code.
AUTHORS: dict[str, dict[str, tuple[float, float]]] = {
    "MNIST, ladder": {"random code": (3.2227, 1.6543), "limiting": (36.6440, 4.1015)},
    "MNIST, reverse": {"random code": (5.2889, 1.4746), "limiting": (14.2256, 4.9559)},
    "Fashion-MNIST, ladder": {"random code": (37.8115, 43.6204), "limiting": (119.1699, 42.3663)},
}


class Match(NamedTuple):
    """Two pairs of the same data, model and training that differ in their learner."""

    name: str
    game: Pair
    elbo: Pair


class Verdict(NamedTuple):
    """One figure of a match: both values, and who is better beyond the uncertainty ("game", "elbo" or "tie")."""

    group: str
    figure: str
    game: Figure
    elbo: Figure
    winner: str


def matches(pairs: Iterable[Pair]) -> list[Match]:
    """The matches among these pairs, in their order."""
    found: dict[tuple, dict[str, Pair]] = {}
    for pair in pairs:
        c = pair.config()
        found.setdefault((c.data.name, c.model.kind, c.model.latents), {})[c.learner.name] = pair
    return [
        Match(group["symmetric"].folder.name.removesuffix("-symmetric"), group["symmetric"], group["elbo"])
        for group in found.values()
        if {"symmetric", "elbo"} <= group.keys()
    ]


def winner(game: Figure, elbo: Figure) -> str | None:
    """Who is better by more than ERRORS standard errors of the difference; None where that can't be said."""
    a, b, better = game.get("value"), elbo.get("value"), game.get("better")
    if a is None or b is None or better not in ("lower", "higher"):
        return None
    error = math.hypot(game.get("stderr") or 0.0, elbo.get("stderr") or 0.0)
    if abs(a - b) <= ERRORS * error or a == b:
        return "tie"
    return "game" if (a < b) == (better == "lower") else "elbo"


def verdicts(match: Match) -> list[Verdict]:
    """All figures that both have and that have a better side, except floors."""
    a, b = (pair.metrics() or {} for pair in (match.game, match.elbo))
    found = []
    for group, figures in a.get("figures", {}).items():
        for name, game in figures.items():
            elbo = b.get("figures", {}).get(group, {}).get(name)
            who = winner(game, elbo) if elbo else None
            if who and elbo and "floor" not in name:
                found.append(Verdict(group, name, game, elbo, who))
    return found


def distances(match: Match) -> dict[str, Figure]:
    """The table's row: "random code, elbo", "random code, game", "limiting, elbo", ... and "floor"."""
    found: dict[str, Figure] = {}
    for who, pair in (("elbo", match.elbo), ("game", match.game)):
        quality = (pair.metrics() or {}).get("figures", {}).get("quality", {})
        for kind in KINDS:
            if f"{DISTANCE}, {kind}" in quality:
                found[f"{kind}, {who}"] = quality[f"{DISTANCE}, {kind}"]
        if f"{DISTANCE}, floor" in quality:
            found["floor"] = quality[f"{DISTANCE}, floor"]
    return found


def shown(figure: Figure | None) -> str:
    """A figure with its uncertainty, as precise as that allows."""
    if not figure or figure.get("value") is None:
        return "–"
    value, error = figure["value"], figure.get("stderr")
    if not error:
        return f"{value:.4g}"
    digits = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:,.{digits}f} ± {error:.{digits}f}"


def summary(found: Sequence[tuple[Match, list[Verdict]]], name: str) -> str:
    """One sentence: how often the game or the ELBO is better at one figure, and where it can't be told."""
    named = {who: [m.name for m, vs in found for v in vs if v.figure == name and v.winner == who] for who in _WORDS}
    total = sum(map(len, named.values()))
    if not total:
        return f"{name}: not evaluated yet."
    parts = [f"{words} on {_listed(where)}" for who, words in _WORDS.items() if (where := named[who])]
    return f"**{name}**: {'; '.join(parts)}."


_WORDS = {"game": "the game is better", "elbo": "the ELBO is better", "tie": "no difference beyond the uncertainty"}


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def markdown(found: Sequence[Match]) -> str:
    """The table of Frechet distances in Markdown: ours, never in one column with the authors'."""
    head = "| pair | ELBO, random code | game, random code | ELBO, limiting | game, limiting | floor | n |"
    lines = [head, "| --- | --- | --- | --- | --- | --- | --- |"]
    for match in found:
        row = distances(match)
        cells = [shown(row.get(f"{kind}, {who}")) for kind in KINDS for who in ("elbo", "game")]
        n = row["floor"]["n"] if "floor" in row else 0
        lines.append(f"| {match.name} | {' | '.join(cells)} | {shown(row.get('floor'))} | {n:,} |")
    return "\n".join(lines)
