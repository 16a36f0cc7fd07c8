"""The film of A's and B's chains: computed in parts, shown at once, played and scrubbed in the browser."""

import threading
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from . import address, say
from .setup import look_up

HERE = Path(__file__).parent
AT_ONCE = 4  # steps that are there with the first picture
SECONDS = 0.3  # of computing, for each pair, between two pictures
SHOWN = ("mean", "sample")
SPEEDS = ("1", "0.25", "0.5", "2", "4")
STEADY = """<style>
.st-key-film-box, .st-key-film-box [data-stale] {opacity: 1 !important; transition: none !important}
</style>"""  # while the next frames are computed, those that are there don't fade

_component = st.components.v2.component(
    "symeq_film",
    html='<div class="film"></div>',
    css=(HERE / "film.css").read_text(encoding="utf-8"),
    js=(HERE / "film.js").read_text(encoding="utf-8"),
)


class Reel:
    """A pair's film in memory, and what the browser gets of it; shared by all sessions."""

    def __init__(self, film: Any, classes: Sequence[str]) -> None:
        self.film, self.classes, self.lock = film, list(classes), threading.Lock()
        self._sent: dict[str, Any] = {}

    def payload(self, further: bool = False) -> dict[str, Any]:
        """What the component draws: as far as computed, at least AT_ONCE steps, or somewhat further."""
        with self.lock:
            self.film.advance(AT_ONCE, between=look_up)
            if further:
                self.film.advance(seconds=SECONDS, between=look_up)
            if self._sent.get("frames") != len(self.film.samples):
                self._sent = self._encoded()
            return self._sent | {"reached": self.film.k}

    def _encoded(self) -> dict[str, Any]:
        from symeq_core.filmstrip import sprite

        f = self.film
        n, h, w = f.samples[0].shape[:3]
        return {
            "mean": b64encode(sprite(f.means)).decode(),
            "sample": b64encode(sprite(f.samples)).decode(),
            "frames": len(f.samples),
            "n": n,
            "h": h,
            "w": w,
            "seen": f.seen,
            "origin": f.origin,
            "classes": self.classes,
        }


@st.fragment
@say.told
def show(reels: Sequence[Reel], names: Sequence[dict[str, Any]], identity: str, anew: bool = False) -> None:
    """The film of these pairs; names: {name, title, colour, frechet} of each; identity: changes with what is shown;
    anew: play it from its beginning when that changes, whatever step is shown now.

    The browser asks for more frames whenever it has got some, until it has all.
    """
    held = st.session_state.get("film") or {}
    view = held.get("view")
    if view and view["id"] != identity and (view["own"] or anew):  # it plays from its beginning
        address.say(address.TRIP, {"k": ""})
    asked = (held.get("asked") or "").startswith(f"{identity} ")
    sent = [reel.payload(asked) for reel in reels]
    ks = reels[0].film.ks
    k, shown, speed = (st.query_params.get(name, "") for name in ("k", "frames", "speed"))
    st.html(STEADY)
    with st.container(key="film-box"):
        found = _component(
            key="film",
            data={
                "id": identity,
                "ks": list(ks),
                "k": int(k) if k.isdecimal() and int(k[:20]) <= ks[-1] else None,
                "anew": anew,
                "speed": speed if speed in SPEEDS else SPEEDS[0],
                "show": shown if shown in SHOWN else SHOWN[0],
                "pairs": [name | part for name, part in zip(names, sent, strict=True)],
            },
            on_view_change=lambda: None,
            on_asked_change=lambda: None,
        )
    if found.view and found.view["id"] == identity:
        k, shown, speed = str(found.view["k"]), found.view["show"], found.view["speed"]
    said, usual = {"k": k, "frames": shown, "speed": speed}, {"frames": SHOWN[0], "speed": SPEEDS[0]}
    address.say(address.TRIP, {name: "" if v == usual.get(name) else v for name, v in said.items()})
