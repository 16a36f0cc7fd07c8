"""Training of the classifiers that extractors are made of."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from . import files
from .checkpoints import write_tensors
from .config import DataConfig
from .datasets import Images, load_data
from .errors import UsageError
from .extractors import BATCH, Classifier
from .measured import extractor_folder
from .seeds import derive, seeded
from .sources import clean

EPOCHS = {"digits": 100, "mnist": 10}  # others: as mnist
TRAIN_BATCH = 128
RATE = 4e-3  # Adam's largest, one cycle


def train_extractor(
    data: DataConfig,
    seed: int = 0,
    epochs: int | None = None,
    folder: Path | None = None,
    progress: Callable[[int, int, str], object] | None = None,
) -> dict[str, Any]:
    """Train and store the extractor of a data set with classes; returns its facts. progress: (step, steps, words).

    UsageError where the images have no classes.
    """
    parts = load_data(replace(data, split="train"))
    if parts.train.labels is None or parts.train.labels.dim() != 3 or parts.train.labels.shape[1] != 1:
        raise UsageError(
            f"An extractor is a classifier, and {data.name} has no classes here: "
            "name digits, mnist, fashion_mnist, or a folder with two or more sub-folders named after their labels."
        )
    epochs = epochs or EPOCHS.get(data.name, EPOCHS["mnist"])
    classes = parts.train.labels.shape[2]
    with seeded(derive(seed, "extractor", data.name)):
        net = Classifier(tuple(parts.train.images.shape[1:]), classes)  # type: ignore[arg-type]
        _fit(net, parts.train, epochs, progress)
    net.eval()
    grey = parts.test.images.float() / 255
    facts = {
        "data": data.name,
        "shape": list(grey.shape[1:]),
        "classes": classes,
        "accuracy": _accuracy(net, clean(parts.test.images, data), parts.test),
        "seen": "grey values" if data.binarize is None else f"binarised at {data.binarize}",
        "accuracy_grey": _accuracy(net, grey, parts.test),
        "n": len(parts.test),
        "seed": seed,
        "epochs": epochs,
        "command": f"python -m symeq_core train-extractor {data.name} --seed {seed} --epochs {epochs}",
    }
    folder = folder or extractor_folder(data)
    files.write_json(folder / "extractor.json", facts)
    write_tensors(folder / "extractor.safetensors", net.state_dict())
    return facts


def _fit(net: Classifier, data: Images, epochs: int, progress: Callable[[int, int, str], object] | None) -> None:
    assert data.labels is not None
    truth = data.labels[:, 0].argmax(1)
    batch = min(TRAIN_BATCH, len(data))
    steps = epochs * (len(data) // batch)
    optimizer = torch.optim.Adam(net.parameters(), weight_decay=1e-5)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    net.train()
    step, correct = 0, 0.0
    for _ in range(epochs):
        for index in torch.randperm(len(data)).split(batch):
            if len(index) < batch:
                continue
            logits = net(varied(data.images[index].float() / 255))[1]
            loss = F.cross_entropy(logits, truth[index])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            step += 1
            correct += 0.02 * ((logits.argmax(1) == truth[index]).float().mean().item() - correct)
            if progress and (step % 10 == 0 or step == steps):
                progress(step, steps, f"accuracy {correct:.3f} on varied training images")


def varied(grey: Tensor) -> Tensor:
    """Training images of all the kinds that are scored: moved and turned a little, then most of them binarised, at
    various thresholds, some of these softened like a decoder's means; the others stay grey. [B, C, H, W] in [0, 1].
    """
    x = _moved(grey)
    each = (len(x), 1, 1, 1)
    threshold = torch.where(torch.rand(each) < 0.5, 0.4375, 0.25 + 0.4 * torch.rand(each))
    binary = (x > threshold).float()
    flips = torch.rand_like(x) < 0.02 * torch.rand(each) * (torch.rand(each) < 0.3)
    binary = (binary - flips.float()).abs()
    kernel = torch.tensor([1.0, 2.0, 1.0])
    blur = (kernel[:, None] * kernel / 16).expand(x.shape[1], 1, 3, 3)
    soft = F.conv2d(F.pad(binary, (1, 1, 1, 1), mode="replicate"), blur, groups=x.shape[1])
    amount = torch.rand(each) * (torch.rand(each) < 0.5)
    made = torch.lerp(binary, soft * (1 - 0.3 * torch.rand(each)), amount)
    return torch.where(torch.rand(each) < 0.2, x, made)


def _moved(x: Tensor) -> Tensor:
    """Turned by up to 10 degrees, scaled and moved by up to 8 per cent."""
    n = len(x)
    angle = (torch.rand(n) - 0.5) * 2 * math.radians(10)
    scale = 1 + 0.16 * (torch.rand(n) - 0.5)
    shift = 0.16 * 2 * (torch.rand(n, 2) - 0.5)  # of [-1, 1]
    cos, sin = scale * angle.cos(), scale * angle.sin()
    theta = torch.stack([torch.stack([cos, -sin, shift[:, 0]], 1), torch.stack([sin, cos, shift[:, 1]], 1)], 1)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False, padding_mode="border").clamp(0, 1)


@torch.no_grad()
def _accuracy(net: Classifier, x: Tensor, data: Images) -> float:
    assert data.labels is not None
    truth = data.labels[:, 0].argmax(1)
    guess = torch.cat([net(part)[1].argmax(1) for part in x.split(BATCH)])
    return (guess == truth).float().mean().item()
