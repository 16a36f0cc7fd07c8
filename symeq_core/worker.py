"""One training process: carries a run folder from where it is to its end, obeying the commands left in it."""

import os
import platform
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

import torch

from . import metrics, snapshots
from .checkpoints import pair_tensors, read_tensors, write_tensors
from .config import Config, override
from .datasets import Dataset, Source, clean, complete, load_data
from .errors import SymeqError
from .learners import moves
from .models import build, set_label_bank
from .runs import Run
from .seeds import derive
from .trainer import NonFinite, Trainer, device_of, set_threads

POLL_SECONDS = 0.1  # between looks for commands
PAUSE_SECONDS = 0.03
PROBE = 500  # test images of the probe set

Listener = Callable[[dict[str, Any]], None]


class Worker:
    """Trains one run. `listener` hears every event as it is written."""

    def __init__(self, run: Run, listener: Listener | None = None) -> None:
        self.run, self.listener = run, listener or (lambda event: None)
        self.since = time.time_ns()  # commands left for an earlier process don't concern this one
        self.stop: str | None = None  # why to stop
        self.paused = False
        self.single: list[list[str]] = []  # single steps still to make, by players
        self._polled = self._saved = self._told = 0.0

    def work(self) -> str:
        """Train to the end; returns the last event's name: finished or stopped.

        SymeqError (after a "failed" event) where the run can't go on. A stop by signal saves first.
        """
        with self.run.lock(), self._signals():
            try:
                self._prepare()
                return self._loop()
            except SymeqError as e:
                self._tell_failure(str(e))
                raise
            except Exception as e:
                self._tell_failure(f"{type(e).__name__}: {e}")
                raise

    # --- preparation ---

    def _prepare(self) -> None:
        self.config = complete(self.run.config())
        if self.config != self.run.config():
            self.run.write_config(self.config)
        train = self.config.train
        threads, device = set_threads(train.threads), device_of(train.device)
        self.p, self.q = build(self.config.model, derive(self.config.seed, "weights"))
        steps = moves(self.p, self.q, self.config.learner)  # refuses before any download
        self.data = load_data(self.config.data, self._data_progress)
        self.p.to(device), self.q.to(device)
        if self.data.train.labels is not None:
            set_label_bank(self.p, self.data.train.labels, derive(self.config.seed, "label bank"))
        self.trainer = Trainer(steps, self._source(device), train, self.config.seed, device)
        resumed = self.run.weights.is_file()
        if resumed:
            self._restore(device)
        self.probe = _probe(self.data, self.config).to(device)
        self._emit(
            {
                "event": "resume" if resumed else "start",
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
        self._saved = time.monotonic()
        if not resumed:
            self._look(probe=True, snapshot=True)
            self._save()

    def _source(self, device: torch.device) -> Source:
        c = self.config
        return Source(self.data.train, c.data, c.seed, c.train.batch, c.train.labelled_batch, device)

    def _restore(self, device: torch.device) -> None:
        tensors, _ = read_tensors(self.run.weights)
        wanted = pair_tensors(self.p, self.q)
        try:
            pair = {k: tensors[k].to(device) for k in wanted}
            with torch.no_grad():  # in place, as the moves hold these very parameters
                for name, mine in wanted.items():
                    mine.copy_(pair[name])
            self.trainer.load_state(tensors)
        except (KeyError, RuntimeError) as e:
            raise SymeqError(
                f"{self.run.weights} does not fit the run's config.json ({str(e)[:80]}): restore both from one copy."
            ) from e

    def _data_progress(self, what: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        if now - self._told > 0.5:
            self._told = now
            self._emit({"event": "data", "what": what, "done": done, "total": total})

    # --- training ---

    def _loop(self) -> str:
        while True:
            self._poll()
            if self.stop:
                return self._end("stopped", reason=self.stop)
            if self.single:
                self.trainer.step(self.single.pop(0), measure=not self.single)
                if not self.single:
                    self._emit(self.trainer.metrics())
                    self._look(probe=True, snapshot=False)
            elif self.trainer.iteration >= self.config.train.steps:
                return self._end("finished")
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
        self._look(probe=_is_due(step, train.probe_every, last), snapshot=_is_due(step, train.snapshot_every, last))
        if due and time.monotonic() - self._saved > train.save_seconds:  # so that no mean spans a checkpoint
            self._save()

    def _look(self, probe: bool, snapshot: bool) -> None:
        """Measure and picture the pair; this never disturbs training, which seeds each iteration anew."""
        step, seed = self.trainer.iteration, derive(self.config.seed, "probe")
        if probe:
            found = metrics.utilities(self.p, self.q, self.probe, seed=seed)
            self._emit({"event": "probe", "step": step, "seconds": self.trainer.seconds, "figures": found})
        if snapshot:
            self.run.write_snapshot(step, snapshots.take(self.p, self.q, self.probe, seed))
            self._emit({"event": "snapshot", "step": step})

    def _save(self) -> None:
        """Checkpoint; nothing that is not finite ever replaces a good one."""
        if self.trainer.pending:
            self._emit(self.trainer.metrics())
        tensors = pair_tensors(self.p, self.q)
        for name, value in tensors.items():
            if not value.isfinite().all():
                raise NonFinite(f"Player {name[0]}", self.trainer.iteration)
        write_tensors(self.run.weights, tensors | self.trainer.state(), {"step": str(self.trainer.iteration)})
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
        for command in self.run.take_commands(self.since):
            getattr(self, f"_do_{command['do']}")(command)

    def _do_pause(self, command: dict[str, Any]) -> None:
        if not self.paused:
            self.paused = True
            self._save()
            self._emit({"event": "paused", "step": self.trainer.iteration})

    def _do_resume(self, command: dict[str, Any]) -> None:
        if self.paused:
            self.paused = False
            self._emit({"event": "running", "step": self.trainer.iteration})

    def _do_step(self, command: dict[str, Any]) -> None:
        self._do_pause(command)
        players = command.get("players", ["p", "q"])
        self.single += [players] * command.get("count", 1)
        self._emit({"event": "step", "step": self.trainer.iteration, "players": players})

    def _do_stop(self, command: dict[str, Any]) -> None:
        self.stop = "asked to"

    def _do_set(self, command: dict[str, Any]) -> None:
        changed = override(self.config, command["changes"])
        # The checkpoint first: what follows it was trained with the changed settings.
        self._save()
        self.config = changed
        self.run.write_config(changed)
        self.trainer.configure(changed.train)
        self.trainer.batches = self._source(self.trainer.device)
        self.trainer.moves = moves(self.p, self.q, changed.learner)
        self._emit({"event": "set", "step": self.trainer.iteration, "changes": command["changes"]})

    def _do_refused(self, command: dict[str, Any]) -> None:
        self._emit({"event": "refused", "step": self.trainer.iteration, "why": command["why"]})

    # --- speaking ---

    def _emit(self, event: dict[str, Any]) -> None:
        self.run.append(event)
        self.listener(event)

    def _tell_failure(self, why: str) -> None:
        step = self.trainer.iteration if hasattr(self, "trainer") else 0
        with suppress(SymeqError):  # the disk may be what failed
            self._emit({"event": "failed", "step": step, "why": why})

    def _signals(self) -> "_Signals":
        return _Signals(self)


class _Signals:
    """While inside (in a main thread), SIGINT and SIGTERM ask the worker to save and stop."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.before: dict[int, Any] = {}

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self.before = {s: signal.signal(s, self._ask) for s in (signal.SIGINT, signal.SIGTERM)}

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.worker.stop:  # asked twice: at once
            raise KeyboardInterrupt
        self.worker.stop = "interrupted"

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)


def _is_due(step: int, every: int, last: bool) -> bool:
    return bool(every) and (last or step % every == 0)


def _count(chain: torch.nn.Module) -> int:
    return sum(w.numel() for w in chain.parameters())


def _probe(data: Dataset, config: Config) -> torch.Tensor:
    """The fixed probe set: test images chosen by the seed, as the model sees them."""
    g = torch.Generator().manual_seed(derive(config.seed, "probe set"))
    chosen = torch.randperm(len(data.test), generator=g)[:PROBE]
    return clean(data.test.images[chosen], config.data)
