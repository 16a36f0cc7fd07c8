"""What can be chosen on the latent space page, all of it in the URL."""

from pathlib import Path

import streamlit as st

from symeq_core.gallery import Pair

from . import latent, pairs
from .latent import Side, View
from .latent_colour import COLOURS

KINDS = {"native": "The plane", "hamming": "Hamming", "pca": "PCA", "umap": "UMAP"}
CODES = {"mean": "Mean", "sample": "One draw"}
HELP = {
    "layer": "Which layer of code. z0 is the top one, z1 the next, down to the image.",
    "codes": "Mean: E[z|x], for bits the probability of each being 1. One draw: a code the encoder really sends, with "
    "the same random numbers for A and B. Where a layer depends on others, the mean is over 8 draws of these.",
    "map": "The plane: a two-dimensional code as it is. Hamming: classical scaling of the number of "
    "bits that differ (of means: the sum of the differences of their probabilities). PCA: the two directions of "
    "largest variance. UMAP: keeps near neighbours near, distances far apart mean little; computed once.",
    "colour": "Reconstruction error: sum over pixels of |x − E[x|z]|, one draw of z. −ELBO = −log p(x|z) + rate, in "
    "nats, one draw; the rate is what the code costs. Neighbours shared: how many of an image's 10 nearest in A's "
    "space are so in B's too. Distance: how far its two points are apart on the maps.",
    "n": "How many test images are drawn: a fixed random choice, fewer being part of more.",
    "prior": f"{latent.PRIOR:,} codes drawn from the prior, placed on the same map. Encodings of the data should cover "
    "them and no more: then decoding a random code is like decoding the code of an image.",
    "align": "Maps have no natural orientation. This fits B's to A's by the rotation or reflection, shift and size "
    "that bring each image's two points closest (Procrustes), so that the two can be compared at all.",
    "turn": "Rotate or reflect B's plane so that each image's two points are closest (Procrustes, no change of size).",
}


def choose(a: Pair, b: Pair) -> View:
    """The controls, all in the URL."""
    p = pairs.loaded(a)[0]
    names = latent.layers(p)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        layer = names[0]
        if len(names) > 1:
            layer = _segments("Layer", {k: k for k in names}, names[0], "layer")
        side = Side(a, "A", layer, 0)
        codes = _segments("Codes", CODES, "mean", "codes")
        total = len(pairs.test_images(a)[0])
        n = _images(total)
        kinds, default = _kinds(side, b, codes, n)
        kind = _segments("Map", {k: KINDS[k] for k in kinds}, default, "map")
        colour = st.selectbox(
            "Colour", list(COLOURS), format_func=COLOURS.__getitem__, key="colour", help=HELP["colour"],
            bind="query-params", width=190,
        )  # fmt: skip
        prior = st.toggle("Prior", key="prior", help=HELP["prior"], bind="query-params")
        if kind == "native":
            align = st.toggle("Turn B onto A", key="turn", help=HELP["turn"], bind="query-params")
        else:
            align = st.toggle("Fit B to A", True, key="align", help=HELP["align"], bind="query-params")
    return View(layer, codes, kind, colour, n, prior, align)


def _segments(label: str, options: dict[str, str], default: str, key: str) -> str:
    return st.segmented_control(
        label, list(options), format_func=options.__getitem__, default=default, required=True, key=key,
        help=HELP[key], bind="query-params",
    )  # fmt: skip


def _images(total: int) -> int:
    from symeq_core.maps import POINTS

    options = [k for k in (1000, 2000, POINTS, 10_000) if k < total] or []
    options += [total] if total <= 10_000 else []
    if len(options) == 1:
        return POINTS
    usual = max(k for k in options if k <= POINTS)
    n = st.selectbox(
        "Images", options, options.index(usual), format_func=lambda k: f"{k:,} of {total:,}", key="n", help=HELP["n"],
        bind="query-params", width=150,
    )  # fmt: skip
    return POINTS if n == usual else n


def _kinds(side: Side, b: Pair, codes: str, n: int) -> tuple[list[str], str]:
    """Which maps there can be, and which one first: UMAP where it came with both pairs."""
    from symeq_core import maps

    if side.plane:
        return ["native", "umap"], "native"
    kinds = (["hamming"] if side.discrete else []) + ["pca", "umap"]
    spec = maps.Spec(side.layer, codes, n)
    ready = all(maps.shipped(Path(p.folder), spec) is not None for p in (side.pair, b))
    return kinds, "umap" if ready else kinds[0]
