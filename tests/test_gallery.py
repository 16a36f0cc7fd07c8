"""Pairs are found by keys that anybody may have written, and shipped pairs are whole."""

import pytest

from symeq_core import gallery
from symeq_core.checkpoints import load, save_pair
from symeq_core.config import Config, ModelConfig, override
from symeq_core.errors import SymeqError
from symeq_core.models import build
from symeq_core.runs import Run

MODEL = ModelConfig(latents="bernoulli:2", hidden=(4,), x_shape=(1, 4, 4))


def stored(folder, **changes):
    """A checkpoint of a tiny pair."""
    model = {f"model.{k}": getattr(MODEL, k) for k in ("hidden", "x_shape")} | {"model.latents": "bernoulli:2"}
    config = override(Config(), model | changes)
    save_pair(folder, *build(config.model), config)
    return folder


@pytest.fixture
def places(tmp_path, monkeypatch):
    """(checkpoints, runs): a shipped pair, an own checkpoint, a run without weights and a stray folder."""
    monkeypatch.setattr(gallery, "SHIPPED", tmp_path / "checkpoints")
    stored(tmp_path / "checkpoints" / "one")
    stored(tmp_path / "runs" / "mine")
    Run.create(tmp_path / "runs" / "new", Config())
    (tmp_path / "runs" / "stray").mkdir()
    return tmp_path / "checkpoints", tmp_path / "runs"


def test_lists_what_has_weights(places):
    assert [p.key for p in gallery.shipped()] == ["one"]
    assert [p.key for p in gallery.own(places[1])] == ["own:mine"]
    assert gallery.own(places[1] / "nowhere") == []


def test_a_key_finds_its_pair(places):
    one, mine = gallery.find(places[1], "one"), gallery.find(places[1], "own:mine")
    assert (one.shipped, mine.shipped) == (True, False)
    assert (one.folder, mine.folder) == (places[0] / "one", places[1] / "mine")
    p, _ = load(one.folder)
    assert p.names == ("z0", "x")


@pytest.mark.parametrize("key", ["", "two", "mine", "own:", "own:one", "../runs/mine", "own:../checkpoints/one", "o\0"])
def test_a_key_of_nothing_is_one_sentence(places, key):
    with pytest.raises(SymeqError, match=r"^There is no pair .* choose one from the list\.$"):
        gallery.find(places[1], key)


def test_a_link_out_of_the_folder_is_not_followed(places):
    (places[1] / "link").symlink_to(places[0] / "one")
    with pytest.raises(SymeqError):
        gallery.find(places[1], "own:link")


def test_the_stamp_changes_with_the_weights(places):
    pair = gallery.find(places[1], "own:mine")
    before = pair.stamp()
    stored(pair.folder, seed=1)
    assert pair.stamp() != before
    with pytest.raises(SymeqError, match="no weights yet"):
        gallery.Pair("own:new", places[1] / "new").stamp()


def test_the_counterpart_differs_in_its_learner(places):
    base, root = places[0] / "one", places[0]
    stored(root / "other-model", **{"model.latents": "bernoulli:3", "learner.name": "elbo"})
    stored(root / "other-learner", **{"learner.name": "elbo"})
    pair = gallery.Pair("one", base)
    assert gallery.counterpart(pair, gallery.shipped()).key == "other-learner"
    assert gallery.counterpart(pair, [pair]) is None


def test_damaged_metrics_are_one_sentence(places):
    pair = gallery.find(places[1], "one")
    assert pair.metrics() is None
    (pair.folder / "metrics.json").write_text("[]")
    with pytest.raises(SymeqError, match="damaged"):
        pair.metrics()


@pytest.mark.parametrize("pair", gallery.shipped(), ids=lambda p: p.key)
def test_every_shipped_pair_is_whole(pair):
    load(pair.folder)
    config = pair.config()
    assert pair.key == config.name
    assert pair.thumbnail().name == "thumbnail.png"
    steps = [*pair.snapshots()]
    assert (steps[0], steps[-1]) == (0, config.train.steps)
    boards = {f.name for f in pair.snapshots()[steps[-1]].iterdir()}
    assert {"samples.png", "reconstructions.png", "round_trips.png", "interpolations.png", "limiting.png"} <= boards
    assert [e["step"] for e in pair.events() if e["event"] == "finished"] == [config.train.steps]


def test_shipped_pairs_and_all_they_bring_are_under_60_MB():
    assert sum(f.stat().st_size for f in gallery.SHIPPED.rglob("*") if f.is_file()) < 60e6
