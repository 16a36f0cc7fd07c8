"""Pairs on disk: safetensors and a complete JSON config; nothing is ever unpickled.

A checkpoint is a folder with config.json and model.safetensors (tensors "p.*" and "q.*"); a run folder, whose
latest.safetensors holds optimiser state besides, is one too.
"""

import json
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from . import files
from .config import Config, ModelConfig, to_dict
from .errors import SymeqError, UsageError
from .factors import Chain
from .models import build
from .priors import Draw
from .runs import WEIGHTS, read_config, saved

_DTYPES = {torch.float32: "F32", torch.uint8: "U8"}


def pair_tensors(p: Chain, q: Chain) -> dict[str, Tensor]:
    """All that p and q consist of, by unique name."""
    chains = {"p": p, "q": q}
    return {f"{name}.{k}": v for name, chain in chains.items() for k, v in chain.state_dict().items()}


def write_tensors(path: Path, tensors: dict[str, Tensor], facts: dict[str, str] | None = None) -> None:
    """One safetensors file, replaced whole."""
    files.write(path, tensor_bytes(tensors, facts))


def tensor_bytes(tensors: dict[str, Tensor], facts: dict[str, str] | None = None) -> bytes:
    """The content of a safetensors file: the same bytes whenever tensors and facts are the same."""
    ready = {k: v.detach().to("cpu").contiguous() for k, v in tensors.items()}
    content = safetensors.torch.save(ready, {"format": "symeq-1"} | (facts or {}))
    length = int.from_bytes(content[:8], "little")  # of the header, in which facts come in a random order
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text = text.ljust(-(-len(text) // 8) * 8)  # so that tensors begin at a multiple of 8
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """(tensors, facts) of a safetensors file; SymeqError where it is missing or damaged."""
    with _opened(path) as f:
        try:
            return _copied(f, list(f.keys())), dict(f.metadata() or {})
        except (safetensors.SafetensorError, AttributeError) as e:  # a type of number that torch doesn't have
            raise SymeqError(f"{path} holds tensors of a type that can't be read: restore it from a copy.") from e


def _copied(f: Any, names: Iterable[str]) -> dict[str, Tensor]:
    """Tensors of an open file in memory of their own: they come as views of the file, which may be overwritten."""
    return {k: f.get_tensor(k).clone() for k in names}


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


def weights_file(folder: str | Path) -> Path:
    """The weights of a checkpoint or run folder; SymeqError where there are none."""
    path = saved(Path(folder))
    if path:
        return path
    raise SymeqError(f"{folder} holds no weights yet ({' or '.join(WEIGHTS)}): train it, or name another folder.")


def saved_step(folder: str | Path) -> int | None:
    """The training step of a run folder's weights; None where it holds none, or they don't say."""
    try:
        with _opened(weights_file(folder)) as f:
            step = (f.metadata() or {}).get("step", "")
    except SymeqError:
        return None
    return int(step) if step.isdecimal() else None


def load(folder: str | Path, device: torch.device | str = "cpu", prior: Draw | None = None) -> tuple[Chain, Chain]:
    """The pair (p, q) of a checkpoint or run folder, in evaluation mode; nothing but the folder is needed.

    prior: the function to draw from, where the pair was trained with a caller's own implicit prior.
    Raises SymeqError with one sentence where the folder is not a whole checkpoint, or its weights are not finite.
    """
    config, path = read_config(folder), weights_file(folder)
    p, q = outline(config.model, f"The config.json of {folder}", prior)
    wanted = pair_tensors(p, q)
    with _opened(path) as f:
        _compare(f, wanted, path)
        tensors = _copied(f, wanted)
    for name, tensor in tensors.items():  # no number of such a pair means anything, and on CUDA drawing aborts
        if not tensor.isfinite().all():
            raise SymeqError(f"{path} holds NaN or infinite numbers in {name}: restore it from a copy.")
    assign_pair(p, q, tensors)
    return p.to(device).eval(), q.to(device).eval()


def outline(config: ModelConfig, what: str, prior: Draw | None = None) -> tuple[Chain, Chain]:
    """The pair without its weights, of whatever size: names and shapes can be compared before a byte is allocated."""
    try:
        with torch.device("meta"):
            return build(config, prior=prior)
    except UsageError as e:
        if prior is not None:  # what was asked for may be at fault
            raise
        raise SymeqError(textwrap.shorten(f"{what} is not valid: {e}", 500, placeholder=" ...")) from None
    except (RuntimeError, OverflowError, TypeError) as e:  # torch: sizes beyond 64 bits
        raise SymeqError(f"{what} asks for networks larger than any machine: restore it from a copy.") from e


def _compare(f: Any, wanted: dict[str, Tensor], path: Path) -> None:
    """SymeqError unless an open file has exactly the wanted tensors of p and q; other tensors are not ours to judge."""
    held = {k: f.get_slice(k) for k in f.keys() if k.startswith(("p.", "q."))}  # noqa: SIM118 (not a dict)
    for name in sorted(wanted.keys() ^ held.keys()):
        where = "lacks" if name in wanted else "has the unknown tensor"
        raise SymeqError(f"{path} does not fit its config.json: it {where} {name!r:.100}.")
    for name, tensor in wanted.items():
        found = f"{held[name].get_dtype()} {list(held[name].get_shape())}"
        expected = f"{_DTYPES[tensor.dtype]} {list(tensor.shape)}"
        if found != expected:
            raise SymeqError(f"{path} does not fit its config.json: {name} is {found}, expected {expected}.")


def assign_pair(p: Chain, q: Chain, tensors: dict[str, Tensor]) -> None:
    """Give p and q these tensors (names as `pair_tensors`), which become their own."""
    for name, chain in (("p.", p), ("q.", q)):
        part = {k.removeprefix(name): v for k, v in tensors.items() if k.startswith(name)}
        chain.load_state_dict(part, assign=True)
