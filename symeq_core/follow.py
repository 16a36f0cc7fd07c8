"""Following a run as it goes: new events only, and the tables its curves are drawn from."""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .runs import STATES, Run, fold, parse

if TYPE_CHECKING:
    import pandas as pd

POINTS = 600  # of one curve; more can't be told apart on a screen
Event = dict[str, Any]


class Reader:
    """Reads what was appended to a run's events since the last look."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._offset = 0

    def refresh(self) -> bool:
        """Take in new whole lines; returns whether there were any. Starts over where the file was replaced."""
        path = self.run.folder / "events.jsonl"
        try:
            with open(path, "rb") as f:
                size = f.seek(0, 2)
                if size < self._offset:
                    self._offset = 0
                    self._forget()
                f.seek(self._offset)
                new = f.read(size - self._offset)
        except OSError:
            return False
        whole = new[: new.rfind(b"\n") + 1]
        self._offset += len(whole)
        found = parse(whole)
        self._take(found)
        return bool(found)

    def _forget(self) -> None:
        raise NotImplementedError

    def _take(self, new: list[Event]) -> None:
        raise NotImplementedError


class Glance(Reader):
    """Where a run stands, and none of its events: its latest step, and the state that its events tell of, whether or
    not a process is alive (None before the first).
    """

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._forget()

    def _forget(self) -> None:
        self.step: int = 0
        self.state: str | None = None

    def _take(self, new: list[Event]) -> None:
        for event in new:
            self.step = event.get("step", self.step)
            self.state = STATES.get(event["event"], self.state)


class Follower(Reader):
    """All events of a run that hold."""

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._forget()

    def _forget(self) -> None:
        self.events: list[Event] = []

    def _take(self, new: list[Event]) -> None:
        self.events = fold(self.events, new)

    def of(self, kind: str) -> list[Event]:
        """All events of one kind, oldest first."""
        return [e for e in self.events if e["event"] == kind]

    def last(self, kind: str) -> Event | None:
        """The latest event of one kind."""
        return next((e for e in reversed(self.events) if e["event"] == kind), None)

    def state(self) -> str | None:
        """The state that the events tell of, whether or not a process is alive; None before the first."""
        return next((STATES[e["event"]] for e in reversed(self.events) if e["event"] in STATES), None)


def thinned(events: list[Event], points: int = POINTS) -> list[Event]:
    """At most about `points` of the events, evenly, with the first and the last."""
    stride = math.ceil(len(events) / points) or 1
    return events[::stride] + (events[-1:] if (len(events) - 1) % stride else [])


def _table(rows: Iterable[tuple], *more: str) -> "pd.DataFrame":
    import pandas as pd  # only where something is drawn: pages that just look at runs paint without it

    return pd.DataFrame(rows, columns=["step", "seconds", "series", "value", *more])


def utilities(events: list[Event], learner: str) -> "pd.DataFrame":
    """Both players' utilities as trained, nats per image: step, seconds, series (L_p, L_q or ELBO), value."""
    return _table(
        (e["step"], e["seconds"], name, value) for e in thinned(events) for name, value in _utility(e, learner).items()
    )


def _utility(event: Event, learner: str) -> dict[str, float]:
    """By its name: the ELBO, where both players have that, else L_p and L_q."""
    if learner == "elbo":
        return {"ELBO": next(iter(event["utility"].values()))}
    return {f"L_{player}": value for player, value in event["utility"].items()}


def gradient_norms(events: list[Event]) -> "pd.DataFrame":
    """Norms of both players' gradients: step, seconds, series (p or q), value."""
    return _table(
        (e["step"], e["seconds"], player, value)
        for e in thinned(events)
        for player, value in sorted(e["grad_norm"].items())
    )


def probes(events: list[Event]) -> "pd.DataFrame":
    """L_p, L_q and ELBO of the probe set, nats per image, with standard errors (column stderr)."""
    rows = [
        (e["step"], e["seconds"], name, f["value"], f["stderr"])
        for e in thinned(events)
        for name, f in e["figures"].items()
        if f["value"] is not None and f["unit"] == "nats per image"
    ]
    return _table(rows, "stderr")


def time_left(events: list[Event], steps: int) -> float | None:
    """Seconds of training left to step `steps`, at the pace of the last metrics; None where that is unknown."""
    recent = events[-20:]
    if len(recent) < 2 or recent[-1]["step"] == recent[0]["step"]:
        return None
    pace = (recent[-1]["seconds"] - recent[0]["seconds"]) / (recent[-1]["step"] - recent[0]["step"])
    return max(0.0, (steps - recent[-1]["step"]) * pace)
