"""The list of runs: one row each, with what one can do to it."""

import time
from pathlib import Path
from typing import Any

import streamlit as st

from symeq_core import shelf, supervisor
from symeq_core.errors import SymeqError
from symeq_core.runs import Run

from . import theme, words

KEEP_SECONDS = 7 * 86400  # deleted runs can be brought back for a week
WIDTHS = [1, 6.5, 2.4, 2.8]


def row(root: Path, run: Run) -> None:
    """One run; a damaged one says so and can still be deleted."""
    with st.container(border=True):
        columns = st.columns(WIDTHS, vertical_alignment="center")
        thumbnail = _thumbnail(run)
        if thumbnail:
            columns[0].image(thumbnail, width=64, alt="Decoded random codes")
        try:
            config, state, step = run.config(), supervisor.status(root, run.folder), run.step()
        except SymeqError as e:
            columns[1].markdown(f"**{run.folder.name}**")
            columns[1].html(theme.badge("damaged", theme.STATE["failed"]))
            columns[1].caption(str(e))
            with columns[3]:
                _more(root, run, None, "damaged")
            return
        badges = [
            theme.badge(words.STATES[state], theme.STATE[state]),
            theme.badge(words.LEARNERS[config.learner.name], theme.LEARNER[config.learner.name]),
            theme.badge(words.DATA.get(config.data.name, config.data.name), theme.NEUTRAL),
            theme.badge(words.MODELS[config.model.kind], theme.NEUTRAL),
        ]
        with columns[1]:
            st.markdown(f"**{config.name}** :small[:gray[{run.folder.name}]]")
            st.html(theme.row(badges))
        columns[2].markdown(
            f"{step:,} / {config.train.steps:,}  \n:small[:gray[{_age(run)} · {shelf.size(run) / 2**20:.1f} MB]]"
        )
        with columns[3], st.container(horizontal=True, vertical_alignment="center"):
            query = {"run": run.folder.name}
            st.page_link("pages/1_Train.py", label="Open", icon=":material/open_in_new:", query_params=query)
            _more(root, run, config, state)


def _more(root: Path, run: Run, config: Any, state: str) -> None:
    key = run.folder.name
    live = state in ("running", "paused", "starting")
    with st.popover("", icon=":material/more_horiz:", help="Rename, copy, export, delete"):
        if config is not None:
            name = st.text_input("Name", config.name, key=f"name {key}", disabled=live, max_chars=80)
            if st.button("Rename", key=f"rename {key}", disabled=live or not name.strip()):
                _do(lambda: shelf.rename(run, name.strip()), f"Renamed to {name.strip()}.")
            if st.button("Copy the settings into a new run", key=f"copy {key}", icon=":material/content_copy:"):
                _do(lambda: shelf.duplicate(run, root), "A new run with the same settings is in the list.")
            if st.toggle("Export as a zip", key=f"export {key}"):
                st.download_button(
                    "Download",
                    shelf.export_zip(run),
                    f"{key}.zip",
                    "application/zip",
                    key=f"download {key}",
                    on_click="ignore",
                )
        if st.button("Delete", key=f"delete {key}", icon=":material/delete:", disabled=live):
            _do(lambda: _delete(root, run, state), None)
        if live:
            st.caption("Stop the run first to rename or delete it.")


def _delete(root: Path, run: Run, state: str) -> None:
    if state == "queued":
        supervisor.cancel(root, run.folder.name)
    st.session_state["deleted"] = (shelf.delete(run), run.folder.name)


def _do(act: Any, done: str | None) -> None:
    try:
        act()
    except SymeqError as e:
        st.toast(str(e), icon=":material/error:")
        return
    if done:
        st.toast(done)
    st.rerun()


def undo(root: Path) -> None:
    """A way back from the last deletion."""
    if "deleted" not in st.session_state:
        return
    trashed, name = st.session_state["deleted"]
    with st.container(horizontal=True, vertical_alignment="center", border=True):
        st.markdown(f"**{name}** was deleted.")
        if st.button("Undo", icon=":material/undo:", key="undo"):
            del st.session_state["deleted"]
            _do(lambda: shelf.restore(root, trashed), f"{name} is back.")


def bring(root: Path) -> None:
    """Import of a run exported as a zip."""
    with st.expander("Import a run", icon=":material/upload:"):
        given = st.file_uploader("A zip exported here or on another machine", type="zip", key="import")
        if given and st.button("Import", type="primary", key="do import"):
            _do(lambda: shelf.import_zip(given, root), f"{given.name} was imported.")


def _thumbnail(run: Run) -> bytes | None:
    try:
        snapshots = run.snapshots()
        return (list(snapshots.values())[-1] / "samples.png").read_bytes() if snapshots else None
    except OSError:
        return None


def _age(run: Run) -> str:
    try:
        seconds = time.time() - (run.folder / "events.jsonl").stat().st_mtime
    except OSError:
        return "never ran"
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit} ago"
    return "just now"
