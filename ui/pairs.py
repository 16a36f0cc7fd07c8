"""Choosing pairs, and their weights and images in memory, shared by all sessions (never mutate them)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from symeq_core import gallery
from symeq_core.config import DataConfig
from symeq_core.errors import SymeqError
from symeq_core.gallery import Pair, Stamp

from . import say, theme, words

LETTERS = "ABCD"
DEFAULT = "digits-ladder-symmetric"  # its data are embedded: nothing is downloaded for a first look
KEPT = "pairs chosen"  # in the session: what another page of it had chosen


def choose(root: Path, count: int = 2, first: str = DEFAULT) -> list[Pair]:
    """A, B, ... in the order of the columns, each chosen in a box of its own and kept in the URL (?a=...&b=...).

    What was chosen on another page of the session stays chosen. A defaults to `first`, B to what another learner made
    of the same data and model as A. Stops the page, with a way out, where there is no pair at all; a key in the URL
    that names none is told in one sentence.
    """
    pairs = {p.key: p for p in (*gallery.shipped(), *gallery.own(root))}
    if not pairs:
        st.info("There is no pair yet: train one, and it appears here.")
        st.page_link("pages/1_Train.py", label="Train", icon=":material/model_training:")
        st.stop()
    columns = st.columns([10, *[1] * (count > 1), *[10] * (count - 1)], gap="small", vertical_alignment="bottom")
    places = dict(zip(LETTERS, [columns[0], *columns[2:]], strict=False))
    chosen: list[Pair] = []
    for letter, place in places.items():
        with place:
            chosen.append(_one(root, pairs, letter, chosen, first))
    if count > 1:
        columns[1].button("⇄", key="swap", on_click=_swap, help="Swap A and B.", width="stretch")
    wanted = {letter.lower(): p.key for letter, p in zip(places, chosen, strict=True)}
    usual = [_default(pairs, [], first)]
    usual += [_default(pairs, usual)] * (count > 1)
    if KEPT in st.session_state or chosen != usual:  # other pages have pairs of their own to begin with
        st.session_state[KEPT] = wanted
    if any(st.query_params.get(k) != v for k, v in wanted.items()):
        st.query_params.update(wanted)
    return chosen


def another(root: Path, chosen: list[Pair]) -> Pair:
    """A further pair to put beside those chosen."""
    return _default({p.key: p for p in (*gallery.shipped(), *gallery.own(root))}, chosen)


def _one(root: Path, pairs: dict[str, Pair], letter: str, before: list[Pair], first: str) -> Pair:
    key = letter.lower()
    wanted = st.query_params.get(key) or st.session_state.get(KEPT, {}).get(key)
    if wanted not in pairs:
        if wanted is not None and st.query_params.get(key):
            _say_unknown(root, wanted)
        wanted = _default(pairs, before, first).key
    head = st.container()
    st.session_state[key] = wanted  # the URL decides; a choice in the box changes the URL first
    options = list(pairs)
    names = {k: title(p) for k, p in pairs.items()}
    st.selectbox(
        f"Pair {letter}",
        options,
        format_func=names.__getitem__,
        key=key,
        on_change=_chosen,
        args=(pairs, key),
        label_visibility="collapsed",
    )
    head.html(_badges(letter, pairs[wanted], colours([*before, pairs[wanted]])[-1]))
    return pairs[wanted]


def _say_unknown(root: Path, key: str) -> None:
    try:
        gallery.find(root, key)
        say.error(f"The pair {key[:80]!r} holds no weights yet: choose one from the list.")
    except SymeqError as e:
        say.error(e)


def _chosen(pairs: dict[str, Pair], key: str) -> None:
    """A new choice, into the URL; a B that was A's counterpart follows A."""
    old, new = st.query_params.get("a"), st.session_state[key]
    if key == "a" and old in pairs and st.query_params.get("b") == _default(pairs, [pairs[old]]).key:
        st.query_params["b"] = _default(pairs, [pairs[new]]).key
    st.query_params[key] = new


def _swap() -> None:
    a, b = st.query_params.get("a", ""), st.query_params.get("b", "")
    st.query_params.update({"a": b, "b": a})


def _badges(letter: str, pair: Pair, colour: str) -> str:
    """HTML: the column's letter in its colour, the learner in the learner's, and how it was trained."""
    try:
        c = pair.config()
    except SymeqError:
        return theme.row([theme.badge(letter, theme.NEUTRAL), theme.badge("damaged", theme.STATE["failed"])])
    own = theme.LEARNER[c.learner.name]
    mark = (
        f'<span style="background:{colour};color:#fff;border-radius:.35rem;min-width:1.6rem;text-align:center;'
        f'font-weight:700;line-height:1.6rem">{letter}</span>'
    )
    done, steps = max(pair.snapshots(), default=None), c.train.steps
    if done is not None:
        text = f"{'' if done == steps else f'{done:,} of '}{steps:,} iterations, seed {c.seed}"
    else:  # an imported model's config says nothing of its training
        text = f"seed {c.seed}" if pair.events() else "trained elsewhere"
    note = f'<span style="font-size:.85rem;opacity:.75;white-space:nowrap">{text}</span>'
    return theme.row([mark, theme.badge(words.LEARNERS[c.learner.name], own), note])


def _default(pairs: dict[str, Pair], chosen: list[Pair], first: str = DEFAULT) -> Pair:
    if not chosen:
        return pairs.get(first) or next(iter(pairs.values()))
    others = [p for p in pairs.values() if p not in chosen]
    try:
        found = gallery.counterpart(chosen[0], others)
    except SymeqError:
        found = None
    alike = [p for p in others if _data(p) == _data(chosen[0])]
    return found or next(iter(alike or others), chosen[0])


def _data(pair: Pair) -> str | None:
    try:
        return pair.config().data.name
    except SymeqError:
        return None


def title(pair: Pair) -> str:
    """The pair in a few words, the learner first: what doesn't fit is cut off at the end."""
    try:
        c = pair.config()
    except SymeqError:
        return f"{pair.folder.name} (damaged)"
    if pair.shipped:
        return f"{words.SHORT[c.learner.name]} · {words.pair(c)}"
    return f"{c.name} ({pair.folder.name})"


def colour(pair: Pair) -> str:
    """The colour of its learner."""
    return theme.LEARNER[pair.config().learner.name]


def colours(chosen: Sequence[Pair]) -> list[str]:
    """That of the learner of each; of several pairs of one learner the first has it, the others have spare ones."""
    found: list[str] = []
    spare = iter(theme.SPARE)
    for pair in chosen:
        try:
            own = colour(pair)
        except SymeqError:
            own = theme.NEUTRAL
        found.append(next(spare) if own in found else own)
    return found


def loaded(pair: Pair) -> tuple[Any, Any]:
    """(p, q), on the CPU; SymeqError where the pair is damaged."""
    return _loaded(str(pair.folder), pair.stamp())


@st.cache_resource(max_entries=8, show_spinner="Loading the pair …")
def _loaded(folder: str, stamp: Stamp) -> tuple[Any, Any]:
    from symeq_core.checkpoints import load

    return load(folder)


def test_images(pair: Pair) -> tuple[Any, Any, tuple[str, ...]]:
    """(x [N, C, H, W] as the model sees it, class of each [N] or None, what the classes are called).

    SymeqError where the data are missing.
    """
    return _test_images(pair.config().data, pair.stamp()[-1])


@st.cache_resource(max_entries=4, show_spinner="Loading the images …")
def _test_images(config: DataConfig, images: str) -> tuple[Any, Any, tuple[str, ...]]:
    from symeq_core.datasets import load_data
    from symeq_core.sources import clean

    data = load_data(config)
    labels = data.test.labels
    classes = labels[:, 0].argmax(1) if labels is not None and labels.dim() == 3 else None
    return clean(data.test.images, config), classes, data.label_names
