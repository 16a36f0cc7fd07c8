"""Learning curves of pairs on one axis: figures of the probe set, and each player's utility term by term."""

from collections.abc import Sequence

import streamlit as st

from symeq_core import compare, terms
from symeq_core.gallery import Pair

from . import address, say, words, zooms
from .choice import segments, told_unknown
from .compare import Column, events

CURVES = {"test": "Test set", "p": "Decoder p, term by term", "q": "Encoder q, term by term"}
AXES = {"step": "by iteration", "seconds": "by time"}


@st.fragment
@say.told
def curves(chosen: Sequence[Column]) -> None:
    """Learning curves of all on one axis."""
    from . import charts  # with altair it would delay the pictures

    told_unknown("Curves", "curves", CURVES.values(), CURVES["test"])
    told_unknown("Axis", "axis", AXES.values(), AXES["step"])
    with st.container(horizontal=True, vertical_alignment="center"):
        what = segments("Curves", CURVES, "curves", hidden=True)
        x = segments("Axis", AXES, "axis", hidden=True)
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
        address.say(address.COMPARE, {zooms.KEY: ""})
        return
    panels = [p for p in panels if (table["series"] == p[0]).any()]
    shown = " ".join([what, x, *sorted({c.pair.config().data.name for c in chosen})])  # other pairs keep the zoom
    drawn = zooms.charts(address.COMPARE, shown, [name for name, *_ in panels])
    above = st.container()
    across = 3 if len(panels) == 3 else 2
    for first in range(0, len(panels), across):  # line by line, so that the charts of a line stand level
        row = st.columns(across, vertical_alignment="bottom")
        for column, (name, title, help_text) in zip(row, panels[first : first + across], strict=False):
            with column:
                st.markdown(title, help=help_text)
                part = table[table["series"] == name].drop(columns="series")
                chart = drawn[name]
                chart.moved(charts.compared(part, chart.key, x, "nats per image", styles, chart.start))
    with above:
        zooms.note(address.COMPARE, drawn, "The vertical axes open on the range after the first twentieth of training.")


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
        alike = {f: ", ".join(a for a, own in shown.items() if own == f) for f in dict.fromkeys(shown.values())}
        lines = list(alike) if len(alike) == 1 else [f"{letters}: {f}" for f, letters in alike.items()]
        sizes = sorted({terms.units(c.pair.config().model, name) for c in chosen}) if name != "sum" else []
        many = f"Summed over {' or '.join(f'{k:,}' for k in sizes)} units." if sizes else "The sum of its terms."
        panels.append((name, "  \n".join([f"**{title}**", *lines]), many))
    return panels


def _formula(pair: Pair, player: str, name: str) -> str:
    found = terms.formulas(pair.config(), player)
    if name.startswith("labelled/"):
        return f"labelled: {found[name.partition('/')[2]]}" if name.partition("/")[2] in found else ""
    return found.get(name, "")
