"""How far charts are zoomed: kept while other things are chosen and other pages shown, and said in the URL."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import streamlit as st

from . import address, say
from .latent_url import floats
from .setup import VISIT

KEY = "zoom"  # in the URL: name,x,x,y,y of each chart that is zoomed
Zoom = dict[str, list[float]]  # ends of the axes x and y


@dataclass
class Chart:
    """How far one is zoomed."""

    name: str
    start: Zoom | None = None  # where its axes end until somebody moves them; None: where they usually do
    now: Zoom | None = None
    turn: int = 0  # counts how often it was shown whole again
    drawn: bool = False  # in the last run: else the browser has forgotten how far it was zoomed

    @property
    def key(self) -> str:
        """Of its widget."""
        return f"{self.name} {self.turn}"

    def moved(self, ends: Zoom | None) -> None:
        """Where its axes end now, as `read` finds it."""
        self.now, self.drawn = ends or self.start, True


def charts(page: str, shown: str, names: Collection[str]) -> dict[str, Chart]:
    """The charts of a page by name; `shown`: what tells them from others of the same names, as their data or axes.

    The first that a session shows on a page begin as its URL says, those that are here again as they were left.
    """
    every: dict[str, dict[str, Chart]] = st.session_state.setdefault(f"zooms {page}", {})
    linked = {} if every else _linked(names)
    known = every.setdefault(shown, {})
    for name in names:
        known.setdefault(name, Chart(f"{shown} {name}", now=linked.get(name)))
    now = st.session_state.get(VISIT), shown
    again = st.session_state.get(f"zoomed {page}") == now
    st.session_state[f"zoomed {page}"] = now
    for chart in known.values():
        if not (again and chart.drawn):
            chart.start = chart.now
        chart.drawn = False
    return {name: known[name] for name in names}


def note(page: str, known: dict[str, Chart], text: str = "") -> None:
    """How to zoom, and a way back to the whole curves where some are zoomed; the URL tells which.

    To be called after the charts, in a container above them, where it is seen.
    """
    parts = [
        ",".join([name, *(f"{end:.9g}" for end in (*chart.now["x"], *chart.now["y"]))])
        for name, chart in known.items()
        if chart.now
    ]
    address.say(page, {KEY: ";".join(parts)})
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(
            f"{text} Scroll on a curve to zoom, drag to move, double click to come back.".strip(), width="content"
        )
        if parts:
            st.button("Reset zoom", icon=":material/zoom_out_map:", key=f"whole {page}", on_click=_whole, args=(known,))


def _whole(known: dict[str, Chart]) -> None:
    for chart in known.values():
        chart.start, chart.now, chart.turn = None, None, chart.turn + (chart.now is not None)


def read(event: Any, x: str, y: str) -> Zoom | None:
    """What Vega says of a selection named zoom, which is bound to the scales of the fields x and y."""
    seen = event["selection"].get("zoom") or {}
    return {"x": list(seen[x]), "y": list(seen[y])} if {x, y} <= set(seen) else None


def _linked(names: Collection[str]) -> dict[str, Zoom]:
    """What `note` wrote into the URL; what it can't have written is told."""
    found, wrong = {}, []
    for part in filter(None, st.query_params.get(KEY, "")[:2000].split(";")):
        name, _, rest = part.partition(",")
        ends = floats(rest)
        if name in names and len(ends) == 4 and ends[0] != ends[1] and ends[2] != ends[3]:
            found[name] = {"x": ends[:2], "y": ends[2:]}
        else:
            wrong.append(part)
    if wrong:
        st.warning(say.quoted(f"Zoom: the link asks for {wrong[0][:40]!r}, which is none; shown instead: all."))
    return found
