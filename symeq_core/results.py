"""Who wins: the figures of pairs that differ in their learner only, and the authors' published ones. Imports no torch.

Figures are those of metrics.json (`evaluate`): {"value", "stderr", "n", "unit", "better": "lower" | "higher", ...}.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from .errors import SymeqError
from .gallery import Pair
from .measured import Figure, found, shown, winner

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
    """The matches among these pairs, in their order; damaged ones are passed over."""
    groups: dict[tuple, dict[str, Pair]] = {}
    for pair in pairs:
        try:
            c = pair.config()
        except SymeqError:
            continue
        groups.setdefault((c.data.name, c.model.kind, c.model.latents), {})[c.learner.name] = pair
    return [
        Match(group["symmetric"].folder.name.removesuffix("-symmetric"), group["symmetric"], group["elbo"])
        for group in groups.values()
        if {"symmetric", "elbo"} <= group.keys()
    ]


def verdicts(match: Match) -> list[Verdict]:
    """All figures that both have and that have a better side, except floors."""
    a, b = (found(pair) or {} for pair in (match.game, match.elbo))
    told: dict[str, Verdict] = {}  # the ELBO is measured with the likelihood and with the utilities
    for group, figures in a.get("figures", {}).items():
        for name, game in figures.items():
            elbo = b.get("figures", {}).get(group, {}).get(name)
            who = winner(game, elbo) if elbo else None
            if who and elbo and "floor" not in name:
                told.setdefault(name, Verdict(group, name, game, elbo, who))
    return list(told.values())


def distances(match: Match) -> dict[str, Figure]:
    """The table's row: "random code, elbo", "random code, game", "limiting, elbo", ... and "floor"."""
    row: dict[str, Figure] = {}
    for who, pair in (("elbo", match.elbo), ("game", match.game)):
        quality = (found(pair) or {}).get("figures", {}).get("quality", {})
        for kind in KINDS:
            if f"{DISTANCE}, {kind}" in quality:
                row[f"{kind}, {who}"] = quality[f"{DISTANCE}, {kind}"]
        if f"{DISTANCE}, floor" in quality:
            row["floor"] = quality[f"{DISTANCE}, floor"]
    return row


def summary(every: Sequence[tuple[Match, list[Verdict]]], name: str) -> str:
    """One sentence: how often the game or the ELBO is better at one figure, and where it can't be told."""
    named = {who: [m.name for m, vs in every for v in vs if v.figure == name and v.winner == who] for who in _WORDS}
    total = sum(map(len, named.values()))
    if not total:
        return f"{name}: not evaluated yet."
    parts = [f"{words} on {_listed(where)}" for who, words in _WORDS.items() if (where := named[who])]
    return f"**{name}**: {'; '.join(parts)}."


_WORDS = {"game": "the game is better", "elbo": "the ELBO is better", "tie": "no difference beyond the uncertainty"}


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def markdown(every: Sequence[Match]) -> str:
    """The table of Frechet distances in Markdown: ours, never in one column with the authors'."""
    head = "| pair | ELBO, random code | game, random code | ELBO, limiting | game, limiting | floor | n |"
    lines = [head, "| --- | --- | --- | --- | --- | --- | --- |"]
    for match in every:
        row = distances(match)
        cells = [shown(row.get(f"{kind}, {who}")) for kind in KINDS for who in ("elbo", "game")]
        n = row["floor"]["n"] if "floor" in row else 0
        lines.append(f"| {match.name} | {' | '.join(cells)} | {shown(row.get('floor'))} | {n:,} |")
    return "\n".join(lines)
