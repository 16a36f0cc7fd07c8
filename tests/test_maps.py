"""UMAP positions of a pair: which codes they are of, the cache, the file that is shipped, and the command."""

import numpy as np
import pytest
import torch

from symeq_core import cli, maps
from symeq_core.checkpoints import save_pair
from symeq_core.config import override
from symeq_core.datasets import complete, load_data
from symeq_core.errors import SymeqError, UsageError
from symeq_core.latents import encode
from symeq_core.models import build
from symeq_core.presets import preset
from symeq_core.sources import clean


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SYMEQ_CACHE", str(tmp_path / "cache"))
    config = complete(override(preset("digits-ladder-symmetric"), {"model.hidden": [16]}))
    save_pair(tmp_path / "pair", *build(config.model), config)
    return tmp_path / "pair"


@pytest.fixture
def positions(monkeypatch):
    """What stands in for UMAP, which takes seconds."""
    found = np.random.default_rng(0).normal(size=(360, 2)).astype(np.float32)
    monkeypatch.setattr(maps, "umap", lambda z, tell=None: found)
    return found


@pytest.mark.parametrize("codes", maps.CODES)
def test_the_codes_are_those_of_the_images_shown(folder, codes, monkeypatch):
    seen = []
    monkeypatch.setattr(maps, "umap", lambda z, tell=None: seen.append(z))
    maps.compute(folder, maps.Spec("z1", codes, 50))
    _, q = maps.load(folder)
    config = preset("digits-ladder-symmetric").data
    x = clean(load_data(config).test.images[torch.from_numpy(maps.subset(360, 50))], config)
    found = encode(q, x, ["z1"])["z1"]
    np.testing.assert_array_equal(seen[0], found.mean if codes == "mean" else found.sample)


def test_positions_are_computed_once_and_found_again(folder, positions, monkeypatch):
    spec = maps.Spec("z0")
    assert maps.found(folder, spec) is None
    maps.project(folder, spec)
    np.testing.assert_array_equal(maps.found(folder, spec), positions)
    monkeypatch.setattr(maps, "umap", lambda z, tell=None: pytest.fail("computed twice"))
    maps.project(folder, spec)
    assert maps.found(folder, maps.Spec("z1")) is None


def test_shipped_maps_count_only_for_the_weights_they_are_of(folder, positions):
    maps.write(folder)
    np.testing.assert_allclose(maps.shipped(folder, maps.Spec("z0")), positions, atol=1e-2)
    assert maps.shipped(folder, maps.Spec("z0", "sample")) is None
    assert maps.shipped(folder, maps.Spec("z0", n=1000)) is None
    config = complete(preset("digits-flat-symmetric"))
    save_pair(folder, *build(config.model, seed=9), config)
    assert maps.shipped(folder, maps.Spec("z0")) is None


def test_fewer_images_are_the_beginning_of_more():
    np.testing.assert_array_equal(maps.subset(10_000, 5000)[:1000], maps.subset(10_000, 1000))
    assert sorted(maps.subset(360, 5000)) == list(range(360))


@pytest.mark.parametrize("spec", [maps.Spec("z7"), maps.Spec("z0", "median"), maps.Spec("z0", n=2)])
def test_what_cannot_be_is_told(folder, positions, spec):
    with pytest.raises(UsageError):
        maps.compute(folder, spec)


def test_the_command_writes_every_layer_small(folder, positions, capsys):
    assert cli.main(["project", str(folder), "--write"]) == 0
    assert capsys.readouterr().out.strip() == str(folder / maps.FILE)
    assert (folder / maps.FILE).stat().st_size < 5000
    for layer in ("z0", "z1"):
        assert maps.shipped(folder, maps.Spec(layer)) is not None
    assert cli.main(["project", str(folder), "--layer", "z9"]) == 2


# --- two pairs on one map ---


@pytest.fixture
def both(folder, tmp_path, monkeypatch):
    """Two pairs, and what stands in for their joint map: the place of each says whose codes came first."""
    config = complete(override(preset("digits-ladder-elbo"), {"model.hidden": [16]}))
    save_pair(tmp_path / "other", *build(config.model, seed=1), config)
    monkeypatch.setattr(maps, "JOINT", tmp_path / "joint")
    place = np.arange(720, dtype=np.float32).reshape(360, 2) / 1000
    monkeypatch.setattr(maps, "joint_umap", lambda a, b, tell=None: (place, place + 1))
    return folder, tmp_path / "other", place


def two(a, b, layer="z0", **options):
    return maps.Two((a, b), (maps.Spec(layer, **options), maps.Spec(layer, **options)))


def test_a_joint_map_is_computed_once_and_is_the_same_for_b_and_a(both, monkeypatch):
    a, b, place = both
    assert maps.joint_found(two(a, b)) is None
    maps.joint_project(two(a, b))
    monkeypatch.setattr(maps, "joint_umap", lambda *args, **more: pytest.fail("computed twice"))
    assert maps.joint_project(two(b, a)) == maps.joint_entry(two(a, b)).tensors
    first, second = maps.joint_found(two(b, a))
    np.testing.assert_array_equal(first, place)
    np.testing.assert_array_equal(second, place + 1)
    assert all(np.array_equal(x, y) for x, y in zip(maps.joint_found(two(a, b)), (second, first), strict=True))
    assert maps.joint_found(two(a, b, "z1")) is None


def test_shipped_joint_maps_count_only_for_the_weights_they_are_of(both):
    a, b, place = both
    assert cli.main(["project", "--joint", "--write", str(a), str(b)]) == 0
    assert all(maps.joint_shipped(two(*order, layer)) for order in ((a, b), (b, a)) for layer in ("z0", "z1"))
    np.testing.assert_allclose(maps.joint_found(two(b, a))[1], place + 1, atol=1e-3)
    assert not maps.joint_shipped(two(a, b, n=1000))
    assert not maps.joint_shipped(two(a, b, codes="sample"))
    config = complete(preset("digits-flat-symmetric"))
    save_pair(b, *build(config.model, seed=9), config)
    assert not maps.joint_shipped(two(a, b))


def test_what_cannot_be_on_one_map_is_told(both, capsys):
    a, b, _ = both
    assert cli.main(["project", "--joint", str(a)]) == 2
    assert "name two" in capsys.readouterr().err
    maps.joint_project(two(a, b))
    file = maps.joint_entry(two(a, b)).tensors
    maps.write_tensors(file, {"0": torch.zeros(3, 2)})
    with pytest.raises(SymeqError, match="delete it"):
        maps.joint_found(two(a, b))
    mnist = complete(override(preset("mnist-ladder-elbo"), {"model.hidden": [16]}))
    save_pair(b, *build(mnist.model), mnist)
    with pytest.raises(UsageError, match="different images"):
        maps.joint_compute(two(a, b))
