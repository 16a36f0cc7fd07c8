"""From the statistics of several chains to the rows that are drawn."""

from collections.abc import Mapping
from typing import Any, NamedTuple

Statistics = dict[str, Any]  # as `trips.chain_statistics` returns them
Row = dict[str, Any]


class Curve(NamedTuple):
    """A group of the statistics: what it is called, its unit on the axis, and what its dashed line is."""

    group: str
    title: str
    unit: str
    line: str = ""


CURVES = (
    Curve("frechet", "Distance from real images", "Fréchet distance", "real images among themselves"),
    Curve("retention", "Still of the class they began with", "fraction of chains", "chance"),
    Curve("classes", "Classes a chain has been in so far", "classes per chain"),
    Curve("pixel_autocorrelation", "How well pixels remember the start", "correlation", "forgotten"),
    Curve("latent_autocorrelation", "How well codes remember the start", "correlation", "forgotten"),
    Curve("prior_drift", "Distance of the codes from the prior", "nats", "codes drawn from the prior"),
)
MORE = (
    Curve("effective_classes", "Classes alive among all chains", "exp(entropy), classes"),
    Curve(
        "prior_correlation", "Largest correlation of two code units", "difference to the prior", "codes from the prior"
    ),
)
ZERO = ("pixel_autocorrelation", "latent_autocorrelation")  # their dashed line is 0


def points(curve: Curve, found: Mapping[str, Statistics]) -> list[Row]:
    """Rows {pair, k, value, low, high, n} of a curve; the band is two standard errors, where these are known."""
    rows = []
    for pair, s in found.items():
        group = s.get(curve.group) or {}
        errors = group.get("stderr") or [None] * len(s["ks"])
        for k, value, error in zip(s["ks"], group.get("value") or [], errors, strict=False):
            if value is not None:
                wide = 2 * (error or 0.0)
                rows.append(
                    {"pair": pair, "k": k, "value": value, "low": value - wide, "high": value + wide, "n": s["n"]}
                )
    return rows


def levels(curve: Curve, found: Mapping[str, Statistics]) -> list[Row]:
    """Rows {pair, k, value} of the curve's dashed line: a floor, what chance gives, or 0."""
    rows = []
    for pair, s in found.items():
        group = s.get(curve.group) or {}
        if not group.get("value"):
            continue
        level = 0.0 if curve.group in ZERO else group.get("floor", group.get("chance"))
        if level is None:
            continue
        values = level if isinstance(level, list) else [level] * len(s["ks"])
        rows += [{"pair": pair, "k": k, "value": v} for k, v in zip(s["ks"], values, strict=True)]
    return rows


def reasons(curve: Curve, found: Mapping[str, Statistics]) -> dict[str, str]:
    """Why a pair has no such curve, by pair."""
    groups = {pair: s.get(curve.group) or {} for pair, s in found.items()}
    return {pair: g["reason"] for pair, g in groups.items() if g.get("reason")}


def meaning(curve: Curve, found: Mapping[str, Statistics]) -> str:
    """What the figure is, as the statistics say."""
    return next((m for s in found.values() if (m := (s.get(curve.group) or {}).get("meaning"))), "")


def matrix(s: Statistics, k: int, names: tuple[str, ...] = ()) -> list[Row]:
    """Rows {from, to, fraction, count, started} of the class-transition matrix at step k; none where it isn't known."""
    group = s.get("transitions") or {}
    if k not in (group.get("ks") or []):
        return []
    counts = group["counts"][group["ks"].index(k)]
    called = [names[c] if c < len(names) else str(c) for c in range(len(counts))]
    return [
        {"from": called[i], "to": called[j], "fraction": c / sum(row), "count": c, "started": sum(row)}
        for i, row in enumerate(counts)
        for j, c in enumerate(row)
        if sum(row)
    ]


def steps(found: Mapping[str, Statistics]) -> list[int]:
    """The steps at which any pair's matrix is known."""
    return sorted({k for s in found.values() for k in (s.get("transitions") or {}).get("ks") or []})
