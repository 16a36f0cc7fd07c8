"""The sentence that sums up what the chains of A and B keep, made of their numbers."""

import math
from typing import Any

Statistics = dict[str, Any]  # as `trips.chain_statistics` returns them
NEAR = 0.02  # of chance: what lies so close, or within two standard errors, is told as forgotten


def summary(a: Statistics | None, b: Statistics | None, names: tuple[str, str] = ("A", "B")) -> str:
    """One sentence on how many chains of each are still of the class they started from; empty without numbers."""
    both = [(name, s) for name, s in zip(names, (a, b), strict=True) if s is not None]
    known = [(name, s) for name, s in both if s["retention"]["value"]]
    if not known:
        why = next((s["retention"]["reason"] for _, s in both if s["retention"]["reason"]), None)
        return f"How many chains keep their class is not known: {why}." if why else ""
    if len(known) == 2 and known[0][1]["steps"] == known[1][1]["steps"]:
        return _both(known[0], known[1])
    parts = [
        f"After {_trips(s)}, {_share(s)} of {name}'s chains are still {_of(s)} (n = {s['n']:,})" for name, s in known
    ]
    if len(known) == 1:
        parts.append(f"for {names[1] if known[0][0] == names[0] else names[0]} that is not known")
    return "; ".join(parts) + "."


def _both(one: tuple[str, Statistics], other: tuple[str, Statistics]) -> str:
    (name_a, a), (name_b, b) = one, other
    (va, ea, ca), (vb, eb, cb) = _last(a), _last(b)
    n = f"n = {a['n']:,}" if a["n"] == b["n"] else f"n = {a['n']:,} and {b['n']:,}"
    differ = abs(va - vb) > 2 * math.hypot(ea, eb)
    text = (
        f"After {_trips(a)}, {_share(a)} of {name_a}'s chains are still {_of(a)}, "
        f"{'against' if differ else 'and'} {_share(b)} of {name_b}'s ({n}, ± 2 standard errors): "
    )
    lost = [v <= c + max(2 * e, NEAR) for v, e, c in ((va, ea, ca), (vb, eb, cb))]
    chance = f"{50 * (ca + cb):.0f} %"
    if all(lost):
        return text + f"both have forgotten where they began (chance alone gives {chance})."
    if not differ:
        return text + "no difference beyond the uncertainty."
    better, worse = (name_a, name_b) if va > vb else (name_b, name_a)
    if lost[0 if worse == name_a else 1]:
        return text + f"{better} remembers, {worse} is down to what chance alone gives ({chance})."
    return text + f"{better} keeps more."


def _last(s: Statistics) -> tuple[float, float, float]:
    """(retention, standard error, chance) at the last step."""
    r = s["retention"]
    return r["value"][-1], r["stderr"][-1], r["chance"][-1]


def _of(s: Statistics) -> str:
    return "the digit they started from" if s.get("digits") else "of the class they started from"


def _share(s: Statistics) -> str:
    value, error, _ = _last(s)
    return f"{100 * value:.0f} ± {200 * error:.0f} %"


def _trips(s: Statistics) -> str:
    return "1 round trip" if s["steps"] == 1 else f"{s['steps']:,} round trips"
