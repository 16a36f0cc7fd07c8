"""Learning curves of pairs on one axis: figures of the probe set, and each player's utility term by term."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import streamlit as st

from symeq_core import compare, terms
from symeq_core.gallery import Pair

from . import say, words
from .choice import segments, told_unknown
from .compare import Column, events
from .latent_url import floats

if TYPE_CHECKING:
    from .charts import Zoom

KEPT = 20  # sets of charts whose zoom is remembered
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
        return
    panels = [p for p in panels if (table["series"] == p[0]).any()]
    shown = " ".join([what, x, *(c.pair.key for c in chosen)])
    zooms = _zooms(shown)
    across = 3 if len(panels) == 3 else 2
    for first in range(0, len(panels), across):  # line by line, so that the charts of a line stand level
        row = st.columns(across, vertical_alignment="bottom")
        for column, (name, title, help_text) in zip(row, panels[first : first + across], strict=False):
            with column:
                st.markdown(title, help=help_text)
                part = table[table["series"] == name].drop(columns="series")
                start = zooms.start.get(name)
                zooms.tell(name, charts.compared(part, f"{shown} {name}", x, "nats per image", styles, start))
    _say(zooms)
    st.caption(
        "The vertical axes open on the range after the first twentieth of training. Scroll on a curve to zoom, drag to "
        "move, double click to come back."
    )


@dataclass
class Zooms:
    """How far the charts are zoomed that are shown, by name."""

    start: "dict[str, Zoom | None]"  # what they began with, which may not change while they are shown
    now: "dict[str, Zoom | None]"
    told: set[str] = field(default_factory=set)  # those that were zoomed since; what they began with is no event

    def tell(self, name: str, zoom: "Zoom | None") -> None:
        """What a chart says: nothing while nobody touched it, or when it has been reset."""
        if zoom:
            self.told.add(name)
        if name in self.told:
            self.now[name] = zoom


def _zooms(shown: str) -> Zooms:
    """Those of the charts that are shown; the zooms of the last KEPT others are remembered."""
    linked = {} if "zooms" in st.session_state else _linked()
    kept: dict[str, Zooms] = st.session_state.setdefault("zooms", {})
    if next(reversed(kept), None) != shown:
        before = kept.pop(shown).now if shown in kept else linked
        kept[shown] = Zooms(dict(before), dict(before))
        for old in list(kept)[: -KEPT - 1]:
            del kept[old]
    return kept[shown]


def _say(zooms: Zooms) -> None:
    """Put them into the URL: name,x,x,y,y of each chart that is zoomed."""
    parts = [
        ",".join([name, *(f"{end:.6g}" for end in (*zoom["x"], *zoom["y"]))])
        for name, zoom in zooms.now.items()
        if zoom
    ]
    if parts:
        st.query_params["zoom"] = ";".join(parts)
    else:
        st.query_params.pop("zoom", None)


def _linked() -> "dict[str, Zoom | None]":
    """What `_say` wrote into the URL; what it can't have written is told."""
    found: dict[str, Zoom | None] = {}
    written = st.query_params.get("zoom", "")
    for part in written[:2000].split(";"):
        name, _, rest = part.partition(",")
        ends = floats(rest)
        if len(ends) == 4 and ends[0] != ends[1] and ends[2] != ends[3]:
            found[name] = {"x": ends[:2], "y": ends[2:]}
    if written and not found:
        st.warning(say.quoted(f"Zoom: the link asks for {written[:40]!r}, which is none; shown instead: all."))
    return found


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
