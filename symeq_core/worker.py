"""One training process: carries a run folder from where it is to its end, obeying the commands left in it."""

import math
import os
import platform
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from types import FrameType
from typing import Any

import torch

from . import metrics, snapshots
from .checkpoints import pair_tensors, read_tensors, saved_step, write_tensors
from .config import FIXED, Config, check_live, override
from .datasets import complete, load_data
from .errors import SymeqError, UsageError
from .factors import Implicit
from .learners import moves
from .models import build, set_label_bank
from .runs import PLAYERS, Run
from .seeds import derive
from .sources import Source
from .trainer import NonFinite, Trainer, device_of, set_threads

POLL_SECONDS = 0.1  # between looks for commands
PAUSE_SECONDS = 0.03
LATE_SECONDS = 15.0  # a checkpoint waits no longer than this for metrics to be due
DATA_SECONDS = 0.5  # between reports while data load

Listener = Callable[[dict[str, Any]], None]


class Worker:
    """Trains one run. `listener` hears every event as it is written; `changes` are settings to go on with."""

    def __init__(self, run: Run, listener: Listener | None = None, changes: Mapping[str, Any] | None = None) -> None:
        self.run, self.listener, self.changes = run, listener, dict(changes or {})
        self.stop: str | None = None  # why to stop
        self.ready = False  # there is something to save
        self.paused = False
        self.single: deque[tuple[list[str], int]] = deque()  # single steps still to make: (players, count)
        self.early: list[dict[str, Any]] = []  # commands left before training began
        self._polled = self._saved = self._told = 0.0

    def work(self) -> str:
        """Train to the end; returns the last event's name: finished or stopped.

        SymeqError (after a "failed" event) where the run can't go on; UsageError, with the run as it was, where the
        changes can't be. A stop by signal saves first.
        """
        with self.run.lock(), _Signals(self):
            self.run.sweep()
            self._adopt()
            try:
                self._prepare()
                return self._loop()
            except _Stopped:
                self._emit({"event": "stopped", "step": self.run.step(), "reason": "asked to"})
                return "stopped"
            except Exception as e:
                told = self._explained(e)
                with suppress(SymeqError):  # the disk may be what failed
                    step = self.trainer.iteration if hasattr(self, "trainer") else self.run.step()
                    self._emit({"event": "failed", "step": step, "why": _line(told)})
                if told is e:
                    raise
                raise told from e

    def _explained(self, e: Exception) -> Exception:
        """What torch says in its own words, said in ours."""
        if isinstance(e, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(e):
            return SymeqError(
                f"The memory of {self.config.train.device} is too small for this: "
                "resume with a smaller train.batch, or start a smaller model."
            )
        if isinstance(e, RuntimeError | ValueError) and self.ready:  # as of a draw from NaN
            try:
                self.trainer.metrics()  # names the first utility that was not finite
                self._check_finite(self.trainer.iteration + 1)
            except (NonFinite, RuntimeError) as found:
                if "device-side assert" in str(found):  # CUDA's word for a draw from NaN; it answers nothing more
                    return NonFinite("What a player draws from", self.trainer.iteration + 1)
                return found if isinstance(found, NonFinite) else e
        return e

    # --- preparation ---

    def _prepare(self) -> None:
        fresh = not self.run.weights.is_file()
        self.config = self._configure(fresh)
        train = self.config.train
        threads, device = set_threads(train.threads), device_of(train.device)
        self.p, self.q = build(self.config.model, derive(self.config.seed, "weights"))
        self.data = load_data(self.config.data, self._data_progress)
        self.p.to(device), self.q.to(device)
        self.source = source = self._source(device)
        if source.labels is not None and source.chosen is not None:  # no other label is known
            set_label_bank(self.p, source.labels[source.chosen], derive(self.config.seed, "label bank"))
        steps = moves(self.p, self.q, self.config.learner)
        self.trainer = Trainer(steps, source, train, self.config.seed, device)
        if not fresh:
            self._restore(device)
        self.run.drop_snapshots(after=-1 if fresh else self.trainer.iteration)
        images, self.labels = snapshots.probe_set(self.data, self.config)
        self.probe = images.to(device)
        self._emit(
            {
                "event": "start" if fresh else "resume",
                "step": self.trainer.iteration,
                "device": str(device),
                "threads": threads,
                "torch": torch.__version__,
                "machine": platform.processor() or platform.machine(),
                "pid": os.getpid(),
                "images": len(self.data.train),
                "parameters": {"p": _count(self.p), "q": _count(self.q)},
            }
        )
        if self.changes:
            self._emit({"event": "set", "step": self.trainer.iteration, "changes": self.changes})
        self._saved = time.monotonic()
        if fresh:
            self._look(probe=True, snapshot=True)
            self._save()

    def _adopt(self) -> None:
        """Write the changes into the run's config, once it is known that they can be."""
        if self.changes:
            if self.run.weights.is_file():
                check_live(k for k in self.changes if k not in FIXED)
            changed = override(self.run.config(), self.changes)
            changed = replace(changed, data=check(changed).data)  # the path whole
            step = saved_step(self.run.folder)
            if step is not None and step >= changed.train.steps:
                raise UsageError(
                    f"{self.run.folder} is at step {step:,} already, and --steps is the total: "
                    f"go on with --steps N, N above {step:,}."
                )
            self.run.write_config(changed)

    def _configure(self, fresh: bool) -> Config:
        """The run's complete config, written where it wasn't."""
        config = self.run.config()
        checked = check(config)
        if checked != config:
            if not fresh:
                raise SymeqError(
                    f"The images of {config.data.path or config.data.name} have another shape or other labels than "
                    "when this run was made: bring the old ones back, or start a new run."
                )
            self.run.write_config(checked)
        return checked

    def _source(self, device: torch.device) -> Source:
        c = self.config
        return Source(self.data.train, c.data, c.seed, c.train.batch, c.train.labelled_batch, device)

    def _restore(self, device: torch.device) -> None:
        tensors, _ = read_tensors(self.run.weights)
        wanted = pair_tensors(self.p, self.q)
        try:
            for name, mine in wanted.items():
                if tensors[name].shape != mine.shape:
                    raise ValueError(f"{name} is {list(tensors[name].shape)}, not {list(mine.shape)}")
            with torch.no_grad():  # in place, as the moves hold these very parameters
                for name, mine in wanted.items():
                    mine.copy_(tensors[name])
            self.trainer.load_state(tensors)
        except (LookupError, ValueError, RuntimeError) as e:
            raise SymeqError(
                f"{self.run.weights} does not fit the run's config.json ({_line(e)[:80]}): restore both from one copy."
            ) from e

    def _data_progress(self, what: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        if now - self._told > DATA_SECONDS:
            self._told = now
            self._emit({"event": "data", "what": what, "done": done, "total": total})
            self.early += self.run.take_commands()
            if any(command["do"] == "stop" for command in self.early):
                raise _Stopped

    # --- training ---

    def _loop(self) -> str:
        self.ready = True
        while True:
            self._poll()
            if self.stop:
                return self._end("stopped", reason=self.stop)
            if self.trainer.iteration >= self.config.train.steps:
                return self._end("finished")
            if self.single:
                self._single_step()
            elif self.paused:
                time.sleep(PAUSE_SECONDS)
            else:
                self._iteration()

    def _iteration(self) -> None:
        train, step = self.config.train, self.trainer.iteration + 1
        last = step == train.steps
        due = last or step % train.log_every == 0
        self.trainer.step(measure=due)
        if due:
            self._emit(self.trainer.metrics())
        snapshot = _is_pictured(step, train.snapshot_every, last)
        self._look(probe=_is_due(step, train.probe_every, last), snapshot=snapshot)
        if snapshot and due and not last:  # what is seen can be loaded
            self._save()
        self._save_in_time(due)

    def _single_step(self) -> None:
        players, left = self.single.popleft()
        if left > 1:
            self.single.appendleft((players, left - 1))
        train, step = self.config.train, self.trainer.iteration + 1
        last = left == 1 or step == train.steps
        due = last or step % train.log_every == 0
        self.trainer.step(players, measure=due)
        if due:
            self._emit(self.trainer.metrics())
        self._look(probe=last, snapshot=_is_pictured(step, train.snapshot_every, step == train.steps))
        if self.single:
            self._save_in_time(due)
        else:
            self._save()

    def _save_in_time(self, due: bool) -> None:
        """Checkpoint after `save_seconds`, when metrics are due, so that no mean spans it; much later, anyway."""
        late = time.monotonic() - self._saved - self.config.train.save_seconds
        if late > LATE_SECONDS or (due and late > 0):
            self._save()

    def _look(self, probe: bool, snapshot: bool) -> None:
        """Measure and picture the pair; this never disturbs training, which seeds each iteration anew."""
        step, seed = self.trainer.iteration, derive(self.config.seed, "probe")
        if probe or snapshot:
            self._check_finite(step)
        if probe:
            found = metrics.utilities(self.p, self.q, self.probe, self.labels, seed=seed)
            for name, figure in found.items():
                if not all(math.isfinite(k) for k in figure.values() if isinstance(k, float)):
                    raise NonFinite(f"{name} of the test images", step)
            self._emit({"event": "probe", "step": step, "seconds": self.trainer.seconds, "figures": found})
        if snapshot:
            taken = snapshots.take(self.p, self.q, self.probe, seed, self.config.train.snapshot_chain)
            self.run.write_snapshot(step, taken)
            self._emit({"event": "snapshot", "step": step})

    def _check_finite(self, step: int) -> None:
        for name, value in pair_tensors(self.p, self.q).items():
            if not value.isfinite().all():
                raise NonFinite(f"Player {name[0]}", step)

    def _save(self) -> None:
        """Checkpoint; nothing that is not finite ever replaces a good one."""
        if self.trainer.pending:
            self._emit(self.trainer.metrics())
        self._check_finite(self.trainer.iteration)
        state = self.trainer.state()
        for name, value in state.items():  # "optimizer.p.0.exp_avg", ...
            if not value.isfinite().all():
                raise NonFinite(f"The optimiser of player {name.split('.')[1]}", self.trainer.iteration)
        facts = {"step": str(self.trainer.iteration)}
        write_tensors(self.run.weights, pair_tensors(self.p, self.q) | state, facts)
        self._saved = time.monotonic()

    def _end(self, event: str, **facts: Any) -> str:
        self._save()
        self._emit({"event": event, "step": self.trainer.iteration, **facts})
        return event

    # --- commands ---

    def _poll(self) -> None:
        now = time.monotonic()
        if now - self._polled < POLL_SECONDS:
            return
        self._polled = now
        for command in chain(self.early, self.run.take_commands()):
            getattr(self, f"_do_{command['do']}")(command)
        self.early = []

    def _do_pause(self, command: dict[str, Any]) -> None:
        self.single = deque(k for k in self.single if k[1] == 1)  # ends a long walk; single steps asked for are taken
        if not self.paused or self.trainer.pending:
            self._save()
        if not self.paused:
            self.paused = True
            self._emit({"event": "paused", "step": self.trainer.iteration})

    def _do_resume(self, command: dict[str, Any]) -> None:
        if self.paused:
            self.paused = False
            self._emit({"event": "running", "step": self.trainer.iteration})

    def _do_step(self, command: dict[str, Any]) -> None:
        if not self.paused:
            self._do_pause(command)
        players, count = command.get("players", list(PLAYERS)), command.get("count", 1)
        self.single.append((players, count))
        self._emit({"event": "step", "step": self.trainer.iteration, "players": players, "count": count})

    def _do_stop(self, command: dict[str, Any]) -> None:
        self.stop = "asked to"

    def _do_set(self, command: dict[str, Any]) -> None:
        changed = override(self.config, command["changes"])
        # The checkpoint first: what follows it was trained with the changed settings.
        self._save()
        self.config = changed
        self.run.write_config(changed)
        self.trainer.configure(changed.train)
        self.source.batch, self.source.labelled_batch = changed.train.batch, changed.train.labelled_batch
        self.trainer.moves = moves(self.p, self.q, changed.learner)
        self._emit({"event": "set", "step": self.trainer.iteration, "changes": command["changes"]})

    def _do_refused(self, command: dict[str, Any]) -> None:
        self._emit({"event": "refused", "step": self.trainer.iteration, "why": command["why"]})

    # --- speaking ---

    def _emit(self, event: dict[str, Any]) -> None:
        self.run.append(event)
        if self.listener:
            try:
                self.listener(event)
            except OSError:  # a terminal or pipe that is gone: training goes on
                self.listener = None


class _Signals:
    """While inside (in a main thread), signals that mean to end the worker ask it to save and stop."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.before: dict[int, Any] = {}

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in (getattr(signal, k) for k in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, k)):
                if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
                    self.before[number] = signal.signal(number, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.worker.stop or not self.worker.ready:  # asked twice, or nothing to save yet: at once
            raise KeyboardInterrupt
        self.worker.stop = "interrupted"

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)


class _Stopped(SymeqError):
    """Asked to stop before training began."""


def check(config: Config) -> Config:
    """The completed config of a run that this machine and this learner can train; UsageError with a reason elsewhere.

    Nothing is loaded or allocated.
    """
    device_of(config.train.device)
    config = complete(config)
    with torch.device("meta"):
        p, q = build(config.model)
    moves(p, q, config.learner)
    prior = p["z0"]
    if isinstance(prior, Implicit) and prior.draw is None:
        raise UsageError(
            "model.prior=implicit stands for a function, which a run can't hold: "
            "name one of the known priors, as in model.prior=implicit:ring."
        )
    return config


def _line(e: Exception) -> str:
    """What an error says, on one line."""
    text = " ".join(str(e).split())
    return text if isinstance(e, SymeqError) else f"{type(e).__name__}: {text}"


def _is_due(step: int, every: int, last: bool) -> bool:
    return bool(every) and (last or step % every == 0)


def _is_pictured(step: int, every: int, last: bool) -> bool:
    """Whether a snapshot is due: regularly and, as most happens early, before the first of these at 10, 20, 50, ..."""
    early = 10 <= step < every and str(step).rstrip("0") in ("1", "2", "5")
    return early or _is_due(step, every, last)


def _count(chain: torch.nn.Module) -> int:
    return sum(w.numel() for w in chain.parameters())
