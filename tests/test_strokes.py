"""Drawings: as text and back, and as images made the way the data sets were."""

import numpy as np
import pytest

from symeq_core import strokes
from symeq_core.errors import SymeqError

T = np.linspace(0, 2 * np.pi, 30)
ZERO = [np.stack((0.5 + 0.22 * np.sin(T), 0.5 - 0.35 * np.cos(T)), 1)]
ONE = [np.array([[0.5, 0.15], [0.48, 0.85]])]


def test_a_drawing_survives_as_text():
    code = strokes.encode([*ZERO, *ONE])
    back = strokes.decode(code)
    assert [len(s) for s in back] == [30, 2]
    assert max(np.abs(a - b).max() for a, b in zip(back, [*ZERO, *ONE], strict=True)) <= 0.5 / 511 + 1e-9
    assert strokes.encode(back) == code
    assert strokes.decode("") == []
    assert strokes.decode("..") == []


@pytest.mark.parametrize("code", ["abcd", "ab!", "a b", "é" * 3, "AAA." * 3000, "AAA.A"])
def test_text_that_is_no_drawing_is_one_sentence(code):
    with pytest.raises(SymeqError, match="drawing in the address"):
        strokes.decode(code)


def test_nothing_drawn_is_told():
    with pytest.raises(SymeqError, match="Nothing is drawn"):
        strokes.image([], "mnist", 28, 28)


@pytest.mark.parametrize(("data", "side"), [("mnist", 28), ("digits", 8), ("folder", 32)])
def test_place_and_size_on_the_pad_do_not_matter(data, side):
    whole = strokes.image(ZERO, data, side, side)
    small = strokes.image([0.1 + 0.45 * ZERO[0]], data, side, side)
    assert np.abs(whole.astype(int) - small).mean() < 4
    assert whole.shape == (side, side)
    assert whole.dtype == np.uint8


def test_mnist_digits_fill_twenty_pixels_about_their_centre_of_mass():
    seven = [np.array([[0.25, 0.2], [0.75, 0.2], [0.45, 0.85]])]
    x = strokes.image(seven, "mnist", 28, 28).astype(float)
    rows = np.flatnonzero(x.max(1) > 100)
    assert 19 <= rows[-1] - rows[0] + 1 <= 21
    centre = [(x.sum(1 - a) @ (np.arange(28) + 0.5)) / x.sum() for a in (0, 1)]
    assert np.abs(np.array(centre) - 14).max() < 0.2


def test_digits_fill_the_image():
    x = strokes.image(ZERO, "digits", 8, 8)
    assert x[0].max() > 100
    assert x[-1].max() > 100
    assert x[3:5, 3:5].max() == 0, "a zero is hollow"


def test_a_dot_is_not_blown_up():
    x = strokes.image([np.array([[0.3, 0.3]])], "mnist", 28, 28)
    assert 0 < (x > 100).sum() < 16


def test_other_shapes_of_image():
    assert strokes.image(ONE, "folder", 16, 24).shape == (16, 24)
