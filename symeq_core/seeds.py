"""Every random thing derives its own seed from the run's seed and its purpose, so none disturbs another."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_ALONE = threading.RLock()  # torch's generators are the whole process's, and an app has many threads


def derive(seed: int, *purpose: object) -> int:
    """A 63-bit seed, a fixed function of `seed` and `purpose` alone."""
    text = "/".join(map(str, (seed, *purpose)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def seed_torch(seed: int, device: torch.device) -> None:
    """Seed the CPU's generator and the device's.

    torch.manual_seed would, on a machine without CUDA, keep a stack trace of every call: slow and never freed.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):  # manual_seed knows the current one only
            torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


@contextmanager
def seeded(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Inside, torch's randomness follows from `seed`; afterwards it goes on as if nothing had been.

    One thread at a time is inside: others wait, or they would draw each other's numbers.
    """
    device = torch.device(device)
    with _ALONE:
        mps = torch.mps.get_rng_state() if device.type == "mps" else None
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            seed_torch(seed, device)
            try:
                yield
            finally:
                if mps is not None:
                    torch.mps.set_rng_state(mps)
