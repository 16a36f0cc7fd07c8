"""The latent space page: the pairs' codes of the same images, and what is computed of them once for all sessions."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from symeq_core.errors import SymeqError
from symeq_core.gallery import Pair

from . import latent_map, pairs, say, theme, words

K = 10  # nearest neighbours, shown and counted
PRIOR = 1000  # codes drawn from the prior
ALONE = "A is shown alone; ⇄ shows B."


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

    def __init__(self, pair: Pair, letter: str, layer: str, n: int, colour: str = theme.NEUTRAL) -> None:
        self.pair, self.letter, self.n, self.colour = pair, letter, n, colour
        self.p, self.q = pairs.loaded(pair)
        names = layers(self.p)
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


def layers(p: Any) -> tuple[str, ...]:
    """The names of its latent layers, top first."""
    from symeq_core import latents

    return latents.layers(p)


def images(pair: Pair, n: int) -> tuple[Any, np.ndarray, Any, tuple[str, ...], int]:
    """(x of the images shown, their numbers in the test set, their classes or None, class names, how many)."""
    return _images(pair, (pair.config().data, pair.stamp()[-1], n))


@st.cache_resource(max_entries=4, show_spinner=False)  # else each look would copy megabytes
def _images(_pair: Pair, key: tuple) -> tuple[Any, np.ndarray, Any, tuple[str, ...], int]:
    import torch

    from symeq_core.maps import subset

    x, classes, names = pairs.test_images(_pair)
    chosen = subset(len(x), key[2])
    index = torch.from_numpy(chosen)
    return x[index], chosen, None if classes is None else classes[index].numpy(), names, len(x)


@st.cache_resource(max_entries=12, show_spinner="Encoding the test images …")
def _codes(_pair: Pair, key: tuple) -> dict[str, Any]:
    from symeq_core.latents import encode

    p, q = pairs.loaded(_pair)
    return encode(q, images(_pair, key[1])[0], layers(p))


@st.cache_resource(max_entries=8, show_spinner="Measuring each image …")
def _figures(_pair: Pair, key: tuple) -> dict[str, np.ndarray]:
    from symeq_core.latents import image_figures

    return image_figures(*pairs.loaded(_pair), images(_pair, key[1])[0])


@st.cache_resource(max_entries=12, show_spinner=False)
def _near(_z: np.ndarray, key: tuple) -> np.ndarray:
    from symeq_core.neighbours import neighbours

    return neighbours(_z, K)[0].astype(np.uint16)


@st.cache_resource(max_entries=12, show_spinner=False)
def _kept(_a: np.ndarray, _b: np.ndarray, key: tuple) -> np.ndarray:
    from symeq_core.neighbours import shared_neighbours

    return shared_neighbours(_a, _b, K)


@st.cache_resource(max_entries=12, show_spinner=False)
def _prior(_side: Side, key: tuple) -> np.ndarray:
    from symeq_core.latents import prior_draws

    return prior_draws(_side.p, _side.layer, PRIOR)[0]


def prior(side: Side) -> np.ndarray:
    """Codes drawn from the layer's prior [PRIOR, D]."""
    return _prior(side, side.key)


@st.cache_resource(max_entries=4, show_spinner=False)
def _sheet(_x: Any, key: tuple) -> tuple[bytes, dict[str, Any]]:
    return latent_map.sheet(_x.numpy())


def sheet(side: Side) -> tuple[bytes, dict[str, Any]]:
    """The images shown, as the maps' component wants them, and what it must know of them."""
    return _sheet(images(side.pair, side.n)[0], (side.pair.stamp(), side.n))


def two(found: list[Side], codes: str) -> Any:
    """A and B as `maps` names them."""
    from symeq_core import maps

    a, b = found
    return maps.Two(
        (Path(a.pair.folder), Path(b.pair.folder)), (maps.Spec(a.layer, codes, a.n), maps.Spec(b.layer, codes, b.n))
    )


def near(side: Side, codes: str) -> np.ndarray:
    """The K nearest images of each [n, K] in the pair's latent space."""
    return _near(side.z(codes), (*side.key, codes))


def kept(a: Side, b: Side, codes: str) -> np.ndarray:
    """For each image, the share of its K nearest in A that are so in B."""
    return _kept(a.z(codes), b.z(codes), (a.key, b.key, codes))


def sides(root: Path, a: Pair, b: Pair, view: View) -> list[Side]:
    """A and B, or A alone where B can't be put beside it: then why, and a button that puts A's counterpart there."""
    of_a, of_b = pairs.colours([a, b])
    found = [Side(a, "A", view.layer, view.n, of_a)]
    try:
        other = Side(b, "B", view.layer, view.n, of_b)
        why = _apart(found[0], other, view)
    except SymeqError as e:
        why = f"{e} A is shown alone."
    if why:
        st.warning(say.quoted(why))
        _offer(root, a, b)
        return found
    if other.layer != view.layer:
        st.caption(f"B has no layer {view.layer}: its {other.layer} is shown.")
    return [*found, other]


def _apart(a: Side, b: Side, view: View) -> str:
    """Why the two can't be compared, in a sentence; empty where they can."""
    if not _same_images(a.pair, b.pair):
        ours, theirs = (words.DATA[s.pair.config().data.name] for s in (a, b))
        if ours != theirs:
            return f"A was trained on {ours} and B on {theirs}, so their maps would show different images. {ALONE}"
        return f"A and B see the same images differently (size, or what counts as ink): no map has both. {ALONE}"
    if a.discrete != b.discrete or (view.kind == "native" and not b.plane):
        ours, theirs = (words.code([s.latent]) for s in (a, b))
        return f"A code of A is {ours} and one of B is {theirs}, so their maps differ in kind. {ALONE}"
    return ""


def _offer(root: Path, a: Pair, b: Pair) -> None:
    """A button that puts a pair into B that A can be compared with, where there is one."""
    other = pairs.another(root, [a])
    try:
        suits = other != b and _same_images(a, other)
    except SymeqError:
        return
    if suits and st.button(f"Compare with {say.plain(pairs.title(other))}", key="suits", icon=":material/compare:"):
        st.query_params["b"] = other.key
        st.rerun()


def _same_images(a: Pair, b: Pair) -> bool:
    """Whether both see the same test images."""
    trained = {"flip": 0.0, "noise": 0.0, "labelled": 0}  # concerns training only
    return replace(a.config().data, **trained) == replace(b.config().data, **trained)
