"""Pictures of a pair that has no snapshots of its training: drawn beside the app, with progress, then looked up."""

import streamlit as st

from symeq_core import portrait
from symeq_core.gallery import Pair
from symeq_core.store import Entry

from . import say

SECONDS = 1.0  # between looks


def ready(letter: str, pair: Pair) -> bool:
    """Whether they are there; else they are started, or their progress or failure is shown. SymeqError where the pair
    is damaged.
    """
    entry = portrait.entry(pair.folder)
    if entry.is_done():
        return True
    why = None if entry.is_running() else entry.failure()
    if why:
        say.error(f"{letter} has no snapshots, and pictures of its weights could not be drawn: {why}")
        if st.button("Try again", key=f"draw {letter}"):
            entry.launch(["pictures", str(pair.folder.resolve())])
            st.rerun()
        return False
    entry.launch(["pictures", str(pair.folder.resolve())])
    _progress(letter, entry)
    return False


@st.fragment(run_every=SECONDS)
def _progress(letter: str, entry: Entry) -> None:
    if entry.is_done() or (entry.failure() and not entry.is_running()):
        st.rerun()
    what, done = entry.progress()
    st.progress(done, f"{letter} has no snapshots of its training, so its present weights are drawn: {what} …")
