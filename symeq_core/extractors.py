"""Feature extractors: one small classifier for each data set, whose penultimate layer sample quality is measured in.

Those of digits and MNIST are shipped in checkpoints/extractors/DATA; others are trained by `train-extractor` and kept
in the cache folder. A folder holds extractor.safetensors and extractor.json: how accurate it is, and how it was made.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from . import files
from .checkpoints import read_tensors
from .config import DataConfig
from .errors import SymeqError
from .measured import extractor_folder, extractor_name

FEATURES = 96
BATCH = 500
WIDTHS = (16, 32, 64)


class Classifier(nn.Module):
    """Convolutions, the first of stride 2 for all but tiny images, halved again while that leaves 3 pixels; then
    FEATURES, then classes.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        channels, height, width = shape
        layers: list[nn.Module] = []
        for k, out in enumerate(WIDTHS):
            kernel, stride = (5, 2) if k == 0 and min(height, width) >= 16 else (3, 1)
            layers += [
                nn.Conv2d(channels, out, kernel, stride, kernel // 2, bias=False),
                nn.BatchNorm2d(out),
                nn.ReLU(),
            ]
            channels, height, width = out, -(-height // stride), -(-width // stride)
            if k > 0 and min(height, width) >= 6:
                layers.append(nn.MaxPool2d(2))
                height, width = height // 2, width // 2
        self.trunk = nn.Sequential(*layers, nn.Flatten())
        self.features = nn.Sequential(
            nn.Linear(channels * height * width, FEATURES, bias=False), nn.BatchNorm1d(FEATURES), nn.ReLU()
        )
        self.head = nn.Sequential(nn.Dropout(0.25), nn.Linear(FEATURES, classes))
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(features [B, FEATURES], logits [B, classes]) of x [B, C, H, W] in [0, 1]."""
        found = self.features(self.trunk((x - 0.5).contiguous(memory_format=torch.channels_last)))
        return found, self.head(found)


class Extractor:
    """A trained classifier: `accuracy` on `n` test images as the model sees them; `name` says which one exactly."""

    def __init__(self, net: Classifier, facts: dict[str, Any], name: str) -> None:
        self.net, self.facts, self.name = net.eval().requires_grad_(False), facts, name
        self.accuracy, self.n = float(facts["accuracy"]), int(facts["n"])
        self.shape, self.classes = tuple(facts["shape"]), int(facts["classes"])

    @property
    def title(self) -> str:
        """Its name and how often it is right."""
        return f"{self.name} ({self.accuracy:.2%} of {self.n:,} test images right)"

    def features(self, x: Tensor) -> Tensor:
        """[B, FEATURES], at least 0, of images x [B, C, H, W] in [0, 1]; on the CPU."""
        return self._run(x, 0)

    def probabilities(self, x: Tensor) -> Tensor:
        """Of the classes, [B, classes]."""
        return self._run(x, 1).softmax(1)

    def logits(self, x: Tensor) -> Tensor:
        """Of the classes, [B, classes]."""
        return self._run(x, 1)

    @torch.no_grad()
    def _run(self, x: Tensor, which: int) -> Tensor:
        if tuple(x.shape[1:]) != self.shape:
            raise SymeqError(
                f"The extractor {self.name} is for images of shape {list(self.shape)}, not {list(x.shape[1:])}: "
                "train one for these data with `python -m symeq_core train-extractor`."
            )
        device = next(self.net.parameters()).device
        parts = [self.net(part.to(device).clamp(0, 1))[which].cpu() for part in x.float().split(BATCH)]
        return torch.cat(parts) if parts else torch.zeros(0, (FEATURES, self.classes)[which])


def extractor(data: DataConfig | str) -> Extractor:
    """The extractor of a data set; SymeqError with the way out where there is none."""
    data = DataConfig(name=data) if isinstance(data, str) else data
    path = extractor_folder(data) / "extractor.safetensors"
    if not path.is_file():
        settings = "".join(f" --set {k}={v}" for k in ("path", "size", "channels") if (v := getattr(data, k)))
        way = (
            "its labels are attributes, not classes" if data.name == "celeba" else "it comes for digits and MNIST only"
        )
        command = f"train one with `python -m symeq_core train-extractor {data.name}{settings}`"
        raise SymeqError(
            f"There is no feature extractor for {data.name} ({way}), so these figures are left out"
            + (": FID by Inception (--inception) needs none." if data.name == "celeba" else f": {command}.")
        )
    return _loaded(path, path.stat().st_mtime_ns, str(extractor_name(data)))


@lru_cache(maxsize=4)
def _loaded(path: Path, changed: int, name: str) -> Extractor:
    facts = files.read_json(path.with_suffix(".json"))
    tensors, _ = read_tensors(path)
    try:
        net = Classifier(tuple(facts["shape"]), facts["classes"])
        net.load_state_dict(tensors)
        return Extractor(net, facts, name)
    except (KeyError, TypeError, ValueError, RuntimeError) as e:
        raise SymeqError(f"The extractor in {path.parent} is damaged: restore it, or train it anew.") from e
