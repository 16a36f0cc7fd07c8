"""What the maps show, in the URL: the selection, the zoom, and what is drawn of images, plane and ellipses."""

import math
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import numpy as np
import streamlit as st

from . import address, say

LISTED = 24  # selected images that are listed one by one; more are packed
NUMBERS = 10**6  # those of test images are smaller
DRAWN = {"images": False, "plane": True, "ellipses": True}  # at first
WHOLE = [0, 0, 1]  # the whole map: middle, and zoom
START, MAPS = "latent start", "latent maps"  # in the session: what the maps start from, and the component's own state


def begin() -> None:
    """What the maps start from, read from the URL when the page is opened, and left alone while it is open."""
    if MAPS in st.session_state and START in st.session_state:
        return
    q = st.query_params
    selected, view = numbers(q.get("sel", "")), floats(q.get("view", ""))
    zoomed = len(view) == 3 and 0.5 <= view[2] <= 200
    for what, key, known, shown in (("Selection", "sel", selected, "none"), ("Zoom", "view", zoomed, "the whole map")):
        if q.get(key) and not known:
            st.warning(say.quoted(f"{what}: the link asks for {q[key][:40]!r}, which is none; shown instead: {shown}."))
    st.session_state[START] = {
        "selected": selected,
        "view": view if zoomed else None,
        "drawn": {k: {"true": True, "false": False}.get(q.get(k, ""), usual) for k, usual in DRAWN.items()},
    }


def start() -> dict[str, Any]:
    """What `begin` read."""
    return st.session_state[START]


def heard(result: Any) -> list[int]:
    """The test images selected now, by number; the URL is made to say what the component shows."""
    first = start()
    selected = result.get("selected")
    chosen = first["selected"] if selected is None else [int(i) for i in selected]
    view = result.get("view") or first["view"] or WHOLE
    drawn = result.get("drawn") or first["drawn"]
    said = {k: "" if drawn[k] == usual else str(drawn[k]).lower() for k, usual in DRAWN.items()}
    said["view"] = "" if list(view) == WHOLE else ",".join(f"{v:g}" for v in view)
    address.say(address.LATENT, said | {"sel": text(chosen)})
    return chosen


def text(chosen: list[int]) -> str:
    """Numbers of images for the URL: as they are, or, where there are many, `~` and a compressed mask in base64."""
    if len(chosen) <= LISTED:
        return ",".join(map(str, chosen))
    mask = np.zeros(max(chosen) + 1, bool)
    mask[chosen] = True
    return "~" + urlsafe_b64encode(zlib.compress(np.packbits(mask).tobytes(), 9)).decode().rstrip("=")


def numbers(written: str) -> list[int]:
    """What `text` wrote; nothing of what it can't have written."""
    if not written.startswith("~"):
        parts = written[:400].split(",")[:LISTED]
        return [int(t) for t in parts] if all(t.isdecimal() and int(t) < NUMBERS for t in parts) else []
    try:
        packed = urlsafe_b64decode(written[1:8000] + "==")
        raw = zlib.decompressobj().decompress(packed, NUMBERS // 8)
    except (ValueError, zlib.error):
        return []
    return np.flatnonzero(np.unpackbits(np.frombuffer(raw, np.uint8))).tolist()


def floats(written: str) -> list[float]:
    """Finite numbers with commas between; nothing of anything else."""
    try:
        found = [float(t) for t in written[:200].split(",")]
    except ValueError:
        return []
    return found if all(map(math.isfinite, found)) else []
