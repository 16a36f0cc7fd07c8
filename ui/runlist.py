"""The list of runs: one row each, with what one can do to it; it follows what trains without disturbing who types."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from symeq_core import shelf, supervisor
from symeq_core.config import Config
from symeq_core.errors import SymeqError
from symeq_core.follow import Glance
from symeq_core.runs import Run, is_run, read_config

from . import badges, pictures, say, theme, words

KEEP_SECONDS = 7 * 86400  # deleted runs can be brought back for a week
WIDTHS = [1, 6.5, 2.4, 2.8]
PAGE = 20  # rows
EVERY, SELDOM = 2.0, 10.0  # seconds between looks, while something trains or waits, and else
SHOW = {"all": "All", "active": "Active", "done": "Done", "broken": "Broken"}
SORT = {"new": "Last changed first", "old": "Last changed last", "name": "By name", "step": "Most iterations first"}


@dataclass
class Row:
    """What a row shows of a run; a damaged one has a problem and no config."""

    run: Run
    state: str
    step: int
    config: Config | None
    problem: str = ""

    @property
    def name(self) -> str:
        """The folder's, which no two have in common."""
        return self.run.folder.name

    @property
    def title(self) -> str:
        """As a person named it."""
        return self.config.name if self.config else self.name


def rows(root: Path, runs: list[Run]) -> list[Row]:
    """How these runs stand right now."""
    glances = st.session_state.setdefault("glances", {})
    for run in runs:
        glances.setdefault(run.folder, Glance(run))
    states = supervisor.statuses(root, [glances[run.folder] for run in runs])
    found = []
    for run, state in zip(runs, states, strict=True):
        config, problem = _config(str(run.folder), _stamp(run.folder / "config.json"))
        found.append(Row(run, state if config else "failed", glances[run.folder].step, config, problem))
    return found


@st.cache_data(max_entries=2000, show_spinner=False)
def _config(folder: str, changed: tuple[int, int]) -> tuple[Config | None, str]:
    try:
        return read_config(folder), ""
    except SymeqError as e:
        return None, str(e)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


# --- which ones ---


def choose(found: list[Row]) -> list[Row]:
    """The rows of one page of those that are asked for, all of it in the URL."""
    if len(found) > 5:
        a, b, c = st.columns([3, 4, 3], vertical_alignment="center")
        text = a.text_input(
            "Search",
            key="search",
            placeholder="Name, data, learner …",
            bind="query-params",
            label_visibility="collapsed",
        )
        show = b.segmented_control(
            "Show",
            list(SHOW),
            format_func=SHOW.__getitem__,
            default="all",
            required=True,
            key="state",
            bind="query-params",
            label_visibility="collapsed",
            help="Active: training, paused or waiting. Done: finished, stopped. Broken: failed, interrupted, damaged.",
        )
        sort = c.selectbox(
            "Sort",
            list(SORT),
            format_func=SORT.__getitem__,
            key="sort",
            bind="query-params",
            label_visibility="collapsed",
        )
        found = ordered(matching(found, text, show), sort)
        if not found:
            st.info("No run is like that: search for less, or show all.")
    pages = -(-len(found) // PAGE)
    if pages < 2:
        return found
    with st.container(horizontal=True, vertical_alignment="center"):
        page = min(st.pagination(pages, key="page", bind="query-params"), pages)
        st.caption(f"{(page - 1) * PAGE + 1} to {min(page * PAGE, len(found))} of {len(found)} runs")
    return found[(page - 1) * PAGE : page * PAGE]


def matching(found: list[Row], text: str, show: str) -> list[Row]:
    """Those that have every word of the text in what is shown of them, and such a state."""

    def kind(row: Row) -> str:
        done = row.state in ("new", "stopped", "finished")
        return "active" if row.state in words.ACTIVE else "done" if done else "broken"

    def said(row: Row) -> str:
        c = row.config
        more = (
            (words.DATA.get(c.data.name, ""), words.LEARNERS[c.learner.name], words.MODELS[c.model.kind]) if c else ()
        )
        return " ".join((row.title, row.name, words.STATES[row.state], *more)).lower()

    return [r for r in found if show in ("all", kind(r)) and all(word in said(r) for word in text.lower().split())]


def ordered(found: list[Row], sort: str) -> list[Row]:
    """Rows that came with the last changed first, in the order asked for."""
    if sort == "old":
        return found[::-1]
    if sort == "name":
        return sorted(found, key=lambda r: (r.title.lower(), r.name))
    return sorted(found, key=lambda r: -r.step) if sort == "step" else found


# --- the rows ---


def show(root: Path, chosen: list[Row]) -> None:
    """The rows in this order, each following its run. Runs that came or went are only told: rows that move would
    close what a person has open and lose what they type.
    """
    before = _folders(root)
    runs = [r.run for r in chosen]

    def draw() -> None:
        for row in rows(root, runs):
            _row(root, row)
        if _folders(root) != before and st.button(
            "Runs came or went: show them", icon=":material/refresh:", key="anew"
        ):
            st.rerun()

    busy = any(r.state in words.ACTIVE for r in chosen)
    st.fragment(draw, run_every=EVERY if busy else SELDOM)()


def _folders(root: Path) -> set[str]:
    return {f.name for f in root.iterdir() if is_run(f)} if root.is_dir() else set()


def _row(root: Path, row: Row) -> None:
    with st.container(border=True, key=f"row {row.name}"):
        columns = st.columns(WIDTHS, vertical_alignment="center")
        thumbnail = _thumbnail(row.run)
        if thumbnail:
            with columns[0]:
                pictures.stored(thumbnail, width=64, alt="Decoded random codes")
        with columns[1]:
            _title(row)
        c = row.config
        if c:
            size = _size(str(row.run.folder), *_stamp(row.run.folder / "events.jsonl"))
            small = f":small[:gray[{_age(row.run)} · {size / 2**20:.1f} MB]]"
            columns[2].markdown(f"{row.step:,} / {c.train.steps:,}  \n{small}")
        with columns[3], st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="right"):
            if c:
                query = {"run": row.name}
                st.page_link("pages/1_Train.py", label="Open", icon=":material/open_in_new:", query_params=query)
            _more(root, row)


def _title(row: Row) -> None:
    if not row.config:
        st.markdown(f"**{row.name}**")
        st.html(theme.badge("damaged", theme.STATE["failed"]))
        st.caption(row.problem)
        return
    c = row.config
    state = theme.badge(words.STATES[row.state], theme.STATE[row.state])
    st.markdown(f"**{say.plain(c.name)}** :small[:gray[{say.plain(row.name)}]]")
    st.html(theme.STEADY + theme.row([state, *badges.of(c)]))
    if row.state == "interrupted":
        st.caption("Its process died: open it and press **Resume** to go on from its last checkpoint.")


def _more(root: Path, row: Row) -> None:
    key, live = row.name, row.state in ("running", "paused", "starting")
    with st.popover("", icon=":material/more_horiz:", help="Rename, copy, export, delete", key=f"more {key}"):
        if row.config is not None:
            name = st.text_input("Name", row.config.name, key=f"name {key}", disabled=live, max_chars=80)
            if st.button("Rename", key=f"rename {key}", disabled=live or not name.strip()):
                _do(lambda: shelf.rename(row.run, name), f"Renamed to {name.strip()}.")
            if st.button("Copy the settings into a new run", key=f"copy {key}", icon=":material/content_copy:"):
                _do(lambda: shelf.duplicate(row.run, root), "A new run with the same settings is in the list.")
            st.download_button(
                "Export as a zip",
                lambda: shelf.export_zip(row.run),
                f"{key}.zip",
                "application/zip",
                icon=":material/download:",
                key=f"export {key}",
                on_click="ignore",
            )
        if st.button("Delete", key=f"delete {key}", icon=":material/delete:", disabled=live):
            _do(lambda: _delete(root, row), None)
        if live:
            st.caption("Stop the run first to rename or delete it.")


def _delete(root: Path, row: Row) -> None:
    if row.state == "queued":
        supervisor.cancel(root, row.name)
    st.session_state["deleted"] = (shelf.delete(row.run), row.name)


def _do(act: Callable[[], object], done: str | None) -> None:
    try:
        act()
    except SymeqError as e:
        st.toast(say.quoted(e), icon=":material/error:", duration="long")
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
        st.markdown(f"**{say.plain(name)}** was deleted.")
        if st.button("Undo", icon=":material/undo:", key="undo"):
            del st.session_state["deleted"]
            _do(lambda: shelf.restore(root, trashed), f"{name} is back.")


def trash(root: Path) -> None:
    """What was deleted in the last week, to be brought back."""
    found = shelf.trash(root)
    if not found:
        return
    with st.expander(f"Deleted runs ({len(found)}), kept for a week", icon=":material/delete:"):
        for t in found[:50]:
            with st.container(horizontal=True, vertical_alignment="center"):
                if st.button("Restore", key=f"restore {t.key}", icon=":material/undo:"):
                    st.session_state.pop("deleted", None)
                    _do(lambda t=t: shelf.restore(root, t.key), f"{t.name} is back.")
                st.markdown(f"{say.plain(t.name)} :small[:gray[deleted {_ago(time.time() - t.deleted)}]]")


def bring(root: Path) -> None:
    """Import of a run or checkpoint exported as a zip."""
    with st.expander("Import a run or checkpoint", icon=":material/upload:"):
        given = st.file_uploader("A zip exported here or on another machine", type="zip", key="import")
        if given and st.button("Import", type="primary", key="do import"):
            try:
                st.session_state["imported"] = shelf.import_zip(given, root).folder
            except SymeqError as e:
                say.error(e)
            else:
                st.rerun()


def brought() -> None:
    """Where the last import is now."""
    folder = st.session_state.pop("imported", None)
    if folder is None:
        return
    if is_run(folder):
        st.success(f"{say.plain(folder.name)} was imported: it is in the list below.")
        return
    st.success(
        f"{say.plain(folder.name)} was imported. It is a finished checkpoint, not a run, so it is not in this list: it "
        "is among the pairs on Home, and A or B can be set to it wherever pairs are compared."
    )
    query = {"a": f"own:{folder.name}"}
    st.page_link("pages/3_Compare.py", label="Compare it", icon=":material/compare:", query_params=query)


def _thumbnail(run: Run) -> Path | None:
    try:
        found = [folder / "samples.png" for folder in run.snapshots().values()]
    except OSError:
        return None
    return next((f for f in found[::-1] if f.is_file()), None)


@st.cache_data(max_entries=2000, show_spinner=False)
def _size(folder: str, changed: int, size: int) -> int:
    return shelf.size(Run(folder))


def _age(run: Run) -> str:
    changed, _ = _stamp(run.folder / "events.jsonl")
    return _ago(time.time() - changed / 1e9) if changed else "never ran"


def _ago(seconds: float) -> str:
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit} ago"
    return "just now"
