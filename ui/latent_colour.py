"""What the colour of a point can say, and the numbers behind it."""

import math
from typing import Any

import numpy as np
import streamlit as st

from . import latent, latent_map
from .latent import Side, View

COLOURS = {
    "label": "Label",
    "error": "Reconstruction error",
    "-ELBO": "Total cost",
    "distortion": "Cost of pixels",
    "rate": "Cost of code",
    "kept": "Neighbours shared",
    "moved": "Distance A to B",
}
UNITS = {
    "error": "pixels",
    "-ELBO": "nats",
    "distortion": "nats",
    "rate": "nats",
    "kept": "%",
    "moved": "of the map's radius",
}


def chosen(found: list[Side], view: View, maps: list[Any], classes: Any) -> tuple[dict[str, Any], list[Any] | None]:
    """(how points are coloured, the numbers by side or None for labels); what can't be is replaced and told."""
    name, values = view.colour, None
    if name == "label" and classes is None:
        name = "error"
        st.caption("These images have no labels: coloured by reconstruction error.")
    if name in ("kept", "moved") and len(found) < 2:
        st.caption(f"{COLOURS[name]} wants two maps: coloured by reconstruction error.")
        name = "error"
    if name == "label":
        return {"kind": "label", "title": "Label", "palette": latent_map.LABELS}, None
    if name == "kept":
        values = [100 * latent.kept(*found, view.codes)] * 2
    elif name == "moved":
        values = [moved(maps)] * 2
    else:
        got = [s.figure(name) for s in found]
        if any(v is None for v in got):
            st.caption(f"{COLOURS[name]} is not defined where the prior has no density: coloured by error.")
            name, got = "error", [s.figure("error") for s in found]
        values = [v for v in got if v is not None]
    everything = np.concatenate(values)
    lo, hi = (0.0, 100.0) if name == "kept" else map(float, np.percentile(everything, [2, 98]))
    shared = name in ("kept", "moved")
    title = COLOURS[name]
    return {
        "kind": "value",
        "title": title,
        "unit": UNITS.get(name, "nats"),
        "lo": lo,
        "hi": hi,
        "shared": shared,
    }, values


def moved(maps: list[Any]) -> np.ndarray:
    """How far each image's two points are apart [n], in root mean square radii of A's map."""
    a, b = maps[0].positions, maps[1].positions
    radius = math.sqrt(((a - a.mean(0)) ** 2).sum(1).mean()) or 1.0
    return np.linalg.norm(a - b, axis=1) / radius
