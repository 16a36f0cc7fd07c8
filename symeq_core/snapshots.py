"""What a run looks like at one moment: samples, reconstructions, round trips and codes of a fixed probe set."""

from collections.abc import Callable

import torch
from torch import Tensor

from . import chains, figures
from .checkpoints import tensor_bytes
from .config import Config
from .datasets import Dataset
from .factors import Chain
from .models import latents_of
from .seeds import derive, seeded
from .sheets import TRIPS
from .sources import clean

PROBE = 500  # test images of the probe set
SAMPLES = 64
TRIP_IMAGES = 12
PATHS, PATH_LENGTH = 8, 9  # interpolations from probe image 0 to 1, 1 to 2, ..., and their columns
CODES = 500


def probe_set(data: Dataset, config: Config) -> tuple[Tensor, Tensor | None]:
    """Fixed test images [N, C, H, W], chosen by the seed, as the model sees them, and their labels, if any."""
    g = torch.Generator().manual_seed(derive(config.seed, "probe set"))
    chosen = torch.randperm(len(data.test), generator=g)[:PROBE]
    labels = data.test.labels
    return clean(data.test.images[chosen], config.data), None if labels is None else labels[chosen]


@torch.no_grad()
def take(
    p: Chain, q: Chain, probe: Tensor, seed: int, chain: int = 0, progress: Callable[[int], object] | None = None
) -> dict[str, bytes]:
    """Files of a snapshot by name; the same probe images [N, C, H, W] and the same seed at every step of training.

    chain: round trips from noise to the limiting images; 0: none. progress is told how many were made.
    codes.safetensors holds, for the first CODES probe images, one sampled z (bits as bytes) and E[z | x and z above].
    """
    device = next(p.parameters()).device
    probe = probe.to(device)
    with seeded(seed, device):
        samples = chains.decoded_prior(p, SAMPLES)
        shown = probe[:SAMPLES]
        reconstructions = chains.reconstruct(p, q, shown)
        trips = [probe[:TRIP_IMAGES]]
        for k, v in enumerate(chains.round_trips(p, q, probe[:TRIP_IMAGES], TRIPS[-1] - 1), 1):
            trips += [chains.decode(p, v)] if k in TRIPS else []
        v = q.sample({"x": probe[:CODES]})
    with seeded(derive(seed, "further pictures"), device):
        ends = probe[:PATHS], probe.roll(-1, 0)[:PATHS]
        parts = {
            "samples": samples,
            "probe": shown,
            "reconstructions": reconstructions,
            "round_trips": torch.stack(trips),
            "interpolations": chains.interpolations(p, q, *ends, PATH_LENGTH),
        }
        if chain:
            parts["limiting"] = chains.limiting(p, q, SAMPLES, chain, progress)
    boards = figures.snapshot_boards(parts)
    codes = {}
    for name in latents_of(p):
        discrete = q.explicit()[name].family.discrete
        codes[f"{name}.sample"] = v[name].to(torch.uint8) if discrete else v[name]
        codes[f"{name}.mean"] = q.mean(v, name).half()
    return boards | {"codes.safetensors": tensor_bytes(codes)}
