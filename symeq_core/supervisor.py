"""A detached process for each folder of runs: it keeps torch warm and starts training processes, a few at a time.

ROOT/.supervisor/
lock        held by the supervisor, so it is alive while this is held, and only then
queue/      TIME-ID.json, a ticket: {"run": folder name, "changes": {...} or null}; .taken once a process is started
heartbeat   touched by `ensure`: without one, an idle supervisor ends
log.txt     what the supervisor had to say

Pages call `ensure`, `submit`, `queue`, `cancel`, `status` and `is_alive`, which need no torch. A training process
outlives the supervisor, and counts by its lock like one that was started by hand.
"""

import argparse
import gc
import importlib
import os
import subprocess
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from . import files
from .config import FIXED, check_live, full_name, override
from .errors import SymeqError, UsageError
from .follow import Glance
from .runs import Run, all_runs, state_of

PARALLEL = 2  # runs that train at once in one folder
IDLE_SECONDS = 900.0  # without work or heartbeat, until the supervisor ends
BUSY_POLL, QUIET_POLL = 0.02, 0.1  # seconds between two looks
BUSY_SECONDS = 3.0  # of frequent looks after a change
LAUNCH_SECONDS = 10.0  # within which a new supervisor has taken its lock
LOG_BYTES = 1 << 20
# Elsewhere torch and the system's own libraries do not bear a fork.
FORKS = sys.platform.startswith("linux")
# All that a run imports on its way to the first event, and that takes long.
PRELOAD = ("symeq_core.worker", "sklearn.datasets", "sklearn.model_selection", "torch._dynamo", "torchvision")
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",  # none of them may have started a thread before a fork; a run then chooses its own number
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",  # pyarrow, which scikit-learn imports through pandas
    "OMP_WAIT_POLICY": "passive",  # two runs that share cores, and wait by spinning, slow each other down fiftyfold
}

_launching = threading.Lock()
_launched: dict[Path, tuple[float, subprocess.Popen]] = {}  # by folder: when, what


# --- for pages -------------------------------------------------------------------------------------------------


def ensure(root: str | Path) -> None:
    """Start a supervisor where none is alive, and tell a living one that it is needed; waits for nothing.

    However many call at once, one supervisor stays. SymeqError where the folder can't be written.
    """
    home = _made(root)
    try:
        (home / "heartbeat").touch()
        with _launching:
            when, process = _launched.get(home, (0.0, None))
            starting = process and process.poll() is None and time.monotonic() - when < LAUNCH_SECONDS
            if not starting and not is_alive(root):
                _launched[home] = time.monotonic(), _launch(home)
    except OSError as e:
        raise SymeqError(f"{home} can't be used ({e.strerror or e}): free or unlock that disk.") from e


def is_alive(root: str | Path) -> bool:
    """Whether a supervisor holds its lock right now; one that was just launched takes a moment."""
    return Run(_home(root)).is_running()


def submit(root: str | Path, run: str | Path, changes: Mapping[str, Any] | None = None) -> None:
    """Queue a run (its folder, or the folder's name) to be trained, or resumed, with changed settings.

    UsageError where it is outside root, waiting or running already, or where the changes can't be made.
    """
    found = _inside(root, run)
    Run.open(found.folder)
    changes = {full_name(k): v for k, v in (changes or {}).items()}
    if changes:
        override(found.config(), changes)
        if found.weights.is_file():
            check_live(k for k in changes if k not in FIXED)
    home, name = _made(root), found.folder.name
    with Run(home / "queue").lock(patience=10.0):  # so that of two at once one is refused
        if found.is_running():
            raise UsageError(f"{name} is being trained already: stop it first.")
        if name in map(_run_of, _tickets(home)):
            raise UsageError(f"{name} is waiting to be trained already: cancel that first.")
        ticket = f"{time.time_ns():020d}-{uuid.uuid4().hex[:6]}.json"
        files.write_json(home / "queue" / ticket, {"run": name, "changes": changes or None})
    ensure(root)


def queue(root: str | Path) -> list[str]:
    """The runs that wait, by folder name, the next one first."""
    return [name for t in _waiting(_home(root)) if (name := _run_of(t))]


def cancel(root: str | Path, run: str | Path) -> bool:
    """Take a run out of the queue; False where it does not wait (any more)."""
    name = _inside(root, run).folder.name
    done = False
    for ticket in [t for t in _waiting(_home(root)) if _run_of(t) == name]:
        try:
            ticket.unlink()
            done = True
        except FileNotFoundError:  # the supervisor was quicker
            pass
        except OSError as e:
            raise SymeqError(f"{ticket} can't be removed ({e.strerror or e}): is the disk read-only?") from e
    return done


def status(root: str | Path, run: str | Path) -> str:
    """One word: queued, starting (until its process has the lock), else the run's state."""
    found = _inside(root, run)
    if not found.is_running():
        waits = _states_of_tickets(root).get(found.folder.name)
        if waits:
            return waits
    return found.state()


def statuses(root: str | Path, glances: Iterable[Glance]) -> list[str]:
    """The same for many runs at once, from a new look at the end of their events."""
    waiting, found = _states_of_tickets(root), []
    for glance in glances:
        running = glance.run.is_running()  # before its events, as in Run.state
        glance.refresh()
        waits = None if running else waiting.get(glance.run.folder.name)
        found.append(waits or state_of(running, glance.state))
    return found


def _states_of_tickets(root: str | Path) -> dict[str, str]:
    """queued or starting, by folder name."""
    tickets = [(_run_of(t), "queued" if t.suffix == ".json" else "starting") for t in _tickets(_home(root))]
    return {name: state for name, state in tickets if name}


# --- the folder ------------------------------------------------------------------------------------------------


def _home(root: str | Path) -> Path:
    return Path(root).resolve() / ".supervisor"


def _made(root: str | Path) -> Path:
    home = _home(root)
    try:
        (home / "queue").mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise SymeqError(f"{home} can't be made ({e.strerror or e}): free or unlock that disk.") from e
    return home


def _inside(root: str | Path, run: str | Path) -> Run:
    """The run in this folder, or of this name; UsageError unless it lies directly in root."""
    try:
        root = Path(root).resolve()
        folder = (root / run if len(Path(run).parts) < 2 else Path(run)).resolve()
        folder.exists()  # which complains, too
    except (OSError, ValueError):  # a name that no folder can have
        folder = Path()
    if folder.parent != root or folder.name.startswith("."):
        raise UsageError(f"{str(run)!r:.200} is not a folder directly in {root}: only runs in there can be started.")
    return Run(folder)


def _tickets(home: Path) -> list[Path]:
    """Waiting (.json) and taken (.taken) ones, in the order in which they were left."""
    try:
        names = os.listdir(home / "queue")
    except OSError:  # nobody has asked for anything yet
        return []
    found = [home / "queue" / name for name in sorted(names) if not name.startswith(".")]
    return [t for t in found if t.suffix in (".json", ".taken")]


def _waiting(home: Path) -> list[Path]:
    return [t for t in _tickets(home) if t.suffix == ".json"]


def _read(ticket: Path) -> tuple[str, dict[str, Any]]:
    """(run, changes); SymeqError where the ticket is damaged or gone."""
    values = files.read_json(ticket)
    run, changes = (values.get("run"), values.get("changes")) if isinstance(values, dict) else (None, None)
    if not isinstance(run, str) or not isinstance(changes, dict | None):
        raise SymeqError(f"{ticket} is not a ticket of ours.")
    return run, changes or {}


def _run_of(ticket: Path) -> str | None:
    try:
        return _read(ticket)[0]
    except SymeqError:
        return None


def _launch(home: Path) -> subprocess.Popen:
    log = home / "log.txt"
    too_long = log.is_file() and log.stat().st_size > LOG_BYTES
    with open(log, "wb" if too_long else "ab") as out:
        return _detached([str(home.parent)], out)


def _detached(arguments: Sequence[str], out: Any) -> subprocess.Popen:
    """This module as a process of its own, which no end of ours touches."""
    package = str(Path(__file__).resolve().parents[1])
    path = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
    return subprocess.Popen(
        [sys.executable, "-m", "symeq_core.supervisor", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=out,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": path},
    )


# --- the supervisor --------------------------------------------------------------------------------------------


class _Process(Protocol):
    def poll(self) -> int | None: ...


@dataclass
class _Forked:
    """As much of subprocess.Popen as is needed here."""

    pid: int
    code: int | None = None

    def poll(self) -> int | None:
        if self.code is None:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if done else None
        return self.code


@dataclass
class _Child:
    """A training process that we started."""

    process: _Process
    run: Run
    ticket: Path


class Supervisor:
    """Starts training processes for the tickets of one folder, while it holds the folder's lock."""

    def __init__(self, home: Path, idle: float) -> None:
        self.home, self.idle = home, idle
        self.lock = _identity(home / "lock")
        self.code = _code()
        self.warm = FORKS and _preload()
        self.children: list[_Child] = []
        self.changed = time.time()
        self.complaint = ""

    def work(self) -> None:
        """Until nobody needs it any more. Nothing that a disk or a run can be like ends it."""
        self._guarded(self._give_back)
        while not self._is_done():
            self._guarded(self._turn)
            busy = abs(time.time() - self.changed) < BUSY_SECONDS
            time.sleep(BUSY_POLL if busy else QUIET_POLL)

    def _guarded(self, action: Any) -> None:
        try:
            action()
        except Exception as e:
            if str(e) != self.complaint:  # once, not at every turn
                self.complaint = str(e)
                traceback.print_exc()

    def _give_back(self) -> None:
        """Tickets taken by a supervisor that was killed wait again; where the process lives, a second one gives way."""
        for ticket in _tickets(self.home):
            if ticket.suffix == ".taken":
                ticket.rename(ticket.with_suffix(".json"))

    def _is_done(self) -> bool:
        if self.lock != _identity(self.home / "lock"):  # the folder was removed: what is there now is not ours
            return True
        if self.children or _waiting(self.home):
            return False
        try:
            needed = max(self.changed, (self.home / "heartbeat").stat().st_mtime)
        except OSError:
            needed = self.changed
        # With other code than ours on the disk, the next supervisor is the better one.
        return abs(time.time() - needed) > self.idle or self.code != _code()

    def _turn(self) -> None:
        for child in list(self.children):
            self._follow(child)
        for ticket in _waiting(self.home):
            if self._has_room():
                self._start(ticket)

    def _has_room(self) -> bool:
        ours = {child.run.folder.name for child in self.children}
        if len(ours) >= PARALLEL:
            return False
        others = (r for r in all_runs(self.home.parent) if r.folder.name not in ours and r.is_running())
        return len(ours) + len(list(islice(others, PARALLEL))) < PARALLEL

    def _start(self, ticket: Path) -> None:
        taken = ticket.with_suffix(".taken")
        try:
            ticket.rename(taken)
        except FileNotFoundError:  # cancelled just now
            return
        self.changed = time.time()
        try:
            name, changes = _read(taken)
            run = Run.open(_inside(self.home.parent, name).folder)
        except SymeqError as e:
            self._drop(taken, str(e))
            return
        try:
            warm = self.warm and self.code == _code() and _is_on_cpu(run, changes)
            process = _fork(run, changes, taken) if warm else _spawn(run, taken)
            self.children.append(_Child(process, run, taken))
        except OSError as e:
            _fail(run, f"No process could be started ({e.strerror or e}): end other programs and try again.")
            self._drop(taken, f"{run.folder}: {e}")

    def _drop(self, ticket: Path, why: str) -> None:
        print(f"{ticket.name} was dropped: {why}", flush=True)
        ticket.unlink(missing_ok=True)

    def _follow(self, child: _Child) -> None:
        """Look after a process: its ticket goes when it has the lock, or ended."""
        code = child.process.poll()
        waited = child.ticket.exists()
        if waited or code is not None:
            self.changed = time.time()
        if waited and (code is not None or child.run.is_running()):
            child.ticket.unlink(missing_ok=True)
        if code is not None:
            self.children.remove(child)
            if code and (waited or child.run.state() == "new"):
                _fail(child.run, f"Its process ended with code {code} before training began: see its log.txt.")


def serve(root: str | Path, idle: float = IDLE_SECONDS) -> None:
    """Be the supervisor of a folder until nobody needs it; returns at once where there is another one."""
    home = _made(root)
    while home.is_dir():
        try:
            with Run(home).lock():
                print(f"{time.strftime('%F %T')} supervisor of {home.parent}, process {os.getpid()}", flush=True)
                Supervisor(home, idle).work()
        except SymeqError:
            return
        if not _waiting(home):  # what was left just before the lock went, nobody else would see
            return


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _is_on_cpu(run: Run, changes: Mapping[str, Any]) -> bool:
    """Whether a fork will do: drivers of other devices want a process of their own."""
    try:
        return changes.get("train.device", run.config().train.device) == "cpu"
    except SymeqError:  # damaged, as its process will say
        return True


def _code() -> dict[str, int]:
    """What changes when the library does."""
    found = {}
    for name in os.listdir(Path(__file__).parent):
        with suppress(OSError):
            if name.endswith(".py"):
                found[name] = os.stat(Path(__file__).with_name(name)).st_mtime_ns
    return found


def _preload() -> bool:
    """Import what runs need, in this one thread; False where that fails, so that each run says why."""
    os.environ.update(ENVIRONMENT)
    try:
        for name in PRELOAD:
            importlib.import_module(name)
        import torch
        from PIL import Image

        torch.set_num_threads(1)
        Image.init()
    except Exception:
        traceback.print_exc()
        return False
    gc.collect()
    gc.freeze()  # shared with the children for good
    return True


# --- the training process --------------------------------------------------------------------------------------


def _fork(run: Run, changes: dict[str, Any], ticket: Path) -> _Process:
    sys.stdout.flush(), sys.stderr.flush()
    pid = os.fork()
    if pid:
        return _Forked(pid)
    code = 1
    try:
        _detach(run.folder / "log.txt")
        code = _train(run, changes, ticket)
    except BaseException:
        traceback.print_exc()
    finally:  # whatever happens, the child never goes on as a second supervisor
        with suppress(BaseException):
            sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)


def _detach(log: Path) -> None:
    """Away from the parent's terminal and files; its lock is among these, and must end with it."""
    os.setsid()
    os.closerange(3, 65536)
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    try:
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    except OSError:
        out = 0
    os.dup2(out, 1)
    os.dup2(out, 2)


def _spawn(run: Run, ticket: Path) -> _Process:
    """The same without a fork, some seconds slower."""
    with open(run.folder / "log.txt", "ab") as out:
        return _detached([str(run.folder.parent), "--train", ticket.name], out)


def _train(run: Run, changes: dict[str, Any], ticket: Path) -> int:
    """Train a run to its end; returns the exit code. A run that can't start is told so, if it did not say so itself."""
    worker = importlib.import_module("symeq_core.worker")  # here alone, as the library calls need no torch
    last = ""

    def hear(event: dict[str, Any]) -> None:
        nonlocal last
        if not last:
            ticket.unlink(missing_ok=True)
        last = event["event"]

    try:
        worker.Worker(run, hear, changes).work()
        return 0
    except SymeqError as e:
        print(e, file=sys.stderr)
        if last != "failed":
            _fail(run, str(e))
        ticket.unlink(missing_ok=True)
        return 1


def _fail(run: Run, why: str) -> None:
    """Note in the run why it could not start, where that is possible, and unless another process trains it."""
    with suppress(SymeqError, OSError):
        if run.folder.is_dir():
            with run.lock():
                run.append({"event": "failed", "step": run.step(), "why": " ".join(why.split())})


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m symeq_core.supervisor ROOT`; with --train TICKET, the training process that one ticket asks for."""
    parser = argparse.ArgumentParser(prog="python -m symeq_core.supervisor", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("root", type=Path, help="the folder of runs")
    parser.add_argument("--train", metavar="TICKET", help=argparse.SUPPRESS)
    o = parser.parse_args(arguments)
    try:
        if o.train:
            ticket = _home(o.root) / "queue" / o.train
            name, changes = _read(ticket)
            return _train(_inside(o.root, name), changes, ticket)
        serve(o.root)
        return 0
    except SymeqError as e:
        print(f"symeq_core.supervisor: {e}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 1


if __name__ == "__main__":
    sys.exit(main())
