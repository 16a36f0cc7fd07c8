"""Curves of chains against k, and matrices of classes, A and B together."""

import json
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

from symeq_core import curves
from symeq_core.curves import Curve

from . import say, zooms

HEIGHT = 190
TICKS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
MOST = 0.5  # fraction of a row from which on a matrix has its strongest colour
LETTERS = 2.4  # times the last step: room for the pairs' letters behind the curves
Y_AXIS = {"tickCount": 4, "minExtent": 30}  # room for the numbers when it is zoomed
Style = dict[str, str]  # colour by pair's letter


def curve(what: Curve, found: Mapping[str, Any], style: Style, chart: zooms.Chart) -> None:
    """One curve with its band, its dashed level and, in the title's tooltip, its meaning; or why there is none."""
    n = " and ".join(dict.fromkeys(f"{s['n']:,}" for s in found.values()))
    st.markdown(f"**{what.title}**", help=f"{curves.meaning(what, found)} (n = {n} chains; band: ± 2 standard errors)")
    reasons = curves.reasons(what, found)
    for why in dict.fromkeys(reasons.values()):
        whose = " and ".join(pair for pair, other in reasons.items() if other == why)
        st.caption(f"{whose}: not known, as {say.plain(why)}.")
    rows = curves.points(what, found)
    if rows:
        st.caption(what.unit + (f"; dashed: {what.line}" if what.line else ""))
        spec = _chart(what, rows, curves.levels(what, found), style, chart.start)
        event = st.vega_lite_chart(spec, key=chart.key, on_select="rerun", selection_mode="zoom")
        chart.moved(zooms.read(event, "k", "value"))


def _kept(draw: Callable[..., alt.LayerChart]) -> Callable[..., dict[str, Any]]:
    """The chart as a specification, made once: altair takes longer to check one than the browser to draw it."""

    @st.cache_data(max_entries=64, show_spinner=False)
    def kept(text: str, _args: tuple[Any, ...]) -> dict[str, Any]:
        with alt.data_transformers.enable("default", consolidate_datasets=False):
            return draw(*_args).to_dict()

    # as text, as Streamlit takes long to tell many rows apart; all functions kept here share one cache: hence the name
    return wraps(draw)(lambda *args: kept(json.dumps([draw.__name__, *args]), args))


@_kept
def _chart(
    what: Curve, rows: list[dict], levels: list[dict], style: Style, start: zooms.Zoom | None = None
) -> alt.LayerChart:
    ticks = [t for t in TICKS if t <= max(r["k"] for r in rows)]
    x = alt.X(
        "k:Q",
        title="round trips k",
        scale=alt.Scale(
            type="symlog", constant=1, domain=start["x"] if start else [0, LETTERS * ticks[-1]], nice=False
        ),
        axis=alt.Axis(values=[t for t in ticks if t in (0, 1, 10, 100, 1000)], format=",d", grid=False),
    )
    letters = sorted({r["pair"] for r in rows})
    colours = [style[k] for k in letters]
    same = len(set(colours)) < len(colours)
    colour = alt.Color("pair:N", scale=alt.Scale(domain=letters, range=colours), legend=None)
    base = alt.Chart(pd.DataFrame(rows)).encode(x=x, color=colour)
    scale = alt.Scale(domain=[0, 1]) if what.group == "retention" else alt.Scale(zero=True, padding=9)
    if start:
        scale = alt.Scale(domain=start["y"], nice=False, zero=False)
    y = alt.Y("value:Q", title=None, scale=scale, axis=alt.Axis(**Y_AXIS))
    tooltip = [
        alt.Tooltip("pair:N"),
        alt.Tooltip("k:Q", format=","),
        alt.Tooltip("value:Q", format=".3f"),
        alt.Tooltip("low:Q", format=".3f", title="- 2 s.e."),
        alt.Tooltip("high:Q", format=".3f", title="+ 2 s.e."),
        alt.Tooltip("n:Q", format=",", title="chains"),
    ]
    dash = alt.StrokeDash("pair:N", scale=alt.Scale(domain=letters, range=[[1, 0], [8, 3]]), legend=None)
    line = base.mark_line(strokeWidth=2.5, clip=True).encode(y=y, **({"strokeDash": dash} if same else {}))
    parts: list[Any] = [
        base.mark_area(opacity=0.18, clip=True).encode(y=alt.Y("low:Q", title=None), y2="high:Q"),
        line,
        base.mark_circle(size=45, opacity=1, clip=True)
        .encode(y=y, tooltip=tooltip)
        .add_params(alt.selection_interval(name="zoom", bind="scales")),
    ]
    end = [r for r in rows if r["k"] == max(r["k"] for r in rows)]
    for place, r in enumerate(sorted(end, key=lambda r: -r["value"])):  # the upper letter up, the lower one down
        last = base.transform_filter((alt.datum.k == r["k"]) & (alt.datum.pair == r["pair"]))
        letter = last.mark_text(align="left", dx=7, dy=10 * place - 5, fontWeight="bold", fontSize=13)
        parts.append(letter.encode(y=y, text="pair:N"))
    if levels:
        level = alt.Chart(pd.DataFrame(levels)).encode(x=x, color=colour, y=alt.Y("value:Q", title=None))
        parts.insert(0, level.mark_line(strokeDash=[3, 3], strokeWidth=1.5, opacity=0.8))
    return alt.layer(*parts).properties(height=HEIGHT)


def matrix(s: Any, k: int, colour: str, names: tuple[str, ...], key: str) -> None:
    """From which class to which, after k round trips; or why that isn't known."""
    rows = curves.matrix(s, k, names)
    if not rows:
        reason = (s.get("transitions") or {}).get("reason")
        st.caption(f"Not known: {say.plain(reason)}." if reason else f"Not measured at k = {k:,}.")
        return
    st.vega_lite_chart(_matrix(rows, k, colour, st.context.theme.type == "dark"), key=key)


@_kept
def _matrix(rows: list[dict], k: int, colour: str, dark: bool) -> alt.LayerChart:
    data = pd.DataFrame(rows).assign(percent=lambda d: (100 * d["fraction"]).round().astype(int))
    order = list(dict.fromkeys(data["from"]))
    base = alt.Chart(data).encode(
        x=alt.X("to:N", title=f"class at k = {k:,}", axis=alt.Axis(orient="top", labelAngle=0), sort=None),
        y=alt.Y("from:N", title="class at the start", sort=order),
        tooltip=[
            alt.Tooltip("from:N", title="started as"),
            alt.Tooltip("to:N", title="now"),
            alt.Tooltip("percent:Q", title="% of them"),
            alt.Tooltip("count:Q", title="chains"),
            alt.Tooltip("started:Q", title="of"),
        ],
    )
    scale = alt.Scale(domain=[0, MOST], range=["#8881", colour], clamp=True)  # the same for A and B
    fill = alt.Color("fraction:Q", scale=scale, legend=None)
    text = base.transform_filter(alt.datum.percent >= 5).mark_text(fontSize=11)
    plain = "#dfe5f0" if dark else "#3a4456"
    strong = alt.condition(alt.datum.fraction > MOST / 2, alt.value("#fff"), alt.value(plain))
    chart = alt.layer(base.mark_rect(cornerRadius=3).encode(color=fill), text.encode(text="percent:Q", color=strong))
    return chart.properties(height=330)
