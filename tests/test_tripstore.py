"""Statistics of chains kept by content, and the command that computes them; with short chains."""

import functools
import json

import pytest

from symeq_core import chains, gallery, trips, tripstore
from symeq_core.__main__ import main
from symeq_core.config import override
from symeq_core.errors import SymeqError
from symeq_core.gallery import Pair
from symeq_core.presets import preset
from symeq_core.runs import Run
from symeq_core.store import content
from symeq_core.worker import Worker


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    run = Run.create(
        tmp_path_factory.mktemp("runs") / "tiny", override(preset("digits-flat-symmetric"), {"train.steps": 2})
    )
    Worker(run).work()
    return run.folder


@pytest.fixture(autouse=True)
def _short(tmp_path, monkeypatch):
    monkeypatch.setenv("SYMEQ_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(trips, "chain_statistics", functools.partial(trips.chain_statistics, ks=(0, 1, 3), chains=20))
    monkeypatch.setattr(chains, "limiting", functools.partial(chains.limiting, steps=2))


def test_computed_once_and_found_by_content(folder, monkeypatch):
    pair, told = Pair("own:tiny", folder), []
    assert tripstore.found(pair) is None
    result = tripstore.compute(folder, progress=lambda what, done: told.append((what, done)))
    assert result["ks"] == [0, 1, 3]
    assert result["start"] == "test"
    assert tripstore.found(pair) == result
    assert [d for _, d in told] == sorted(d for _, d in told)
    monkeypatch.setattr(trips, "chain_statistics", None)
    assert tripstore.compute(folder) == result, "looked up"
    assert tripstore.found(pair, "noise") is None, "another start is another result"


def test_noise_and_random_codes_are_starts_too(folder):
    for start in ("noise", "prior"):
        assert tripstore.compute(folder, start)["start"] == start


def test_pictures_of_the_last_snapshot_come_first_then_those_computed(folder):
    pair = Pair("own:tiny", folder)
    snapshot = list(pair.snapshots().values())[-1]
    assert tripstore.pictures(pair) == {"samples.png": snapshot / "samples.png"}
    tripstore.compute(folder)
    assert tripstore.pictures(pair)["limiting.png"] == tripstore.entry(folder).folder / "limiting.png"
    assert tripstore.pictures(pair)["samples.png"].parent == snapshot


def test_what_came_with_the_weights_is_taken_only_if_it_is_of_these_weights(folder):
    pair, path = Pair("own:tiny", folder), folder / "metrics.json"
    known = gallery.find(folder, "digits-bits-elbo").metrics()["chain"]
    try:
        path.write_text(json.dumps({"content": content(folder), "figures": {}, "chain": known}))
        assert tripstore.found(pair) == known
        path.write_text(json.dumps({"content": "of others", "figures": {}, "chain": known}))
        assert tripstore.found(pair) is None
        path.write_text("{")
        with pytest.raises(SymeqError, match="damaged"):
            tripstore.found(pair)
    finally:
        path.unlink()


def test_the_command(folder, capsys):
    assert main(["chain", str(folder), "--start", "noise"]) == 0
    out = capsys.readouterr().out
    assert "20 chains, start: noise" in out
    assert tripstore.found(Pair("own:tiny", folder), "noise")


def test_chains_that_came_with_the_weights_are_found_without_computing(folder, capsys, monkeypatch, tmp_path):
    pair = Pair("own:tiny", folder)
    assert main(["chain", "--write", str(folder)]) == 0
    path = folder / "chains.json"
    try:
        assert str(path) in capsys.readouterr().out
        monkeypatch.setenv("SYMEQ_CACHE", str(tmp_path / "another cache"))
        assert [tripstore.found(pair, start)["start"] for start in ("prior", "noise")] == ["prior", "noise"]
        assert tripstore.found(pair) is None, "those from test images are in metrics.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"content": "of others"}))
        assert tripstore.found(pair, "noise") is None
    finally:
        path.unlink()


def test_a_folder_without_a_pair_is_told(tmp_path):
    with pytest.raises(SymeqError):
        tripstore.entry(tmp_path)
