"""A run is a folder; copying it moves the run. The folder is the only channel between a training process and others.

config.json         complete, with seed; rewritten when hyperparameters change
events.jsonl        append only, one JSON object a line; a torn line is ignored
snapshots/STEP/     the pictures that sheets.BOARDS lists, codes.safetensors
latest.safetensors  the pair, optimiser state and counters
commands/           pause, resume, step, stop, set: one JSON file each, consumed in order
lock                held by the training process, released by the system when it ends in any way
"""

import json
import os
import re
import shutil
import sys
import textwrap
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from . import files, shapes
from .config import Config, check_live, from_dict, override, to_dict
from .errors import SymeqError, UsageError

WEIGHTS = ("model.safetensors", "latest.safetensors")
COMMANDS = ("pause", "resume", "step", "stop", "set")
PLAYERS = ("p", "q")
# The events that change the state of a run, and that state.
STATES = {
    "start": "running",
    "resume": "running",
    "running": "running",
    "paused": "paused",
    "stopped": "stopped",
    "finished": "finished",
    "failed": "failed",
}
_BLANK = {"config.json", "events.jsonl", "commands", "lock", "log.txt"}  # a run that has nothing to lose
MEASURED = ("metrics", "probe", "snapshot")  # the events that a resume from an earlier step takes back


def runs_root() -> Path:
    """Where runs are made unless told: SYMEQ_RUNS, else ./runs."""
    return Path(os.environ.get("SYMEQ_RUNS") or "runs").expanduser()


class Run:
    """One run folder."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.weights = self.folder / "latest.safetensors"

    @classmethod
    def create(cls, folder: str | Path, config: Config) -> "Run":
        """A new run, also in the folder of one that failed before its first step; UsageError where it is in use."""
        run = cls(folder)
        if run.folder.exists() and not run._is_blank():
            raise UsageError(f"{folder} exists and is not empty: name a new folder, or resume the run that is there.")
        run.write_config(config)
        return run

    def _is_blank(self) -> bool:
        """An empty folder, or a run that never came to save anything."""
        if not self.folder.is_dir():
            return False
        held = {f.name for f in self.folder.iterdir()}
        if not held:
            return True
        with suppress(SymeqError):  # else not a run of ours
            self.config()
            return held <= _BLANK and not self.is_running()
        return False

    def discard(self) -> bool:
        """Remove a run that never came to save anything; False, and nothing done, with any other."""
        if not self._is_blank():
            return False
        shutil.rmtree(self.folder, ignore_errors=True)
        return True

    @classmethod
    def open(cls, folder: str | Path) -> "Run":
        """An existing run; SymeqError where the folder holds none."""
        run = cls(folder)
        if not run.folder.is_dir():
            raise SymeqError(f"There is no folder {folder}: `python -m symeq_core runs` lists the runs.")
        if not (run.folder / "config.json").is_file():
            raise SymeqError(f"{folder} is not a run: it holds no config.json.")
        if not is_run(run.folder):
            raise SymeqError(f"{folder} is a finished checkpoint, not a run: train a new run from a preset.")
        return run

    def config(self) -> Config:
        """The validated config now in force; SymeqError where it is damaged."""
        return read_config(self.folder)

    def write_config(self, config: Config) -> None:
        """Replace config.json."""
        files.write_json(self.folder / "config.json", to_dict(config))

    # --- events ---

    def append(self, event: dict[str, Any]) -> None:
        """Add one event, stamped with the time; it survives the death of this process at once."""
        line = json.dumps(event | {"time": round(time.time(), 3)}, allow_nan=False) + "\n"
        path = self.folder / "events.jsonl"
        with files.told(f"{path} could not be written"), open(path, "a+b") as f:
            if f.tell():
                f.seek(-1, os.SEEK_END)
                if f.read(1) != b"\n":  # a torn line: leave it behind
                    line = "\n" + line
            f.write(line.encode())

    def events(self) -> list[dict[str, Any]]:
        """All events that hold: torn lines are left out, and so is what a later resume took back."""
        path = self.folder / "events.jsonl"
        try:
            return fold([], parse(path.read_bytes()))
        except FileNotFoundError:
            return []
        except OSError as e:
            raise SymeqError(f"{path} can't be read ({e.strerror or e}).") from e

    # --- liveness ---

    @contextmanager
    def lock(self, patience: float = 1.0) -> Iterator[None]:
        """Hold the run; SymeqError where another process still does after `patience` seconds."""
        lock = FileLock(self.folder / "lock")
        while not lock.is_locked:
            try:
                lock.acquire(timeout=patience, poll_interval=0.02)
            except Timeout:
                if self.is_running():  # not only looked at
                    message = f"{self.folder} is being trained by another process: stop that one first."
                    raise SymeqError(message) from None
            except OSError as e:
                raise SymeqError(f"{self.folder} can't be locked ({e.strerror or e}): is the disk read-only?") from e
        try:
            yield
        finally:
            lock.release()

    def is_running(self) -> bool:
        """Whether a process holds the lock right now; never true of a dead one."""
        try:
            return _is_held(self.folder / "lock")
        except OSError:  # no such file, or one that we may not open: nobody we know trains there
            return False

    def state(self) -> str:
        """new, running, paused, stopped, finished, failed, or interrupted (its process died)."""
        running = self.is_running()  # first: what a process says last, it says while it still holds the lock
        told = [STATES[e["event"]] for e in self.events() if e["event"] in STATES]
        return state_of(running, told[-1] if told else None)

    def step(self) -> int:
        """The step that the latest event tells of."""
        return next((e["step"] for e in reversed(self.events()) if "step" in e), 0)

    # --- commands ---

    def send(self, command: str, **details: Any) -> None:
        """Leave a command for the training process; UsageError where it makes no sense, SymeqError where none runs.

        step: players=["p"], ["q"] or both, count=1. set: changes={"train.lr": 1e-4}.
        """
        check_command({"do": command, **details}, self.config())
        if not self.is_running():
            raise SymeqError(f"{self.folder} is not running, so there is nothing to {command}: resume it first.")
        name = f"{time.time_ns():020d}-{uuid.uuid4().hex[:6]}.json"
        files.write_json(self.folder / "commands" / name, {"do": command, **details})

    def take_commands(self) -> Iterator[dict[str, Any]]:
        """The commands left so far, oldest first, each removed before it is returned.

        A file that is not a sound command comes as {"do": "refused", "why": sentence}.
        """
        for path in self._command_files():
            try:
                command = files.read_json(path)
                check_command(command, self.config())
            except SymeqError as e:
                command = {"do": "refused", "why": str(e)}
            _remove(path)
            yield command

    def _command_files(self) -> list[Path]:
        """In the order in which they were left, as a name begins with its time."""
        found = (self.folder / "commands").glob("*.json")
        return sorted(f for f in found if f.is_file() and not f.name.startswith("."))

    def sweep(self) -> None:
        """For the process that has just taken the lock: remove commands meant for an earlier one, and its torn files.

        Nobody else writes to the folder now, but for commands.
        """
        for path in self._command_files():
            _remove(path)
        for folder in (self.folder, self.folder / "snapshots"):
            for path in folder.glob(".*.tmp"):
                _remove(path)

    # --- snapshots ---

    def write_snapshot(self, step: int, contents: dict[str, bytes]) -> None:
        """Store a snapshot, replacing one of the same step."""
        files.write_folder(self.folder / "snapshots" / f"{step:08d}", contents)

    def snapshots(self) -> dict[int, Path]:
        """Snapshot folders by training step, in order."""
        folder = self.folder / "snapshots"
        found = folder.iterdir() if folder.is_dir() else ()
        return {int(f.name): f for f in sorted(found) if f.name.isdecimal()}

    def drop_snapshots(self, after: int) -> None:
        """Remove the snapshots of steps after this one, to which training went back."""
        for step, path in self.snapshots().items():
            if step > after:
                _remove(path)


def state_of(running: bool, told: str | None) -> str:
    """The state of a run whose process is alive or not, and whose events tell of this state, if of any."""
    if running:
        return "paused" if told == "paused" else "running"
    return "interrupted" if told in ("running", "paused") else told or "new"


def read_config(folder: str | Path) -> Config:
    """The validated config of a checkpoint or run folder; SymeqError with one sentence where it is not sound."""
    return _config(Path(folder) / "config.json")


@files.once
def _config(path: Path) -> Config:
    values = files.read_json(path)
    if not isinstance(values, dict):
        raise SymeqError(f"{path} is not a configuration of ours: restore it from a copy.")
    try:
        return from_dict(values, str(path))
    except UsageError as e:  # nobody asked for anything wrong: the file is bad; it may hold any text, of any length
        raise SymeqError(textwrap.shorten(str(e), 500, placeholder=" ...")) from None


def check_command(command: Any, config: Config) -> None:
    """UsageError with one sentence where a command could not be carried out."""
    if not isinstance(command, dict) or command.get("do") not in COMMANDS:
        raise UsageError(f"There is no such command: the commands are {', '.join(COMMANDS)}.")
    if command["do"] == "step":
        players, count = command.get("players", list(PLAYERS)), command.get("count", 1)
        if not isinstance(players, list) or not players or any(k not in PLAYERS for k in players):
            raise UsageError('A step names its players: ["p"], ["q"] or both.')
        if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= 1_000_000:
            raise UsageError("A step's count is a whole number from 1 to 1,000,000.")
    if command["do"] == "set":
        changes = command.get("changes")
        if not isinstance(changes, dict) or not changes:
            raise UsageError('A set command needs changes, as in {"train.lr": 0.0001}.')
        check_live(changes)
        override(config, changes)


def parse(content: bytes) -> list[dict[str, Any]]:
    """The events in lines of events.jsonl, without those that are torn or foreign."""
    return [event for event in readable(content) if shapes.is_event(event)]


def readable(content: bytes) -> list[dict[str, Any]]:
    """The events in lines of events.jsonl, whatever they say, without those that are torn."""
    return [event for event in map(_event, content.splitlines()) if event]


def _event(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        return None
    return event if event["event"] not in (*MEASURED, "resume") or "step" in event else None


def fold(events: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Events with later ones added: a start or resume takes back what was measured after the step it goes on from.

    What was done (set, paused, failed, ...) stays.
    """
    found = list(events)
    for event in new:
        if event["event"] == "resume":
            found = [e for e in found if e["event"] not in MEASURED or e["step"] <= event["step"]]
        elif event["event"] == "start":
            found = [e for e in found if e["event"] not in MEASURED]
        found.append(event)
    return found


def _is_held(lock: Path) -> bool:
    """Whether a process holds the lock file. A look takes its share of the lock, so that looks don't see each other."""
    if sys.platform == "win32":  # no shares there
        with open(lock, "rb"), suppress(Timeout), FileLock(lock).acquire(timeout=0):
            return False
        return True
    import fcntl

    with open(lock, "rb") as f:
        try:
            fcntl.flock(f, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def _remove(path: Path) -> None:
    try:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    except OSError as e:
        raise SymeqError(f"{path} can't be removed ({e.strerror or e}): is the disk read-only?") from e


def saved(folder: Path) -> Path | None:
    """The weights of a checkpoint (model.safetensors) or run (latest.safetensors); None where it holds none."""
    return next((folder / name for name in WEIGHTS if os.path.isfile(folder / name)), None)


def is_run(folder: Path) -> bool:
    """Whether a folder holds a run; a checkpoint has a config.json, too."""
    return os.path.isfile(folder / "config.json") and not os.path.isfile(folder / "model.safetensors")


def all_runs(root: Path) -> list[Run]:
    """The runs directly in a folder, the last changed first."""
    if not root.is_dir():
        return []
    return [Run(f) for f in sorted(filter(is_run, root.iterdir()), key=_changed, reverse=True)]


def _changed(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except OSError:  # just removed
        return 0.0


def new_folder(root: Path, name: str) -> Path:
    """A new, empty folder: the name, the date, and a number where needed, as others may be started at the same time."""
    stem = (re.sub(r"[^\w.-]+", "-", name).lstrip(".-")[:60] or "run") + time.strftime("-%Y%m%d-%H%M%S")
    for k in range(1, 1000):
        folder = root / (stem if k == 1 else f"{stem}-{k}")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            continue
        except OSError as e:
            raise SymeqError(f"{folder} can't be made ({e.strerror or e}): name a folder with --out.") from e
    raise SymeqError(f"{root} holds too many runs named {stem}: name a folder with --out.")
