"""Networks from parents' values to raw scores: a compact MLP for any image size, and the authors' convolutions.

A `Nets` object hands out the parts a model is put together from; models know nothing of layers.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from .config import ModelConfig
from .errors import UsageError
from .families import Shape

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}


class MLP(nn.Module):
    """Parents [B, ...], flattened and joined -> [B, *out]; `final` activates the last layer too."""

    def __init__(self, widths: Sequence[int], out: Shape, activation: str, final: bool = False) -> None:
        super().__init__()
        sizes = [*widths, math.prod(out)]
        layers: list[nn.Module] = []
        for a, b in itertools.pairwise(sizes):
            layers += [nn.Linear(a, b), ACTIVATIONS[activation]()]
        self.layers = nn.Sequential(*(layers if final else layers[:-1]))
        self.out = out

    def forward(self, *parents: Tensor) -> Tensor:
        flat = [v.flatten(1) for v in parents]
        y = self.layers(flat[0] if len(flat) == 1 else torch.cat(flat, 1))
        return y if len(self.out) == 1 else y.unflatten(1, self.out)


class Skip(nn.Module):
    """A bias-free linear map of flattened parents -> [B, *out]."""

    def __init__(self, size: int, out: Shape) -> None:
        super().__init__()
        self.linear, self.out = nn.Linear(size, math.prod(out), bias=False), out

    def forward(self, parent: Tensor) -> Tensor:
        return self.linear(parent.flatten(1)).unflatten(1, self.out)


class ConvTrunk(nn.Module):
    """The authors' encoder trunk: [B, C, 28, 28] -> [B, H], activated."""

    def __init__(self, channels: int, width: int, activation: str) -> None:
        super().__init__()
        convs = (
            nn.Conv2d(channels, 32, 3, padding=1),
            nn.Conv2d(32, 32, 2),
            nn.Conv2d(32, 64, 3, stride=2),
            nn.Conv2d(64, 64, 3),
            nn.Conv2d(64, 64, 3),
            nn.Conv2d(64, 128, 3, stride=2),
            nn.Conv2d(128, width, 4),
        )
        act = ACTIVATIONS[activation]
        self.layers = nn.Sequential(*(m for conv in convs for m in (conv, act())), nn.Flatten())

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class ConvDecoder(nn.Module):
    """The authors' decoder of pixels: parents, flattened and joined -> [B, *out], out ending in (28, 28)."""

    def __init__(self, size: int, out: Shape, activation: str) -> None:
        super().__init__()
        convs = (
            nn.ConvTranspose2d(size, 128, 4),
            nn.ConvTranspose2d(128, 64, 3, stride=2),
            nn.ConvTranspose2d(64, 64, 3),
            nn.ConvTranspose2d(64, 64, 3),
            nn.ConvTranspose2d(64, 32, 3, stride=2),
            nn.ConvTranspose2d(32, 32, 2),
            nn.Conv2d(32, math.prod(out[:-2]), 3, padding=1),
        )
        act = ACTIVATIONS[activation]
        self.layers = nn.Sequential(*[m for conv in convs for m in (conv, act())][:-1])
        self.out = out

    def forward(self, *parents: Tensor) -> Tensor:
        z = torch.cat([v.flatten(1) for v in parents], 1)
        return self.layers(z[:, :, None, None]).unflatten(1, self.out[:-2])


class Nets(Protocol):
    """What a model asks for. Sizes are of flattened parents, shapes those of raw scores."""

    def trunk(self, x: Shape) -> tuple[nn.Module, int]:
        """x -> features [B, width], and their width."""

    def bottom(self, size: int, out: Shape) -> nn.Module:
        """Features -> scores of the layer next to x."""

    def above(self, size: int, out: Shape) -> nn.Module:
        """Features -> scores of a layer further up (ladder)."""

    def up(self, size: int, out: Shape) -> nn.Module:
        """One latent layer -> the next one up (reverse)."""

    def down(self, size: int, out: Shape) -> nn.Module:
        """One latent layer -> the next one down."""

    def pixels(self, size: int, out: Shape) -> nn.Module:
        """The lowest latent layer -> x."""

    def skip(self, size: int, out: Shape) -> nn.Module | None:
        """A linear short cut beside `above`, `up` and `down`, where these networks have one."""


class MLPNets:
    """Compact MLPs: `hidden` lists the widths from x upwards, the decoder mirrors them."""

    def __init__(self, config: ModelConfig) -> None:
        self.hidden, self.act = config.hidden, config.activation
        self.decoder_act = config.decoder_activation or config.activation

    def trunk(self, x: Shape) -> tuple[nn.Module, int]:
        if not self.hidden:
            return nn.Flatten(), math.prod(x)
        return MLP((math.prod(x), *self.hidden[:-1]), (self.hidden[-1],), self.act, final=True), self.hidden[-1]

    def bottom(self, size: int, out: Shape) -> nn.Module:
        return MLP((size,), out, self.act)

    def above(self, size: int, out: Shape) -> nn.Module:
        return MLP((size, *self.hidden[-1:]), out, self.act)

    def up(self, size: int, out: Shape) -> nn.Module:
        return MLP((size, *self.hidden[-1:]), out, self.act)

    def down(self, size: int, out: Shape) -> nn.Module:
        return MLP((size, *self.hidden[-1:]), out, self.decoder_act)

    def pixels(self, size: int, out: Shape) -> nn.Module:
        return MLP((size, *reversed(self.hidden)), out, self.decoder_act)

    def skip(self, size: int, out: Shape) -> nn.Module | None:
        return None


class ConvNets:
    """The networks of the authors' published experiments (28 x 28 images), H = `width`."""

    def __init__(self, config: ModelConfig) -> None:
        if config.x_shape and config.x_shape[1:] != (28, 28):
            size = " x ".join(map(str, config.x_shape[1:]))
            raise UsageError(
                f"The convolutional networks are made for 28 x 28 images, not {size}: set model.nets to mlp."
            )
        self.width, self.middle, self.act = config.width, config.middle, config.activation
        self.decoder_act = config.decoder_activation or config.activation

    def trunk(self, x: Shape) -> tuple[nn.Module, int]:
        return ConvTrunk(x[0], self.width, self.act), self.width

    def bottom(self, size: int, out: Shape) -> nn.Module:
        return MLP((size,), out, self.act)

    def above(self, size: int, out: Shape) -> nn.Module:
        return MLP((size, self.width, self.width), out, self.act)

    def up(self, size: int, out: Shape) -> nn.Module:
        return MLP((size, *[self.middle] * 3), out, self.act)

    def down(self, size: int, out: Shape) -> nn.Module:
        return MLP((size, *[self.middle] * 2), out, self.decoder_act)

    def pixels(self, size: int, out: Shape) -> nn.Module:
        return ConvDecoder(size, out, self.decoder_act)

    def skip(self, size: int, out: Shape) -> nn.Module | None:
        return Skip(size, out)


NETS: dict[str, type[MLPNets] | type[ConvNets]] = {"mlp": MLPNets, "conv": ConvNets}
