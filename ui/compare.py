"""Pairs beside one another: how they differ, their figures, their pictures along training."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import streamlit as st

from symeq_core import boards, compare, portrait
from symeq_core.errors import SymeqError
from symeq_core.gallery import Pair, Stamp

from . import address, cards, evaluate, pairs, portraits, say, words
from .choice import SWITCH, segments, told_unknown

HERE = Path(__file__).parent
PICTURES = {
    "reconstructions": "Reconstructions",
    "codes": "Random codes",
    "limiting": "Limiting images",
    "interpolations": "Interpolations",
    "trips": "Round trips",
}
ABOUT = {
    "reconstructions": "Row i: test image i as the model sees it, and E[x | z] for one code z that each encoder drew "
    "of it.",
    "codes": "Row i: a code from the prior, decoded (the mean of the pixels). Drawn with the same seed at every step; "
    "the real images beside them are for comparison, they are not those of the codes.",
    "limiting": "Row i: where the round trip x → z → x′ … ends that starts from pure noise, then the mean of the "
    "pixels. The real images beside them are for comparison.",
    "interpolations": "Row i: decoded codes on the way from test image i to the next one. Bits switch one by one, in "
    "one random order; real codes go straight.",
    "trips": "Row i: test image i after k round trips x → z → x′ …, each sampled; shown are the means of the pixels.",
}
OTHER = "\0"  # stands for the letters of the pairs that A is compared with
scrubber = st.components.v2.component(
    "symeq_scrubber",
    html=(HERE / "scrub.html").read_text(encoding="utf-8"),
    css=(HERE / "scrub.css").read_text(encoding="utf-8"),
    js=(HERE / "scrub.js").read_text(encoding="utf-8"),
)


# --- which pairs ---


class Column(NamedTuple):
    """A pair, the letter of its column and the colour of that."""

    letter: str
    pair: Pair
    colour: str

    @property
    def learner(self) -> str:
        """What its learner is called."""
        return words.LEARNERS[self.pair.config().learner.name]


def choose(root: Path) -> list[Column]:
    """Two to four pairs, as many as the URL names, and the buttons that change how many; damaged ones are told."""
    count = 2 + next((k for k, letter in enumerate("cd") if letter not in st.query_params), 2)
    head = st.container(horizontal=True, vertical_alignment="center")
    chosen = pairs.choose(root, count)
    address.say(address.COMPARE, {letter: st.query_params.get(letter, "") for letter in "cd"})
    head.markdown("### Compare")
    if count > 2:
        letter = pairs.LETTERS[count - 1]
        head.button(f"Remove {letter}", icon=":material/remove:", key="remove", type="tertiary", on_click=_remove)
    if count < 4:
        label = f"Add a {('third', 'fourth')[count - 2]} pair"
        head.button(label, icon=":material/add:", key="add", type="tertiary", on_click=_add, args=(root, chosen))
    found = []
    for column in map(Column, pairs.LETTERS, chosen, pairs.colours(chosen)):
        try:
            column.pair.config()
            found.append(column)
        except SymeqError as e:
            say.error(f"{column.letter}: {e}")
    return found


def _add(root: Path, chosen: list[Pair]) -> None:
    st.query_params["cd"[len(chosen) - 2]] = pairs.another(root, chosen).key


def _remove() -> None:
    for letter in "dc":
        if letter in st.query_params:
            del st.query_params[letter]
            return


# --- what is said about them ---


@st.cache_resource(max_entries=32, show_spinner=False)  # as cached data it would be copied at every look
def _events(folder: str, stamp: tuple[int, int]) -> list[dict[str, Any]]:
    return Pair("", Path(folder)).events()


def events(pair: Pair) -> list[dict[str, Any]]:
    """What happened while it was trained; nothing where that is not known."""
    try:
        state = (pair.folder / "events.jsonl").stat()
    except OSError:
        return []
    return _events(str(pair.folder), (state.st_mtime_ns, state.st_size))


def contrast(chosen: Sequence[Column]) -> None:
    """How each differs from A, in words; a warning where more than one thing does."""
    if len(chosen) > 1 and len({c.pair.key for c in chosen}) == 1:
        st.info("All columns show the same pair: choose another one for B.")
        return
    first, said = chosen[0], dict[compare.Contrast, list[str]]()
    for other in chosen[1:]:
        one, two = _trained(first.pair), _trained(other.pair)
        known = (one, two) if one is not None and two is not None else None
        found = compare.contrast(first.pair.config(), other.pair.config(), (first.letter, OTHER), known)
        said.setdefault(found, []).append(other.letter)
    for found, letters in said.items():
        text = found.text.replace(OTHER, letters[0] if len(letters) == 1 else f"each of {', '.join(letters)}")
        if found.confounded:
            st.warning(text, icon=":material/warning:")
        else:
            st.markdown(text)


def _trained(pair: Pair) -> int | None:
    return next((e["step"] for e in reversed(events(pair)) if "step" in e), None)


def figures(chosen: Sequence[Column]) -> None:
    """The few figures that say most, with their errors, and which is better: of evaluations or, until there are any for
    all, of the last probes; all others on demand.
    """
    every, letters = [(c.letter, c.pair) for c in chosen], [c.letter for c in chosen]
    stored = evaluate.found(every)
    configs = [c.pair.config() for c in chosen]
    found = compare.headlines(compare.rows(stored, [events(c.pair) for c in chosen], letters, configs))
    if found:
        comparable = len({c.pair.config().data.name for c in chosen}) == 1
        st.html(cards.STYLE)
        st.html(cards.cards(found, [(c.letter, c.colour) for c in chosen], comparable))
        counts = sorted({c["n"] for r in found for c in r.cells if c and c.get("n")})
        n = " to ".join(f"{k:,}" for k in dict.fromkeys((counts[0], counts[-1]))) if counts else "0"
        st.caption(
            f"n = {n} images{' (last probe of training)' if None in stored else ''}; ± one standard error. Better: by "
            "more than twice that of the difference. Point at a figure to see what it means."
        )
    told_unknown("All figures", "figures", SWITCH, "closed")
    with (
        st.container()
        if None in stored
        else st.expander("All figures", key="figures", bind="query-params", on_change="rerun")
    ):
        evaluate.comparison(every, stored)


# --- pictures along training ---

URL = ("t", "view", "gain", "ref", "size", "all", "pin")  # what the scrubber tells of its view


@st.fragment
@say.told
def pictures(chosen: Sequence[Column]) -> None:
    """A kind of picture, and the scrubber that shows it along training."""
    told_unknown("Pictures", "show", PICTURES.values(), next(iter(PICTURES.values())))
    kind = segments("Pictures", PICTURES, "show", hidden=True)
    st.caption(f"{ABOUT[kind]} {_locked(kind, chosen)}".strip())
    shown, films = [], []
    for column in chosen:
        steps = tuple(column.pair.snapshots())
        if not steps and not portraits.ready(column.letter, column.pair):
            continue
        film = _film(kind, str(column.pair.folder), steps, column.pair.stamp())
        if film:
            shown.append(column)
            films.append(film)
        else:
            st.info(
                f"{column.letter} has no {PICTURES[kind].lower()} in its snapshots: choose other pictures or pairs."
            )
    if not shown:
        return
    data = boards.pack(kind, PICTURES[kind], films, _about(shown))
    result = scrubber(key="scrubber", data=data, on_view_change=lambda: None)
    view = result.get("view") or {}
    address.say(address.COMPARE, {k: str(view[k])[:20] if k in view else st.query_params.get(k, "") for k in URL})


def _locked(kind: str, chosen: Sequence[Column]) -> str:
    """How long chains are, and what is not the same in all columns."""
    text = ""
    if kind == "limiting":
        lengths = {
            c.letter: f"{c.pair.config().train.snapshot_chain if c.pair.snapshots() else portrait.CHAIN:,}"
            for c in chosen
        }
        text = f"Length of the chain: {_each(lengths)} round trips."
    seeds = {c.letter: str(c.pair.config().seed) for c in chosen}
    if len(set(seeds.values())) > 1:
        text += f" The seeds differ ({_each(seeds)}), so images and random numbers are not the same in all columns."
    return text


def _each(values: dict[str, str]) -> str:
    """The value that all have, or that of each."""
    one = set(values.values())
    return one.pop() if len(one) == 1 else ", ".join(f"{letter}: {value}" for letter, value in values.items())


@st.cache_resource(max_entries=16, show_spinner=False)
def _film(kind: str, folder: str, steps: tuple[int, ...], stamp: Stamp) -> boards.Film | None:
    pair = Pair("", Path(folder))
    shape = pair.config().model.x_shape
    if shape is None:
        return None
    if not steps:
        return boards.still(kind, portrait.entry(pair.folder).folder, shape)
    return boards.film(kind, pair.snapshots(), shape)


def _about(chosen: Sequence[Column]) -> list[dict[str, str]]:
    """Letter, name and colour of each column."""
    return [{"letter": c.letter, "name": c.learner, "colour": c.colour} for c in chosen]
