"""The live picture of the home page, and the run behind its button."""

from pathlib import Path

import streamlit as st

from symeq_core import sheets, supervisor
from symeq_core.errors import SymeqError
from symeq_core.presets import preset
from symeq_core.runs import Run, all_runs

from . import say

FILM = Path(__file__).parent / "learning.webp"
DEMO = "digits-ladder-symmetric"


def demo(root: Path) -> str | None:
    """Start the demo run; returns its name, or None (the reason is shown) where it could not be started."""
    from . import live  # with its charts it would delay the first paint

    try:
        return live.begin(root, preset(DEMO)).folder.name
    except SymeqError as e:
        say.error(e)
        return None


def picture(root: Path) -> None:
    """What a run makes right now or, where none is under way, how one learned."""
    active = [r for r in all_runs(root) if supervisor.status(root, r.folder) in ("running", "paused")]
    if active:
        st.fragment(_samples, run_every=1.0)(active[0])
        return
    st.image(str(FILM), width="stretch", alt="Sixty-four decoded random codes, from noise to digits")
    st.caption(
        "What the decoder makes of 64 random codes, from its first to its 5,000th iteration of the symmetric game on "
        "digits: seed 0, 15 seconds of training."
    )


def _samples(run: Run) -> None:
    snapshots = run.snapshots()
    if not snapshots:
        st.caption(f"{say.plain(run.folder.name)} is starting …")
        return
    step, folder = list(snapshots.items())[-1]
    try:
        st.image((folder / sheets.SNAPSHOT[0]).read_bytes(), width="stretch", alt="Decoded random codes")
    except OSError:
        return  # replaced while we looked
    st.caption(
        f"Live: what the decoder of **{say.plain(run.folder.name)}** makes of 64 random codes, iteration {step:,}."
    )
