"""Live curves that keep the reader's zoom when they grow."""

import altair as alt
import pandas as pd
import streamlit as st

from .theme import SERIES

NAMES = {"p": "decoder p", "q": "encoder q"}


def curves(data: pd.DataFrame, key: str, x: str, y_title: str, log: bool = False, height: int = 290) -> None:
    """Lines by series over training; drag to move, scroll to zoom, double click to see all again."""
    shown = data.assign(series=data["series"].replace(NAMES))
    names = list(dict.fromkeys(shown["series"]))
    colours = [SERIES[{v: k for k, v in NAMES.items()}.get(n, n)] for n in names]
    titles = {"step": "iteration", "seconds": "seconds of training"}
    base = alt.Chart(shown).encode(
        x=alt.X(f"{x}:Q", title=titles[x], axis=alt.Axis(tickCount=6, format=",.0f")),
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
