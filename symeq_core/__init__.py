"""Symmetric equilibrium learning of VAEs: a small library; `python -m symeq_core --help` is its command line."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .checkpoints import load
    from .models import build

__all__ = ["build", "load"]


def __getattr__(name: str) -> Any:
    """`symeq_core.load` and `build` import torch only when first asked for."""
    if name == "load":
        from .checkpoints import load

        return load
    if name == "build":
        from .models import build

        return build
    raise AttributeError(f"module 'symeq_core' has no attribute '{name}'")
