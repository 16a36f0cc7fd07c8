"""Figures of pairs side by side, and the button that measures them in a process of its own."""

from collections.abc import Sequence
from contextlib import suppress
from html import escape

import streamlit as st

from symeq_core import compare, measured
from symeq_core.errors import SymeqError
from symeq_core.gallery import Pair

from . import pairs, say, tables

SECONDS = 1.0  # between looks at an evaluation under way
GROUPS = {
    "quality": ("Sample quality", "How near decoded images are to real ones, in the features of a classifier."),
    "inception": ("Inception FID", "In Inception's features, to be compared with published numbers."),
    "likelihood": ("Likelihood", "How much probability the decoder gives to test images."),
    "consistency": ("Consistency", "How near encoder and decoder are to being conditionals of one joint distribution."),
    "utilities": ("Utilities", "What the two players maximise, on test images."),
}


Named = tuple[str, Pair]  # with the letter of its column


def found(chosen: Sequence[Named]) -> list[dict | None]:
    """What was measured of the weights that each pair holds now; what can't be read is told in one sentence."""
    results: list[dict | None] = []
    for letter, pair in chosen:
        try:
            results.append(measured.found(pair))
        except SymeqError as e:
            say.error(f"{letter}: {e}")
            results.append(None)
    return results


def comparison(chosen: Sequence[Named], found: Sequence[dict | None]) -> None:
    """The figures that were `found`, side by side, and which is better; where any is missing, what measures it."""
    both = list(zip(chosen, found, strict=True))
    missing = [named for named, result in both if result is None]
    if missing:
        _measure(missing)
    else:
        _table([(letter, pair, result) for (letter, pair), result in both if result is not None])


def _table(known: Sequence[tuple[str, Pair, dict]]) -> None:
    letters = [letter for letter, _, _ in known]
    comparable = len({pair.config().data.name for _, pair, _ in known}) == 1
    heads = "".join(
        f'<th title="{escape(pairs.title(pair))}" style="color:{colour}">{letter}</th>'
        for (letter, pair, _), colour in zip(known, pairs.colours([pair for _, pair, _ in known]), strict=True)
    )
    head = f"<tr><th>figure</th>{heads}<th style='text-align:left'>unit</th><th></th></tr>"
    found = compare.rows(
        [r for _, _, r in known], [[] for _ in known], letters, [pair.config() for _, pair, _ in known]
    )
    rows, group = [head], None
    for row in found:
        if row.group != group:
            group = row.group
            name, what = GROUPS.get(group, (group, ""))
            rows.append(
                f'<tr class="group"><td colspan="{len(known) + 3}" title="{escape(what)}">{escape(name)}</td></tr>'
            )
        rows.append(_row(row, comparable and "floor" not in row.name))
    st.html(tables.table(rows))
    st.caption(_facts(known, comparable))


def _row(row: compare.Row, judged: bool) -> str:
    cells = "".join(
        f'<td class="n{" best" if judged and row.best == i else ""}" title="{escape(measured.explained(f))}">'
        f"{measured.shown(f)}</td>"
        for i, f in enumerate(row.cells)
    )
    known = next((f for f in row.cells if f), {})
    better = {"lower": "↓", "higher": "↑"}.get(str(known.get("better")), "")
    side = {"↓": "lower is better", "↑": "higher is better"}.get(better, "neither side is better by itself")
    name, meaning = (escape(measured.label(text)) for text in (row.name, str(known.get("meaning") or "")))
    return (
        f'<tr><td title="{meaning}">{name} <span title="{side}" style="opacity:.6">{better}</span></td>{cells}'
        f'<td class="text" style="opacity:.7">{escape(row.unit)}</td>'
        f'<td class="text" style="opacity:.8">{escape(row.verdict) if judged else ""}</td></tr>'
    )


def _facts(known: Sequence[tuple[str, Pair, dict]], comparable: bool) -> str:
    parts = []
    for letter, _, r in known:
        steps = f"trained for {r['steps']:,} iterations" if r.get("steps") is not None else "trained elsewhere"
        speed = r.get("speed", {}).get("chain images per second")
        fast = f", its chain at {speed:,} images a second" if speed else ""
        if r.get("trained on test images"):
            steps += ", on the test images, too"
        parts.append(f"{letter} {steps}, evaluated in {r.get('seconds', 0):,.0f} s{fast}")
    parts += [
        f"{letter} has no {say.plain(k)}: {say.plain(why)}"
        for letter, _, r in known
        for k, why in r.get("missing", {}).items()
    ]
    text = "; ".join(parts) + ". ± is one standard error of measuring; point at a figure to see what it means."
    if len(known) > 1:
        text += (
            " Bold: better by more than two standard errors of the difference, which is taken image by image where "
            "both tell what each image gives (likelihood, inconsistency on data), else as of independent figures."
            if comparable
            else " The images differ, so the figures can't be compared."
        )
    return text


def _measure(missing: Sequence[tuple[str, Pair]]) -> None:
    """A button where nothing is under way, else how far it is."""
    entries = []
    for letter, pair in missing:
        with suppress(SymeqError):  # told already: there is nothing in it to measure
            entries.append((letter, pair, measured.stored(pair.folder)))
    if not entries:
        return
    if any(entry.is_running() for _, _, entry in entries):
        _progress([(letter, entry) for letter, _, entry in entries])
        return
    for letter, _, entry in entries:
        why = entry.failure()
        if why:
            say.error(f"{letter} could not be evaluated: {why}")
    names = " and ".join(letter for letter, _, _ in entries)
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button(f"Evaluate {names}", icon=":material/straighten:", key="evaluate", help=_HELP):
            for _, pair, entry in entries:
                entry.launch(["evaluate", str(pair.folder.resolve())])
            st.rerun()
        st.caption(
            f"{names} {'have' if len(entries) > 1 else 'has'} not been evaluated yet: sample quality, likelihood and "
            "consistency, each with its uncertainty. About half a minute for digits, two to five minutes for MNIST, "
            "in a process of its own."
        )


_HELP = "Goes on when you leave the page; the result is kept and found again for these very weights."


@st.fragment(run_every=SECONDS)
def _progress(entries: Sequence[tuple[str, measured.Entry]]) -> None:
    if not any(entry.is_running() for _, entry in entries):
        st.rerun()
    for letter, entry in entries:
        if entry.is_running():
            what, done = entry.progress()
            st.progress(done, f"Evaluating {letter}: {what} …")
