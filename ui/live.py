"""One run, live: state, controls, curves and pictures."""

import time
from pathlib import Path

import streamlit as st

from symeq_core import follow, sheets, supervisor
from symeq_core.config import Config
from symeq_core.errors import SymeqError
from symeq_core.runs import Run, new_folder

from . import badges, charts, controls, say, theme, words

PATIENCE = 0.6  # seconds to wait for the first point of a new run
EVERY = 0.9  # seconds between looks at a run
CAPTIONS = (
    "**Random codes**",
    "**Test images** beside their reconstructions",
    "**Round trips** of test images",
)


def begin(root: Path, config: Config) -> Run:
    """A new run, in the queue; returns with its first point or soon without, so that the view opens on a curve.

    SymeqError where it could not start, as where its data are missing, and nothing is left of it then; where that takes
    longer to show, the run tells it.
    """
    run = Run.create(new_folder(root, config.name), config)
    try:
        supervisor.submit(root, run.folder)
    except SymeqError:
        run.discard()
        raise
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        kinds = {e["event"]: e for e in run.events()}
        if "metrics" in kinds:
            break
        if "failed" in kinds and "start" not in kinds and run.discard():
            raise SymeqError(kinds["failed"].get("why", "The run could not start."))
        time.sleep(0.03)
    return run


@st.fragment(run_every=EVERY)
@say.told
def show(root: Path, run: Run) -> None:
    """The whole view, drawn anew every second; it never reruns the page, which could lose a press of a button."""
    state, config = supervisor.status(root, run.folder), run.config()
    follower = _follower(run)
    follower.refresh()
    _header(config, state)
    _say(root, run, state, follower)
    controls.show(root, run, config, state, follower)
    _numbers(config, state, follower)
    _pictures(run, follower)
    _curves(run, follower, config.learner.name)


def _header(config: Config, state: str) -> None:
    shown = [
        theme.badge(words.STATES[state], theme.STATE[state]),
        *badges.of(config),
        theme.badge(f"seed {config.seed}", theme.NEUTRAL),
    ]
    st.markdown(f"### {say.plain(config.name)}")
    st.html(theme.STEADY + theme.row(shown))


def _follower(run: Run) -> follow.Follower:
    key = f"follower {run.folder}"
    if key not in st.session_state:
        st.session_state[key] = follow.Follower(run)
    return st.session_state[key]


def _death(follower: follow.Follower) -> str:
    lost = "Nothing older than its last checkpoint is lost"
    if follower.state() == "paused":
        lost = "The run was paused, and saved then"
    return f"The training process died. {lost}: **Resume** goes on training."


def _say(root: Path, run: Run, state: str, follower: follow.Follower) -> None:
    """What a person should know about the state."""
    if state == "interrupted":
        st.warning(_death(follower))
    elif state == "failed":
        say.error((follower.last("failed") or {}).get("why", "The run failed."))
    elif state == "queued":
        queue = supervisor.queue(root)
        before = queue.index(run.folder.name) if run.folder.name in queue else 0
        wait = f", after {before} that {'wait' if before > 1 else 'waits'} already" if before else ""
        st.info(f"Two runs train at once; this one starts as soon as one of them ends{wait}.")
    refused = follower.last("refused")
    if refused and time.time() - refused["time"] < 10:
        st.warning(refused["why"])
    data = follower.last("data")
    if state in ("starting", "running") and not follower.last("metrics") and data:
        share = data["done"] / data["total"] if data.get("total") else 0.0
        st.progress(min(1.0, share), text=f"{data['what']}: {data['done']:,}")


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
        column.metric(f"{name}, nats", shown, help=words.HELP[name] + n)
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
        column.markdown(text, help=words.HELP["montage"] if text == CAPTIONS[0] else None)
    st.image(picture, width="stretch", alt=f"Samples, reconstructions and round trips at iteration {step:,}")


@st.cache_data(max_entries=64, show_spinner=False)
def _montage(folder: str, changed: int) -> tuple[bytes, list[float]]:
    return sheets.montage(Path(folder))


def _curves(run: Run, follower: follow.Follower, learner: str) -> None:
    metrics, probes = follower.of("metrics"), follower.of("probe")
    if not metrics:
        return
    x = "seconds" if st.session_state.get("x", st.query_params.get("x")) == "seconds" else "step"
    left, right = st.columns(2)
    with left:
        st.markdown("**Test set**, nats per image", help=words.HELP["probe"])
        charts.curves(follow.probes(probes), f"probe {run.folder.name}", x, "nats per test image")
    with right:
        st.markdown("**Training**, nats per image", help=words.HELP["L_p"])
        charts.curves(follow.utilities(metrics, learner), f"utility {run.folder.name}", x, "nats per image")
    left, right = st.columns(2)
    with left:
        st.markdown("**Gradient norms**", help=words.HELP["gradient"])
        charts.curves(follow.gradient_norms(metrics), f"norm {run.folder.name}", x, "norm", log=True, height=230)
    with right:
        st.segmented_control(
            "Horizontal axis", ("step", "seconds"), default="step", required=True, key="x", bind="query-params"
        )
        st.caption("Scroll on a curve to zoom, drag to move, double click to see all of it again.")
