"""A pad to draw a digit on, and the digit as the model sees it."""

from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from . import address

HERE = Path(__file__).parent
HINT = (
    "Draw a digit with the mouse or a finger. It is scaled, centred and binarised the way the data set was made; its "
    "ten chains start as soon as the pen is lifted, and differ in their random numbers only."
)

_component = st.components.v2.component(
    "symeq_pad",
    html='<div class="pad"></div>',
    css=(HERE / "pad.css").read_text(encoding="utf-8"),
    js=(HERE / "pad.js").read_text(encoding="utf-8"),
)


def show(drawing: str, seen: Sequence[tuple[bytes, int, str]]) -> None:
    """The pad with this drawing and the pictures made of it: (PNG, side in pixels, what it is)."""
    pictures = [{"png": b64encode(png).decode(), "side": side, "text": text} for png, side, text in seen]
    _component(key="pad", data={"code": drawing, "seen": pictures, "hint": HINT}, on_code_change=_drawn)


def _drawn() -> None:
    """The address follows the pad."""
    address.say(address.TRIP, {"ink": st.session_state["pad"].get("code") or ""})
