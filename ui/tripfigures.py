"""What many chains of A and B show: the sentence, the curves, the matrices, the limiting distribution."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from symeq_core import curves, measured, tripstore, verdict
from symeq_core.errors import SymeqError
from symeq_core.gallery import Pair

from . import address, pairs, pictures, say, starts, theme, words, zooms
from .choice import SWITCH, segments, told_unknown

CHAINS_DIFFER = 100  # round trips after which matrices are looked at first: after one, all are near the diagonal
STARTS = {"prior": "prior", "noise": "noise"}  # all else starts from test images
FROM = {"test": "test images", "prior": "random codes", "noise": "noise"}
Found = dict[str, dict[str, Any]]  # statistics by letter


def start_of(kind: str) -> str:
    """Which statistics belong to a start of the film."""
    return STARTS.get(kind, "test")


def found(both: Sequence[Pair], start: str) -> Found:
    """The statistics that are known, by letter; what is damaged is told."""
    known: Found = {}
    for letter, pair in zip(pairs.LETTERS, both, strict=False):
        try:
            s = tripstore.found(pair, start)
        except SymeqError as e:
            say.error(f"{letter}: {e}")
            continue
        if s is not None:
            known[letter] = s
    return known


def sentence(both: Sequence[Pair], known: Found, kind: str) -> None:
    """The sum of it, from the numbers; of pairs of different data, that they can't be compared. kind: of the start."""
    try:
        data = [words.DATA[p.config().data.name] for p in both]
    except SymeqError:
        data = []  # told where its film would be
    if len({p.key for p in both}) == 1:
        st.info("A and B are the same pair: choose another one for B to compare their chains.")
        return
    if len(set(data)) > 1:
        st.warning(
            f"A knows {data[0]}, B {data[1]}: each chain starts from images of its own data, and their figures are "
            "measured in different features. Choose pairs of the same data to compare them.",
            icon=":material/warning:",
        )
        return
    found = verdict.summary(known.get("A"), known.get("B"))
    first, bracket, rest = found.distance.partition(" (")
    if first and kind in ("image", "draw"):  # the numbers are of others
        first = f"Over {next(iter(known.values()))['n']:,} test images: {first[0].lower()}{first[1:]}"
    if first:
        st.markdown(f"**{first}**  \n:small[{bracket.strip()}{rest} {found.classes}]", help=WANTED)
    elif found.classes:
        st.markdown(found.classes, help=WANTED)


AFTER = (
    "Chains are sampled. After k round trips, what is looked at is the code z_k of the k-th image and the mean image "
    "E[x|z_k] it is decoded to; after 0, these are the code of the start and its reconstruction."
)
WANTED = (
    "Wanted: images that stay as close to real ones as real images are to each other, and a class that is kept over a "
    "few round trips. Over many, a consistent chain may visit every class: forgetting is no fault then, leaving the "
    "data is. At a step searched for among all, a difference is told from three standard errors on, elsewhere from two."
)


@st.fragment
@say.told
def show(both: Sequence[Pair], start: str, known: Found) -> None:
    """Curves and matrices of what is known, and the way to what isn't."""
    st.markdown(f"#### What becomes of {FROM[start]}, over many chains", help=AFTER)
    missing = [(k, p) for k, p in zip(pairs.LETTERS, both, strict=False) if k not in known]
    if missing:
        _measure(missing, start)
    if not known:
        address.say(address.TRIP, {zooms.KEY: ""})
        return
    from .tripcharts import curve  # with altair it would delay the pictures

    style = dict(zip(pairs.LETTERS, pairs.colours(both), strict=False))
    _legend(both, known, style)
    data = {p.config().data.name for k, p in zip(pairs.LETTERS, both, strict=False) if k in known}
    shown = " ".join([start, *sorted(data)])  # other pairs keep the zoom
    drawn = zooms.charts(address.TRIP, shown, [what.group for what in (*curves.CURVES, *curves.MORE)])
    above = st.container()
    for row in (curves.CURVES[:3], curves.CURVES[3:]):
        for column, what in zip(st.columns(3, gap="medium"), row, strict=True):
            with column:
                curve(what, known, style, drawn[what.group])
    told_unknown("Two more curves", "more", SWITCH, "closed")
    more = st.expander("Two more curves", key="more", bind="query-params", on_change="rerun")
    if more.open:
        for column, what in zip(more.columns(2, gap="medium"), curves.MORE, strict=True):
            with column:
                curve(what, known, style, drawn[what.group])
    with above:
        zooms.note(address.TRIP, drawn)
    _matrices(both, known, style)


def _legend(both: Sequence[Pair], known: Found, style: dict[str, str]) -> None:
    badges = []
    for letter, pair in zip(pairs.LETTERS, both, strict=False):
        if letter in known:
            s = known[letter]
            text = f"{letter} {words.LEARNERS[pair.config().learner.name]}: {s['n']:,} chains, seed {s['seed']}"
            badges.append(theme.badge(text, style[letter]))
    st.html(theme.row(badges))


def _measure(missing: Sequence[tuple[str, Pair]], start: str) -> None:
    """A button that starts the measuring, and its progress while it goes on."""
    entries = []
    for letter, pair in missing:
        try:
            entries.append((letter, pair, tripstore.entry(pair.folder, start)))
        except SymeqError as e:
            say.error(f"{letter}: {e}")
    running = [e for e in entries if e[2].is_running()]
    if running:
        st.fragment(_progress, run_every=1.0)(running)
    for letter, _, entry in entries:
        if entry not in [e for *_, e in running] and (why := entry.failure()):
            say.error(f"{letter} could not be measured: {why}")
    idle = [e for e in entries if e not in running]
    if idle:
        which = " and ".join(letter for letter, *_ in idle)
        if st.button(f"Measure {which}", icon=":material/query_stats:", key="measure", help=MEASURE):
            for _, pair, entry in idle:
                entry.launch(["chain", str(pair.folder.resolve()), "--start", start])
            st.rerun()


MEASURE = (
    "Up to 1,000 chains of 1,000 round trips for each pair, in a process of its own: seconds for digits, about a "
    "minute for MNIST. The result is kept."
)


def _progress(running: Sequence[tuple[str, Pair, Any]]) -> None:
    for letter, _, entry in running:
        what, done = entry.progress()
        st.progress(done, f"{letter}: {what} …")
    if not all(entry.is_running() for *_, entry in running):
        st.rerun()


def _matrices(both: Sequence[Pair], known: Found, style: dict[str, str]) -> None:
    from .starts import class_names
    from .tripcharts import matrix

    steps = curves.steps(known)
    if not steps:
        why = next((s["transitions"].get("reason") for s in known.values()), None)
        if why:
            st.caption(f"Which class becomes which is not known: {say.plain(why)}.")
        return
    st.markdown(
        "**Which class becomes which**",
        help="Each row: chains that began in this class. Each column: the class they are in after k round trips, in "
        "percent of the row (5% and more are written). A chain that stays is on the diagonal.",
    )
    called = {str(n): f"k = {n:,}" for n in steps}
    first = next((k for k in called if int(k) >= CHAINS_DIFFER), next(iter(called)))
    told_unknown("Round trips k", "mk", called.values(), called[first])
    k = int(segments("Round trips k", called, "mk", hidden=True, default=first))
    for column, (letter, pair) in zip(st.columns(2, gap="medium"), zip(pairs.LETTERS, both, strict=False), strict=True):
        with column:
            if letter in known:
                st.html(
                    theme.row([theme.badge(f"{letter} {words.LEARNERS[pair.config().learner.name]}", style[letter])])
                )
                matrix(known[letter], k, style[letter], class_names(pair), f"matrix {letter}")


def limiting(both: Sequence[Pair]) -> None:
    """Data, random codes and the limiting distribution side by side."""
    st.markdown(
        "#### Where it ends",
        help="Limiting images: 1,000 round trips from pixel noise, then the mean of x. Were encoder and decoder "
        "conditionals of one joint distribution, limiting images, random codes and data would look alike.",
    )
    st.caption(OTHER)
    colours = pairs.colours(both)
    columns = st.columns(5, gap="small")
    with columns[0]:
        st.caption("Real test images")
        try:
            st.image(_data(both[0], both[0].config().data, both[0].stamp()[-1]), width="stretch", alt="Test images")
        except SymeqError as e:
            st.caption(say.quoted(e))
    sides = zip(pairs.LETTERS, both, colours, (columns[1:3], columns[3:5]), strict=False)
    for letter, pair, colour, place in sides:
        try:
            there = tripstore.pictures(pair)
        except SymeqError:
            continue
        titles = ("random codes", "limiting images")
        for column, name, title in zip(place, tripstore.PICTURES, titles, strict=True):
            with column:
                st.html(theme.badge(f"{letter} {title}", colour))
                if name in there:
                    pictures.stored(there[name], width="stretch", alt=f"{title} of {letter}")
                    _quality(pair, title)
                else:
                    st.caption("Not there yet: measure the chains above.")


OTHER = (
    "The chains of limiting images begin in noise; those summed up above begin where the film does, and are fewer. "
    "Fewer images give larger distances, and chains that mix slowly end elsewhere from another start, so the two can "
    "differ in who is closer."
)
KINDS = {"random codes": "Frechet distance, random code", "limiting images": "Frechet distance, limiting"}


def _quality(pair: Pair, title: str) -> None:
    """The distance from real images that an evaluation found of such images, with its n: another one than in the curve
    above, whose chains start elsewhere and are fewer."""
    try:
        figures = (measured.found(pair) or {}).get("figures", {}).get("quality", {})
    except SymeqError:
        return  # told where its figures would be
    f = figures.get(KINDS[title])
    if f:
        st.caption(f"Fréchet distance {measured.shown(f)} (n = {f['n']:,})", help=say.plain(f.get("meaning", "")))


@st.cache_data(max_entries=8, show_spinner=False)
def _data(_pair: Pair, config: Any, images: str) -> bytes:
    from symeq_core.figures import grid
    from symeq_core.sheets import png

    return png(grid(starts.images(_pair)[0][: tripstore.IMAGES], 8))
