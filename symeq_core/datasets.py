"""Data as bytes in memory: loading, splits, downloads.

The root folder is SYMEQ_DATA, else the platform's cache folder. Every loader fails with one sentence (DataError).
"""

import hashlib
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import platformdirs
import torch
from torch import Tensor

from . import folders, images
from .config import Config, DataConfig, Latent
from .errors import SymeqError, UsageError
from .images import Progress

NETWORK_SECONDS = 60.0  # a connection that says nothing for so long is given up


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
    file: str | None = None  # below the root, of those that are downloaded: one of their files


def data_root() -> Path:
    """SYMEQ_DATA, else the platform's cache folder."""
    given = os.environ.get("SYMEQ_DATA")
    return _absolute(given) if given else Path(platformdirs.user_cache_dir("symeq")) / "data"


def _absolute(path: str) -> Path:
    return Path(os.path.abspath(os.path.expanduser(path)))  # pathlib's expanduser raises on an unknown ~user


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
def _downloading(what: str, progress: Progress | None) -> Iterator[None]:
    """While inside, download bars tell `progress`, if any, instead of the terminal; no connection hangs for ever."""
    import tqdm
    from torchvision.datasets import utils

    class Reporting(tqdm.tqdm):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options | {"disable": True})

        def update(self, n: float | None = 1) -> bool | None:
            self.n += n or 0
            if progress:
                progress(what, int(self.n), int(self.total) if self.total else None)
            return None

    modules: tuple[Any, ...] = (utils, tqdm) if progress else ()  # torchvision's own downloads; gdown's
    with ExitStack() as restore:
        restore.callback(socket.setdefaulttimeout, socket.getdefaulttimeout())
        socket.setdefaulttimeout(NETWORK_SECONDS)
        for module in modules:
            restore.callback(setattr, module, "tqdm", module.tqdm)
            module.tqdm = Reporting
        yield


def _torchvision(kind: str, root: Path, progress: Progress | None, **options: object) -> Any:
    """A torchvision data set: from disk, else downloaded; DataError says what is missing, where, and what to do.

    One process at a time, as several runs may be started at once.
    """
    import torchvision

    make = partial(getattr(torchvision.datasets, kind), root=str(root), **options)
    with images.alone(root / f".{kind}.lock", kind, progress):
        try:
            return make(download=False)
        except Exception as e:
            if not (isinstance(e, RuntimeError) and "not found" in str(e).lower()):
                raise _damaged(kind, root, images.reason(e)) from e
        try:
            with _downloading(kind, progress):
                return make(download=True)
        except SymeqError:  # from `progress`
            raise
        except Exception as e:
            raise DataError(
                f"{kind} is missing or incomplete in {_folder_of(kind, root)} and could not be downloaded "
                f"({images.reason(e)}): try again with a working connection, or set SYMEQ_DATA to a folder that holds "
                f"{kind} in torchvision's layout."
            ) from e


def _folder_of(kind: str, root: Path) -> Path:
    return root / ("celeba" if kind == "CelebA" else kind)


def _damaged(kind: str, root: Path, why: str) -> DataError:
    return DataError(
        f"The files of {kind} in {root} are damaged or unreadable ({why}): "
        f"delete {_folder_of(kind, root)} and try again to download them anew."
    )


def _mnist_like(kind: str, config: DataConfig, root: Path, progress: Progress | None) -> Dataset:
    """60,000 training and 10,000 test images of 28 x 28 pixels in IDX files."""

    def part(train: bool) -> Images:
        data = _torchvision(kind, root, progress, train=train)
        pixels, labels = data.data, data.targets
        if pixels.shape[1:] != (28, 28) or len(pixels) != len(labels) or not len(labels) or labels.max() > 9:
            largest = labels.max() if len(labels) else "none"
            raise _damaged(kind, root, f"images {list(pixels.shape)}, {len(labels)} labels, the largest {largest}")
        return Images(pixels.unsqueeze(1).contiguous(), _one_hot(labels, 10))

    names = tuple("0123456789")
    if kind == "FashionMNIST":
        names = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")
    return Dataset(part(True), part(False), names)


CELEBA_SIDE = 64


def _celeba(config: DataConfig, root: Path, progress: Progress | None) -> Dataset:
    """Faces cropped to their central 148 x 148 pixels and resized (64 x 64 unless told), with 40 attributes."""
    from PIL import Image
    from torchvision import transforms as T

    side = config.size or CELEBA_SIDE
    to_bytes = T.Compose([T.CenterCrop(148), T.Resize(side, antialias=True), T.PILToTensor()])
    folder = root / "celeba"

    def face(file: Path) -> Tensor:
        try:
            with Image.open(file) as picture:
                return to_bytes(picture.convert("RGB"))
        except Exception as e:
            raise DataError(
                f"{file} is missing or damaged ({images.reason(e)}): "
                f"delete the folder {file.parent} and try again to unpack or download it anew."
            ) from e

    def part(split: str) -> tuple[Images, tuple[str, ...]]:
        data = _torchvision("CelebA", root, progress, split=split)
        files = [folder / "img_align_celeba" / name for name in data.filename]
        pixels = images.decoded("CelebA", files, face, (3, side, side), folder / f"symeq-{split}-{side}", progress)
        return Images(pixels, data.attr.to(torch.uint8)), tuple(k for k in data.attr_names if k)

    train, names = part("train")
    return Dataset(train, part("test")[0], names)


# --- a person's own images -------------------------------------------------------------------------------------

FOLDER_SIDE = 32


def _folder_path(config: DataConfig) -> Path:
    if not config.path:
        raise UsageError("The data set 'folder' needs a path: set data.path to a folder of images.")
    path = _absolute(config.path)
    if not os.path.isdir(path):  # unlike pathlib's, false for whatever can't be one
        raise DataError(f"There is no folder {path}: set data.path to a folder of images.")
    return path


def _folder_classes(config: DataConfig) -> list[str]:
    """Names of the sub-folders that hold images, if there are two or more, as one alone tells nothing apart."""
    found = [d.name for d in folders.image_folders(_folder_path(config))]
    return found if len(found) > 1 else []


def _folder(config: DataConfig, root: Path, progress: Progress | None) -> Dataset:
    """Images of a folder, cropped to their central square and resized; two or more sub-folders are the labels.

    A tenth is the test set, stratified, the same for every seed; a class's only image is for training.
    Images beside labelled sub-folders have no label and are left out.
    """
    path = _folder_path(config)
    try:
        found, classes = folders.contents(path)
    except SymeqError as e:
        raise DataError(str(e)) from e
    y = torch.tensor([k for _, k in found])
    order = _stratified(y)
    files, channels, side = [found[i][0] for i in order.tolist()], *_folder_shape(config)[:2]
    key = hashlib.blake2b(os.fsencode(path.resolve()), digest_size=8).hexdigest()
    cache = root / "folders" / f"{key}-{side}x{channels}"
    read = partial(images.read, side=side, channels=channels)
    pixels = images.decoded(path.name, files, read, (channels, side, side), cache, progress)
    labels = _one_hot(y[order], len(classes)) if classes else None
    n = len(files) // 10

    def part(of: slice) -> Images:
        return Images(pixels[of], labels[of] if labels is not None else None)

    return Dataset(part(slice(n, None)), part(slice(n)), tuple(classes))


def _stratified(y: Tensor) -> Tensor:
    """A fixed random order of y [N] whose first tenth holds a tenth of each class, but none whole unless it must."""
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    share = in_turns(y[order]) / y.bincount()[y[order]]
    return order[share.argsort(descending=True, stable=True)]


def in_turns(y: Tensor) -> Tensor:
    """How many of the same class come before each [N]."""
    by_class, counts = y.argsort(stable=True), y.bincount()
    turns = torch.empty_like(y)
    turns[by_class] = torch.arange(len(y)) - (counts.cumsum(0) - counts)[y[by_class]]
    return turns


def _folder_shape(config: DataConfig) -> tuple[int, int, int]:
    _folder_path(config)  # refuses before a run is made
    side = config.size or FOLDER_SIDE
    return config.channels or 1, side, side


def _folder_label(config: DataConfig) -> Latent | None:
    k = len(_folder_classes(config))
    return _classes(k) if k else None


_IDX = "{}/raw/t10k-images-idx3-ubyte"
DATASETS: dict[str, Spec] = {
    "digits": Spec("scikit-learn's digits, 8 x 8", lambda c: (1, 8, 8), lambda c: _classes(10), _digits),
    "mnist": Spec(
        "MNIST, 28 x 28",
        lambda c: (1, 28, 28),
        lambda c: _classes(10),
        partial(_mnist_like, "MNIST"),
        _IDX.format("MNIST"),
    ),
    "fashion_mnist": Spec(
        "Fashion-MNIST, 28 x 28",
        lambda c: (1, 28, 28),
        lambda c: _classes(10),
        partial(_mnist_like, "FashionMNIST"),
        _IDX.format("FashionMNIST"),
    ),
    "celeba": Spec(
        "CelebA faces with 40 attributes",
        lambda c: (3, c.size or CELEBA_SIDE, c.size or CELEBA_SIDE),
        lambda c: Latent("bernoulli", 40),
        _celeba,
        "celeba/list_attr_celeba.txt",
    ),
    "folder": Spec("a folder of your own images", _folder_shape, _folder_label, _folder),
}


def spec(config: DataConfig) -> Spec:
    """The Spec of the configured data set; UsageError where there is none of this name."""
    if config.name not in DATASETS:
        raise UsageError(f"There is no data set '{config.name}'; choose one of {', '.join(DATASETS)}.")
    return DATASETS[config.name]


def is_here(config: DataConfig) -> bool:
    """Whether loading it needs no download."""
    file = spec(config).file
    return file is None or (data_root() / file).is_file()


def complete(config: Config) -> Config:
    """The config with image shape, label and whole path filled in from the data set, which isn't loaded for it."""
    s = spec(config.data)
    if config.data.path:
        config = replace(config, data=replace(config.data, path=str(_absolute(config.data.path))))
    label = s.label(config.data) if config.data.labelled else None
    if config.data.labelled and label is None:
        raise UsageError(
            f"data.labelled is {config.data.labelled}, but these images have no labels: "
            "sort them into at least two sub-folders named after their labels, or set data.labelled=0."
        )
    return replace(config, model=replace(config.model, x_shape=s.shape(config.data), label=label))


def load_data(config: DataConfig, progress: Progress | None = None) -> Dataset:
    """The data set in memory; with split "all" its training part holds the test images, too."""
    data = spec(config).load(config, data_root(), progress)
    if config.split == "train":
        return data
    pixels = torch.cat((data.train.images, data.test.images))
    labels = None
    if data.train.labels is not None and data.test.labels is not None:
        labels = torch.cat((data.train.labels, data.test.labels))
    return data._replace(train=Images(pixels, labels))
