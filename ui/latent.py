"""The latent space page: what is chosen, the numbers behind it, and the maps."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from symeq_core.errors import SymeqError
from symeq_core.gallery import Pair

from . import latent_map, pairs, say, words

KINDS = {"native": "The plane", "hamming": "Hamming", "pca": "PCA", "umap": "UMAP"}
CODES = {"mean": "Mean", "sample": "One draw"}
COLOURS = {
    "label": "Label",
    "error": "Reconstruction error",
    "-ELBO": "−ELBO",
    "distortion": "−log p(x|z)",
    "rate": "Rate",
    "kept": "Neighbours shared by A and B",
    "moved": "Distance between A and B",
}
UNITS = {
    "error": "pixels",
    "-ELBO": "nats",
    "distortion": "nats",
    "rate": "nats",
    "kept": "%",
    "moved": "of the map's radius",
}
NEAR = 8  # neighbours shown
K = 10  # neighbours counted
PRIOR = 1000  # codes drawn from the prior
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
    "prior": f"{PRIOR:,} codes drawn from the prior, placed on the same map. Encodings of the data should cover them "
    "and no more: then decoding a random code is like decoding the code of an image.",
    "align": "Maps have no natural orientation. This fits B's to A's by the rotation or reflection, shift and size "
    "that bring each image's two points closest (Procrustes), so that the two can be compared at all.",
    "turn": "Rotate or reflect B's plane so that each image's two points are closest (Procrustes, no change of size).",
}


@dataclass(frozen=True)
class View:
    """What is chosen on the page."""

    layer: str
    codes: str
    kind: str
    colour: str
    n: int
    prior: bool
    align: bool
    waiting: bool = False  # PCA stands in for a UMAP that is being computed


class Side:
    """One pair's codes in the layer shown, with what is computed of them once and kept by all sessions."""

    def __init__(self, pair: Pair, letter: str, layer: str, n: int) -> None:
        self.pair, self.letter, self.n = pair, letter, n
        self.p, self.q = pairs.loaded(pair)
        names = _layers(self.p)
        self.layer = layer if layer in names else names[0]
        self.key = (pair.stamp(), self.layer, n)
        self.latent = dict(zip(pair.config().model.latent_names, pair.config().model.latents, strict=True))[self.layer]

    @property
    def discrete(self) -> bool:
        """Bits or classes, not real numbers."""
        return self.latent.family != "gaussian"

    @property
    def plane(self) -> bool:
        """Two real numbers."""
        return not self.discrete and self.latent.units == 2

    @property
    def standard(self) -> bool:
        """Real numbers whose prior is N(0, 1) each."""
        return not self.discrete and self.layer == "z0" and self.pair.config().model.prior == "fixed"

    @cached_property
    def codes(self) -> Any:
        """latents.Codes of the images shown."""
        return self.all_codes[self.layer]

    @cached_property
    def all_codes(self) -> dict[str, Any]:
        """The same of every layer."""
        return _codes(self.pair, (self.pair.stamp(), self.n))

    def z(self, codes: str) -> np.ndarray:
        """[n, D], mean or sample."""
        return self.codes.mean if codes == "mean" else self.codes.sample

    def figure(self, name: str) -> np.ndarray | None:
        """One number of each image [n]; None where it is not defined."""
        return _figures(self.pair, (self.pair.stamp(), self.n)).get(name)


def _layers(p: Any) -> tuple[str, ...]:
    from symeq_core.latents import layers

    return layers(p)


def images(pair: Pair, n: int) -> tuple[Any, np.ndarray, Any, tuple[str, ...], int]:
    """(x of the images shown, their numbers in the test set, their classes or None, class names, how many)."""
    import torch

    from symeq_core.maps import subset

    x, classes, names = pairs.test_images(pair)
    chosen = subset(len(x), n)
    index = torch.from_numpy(chosen)
    return x[index], chosen, None if classes is None else classes[index].numpy(), names, len(x)


@st.cache_resource(max_entries=12, show_spinner="Encoding the test images …")
def _codes(_pair: Pair, key: tuple) -> dict[str, Any]:
    from symeq_core.latents import encode

    p, q = pairs.loaded(_pair)
    return encode(q, images(_pair, key[1])[0], _layers(p))


@st.cache_resource(max_entries=8, show_spinner="Measuring each image …")
def _figures(_pair: Pair, key: tuple) -> dict[str, np.ndarray]:
    from symeq_core.latents import image_figures

    return image_figures(*pairs.loaded(_pair), images(_pair, key[1])[0])


@st.cache_resource(max_entries=12, show_spinner=False)
def _near(_z: np.ndarray, key: tuple) -> np.ndarray:
    from symeq_core.projection import neighbours

    return neighbours(_z, NEAR)[0].astype(np.uint16)


@st.cache_resource(max_entries=12, show_spinner=False)
def _kept(_a: np.ndarray, _b: np.ndarray, key: tuple) -> np.ndarray:
    from symeq_core.projection import shared_neighbours

    return shared_neighbours(_a, _b, K)


@st.cache_resource(max_entries=12, show_spinner=False)
def _prior(_side: Side, key: tuple) -> np.ndarray:
    from symeq_core.latents import prior_draws

    return prior_draws(_side.p, _side.layer, PRIOR)[0]


@st.cache_resource(max_entries=4, show_spinner=False)
def _sheet(_x: Any, key: tuple) -> tuple[bytes, dict[str, Any]]:
    return latent_map.sheet(_x.numpy())


def sheet(side: Side, n: int) -> bytes:
    """The images shown, as the maps' component wants them."""
    return _sheet(images(side.pair, n)[0], (side.pair.stamp(), n))[0]


def near(side: Side, codes: str) -> np.ndarray:
    """The NEAR nearest images of each [n, NEAR] in the pair's latent space."""
    return _near(side.z(codes), (*side.key, codes))


def kept(a: Side, b: Side, codes: str) -> np.ndarray:
    """For each image, the share of its K nearest in A that are so in B."""
    return _kept(a.z(codes), b.z(codes), (a.key, b.key, codes))


def choose(a: Pair, b: Pair) -> View:
    """The controls, all in the URL."""
    p = pairs.loaded(a)[0]
    names = _layers(p)
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


def sides(a: Pair, b: Pair, view: View) -> list[Side]:
    """A and B, or A alone, with the reason told, where B can't be put beside it."""
    found = [Side(a, "A", view.layer, view.n)]
    try:
        if not _same_images(a, b):
            ours, theirs = words.DATA[a.config().data.name], words.DATA[b.config().data.name]
            reason = f"A knows {ours}, B {theirs}" if ours != theirs else "A and B see their images differently"
            raise SymeqError(f"{reason}, so no image has a point on both maps: choose pairs of the same data. A alone:")
        other = Side(b, "B", view.layer, view.n)
        if other.discrete != found[0].discrete or (view.kind == "native" and not other.plane):
            what = "bits or classes" if found[0].discrete else f"{found[0].latent.units} real numbers"
            raise SymeqError(f"A's codes are {what}, B's are not, so their maps differ in kind: choose alike. A alone:")
        found.append(other)
        if other.layer != view.layer:
            st.caption(f"B has no layer {view.layer}: its {other.layer} is shown.")
    except SymeqError as e:
        st.warning(say.quoted(e))
    return found


def _same_images(a: Pair, b: Pair) -> bool:
    """Whether both see the same test images."""
    trained = {"flip": 0.0, "noise": 0.0, "labelled": 0}  # concerns training only
    return replace(a.config().data, **trained) == replace(b.config().data, **trained)
