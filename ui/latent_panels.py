"""Beneath the maps: the images selected, what moved most, what flipping a unit does."""

import base64
from collections.abc import Sequence
from html import escape
from io import BytesIO
from typing import Any

import numpy as np
import streamlit as st
from PIL import Image

from . import latent, pairs
from .choice import segments, told_number, told_unknown
from .latent import Side, View
from .latent_colour import moved

ROWS = 8  # images shown on one page
RANKED = 96  # images listed of those that moved most
TILES = 24  # flips shown
PANELS = {
    "selected": "Selected images",
    "moved": "What moved most",
    "flips": "Flip a unit",
    "units": "What each unit knows",
}
ORDERS = {"effect": "Largest effect first", "unit": "Unit by unit"}
FLIPPED = (
    "Units of the code that are switched before each of the others is tried: go from code to code, in A and in B alike."
)
BY = {"neighbours": "Fewest neighbours shared", "map": "Furthest apart on the maps"}
FIT = 'style="width:100%;height:auto;max-width:46px"'
STYLE = """<style>
.lt {border-collapse: collapse; font-size: .85rem}
.lt td, .lt th {border: 0; padding: .2rem .7rem .2rem 0; vertical-align: middle; text-align: left; font-weight: 500}
.lt img, .tiles img {image-rendering: pixelated; background: #000; border-radius: 3px; display: inline-block}
.lt img, .tiles img {outline: 1px solid #8886}
.lt .n img {margin-right: 3px; border: 2px solid transparent; border-radius: 4px}
.lt .n img.both {border-color: #2f6fde}
.tiles {display: flex; flex-wrap: wrap; gap: .6rem .7rem}
.tiles div {font-size: .75rem; line-height: 1.25; text-align: center}
.dim {opacity: .7; white-space: nowrap}
</style>"""


def picture(x: Any, side: int, attributes: str = "") -> str:
    """An <img> of one image [C, H, W] in [0, 1]."""
    pixels = (np.clip(np.asarray(x), 0, 1) * 255).round().astype(np.uint8)
    image = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
    buffer = BytesIO()
    image.save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img width="{side}" height="{side}" {attributes} src="data:image/png;base64,{data}">'


def show(found: list[Side], view: View, maps: list[Any], numbers: list[int]) -> None:
    """The panel chosen."""
    options = {k: name for k, name in PANELS.items() if k != "moved" or len(found) > 1}
    told_unknown("Beneath the maps", "panel", options.values(), PANELS["selected"])
    panel = segments("Beneath the maps", options, "panel", hidden=True)
    places = {int(k): i for i, k in enumerate(latent.images(found[0].pair, view.n)[1])}
    chosen = [places[k] for k in numbers if k in places]
    drawn = {"selected": selected, "moved": what_moved, "flips": flip, "units": _units}
    for k in options:  # each has a place of its own, which is empty as soon as another panel is chosen
        with st.container() if k == panel else st.empty():
            if k == panel:
                drawn[k](found, view, maps, chosen)


def _units(*what: Any) -> None:
    from .latent_units import what_units_know  # with altair it would delay the maps

    what_units_know(*what)


def selected(found: list[Side], view: View, maps: list[Any], chosen: list[int]) -> None:
    """Images, decodings and nearest neighbours of what is selected; of one image as an example where nothing is."""
    with st.container(horizontal=True, vertical_alignment="center"):
        head = st.empty()
        rows, some = _page(chosen)
    head.caption(  # always there, so that the table keeps its place and doesn't flicker
        f"{len(chosen):,} {'image' if len(chosen) == 1 else 'images'} selected{some}."
        if chosen
        else "Click a point, or draw a lasso around some, to see their images, decodings and nearest neighbours in the "
        "latent space. For example:",
        width="content" if some else "stretch",
    )
    table(found, view, rows or [0])


def _page(rows: Sequence[int]) -> tuple[list[int], str]:
    """ROWS of them, and which ones in words; others are a page further, kept in the URL until there are other rows."""
    if len(rows) <= ROWS:
        st.query_params.pop("page", None)
        return list(rows), ""
    pages, before = -(-len(rows) // ROWS), st.session_state.get("paged")
    st.session_state["paged"] = list(rows)
    if before not in (None, list(rows)):
        st.session_state["page"] = 1
    told_number("Page", "page", 1, pages, "1")
    first = (st.pagination(pages, key="page", bind="query-params", width=320) - 1) * ROWS
    shown = list(rows[first : first + ROWS])
    return shown, f", {first + 1:,} to {first + len(shown):,} shown"


def table(found: list[Side], view: View, rows: list[int], notes: list[str] | None = None) -> None:
    """One line an image: itself, and for each side its decoding and its nearest neighbours; shared ones framed."""
    from symeq_core.chains import decode

    x, numbers, classes, names, _ = latent.images(found[0].pair, view.n)
    near = [latent.near(s, view.codes) for s in found]
    decoded = [decode(s.p, _drawn(s, rows)) for s in found]
    head = "".join(f'<th style="color:{s.colour}">{s.letter} decodes</th><th>nearest in {s.letter}</th>' for s in found)
    lines = []
    for r, i in enumerate(rows):
        label = f" · {escape(names[classes[i]])}" if classes is not None else ""
        cells = f'<td>{picture(x[i], 52)}</td><td class="dim">{numbers[i]}{label}<br>{notes[r] if notes else ""}</td>'
        sets = [set(k[i].tolist()) for k in near]
        for s in range(len(found)):
            others = sets[1 - s] if len(found) > 1 else set()
            thumbs = "".join(picture(x[j], 30, 'class="both"' if int(j) in others else "") for j in near[s][i])
            cells += f'<td>{picture(decoded[s][r], 52)}</td><td class="n">{thumbs}</td>'
        lines.append(f"<tr>{cells}</tr>")
    st.html(f'{STYLE}<table class="lt"><tr><th>image</th><th></th>{head}</tr>{"".join(lines)}</table>')
    framed = " Framed: nearest in both." if len(found) > 1 else ""
    st.caption(
        "Decoded: the mean of x for one code drawn by the encoder, the same random numbers for A and B. Nearest: by "
        f"Euclidean distance of {'mean codes' if view.codes == 'mean' else 'drawn codes'} in {_spaces(found)}.{framed}"
    )


def _spaces(found: list[Side]) -> str:
    names = dict.fromkeys(s.layer for s in found)
    return next(iter(names)) if len(names) == 1 else " and ".join(f"{s.layer} of {s.letter}" for s in found)


def _drawn(side: Side, rows: list[int]) -> dict[str, Any]:
    """The drawn codes of all layers of some images."""
    import torch

    from symeq_core.models import latents_of
    from symeq_core.seeds import seeded

    v = {k: torch.from_numpy(c.sample[rows]).reshape(len(rows), *side.p[k].event) for k, c in side.all_codes.items()}
    if "y" in latents_of(side.p):  # a label the decoder wants
        with seeded(0):
            v |= {"y": side.q.sample({"x": latent.images(side.pair, side.n)[0][rows]})["y"]}
    return v


def what_moved(found: list[Side], view: View, maps: list[Any], chosen: list[int]) -> None:
    """The images whose neighbourhoods have least in common, or whose points are furthest apart."""
    told_unknown("Order", "by", BY.values(), BY["neighbours"])
    by = segments("Order", BY, "by")
    kept, apart = latent.kept(*found, view.codes), moved(maps)
    order = np.lexsort((-apart, kept)) if by == "neighbours" else np.argsort(-apart, kind="stable")
    rows, _ = _page(order[:RANKED].tolist())
    notes = [f"{kept[i]:.0%} shared<br>{apart[i]:.1f} radii apart" for i in rows]
    none = (kept < 0.5 / latent.K).mean()
    st.caption(f"{none:.0%} of the {len(kept):,} images shown share none of their {latent.K} neighbours.")
    table(found, view, rows, notes)


# --- flips -------------------------------------------------------------------------------------------------------


def flip(found: list[Side], view: View, maps: list[Any], chosen: list[int]) -> None:
    """One image's code with one unit switched at a time, after those that are to stay switched."""
    i = chosen[0] if chosen else 0
    x, numbers, *_ = latent.images(found[0].pair, view.n)
    more = "" if chosen else " Select another on the maps."
    st.caption(f"The code that the encoder drew for test image {numbers[i]}, with one unit changed at a time.{more}")
    by, flipped = _how(found) if all(s.discrete for s in found) else ("effect", ())
    for column, side in zip(st.columns(len(found), gap="large"), found, strict=True):
        with column:
            st.html(f'<b style="color:{side.colour}">{side.letter}</b> {escape(pairs.title(side.pair))}')
            if side.discrete:
                _flip_bits(side, i, x[i], by, flipped)
            else:
                _traverse(side, i, x[i])


def _how(found: list[Side]) -> tuple[str, tuple[int, ...]]:
    """In which order flips are shown, and the bits that are flipped before."""
    told_unknown("Order of flips", "flips", ORDERS.values(), ORDERS["effect"])
    with st.container(horizontal=True, vertical_alignment="bottom"):
        by = segments("Order", ORDERS, "flips")
        if any(s.latent.family != "bernoulli" for s in found):
            return by, ()
        units = [str(j) for j in range(max(s.latent.units for s in found))]
        flipped = st.multiselect(
            "Flipped already", units, key="flipped", bind="query-params", placeholder="none", help=FLIPPED, width=420
        )
    return by, tuple(sorted(map(int, flipped)))


def _flip_bits(side: Side, i: int, x: Any, by: str, flipped: tuple[int, ...]) -> None:
    own = tuple(j for j in flipped if j < side.latent.units)
    found, code = _flips(side, (*side.key, i, own)), _flipped(side, i, own)
    largest = np.argsort(-found.effect, kind="stable")
    order = np.sort(largest[:TILES]) if by == "unit" else largest[:TILES]
    tiles = [f"<div>{picture(x, 60)}<br>image</div><div>{picture(found.base, 60)}<br>decoded</div>"]
    for j in order:
        change = f"{int(code[j])} → {1 - int(code[j])}" if side.latent.family == "bernoulli" else "next class"
        tiles.append(
            f"<div>{picture(found.images[j], 60)}<br>{side.layer}[{j}] {change}<br>"
            f"<b>{found.effect[j]:.1f}</b> px</div>"
        )
    st.html(f'{STYLE}<div class="tiles">{"".join(tiles)}</div>')
    n = len(found.effect)
    below = "" if found.draws == 1 else f", averaged over {found.draws} draws of the layers below with shared noise"
    shown = f"the {TILES} largest of {n}" if n > TILES else f"all {n}"
    half = np.cumsum(found.effect[largest]) >= found.effect.sum() / 2
    st.caption(
        f"Effect: sum over pixels of the change of E[x|z]{below}; {shown}. {int(half.argmax()) + 1} of {n} units make "
        "half of the total effect."
    )


@st.cache_resource(max_entries=24, show_spinner=False)
def _flips(_side: Side, key: tuple) -> Any:
    import torch

    from symeq_core.latents import flips

    code = torch.from_numpy(_flipped(_side, *key[-2:])).reshape(_side.p[_side.layer].event)
    return flips(_side.p, _side.layer, code)


def _flipped(side: Side, i: int, units: tuple[int, ...]) -> np.ndarray:
    """The code drawn for image i, with these bits flipped."""
    code = side.codes.sample[i].copy()
    code[list(units)] = 1 - code[list(units)]
    return code


def _traverse(side: Side, i: int, x: Any) -> None:
    import torch

    from symeq_core.latents import traversals

    values = [-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0]
    code = torch.from_numpy(side.codes.mean[i])
    rows = traversals(side.p, side.layer, code, values)[:10]
    head = "".join(f"<th>{v:+.0f}</th>" for v in values)
    lines = []
    for j, row in enumerate(rows):
        cells = "".join(f"<td>{picture(r, 46, FIT)}</td>" for r in row)
        lines.append(f"<tr><td>{side.layer}[{j}]<br>{code[j]:+.2f}</td>{cells}</tr>")
    st.html(f'{STYLE}<table class="lt"><tr><th>{picture(x, 46)}</th>{head}</tr>{"".join(lines)}</table>')
    prior = " (the prior is N(0, 1))" if side.standard else ""
    st.caption(f"Each row sets one unit to the value above{prior} and leaves the others at the mean.")
