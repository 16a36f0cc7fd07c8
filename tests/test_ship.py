"""A shipped pair is the run's pair, whole where one looks and small elsewhere."""

import os
from pathlib import Path

import pytest
import torch
from PIL import Image

from symeq_core import cli, ship
from symeq_core.checkpoints import load, pair_tensors, saved_step
from symeq_core.config import override
from symeq_core.errors import UsageError
from symeq_core.gallery import Pair
from symeq_core.presets import gallery_presets, preset
from symeq_core.runs import Run
from symeq_core.worker import Worker


@pytest.fixture
def run(tmp_path):
    changes = {"train.steps": 30, "train.log_every": 5, "train.probe_every": 15, "train.snapshot_every": 15}
    tiny = {"model.latents": "bernoulli:2 bernoulli:3", "model.hidden": [4], "train.snapshot_chain": 3}
    run = Run.create(tmp_path / "run", override(preset("digits-ladder-symmetric"), changes | tiny))
    Worker(run).work()
    return run


def test_the_pair_is_the_same_and_the_optimiser_is_gone(run, tmp_path):
    ship.ship(run, tmp_path / "out", "tiny")
    ours, theirs = (pair_tensors(*load(f)) for f in (run.folder, tmp_path / "out"))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[k], theirs[k]) for k in ours)
    assert saved_step(tmp_path / "out") == 30
    pair = Pair("tiny", tmp_path / "out")
    assert pair.config().name == "tiny"
    assert [*pair.snapshots()] == [0, 10, 15, 30]
    assert [(f / "codes.safetensors").is_file() for f in pair.snapshots().values()] == [False, False, False, True]
    assert {e["step"] for e in pair.events() if e["event"] == "probe"} == {0, 15, 30}
    assert not any("pid" in e for e in pair.events())
    assert Image.open(pair.thumbnail()).size == (4 * 34 + 2, 4 * 34 + 2)


def test_an_unfinished_run_and_a_taken_folder_are_refused(run, tmp_path):
    run.write_config(override(run.config(), {"train.steps": 40}))
    with pytest.raises(UsageError, match="not finished"):
        ship.ship(run, tmp_path / "out", "tiny")
    run.write_config(override(run.config(), {"train.steps": 30}))
    (tmp_path / "out").mkdir()
    with pytest.raises(UsageError, match="exists"):
        ship.ship(run, tmp_path / "out", "tiny")
    ship.ship(run, tmp_path / "out", "tiny", replace=True)
    load(tmp_path / "out")
    assert [f.name for f in tmp_path.iterdir() if f.name.startswith(".ship")] == []


def test_an_older_pair_stays_where_the_new_one_cannot_take_its_place(run, tmp_path, monkeypatch):
    ship.ship(run, tmp_path / "out", "older")
    rename = os.rename

    def refuse(a, b):
        if Path(a).name == "new":
            raise OSError("no room")
        rename(a, b)

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(OSError, match="no room"):
        ship.ship(run, tmp_path / "out", "new", replace=True)
    assert Pair("out", tmp_path / "out").config().name == "older"


def test_snapshots_are_spread_with_both_ends():
    steps = [0, 10, 20, 50, *range(100, 10_000, 100)]
    chosen = ship._spread(steps)
    assert len(chosen) == ship.SNAPSHOTS
    assert (chosen[0], chosen[-1]) == (steps[0], steps[-1])
    assert ship._spread([0, 5]) == [0, 5]


def test_a_run_of_other_settings_is_not_shipped_as_its_preset(tmp_path, monkeypatch, capsys):
    name = gallery_presets()[0]
    monkeypatch.setenv("SYMEQ_RUNS", str(tmp_path))
    Run.create(tmp_path / name, override(preset(name), {"train.lr": 0.5, "train.threads": 2}))
    assert cli.main(["ship", "--all", "--out", str(tmp_path / "out")]) == 2
    assert f"has other settings than the preset {name} (train.lr): delete it" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
