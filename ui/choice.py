"""A choice of one of a few, in the URL."""

from collections.abc import Iterable
from typing import Any

import streamlit as st

from . import say

SWITCH = ("true", "false")  # what a toggle is in the URL


def segments(
    label: str, options: dict[str, str], key: str, hidden: bool = False, default: str | None = None, **how: Any
) -> str:
    """The key chosen of options, which are keys and what they are called; `default`, else the first one, at first."""
    default = next(iter(options)) if default is None else default
    if st.query_params.get(key) == "":  # would count as a choice of none
        del st.query_params[key]
    chosen = st.segmented_control(
        label,
        list(options),
        format_func=options.__getitem__,
        default=default,
        required=True,
        key=key,
        bind="query-params",
        label_visibility="collapsed" if hidden else "visible",
        wrap=True,
        **how,
    )
    return default if chosen is None else chosen


def told_unknown(label: str, key: str, options: Iterable[str], shown: str) -> None:
    """Tell that the link asks for what is none of a widget's options, as they are called, and what is shown instead.

    To be called before the bound widget is drawn, as that takes the value out of the URL, and where there is width for
    a sentence. With one option there is no widget, so the value is taken out here.
    """
    value, options = st.query_params.get(key), list(options)
    if value is None or key in st.session_state:
        return
    if len(options) == 1:
        del st.query_params[key]
    if value in options or (options == list(SWITCH) and value.lower() in SWITCH):
        return
    known = f" To choose from: {', '.join(options)}." if len(options) > 1 else ""
    asked = f"{label}: the link asks for {value[:40]!r}, which is not there"
    st.warning(say.quoted(f"{asked}; shown instead: {shown}.{known}"))


def told_number(label: str, key: str, low: int, high: int, shown: str) -> None:
    """The same of a widget for whole numbers from low to high."""
    value = st.query_params.get(key)
    if value is None or key in st.session_state or _is_whole(value, low, high):
        return
    asked = f"{label}: the link asks for {value[:40]!r}, which is no whole number from {low:,} to {high:,}"
    st.warning(say.quoted(f"{asked}; shown instead: {shown}."))


def _is_whole(value: str, low: int, high: int) -> bool:
    """As Streamlit reads numbers: 5.0 is 5."""
    try:
        number = float(value)
    except ValueError:
        return False
    return number.is_integer() and low <= number <= high
