"""Pairs on disk: safetensors and a complete JSON config; nothing is ever unpickled.

A checkpoint is a folder with config.json and model.safetensors (tensors "p.*" and "q.*"); a run folder, whose
latest.safetensors holds optimiser state besides, is one too.
"""

from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from . import files
from .config import Config, from_dict, to_dict
from .errors import SymeqError
from .factors import Chain
from .models import build
from .priors import Draw

WEIGHTS = ("model.safetensors", "latest.safetensors")
_DTYPES = {torch.float32: "F32", torch.uint8: "U8"}


def pair_tensors(p: Chain, q: Chain) -> dict[str, Tensor]:
    """All that p and q consist of, by unique name."""
    chains = {"p": p, "q": q}
    return {f"{name}.{k}": v for name, chain in chains.items() for k, v in chain.state_dict().items()}


def write_tensors(path: Path, tensors: dict[str, Tensor], facts: dict[str, str] | None = None) -> None:
    """One safetensors file, replaced whole."""
    files.write(path, tensor_bytes(tensors, facts))


def tensor_bytes(tensors: dict[str, Tensor], facts: dict[str, str] | None = None) -> bytes:
    """The content of a safetensors file."""
    ready = {k: v.detach().to("cpu").contiguous() for k, v in tensors.items()}
    return safetensors.torch.save(ready, {"format": "symeq-1"} | (facts or {}))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """(tensors, facts) of a safetensors file; SymeqError where it is missing or damaged."""
    with _opened(path) as f:
        return {k: f.get_tensor(k) for k in f.keys()}, dict(f.metadata() or {})  # noqa: SIM118 (not a dict)


def _opened(path: Path) -> Any:
    try:
        return safetensors.safe_open(path, framework="pt")
    except FileNotFoundError:
        raise SymeqError(f"There is no {path}: name a folder that holds a checkpoint.") from None
    except (safetensors.SafetensorError, OSError) as e:
        raise SymeqError(f"{path} is damaged or not a safetensors file: restore it from a copy.") from e


def save_pair(folder: Path, p: Chain, q: Chain, config: Config) -> None:
    """Write a checkpoint folder; the weights come last, so a folder without them is not a checkpoint yet."""
    files.write_json(folder / "config.json", to_dict(config))
    write_tensors(folder / "model.safetensors", pair_tensors(p, q))


def read_config(folder: str | Path) -> Config:
    """The validated config of a checkpoint or run folder."""
    path = Path(folder) / "config.json"
    values = files.read_json(path)
    if not isinstance(values, dict):
        raise SymeqError(f"{path} is not a configuration of ours: restore it from a copy.")
    return from_dict(values, str(path))


def weights_file(folder: str | Path) -> Path:
    """The weights of a checkpoint or run folder; SymeqError where there are none."""
    for name in WEIGHTS:
        if (Path(folder) / name).is_file():
            return Path(folder) / name
    raise SymeqError(f"{folder} holds no weights yet ({' or '.join(WEIGHTS)}): train it, or name another folder.")


def load(folder: str | Path, device: torch.device | str = "cpu", prior: Draw | None = None) -> tuple[Chain, Chain]:
    """The pair (p, q) of a checkpoint or run folder, in evaluation mode; nothing but the folder is needed.

    prior: the function to draw from, where the pair was trained with a caller's own implicit prior.
    Raises SymeqError with one sentence where the folder is not a whole checkpoint.
    """
    config, path = read_config(folder), weights_file(folder)
    with torch.device("meta"):  # shapes are compared before a byte is allocated
        p, q = build(config.model, config.seed, prior)
    wanted = pair_tensors(p, q)
    with _opened(path) as f:
        held = {k: f.get_slice(k) for k in f.keys() if k.startswith(("p.", "q."))}  # noqa: SIM118
        for name in wanted.keys() ^ held.keys():
            where = "lacks" if name in wanted else "has a tensor too many,"
            raise SymeqError(f"{path} does not fit its config.json: it {where} {name}.")
        for name, tensor in wanted.items():
            shape, dtype = list(held[name].get_shape()), held[name].get_dtype()
            if shape != list(tensor.shape) or dtype != _DTYPES.get(tensor.dtype):
                raise SymeqError(
                    f"{path} does not fit its config.json: {name} is {dtype} {shape}, "
                    f"expected {_DTYPES.get(tensor.dtype)} {list(tensor.shape)}."
                )
        tensors = {k: f.get_tensor(k) for k in wanted}
    assign_pair(p, q, tensors)
    return p.to(device).eval(), q.to(device).eval()


def assign_pair(p: Chain, q: Chain, tensors: dict[str, Tensor]) -> None:
    """Give p and q these tensors (names as `pair_tensors`), which become their own."""
    for name, chain in (("p.", p), ("q.", q)):
        part = {k.removeprefix(name): v for k, v in tensors.items() if k.startswith(name)}
        chain.load_state_dict(part, assign=True)
