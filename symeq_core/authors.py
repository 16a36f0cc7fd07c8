"""Import of the authors' saved state dicts into a checkpoint of ours, dimensions taken from the tensors."""

import re
import warnings
import zipfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .checkpoints import assign_pair, outline, pair_tensors, save_pair
from .config import Config, override
from .errors import SymeqError, UsageError
from .models import build
from .presets import preset

Names = dict[str, str]  # theirs -> ours, without .weight and .bias


def _stack(theirs: str, numbers: range, ours: str) -> Names:
    """theirs + number -> every second layer of ours: an activation lies between."""
    return {f"{theirs}{n}": f"{ours}.layers.{2 * i}" for i, n in enumerate(numbers)}


def _decoder(upper: str, pixels: str) -> Names:
    return {
        **_stack(f"{upper}.lin", range(1, 4), "p.factors.z1.terms.0.net"),
        f"{upper}.lin_skip": "p.factors.z1.terms.1.net.linear",
        **_stack(f"{pixels}.conv", range(1, 8), "p.factors.x.terms.0.net"),
    }


LADDER: Names = {
    **_stack("rnet.conv", range(7), "q.features.h.net"),
    "rnet.conv_z1": "q.features.z1|x.net.layers.0",
    **_stack("rnet.lin", range(1, 4), "q.features.z0|x.net"),
    "rnet.lin_skip": "q.factors.z0.terms.1.net.linear",
    **_decoder("fnet01", "fnet1x"),
}
REVERSE: Names = {
    **_stack("qnetx1.conv", range(7), "q.features.h.net"),
    "qnetx1.conv_z1": "q.factors.z1.terms.0.net.layers.0",
    "qnet10.conv_z1": "q.factors.z0.terms.0.net.layers.0",
    **{f"qnet10.lin{n}": f"q.factors.z0.terms.0.net.layers.{2 * n}" for n in range(1, 4)},
    "qnet10.lin_skip": "q.factors.z0.terms.1.net.linear",
    **_decoder("pnet01", "pnet1x"),
}
VARIANTS: dict[str, tuple[Names, str]] = {
    "mnist-ladder": (LADDER, "paper-mnist-ladder-symmetric"),
    "mnist-reverse": (REVERSE, "paper-mnist-reverse-symmetric"),
    "fmnist-ladder": (LADDER, "paper-fmnist-ladder-symmetric"),
}
_NOT_WEIGHTS = re.compile(r"z[01]_[pq](_mi)?|dummy_param")


def read_state_dict(file: Path) -> dict[str, Tensor]:
    """A state dict of plain tensors. Only weights are read, never code, and no tensor larger than the file is made."""
    problem = f"{file} is not a state dict saved with torch.save (tensors by name)"
    try:
        _check_claim(file, _unpacked(file))
        claimed = _loaded(file, "meta")
        whole = isinstance(claimed, dict) and all(
            isinstance(k, str) and isinstance(v, Tensor) for k, v in claimed.items()
        )
        if whole:
            _check_claim(file, sum(v.numel() * v.element_size() for v in claimed.values()))
        state = _loaded(file, "cpu") if whole else None
    except FileNotFoundError:
        raise SymeqError(f"There is no file {file}.") from None
    except IsADirectoryError:
        raise SymeqError(f"{file} is a folder: name the file saved with torch.save.") from None
    except OSError as e:
        raise SymeqError(f"{file} can't be read ({e.strerror or e}).") from e
    except SymeqError:
        raise
    except Exception as e:  # torch.load raises whatever the damage leads to
        raise SymeqError(f"{problem}: it is damaged, cut short, or holds more than weights.") from e
    if not state:
        raise SymeqError(f"{problem}.")
    return state


def _loaded(file: Path, device: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it finds odd is refused, or does no harm
        return torch.load(file, map_location=device, weights_only=True)


def _unpacked(file: Path) -> int:
    """Bytes in the archive that torch.save writes (it never compresses); 0 for its older format, which is none."""
    if file.is_dir() or not zipfile.is_zipfile(file):
        return 0
    with zipfile.ZipFile(file) as archive:
        return sum(entry.file_size for entry in archive.infolist())


def _check_claim(file: Path, claimed: int) -> None:
    if claimed > file.stat().st_size:
        raise SymeqError(f"{file} claims more data than it holds: it is damaged, or not to be trusted.")


def convert(state: dict[str, Tensor], variant: str) -> tuple[dict[str, Tensor], Config]:
    """The authors' tensors under our names, and the config they fit; SymeqError names what does not fit."""
    if variant not in VARIANTS:
        raise UsageError(f"There is no variant '{variant}'; choose one of {', '.join(VARIANTS)}.")
    names, base = VARIANTS[variant]
    skips = {k for k in names if k.endswith("lin_skip")}
    wanted = {f"{k}.weight": f"{v}.weight" for k, v in names.items()}
    wanted |= {f"{k}.bias": f"{v}.bias" for k, v in names.items() if k not in skips}
    if variant == "fmnist-ladder":
        wanted["lsigma"] = "p.factors.x.family.log_sigma"
    given = {k: v for k, v in state.items() if not _NOT_WEIGHTS.fullmatch(k)}
    for name in sorted(wanted.keys() - given.keys()) + sorted(given.keys() - wanted.keys()):
        what = "lacks" if name in wanted else "has the unknown tensor"
        raise SymeqError(f"This is not a saved {variant} model, as it {what} {name!r:.100}: is the variant right?")
    config = replace(_dimensions(given, names, preset(base)), name=variant)
    shapes = pair_tensors(*outline(config.model, "The saved model"))
    return {ours: _fitted(theirs, given[theirs], shapes[ours]) for theirs, ours in wanted.items()}, config


def variant_of(state: dict[str, Tensor]) -> str:
    """Which of the authors' models has these names; SymeqError where none has."""
    if "lsigma" in state:
        return "fmnist-ladder"
    for variant, (names, _) in VARIANTS.items():
        if all(f"{name}.weight" in state for name in names):
            return variant
    raise SymeqError(
        f"These are not the weights of one of the authors' models ({', '.join(VARIANTS)}): "
        "import a checkpoint of this app as a zip instead."
    )


def _fitted(name: str, tensor: Tensor, wanted: Tensor) -> Tensor:
    """The tensor in the wanted shape and memory of its own; a linear layer may come as a 1 x 1 convolution."""
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or not tensor.is_floating_point():
        raise SymeqError(f"{name} does not hold plain floating-point numbers: the file is damaged or foreign.")
    shape = list(tensor.shape)
    while len(shape) > wanted.dim() and shape[-1] == 1:
        shape.pop()
    if shape != list(wanted.shape):
        raise SymeqError(
            f"{name} has shape {list(tensor.shape)}, expected {list(wanted.shape)}: the file is damaged or foreign."
        )
    fitted = tensor.detach().reshape(shape).to(wanted.dtype).clone(memory_format=torch.contiguous_format)
    if not fitted.isfinite().all():
        raise SymeqError(f"{name} holds NaN or infinite numbers: the file is damaged, or its training failed.")
    return fitted


def _dimensions(state: dict[str, Tensor], names: Names, base: Config) -> Config:
    """The base config with every size read off the tensors."""

    def shape(ours: str) -> list[int]:
        theirs = next(k for k, v in names.items() if v == ours)
        found = list(state[f"{theirs}.weight"].shape)
        if len(found) < 2:
            raise SymeqError(f"{theirs}.weight has shape {found}, which is no layer's: the file is damaged or foreign.")
        return found

    top = next(v for k, v in names.items() if k.endswith("lin3") and v.startswith("q."))
    z1, width = shape(next(v for k, v in names.items() if k.endswith("conv_z1") and "z1" in v))[:2]
    z0, middle = shape(top)[0], shape("p.factors.z1.terms.0.net.layers.0")[0]
    sizes = {
        "model.latents": f"bernoulli:{z0} bernoulli:{z1}",
        "model.width": width,
        "model.middle": middle,
        "model.x_shape": [shape("q.features.h.net.layers.0")[1], 28, 28],
    }
    try:
        return override(base, sizes)
    except UsageError as e:
        raise SymeqError(
            f"The tensors' shapes are no model's ({str(e).rstrip('.')}): the file is damaged or foreign."
        ) from e


def import_authors(file: str | Path, variant: str | None, folder: str | Path) -> Config:
    """Read the authors' saved model into a new checkpoint folder; returns its config. Variant None: told by its names.

    The networks, and so the scores for the same x, z0 and z1, are theirs. SymeqError with one sentence where the
    file is wrong, cut short or foreign, or the disk full; the folder is as before then.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists and is not empty: name a new folder.")
    state = read_state_dict(Path(file))
    tensors, config = convert(state, variant or variant_of(state))
    p, q = build(config.model)
    assign_pair(p, q, pair_tensors(p, q) | tensors)  # what is fixed, as the prior, is no weight of theirs
    existed = folder.exists()
    try:
        save_pair(folder, p, q, config)
    except BaseException:
        with suppress(OSError):
            (folder / "config.json").unlink(missing_ok=True)
            if not existed:
                folder.rmdir()
        raise
    return config
