"""Rows of curves and matrices, from statistics computed for a tiny pair."""

import pytest
import torch

from symeq_core import curves
from symeq_core.config import ModelConfig
from symeq_core.models import build
from symeq_core.trips import chain_statistics

X = (torch.rand(24, 1, 3, 4, generator=torch.Generator().manual_seed(0)) < 0.5).float()
LABELS = torch.arange(24) % 2


class Dark:
    """Two classes: more than half of the pixels on, or not."""

    def features(self, x):
        return x.flatten(1)

    def probabilities(self, x):
        on = x.flatten(1).mean(1)
        return torch.stack((on, 1 - on), 1)


@pytest.fixture(scope="module")
def found():
    p, q = build(ModelConfig(kind="flat", latents="bernoulli:4", x_shape=(1, 3, 4)), seed=0)
    ks = (0, 1, 10)
    return {
        "A": chain_statistics(p, q, X, LABELS, Dark(), ks=ks),
        "B": chain_statistics(p, q, X, LABELS, None, ks=ks),
    }


def test_every_curve_has_its_points_or_says_why_not(found):
    for curve in (*curves.CURVES, *curves.MORE):
        rows, why = curves.points(curve, found), curves.reasons(curve, found)
        for pair, s in found.items():
            mine = [r for r in rows if r["pair"] == pair]
            assert bool(mine) != (pair in why), (curve.group, pair)
            if mine:
                assert [r["k"] for r in mine] == s["ks"]
                assert [r["value"] for r in mine] == s[curve.group]["value"]
                assert all(r["low"] <= r["value"] <= r["high"] and r["n"] == 24 for r in mine)
        assert curves.meaning(curve, found)


def test_bands_are_two_standard_errors(found):
    curve = curves.CURVES[1]
    group = found["A"]["retention"]
    row = curves.points(curve, found)[1]
    assert row["high"] - row["value"] == pytest.approx(2 * group["stderr"][1])


def test_levels_are_the_floor_what_chance_gives_or_nothing_remembered(found):
    named = {c.group: c for c in (*curves.CURVES, *curves.MORE)}
    for group, c in named.items():
        assert bool(curves.levels(c, found)) == bool(c.line), group
    values = [r["value"] for r in curves.levels(named["retention"], found)]
    assert values == found["A"]["retention"]["chance"]
    assert {r["value"] for r in curves.levels(named["pixel_autocorrelation"], found)} == {0.0}
    drift = [r["value"] for r in curves.levels(named["prior_drift"], found) if r["pair"] == "B"]
    assert drift == [found["B"]["prior_drift"]["floor"]] * 3


def test_the_matrix_counts_every_chain_once(found):
    rows = curves.matrix(found["A"], 10, ("dark", "light"))
    assert sum(r["count"] for r in rows) == 24
    assert {r["from"] for r in rows} == {"dark", "light"}
    for name in ("dark", "light"):
        assert sum(r["fraction"] for r in rows if r["from"] == name) == pytest.approx(1)
    assert curves.matrix(found["A"], 10)[0]["from"] == "0"
    assert curves.matrix(found["A"], 7) == []
    assert curves.matrix(found["B"], 10) == []
    assert curves.steps(found) == [1, 10]
    assert curves.steps({}) == []
