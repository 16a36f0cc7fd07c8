"""Sample quality against known answers: Gaussians, equal distributions, real images, broken pairs."""

import math

import numpy as np
import pytest
import torch

from symeq_core import quality
from symeq_core.checkpoints import load
from symeq_core.config import DataConfig
from symeq_core.datasets import load_data
from symeq_core.errors import SymeqError, UsageError
from symeq_core.extractors import extractor
from symeq_core.gallery import SHIPPED

PAIR = SHIPPED / "digits-bits-symmetric"


class Plain:
    """An extractor whose features are the pixels."""

    accuracy, n, name = 1.0, 1, "plain"

    def features(self, x):
        return x.flatten(1)

    logits = features


def gaussian(n, mean, scale, seed):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, 4, generator=g) * torch.tensor(scale) + torch.tensor(mean)


def images(features):
    return features[:, None, None]


def test_frechet_distance_of_gaussians_is_their_closed_form():
    """|m1 - m2|^2 + sum (s1 - s2)^2 for independent entries; at n = 20,000 its error is below 1%, allowed are 2%."""
    a = gaussian(20_000, [0.0, 1.0, 2.0, 3.0], [1.0, 2.0, 0.5, 1.0], 0)
    b = gaussian(20_000, [1.0, 1.0, 2.0, 1.0], [1.0, 1.0, 1.5, 3.0], 1)
    expected = (1 + 4) + (0 + 1 + 1 + 4)
    name = quality.registered(Plain())
    found = quality.frechet(quality.features(images(a), name), quality.features(images(b), name))
    assert found == pytest.approx(expected, rel=0.02)


def test_the_same_images_are_at_no_distance_and_cover_each_other():
    x = gaussian(300, [0.0] * 4, [1.0] * 4, 0)
    found = quality.scores(x, x, 0)
    assert found["Frechet distance"][0] == pytest.approx(0, abs=1e-6)
    assert found["precision"][0] == found["recall"][0] == 1.0


def test_the_kernel_distance_of_equal_distributions_is_around_zero():
    """40 pairs of sets: their mean is within 4 standard errors of 0; the error that is stated is like their spread."""
    found = []
    for k in range(40):
        both = gaussian(240, [0.5] * 4, [1.0] * 4, k)
        found.append(quality.scores(both[:120], both[120:], 0)["kernel distance"])
    values, errors = np.array(found).T
    assert abs(values.mean()) < 4 * values.std(ddof=1) / math.sqrt(len(values))
    assert values.min() < 0 < values.max()
    assert 0.3 < errors.mean() / values.std(ddof=1) < 2


def test_the_stated_error_of_the_frechet_distance_is_that_of_a_repetition():
    """Over 40 repetitions with the same real images; the error of a standard deviation of 40 values is 11%."""
    real = gaussian(300, [0.0] * 4, [1.0] * 4, 999)
    found = [
        quality.scores(gaussian(300, [1.0, 0, 0, 0], [2.0, 1, 1, 1], k), real, 0)["Frechet distance"] for k in range(40)
    ]
    values, errors = np.array(found).T
    assert 0.6 < errors.mean() / values.std(ddof=1) < 1.6


def test_precision_and_recall_tell_what_is_missing():
    real = torch.cat([gaussian(150, [0.0] * 4, [1.0] * 4, 0), gaussian(150, [30.0] * 4, [1.0] * 4, 1)])
    half = quality.scores(gaussian(300, [0.0] * 4, [1.0] * 4, 2), real, 0)  # one of two modes
    wide = quality.scores(gaussian(300, [15.0] * 4, [40.0] * 4, 3), real, 0)
    assert half["precision"][0] > 0.8
    assert half["recall"][0] < 0.6
    assert wide["precision"][0] < 0.3


def test_it_is_what_torch_fidelity_finds_with_our_extractor():
    from torch_fidelity import calculate_metrics

    x = load_data(DataConfig()).train.images[:240].float() / 255
    a, b = x[:120], x[120:]
    name = quality.registered(extractor("digits"))
    options = {"cuda": False, "save_cpu_ram": True, "verbose": False, "cache": False}
    theirs = calculate_metrics(
        input1=quality._Images(a),
        input2=quality._Images(b),
        feature_extractor=name,
        fid=True,
        kid=True,
        kid_subsets=1,
        kid_subset_size=120,
        prc=True,
        **options,
    )
    ours = {k: v for k, (v, _) in quality.scores(quality.features(a, name), quality.features(b, name), 0).items()}
    assert ours["Frechet distance"] == pytest.approx(theirs["frechet_inception_distance"], rel=1e-3)
    assert ours["kernel distance"] == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-3, abs=1e-5)
    for k in ("precision", "recall"):
        assert ours[k] == pytest.approx(theirs[k], abs=1e-6)  # theirs in float32


def test_parts_change_nothing(monkeypatch):
    x, y = gaussian(230, [0.0] * 4, [1.0] * 4, 0), gaussian(230, [0.5] * 4, [1.5] * 4, 1)
    whole = quality.scores(x, y, 0)
    monkeypatch.setattr(quality, "PART", 70)
    parts = quality.scores(x, y, 0)
    for k in whole:
        assert parts[k] == pytest.approx(whole[k], rel=1e-9), k


def test_real_images_are_disjoint_and_as_the_model_sees_them():
    data, config = load_data(DataConfig()), DataConfig()
    real = quality.real_images(data, config, 2000, 0)
    assert len(real.reference) == len(real.other) == 898  # half of all
    assert set(real.reference.unique().tolist()) == {0.0, 1.0}
    again, other = quality.real_images(data, config, 50, 0), quality.real_images(data, config, 50, 1)
    assert torch.equal(again.reference, real.reference[:50])
    assert not torch.equal(again.reference, other.reference)
    with pytest.raises(UsageError, match="at least 20 images"):
        quality.real_images(data, config, 10, 0)


@pytest.fixture(scope="module")
def measured():
    """Figures of a shipped pair, and the same with its decoder's weights shuffled."""
    p, q = load(PAIR)
    data, e = load_data(DataConfig()), extractor("digits")
    real = quality.real_images(data, DataConfig(), 300, 0)

    def figures(p, batch=500, seed=0):
        sets = {
            "random code": quality.random_code_images(p, 300, seed, batch),
            "limiting": quality.limiting_images(p, q, 300, 30, seed, batch),
            "floor": real.other,
        }
        return quality.figures(sets, real.reference, e, 30, seed)

    broken, _ = load(PAIR)
    torch.manual_seed(0)
    with torch.no_grad():
        for w in broken.parameters():
            w.copy_(w.flatten()[torch.randperm(w.numel())].reshape(w.shape))
    return {
        "good": figures(p),
        "again": figures(p),
        "batches": figures(p, batch=64),
        "broken": figures(broken),
    }


def test_a_broken_pair_is_worse_in_every_figure_of_random_codes_and_the_floor_is_best(measured):
    for figure, sign in (("Frechet distance", 1), ("kernel distance", 1), ("precision", -1), ("recall", -1)):
        good, broken, floor = (
            f[f"{figure}, {what}"]
            for f, what in (
                (measured["good"], "random code"),
                (measured["broken"], "random code"),
                (measured["good"], "floor"),
            )
        )
        assert sign * (broken["value"] - good["value"]) > 4 * math.hypot(broken["stderr"], good["stderr"])
        if figure != "precision":  # which a pair that draws typical images only may exceed
            assert sign * (good["value"] - floor["value"]) > 0
    frechet = [measured[k]["Frechet distance, limiting"]["value"] for k in ("good", "broken")]
    assert frechet[0] < frechet[1]


def test_every_figure_says_what_it_is(measured):
    for f in measured["good"].values():
        assert f["n"] == 300
        assert f["stderr"] > 0
        assert f["better"] in ("lower", "higher")
        assert "real images" in f["meaning"]
        assert f["extractor"].startswith("symeq-digits-")
        assert f["seed"] == 0
    assert "30 sampled round trips from noise" in measured["good"]["Frechet distance, limiting"]["meaning"]


def test_the_same_seed_gives_the_same_and_other_batches_the_same_within_the_uncertainty(measured):
    assert measured["good"] == measured["again"]
    different = 0
    for k, f in measured["good"].items():
        other = measured["batches"][k]
        different += f["value"] != other["value"]
        assert abs(f["value"] - other["value"]) <= 4 * math.hypot(f["stderr"], other["stderr"])
    assert different


def test_progress_of_the_chain_rises_to_its_end():
    p, q = load(PAIR)
    told = []
    x = quality.limiting_images(p, q, 30, 5, 0, batch=20, progress=lambda what, done: told.append(done))
    assert x.shape == (30, 1, 8, 8)
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_inception_without_its_weights_is_one_sentence(monkeypatch):
    def refuse(*args, **options):
        raise OSError("no network")

    monkeypatch.setattr("torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url", refuse)
    with pytest.raises(SymeqError, match=r"^Inception's weights can't be had \(no network\), so its FID is left out"):
        quality.inception_features(torch.rand(20, 1, 8, 8))
