"""Data as bytes in memory: loading, splits, downloads, and seeded sources of batches.

The root folder is SYMEQ_DATA, else the platform's cache folder. Every loader fails with one sentence (DataError).
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import platformdirs
import torch
from torch import Tensor

from . import images
from .config import Config, DataConfig, Latent
from .errors import SymeqError, UsageError
from .learners import Batch
from .seeds import derive

Progress = Callable[[str, int, int | None], None]  # (what, done, of how many)


class DataError(SymeqError):
    """Data that is missing, damaged or can't be downloaded."""


class Images(NamedTuple):
    """Images [N, C, H, W] and labels [N, *event of the label], both bytes; a class label is one-hot."""

    images: Tensor
    labels: Tensor | None

    def __len__(self) -> int:
        return len(self.images)


class Dataset(NamedTuple):
    """Train and test images, and what the labels are called."""

    train: Images
    test: Images
    label_names: tuple[str, ...] = ()


class Spec(NamedTuple):
    """What is known of a data set without loading it, and how to load it."""

    title: str
    shape: Callable[[DataConfig], tuple[int, int, int]]
    label: Callable[[DataConfig], Latent | None]
    load: Callable[[DataConfig, Path, Progress | None], Dataset]


def data_root() -> Path:
    """SYMEQ_DATA, else the platform's cache folder."""
    given = os.environ.get("SYMEQ_DATA")
    return Path(given).expanduser() if given else Path(platformdirs.user_cache_dir("symeq")) / "data"


def _one_hot(labels: Tensor, classes: int) -> Tensor:
    return torch.nn.functional.one_hot(labels.long(), classes).to(torch.uint8).unsqueeze(1)


def _classes(k: int) -> Latent:
    return Latent("categorical", 1, k)


# --- scikit-learn's digits -------------------------------------------------------------------------------------


def _digits(config: DataConfig, root: Path, progress: Progress | None) -> Dataset:
    """1,797 digits of 8 x 8 pixels; a stratified fifth is the test set, the same for every seed."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    # rounded down, so that a byte is above a threshold of k/16 just where the 4-bit original is
    pixels = torch.from_numpy((bunch.images * 255 // 16).astype(np.uint8)).unsqueeze(1)
    labels = _one_hot(torch.from_numpy(bunch.target), 10)
    train, test = train_test_split(np.arange(len(pixels)), test_size=0.2, stratify=bunch.target, random_state=0)
    return Dataset(Images(pixels[train], labels[train]), Images(pixels[test], labels[test]), tuple("0123456789"))


# --- torchvision -----------------------------------------------------------------------------------------------


@contextmanager
def _download_reports(what: str, progress: Progress | None) -> Iterator[None]:
    """While inside, torchvision's download bar tells `progress` too."""
    from torchvision.datasets import utils

    bar = utils.tqdm

    class Reporting(bar):  # type: ignore[misc, valid-type]
        def update(self, n: float | None = 1) -> bool | None:
            shown = super().update(n)
            if progress:
                progress(what, int(self.n), self.total and int(self.total))
            return shown

    utils.tqdm = Reporting
    try:
        yield
    finally:
        utils.tqdm = bar


def _torchvision(kind: str, root: Path, progress: Progress | None, **options: object) -> object:
    """A torchvision data set: from disk, else downloaded; DataError says what is missing, where, and what to do."""
    import torchvision

    make = partial(getattr(torchvision.datasets, kind), root=str(root), **options)
    try:
        return make(download=False)
    except RuntimeError as e:
        if "not found" not in str(e).lower():
            raise DataError(_damaged(kind, root, e)) from e
    except Exception as e:
        raise DataError(_damaged(kind, root, e)) from e
    try:
        with _download_reports(kind, progress):
            return make(download=True)
    except Exception as e:
        raise DataError(
            f"{kind} was not found in {root} and could not be downloaded ({_short(e)}): go online and try again, "
            "or set SYMEQ_DATA to a folder that holds it in torchvision's layout."
        ) from e


def _short(e: BaseException) -> str:
    lines = [line for line in str(e).splitlines() if line.strip()] or [type(e).__name__]
    return lines[-1].strip()[:160]


def _damaged(kind: str, root: Path, e: BaseException) -> str:
    return (
        f"The files of {kind} in {root} are damaged or unreadable ({_short(e)}): "
        f"delete {root / ('celeba' if kind == 'CelebA' else kind)} and try again to download them anew."
    )


def _mnist_like(kind: str, config: DataConfig, root: Path, progress: Progress | None) -> Dataset:
    """60,000 training and 10,000 test images of 28 x 28 pixels in IDX files."""

    def part(train: bool) -> Images:
        data = _torchvision(kind, root, progress, train=train)
        pixels, labels = data.data, data.targets  # type: ignore[attr-defined]
        if pixels.shape[1:] != (28, 28) or len(pixels) != len(labels) or not len(labels) or labels.max() > 9:
            shape = f"{list(pixels.shape)} images, {len(labels)} labels"
            raise DataError(_damaged(kind, root, ValueError(shape)))
        return Images(pixels.unsqueeze(1).contiguous(), _one_hot(labels, 10))

    names = tuple("0123456789")
    if kind == "FashionMNIST":
        names = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")
    return Dataset(part(True), part(False), names)


CELEBA_SIDE = 64


def _celeba(config: DataConfig, root: Path, progress: Progress | None) -> Dataset:
    """Faces cropped to their central 148 x 148 pixels and resized (64 x 64 unless told), with 40 attributes."""
    from torchvision import transforms as T

    side = config.size or CELEBA_SIDE
    to_bytes = T.Compose([T.CenterCrop(148), T.Resize(side, antialias=True), T.PILToTensor()])

    def part(split: str) -> tuple[Images, tuple[str, ...]]:
        data = _torchvision("CelebA", root, progress, split=split, transform=to_bytes)
        labels = data.attr.to(torch.uint8)  # type: ignore[attr-defined]
        names = tuple(k for k in data.attr_names if k)  # type: ignore[attr-defined]
        folder = root / "celeba" / "img_align_celeba"
        pixels = images.decoded(
            root / "celeba" / f"symeq-{split}-{side}-{len(labels)}.npy",
            (len(labels), 3, side, side),
            lambda i: data[i][0],  # type: ignore[index]
            folder,
            progress,
        )
        return Images(pixels, labels), names

    train, names = part("train")
    return Dataset(train, part("test")[0], names)


# --- a person's own images -------------------------------------------------------------------------------------

FOLDER_SIDE = 32


def _folder_path(config: DataConfig) -> Path:
    if not config.path:
        raise UsageError("The data set 'folder' needs a path: set data.path to a folder of images.")
    path = Path(config.path).expanduser()
    if not path.is_dir():
        raise DataError(f"There is no folder {path}: set data.path to a folder of images.")
    return path


def _folder_classes(config: DataConfig) -> list[str]:
    """Names of the sub-folders that hold images; none where the images lie in the folder itself."""
    path = _folder_path(config)
    return sorted(d.name for d in path.iterdir() if d.is_dir() and images.image_files(d))


def _folder(config: DataConfig, root: Path, progress: Progress | None) -> Dataset:
    """Images of a folder, cropped to their central square and resized; sub-folders, if any, are the labels."""
    path, classes = _folder_path(config), _folder_classes(config)
    files = [(f, k) for k, name in enumerate(classes) for f in images.image_files(path / name)]
    if not classes:
        files = [(f, 0) for f in images.image_files(path)]
    if len(files) < 10:
        raise DataError(
            f"{path} holds {len(files)} images ({', '.join(sorted(images.SUFFIXES))}), too few to train and test on: "
            "put at least 10 there, or into sub-folders named after their labels."
        )
    channels, side, _ = _folder_shape(config)
    pixels = torch.empty(len(files), channels, side, side, dtype=torch.uint8)
    for i, (file, _) in enumerate(files):
        pixels[i] = images.read(file, side, channels)
        if progress and i % 100 == 0:
            progress(f"images of {path.name}", i, len(files))
    labels = _one_hot(torch.tensor([k for _, k in files]), len(classes)) if len(classes) > 1 else None
    order = torch.randperm(len(files), generator=torch.Generator().manual_seed(0))
    test, train = order.split([max(1, len(files) // 10), len(files) - max(1, len(files) // 10)])

    def part(index: Tensor) -> Images:
        return Images(pixels[index], labels[index] if labels is not None else None)

    return Dataset(part(train), part(test), tuple(classes))


def _folder_shape(config: DataConfig) -> tuple[int, int, int]:
    side = config.size or FOLDER_SIDE
    return config.channels or 1, side, side


def _folder_label(config: DataConfig) -> Latent | None:
    k = len(_folder_classes(config))
    return _classes(k) if k > 1 else None


DATASETS: dict[str, Spec] = {
    "digits": Spec("scikit-learn's digits, 8 x 8", lambda c: (1, 8, 8), lambda c: _classes(10), _digits),
    "mnist": Spec("MNIST, 28 x 28", lambda c: (1, 28, 28), lambda c: _classes(10), partial(_mnist_like, "MNIST")),
    "fashion_mnist": Spec(
        "Fashion-MNIST, 28 x 28",
        lambda c: (1, 28, 28),
        lambda c: _classes(10),
        partial(_mnist_like, "FashionMNIST"),
    ),
    "celeba": Spec(
        "CelebA faces with 40 attributes",
        lambda c: (3, c.size or CELEBA_SIDE, c.size or CELEBA_SIDE),
        lambda c: Latent("bernoulli", 40),
        _celeba,
    ),
    "folder": Spec("a folder of your own images", _folder_shape, _folder_label, _folder),
}


def spec(config: DataConfig) -> Spec:
    """The Spec of the configured data set; UsageError where there is none of this name."""
    if config.name not in DATASETS:
        raise UsageError(f"There is no data set '{config.name}'; choose one of {', '.join(DATASETS)}.")
    return DATASETS[config.name]


def complete(config: Config) -> Config:
    """The config with image shape and label filled in from the data set, which isn't loaded for it."""
    s = spec(config.data)
    label = s.label(config.data) if config.data.labelled else None
    if config.data.labelled and label is None:
        raise UsageError(
            f"data.labelled is {config.data.labelled}, but these images have no labels: "
            "sort them into at least two sub-folders named after their labels, or set data.labelled=0."
        )
    return replace(config, model=replace(config.model, x_shape=s.shape(config.data), label=label))


def load_data(config: DataConfig, progress: Progress | None = None) -> Dataset:
    """The data set in memory; with split "all" its training part holds every image."""
    data = spec(config).load(config, data_root(), progress)
    if config.split == "train":
        return data
    pixels = torch.cat((data.train.images, data.test.images))
    labels = None
    if data.train.labels is not None and data.test.labels is not None:
        labels = torch.cat((data.train.labels, data.test.labels))
    return data._replace(train=Images(pixels, labels))


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
    """Indices of the images that show their label: `count` of them, equally many of each class where classes exist."""
    if data.labels is None:
        raise UsageError("data.labelled is set, but these images have no labels: set data.labelled=0.")
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(derive(seed, "labelled images")))
    if data.labels.dim() == 3:  # one-hot: take the classes in turn
        y = data.labels[order, 0].argmax(1)
        rank = torch.nn.functional.one_hot(y).cumsum(0).gather(1, y[:, None])[:, 0]
        order = order[rank.argsort(stable=True)]
    return order[:count]
