"""What the round-trip page draws: where chains start, their frames at log-spaced steps, and what is seen in them."""

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .chains import coupled_trips, decode, shared_uniforms
from .errors import SymeqError
from .factors import Chain
from .models import latents_of
from .seeds import derive

STEPS = 1000
FRAMES = 60
CHAINS = 10
KINDS = ("each", "image", "prior", "noise", "draw")


def marks(steps: int = STEPS, count: int = FRAMES) -> tuple[int, ...]:
    """0, then about `count` log-spaced steps 1, 2, ..., `steps`, with the round numbers on the way."""
    spaced = {round(steps ** (i / count)) for i in range(count + 1)}
    round_ones = {m * 10**e for e in range(4) for m in (1, 2, 3, 5, 7)}
    return tuple(sorted({0} | spaced | {k for k in round_ones if k <= steps}))


@dataclass(frozen=True)
class Begun:
    """The first images x [N, C, H, W], their classes [N] where known, and whether they are of a class at all."""

    x: Tensor
    classes: Tensor | None = None
    classed: bool = True


def one_of_each(classes: Tensor | None, which: int, n: int) -> list[int]:
    """Places of the which-th test image (counted round) of each of at most CHAINS classes; without classes, of n
    images, a run of CHAINS."""
    if classes is None:
        return [(which * CHAINS + i) % n for i in range(min(CHAINS, n))]
    found = []
    for c in classes.unique().tolist()[:CHAINS]:
        places = (classes == c).nonzero()[:, 0].tolist()
        found.append(places[which % len(places)])
    return found


def begin(
    p: Chain,
    kind: str,
    x: Tensor,
    classes: Tensor | None = None,
    index: int = 0,
    seed: int = 0,
    drawn: Tensor | None = None,
) -> Begun:
    """The first images of a pair's chains. x [N, C, H, W], classes [N]: its test images.

    kind, one of KINDS: the index-th image of each class; CHAINS times the image at `index`; as many random codes
    decoded; pixels of noise, Bernoulli(1/2); CHAINS times the image `drawn` [1, C, H, W].
    All randomness is that of `shared_uniforms`, so A and B share it.
    """
    uniforms = shared_uniforms(derive(seed, "start"), 0)
    if kind == "each":
        places = one_of_each(classes, index, len(x))
        return Begun(x[places], None if classes is None else classes[places])
    if kind == "image":
        place = index % len(x)
        return Begun(
            _repeated(x[place : place + 1]), None if classes is None else _repeated(classes[place : place + 1])
        )
    if kind == "prior":
        with torch.no_grad():
            return Begun(p.propagate(n=CHAINS, uniforms=uniforms)[0]["x"])
    if kind == "noise":
        return Begun((uniforms("x", (CHAINS, *p["x"].event)) < 0.5).float(), classed=False)
    if drawn is None:
        raise SymeqError("Nothing is drawn yet: draw a digit first.")
    return Begun(_repeated(drawn))


def _repeated(one: Tensor) -> Tensor:
    return one.expand(CHAINS, *one.shape[1:])


@dataclass
class Film:
    """A pair's chains from its first images, computed as far as asked for.

    At each mark k: the sample x_k and the mean E[x_k | z_{k-1}] it was drawn from (for k = 0 both are x_0), as bytes
    [N, H, W] or [N, H, W, 3]; seen[k]: (class, probability) of each mean image, where there is a classifier.
    """

    p: Chain
    q: Chain
    begun: Begun
    seed: int
    probabilities: Callable[[Tensor], Tensor] | None = None
    ks: tuple[int, ...] = field(default_factory=marks)

    def __post_init__(self) -> None:
        self.samples: list[np.ndarray] = []
        self.means: list[np.ndarray] = []
        self.seen: list[list[tuple[int, float]]] = []
        self._trips = coupled_trips(self.p, self.q, self.begun.x, self.ks[-1], derive(self.seed, "film"))
        self._before: dict[str, Tensor] | None = None
        self.k = -1

    @property
    def done(self) -> bool:
        """Whether the last mark is reached."""
        return len(self.samples) == len(self.ks)

    @property
    def origin(self) -> list[int] | None:
        """The class each chain starts in: its label, else what the classifier sees; None where there is neither."""
        if not self.begun.classed:
            return None
        if self.begun.classes is not None:
            return self.begun.classes.tolist()
        return [c for c, _ in self.seen[0]] if self.seen and self.seen[0] else None

    def advance(
        self, until: int = STEPS, seconds: float = math.inf, between: Callable[[], object] = lambda: None
    ) -> None:
        """Go on to step `until`, or for about so long; `between` is called before each step and may raise to stop."""
        end = monotonic() + seconds
        while self.k < min(until, self.ks[-1]) and monotonic() < end:
            between()
            v = next(self._trips)
            self.k += 1
            if self.k == self.ks[len(self.samples)]:
                self._keep(v["x"])
            self._before = {name: v[name] for name in latents_of(self.p)}

    def _keep(self, x: Tensor) -> None:
        mean = x if self._before is None else decode(self.p, self._before)
        self.samples.append(as_bytes(x))
        self.means.append(as_bytes(mean))
        found = self.probabilities(mean) if self.probabilities else None
        best = [] if found is None else zip(found.argmax(1).tolist(), found.amax(1).tolist(), strict=True)
        self.seen.append([(c, round(v, 3)) for c, v in best])


def as_bytes(x: Tensor) -> np.ndarray:
    """Images [N, C, H, W] in [0, 1] as bytes [N, H, W], or [N, H, W, 3] where they are coloured."""
    found = (x.detach().float().clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return found[..., 0] if found.shape[3] == 1 else found


def sprite(frames: Sequence[np.ndarray]) -> bytes:
    """One PNG of frames [N, H, W(, 3)]: row f is frame f, column i chain i; 1 bit a pixel where that is enough."""
    stack = np.stack(frames)  # [F, N, H, W, ...]
    f, n, h, w = stack.shape[:4]
    sheet = np.moveaxis(stack, 2, 1).reshape(f * h, n * w, *stack.shape[4:])
    picture = Image.fromarray(sheet)
    if sheet.ndim == 2 and ((sheet == 0) | (sheet == 255)).all():
        picture = picture.convert("1", dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()
