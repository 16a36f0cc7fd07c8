"""Choosing a test image by its picture."""

from base64 import b64encode
from pathlib import Path
from typing import Any

import streamlit as st

HERE = Path(__file__).parent
SHOWN = 60  # images at once
CSS = """
canvas { display: block; width: 100%; cursor: pointer; border-radius: .4rem; }
"""
JS = """
export default function ({ data, parentElement, setStateValue }) {
  const canvas = parentElement.querySelector("canvas"), image = new Image(), { side, indices, chosen, columns } = data;
  const rows = Math.ceil(indices.length / columns);
  const scale = Math.max(1, Math.ceil(48 / side)), cell = side * scale + 4;
  const accent = getComputedStyle(canvas).getPropertyValue("--st-primary-color");
  image.onload = () => {
    canvas.width = columns * cell;
    canvas.height = rows * cell;
    const c = canvas.getContext("2d");
    c.imageSmoothingEnabled = false;
    indices.forEach((index, i) => {
      const x = (i % columns) * cell, y = Math.floor(i / columns) * cell;
      if (index === chosen) { c.fillStyle = accent; c.fillRect(x, y, cell, cell); }
      c.drawImage(image, i * side, 0, side, side, x + 2, y + 2, side * scale, side * scale);
    });
  };
  image.src = "data:image/png;base64," + data.png;
  const at = (e) => {
    const box = canvas.getBoundingClientRect();
    const i = Math.floor(((e.clientX - box.left) / box.width) * columns);
    return indices[Math.floor(((e.clientY - box.top) / box.height) * rows) * columns + i];
  };
  canvas.onclick = (e) => { if (at(e) !== undefined) setStateValue("index", at(e)); };
  canvas.onmousemove = (e) => { canvas.title = at(e) === undefined ? "" : `Test image ${at(e)}`; };
}
"""

_component = st.components.v2.component(
    "symeq_picker",
    html='<canvas width="30" height="2" role="img" aria-label="Test images to choose from"></canvas>',
    css=CSS,
    js=JS,
)


def show(png: bytes, side: int, indices: list[int], chosen: int, columns: int = 30) -> None:
    """Test images in a sprite of one row, `side` pixels each; a click sets the widget `image`."""
    data: dict[str, Any] = {
        "png": b64encode(png).decode(),
        "side": side,
        "indices": indices,
        "chosen": chosen,
        "columns": min(columns, max(1, len(indices))),
    }
    _component(key="picker", data=data, on_index_change=_chosen)


def _chosen() -> None:
    found = st.session_state["picker"].get("index")
    if found is not None:
        st.session_state["image"] = int(found)
