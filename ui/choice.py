"""A choice of one of a few, in the URL."""

from typing import Any

import streamlit as st


def segments(label: str, options: dict[str, str], key: str, hidden: bool = False, **how: Any) -> str:
    """The key chosen of options, which are keys and what they are called; the first one at first."""
    return st.segmented_control(
        label,
        list(options),
        format_func=options.__getitem__,
        default=next(iter(options)),
        required=True,
        key=key,
        bind="query-params",
        label_visibility="collapsed" if hidden else "visible",
        wrap=True,
        **how,
    )
