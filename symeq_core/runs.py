"""A run is a folder; copying it moves the run. The folder is the only channel between a training process and others.

config.json         complete, with seed; rewritten when hyperparameters change
events.jsonl        append only, one JSON object a line; a torn line is ignored
snapshots/STEP/     samples.png, reconstructions.png, round_trips.png, codes.safetensors
latest.safetensors  the pair, optimiser state and counters
commands/           pause, resume, step, stop, set: one JSON file each, consumed in order
lock                held by the training process, released by the system when it ends in any way
"""

import json
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from . import files
from .config import Config, check_live, from_dict, override, to_dict
from .errors import SymeqError, UsageError

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
        """A new run; UsageError where the folder is already in use."""
        run = cls(folder)
        if run.folder.exists() and (not run.folder.is_dir() or any(run.folder.iterdir())):
            raise UsageError(f"{folder} exists and is not empty: name a new folder, or resume the run that is there.")
        run.write_config(config)
        return run

    @classmethod
    def open(cls, folder: str | Path) -> "Run":
        """An existing run; SymeqError where the folder holds none."""
        run = cls(folder)
        if not run.folder.is_dir():
            raise SymeqError(f"There is no folder {folder}: `python -m symeq_core runs` lists the runs.")
        if not (run.folder / "config.json").is_file():
            raise SymeqError(f"{folder} is not a run: it holds no config.json.")
        return run

    def config(self) -> Config:
        """The validated config now in force."""
        path = self.folder / "config.json"
        values = files.read_json(path)
        return from_dict(values if isinstance(values, dict) else {"": values}, str(path))

    def write_config(self, config: Config) -> None:
        """Replace config.json."""
        files.write_json(self.folder / "config.json", to_dict(config))

    # --- events ---

    def append(self, event: dict[str, Any]) -> None:
        """Add one event, stamped with the time; it survives the death of this process at once."""
        line = json.dumps(event | {"time": round(time.time(), 3)}, allow_nan=False) + "\n"
        path = self.folder / "events.jsonl"
        try:
            with open(path, "a+b") as f:
                if f.tell():
                    f.seek(-1, os.SEEK_END)
                    if f.read(1) != b"\n":  # a torn line: leave it behind
                        line = "\n" + line
                f.write(line.encode())
        except OSError as e:
            raise SymeqError(f"{path} could not be written ({e.strerror or e}): free or unlock that disk.") from e

    def events(self) -> list[dict[str, Any]]:
        """All events that hold: torn lines are left out, and so is what a later resume took back."""
        try:
            lines = (self.folder / "events.jsonl").read_bytes().splitlines()
        except FileNotFoundError:
            return []
        found: list[dict[str, Any]] = []
        for line in lines:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if not isinstance(event, dict) or "event" not in event:
                continue
            if event["event"] == "resume":
                found = [e for e in found if e.get("step", 0) <= event["step"]]
            found.append(event)
        return found

    # --- liveness ---

    @contextmanager
    def lock(self, patience: float = 1.0) -> Iterator[None]:
        """Hold the run; SymeqError where another process does (after `patience` seconds, as a look is brief)."""
        lock = FileLock(self.folder / "lock")
        try:
            lock.acquire(timeout=patience, poll_interval=0.02)
        except Timeout:
            raise SymeqError(f"{self.folder} is being trained by another process: stop that one first.") from None
        except OSError as e:
            raise SymeqError(f"{self.folder} can't be locked ({e.strerror or e}): is the disk read-only?") from e
        try:
            yield
        finally:
            lock.release()

    def is_running(self) -> bool:
        """Whether a process holds the lock right now; never true of a dead one."""
        path = self.folder / "lock"
        if not path.exists():
            return False
        try:
            with FileLock(path).acquire(timeout=0):
                return False
        except Timeout:
            return True
        except OSError:  # a folder we may not write: nobody we know trains there
            return False

    def state(self) -> str:
        """new, running, paused, stopped, finished, failed, or interrupted (its process died)."""
        changes = [STATES[e["event"]] for e in self.events() if e["event"] in STATES]
        if self.is_running():
            return "paused" if changes and changes[-1] == "paused" else "running"
        if not changes:
            return "new"
        return "interrupted" if changes[-1] in ("running", "paused") else changes[-1]

    def step(self) -> int:
        """The last step any event tells of."""
        return max((e.get("step", 0) for e in self.events()), default=0)

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

    def take_commands(self, since: int = 0) -> Iterator[dict[str, Any]]:
        """The commands left so far, oldest first, each removed before it is returned; those before `since` (ns) expire.

        A file that is not a sound command comes as {"do": "refused", "why": sentence}.
        """
        folder = self.folder / "commands"
        try:
            names = sorted(k for k in os.listdir(folder) if k.endswith(".json") and not k.startswith("."))
        except FileNotFoundError:
            return
        for name in names:
            path = folder / name
            try:
                command = files.read_json(path)
                check_command(command, self.config())
            except SymeqError as e:
                command = {"do": "refused", "why": str(e)}
            path.unlink(missing_ok=True)
            stamp = name.partition("-")[0]
            if not stamp.isdecimal() or int(stamp) >= since:
                yield command

    # --- snapshots ---

    def write_snapshot(self, step: int, contents: dict[str, bytes]) -> None:
        """Store a snapshot, replacing one of the same step."""
        files.write_folder(self.folder / "snapshots" / f"{step:08d}", contents)

    def snapshots(self) -> dict[int, Path]:
        """Snapshot folders by training step, in order."""
        folder = self.folder / "snapshots"
        found = folder.iterdir() if folder.is_dir() else ()
        return {int(f.name): f for f in sorted(found) if f.name.isdecimal()}


def check_command(command: Any, config: Config) -> None:
    """UsageError with one sentence where a command could not be carried out."""
    if not isinstance(command, dict) or command.get("do") not in COMMANDS:
        raise UsageError(f"There is no such command: the commands are {', '.join(COMMANDS)}.")
    if command["do"] == "step":
        players, count = command.get("players", list(PLAYERS)), command.get("count", 1)
        if not isinstance(players, list) or not players or not set(players) <= set(PLAYERS):
            raise UsageError('A step names its players: ["p"], ["q"] or both.')
        if not isinstance(count, int) or not 1 <= count <= 1_000_000:
            raise UsageError("A step's count is a whole number from 1 to 1,000,000.")
    if command["do"] == "set":
        changes = command.get("changes")
        if not isinstance(changes, dict) or not changes:
            raise UsageError('A set command needs changes, as in {"train.lr": 0.0001}.')
        check_live(changes)
        override(config, changes)


def all_runs(root: Path) -> list[Run]:
    """The runs directly in a folder, the newest first."""
    if not root.is_dir():
        return []
    found = [f for f in root.iterdir() if (f / "config.json").is_file()]
    return [Run(f) for f in sorted(found, key=lambda f: f.stat().st_mtime, reverse=True)]


def new_folder(root: Path, name: str) -> Path:
    """A folder name not yet in use: the name, the date, and a number where needed."""
    stem = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    for k in range(1, 1000):
        folder = root / (stem if k == 1 else f"{stem}-{k}")
        if not folder.exists():
            return folder
    raise SymeqError(f"{root} holds too many runs named {stem}: name a folder with --out.")
