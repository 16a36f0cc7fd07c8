"""Runs: all of them, with what one can do to each."""

import streamlit as st

from symeq_core.runs import all_runs
from ui import runlist
from ui.setup import page, warm

root = page("Runs")
st.markdown("### Runs")
runlist.brought()
runlist.undo(root)
runs = all_runs(root)
if not runs:
    st.info("No run yet. A run is one training: its settings, its curves, its pictures and what it learned.")
    st.page_link("pages/1_Train.py", label="Start one", icon=":material/play_arrow:")
runlist.show(root, runlist.choose(runlist.rows(root, runs)))
runlist.bring(root)
runlist.trash(root)
warm(root)
