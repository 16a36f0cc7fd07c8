"""The sentences that sum up what the chains of A and B keep, made of their numbers."""

import math
from typing import Any

Statistics = dict[str, Any]  # as `trips.chain_statistics` returns them
NEAR = 0.02  # of chance: what lies so close, or within two standard errors, is told as forgotten
START = {"noise": "noise", "prior": "random codes"}
Known = tuple[str, Statistics]


def summary(a: Statistics | None, b: Statistics | None, names: tuple[str, str] = ("A", "B")) -> tuple[str, str]:
    """(what the chains of each keep of their class, how far their images get from real ones); empty where unknown."""
    both = [(name, s) for name, s in zip(names, (a, b), strict=True) if s is not None]
    return _classes(both, names), _distances(both)


def _classes(both: list[Known], names: tuple[str, str]) -> str:
    known = [(name, s) for name, s in both if s["retention"]["value"]]
    if not known:
        return ""
    if len(known) == 2 and known[0][1]["steps"] == known[1][1]["steps"]:
        return _compared(known[0], known[1])
    parts = [
        f"After {_trips(s)}, {_share(s)} of {name}'s chains still show {WHAT} (n = {s['n']:,})" for name, s in known
    ]
    if len(known) == 1:
        parts.append(f"of {names[1] if known[0][0] == names[0] else names[0]}'s that is not known yet")
    return "; ".join(parts) + "."


WHAT = "the class they started from"


def _compared(one: Known, other: Known) -> str:
    (name_a, a), (name_b, b) = one, other
    (va, ea, ca), (vb, eb, cb) = _last(a), _last(b)
    n = f"n = {a['n']:,}" if a["n"] == b["n"] else f"n = {a['n']:,} and {b['n']:,}"
    differ = abs(va - vb) > 2 * math.hypot(ea, eb)
    text = (
        f"After {_trips(a)}, {_share(a)} of {name_a}'s chains still show {WHAT}, "
        f"{'against' if differ else 'and'} {_share(b)} of {name_b}'s ({n}): "
    )
    lost = [v <= c + max(2 * e, NEAR) for v, e, c in ((va, ea, ca), (vb, eb, cb))]
    chance = f"{50 * (ca + cb):.0f} %"
    if all(lost):
        return text + f"both have forgotten where they began, as chance alone gives {chance}."
    if not differ:
        return text + "no difference beyond the uncertainty."
    better, worse = (name_a, name_b) if va > vb else (name_b, name_a)
    if lost[worse == name_b]:
        return text + f"{better} remembers, {worse} is down to what chance alone gives ({chance})."
    return text + f"{better} keeps more."


def _distances(both: list[Known]) -> str:
    """The Frechet distance at the last step, where both have one of the same features."""
    known = [(name, s, s["frechet"]) for name, s in both if s["frechet"]["value"]]
    if len(known) < 2 or known[0][2]["floor"] is None:
        return ""
    (name_a, a, fa), (name_b, b, fb) = known
    if a["steps"] != b["steps"] or (fa["floor"], fa["n_reference"]) != (fb["floor"], fb["n_reference"]):
        return ""  # measured against other images
    (va, ea), (vb, eb) = ((f["value"][-1], f["stderr"][-1]) for f in (fa, fb))
    shown = f"{name_a} {_number(va)} ± {_number(ea)}, {name_b} {_number(vb)} ± {_number(eb)}"
    text = f"Fréchet distance of their images from real ones by then: {shown}; real images among themselves: "
    text += _number(fa["floor"])
    if abs(va - vb) <= 2 * math.hypot(ea, eb):
        return text + ". No difference beyond the uncertainty."
    closer, further = (name_a, name_b) if va < vb else (name_b, name_a)
    ratio = max(va, vb) / max(1e-9, min(va, vb))
    return text + f". {closer} stays closer" + (f", {further} is {ratio:.1f} times as far." if ratio >= 1.15 else ".")


def _number(v: float) -> str:
    return f"{v:.0f}" if v >= 100 else f"{v:.1f}" if v >= 1 else f"{v:.2f}"


def _last(s: Statistics) -> tuple[float, float, float]:
    """(retention, standard error, chance) at the last step."""
    r = s["retention"]
    return r["value"][-1], r["stderr"][-1], r["chance"][-1]


def _share(s: Statistics) -> str:
    value, error, _ = _last(s)
    return f"{100 * value:.0f} ± {100 * error:.0f} %"


def _trips(s: Statistics) -> str:
    steps = "1 round trip" if s["steps"] == 1 else f"{s['steps']:,} round trips"
    return f"{steps} from {START[s['start']]}" if s.get("start") in START else steps
