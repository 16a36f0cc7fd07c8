"""The sentences that sum up where the chains of A and B go and what they keep, made of their numbers."""

import math
from typing import Any, NamedTuple

from .measured import shown

Statistics = dict[str, Any]  # as `trips.chain_statistics` returns them
NEAR = 0.02  # of chance: what lies so close, or within two standard errors, is told as forgotten
CLEAR, SEARCHED = 2.0, 3.0  # standard errors that make a difference: at a step named before, at one searched for
START = {"test": "test images", "noise": "noise", "prior": "random codes"}
Known = tuple[str, Statistics]


class Summary(NamedTuple):
    """How far the chains' images get from real ones, and what they keep of their class; empty where unknown."""

    distance: str
    classes: str


class Point(NamedTuple):
    """A figure of A and of B at step k, with standard errors."""

    k: int
    a: float
    b: float
    error_a: float
    error_b: float

    @property
    def score(self) -> float:
        """b - a in standard errors of the difference."""
        difference, error = self.b - self.a, math.hypot(self.error_a, self.error_b)
        return difference / error if error else math.copysign(math.inf, difference) if difference else 0.0


def summary(a: Statistics | None, b: Statistics | None, names: tuple[str, str] = ("A", "B")) -> Summary:
    """The sum of it in sentences of plain text; the first says which is better, where one is."""
    both = [(name, s) for name, s in zip(names, (a, b), strict=True) if s is not None]
    return Summary(_distances(both), _classes(both, names))


def _points(group: str, one: Statistics, other: Statistics) -> list[Point]:
    """The steps at which both are known."""
    a, b = (
        dict(zip(s["ks"], zip(s[group]["value"], s[group]["stderr"], strict=True), strict=True)) for s in (one, other)
    )
    return [Point(k, a[k][0], b[k][0], a[k][1], b[k][1]) for k in a if k in b]


# --- distance from the data ---


def _distances(both: list[Known]) -> str:
    """Of the Fréchet distances, where both have one of the same features."""
    known = [(name, s) for name, s in both if s["frechet"]["value"]]
    if len(known) < 2 or known[0][1]["frechet"]["floor"] is None:
        return ""
    (name_a, a), (name_b, b) = known
    if a["steps"] != b["steps"] or not _is_same_scale(a["frechet"], b["frechet"]):
        return ""  # measured against other images
    points = _points("frechet", a, b)
    last, floor = points[-1], f"real images among themselves {_number(a['frechet']['floor'])}"
    figures = f"Fréchet distance {_pair(last, known, _number)}, {_count(a, b)}, {floor}; smaller is better"
    if abs(last.score) <= CLEAR:
        text = f"After {_trips(a)}, the images of both are as far from real ones, within the uncertainty ({figures})."
        most = max(points, key=lambda p: abs(p.score))
        return text + (f" Where they differ most: {_at(most, known, _number)}." if abs(most.score) > SEARCHED else "")
    (closer, low), (further, high) = sorted(((name_a, last.a), (name_b, last.b)), key=lambda p: p[1])
    ratio = high / max(1e-9, low)
    far = f"{ratio:.1f} times as far from real ones as" if ratio >= 1.15 else "somewhat further from real ones than"
    text = f"After {_trips(a)}, {further}'s images are {far} {closer}'s ({figures})."
    return text + _otherwise(points, last.score, known, _number)


def _is_same_scale(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Whether both are measured against the same images: the floor's last digits depend on the machine."""
    return a["n_reference"] == b["n_reference"] and math.isclose(a["floor"], b["floor"], rel_tol=1e-6)


def _otherwise(points: list[Point], score: float, known: list[Known], say: Any) -> str:
    """The step at which the opposite is clearest, if it is clear anywhere."""
    opposite = max(points, key=lambda p: -p.score * math.copysign(1, score))
    if opposite.score * score >= 0 or abs(opposite.score) <= SEARCHED:
        return ""
    return f" At k = {opposite.k:,} it is the other way round: {_pair(opposite, known, say)}."


# --- memory of the class ---


WHAT = "the class they started from"


def _classes(both: list[Known], names: tuple[str, str]) -> str:
    known = [(name, s) for name, s in both if s["retention"]["value"]]
    if not known:
        return ""
    if len(known) == 2 and known[0][1]["steps"] == known[1][1]["steps"]:
        return _compared(known)
    parts = [
        f"After {_trips(s)}, {_percent(s['retention']['value'][-1], s['retention']['stderr'][-1])} of {name}'s chains "
        f"still show {WHAT} (n = {s['n']:,})"
        for name, s in known
    ]
    if len(known) == 1:
        parts.append(f"of {names[1] if known[0][0] == names[0] else names[0]}'s that is not known yet")
    return "; ".join(parts) + "."


def _compared(known: list[Known]) -> str:
    (name_a, a), (name_b, b) = known
    points = _points("retention", a, b)
    last, most = points[-1], max(points, key=lambda p: abs(p.score))
    if abs(most.score) <= SEARCHED:
        text = f"Both keep {WHAT} equally long, within the uncertainty ({_count(a, b)})"
    else:
        longer = name_b if most.score > 0 else name_a
        text = f"{longer}'s chains keep {WHAT} longer: {_at(most, known, _percent)} ({_count(a, b)})"
        text += _otherwise(points, most.score, known, _percent).rstrip(".").replace(" At", "; at")
    return f"{text}. {_end(last, known)}"


def _end(last: Point, known: list[Known]) -> str:
    """Who still remembers at the last step, and who is down to chance."""
    (name_a, a), (name_b, _) = known
    chances = dict.fromkeys(f"{100 * s['retention']['chance'][-1]:.0f}%" for _, s in known)
    lost = [
        v <= s["retention"]["chance"][-1] + max(2 * e, NEAR)
        for v, e, (_, s) in zip((last.a, last.b), (last.error_a, last.error_b), known, strict=True)
    ]
    if all(lost):
        text = "both have forgotten it"
    elif any(lost):
        text = f"{name_a if lost[0] else name_b} has forgotten it, {name_b if lost[0] else name_a} has not"
    else:
        text = "neither has forgotten it"
    return f"After {_trips(a)} {text} ({_pair(last, known, _percent)}; chance alone gives {' and '.join(chances)})."


# --- words ---


def _pair(p: Point, known: list[Known], say: Any) -> str:
    return f"{known[0][0]} {say(p.a, p.error_a)}, {known[1][0]} {say(p.b, p.error_b)}"


def _at(p: Point, known: list[Known], say: Any) -> str:
    return f"{_pair(p, known, say)} at k = {p.k:,}"


def _number(v: float, error: float | None = None) -> str:
    return f"{v:#.3g}".rstrip(".") if error is None else shown({"value": v, "stderr": error})


def _percent(v: float, error: float) -> str:
    return f"{100 * v:.0f} ± {100 * error:.0f}%"


def _count(a: Statistics, b: Statistics) -> str:
    return f"n = {a['n']:,}" + ("" if a["n"] == b["n"] else f" and {b['n']:,}") + " chains"


def _trips(s: Statistics) -> str:
    steps = "1 round trip" if s["steps"] == 1 else f"{s['steps']:,} round trips"
    return f"{steps} from {START[s['start']]}" if s.get("start") in START else steps
