"""How much random codes and limiting images change along training: from the snapshots of pairs, 64 images in each.

    python -m bench.limiting checkpoints/mnist-*/ [--since 80000]

Only snapshots of constant step sizes, before the cooldown.

Squared distance of the mean features from those of 2,000 test images, the first term of the Frechet distance (64 images
are too few for the second): mean over snapshots, standard deviation from one to the next, standard error of the mean.
"""

import argparse
import math
import statistics
from pathlib import Path

import torch
from PIL import Image

from symeq_core import boards
from symeq_core.datasets import load_data
from symeq_core.extractors import extractor
from symeq_core.gallery import Pair
from symeq_core.sources import clean

KINDS = {"random code": "codes", "limiting": "limiting"}


def images(path, kind, shape):
    """The images of a board [N, 1, H, W], at their own size."""
    board = Image.open(path).convert("L")
    cut = boards.tiles(board, [of[0] for of in boards.layout(kind, board, shape).model])
    scale = cut.shape[1] // shape[1]
    return torch.from_numpy(cut[:, ::scale, ::scale].copy()).float()[:, None] / 255


def along(pair, since):
    """The distance at each snapshot from iteration `since` on, by kind."""
    config = pair.config()
    known = extractor(config.data)
    real = known.features(clean(load_data(config.data).test.images[:2000], config.data)).mean(0)
    found = {name: [] for name in KINDS}
    for step, folder in pair.snapshots().items():
        if since <= step <= config.train.steps - config.train.cooldown:
            for name, kind in KINDS.items():
                x = images(folder / boards.KINDS[kind].file, kind, config.model.x_shape)
                found[name].append((known.features(x).mean(0) - real).square().sum().item())
    return found


def main():
    """Print a line for each pair."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+", help="pairs of grey images that have a classifier")
    parser.add_argument("--since", type=int, default=80_000, help="iteration of the first snapshot")
    o = parser.parse_args()
    torch.set_num_threads(1)
    for folder in o.folders:
        found = along(Pair("", folder), o.since)
        for name, values in found.items():
            mean, deviation = statistics.mean(values), statistics.stdev(values)
            print(
                f"{folder.name}, {name}: {mean:.2f} ± {deviation / math.sqrt(len(values)):.2f}, "
                f"s.d. {deviation:.2f} ({len(values)} snapshots)"
            )


if __name__ == "__main__":
    main()
