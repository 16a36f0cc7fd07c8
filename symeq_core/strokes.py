"""Digits drawn by hand: from strokes to an image made the way the data set made its own.

A drawing travels as text, so that a link holds it: strokes separated by ".", three characters of 6 bits a point, x and
y in 512 steps each. It is drawn anew at the size of each data set, with that set's width of pen.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from .errors import SymeqError

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
STEPS = 512  # of a coordinate
LONGEST = 6000  # characters
FINE = 8  # the picture is drawn this many times larger, then reduced
SMALLEST = 0.2  # of the pad: what is smaller is not enlarged further

Points = NDArray[np.float64]


class Style(NamedTuple):
    """How a data set was made: a digit's box and the pen, as fractions of the image; what is centred."""

    box: float
    pen: float
    by_mass: bool


# MNIST: a box of 20 x 20 pixels, the centre of mass in the middle of 28 x 28 (yann.lecun.com/exdb/mnist).
# scikit-learn's digits: bitmaps of 32 x 32 that the digit fills, 4 x 4 of them counted for a pixel (UCI: optdigits).
STYLES = {"digits": Style(1.0, 0.16, False)}
DEFAULT = Style(20 / 28, 2.6 / 28, True)


def encode(strokes: list[Points]) -> str:
    """Strokes of points [n, 2] in [0, 1] (x to the right, y down) as text."""
    return ".".join("".join(_point(x, y) for x, y in stroke) for stroke in strokes)


def _point(x: float, y: float) -> str:
    i, j = (min(STEPS - 1, max(0, round(v * (STEPS - 1)))) for v in (x, y))
    n = i * STEPS + j
    return ALPHABET[n >> 12] + ALPHABET[n >> 6 & 63] + ALPHABET[n & 63]


def decode(code: str) -> list[Points]:
    """The strokes of a text that may come from anybody; SymeqError where it is none."""
    if len(code) > LONGEST:
        raise SymeqError("The drawing in the address is too long: clear it and draw again.")
    strokes = []
    for part in filter(None, code.split(".")):
        digits = [ALPHABET.find(c) for c in part]
        if len(part) % 3 or min(digits) < 0:
            raise SymeqError("The drawing in the address is damaged: clear it and draw again.")
        n = np.array(digits).reshape(-1, 3) @ (4096, 64, 1)
        strokes.append(np.stack((n // STEPS, n % STEPS), 1) / (STEPS - 1))
    return strokes


def image(strokes: list[Points], data: str, height: int, width: int) -> NDArray[np.uint8]:
    """A grey picture [height, width] of the strokes, white on black, fitted and centred as in the data set `data`.

    SymeqError where there is no stroke.
    """
    if not strokes:
        raise SymeqError("Nothing is drawn yet: draw a digit first.")
    style, side = STYLES.get(data, DEFAULT), min(height, width)
    points = np.concatenate(strokes)
    low, high = points.min(0), points.max(0)
    pen = style.pen * side
    scale = (style.box * side - pen) / max(SMALLEST, float((high - low).max()))
    centre = (low + high) / 2
    fine = Image.new("L", (width * FINE, height * FINE))
    draw, middle = ImageDraw.Draw(fine), np.array((width, height)) / 2
    for stroke in strokes:
        _line(draw, ((stroke - centre) * scale + middle) * FINE, pen * FINE)
    if style.by_mass:
        fine = _centred(fine)
    return np.asarray(fine.resize((width, height), Image.Resampling.BOX))


def _line(draw: ImageDraw.ImageDraw, points: Points, width: float) -> None:
    for x, y in points:
        draw.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=255)
    if len(points) > 1:
        draw.line([tuple(p) for p in points.tolist()], fill=255, width=round(width), joint="curve")


def _centred(picture: Image.Image) -> Image.Image:
    """Moved so that the centre of mass is in the middle."""
    pixels = np.asarray(picture, dtype=float)
    off = []
    for axis, n in enumerate(pixels.shape):
        along = pixels.sum(1 - axis)
        off.append(round(along @ (np.arange(n) + 0.5) / along.sum() - n / 2))
    y, x = off
    return picture.transform(picture.size, Image.Transform.AFFINE, (1, 0, x, 0, 1, y))
