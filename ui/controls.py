"""The controls of one run: buttons always in their place, whose presses are never lost, and two small forms."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import streamlit as st

from symeq_core import follow, supervisor
from symeq_core.config import Config
from symeq_core.errors import SymeqError
from symeq_core.runs import Run

from . import say

HERE = Path(__file__).parent
LIVE = ("running", "paused")
WAITING = ("queued", "starting")
PLAYERS = {"p": ["p"], "q": ["q"], "both": ["p", "q"]}
ICONS = {
    "go": "M8 5v14l11-7z",
    "pause": "M6 5h4v14H6zm8 0h4v14h-4z",
    "stop": "M6 6h12v12H6z",
    "step": "M6 18l8.5-6L6 6zM16 6v12h2V6z",
}
MOST = 1_000_000_000  # iterations that can be asked for here
ANSWER_SECONDS = 0.3  # the training process looks for commands ten times a second

_strip = st.components.v2.component(
    "symeq_strip",
    html='<div class="row"></div>',
    css=(HERE / "strip.css").read_text(encoding="utf-8"),
    js=(HERE / "strip.js").read_text(encoding="utf-8"),
)


def show(root: Path, run: Run, config: Config, state: str, follower: follow.Follower) -> None:
    """All controls; what makes no sense in this state is disabled, nothing ever moves."""
    with st.container(horizontal=True, vertical_alignment="center"):
        _strip(
            key=_key(run),
            data={"buttons": buttons(state, begun=follower.last("start") is not None)},
            default={"presses": []},
            on_presses_change=lambda: _pressed(root, run, follower),
            width="content",
        )
        _longer(root, run, config, state, follower)
        _settings(run, config, state, follower)


def buttons(state: str, begun: bool = True) -> list[dict[str, Any]]:
    """What the strip shows in this state. While a process trains, all of it is enabled: presses may come in any order
    before the page has answered the first of them.
    """
    live, waiting = state in LIVE, state in WAITING
    go = {"new": "Start", "running": "Training", "queued": "Waiting", "starting": "Starting"}.get(state, "Resume")
    if state == "failed" and not begun:
        go = "Retry"
    leave = state == "queued"
    found = [
        ("", "go", go, not waiting and state != "finished", "Train on from where it is."),
        ("", "pause", "Pause", live, "Wait, ready to go on at once."),
        ("", "stop", "Leave queue" if leave else "Stop", live or leave, "Save and end. It can be resumed later."),
        ("Step", "p", "decoder p", live, "One move of the decoder alone; training pauses for it."),
        ("Step", "q", "encoder q", live, "One move of the encoder alone; training pauses for it."),
        ("Step", "both", "both", live, "One whole iteration; training pauses for it."),
    ]
    shown = {"running": "go", "paused": "pause", "stopped": "stop"}.get(state)
    return [
        {
            "group": group,
            "do": do,
            "label": label,
            "enabled": enabled,
            "help": help,
            "icon": ICONS.get(do, ICONS["step"]),
            "on": do == shown,
            "primary": do == "go" and enabled and not live,
        }
        for group, do, label, enabled, help in found
    ]


def _key(run: Run) -> str:
    return f"controls {run.folder.name}"


def _pressed(root: Path, run: Run, follower: follow.Follower) -> None:
    """Carry out the presses that were not yet, in their order."""
    done = st.session_state.get(f"done {_key(run)}", 0)
    presses = [k for k in st.session_state[_key(run)].presses if k["n"] > done]
    if presses:
        st.session_state[f"done {_key(run)}"] = presses[-1]["n"]
        follower.refresh()
        _told(lambda: [act(root, run, k["do"]) for k in presses])
        _await(follower)


def act(root: Path, run: Run, do: str) -> None:
    """What a press of this button means for a run as it is now; SymeqError where it can't be."""
    state = supervisor.status(root, run.folder)
    if do == "stop" and state == "queued":
        supervisor.cancel(root, run.folder.name)
    elif do in PLAYERS:
        run.send("step", players=PLAYERS[do])
    elif do == "go" and state in LIVE:
        run.send("resume")
    elif do == "go" and state not in WAITING:
        supervisor.submit(root, run.folder)
    elif do in ("pause", "stop"):
        run.send(do)


def _told(carry_out: Callable[[], object]) -> None:
    """Carry out, and tell a refusal in its own words."""
    try:
        carry_out()
    except SymeqError as e:
        st.toast(say.quoted(e), icon=":material/error:", duration="long")


def _await(follower: follow.Follower) -> None:
    """Give the training process a moment to answer, so that the page shows it at once."""
    end = time.monotonic() + ANSWER_SECONDS
    while time.monotonic() < end and not follower.refresh():
        time.sleep(0.03)


def _longer(root: Path, run: Run, config: Config, state: str, follower: follow.Follower) -> None:
    steps = min(config.train.steps, MOST - 1)
    key = f"longer {run.folder.name} {steps}"

    def go_on() -> None:
        changes = {"train.steps": int(st.session_state[key])}
        if run.is_running():
            _told(lambda: run.send("set", changes=changes))
            _await(follower)
        else:
            _told(lambda: supervisor.submit(root, run.folder, changes))

    with st.popover("Train longer", icon=":material/more_time:", disabled=state in WAITING, key="longer"):
        st.number_input("Up to iteration", steps + 1, MOST, min(steps * 2, MOST), step=1000, key=key)
        if config.train.cooldown:
            st.caption(f"The step sizes are whole again until the last {config.train.cooldown:,} iterations.")
        st.button("Go on", type="primary", key="longer go", on_click=go_on)


def _settings(run: Run, config: Config, state: str, follower: follow.Follower) -> None:
    t = config.train
    now = {"lr": t.lr, "lr_q": t.lr_q or t.lr, "schedule": t.schedule, "moves_p": t.moves_p, "moves_q": t.moves_q}
    keys = {name: f"live {run.folder.name} {now} {name}" for name in now}  # so that another run's never show here

    def apply() -> None:
        given = {name: st.session_state[key] for name, key in keys.items()}
        changes = {f"train.{name}": value for name, value in given.items() if value != now[name]}
        if changes:
            _told(lambda: run.send("set", changes=changes))
            _await(follower)

    with st.popover("Change settings", icon=":material/tune:", disabled=state not in LIVE, key="settings"):
        st.number_input("Adam step of p", min(1e-9, t.lr), 10.0, t.lr, format="%.1e", key=keys["lr"])
        st.number_input("Adam step of q", min(1e-9, now["lr_q"]), 10.0, now["lr_q"], format="%.1e", key=keys["lr_q"])
        orders = ("alternating", "simultaneous")
        st.selectbox("Moves", orders, orders.index(t.schedule), key=keys["schedule"])
        st.number_input("Moves of p an iteration", 0, 100, t.moves_p, key=keys["moves_p"])
        st.number_input("Moves of q an iteration", 0, 100, t.moves_q, key=keys["moves_q"])
        st.button("Apply from the next iteration on", type="primary", key="live apply", on_click=apply)
