"""What can be chosen on the latent space page, all of it in the URL."""

from pathlib import Path
from typing import Any

import streamlit as st

from symeq_core.gallery import Pair
from symeq_core.projection import NEAREST

from . import latent, pairs
from .choice import SWITCH, segments, told_unknown
from .latent import Side, View
from .latent_colour import COLOURS

KINDS = {"native": "The plane", "hamming": "Hamming", "pca": "PCA", "umap": "UMAP", "joint": "Joint UMAP"}
CODES = {"mean": "Mean", "sample": "Draw"}
HELP = {
    "layer": "Which layer of code. z0 is the top one, z1 the next, down to the image.",
    "codes": "Mean: E[z|x], for bits the probability of each being 1. Draw: a code the encoder really sends, with "
    "the same random numbers for A and B. Where a layer depends on others, the mean is over 8 draws of these.",
    "map": "The plane: a two-dimensional code as it is. Hamming: classical scaling of the number of "
    "bits that differ (of means: the sum of the differences of their probabilities). PCA: the two directions of "
    "largest variance. UMAP: keeps near neighbours near, distances far apart mean little; computed once. "
    "Joint UMAP: A and B laid out together (AlignedUMAP), the two points of each image drawn towards each other.",
    "colour": "Reconstruction error: sum over pixels of |x − E[x|z]|, one draw of z. Costs are in nats, of one draw of "
    "z. Total cost: −ELBO, on average at least −log p(x). Cost of pixels: −log p(x|z), what the image costs once its "
    "code is known. Cost of code: the rest (rate), how far the encoder departs from the prior for this image. "
    "Neighbours shared: how many of an image's 10 nearest in A's space are so in B's too. Distance: how far its two "
    "points are apart on the maps.",
    "n": "How many of the test images are drawn: a fixed random choice, fewer being part of more.",
    "prior": f"{latent.PRIOR:,} codes drawn from the prior, as crosses on the same map. Encodings of the data should "
    "cover them and no more: then decoding a random code is like decoding the code of an image. UMAP can't place new "
    f"points: there, each lies at the mean place of the {NEAREST} encodings nearest to it.",
    "align": "Maps have no natural orientation. This fits B's to A's by the rotation or reflection, shift and size "
    "that bring each image's two points closest (Procrustes), so that the two can be compared at all.",
    "turn": "Rotate or reflect B's plane so that each image's two points are closest (Procrustes, no change of size).",
}


def choose(a: Pair, b: Pair) -> View:
    """The controls, all in the URL; what a link asks for in vain is told above them."""
    notes = st.container()
    p = pairs.loaded(a)[0]
    layers = {k: k for k in latent.layers(p)}
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        layer = _segments(notes, "Layer", layers, next(iter(layers)), "layer")
        side = Side(a, "A", layer, 0)
        codes = _segments(notes, "Codes", CODES, "mean", "codes")
        n = _images(notes, len(pairs.test_images(a)[0]))
        kinds, default = _kinds(side, b, codes, n)
        kind = _segments(notes, "Map", {k: KINDS[k] for k in kinds}, default, "map")
        colour = _box(notes, "Colour", COLOURS, "label", "colour", 190)
        prior = _toggle(notes, "Prior", False, "prior")
        native = kind == "native"
        if kind == "joint":  # there is nothing to fit
            return View(layer, codes, kind, colour, n, prior, False)
        align = _toggle(notes, "Turn B onto A" if native else "Fit B to A", not native, "turn" if native else "align")
    return View(layer, codes, kind, colour, n, prior, align)


def _segments(notes: Any, label: str, options: dict[str, str], default: str, key: str) -> str:
    with notes:
        told_unknown(label, key, options.values(), options[default])
    return segments(label, options, key, default=default, help=HELP[key]) if len(options) > 1 else default


def _box(notes: Any, label: str, options: dict[Any, str], default: Any, key: str, width: int) -> Any:
    with notes:
        told_unknown(label, key, options.values(), options[default])
    return st.selectbox(
        label,
        list(options),
        list(options).index(default),
        format_func=options.__getitem__,
        key=key,
        help=HELP[key],
        bind="query-params",
        width=width,
    )


def _toggle(notes: Any, label: str, default: bool, key: str) -> bool:
    with notes:
        told_unknown(label, key, SWITCH, str(default).lower())
    return st.toggle(label, default, key=key, help=HELP[key], bind="query-params")


def _images(notes: Any, total: int) -> int:
    """How many; where all are shown anyway, there is nothing to choose."""
    from symeq_core.maps import POINTS

    counts = [k for k in (1000, 2000, POINTS, 10_000) if k < total] + ([total] if total <= 10_000 else [])
    usual = max((k for k in counts if k <= POINTS), default=total)
    options = {k: f"{k:,}" for k in counts}
    if len(options) > 1:
        n = _box(notes, "Images", options, usual, "n", 100)
        return POINTS if n == usual else n
    with notes:
        told_unknown("Images", "n", options.values(), f"all {total:,} test images")
    return POINTS


def _kinds(side: Side, b: Pair, codes: str, n: int) -> tuple[list[str], str]:
    """Which maps there can be, and which one first: UMAP where it came with both pairs."""
    from symeq_core import maps

    joint = ["joint"] if b.key != side.pair.key else []
    if side.plane:
        return ["native", "umap", *joint], "native"
    kinds = (["hamming"] if side.discrete else []) + ["pca", "umap", *joint]
    spec = maps.Spec(side.layer, codes, n)
    ready = all(maps.shipped(Path(p.folder), spec) is not None for p in (side.pair, b))
    return kinds, "umap" if ready else kinds[0]
