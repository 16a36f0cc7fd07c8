"""What a page's components write into the address, beside the widgets that are bound to it by themselves."""

from collections.abc import Mapping

import streamlit as st

from .pairs import KEPT

SAID = "addresses"  # in the session: what each page wrote, {key: value}, and for which pairs


def say(title: str, values: Mapping[str, str]) -> None:
    """Put these into the address of a page; what is empty is as usual, and left out.

    What was said before is said again: a fragment's run begins with the address as it was when it was asked for, which
    may be before another fragment wrote.
    """
    said = {**st.session_state.get(SAID, {}).get(title, (None, {}))[1], **values}
    st.session_state.setdefault(SAID, {})[title] = _two(), said
    for key, value in said.items():
        if value and st.query_params.get(key) != value:
            st.query_params[key] = value
        elif not value and key in st.query_params:
            del st.query_params[key]


def back(title: str) -> None:
    """Coming from another page, find this one as it was left, unless it is to show other pairs or the address says it.

    Streamlit does so for widgets bound to the address; this is for what components write there.
    """
    pairs, said = st.session_state.setdefault(SAID, {}).pop(title, (None, {}))
    if pairs == _two():
        st.query_params.update({k: v for k, v in said.items() if v and k not in st.query_params})


def _two() -> list[str | None]:
    chosen = st.session_state.get(KEPT, {})
    return [chosen.get(k) for k in "ab"]
