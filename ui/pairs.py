"""Choosing pairs, and their weights and images in memory, shared by all sessions (never mutate them)."""

from pathlib import Path
from typing import Any

import streamlit as st

from symeq_core import gallery
from symeq_core.config import DataConfig
from symeq_core.errors import SymeqError
from symeq_core.gallery import Pair

from . import theme, words

LETTERS = "ABCD"
DEFAULT = "mnist-reverse-symmetric"


def choose(root: Path, count: int = 2) -> list[Pair]:
    """A, B, ... in the order of the columns, each chosen in a box of its own and kept in the URL (?a=...&b=...).

    B defaults to what another learner made of the same data and model as A. Stops the page, with a way out, where
    there is no pair at all; a key in the URL that names none is told in one sentence.
    """
    pairs = {p.key: p for p in (*gallery.shipped(), *gallery.own(root))}
    if not pairs:
        st.info("There is no pair yet: train one, and it appears here.")
        st.page_link("pages/1_Train.py", label="Train", icon=":material/model_training:")
        st.stop()
    chosen: list[Pair] = []
    for column, letter in zip(st.columns(count), LETTERS, strict=False):
        with column:
            chosen.append(_one(root, pairs, letter, _default(pairs, chosen)))
    return chosen


def _one(root: Path, pairs: dict[str, Pair], letter: str, default: Pair) -> Pair:
    key = letter.lower()
    wanted = st.query_params.get(key)
    if wanted is not None and wanted not in pairs:
        try:
            gallery.find(root, wanted)
            st.error(f"The pair {wanted[:80]!r} holds no weights yet: choose one from the list.")
        except SymeqError as e:
            st.error(str(e))
        del st.query_params[key]
    options = list(pairs)
    given = st.selectbox(
        letter,
        options,
        options.index(default.key),
        format_func=lambda k: title(pairs[k]),
        key=key,
        bind="query-params",
    )
    return pairs[given]


def _default(pairs: dict[str, Pair], chosen: list[Pair]) -> Pair:
    if not chosen:
        return pairs.get(DEFAULT) or next(iter(pairs.values()))
    others = [p for p in pairs.values() if p not in chosen]
    try:
        found = gallery.counterpart(chosen[0], others)
    except SymeqError:
        found = None
    return found or (others[0] if others else chosen[0])


def title(pair: Pair) -> str:
    """The pair in a few words."""
    try:
        c = pair.config()
    except SymeqError:
        return f"{pair.folder.name} (damaged)"
    if pair.shipped:
        data, kind, learner = words.DATA[c.data.name], words.MODELS[c.model.kind], words.LEARNERS[c.learner.name]
        return f"{data} · {kind} {words.layers(c.model)} · {learner}"
    return f"{c.name} ({pair.folder.name})"


def colour(pair: Pair) -> str:
    """The colour of its learner."""
    return theme.LEARNER[pair.config().learner.name]


def loaded(pair: Pair) -> tuple[Any, Any]:
    """(p, q), on the CPU; SymeqError where the pair is damaged."""
    return _loaded(str(pair.folder), pair.stamp())


@st.cache_resource(max_entries=8, show_spinner="Loading the pair …")
def _loaded(folder: str, stamp: tuple[str, int, int]) -> tuple[Any, Any]:
    from symeq_core.checkpoints import load

    return load(folder)


def test_images(pair: Pair) -> tuple[Any, Any, tuple[str, ...]]:
    """(x [N, C, H, W] as the model sees it, class of each [N] or None, what the classes are called).

    SymeqError where the data are missing.
    """
    return _test_images(pair.config().data)


@st.cache_resource(max_entries=4, show_spinner="Loading the images …")
def _test_images(config: DataConfig) -> tuple[Any, Any, tuple[str, ...]]:
    from symeq_core.datasets import load_data
    from symeq_core.sources import clean

    data = load_data(config)
    labels = data.test.labels
    classes = labels[:, 0].argmax(1) if labels is not None and labels.dim() == 3 else None
    return clean(data.test.images, config), classes, data.label_names
