"""The images that chains start from: test images or, before their data are on this machine, those in snapshots."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from symeq_core.errors import SymeqError
from symeq_core.gallery import Pair, Stamp

from . import pairs, words


def images(pair: Pair) -> tuple[Any, Any, tuple[str, ...]]:
    """(x [N, C, H, W] as the model sees them, class of each [N] or None, what the classes are called).

    Nothing is downloaded for it, unless the pair has no snapshot either. The classes of snapshots' images are those
    the classifier sees.
    """
    return (None if _here(pair) else _kept(pair, pair.stamp())) or pairs.test_images(pair)


def source(pair: Pair, both: Sequence[Pair]) -> Pair:
    """Whose images this one of both starts from: the first one's where they have the same data."""
    return next(p for p in both if p.config().data == pair.config().data)


def offer(both: Sequence[Pair]) -> None:
    """Where chains start from the images of snapshots, tell so and offer to download the data."""
    for pair in dict.fromkeys(source(p, both) for p in both):
        if _here(pair) or _kept(pair, pair.stamp()) is None:
            continue
        name, n = words.DATA[pair.config().data.name], len(images(pair)[0])
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(f"{name} is not on this machine: the chains start from the {n} test images of its snapshots.")
            if st.button(f"Download {name}", key=f"download {pair.config().data.name}", icon=":material/download:"):
                pairs.test_images(pair)  # else told by whoever draws this
                st.rerun()


def _here(pair: Pair) -> bool:
    from symeq_core.datasets import is_here

    return is_here(pair.config().data)


@st.cache_resource(max_entries=8, show_spinner=False)
def _kept(_pair: Pair, stamp: Stamp) -> tuple[Any, Any, tuple[str, ...]] | None:
    import torch

    from symeq_core import boards

    found = boards.kept(_pair.snapshots(), _pair.config().model.x_shape)
    if found is None:
        return None
    x = torch.from_numpy(found.copy()).float() / 255
    known = classifier(_pair)
    return x, None if known is None else known(x).argmax(1), ()


def classifier(pair: Pair) -> Any:
    """images [B, C, H, W] -> probabilities [B, classes], or None where there is no classifier of these data."""
    from symeq_core.extractors import extractor

    config = pair.config()
    try:
        found = extractor(config.data)
    except SymeqError:
        return None
    return found.probabilities if found.shape == config.model.x_shape else None


def class_names(pair: Pair) -> tuple[str, ...]:
    """What the classes of its data are called; nothing where their numbers say it, or the data are missing."""
    if pair.config().data.name in ("digits", "mnist") or not _here(pair):
        return ()  # without loading 70,000 images
    try:
        return pairs.test_images(pair)[2]
    except SymeqError:
        return ()
