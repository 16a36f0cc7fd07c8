"""Round trips: where they start, and the films of both pairs."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from symeq_core.errors import SymeqError
from symeq_core.gallery import Pair, Stamp

from . import address, film, pad, pairs, picker, say, starts, words
from .choice import segments, told_number, told_unknown

KINDS = {
    "each": "Every class",
    "image": "One image",
    "draw": "Drawing",
    "prior": "Random codes",
    "noise": "Noise",
}
HELP = (
    "Every class: a chain from a test image of each. One image, or a drawing of your own: ten chains from the same "
    "start that differ in their random numbers only. Random codes: from the prior, decoded, each pair by its own "
    "decoder. Noise: each pixel on or off with probability 1/2, as the paper's authors begin."
)
FIRST = "mnist-reverse-symmetric"  # whose chains differ from the ELBO's at first sight; no data are needed for it
MANY = 10**6  # images, where their number isn't known
SEED_HELP = (
    "Of everything that is drawn. A and B share their random numbers: at every step each unit of A is drawn by the "
    "same uniform number as the unit of B in the same place, so what differs between them is the pairs."
)


@dataclass(frozen=True)
class Start:
    """Where the chains start: one of KINDS, the place of the image, the seed, the drawing as text."""

    kind: str
    index: int
    seed: int
    code: str = ""


def choose(both: Sequence[Pair]) -> Start:
    """The start, chosen in a row of controls and kept in the address."""
    with st.container():
        told_unknown("Start from", "start", KINDS.values(), KINDS["each"])
        told_number("Seed", "seed", 0, 2**31, "0")
        told_number("Set", "set", 0, 999, "0")
        asked = st.query_params.get("start") == KINDS["image"]
        told_number("Image", "image", 0, (_count(both[0]) if asked else MANY) - 1, "0")
        told_number("Round trips k", "k", 0, 1000, "the film from its beginning")
        told_unknown("Shown", "frames", film.SHOWN, film.SHOWN[0])
        told_unknown("Speed", "speed", film.SPEEDS, film.SPEEDS[0])
    left, middle, right = st.columns([6, 1, 1], vertical_alignment="bottom")
    with left:
        kind = segments("Start from", KINDS, "start", help=HELP)
    below = st.container() if kind in ("image", "draw") else st.empty()  # which clears what was there at once
    seed = right.number_input("Seed", 0, 2**31, 0, key="seed", bind="query-params", help=SEED_HELP)
    index, code = 0, ""
    if kind == "each":
        index = middle.number_input("Set", 0, 999, 0, key="set", bind="query-params", help="Which image of each class.")
    elif kind == "image":
        images = _count(both[0])  # only here, as other starts may need no data at all
        index = middle.number_input(
            "Image", 0, images - 1, 0, key="image", bind="query-params", help=f"Its place among {images:,} test images."
        )
        with below:
            _pick(both[0], index)
    elif kind == "draw":
        code = st.query_params.get("ink", "")
        address.say(address.TRIP, {"ink": code})
        with below:
            code = _draw(both, code)
    with st.container():
        if kind in ("each", "image"):
            _offer(both)
    return Start(kind, int(index), int(seed), code)


def _offer(both: Sequence[Pair]) -> None:
    try:
        starts.offer(both)
    except SymeqError as e:  # a damaged pair, or a download that failed
        say.error(e)


def _count(pair: Pair) -> int:
    """How many test images there are; any number where that can't be known, which is told where the film is."""
    try:
        return len(starts.images(pair)[0])
    except SymeqError:
        return MANY


def _pick(pair: Pair, index: int) -> None:
    """Thumbnails of A's test images, of one class where there are classes."""
    from symeq_core.filmstrip import as_bytes, sprite

    try:
        x, classes, names = starts.images(pair)
    except SymeqError:
        return  # told where the film is
    wanted = None
    if classes is not None:
        last = int(classes.max()) + 1
        every = ["all", *(names[:last] or map(str, range(last)))]
        told_unknown("Class", "class", every, "all")
        shown = st.pills(
            "Class",
            every,
            default="all",
            required=True,
            key="class",
            bind="query-params",
            on_change=_first_of,
            args=(classes.tolist(), every),
        )
        wanted = None if shown == "all" else every.index(shown) - 1
    places = range(len(x)) if wanted is None else (classes == wanted).nonzero()[:, 0].tolist()
    places = list(places)[: picker.SHOWN]
    picker.show(sprite([as_bytes(x[places])]), x.shape[-1], places, index % len(x))


def _first_of(classes: list[int], every: list[str]) -> None:
    """Begin with the first image of the class that was chosen, unless the present one is of it."""
    wanted = every.index(st.session_state["class"]) - 1
    if wanted >= 0 and classes[int(st.session_state["image"]) % len(classes)] != wanted and wanted in classes:
        st.session_state["image"] = classes.index(wanted)


def _draw(both: Sequence[Pair], code: str) -> str:
    """The pad; returns the drawing, or nothing where what the address holds is none."""
    seen: list[tuple[bytes, int, str]] = []
    try:
        if code:
            seen = _seen(both, code)
    except SymeqError as e:
        say.error(e)
        code = ""
    pad.show(code, seen)
    return code


def _seen(both: Sequence[Pair], code: str) -> list[tuple[bytes, int, str]]:
    from symeq_core.filmstrip import as_bytes, sprite

    configs = dict.fromkeys(pair.config().data for pair in both)
    found = []
    for data in configs:
        pair = next(p for p in both if p.config().data == data)
        x = drawn(pair, code)
        text = f"As the model sees it: {x.shape[-2]} × {x.shape[-1]} pixels"
        text += ", black or white" if data.binarize else ""
        found.append((sprite([as_bytes(x)]), x.shape[-1], text + _read_as(pair, x)))
    return found


def _read_as(pair: Pair, x: Any) -> str:
    """What the classifier takes it for, which chains are counted by."""
    known = starts.classifier(pair)
    if known is None:
        return ""
    sure, best = known(x)[0].max(0)
    names = starts.class_names(pair)
    return f". Read as {names[int(best)] if names else int(best)} ({float(sure):.0%})"


def drawn(pair: Pair, code: str) -> Any:
    """The drawing as this pair sees images, [1, C, H, W]."""
    import torch

    from symeq_core import strokes
    from symeq_core.sources import clean

    config = pair.config()
    channels, height, width = pairs.loaded(pair)[0]["x"].event
    grey = torch.from_numpy(strokes.image(strokes.decode(code), config.data.name, height, width).copy())
    return clean(grey.expand(1, channels, height, width), config.data)


def films(both: Sequence[Pair], start: Start, known: dict[str, Any]) -> None:
    """The films of A and B, with the distances in `known`; a pair that can't be shown is told in one sentence."""
    if start.kind == "draw" and not start.code:
        address.say(address.TRIP, {"k": ""})  # what is drawn plays from its beginning
        return
    reels: list[film.Reel] = []
    shown: list[Pair] = []
    names: list[dict[str, Any]] = []
    colours = dict(zip(pairs.LETTERS, pairs.colours(both), strict=False))
    distance = start.kind not in ("image", "draw")  # what is known is of chains from all test images
    for letter, pair in zip(pairs.LETTERS, both, strict=False):
        try:
            source = starts.source(pair, both)
            reels.append(_reel(pair, pair.stamp(), source, source.stamp(), start))
            shown.append(pair)
            title, far = words.LEARNERS[pair.config().learner.name], _frechet(known, letter) if distance else None
            names.append({"name": letter, "title": title, "colour": colours[letter], "frechet": far})
        except SymeqError as e:
            say.error(f"{letter}: {e}")
    if reels:
        film.show(reels, names, _identity(start, shown), anew=start.kind == "draw")


def _frechet(known: dict[str, Any], letter: str) -> dict[str, Any] | None:
    """What the film says of the distance from the data at its step."""
    s = known.get(letter)
    if s is None or not s["frechet"]["value"]:
        return None
    meaning = (
        f"Fréchet distance of {s['n']:,} such chains: {s['frechet']['meaning']}, {s['frechet']['floor']:.2f} (the mark "
        "on the bar, whose end is the largest distance of both)."
    )
    from symeq_core.filmstrip import STEPS

    # statistics after k are of E[x|z_k]; the film shows that at k + 1, as E[x_k|z_k-1], unless it starts from codes;
    # its last step has the last of them
    ks = [min(k + (s["start"] != "prior"), STEPS) for k in s["ks"]]
    return {"ks": ks, "value": s["frechet"]["value"], "floor": s["frechet"]["floor"], "meaning": meaning, "n": s["n"]}


def _identity(start: Start, both: Sequence[Pair]) -> str:
    """A name of what is shown, without spaces."""
    text = repr((start, [p.stamp() for p in both]))
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


@st.cache_resource(max_entries=24, show_spinner="Starting the chains …")
def _reel(_pair: Pair, stamp: Stamp, _source: Pair, source: Stamp, start: Start) -> film.Reel:
    from symeq_core.filmstrip import Film, begin

    p, q = pairs.loaded(_pair)
    needs = start.kind in ("each", "image")
    x, classes, names = starts.images(_source) if needs else (None, None, starts.class_names(_pair))
    image = drawn(_pair, start.code) if start.kind == "draw" else None
    begun = begin(p, start.kind, x, classes, start.index, start.seed, image)
    return film.Reel(Film(p, q, begun, start.seed, starts.classifier(_pair)), names)
