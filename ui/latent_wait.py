"""UMAP that is not there yet: computed beside the app, with its progress, while PCA is shown."""

from dataclasses import replace
from pathlib import Path

import streamlit as st

from symeq_core.store import Entry

from . import latent, say
from .latent import Side, View

SECONDS = 1.0  # between looks


Waiting = list[tuple[str, Entry]]  # whose UMAP is computed, and where it comes


def ready(found: list[Side], view: View) -> tuple[View, Waiting]:
    """The view, with PCA in place of a UMAP that is still to be computed and is started; and what is under way."""
    if view.kind == "joint" and len(found) > 1:
        return _joint(found, view)
    if view.kind == "joint":
        view = replace(view, kind="umap")  # A is shown alone
    if view.kind != "umap":
        return view, []
    from symeq_core import maps

    waiting: Waiting = []
    for side in found:
        spec, folder = maps.Spec(side.layer, view.codes, side.n), Path(side.pair.folder)
        if maps.found(folder, spec) is not None:
            continue
        entry = maps.entry(folder, spec)
        waiting.append((side.letter, entry))
        if entry.failure() is None:
            options = ["--layer", spec.layer, "--codes", spec.codes, "--n", str(spec.n)]
            entry.launch(["project", str(folder.resolve()), *options])
    return (replace(view, kind="pca", waiting=True) if waiting else view), waiting


def _joint(found: list[Side], view: View) -> tuple[View, Waiting]:
    """The same of a joint map, which takes one process for both."""
    from symeq_core import maps

    two = latent.two(found, view.codes)
    if maps.joint_found(two) is not None:
        return view, []
    entry = maps.joint_entry(two)
    if entry.failure() is None:
        one, other = two.specs
        options = ["--layer", one.layer, "--joint-layer", other.layer, "--codes", one.codes, "--n", str(one.n)]
        entry.launch(["project", "--joint", *(str(f.resolve()) for f in two.folders), *options])
    return replace(view, kind="pca", waiting=True), [("A and B", entry)]


@st.fragment(run_every=SECONDS)
def progress(waiting: Waiting) -> None:
    """How far they are, and the page anew when all are there."""
    if all(entry.is_done() for _, entry in waiting):
        st.rerun()
    for letter, entry in waiting:
        why = entry.failure()
        if why and not entry.is_running():
            say.error(f"The UMAP of {letter} could not be computed: {why}")
            if st.button("Try again", key=f"again {letter}"):
                (entry.folder / "failed").unlink(missing_ok=True)
                st.rerun()
        elif not entry.is_done():
            what, done = entry.progress()
            st.progress(done, f"UMAP of {letter}: {what} … It takes a minute or two; PCA is shown meanwhile.")
