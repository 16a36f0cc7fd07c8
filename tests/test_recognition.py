"""Fréchet distance in closed form; classes counted by hand."""

import math

import numpy as np
import pytest
import torch

from symeq_core.quality import frechet
from symeq_core.recognition import Classes, Quality


class ByPixel:
    """Class = index of the brightest of three pixels; features = pixels."""

    def features(self, x):
        return x.flatten(1)

    def probabilities(self, x):
        return x.flatten(1).softmax(1)


def images(classes):
    return torch.nn.functional.one_hot(torch.tensor(classes), 3).float().reshape(-1, 1, 1, 3)


def test_the_distance_of_normals_is_the_closed_form():
    """Samples given the exact moments: N(0, diag(1, 4)) and N((3, 0), diag(9, 1)): 9 + (1 - 3)^2 + (2 - 1)^2 = 14."""
    g = torch.Generator().manual_seed(0)
    white = torch.randn(500, 2, generator=g, dtype=torch.float64)
    white = white - white.mean(0)
    white = white @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(white.T))).T
    a, b = white * torch.tensor([1.0, 2.0]), white * torch.tensor([3.0, 1.0]) + torch.tensor([3.0, 0.0])
    assert frechet(a, b) == pytest.approx(14, abs=1e-9)
    assert frechet(a, a) == pytest.approx(0, abs=1e-9)


def quality(x, chosen, reference, shown):
    look = Quality(ByPixel(), x, chosen, reference, 0, 64)
    look.at(0, {}, shown)
    return look.result()["frechet"]


def real(n, seed):
    return torch.rand(n, 1, 1, 3, generator=torch.Generator().manual_seed(seed))


def test_quality_of_real_images_is_the_floor():
    """Shown the very starts, each way of comparing gives its floor: a reference, the images left over, halves."""
    x, other = real(200, 2), real(300, 3)
    chosen = torch.arange(0, 100, 2)
    given, rest = quality(x, chosen, other, x[chosen]), quality(x, chosen, None, x[chosen])
    assert given["value"][0] == pytest.approx(given["floor"])
    assert given["floor"] == pytest.approx(frechet(x[chosen].flatten(1), other.flatten(1)))
    assert (given["n_reference"], given["features"]) == (300, 3)
    left = torch.cat((x[1:100:2], x[100:])).flatten(1)
    assert rest["value"][0] == pytest.approx(frechet(x[chosen].flatten(1), left))
    assert rest["n_reference"] == 150
    halves = quality(x, torch.arange(200), None, x)
    assert halves["value"][0] == pytest.approx(halves["floor"])
    assert halves["n_reference"] == 100
    assert "100 images against 100, the mean of both halves" in halves["meaning"]
    assert all(f["stderr"][0] > 0 for f in (given, rest, halves))


def test_so_few_images_have_no_distance():
    found = quality(real(6, 2), torch.arange(3), None, real(3, 3))
    assert found["value"] is None
    assert found["reason"] == "a distance needs at least 20 images, not 3"


def test_quality_sees_a_shift():
    """Features moved by 1 in each of three pixels: 3 more than the floor, up to correlations of the samples."""
    x = real(400, 4)
    found = quality(x, torch.arange(400), None, x + 1)
    assert found["value"][0] == pytest.approx(3 + found["floor"], abs=0.3)
    assert found["stderr"][0] < 0.2


def looked(start, origin, *steps):
    look = Classes(ByPixel(), None if origin is None else torch.tensor(origin), images(origin or [0] * 4), start, 3)
    for k, classes in zip((0, 1, 10), steps, strict=False):
        look.at(k, {}, images(classes))
    return look.result()


def test_classes_are_counted_as_by_hand():
    found = looked("test", [0, 0, 1, 2], [0, 1, 1, 2], [0, 2, 2, 2], [1, 1, 2, 2])
    assert found["retention"]["value"] == [0.75, 0.5, 0.25]
    assert found["retention"]["stderr"][1] == pytest.approx(math.sqrt(0.25 / 4))
    assert found["retention"]["chance"] == pytest.approx([(2 + 2 + 1) / 16, (2 + 0 + 3) / 16, (0 + 2 + 2) / 16])
    assert found["classes"]["value"] == [1, 1.5, 1.75]
    shares = np.array([1, 2, 1]) / 4
    assert found["effective_classes"]["value"][0] == pytest.approx(math.exp(-(shares * np.log(shares)).sum()))
    assert found["effective_classes"]["value"][2] == pytest.approx(2)
    assert found["transitions"]["ks"] == [1, 10]
    assert found["transitions"]["counts"][0] == [[1, 0, 1], [0, 0, 1], [0, 0, 1]]
    assert found["transitions"]["fraction"][0] == [[0.5, 0, 0.5], [0, 0, 1], [0, 0, 1]]


def test_a_class_in_which_no_chain_began_has_no_row():
    found = looked("test", [0, 0, 0, 0], [0, 1, 1, 2], [0, 2, 2, 2])
    assert found["transitions"]["fraction"][0] == [[0.25, 0, 0.75], None, None]


def test_chains_from_the_prior_begin_in_the_class_they_first_show():
    found = looked("prior", None, [0, 1, 1, 2], [0, 2, 2, 2])
    assert found["retention"]["value"] == [1, 0.5]


def test_noise_has_no_class_to_keep():
    found = looked("noise", None, [0, 1, 1, 2])
    assert found["retention"]["value"] is None
    assert found["transitions"]["counts"] is None
    assert "noise" in found["retention"]["reason"]
    assert found["classes"]["value"] == [1]
