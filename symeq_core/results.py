"""Who wins: the figures of pairs that differ in their learner only, and the authors' published ones. Imports no torch.

Figures are those of metrics.json (`evaluate`): {"value", "stderr", "n", "unit", "better": "lower" | "higher", ...}.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from .compare import contrast
from .config import Config
from .errors import SymeqError
from .gallery import Pair
from .measured import Figure, at_least, found, shown, winner

KINDS = ("random code", "limiting")
DISTANCE = "Frechet distance"

# FID (Inception, generated against the 70,000 originals): (ELBO, game) for random codes and for limiting images.
# Source: the scores the paper's authors published with their code.
AUTHORS: dict[str, dict[str, tuple[float, float]]] = {
    "MNIST, ladder": {"random code": (3.2227, 1.6543), "limiting": (36.6440, 4.1015)},
    "MNIST, reverse": {"random code": (5.2889, 1.4746), "limiting": (14.2256, 4.9559)},
    "Fashion-MNIST, ladder": {"random code": (37.8115, 43.6204), "limiting": (119.1699, 42.3663)},
}


Figures = dict[str, dict[str, Figure]]  # by group and name


class Idea(NamedTuple):
    """One thing that is measured in several ways, which agree or differ together, the most telling figure first.

    Only the first one with a verdict counts; none does where `counts` is False.
    """

    title: str
    about: str
    figures: tuple[str, ...]
    counts: bool = True


def _quality(kind: str) -> tuple[str, ...]:
    return tuple(f"{k}, {kind}" for k in (DISTANCE, "kernel distance", "recall", "precision"))


_RETENTION = tuple(f"label retention after {k}" for k in (10, 1))  # later, a consistent chain may have moved on
_PRIOR = (
    "unit KL",
    "aggregated KL",
    "largest unit KL",
    "largest correlation",
    "drift after 1000",
    "correlation after 1000",
)
IDEAS = (
    Idea("Random codes", "How near images of random codes are to real ones.", _quality("random code")),
    Idea(
        "Limiting images", "How near images after 1,000 round trips from noise are to real ones.", _quality("limiting")
    ),
    Idea(
        "Likelihood",
        "How much probability the decoder gives to test images.",
        ("log-likelihood", "importance-weighted bound", "ELBO"),
    ),
    Idea(
        "Consistency",
        "How near encoder and decoder are to being conditionals of one joint distribution.",
        ("inconsistency on data", "inconsistency on dreams"),
    ),
    Idea("Match of the prior", "How near the codes of test images are to the prior.", _PRIOR),
    Idea("Memory", "How long a chain of round trips keeps the class it started from.", _RETENTION),
    Idea(
        "Memory over many round trips",
        "A consistent chain may have visited every class by then, so none counts.",
        ("label retention after 100", "label retention after 1000"),
        False,
    ),
    Idea("Utilities", "What the two players maximise: each learner its own, so none counts.", ("L_p", "L_q"), False),
)


class Match(NamedTuple):
    """Two pairs of the same data, model and training that differ in their learner, and what was measured of both."""

    name: str
    config: Config  # of the game's pair
    game: Figures
    elbo: Figures


class Verdict(NamedTuple):
    """One figure of a match: both values, and who is better beyond the uncertainty ("game", "elbo" or "tie")."""

    figure: str
    game: Figure
    elbo: Figure
    winner: str


def matches(pairs: Iterable[Pair], tell: Callable[[SymeqError], object] = lambda e: None) -> list[Match]:
    """The matches among these pairs, in their order; those that are damaged are told and passed over."""
    known: dict[str, list[tuple[Pair, Config, Figures]]] = {"symmetric": [], "elbo": []}
    for pair in pairs:
        try:
            c = pair.config()
            figures = (found(pair) or {}).get("figures", {})
        except SymeqError as e:
            tell(e)
            continue
        known.setdefault(c.learner.name, []).append((pair, c, figures))
    made = []
    for pair, config, figures in known["symmetric"]:
        others = [theirs for _, other, theirs in known["elbo"] if not contrast(config, other).confounded]
        if others:
            made.append(Match(pair.folder.name.removesuffix("-symmetric"), config, figures, others[0]))
    return made


def verdicts(match: Match) -> dict[str, Verdict]:
    """All figures that both have and that have a better side, by name, except floors."""
    told: dict[str, Verdict] = {}  # the ELBO is measured with the likelihood and with the utilities
    for group, figures in match.game.items():
        for name, game in figures.items():
            others = match.elbo.get(group, {})
            elbo, least = others.get(name), (figures.get(at_least(name)), others.get(at_least(name)))
            who = winner(game, elbo, least) if elbo else None
            if who and elbo and "floor" not in name:
                told.setdefault(name, Verdict(name, game, elbo, who))
    return told


def representative(idea: Idea, told: dict[str, Verdict]) -> Verdict | None:
    """The figure that stands for an idea: the first of its figures that has a verdict."""
    return next((told[name] for name in idea.figures if name in told), None)


def tally(every: Iterable[dict[str, Verdict]]) -> Counter[str]:
    """How often the "game" or the "elbo" is better, neither is ("tie"), or that isn't known ("none"): one figure for
    each idea of each match.
    """
    counted = [representative(idea, told) for told in every for idea in IDEAS if idea.counts]
    return Counter("none" if v is None else v.winner for v in counted)


def distances(match: Match) -> dict[str, Figure]:
    """The table's row: "random code, elbo", "random code, game", "limiting, elbo", ... and "floor"."""
    row: dict[str, Figure] = {}
    for who, figures in (("elbo", match.elbo), ("game", match.game)):
        quality = figures.get("quality", {})
        row |= {f"{k}, {who}": quality[f"{DISTANCE}, {k}"] for k in KINDS if f"{DISTANCE}, {k}" in quality}
        if f"{DISTANCE}, floor" in quality:
            row["floor"] = quality[f"{DISTANCE}, floor"]
    return row


Named = Sequence[tuple[tuple[str, str], dict[str, Verdict]]]  # verdicts of matches by their (data set, model)


def summary(idea: Idea, every: Named) -> str:
    """One sentence on an idea: where who is better, and where that can't be told."""
    where: dict[str, list[tuple[str, str]]] = {}
    for name, told in every:
        v = representative(idea, told)
        where.setdefault(v.winner if v else "none", []).append(name)
    parts = [f"{words} on {_listed(where[who])}" for who, words in (_WORDS | _NONE).items() if who in where]
    return f"**{idea.title}**: {'; '.join(parts)}."


_WORDS = {"game": "the game is better", "elbo": "the ELBO is better", "tie": "no difference beyond the uncertainty"}
_NONE = {"none": "no verdict"}


def _listed(names: Sequence[tuple[str, str]]) -> str:
    data = dict.fromkeys(d for d, _ in names)
    return " and ".join(f"{d} ({', '.join(model for own, model in names if own == d)})" for d in data)


def markdown(every: Sequence[Match]) -> str:
    """The table of Fréchet distances in Markdown: ours, never in one column with the authors'."""
    head = "| pair | ELBO, random code | game, random code | ELBO, limiting | game, limiting | floor | n |"
    lines = [head, "| --- | --- | --- | --- | --- | --- | --- |"]
    for match in every:
        row = distances(match)
        cells = [shown(row.get(f"{kind}, {who}")) for kind in KINDS for who in ("elbo", "game")]
        n = row["floor"]["n"] if "floor" in row else 0
        lines.append(f"| {match.name} | {' | '.join(cells)} | {shown(row.get('floor'))} | {n:,} |")
    return "\n".join(lines)
