"""One run, live: state, controls, curves and pictures."""

import time
from pathlib import Path
from typing import Any

import streamlit as st

from symeq_core import follow, sheets, supervisor
from symeq_core.config import Config
from symeq_core.errors import SymeqError
from symeq_core.runs import Run

from . import charts, theme, words

EVERY = 0.8  # seconds between looks at a live run
ACTIVE = ("queued", "starting", "running", "paused")
CAPTIONS = (
    "**Random codes**, decoded",
    "**Test images** beside their reconstructions",
    "**Round trips** of test images",
)


def show(root: Path, run: Run) -> None:
    """The whole view; polls only while the run can change."""
    config, state = run.config(), supervisor.status(root, run.folder)
    _header(run, config, state)
    st.session_state["shown state"] = state
    every = EVERY if state in ACTIVE else None
    st.fragment(_live, run_every=every)(root, run, config)


def _header(run: Run, config: Config, state: str) -> None:
    layers = " → ".join(map(str, config.model.latents))
    badges = [
        theme.badge(words.STATES[state], theme.STATE[state]),
        theme.badge(words.LEARNERS[config.learner.name], theme.LEARNER[config.learner.name]),
        theme.badge(words.DATA.get(config.data.name, config.data.name), "#7a8599"),
        theme.badge(f"{words.MODELS[config.model.kind]} · {layers}", "#7a8599"),
        theme.badge(f"seed {config.seed}", "#7a8599"),
    ]
    st.markdown(f"### {config.name}")
    st.html(f'<div style="display:flex;gap:.4rem;flex-wrap:wrap;margin-top:-.6rem">{"".join(badges)}</div>')


def _live(root: Path, run: Run, config: Config) -> None:
    state = supervisor.status(root, run.folder)
    if state != st.session_state.get("shown state"):  # badges and polling follow the state
        st.rerun()
    follower = _follower(run)
    follower.refresh()
    _say(run, state, follower)
    _controls(root, run, run.config(), state)
    _numbers(run.config(), state, follower)
    _pictures(run, follower)
    _curves(run, follower, config.learner.name)


def _follower(run: Run) -> follow.Follower:
    key = f"follower {run.folder}"
    if key not in st.session_state:
        st.session_state[key] = follow.Follower(run)
    return st.session_state[key]


def _say(run: Run, state: str, follower: follow.Follower) -> None:
    """What a person should know about the state."""
    if state == "interrupted":
        st.warning("The training process died. Nothing older than its last checkpoint is lost: **Resume** goes on.")
    elif state == "failed":
        st.error((follower.last("failed") or {}).get("why", "The run failed."))
    elif state == "queued":
        st.info("Two runs train at once; this one starts as soon as one of them ends.")
    refused = follower.last("refused")
    if refused and time.time() - refused["time"] < 10:
        st.warning(refused["why"])
    data = follower.last("data")
    if state in ("starting", "running") and not follower.last("metrics") and data:
        share = data["done"] / data["total"] if data.get("total") else 0.0
        st.progress(min(1.0, share), text=f"{data['what']}: {data['done']:,}")


# --- controls ---


def _controls(root: Path, run: Run, config: Config, state: str) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        if state == "running":
            _button(run, "Pause", ":material/pause:", "pause")
        if state == "paused":
            _button(run, "Resume", ":material/play_arrow:", "resume")
        if state in ("running", "paused"):
            icon = ":material/skip_next:"
            _button(run, "Step decoder p", icon, "step", help="One move of the decoder alone.", players=["p"])
            _button(run, "Step encoder q", icon, "step", help="One move of the encoder alone.", players=["q"])
            _button(run, "Step both", icon, "step", help="One iteration.", players=["p", "q"])
            _button(run, "Stop", ":material/stop:", "stop", help="Save and end. It can be resumed later.")
        if state == "queued" and st.button("Leave the queue", icon=":material/close:", key="leave"):
            _do(lambda: supervisor.cancel(root, run.folder.name))
        if state in ("new", "stopped", "interrupted", "failed") and st.button(
            "Resume" if state != "new" else "Start", icon=":material/play_arrow:", type="primary", key="again"
        ):
            _do(lambda: supervisor.submit(root, run.folder))
        if state not in ("queued", "starting"):
            _longer(root, run, config, state)
        if state in ("running", "paused"):
            _settings(run, config)


def _button(
    run: Run, label: str, icon: str, command: str, help: str | None = None, type: Any = "secondary", **details: Any
) -> None:
    if st.button(label, icon=icon, key=label, help=help, type=type):
        _do(lambda: run.send(command, **details), wait=command in ("pause", "resume", "stop"))


def _do(act: Any, wait: bool = True) -> None:
    """Carry out, tell a refusal in its own words, and draw anew."""
    try:
        act()
    except SymeqError as e:
        st.toast(str(e), icon=":material/error:")
        return
    if wait:
        time.sleep(0.25)  # the training process looks for commands ten times a second
    st.rerun()


def _longer(root: Path, run: Run, config: Config, state: str) -> None:
    with st.popover("Train longer", icon=":material/more_time:"):
        steps = config.train.steps
        target = st.number_input("Up to iteration", steps + 1, 10_000_000, steps * 2, step=1000, key="longer to")
        if st.button("Go on", type="primary", key="longer go"):
            changes = {"train.steps": int(target)}
            live = state in ("running", "paused")
            _do(lambda: run.send("set", changes=changes) if live else supervisor.submit(root, run.folder, changes))


def _settings(run: Run, config: Config) -> None:
    t = config.train
    with st.popover("Change settings", icon=":material/tune:"):
        lr = st.number_input("Adam step of p", 1e-6, 1.0, t.lr, format="%.1e", key="live lr")
        lr_q = st.number_input("Adam step of q", 1e-6, 1.0, t.lr_q or t.lr, format="%.1e", key="live lr_q")
        schedule = st.selectbox(
            "Moves",
            ("alternating", "simultaneous"),
            ("alternating", "simultaneous").index(t.schedule),
            key="live sched",
        )
        moves_p = st.number_input("Moves of p an iteration", 0, 20, t.moves_p, key="live moves_p")
        moves_q = st.number_input("Moves of q an iteration", 0, 20, t.moves_q, key="live moves_q")
        if st.button("Apply from the next iteration on", type="primary", key="live apply"):
            changes = {
                "train.lr": lr,
                "train.lr_q": lr_q,
                "train.schedule": schedule,
                "train.moves_p": moves_p,
                "train.moves_q": moves_q,
            }
            _do(lambda: run.send("set", changes=changes))


# --- numbers, pictures, curves ---


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def _numbers(config: Config, state: str, follower: follow.Follower) -> None:
    metrics, probe = follower.of("metrics"), follower.last("probe")
    step = max((e["step"] for e in (*metrics[-1:], *([probe] if probe else []))), default=0)
    st.progress(min(1.0, step / config.train.steps))
    last = metrics[-1] if metrics else None
    columns = st.columns(6)
    columns[0].metric("Iteration", f"{step:,}", help=f"of {config.train.steps:,}")
    figures = probe["figures"] if probe else {}
    for column, name in zip(columns[1:4], ("L_p", "L_q", "ELBO"), strict=True):
        f = figures.get(name)
        shown = f"{f['value']:.2f}" if f and f["value"] is not None else "–"
        n = f"\n\nProbe set: n = {f['n']} test images, ± {f['stderr']:.2f} (s.e.)." if f and f["stderr"] else ""
        column.metric(f"{name} (nats)", shown, help=words.HELP[name] + n)
    columns[4].metric("Images / s", f"{last['images_per_s']:,.0f}" if last else "–", help="Since the last point.")
    left = follow.time_left(metrics, config.train.steps) if state in ("running", "paused") else None
    spent = last["seconds"] if last else 0.0
    if left is not None:
        columns[5].metric("Time left", _duration(left), help=f"Trained for {_duration(spent)} so far.")
    else:
        columns[5].metric("Time trained", _duration(spent))


def _pictures(run: Run, follower: follow.Follower) -> None:
    snapshots = run.snapshots()
    if not snapshots:
        return
    step, folder = list(snapshots.items())[-1]
    try:
        picture, fractions = _montage(str(folder), folder.stat().st_mtime_ns)
    except (OSError, SymeqError):
        return  # replaced while we looked: the next look finds the new one
    gap = (1 - sum(fractions)) / 2
    widths = [fractions[0], gap, fractions[1], gap, fractions[2]]
    for column, text in zip(st.columns(widths, gap=None)[::2], CAPTIONS, strict=True):
        column.markdown(text, help=words.HELP["montage"] if text == CAPTIONS[2] else None)
    st.image(picture, width="stretch", alt=f"Samples, reconstructions and round trips at iteration {step:,}")


@st.cache_data(max_entries=64, show_spinner=False)
def _montage(folder: str, changed: int) -> tuple[bytes, list[float]]:
    return sheets.montage(Path(folder))


def _curves(run: Run, follower: follow.Follower, learner: str) -> None:
    metrics, probes = follower.of("metrics"), follower.of("probe")
    if not metrics:
        return
    x = "seconds" if st.session_state.get("x axis") == "seconds" else "step"
    left, right = st.columns(2)
    with left:
        st.markdown("**Test set**: utilities and ELBO, nats per image", help=words.HELP["probe"])
        charts.curves(follow.probes(probes), f"probe {run.folder.name}", x, "nats per test image")
    with right:
        st.markdown("**Training**: what each player maximises, nats per image", help=words.HELP["L_p"])
        charts.curves(follow.utilities(metrics, learner), f"utility {run.folder.name}", x, "nats per image")
    left, right = st.columns(2)
    with left:
        st.markdown("**Gradient norms**", help=words.HELP["gradient"])
        charts.curves(follow.gradient_norms(metrics), f"norm {run.folder.name}", x, "norm", log=True, height=230)
    with right:
        st.segmented_control("Horizontal axis", ("step", "seconds"), default="step", key="x axis")
        st.caption("Scroll on a curve to zoom, drag to move, double click to see all of it again.")
