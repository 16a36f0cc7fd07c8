"""Live curves that keep the reader's zoom when they grow."""

from collections.abc import Sequence

import altair as alt
import pandas as pd
import streamlit as st

from . import zooms
from .theme import SERIES

NAMES = {"p": "decoder p", "q": "encoder q"}
TITLES = {"step": "iteration", "seconds": "seconds of training"}


def curves(data: pd.DataFrame, key: str, x: str, y_title: str, log: bool = False, height: int = 290) -> None:
    """Lines by series over training; drag to move, scroll to zoom, double click to see all again."""
    shown = data.assign(series=data["series"].replace(NAMES))
    names = list(dict.fromkeys(shown["series"]))
    colours = [SERIES[{v: k for k, v in NAMES.items()}.get(n, n)] for n in names]
    base = alt.Chart(shown).encode(
        x=alt.X(f"{x}:Q", title=TITLES[x], axis=alt.Axis(tickCount=6, format=",.0f")),
        color=alt.Color(
            "series:N",
            scale=alt.Scale(domain=names, range=colours),
            legend=alt.Legend(title=None, orient="top", symbolOpacity=1, symbolType="stroke", symbolStrokeWidth=3),
        ),
    )
    scale = alt.Scale(type="log") if log else alt.Scale(zero=False)
    tooltip = [alt.Tooltip("series:N"), alt.Tooltip("step:Q", format=","), alt.Tooltip("value:Q", format=".3f")]
    line = base.mark_line(strokeWidth=2, point={"size": 12} if len(shown) < 60 else False).encode(
        y=alt.Y("value:Q", title=y_title, scale=scale), tooltip=tooltip
    )
    layers = [line]
    if "stderr" in shown:
        band = base.transform_calculate(lo="datum.value - 2*datum.stderr", hi="datum.value + 2*datum.stderr")
        layers.insert(0, band.mark_area(opacity=0.18).encode(y=alt.Y("lo:Q", title=y_title, scale=scale), y2="hi:Q"))
    zoom = alt.selection_interval(name="zoom", bind="scales")
    layers[-1] = layers[-1].add_params(zoom)
    chart = alt.layer(*layers).properties(height=height)
    st.altair_chart(chart, key=key, on_select="rerun", selection_mode="zoom")


def styles(runs: Sequence[tuple[str, str, str]]) -> pd.DataFrame:
    """How each of several runs is drawn, from its (letter, colour, name): dashes tell runs of one colour apart."""
    dashes, seen, found = ([1, 0], [6, 3], [2, 2], [8, 2, 2, 2]), dict[str, int](), []
    for letter, colour, name in runs:
        k = seen[colour] = seen.get(colour, -1) + 1
        found.append({"pair": letter, "name": name, "colour": colour, "dash": dashes[k]})
    return pd.DataFrame(found)


def compared(
    data: pd.DataFrame, key: str, x: str, y_title: str, style: pd.DataFrame, start: zooms.Zoom | None = None
) -> zooms.Zoom | None:
    """One series of several runs (columns pair, step, seconds, value and, maybe, stderr), a line each.

    start: where its axes end at first. Returns where they were moved to, None where nobody did.
    """
    shown = data.merge(style[["pair", "name"]], on="pair")
    domain = list(style["pair"])
    legend = alt.Legend(title=None, orient="top", symbolType="stroke", symbolStrokeWidth=3, symbolOpacity=1)
    base = alt.Chart(shown).encode(
        x=alt.X(
            f"{x}:Q",
            title=TITLES[x],
            scale=alt.Scale(domain=start["x"], nice=False) if start else alt.Undefined,
            axis=alt.Axis(tickCount=5, format="~s"),
        ),
        color=alt.Color("pair:N", scale=alt.Scale(domain=domain, range=list(style["colour"])), legend=legend),
        strokeDash=alt.StrokeDash("pair:N", scale=alt.Scale(domain=domain, range=list(style["dash"])), legend=legend),
    )
    scale = alt.Scale(domain=start["y"] if start else _late(shown, x), nice=False)
    axis = alt.Axis(minExtent=36)  # room for the numbers when it is zoomed
    y = alt.Y("value:Q", title=y_title, scale=scale, axis=axis)
    tips = [
        alt.Tooltip("pair:N"),
        alt.Tooltip("name:N", title="learner"),
        alt.Tooltip("step:Q", title="iteration", format=","),
        alt.Tooltip("seconds:Q", title="seconds", format=",.1f"),
        alt.Tooltip("value:Q", format=".3f"),
    ]
    layers = [base.mark_line(strokeWidth=2, clip=True).encode(y=y, tooltip=tips)]
    if "stderr" in shown:
        tips.append(alt.Tooltip("stderr:Q", title="standard error", format=".3f"))
        band = base.transform_calculate(lo="datum.value - 2*datum.stderr", hi="datum.value + 2*datum.stderr")
        band = band.mark_area(opacity=0.16, clip=True).encode(
            y=alt.Y("lo:Q", title=y_title, scale=scale, axis=axis), y2="hi:Q", strokeDash=alt.StrokeDash()
        )
        layers.insert(0, band)
    zoom = alt.selection_interval(name="zoom", bind="scales")
    layers[-1] = layers[-1].add_params(zoom)
    chart = alt.layer(*layers).properties(height=220)
    return zooms.read(st.altair_chart(chart, key=key, on_select="rerun", selection_mode="zoom"), x, "value")


def _late(data: pd.DataFrame, x: str) -> list[float]:
    """The range of the values, with their errors, after the first twentieth: the start would squeeze all the rest."""
    late = data[data[x] >= data[x].max() / 20]
    error = 2 * late["stderr"].fillna(0) if "stderr" in late else 0
    low, high = (late["value"] - error).min(), (late["value"] + error).max()
    pad = max((high - low) * 0.05, 1e-3)
    return [low - pad, high + pad]
