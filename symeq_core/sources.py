"""Seeded sources of batches, and images as the model sees them."""

import torch
from torch import Tensor

from .config import DataConfig
from .datasets import Images, in_turns
from .errors import UsageError
from .learners import Batch
from .seeds import derive


def clean(pixels: Tensor, config: DataConfig) -> Tensor:
    """Bytes [N, C, H, W] -> x as the model sees it in evaluation: binarised, or in [0, 1]."""
    if config.binarize is not None:
        return (pixels > int(config.binarize * 255)).float()
    return pixels.float() / 255


class Source:
    """Seeded batches of the training images: batch t is a function of (seed, t) alone, whichever learner asks.

    Batches run through one seeded permutation of all images after another. Each pixel of a binarised batch is
    flipped with probability `flip`; others receive Gaussian noise.
    """

    def __init__(
        self,
        data: Images,
        config: DataConfig,
        seed: int,
        batch: int,
        labelled_batch: int = 64,
        device: torch.device | str = "cpu",
    ) -> None:
        self.config, self.seed, self.batch, self.labelled_batch = config, seed, batch, labelled_batch
        self.device = torch.device(device)
        self.images = data.images.to(self.device)
        self.labels = None if data.labels is None else data.labels.to(self.device)
        self.chosen = _labelled(data, config.labelled, seed).to(self.device) if config.labelled else None
        self.everything = torch.arange(len(data), device=self.device)
        self._orders: dict[tuple[str, int], Tensor] = {}

    def __call__(self, t: int) -> Batch:
        g = torch.Generator(self.device).manual_seed(derive(self.seed, "pixels", t))
        index = self._indices("images", self.everything, t, self.batch)
        data = {"x": self._noisy(self.images[index], g)}
        if self.chosen is None or self.labels is None:
            return Batch(data)
        index = self._indices("labelled", self.chosen, t, self.labelled_batch)
        return Batch(data, {"x": self._noisy(self.images[index], g), "y": self.labels[index].float()})

    def _noisy(self, pixels: Tensor, g: torch.Generator) -> Tensor:
        x = clean(pixels, self.config)
        if self.config.binarize is not None and self.config.flip:
            flips = torch.rand(x.shape, generator=g, device=self.device) < self.config.flip
            return (x - flips.float()).abs()
        if self.config.binarize is None and self.config.noise:
            return x + self.config.noise * torch.randn(x.shape, generator=g, device=self.device)
        return x

    def _indices(self, what: str, of: Tensor, t: int, size: int) -> Tensor:
        """Positions t size ... (t + 1) size - 1 of the endless sequence of permutations of `of`."""
        n, parts, start = len(of), [], t * size
        while size:
            epoch, offset = divmod(start, n)
            part = self._order(what, epoch, n)[offset : offset + size]
            parts.append(of[part])
            start, size = start + len(part), size - len(part)
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _order(self, what: str, epoch: int, n: int) -> Tensor:
        key = (what, epoch)
        if key not in self._orders:
            for old in [k for k in self._orders if k[0] == what]:
                del self._orders[old]
            g = torch.Generator().manual_seed(derive(self.seed, what, epoch))
            self._orders[key] = torch.randperm(n, generator=g).to(self.device)
        return self._orders[key]


def _labelled(data: Images, count: int, seed: int) -> Tensor:
    """Indices of the images that show their label: `count` of them, or all if fewer, in equal numbers of each class."""
    if data.labels is None:
        raise UsageError("data.labelled is set, but these images have no labels: set data.labelled=0.")
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(derive(seed, "labelled images")))
    if data.labels.dim() == 3:  # one-hot: take the classes in turn
        order = order[in_turns(data.labels[order, 0].argmax(1)).argsort(stable=True)]
    return order[:count]
