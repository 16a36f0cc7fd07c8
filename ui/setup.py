"""The one-line setup every page begins with, and what keeps a training process warm."""

import os
import threading
import time
from pathlib import Path

import streamlit as st

from symeq_core.runs import runs_root

from . import address

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is there: pages run small nets, many sessions at once
ROOT = Path(__file__).parent.parent
PAGES = (
    ("app.py", "Home", ":material/home:"),
    ("pages/1_Train.py", "Train", ":material/model_training:"),
    ("pages/3_Compare.py", "Compare", ":material/compare:"),
    ("pages/4_Latent_space.py", "Latent space", ":material/scatter_plot:"),
    ("pages/5_Round_trip.py", "Round trip", ":material/cached:"),
    ("pages/6_Results.py", "Results", ":material/table_chart:"),
    ("pages/2_Runs.py", "Runs", ":material/folder_open:"),
)
SHOWN, VISIT = "page shown", "page visit"  # in the session: the page, and how many it has shown so far
PAUSE = 0.3  # seconds, so that the browser draws what comes first before it is busy with charts
CSS = """<style>
[data-testid="stMainBlockContainer"] {padding: 2.2rem 2.5rem 2rem; max-width: 1500px}
[data-testid="stMetricValue"] {font-size: 1.5rem; font-variant-numeric: tabular-nums}
[data-testid="stLatex"] .katex-display, .katex-display {margin: .35rem 0; font-size: .95em}
[data-testid="stImage"] img {image-rendering: pixelated}
[data-testid="stSelectbox"] input {text-overflow: ellipsis}
@media (max-width: 1100px) {:is(.st-key-a, .st-key-b) [data-testid="stSelectbox"] input {font-size: .8rem}}
[data-testid="stHorizontalBlock"]:has(> * .st-key-swap) > [data-testid="stColumn"] {flex: 1 1 0; min-width: 240px}
[data-testid="stHorizontalBlock"] > [data-testid="stColumn"]:has(.st-key-swap) {flex: 0 0 3.2rem; min-width: 3.2rem}
</style>"""


def page(title: str) -> Path:
    """Page title, icon, navigation and style; returns the folder the runs are in."""
    st.set_page_config(
        page_title=f"{title} · Symmetric Equilibrium Explorer", page_icon="⚖️", layout="wide", initial_sidebar_state=230
    )
    st.html(CSS)
    with st.sidebar:
        st.markdown("#### ⚖️ Symmetric Equilibrium Explorer")
        for path, label, icon in PAGES:
            st.page_link(path, label=label, icon=icon)
    before, st.session_state[SHOWN] = st.session_state.get(SHOWN), title
    if title != before:
        st.session_state[VISIT] = st.session_state.get(VISIT, 0) + 1
        address.back(title)
    return runs_root()


def pictures_first() -> None:
    """Called between a page's pictures and its charts: the browser draws the pictures before it gets the charts."""
    end = time.monotonic() + PAUSE
    while time.monotonic() < end:
        look_up()
        time.sleep(0.02)


def look_up() -> None:
    """Let Streamlit stop this script where something new has been pressed: each read of the state looks for that."""
    st.session_state.get(SHOWN)


def warm(root: Path) -> None:
    """See to it that a process with torch loaded waits to train; called last, so that the page is there first."""
    from symeq_core import supervisor

    def quietly() -> None:
        try:
            supervisor.ensure(root)
        except Exception:  # the page that starts a run tells why it can't
            return

    threading.Thread(target=quietly, daemon=True).start()
