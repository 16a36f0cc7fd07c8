"""Every random thing derives its own seed from the run's seed and its purpose, so none disturbs another."""

import hashlib


def derive(seed: int, *purpose: object) -> int:
    """A 63-bit seed, a fixed function of `seed` and `purpose` alone."""
    text = "/".join(map(str, (seed, *purpose)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
