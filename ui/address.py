"""What a page's components write into the address, beside the widgets that are bound to it by themselves."""

from collections.abc import Mapping

import streamlit as st

from .pairs import KEPT

COMPARE, LATENT, TRIP = "Compare", "Latent space", "Round trip"  # the pages that have such components
# in the session: what each page wrote, {key: value}, and for which pairs; the whole address as it was left last
SAID, SENT = "addresses", "address left"


def say(title: str, values: Mapping[str, str]) -> None:
    """Put these into the address of a page; what is empty is as usual, and left out.

    What was said before is said again: a fragment's run begins with the address as it was when it was asked for, which
    may be before another fragment wrote. For the same reason the browser may have got what an earlier run wrote after
    it asked for this one: where it would be left with that, it is sent all anew.
    """
    every = st.session_state.setdefault(SAID, {})
    said = {**every.get(title, (None, {}))[1], **values}
    every[title] = _pairs(), said
    before = dict(st.query_params)
    for key, value in said.items():
        if value and st.query_params.get(key) != value:
            st.query_params[key] = value
        elif not value and key in st.query_params:
            del st.query_params[key]
    now = dict(st.query_params)
    if now == before and st.session_state.get(SENT, now) != now:
        st.query_params.update({})
    st.session_state[SENT] = now


def back(title: str) -> None:
    """Coming from another page, find this one as it was left, unless it is to show other pairs or the address says it.

    Streamlit does so for widgets bound to the address; this is for what components write there.
    """
    pairs, said = st.session_state.get(SAID, {}).pop(title, (None, {}))
    st.session_state.pop(SENT, None)
    if pairs == [st.query_params.get(k) or chosen for k, chosen in zip("ab", _pairs(), strict=True)]:
        say(title, {k: st.query_params.get(k) or v for k, v in said.items()})


def _pairs() -> list[str | None]:
    """A and B, where they have been chosen."""
    chosen = st.session_state.get(KEPT, {})
    return [chosen.get(k) for k in "ab"]
