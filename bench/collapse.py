"""When does the symmetric game leave the collapsed equilibrium, q(z|x) = pi(z) with a decoder that ignores z?

    python -m bench.collapse [--seeds 3] [--steps 4000]

The digits ladder (bits 8, 24) under several step sizes, batches and balances of moves. For each layer: the iteration at
which the encoder's term of L_q has risen by a tenth of |log pi(z)| above its collapsed value, -units log 2.

What to expect, from linearising the game of a one-layer pair with logistic conditionals about the collapse (W the
decoder's weights, U the encoder's, V the covariance of the pixels, D its diagonal): dW/dt = (V U - D W) / 4 and
dU/dt = (D W - D U) / 4, so it is left at the rate (sqrt(lambda) - 1) d / 4 along an eigenvector of the pixels'
correlation matrix with eigenvalue lambda > 1: it is a saddle wherever pixels are correlated, and the time to leave it
goes with the logarithm of the initial weights. A layer further up has no such first-order term: it starts only once the
layer below carries information.
"""

import argparse
import math
import statistics

import torch

from symeq_core.config import override
from symeq_core.datasets import complete, load_data
from symeq_core.learners import moves
from symeq_core.models import build
from symeq_core.presets import preset
from symeq_core.seeds import derive
from symeq_core.sources import Source, clean
from symeq_core.trainer import Trainer

SETTINGS = {
    "Adam 1e-3, batch 128": {},
    "Adam 1e-4": {"train.lr": 1e-4},
    "Adam 3e-4": {"train.lr": 3e-4},
    "Adam 3e-3": {"train.lr": 3e-3},
    "batch 32": {"train.batch": 32},
    "batch 1024": {"train.batch": 1024},
    "two moves of p": {"train.moves_p": 2},
    "two moves of q": {"train.moves_q": 2},
    "simultaneous moves": {"train.schedule": "simultaneous"},
}
RISEN = 0.1


def left_at(changes: dict, seed: int, steps: int) -> dict[str, float]:
    """Per layer, the iteration at which it has left; infinity where it hasn't within `steps`."""
    config = complete(override(preset("digits-ladder-symmetric"), changes | {"seed": seed}))
    p, q = build(config.model, derive(seed, "weights"))
    source = Source(load_data(config.data).train, config.data, seed, config.train.batch)
    trainer = Trainer(moves(p, q, config.learner), source, config.train, seed)
    collapsed = {f"z{k}": -latent.units * math.log(2) for k, latent in enumerate(config.model.latents)}
    found: dict[str, float] = dict.fromkeys(collapsed, math.inf)
    for event in trainer.events(steps):
        terms = event["terms"]["q"]
        for name, value in collapsed.items():
            if terms[name] > (1 - RISEN) * value and found[name] == math.inf:
                found[name] = event["step"]
        if math.inf not in found.values():
            break
    return found


def correlation_spectrum() -> list[float]:
    """The largest eigenvalues of the correlation matrix of binarised digits' pixels that vary."""
    config = preset("digits-ladder-symmetric").data
    x = clean(load_data(config).train.images, config).flatten(1)
    x = x[:, x.std(0) > 0.02]
    return torch.linalg.eigvalsh(torch.corrcoef(x.T)).flip(0)[:3].tolist()


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4000)
    o = parser.parse_args()
    torch.set_num_threads(1)
    print(f"correlation of pixels, largest eigenvalues: {', '.join(f'{k:.1f}' for k in correlation_spectrum())}")
    print(f"iteration at which a layer leaves the collapse, median (range) of {o.seeds} seeds, at most {o.steps:,}")
    for name, changes in SETTINGS.items():
        runs = [left_at(changes, seed, o.steps) for seed in range(o.seeds)]
        cells = []
        for layer in ("z1", "z0"):
            v = [r[layer] for r in runs]
            cells.append(f"{layer} {statistics.median(v):6.0f} ({min(v):.0f} to {max(v):.0f})")
        print(f"{name:22} {'   '.join(cells)}", flush=True)


if __name__ == "__main__":
    main()
