"""Pictures that are stored, and the architecture of a pair as a small one."""

from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any

import streamlit as st

from symeq_core.config import Config, Latent

from .theme import PLAYER

WIDTH, ROW, BOX = 360, 74, 34


def _shape(latent: Latent) -> str:
    unit = {"bernoulli": "bits", "gaussian": "real numbers", "categorical": f"× {latent.classes} classes"}
    return f"{latent.units} {unit[latent.family]}"


def _box(name: str, text: str, y: float, ink: str) -> str:
    return (
        f'<rect x="105" y="{y}" width="150" height="{BOX}" rx="8" fill="{ink}" fill-opacity=".06" '
        f'stroke="{ink}" stroke-opacity=".45"/>'
        f'<text x="180" y="{y + 22}" text-anchor="middle" font-size="13.5" fill="{ink}">'
        f"<tspan font-style='italic' font-weight='600'>{name}</tspan>&#160; {escape(text)}</text>"
    )


def _arrow(x1: float, y1: float, x2: float, y2: float, colour: str, bend: float = 0.0) -> str:
    middle = f"{(x1 + x2) / 2 + bend},{(y1 + y2) / 2}"
    return (
        f'<path d="M{x1},{y1} Q{middle} {x2},{y2}" fill="none" stroke="{colour}" stroke-width="2.2" '
        f'marker-end="url(#{colour[1:]})"/>'
    )


def _head(colour: str) -> str:
    return (
        f'<marker id="{colour[1:]}" viewBox="0 0 10 10" refX="8" refY="5" markerWidth="6" markerHeight="6" '
        f'orient="auto-start-reverse"><path d="M0,0 L10,5 L0,10 z" fill="{colour}"/></marker>'
    )


def _label(x: float, y: float, text: str, colour: str, anchor: str) -> str:
    return f'<text x="{x}" y="{y}" font-size="13" fill="{colour}" text-anchor="{anchor}">{text}</text>'


def architecture(config: Config, ink: str) -> str:
    """SVG: layers from z0 at the top to x at the bottom; the decoder's arrows right, the encoder's left."""
    m, p, q = config.model, PLAYER["p"], PLAYER["q"]
    shape = m.x_shape or (1, 28, 28)
    names = [*m.latent_names, "x"]
    texts = [*map(_shape, m.latents), "×".join(map(str, shape[1:])) + (" colour" if shape[0] == 3 else " pixels")]
    y = {name: 8 + ROW * i for i, name in enumerate(names)}
    parts = [_head(p), _head(q)]
    for above, below in pairwise(names):
        parts += [_arrow(205, y[above] + BOX, 205, y[below] - 3, p)]
        parts += [_label(216, y[below] - 16, f"p({below}|{above})", p, "start")]
        if m.kind != "ladder":
            parts += [_arrow(155, y[below], 155, y[above] + BOX + 3, q)]
            parts += [_label(144, y[below] - 16, f"q({above}|{below})", q, "end")]
        elif above != names[-2]:
            parts += [_arrow(155, y[above] + BOX, 155, y[below] - 3, q)]
    if m.kind == "ladder":
        for k, name in enumerate(names[:-1]):
            parts += [_arrow(103, y["x"] + 14, 101, y[name] + 20, q, bend=-34 * (len(names) - 1 - k))]
            if k == 0:
                parts += [_label(98, y[name] + 8, f"q({name}|x)", q, "end")]
            else:
                parts += [_label(148, y[name] - 16, f"q({name}|{names[k - 1]},x)", q, "end")]
    boxes = [_box(n, t, y[n], ink) for n, t in zip(names, texts, strict=True)]
    label = f", label y ({_shape(m.label)}) beside z0" if m.label else ""
    height = ROW * len(names) - ROW + BOX + 16
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'font-family="Helvetica, Arial, sans-serif" role="img" '
        f'aria-label="{m.kind} model with {len(m.latents)} latent layers{label}">{"".join(parts + boxes)}</svg>'
    )


def stored(path: Path, **how: Any) -> None:
    """A picture in a file, shown as `st.image` would; nothing where it is gone or damaged, as the rest matters more."""
    try:
        st.image(str(path), **how)
    except Exception:  # Pillow raises whatever the damage leads to
        return
