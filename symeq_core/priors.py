"""Implicit priors: functions that draw samples and nothing else. Any callable n -> [n, *event] is one."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from .config import Latent
from .errors import UsageError

Draw = Callable[[int], Tensor]


def ring(latent: Latent) -> Draw:
    """The first two Gaussian units: eight blobs (s.d. 0.1) on a circle of radius 1.5; the others N(0, 1)."""
    if latent.family != "gaussian" or latent.units < 2:
        raise UsageError(f"The implicit prior 'ring' needs at least 2 Gaussian units, not {latent}.")

    def draw(n: int) -> Tensor:
        angle = torch.randint(8, (n,)) * (math.pi / 4)
        z = torch.randn(n, latent.units)
        z[:, :2] = 1.5 * torch.stack((angle.cos(), angle.sin()), 1) + 0.1 * z[:, :2]
        return z

    return draw


def few_hot(latent: Latent) -> Draw:
    """Bits of which exactly a quarter (at least one) are on, uniformly: no factorising density has such samples."""
    if latent.family != "bernoulli":
        raise UsageError(f"The implicit prior 'few-hot' needs Bernoulli units, not {latent}.")
    on = max(1, latent.units // 4)

    def draw(n: int) -> Tensor:
        chosen = torch.rand(n, latent.units).topk(on).indices
        return torch.zeros(n, latent.units).scatter_(1, chosen, 1.0)

    return draw


IMPLICIT: dict[str, Callable[[Latent], Draw]] = {"ring": ring, "few-hot": few_hot}


class Empirical(nn.Module):
    """Draws, with replacement, from a bank of samples that is stored with the model."""

    BANK = 10_000

    def __init__(self, samples: Tensor) -> None:
        super().__init__()
        self.register_buffer("samples", samples)
        self.samples: Tensor

    def forward(self, n: int) -> Tensor:
        return self.samples[torch.randint(len(self.samples), (n,), device=self.samples.device)].float()
