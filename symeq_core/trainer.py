"""Moves and batches -> events. Knows optimisers, device and clock; knows no model and no files."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from .config import TrainConfig
from .errors import SymeqError, UsageError
from .learners import Batch, Move, Utility
from .seeds import derive, seed_torch

Event = dict[str, Any]


class NonFinite(SymeqError):
    """What a player computes became NaN or infinite."""

    def __init__(self, what: str, step: int) -> None:
        super().__init__(
            f"{what} became NaN or infinite at step {step}: the run stopped and its last good checkpoint stays; "
            "resume it with a smaller learning rate."
        )


def device_of(name: str) -> torch.device:
    """cpu, cuda, cuda:1, mps, or auto; UsageError where this machine has no such device."""
    if name == "auto":
        best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device(best)
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
        if device.type not in ("cpu", "cuda", "mps"):
            raise ValueError(device)
    except Exception:
        raise UsageError(f"This machine has no device '{name}': choose cpu, cuda, mps or auto.") from None
    return device


def set_threads(threads: int) -> int:
    """Use that many CPU threads, or one less than there are cores (at least one) for 0; returns the number.

    The linear algebra of NumPy and SciPy gets as many: left to itself it takes all, and waits for each of them.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    chosen = threads or max(1, cores - 1)
    torch.set_num_threads(chosen)
    threadpool_limits(chosen, user_api="blas")
    return chosen


class Trainer:
    """Makes the players' moves, one iteration at a time.

    batches: t -> Batch; with several moves in an iteration each draws its own. The randomness of an iteration is
    seeded by (seed, iteration), so nothing done in between can change it and a resumed run needs no random state.
    """

    def __init__(
        self,
        moves: Sequence[Move],
        batches: Callable[[int], Batch],
        config: TrainConfig,
        seed: int,
        device: torch.device | str = "cpu",
    ) -> None:
        self.moves, self.batches, self.config, self.seed = tuple(moves), batches, config, seed
        self.device = torch.device(device)
        self.iteration = 0
        self.drawn = 0  # batches drawn so far
        self.seconds = 0.0  # spent on training, over all sessions
        self.fused = self.device.type in ("cpu", "cuda")
        self.optimizers = {
            m.player: torch.optim.Adam(m.params, lr=1.0, maximize=True, fused=self.fused)  # lr: see _set_rates
            for m in self.moves
            if m.params
        }
        self._window: list[tuple[int, str, tuple[str, ...], Tensor]] = []  # (iteration, player, terms, means)
        self._norms: dict[str, Tensor] = {}
        self._mark = (0, 0.0)  # (images, seconds) at the last metrics
        self._images = 0

    def configure(self, config: TrainConfig) -> None:
        """Adopt changed hyperparameters from the next iteration on."""
        self.config = config

    def _set_rates(self) -> None:
        """Step sizes of the coming iteration; in the last `cooldown` ones they fall linearly."""
        config = self.config
        left, cooldown = config.steps - self.iteration, min(config.cooldown, config.steps)
        factor = left / cooldown if 0 < left < cooldown else 1.0
        rates = {"p": config.lr, "q": config.lr_q or config.lr}
        for player, optimizer in self.optimizers.items():
            for group in optimizer.param_groups:
                group["lr"] = rates.get(player, config.lr) * factor

    def step(self, players: Iterable[str] | None = None, measure: bool = False) -> None:
        """One iteration: the configured moves of all players, or one move of each of `players`.

        measure: take gradient norms, which the next `metrics` reports.
        """
        begin = time.perf_counter()
        seed_torch(derive(self.seed, "iteration", self.iteration), self.device)
        self._set_rates()
        if players is None:
            times = {"p": self.config.moves_p, "q": self.config.moves_q}
        else:
            times = dict.fromkeys(players, 1)
        turns = [(m, times.get(m.player, 0)) for m in self.moves]
        rounds = max((k for _, k in turns), default=0)
        drawn = [self.batches(self.drawn + j) for j in range(rounds)]
        if self.config.schedule == "alternating":
            for move, count in turns:
                for j in range(count):
                    self._ascend([move], drawn[j], measure)
        else:
            for j in range(rounds):
                self._ascend([move for move, count in turns if j < count], drawn[j], measure)
        self.drawn += rounds
        self.iteration += 1
        self._images += sum(len(b.data["x"]) for b in drawn)
        self.seconds += time.perf_counter() - begin

    def _ascend(self, moves: Sequence[Move], batch: Batch, measure: bool) -> None:
        """Gradients of all these moves at the present parameters, then all their steps."""
        shared: dict[Utility, list[Move]] = {}
        for move in moves:
            shared.setdefault(move.utility, []).append(move)
        for utility, group in shared.items():  # players of one utility share its evaluation
            terms = utility(batch)
            means = torch.stack([t.mean() for t in terms.values()])
            params = [w for move in group for w in move.params]
            gradients = torch.autograd.grad(means.sum(), params, allow_unused=True)
            for w, g in zip(params, gradients, strict=True):
                w.grad = g
            for move in group:
                self._window.append((self.iteration, move.player, tuple(terms), means.detach()))
        for move in moves:
            if measure:
                given = [w.grad for w in move.params if w.grad is not None]
                self._norms[move.player] = torch.nn.utils.get_total_norm(given)
            self.optimizers[move.player].step()
            self.optimizers[move.player].zero_grad()  # frees the memory for the next gradients

    def metrics(self) -> Event:
        """What happened since the last call: utilities and their terms (mean nats per image), norms, throughput.

        Raises NonFinite, naming player and iteration, where a utility or a measured gradient was not finite.
        """
        begin = time.perf_counter()
        rows = torch.cat([means for *_, means in self._window]).tolist() if self._window else []
        norms = {player: norm.item() for player, norm in self._norms.items()}  # waits for the device
        self.seconds += time.perf_counter() - begin
        sums: dict[str, dict[str, float]] = {}
        counts: dict[str, int] = {}
        position = 0
        for iteration, player, names, _ in self._window:
            values = rows[position : position + len(names)]
            position += len(names)
            if not all(abs(v) < float("inf") for v in values):
                raise NonFinite(f"The utility of player {player}", iteration + 1)
            counts[player] = counts.get(player, 0) + 1
            into = sums.setdefault(player, dict.fromkeys(names, 0.0))
            for name, value in zip(names, values, strict=True):
                into[name] = into.get(name, 0.0) + value
        for player, norm in norms.items():
            if not norm < float("inf"):
                raise NonFinite(f"The gradient of player {player}", self.iteration)
        terms = {pl: {k: v / counts[pl] for k, v in t.items()} for pl, t in sums.items()}
        images, seconds = self._images - self._mark[0], self.seconds - self._mark[1]
        self._window, self._norms, self._mark = [], {}, (self._images, self.seconds)
        return {
            "event": "metrics",
            "step": self.iteration,
            "moves": counts,
            "utility": {player: sum(t.values()) for player, t in terms.items()},
            "terms": terms,
            "grad_norm": norms,
            "images_per_s": images / seconds if seconds else 0.0,
            "seconds": self.seconds,
        }

    @property
    def pending(self) -> bool:
        """Whether moves were made since the last `metrics`."""
        return bool(self._window)

    def events(self, steps: int) -> Iterator[Event]:
        """Train for `steps` more iterations, yielding metrics every `log_every` of them and at the end."""
        end = self.iteration + steps
        while self.iteration < end:
            due = (self.iteration + 1) % self.config.log_every == 0 or self.iteration + 1 == end
            self.step(measure=due)
            if due:
                yield self.metrics()

    def state(self) -> dict[str, Tensor]:
        """Optimiser state and counters, for a checkpoint."""
        found = {
            "trainer.iteration": torch.tensor(self.iteration),
            "trainer.drawn": torch.tensor(self.drawn),
            "trainer.seconds": torch.tensor(self.seconds, dtype=torch.float64),
        }
        for player, optimizer in self.optimizers.items():
            for i, w in enumerate(optimizer.param_groups[0]["params"]):
                for key, value in optimizer.state.get(w, {}).items():
                    found[f"optimizer.{player}.{i}.{key}"] = value
        return found

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Continue from `state`."""
        self.iteration = int(state["trainer.iteration"])
        self.drawn = int(state["trainer.drawn"])
        self.seconds = float(state["trainer.seconds"])
        self._mark = (self._images, self.seconds)
        for key, value in state.items():
            kind, _, rest = key.partition(".")
            if kind != "optimizer":
                continue
            player, i, name = rest.split(".")
            optimizer = self.optimizers[player]
            w = optimizer.param_groups[0]["params"][int(i)]
            # unfused, Adam keeps its step counters on the CPU
            optimizer.state[w][name] = value if name == "step" and not self.fused else value.to(self.device)
