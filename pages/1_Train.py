"""Train: choose, start, watch."""

import streamlit as st

from symeq_core import shelf, supervisor
from symeq_core.errors import SymeqError
from symeq_core.runs import all_runs
from ui import form, live, say, words
from ui.setup import page, warm

root = page("Train")


def go_to(name):
    """This page with that run or, for none, the form."""
    st.switch_page("pages/1_Train.py", query_params={"run": name} if name else {})


def start(config):
    """Make the run, put it in the queue and show it."""
    try:
        with st.spinner("Starting …"):
            run = live.begin(root, config)
    except SymeqError as e:
        say.error(e)
        return
    go_to(run.folder.name)


def pick():
    """Which run to show; None for a new one."""
    active = [r.folder.name for r in all_runs(root) if supervisor.status(root, r.folder) in words.ACTIVE]
    chosen = st.query_params.get("run")
    options = ["", *dict.fromkeys(([chosen] if chosen else []) + active)]
    if len(options) == 1:
        return None
    name = st.segmented_control(
        "Run",
        options,
        format_func=lambda k: say.plain(k) or ":material/add: New run",
        default=chosen or "",
        required=True,
        label_visibility="collapsed",
        key=f"pick {chosen} {len(options)}",
    )
    if name != (chosen or ""):
        go_to(name)
    return name or None


name = pick()
if name:
    try:
        live.show(root, shelf.find(root, name))
    except SymeqError as e:
        say.error(e)
        st.page_link("pages/2_Runs.py", label="See all runs", icon=":material/folder_open:")
else:
    st.markdown("### Train a pair")
    config, below = form.choose(root)
    label = (
        f"Start training: {words.LEARNERS[config.learner.name]} on {words.DATA[config.data.name]}"
        if config
        else "Start training"
    )
    with below:
        if st.button(label, type="primary", icon=":material/play_arrow:", disabled=config is None, key="start"):
            start(config)
warm(root)
