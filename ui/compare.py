"""Pairs beside one another: how they differ, their figures, their pictures along training, their curves."""

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import streamlit as st

from symeq_core import boards, compare, terms
from symeq_core.errors import SymeqError
from symeq_core.gallery import Pair

from . import evaluate, pairs, words

HERE = Path(__file__).parent
PICTURES = {
    "reconstructions": "Reconstructions",
    "codes": "Random codes",
    "limiting": "Limiting samples",
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
SPARE = ("#7b52c7", "#2e9e5b", "#c25b2f")  # poles of a difference where a learner's colour is taken
scrubber = st.components.v2.component(
    "symeq_scrubber",
    html=(HERE / "scrub.html").read_text(encoding="utf-8"),
    css=(HERE / "scrub.css").read_text(encoding="utf-8"),
    js=(HERE / "scrub.js").read_text(encoding="utf-8"),
)


# --- which pairs ---


class Column(NamedTuple):
    """A pair and the letter of its column."""

    letter: str
    pair: Pair

    @property
    def colour(self) -> str:
        """That of its learner."""
        return pairs.colour(self.pair)

    @property
    def learner(self) -> str:
        """What its learner is called."""
        return words.LEARNERS[self.pair.config().learner.name]


def choose(root: Path) -> list[Column]:
    """Two to four pairs, as many as the URL names, and the buttons that change how many; damaged ones are told."""
    count = 2 + next((k for k, letter in enumerate("cd") if letter not in st.query_params), 2)
    head = st.container(horizontal=True, vertical_alignment="center")
    chosen = pairs.choose(root, count)
    head.markdown("### Compare")
    if count > 2:
        letter = pairs.LETTERS[count - 1]
        head.button(f"Remove {letter}", icon=":material/remove:", key="remove", type="tertiary", on_click=_remove)
    if count < 4:
        label = f"Add a {('third', 'fourth')[count - 2]} pair"
        head.button(label, icon=":material/add:", key="add", type="tertiary", on_click=_add, args=(root, chosen))
    found = []
    for column in map(Column, pairs.LETTERS, chosen):
        try:
            column.pair.config()
            found.append(column)
        except SymeqError as e:
            st.error(f"{column.letter}: {e}")
    return found


def _add(root: Path, chosen: list[Pair]) -> None:
    st.query_params["cd"[len(chosen) - 2]] = pairs.another(root, chosen).key


def _remove() -> None:
    for letter in "dc":
        if letter in st.query_params:
            del st.query_params[letter]
            return


# --- what is said about them ---


@st.cache_data(max_entries=32, show_spinner=False)
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
    first = chosen[0]
    for other in chosen[1:]:
        one, two = _trained(first.pair), _trained(other.pair)
        known = (one, two) if one is not None and two is not None else None
        found = compare.contrast(first.pair.config(), other.pair.config(), first.letter + other.letter, known)
        if found.confounded:
            st.warning(found.text, icon=":material/warning:")
        else:
            st.markdown(found.text)


def _trained(pair: Pair) -> int | None:
    return next((e["step"] for e in reversed(events(pair)) if "step" in e), None)


def figures(chosen: Sequence[Column]) -> None:
    """The figures of all, with their errors, and which is better: those of evaluations or, until there are any for
    all, those of the last probes.
    """
    if evaluate.comparison([(c.letter, c.pair) for c in chosen]):
        return
    found = compare.rows([None] * len(chosen), [events(c.pair) for c in chosen], [c.letter for c in chosen])
    if not found:
        return
    comparable = len({c.pair.config().data.name for c in chosen}) == 1
    cards = "".join(_card(r, chosen, comparable) for r in found)
    st.html(f'<div style="display:flex;gap:.7rem;flex-wrap:wrap">{cards}</div>')
    st.caption(_normalisation(found))


def _card(row: compare.Row, chosen: Sequence[Column], comparable: bool) -> str:
    lines = []
    for k, (column, cell) in enumerate(zip(chosen, row.cells, strict=True)):
        if cell is None or cell.get("value") is None:
            text, why = "–", (cell or {}).get("reason", "not measured")
        else:
            error = "" if cell.get("stderr") is None else f' <span style="opacity:.65">± {cell["stderr"]:.2g}</span>'
            text, why = f"{cell['value']:,.2f}{error}", f"n = {cell.get('n', 0):,}"
        weight = 700 if row.best == k and comparable else 400
        lines.append(
            f'<div title="{html.escape(str(why))}" style="font-weight:{weight};white-space:nowrap">'
            f'<span style="color:{column.colour};font-weight:700">{column.letter}</span> {text}</div>'
        )
    cells = next((c for c in row.cells if c), {}) or {}
    meaning = html.escape(str(cells.get("meaning") or words.HELP.get(row.name, "")))
    verdict = html.escape(row.verdict) if comparable else "different images: not comparable"
    return (
        f'<div title="{meaning}" style="border:1px solid #8884;border-radius:.5rem;padding:.45rem .8rem;flex:1 1 200px;'
        f'font-variant-numeric:tabular-nums">'
        f'<div style="font-size:.85rem;opacity:.75">{html.escape(row.name)}, {html.escape(row.unit)}</div>'
        f'<div style="display:flex;gap:.1rem 1.1rem;flex-wrap:wrap">{"".join(lines)}</div>'
        f'<div style="font-size:.85rem;opacity:.85">{verdict}</div></div>'
    )


def _normalisation(found: Sequence[compare.Row]) -> str:
    counts = sorted({c["n"] for r in found for c in r.cells if c and c.get("n")})
    n = " to ".join(f"{k:,}" for k in dict.fromkeys((counts[0], counts[-1]))) if counts else "0"
    what = "last probe" if found[0].group == "last probe" else "evaluated"
    return f"n = {n} test images ({what}); ± one standard error. Better: by more than twice that of the difference."


# --- pictures along training ---


@st.fragment
def pictures(chosen: Sequence[Column]) -> None:
    """A kind of picture, and the scrubber that shows it along training."""
    kind = st.segmented_control(
        "Pictures",
        list(PICTURES),
        format_func=PICTURES.__getitem__,
        default="reconstructions",
        required=True,
        key="show",
        bind="query-params",
        label_visibility="collapsed",
        wrap=True,
    )
    st.caption(f"{ABOUT[kind]} {_locked(chosen)}".strip())
    shown, films = [], []
    for column in chosen:
        steps = tuple(column.pair.snapshots())
        film = _film(kind, str(column.pair.folder), steps, column.pair.stamp())
        if film:
            shown.append(column)
            films.append(film)
        else:
            st.info(f"{column.letter} {_why_not(kind, bool(steps))}")
    if not shown:
        return
    data = boards.pack(kind, PICTURES[kind], films, _about(shown))
    result = scrubber(key="scrubber", data=data, on_view_change=lambda: None)
    _to_url(result.get("view"))


def _locked(chosen: Sequence[Column]) -> str:
    """What is not the same in all columns."""
    seeds = {c.letter: c.pair.config().seed for c in chosen}
    if len(set(seeds.values())) == 1:
        return ""
    each = ", ".join(f"{letter}: {seed}" for letter, seed in seeds.items())
    return f"The seeds differ ({each}), so images and random numbers are not the same in all columns."


def _why_not(kind: str, has_snapshots: bool) -> str:
    if has_snapshots:
        return f"has no {PICTURES[kind].lower()} in its snapshots: choose other pictures, or another pair."
    return "has no snapshots of its training: there is nothing to scrub through. Choose another pair."


@st.cache_resource(max_entries=16, show_spinner=False)
def _film(kind: str, folder: str, steps: tuple[int, ...], stamp: tuple[str, int, int]) -> boards.Film | None:
    pair = Pair("", Path(folder))
    shape = pair.config().model.x_shape
    return boards.film(kind, pair.snapshots(), shape) if shape else None


def _about(chosen: Sequence[Column]) -> list[dict[str, str]]:
    """Letter, name and colours of each column."""
    found: list[dict[str, str]] = []
    spare = iter(SPARE)
    for c in chosen:
        pole = next(spare) if c.colour in {f["pole"] for f in found} else c.colour
        found.append({"letter": c.letter, "name": c.learner, "colour": c.colour, "pole": pole})
    return found


URL = {"t", "view", "gain", "ref", "size", "all", "pin"}


def _to_url(view: Any) -> None:
    """The scrubber's view, into the URL; what is as usual stays out of it."""
    if not isinstance(view, dict):
        return
    for key in URL & set(view):
        value = str(view[key])[:20]
        if value and st.query_params.get(key) != value:
            st.query_params[key] = value
        elif not value and key in st.query_params:
            del st.query_params[key]


# --- curves ---

CURVES = {"test": "Test set", "p": "Decoder p, term by term", "q": "Encoder q, term by term"}
AXES = {"step": "by iteration", "seconds": "by time"}


@st.fragment
def curves(chosen: Sequence[Column]) -> None:
    """Learning curves of all on one axis."""
    from . import charts  # with altair it would delay the pictures

    with st.container(horizontal=True, vertical_alignment="center"):
        what = _choice("Curves", CURVES, "curves")
        x = _choice("Axis", AXES, "axis")
    styles = charts.styles([(c.letter, c.colour, c.learner) for c in chosen])
    own, letters = [events(c.pair) for c in chosen], [c.letter for c in chosen]
    if what == "test":
        st.caption(f"Probe set: {words.HELP['probe']} Nats per image, the same images at every step.")
        table = compare.probe_curves(own, letters)
        panels = [(name, f"**{name}**", words.HELP[name]) for name in ("L_p", "L_q", "ELBO")]
    else:
        table = compare.term_curves(own, what, letters)
        panels = _term_panels(chosen, list(dict.fromkeys(table["series"])), what)
    if table.empty:
        st.info("These pairs have no curves: they hold no record of their training.")
        return
    panels = [p for p in panels if (table["series"] == p[0]).any()]
    columns = st.columns(3 if len(panels) == 3 else 2, vertical_alignment="bottom")
    for k, (name, title, help_text) in enumerate(panels):
        with columns[k % len(columns)]:
            st.markdown(title, help=help_text)
            part = table[table["series"] == name].drop(columns="series")
            charts.compared(part, f"{what} {name} {x}", x, "nats per image", styles)
    st.caption(
        "The vertical axes open on the range after the first twentieth of training. Scroll on a curve to zoom, drag to "
        "move, double click to come back."
    )


def _choice(label: str, options: dict[str, str], key: str) -> str:
    return st.segmented_control(
        label,
        list(options),
        format_func=options.__getitem__,
        default=next(iter(options)),
        required=True,
        key=key,
        bind="query-params",
        label_visibility="collapsed",
        wrap=True,
    )


def _term_panels(chosen: Sequence[Column], names: Sequence[str], player: str) -> list[tuple[str, str, str]]:
    """(series, title with its formula, what it is a sum over) for each chart."""
    batches = " or ".join(dict.fromkeys(f"{c.pair.config().train.batch:,}" for c in chosen))
    unit = "training images" if player == "p" else "dreams (the ELBO: training images)"
    st.caption(
        f"What {'the decoder' if player == 'p' else 'the encoder'} ascends in training, and each term that adds up to "
        f"it, signs included: nats, summed over the units of a variable, averaged over the {batches} {unit} of a batch "
        "and over the iterations since the last point. Higher is better for the player."
    )
    panels = []
    for name in names:
        title = "the whole utility" if name == "sum" else name
        said = {c.letter: _formula(c.pair, player, name) for c in chosen}
        shown = {a: f for a, f in said.items() if f}
        one = len(set(shown.values())) == 1
        lines = [next(iter(shown.values()))] if one else [f"{a}: {f}" for a, f in shown.items()]
        sizes = sorted({terms.units(c.pair.config().model, name) for c in chosen}) if name != "sum" else []
        many = f"Summed over {' or '.join(f'{k:,}' for k in sizes)} units." if sizes else "The sum of its terms."
        panels.append((name, "  \n".join([f"**{title}**", *lines]), many))
    return panels


def _formula(pair: Pair, player: str, name: str) -> str:
    found = terms.formulas(pair.config(), player)
    if name.startswith("labelled/"):
        return f"labelled: {found[name.partition('/')[2]]}" if name.partition("/")[2] in found else ""
    return found.get(name, "")
