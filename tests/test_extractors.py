"""Classifiers whose features figures are measured in: the shipped ones are as good as they say."""

import json

import pytest
import torch
from PIL import Image

from symeq_core import files, measured
from symeq_core.classifier import train_extractor, varied
from symeq_core.config import DataConfig
from symeq_core.datasets import load_data
from symeq_core.errors import SymeqError, UsageError
from symeq_core.extractors import FEATURES, Classifier, extractor
from symeq_core.gallery import SHIPPED, shipped
from symeq_core.sources import clean


@pytest.mark.parametrize(("name", "least", "n"), [("digits", 0.97, 360), ("mnist", 0.992, 10_000)])
def test_the_shipped_ones_are_accurate_and_small(name, least, n):
    e = extractor(name)
    assert e.accuracy >= least
    assert e.n == n
    assert e.facts["command"].startswith(f"python -m symeq_core train-extractor {name} --seed 0")
    folder = SHIPPED / "extractors" / name
    assert sum(f.stat().st_size for f in folder.iterdir()) < 1 << 20
    assert "extractors" not in {p.key for p in shipped()}


def test_the_accuracy_that_is_stored_is_that_of_the_test_images_as_the_model_sees_them():
    e, data = extractor("digits"), DataConfig()
    test = load_data(data).test
    right = e.probabilities(clean(test.images, data)).argmax(1) == test.labels[:, 0].argmax(1)
    assert right.float().mean().item() == pytest.approx(e.accuracy, abs=1e-6)


def test_features_and_probabilities_do_not_depend_on_the_batch():
    e = extractor("digits")
    x = torch.rand(7, 1, 8, 8)
    assert e.features(x).shape == (7, FEATURES)
    assert torch.allclose(e.probabilities(x).sum(1), torch.ones(7), atol=1e-6)
    parts = torch.cat([e.features(x[:2]), e.features(x[2:])])
    assert torch.allclose(e.features(x), parts, atol=1e-5)
    assert e.features(x[:0]).shape == (0, FEATURES)


def test_images_of_another_shape_are_refused():
    with pytest.raises(SymeqError, match=r"is for images of shape \[1, 8, 8\], not \[1, 28, 28\]"):
        extractor("digits").features(torch.rand(2, 1, 28, 28))


@pytest.mark.parametrize(
    ("name", "said"), [("fashion_mnist", "train-extractor fashion_mnist"), ("celeba", "--inception")]
)
def test_where_there_is_none_the_way_out_is_told(name, said, tmp_path, monkeypatch):
    monkeypatch.setenv("SYMEQ_CACHE", str(tmp_path))
    with pytest.raises(SymeqError, match=said):
        extractor(name)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Dark and light images in two sub-folders."""
    monkeypatch.setenv("SYMEQ_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SYMEQ_DATA", str(tmp_path / "data"))
    for name, grey in (("dark", 20), ("light", 230)):
        (tmp_path / "images" / name).mkdir(parents=True)
        for k in range(150):
            Image.new("L", (8, 8), grey + k % 20).save(tmp_path / "images" / name / f"{k}.png")
    return DataConfig(name="folder", path=str(tmp_path / "images"), size=8, channels=1)


def test_a_labelled_folder_gets_one_of_its_own_in_the_cache(folder, tmp_path):
    facts = train_extractor(folder, epochs=8)
    assert facts["n"] == 30
    e = extractor(folder)
    assert e.accuracy == facts["accuracy"] == 1.0
    assert tmp_path / "cache" in measured.extractor_folder(folder).parents
    first = e.name
    assert train_extractor(folder, epochs=8) == facts
    assert extractor(folder).name == first  # the same weights again
    train_extractor(folder, seed=1, epochs=8)
    assert extractor(folder).name != first


def test_few_images_are_enough(folder, tmp_path):
    for f in (tmp_path / "images").glob("*/*.png"):
        if len(f.stem) > 1:  # 10 of each are left
            f.unlink()
    assert train_extractor(folder, epochs=8)["n"] == 2


def test_images_without_classes_are_refused(folder, tmp_path):
    for f in (tmp_path / "images" / "light").iterdir():
        f.unlink()
    with pytest.raises(UsageError, match="has no classes here"):
        train_extractor(folder, epochs=1)


def test_a_damaged_one_is_told(folder):
    train_extractor(folder, epochs=1)
    path = measured.extractor_folder(folder) / "extractor.json"
    facts = json.loads(path.read_text())
    files.write_json(path, facts | {"classes": 5})
    train = measured.extractor_folder(folder) / "extractor.safetensors"
    train.touch()
    with pytest.raises(SymeqError, match="is damaged: restore it, or train it anew"):
        extractor(folder)


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (1, 5, 40)])
def test_the_network_takes_images_of_any_size(shape):
    features, logits = Classifier(shape, 4)(torch.rand(3, *shape))
    assert features.shape == (3, FEATURES)
    assert logits.shape == (3, 4)


def test_training_images_are_of_all_kinds_that_are_scored():
    torch.manual_seed(0)
    grey = load_data(DataConfig()).train.images[:400].float() / 255
    x = varied(grey)
    assert x.shape == grey.shape
    assert x.min() >= 0
    assert x.max() <= 1
    binary = ((x == 0) | (x == 1)).flatten(1).all(1).float().mean()
    assert 0.2 < binary < 0.7
