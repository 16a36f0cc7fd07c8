"""Import of the authors' saved state dicts into a checkpoint of ours, dimensions taken from the tensors."""

import re
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from .checkpoints import assign_pair, pair_tensors, save_pair
from .config import Config, Latent, override
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
    """A state dict of plain tensors. Only weights are read, never code, and nothing larger than the file is made."""
    problem = f"{file} is not a state dict saved with torch.save (tensors by name)"
    try:
        size = file.stat().st_size
        outline = torch.load(file, map_location="meta", weights_only=True)
        whole = isinstance(outline, dict) and all(
            isinstance(k, str) and isinstance(v, Tensor) for k, v in outline.items()
        )
        if whole and sum(v.numel() * v.element_size() for v in outline.values()) > size:
            raise SymeqError(f"{file} claims more data than it holds: it is damaged, or not to be trusted.")
        state = torch.load(file, map_location="cpu", weights_only=True) if whole else None
    except FileNotFoundError:
        raise SymeqError(f"There is no file {file}.") from None
    except IsADirectoryError:
        raise SymeqError(f"{file} is a folder: name the file saved with torch.save.") from None
    except SymeqError:
        raise
    except Exception as e:  # torch.load raises whatever the damage leads to
        raise SymeqError(f"{problem}: it is damaged, cut short, or holds more than weights.") from e
    if not state:
        raise SymeqError(f"{problem}.")
    return state


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
        raise SymeqError(f"This is not a saved {variant} model: it {what} {name}. Is the variant right?")
    config = _dimensions(given, names, preset(base))
    tensors = {ours: given[theirs].float() for theirs, ours in wanted.items()}
    return tensors, replace(config, name=variant)


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
    return override(
        base,
        {
            "model.latents": f"{Latent('bernoulli', z0)} {Latent('bernoulli', z1)}",
            "model.width": width,
            "model.middle": middle,
            "model.x_shape": [shape("q.features.h.net.layers.0")[1], 28, 28],
        },
    )


def import_authors(file: str | Path, variant: str, folder: str | Path) -> Config:
    """Read the authors' saved model into a new checkpoint folder; returns its config.

    The networks, and so the scores for the same x, z0 and z1, are theirs. SymeqError with one sentence where the
    file is wrong, cut short or foreign; nothing is written then.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists and is not empty: name a new folder.")
    tensors, config = convert(read_state_dict(Path(file)), variant)
    with torch.device("meta"):
        p, q = build(config.model)
    fixed = {k: v for k, v in pair_tensors(*build(config.model)).items() if k not in tensors}
    for name, wanted in pair_tensors(p, q).items():
        if name in tensors:  # a linear layer may have been saved as a 1 x 1 convolution
            if tensors[name].numel() != wanted.numel():
                raise SymeqError(
                    f"{name} has shape {list(tensors[name].shape)}, expected {list(wanted.shape)}: "
                    f"the file is damaged, or not a {variant} model."
                )
            tensors[name] = tensors[name].reshape(wanted.shape)
    assign_pair(p, q, fixed | tensors)
    save_pair(folder, p, q, config)
    return config
