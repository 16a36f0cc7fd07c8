"""Training processes start soon, at most two at a time, and outlive whatever started them. With real processes."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest

from symeq_core import files, supervisor
from symeq_core.config import override
from symeq_core.errors import SymeqError, UsageError
from symeq_core.follow import Glance
from symeq_core.presets import preset
from symeq_core.runs import Run

HERE = Path(__file__).parent.parent
PATIENCE = 60.0  # seconds, for machines under load; nothing here takes so long
LONG = 1_000_000  # steps: trains until it is stopped


def until(true, what):
    """Wait for something."""
    end = time.monotonic() + PATIENCE
    while not (found := true()):
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.01)
    return found


def make(root, name, steps=LONG, **changes):
    small = {"train.steps": steps, "train.log_every": 5, "train.probe_every": 0, "train.snapshot_every": 0}
    return Run.create(root / name, override(preset("digits-flat-symmetric"), small | changes))


def kinds(run):
    return [e["event"] for e in run.events()]


def pid_of(run):
    """Of the process that trained it last."""
    return next((e["pid"] for e in reversed(run.events()) if "pid" in e), None)


def supervisors(root):
    """The processes that said in the log to be the supervisor of this folder, and still are."""
    with suppress(FileNotFoundError):
        words = (root / ".supervisor" / "log.txt").read_text().split()
        pids = [int(b) for a, b in pairwise(words) if a == "process" and b.isdecimal()]
        return [pid for pid in pids if is_ours(pid, root)]
    return []


def is_ours(pid, root):
    """Whether a process (no zombie) is one of this folder's; forked ones have their supervisor's command line."""
    with suppress(OSError):
        return str(root).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def end(root):
    """Kill the processes of a folder, the supervisor first, each by its own id."""
    for pid in supervisors(root):
        os.kill(pid, signal.SIGKILL)
    until(lambda: not supervisor.is_alive(root), "the supervisor is dead")
    for run in (Run(f) for f in root.iterdir() if (f / "config.json").is_file()):
        pid = pid_of(run)
        if run.is_running() and pid and is_ours(pid, root):
            os.kill(pid, signal.SIGKILL)
            until(lambda run=run: not run.is_running(), "the training process is dead")
    launched = supervisor._launched.pop(root.resolve() / ".supervisor", None)
    if launched:
        launched[1].wait(PATIENCE)


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """A folder with a living supervisor, which most tests share."""
    root = tmp_path_factory.mktemp("warm") / "runs"
    supervisor.ensure(root)
    yield root
    end(root)


@pytest.fixture
def root(warm):
    """The shared folder, in which nothing trains at the end of the test."""
    yield warm
    for run in (Run(f) for f in warm.iterdir() if (f / "config.json").is_file()):
        supervisor.cancel(warm, run.folder)
        if run.is_running():
            with suppress(SymeqError):
                run.send("stop")
            until(lambda run=run: not run.is_running(), "stopped")


@pytest.fixture
def alone(tmp_path):
    """A folder of its own, with whatever supervisor the test starts there."""
    folder = tmp_path / "runs"
    folder.mkdir()
    yield folder
    end(folder)


def test_a_run_starts_and_ends(root):
    run = make(root, "first", steps=10, **{"train.threads": 2})  # the process may have threads, though forked
    supervisor.submit(root, run.folder, {"train.lr": 0.002})
    assert supervisor.status(root, "first") in ("queued", "starting", "running", "finished")
    until(lambda: supervisor.status(root, run.folder) == "finished", "it is finished")
    assert kinds(run)[0] == "start"
    assert "metrics" in kinds(run)
    assert run.config().train.lr == 0.002
    start = run.events()[0]
    assert start["threads"] == 2
    assert start["pid"] not in (os.getpid(), *supervisors(root))
    assert (run.folder / "log.txt").read_text() == ""
    until(lambda: not os.path.exists(f"/proc/{start['pid']}"), "no zombie is left")
    assert supervisor.queue(root) == []


def test_the_supervisor_stays_fit_to_fork(root):
    """One thread, and no driver of a graphics card opened."""
    run = make(root, "forked", steps=5)
    supervisor.submit(root, run.folder)
    until(lambda: run.state() == "finished", "it was forked")
    (pid,) = supervisors(root)
    assert len(os.listdir(f"/proc/{pid}/task")) == 1
    assert not [f for f in Path(f"/proc/{pid}/fd").iterdir() if "nvidia" in os.readlink(f)]


def test_two_runs_train_and_a_third_waits(root):
    runs = [make(root, f"many-{k}") for k in range(4)]
    for run in runs:
        supervisor.submit(root, run.folder)
    until(lambda: all("metrics" in kinds(r) for r in runs[:2]), "two train")
    glances = [Glance(r) for r in runs]
    assert supervisor.statuses(root, glances) == [supervisor.status(root, r.folder) for r in runs]
    assert [supervisor.status(root, r.folder) for r in runs] == ["running", "running", "queued", "queued"]
    assert supervisor.queue(root) == ["many-2", "many-3"]
    assert len({os.getsid(pid_of(r)) for r in runs[:2]} - set(map(os.getsid, supervisors(root)))) == 2

    assert supervisor.cancel(root, "many-2")
    assert not supervisor.cancel(root, "many-2")
    assert not supervisor.cancel(root, "many-0")
    assert supervisor.status(root, "many-2") == "new"
    for run in (runs[0], runs[3]):
        with pytest.raises(UsageError, match="already"):
            supervisor.submit(root, run.folder)

    runs[1].send("stop")
    until(lambda: runs[3].is_running(), "the next one starts")
    assert supervisor.queue(root) == []
    assert supervisor.status(root, "many-0") == "running"
    assert runs[2].events() == []


def test_a_run_started_by_hand_counts(root):
    by_hand = [make(root, f"hand-{k}") for k in range(2)]
    waiting = make(root, "waiting", steps=10)
    with by_hand[0].lock():
        with by_hand[1].lock():
            supervisor.submit(root, waiting.folder)
            time.sleep(0.5)  # several looks of the supervisor
            assert supervisor.queue(root) == ["waiting"]
        until(lambda: waiting.state() == "finished", "there was room")


def test_a_killed_run_is_interrupted_and_resumes(root):
    run = make(root, "killed", **{"train.save_seconds": 0.0})
    supervisor.submit(root, run.folder)
    until(lambda: run.step() > 20, "it trains")
    os.kill(pid_of(run), signal.SIGKILL)
    until(lambda: supervisor.status(root, run.folder) == "interrupted", "it is dead")
    reached = run.step()
    supervisor.submit(root, run.folder)
    until(lambda: "resume" in kinds(run) and run.step() > reached, "it goes on")
    resumed = next(e for e in run.events() if e["event"] == "resume")
    assert 0 < resumed["step"] <= reached


def test_what_can_not_start_is_told_so(root):
    run = make(root, "impossible")
    ticket = {"run": "impossible", "changes": {"model.kind": "ladder", "learner.name": "elbo", "data.name": "nothing"}}
    files.write_json(root / ".supervisor" / "queue" / "1.json", ticket)  # as `submit` would never leave it
    until(lambda: run.state() == "failed", "it failed")
    (failed,) = run.events()
    assert "nothing" in failed["why"]
    (run.folder / "config.json").write_text("{")
    supervisor.submit(root, run.folder)
    until(lambda: len(run.events()) == 2, "it failed again")
    assert "damaged" in run.events()[1]["why"]


def test_damaged_tickets_and_lost_runs_are_dropped(root):
    queue = root / ".supervisor" / "queue"
    lost = make(root, "lost")
    good = make(root, "good", steps=5)
    blockers = [make(root, f"block-{k}") for k in range(2)]
    with blockers[0].lock(), blockers[1].lock():
        supervisor.submit(root, lost.folder)
        for k, text in enumerate(("", "[1]", '{"run": 3}', '{"run": "../.."}', '{"run": "good", "changes": 3}', "\0")):
            (queue / f"{k}.json").write_text(text)
        (queue / "6.json").mkdir()
        (queue / "7.json").symlink_to(queue / "nowhere")
        (lost.folder / "config.json").unlink()
        lost.folder.rename(root / ".lost")
        supervisor.submit(root, good.folder)
    until(lambda: good.state() == "finished", "the sound one was trained")
    until(lambda: not [f for f in queue.iterdir() if f.name.endswith(".json")], "the others are gone")
    assert not lost.folder.exists()
    assert supervisor.is_alive(root)


def test_a_killed_supervisor_takes_nobody_with_it(alone):
    calls = [threading.Thread(target=supervisor.ensure, args=(alone,)) for _ in range(2)]
    code = f"from symeq_core import supervisor; supervisor.ensure({str(alone)!r})"
    others = [subprocess.Popen([sys.executable, "-c", code], cwd=HERE) for _ in range(2)]
    for call in calls:
        call.start()
    runs = [make(alone, f"run-{k}") for k in range(3)]
    for run in runs:
        supervisor.submit(alone, run.folder)
    until(lambda: all(r.is_running() for r in runs[:2]), "two train")
    for waited in (*calls, *others):
        waited.join() if isinstance(waited, threading.Thread) else waited.wait(PATIENCE)
    (first,) = supervisors(alone)  # four asked for one

    os.kill(first, signal.SIGKILL)
    until(lambda: not supervisor.is_alive(alone), "the supervisor is dead")
    before = [r.step() for r in runs[:2]]
    until(lambda: all(r.step() > s for r, s in zip(runs, before, strict=False)), "they train on")

    supervisor.ensure(alone)
    (second,) = until(lambda: supervisors(alone), "there is another one")
    assert second != first
    until(lambda: supervisor.is_alive(alone), "it has the lock")
    assert supervisor.queue(alone) == ["run-2"]  # as two train
    runs[0].send("stop")
    until(lambda: "metrics" in kinds(runs[2]), "the third one trains")
    assert runs[1].is_running()


def test_elsewhere_a_process_is_started_anew(alone, monkeypatch):
    """Without fork; and what is not needed any more ends by itself."""
    monkeypatch.setattr(supervisor, "FORKS", False)
    monkeypatch.setattr(supervisor, "ensure", supervisor._made)  # no other supervisor
    run = make(alone, "cold", steps=5)
    supervisor.submit(alone, run.folder, {"train.lr": 0.002})
    supervisor.serve(alone, idle=0.0)
    assert run.state() == "finished"
    assert run.config().train.lr == 0.002
    assert not supervisor.is_alive(alone)
    assert os.listdir(alone / ".supervisor" / "queue") == ["lock"]


def test_a_supervisor_ends_when_nobody_needs_it(alone, monkeypatch):
    monkeypatch.setattr(supervisor, "_preload", lambda: True)
    supervisor.serve(alone, idle=0.2)
    assert not supervisor.is_alive(alone)
    serving = threading.Thread(target=supervisor.serve, args=(alone, 60))
    serving.start()
    until(lambda: supervisor.is_alive(alone), "it has the lock")
    supervisor.serve(alone)  # a second one gives way
    assert serving.is_alive()
    monkeypatch.setattr(supervisor, "_code", lambda: {"new": 1})  # the library was changed
    serving.join(PATIENCE)
    assert not supervisor.is_alive(alone)


def test_a_supervisor_whose_folder_is_gone_ends(alone, monkeypatch):
    monkeypatch.setattr(supervisor, "_preload", lambda: True)
    serving = threading.Thread(target=supervisor.serve, args=(alone, 60))
    serving.start()
    until(lambda: supervisor.is_alive(alone), "it has the lock")
    (alone / ".supervisor").rename(alone / ".gone")
    serving.join(PATIENCE)
    assert not (alone / ".supervisor").exists()


def test_no_disk_ends_a_supervisor(alone, monkeypatch):
    """Whatever fails in a turn is said once and tried again."""
    broken = supervisor.Supervisor._start
    left = [OSError(30, "Read-only file system")] * 3 + [ValueError("of any kind")]

    def start(self, ticket):
        if left:
            raise left.pop()
        broken(self, ticket)

    def fork(run, changes, ticket):
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(supervisor, "_preload", lambda: True)
    monkeypatch.setattr(supervisor, "ensure", supervisor._made)
    monkeypatch.setattr(supervisor.Supervisor, "_start", start)
    monkeypatch.setattr(supervisor, "_fork", fork)
    run = make(alone, "run")
    supervisor.submit(alone, run.folder)
    supervisor.serve(alone, idle=0.0)
    assert left == []
    (failed,) = run.events()
    assert "Resource temporarily unavailable" in failed["why"]


def test_tickets_taken_by_a_dead_supervisor_wait_again(tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, "ensure", supervisor._made)
    run = make(tmp_path, "run")
    supervisor.submit(tmp_path, run.folder)
    (ticket,) = supervisor._waiting(tmp_path / ".supervisor")
    ticket.rename(ticket.with_suffix(".taken"))
    assert supervisor.status(tmp_path, "run") == "starting"
    assert supervisor.queue(tmp_path) == []
    with pytest.raises(UsageError, match="already"):
        supervisor.submit(tmp_path, run.folder)
    monkeypatch.setattr(supervisor, "_preload", lambda: False)
    supervisor.Supervisor(tmp_path / ".supervisor", 0.0)._give_back()
    assert supervisor.status(tmp_path, "run") == "queued"


@pytest.mark.parametrize("name", ["", ".", "..", "../outside", "/", "a/b", ".supervisor", "a\0", "x" * 5000])
def test_only_runs_in_the_folder_can_be_started(tmp_path, name):
    make(tmp_path, "outside")
    root = tmp_path / "runs"
    root.mkdir()
    (root / "link").symlink_to(tmp_path / "outside")
    for given in (name, tmp_path / "outside", "link"):
        with pytest.raises(SymeqError, match=r"^[^\n]*\.$"):
            supervisor.submit(root, given)
    assert os.listdir(root) == ["link"]


def test_submit_refuses_what_can_not_be(tmp_path):
    run = make(tmp_path, "run")
    with pytest.raises(UsageError, match="no field"):
        supervisor.submit(tmp_path, run.folder, {"train.speed": 3})
    with pytest.raises(UsageError, match="not valid"):
        supervisor.submit(tmp_path, run.folder, {"train.lr": -1})
    run.weights.touch()
    with pytest.raises(UsageError, match="can't change within a run"):
        supervisor.submit(tmp_path, run.folder, {"seed": 3})
    with run.lock(), pytest.raises(UsageError, match="already"):
        supervisor.submit(tmp_path, run.folder)
    (tmp_path / "checkpoint").mkdir()
    with pytest.raises(SymeqError, match="not a run"):
        supervisor.submit(tmp_path, "checkpoint")
    with pytest.raises(SymeqError, match="no folder"):
        supervisor.submit(tmp_path, "nowhere")
    assert supervisor.queue(tmp_path) == []
    assert not supervisor.is_alive(tmp_path)


def test_of_two_simultaneous_tickets_for_one_run_one_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, "ensure", supervisor._made)
    run = make(tmp_path, "run")
    said = []

    def submit():
        try:
            supervisor.submit(tmp_path, run.folder)
        except UsageError as e:
            said.append(str(e))

    calls = [threading.Thread(target=submit) for _ in range(4)]
    for call in calls:
        call.start()
    for call in calls:
        call.join()
    assert supervisor.queue(tmp_path) == ["run"]
    assert len(said) == 3


def test_importing_and_asking_needs_no_torch(tmp_path):
    code = """
import sys
from symeq_core import supervisor
supervisor.is_alive(sys.argv[1]), supervisor.queue(sys.argv[1])
print([m for m in ("torch", "numpy", "streamlit") if m in sys.modules])
"""
    out = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=HERE, capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "[]"
