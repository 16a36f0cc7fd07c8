"""An evaluation holds every figure with what it takes to read it, is computed once, and ranks pairs."""

import itertools
import json
import math
import shutil
from dataclasses import replace

import pytest
import torch

from symeq_core import checkpoints, cli, evaluation, files, measured
from symeq_core.checkpoints import load, save_pair
from symeq_core.config import override, to_dict
from symeq_core.errors import SymeqError, UsageError
from symeq_core.gallery import SHIPPED, Pair
from symeq_core.measured import Options, best, found, label, stored
from symeq_core.report import table
from symeq_core.runs import read_config

SMALL = Options(n=200, chain=10, limit=100)
GAME, ELBO = SHIPPED / "digits-bits-symmetric", SHIPPED / "digits-bits-elbo"


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _cache(cache, monkeypatch):
    monkeypatch.setenv("SYMEQ_CACHE", str(cache))


def alike(a, b, errors=5.0):
    """Whether all figures agree within so many standard errors, where those are known."""
    for group, figures in a["figures"].items():
        for name, f in figures.items():
            other = b["figures"][group][name]
            if f["stderr"] is not None:
                error = math.hypot(f["stderr"], other["stderr"])
                assert abs(f["value"] - other["value"]) <= errors * error + 1e-6, (group, name)
    return True


def test_it_holds_every_group_with_all_that_a_figure_needs():
    r = evaluation.evaluate(GAME, SMALL)
    assert list(r["figures"]) == ["quality", "likelihood", "consistency", "utilities"]
    assert (r["format"], r["name"], r["data"], r["learner"]) == (1, GAME.name, "digits", "symmetric")
    assert r["steps"] == checkpoints.saved_step(GAME)
    assert r["options"] == {"n": 200, "chain": 10, "seed": 0, "limit": 100, "inception": False}
    assert r["speed"]["chain images per second"] > 0
    assert r["chain"]["ks"] == [0, 1, 2, 5, 10]
    assert not r["missing"]
    for figures in r["figures"].values():
        for name, f in figures.items():
            assert {"value", "stderr", "n", "unit", "meaning", "seed", "better"} <= f.keys(), name
            assert f["meaning"].strip()
            assert (f["value"] is None) == (f["stderr"] is None) == bool(f.get("reason"))
    retention = [f for name, f in r["figures"]["consistency"].items() if name.startswith("label retention")]
    assert all("symeq-digits" in f["extractor"] for f in (*r["figures"]["quality"].values(), *retention))
    json.dumps(r, allow_nan=False)


def test_it_is_computed_once(monkeypatch, tmp_path):
    first = evaluation.evaluate(GAME, SMALL)
    monkeypatch.setattr(evaluation, "load", None)  # whoever computes needs it
    assert evaluation.evaluate(GAME, SMALL) == first
    shutil.copytree(GAME, tmp_path / "copy", ignore=shutil.ignore_patterns("snapshots"))
    files.write_json(tmp_path / "copy" / "config.json", to_dict(override(read_config(GAME), {"name": "other"})))
    assert evaluation.evaluate(tmp_path / "copy", SMALL) == first | {"name": "other"}
    with pytest.raises(TypeError):
        evaluation.evaluate(GAME, Options(n=200, chain=11, limit=100))


def test_the_same_again_gives_the_same(monkeypatch, tmp_path):
    first = evaluation.evaluate(GAME, SMALL)
    monkeypatch.setenv("SYMEQ_CACHE", str(tmp_path / "again"))
    told = []
    second = evaluation.evaluate(GAME, SMALL, lambda what, done: told.append(done))
    assert second["figures"] == first["figures"]
    assert told == sorted(told)
    assert told[-1] <= 1.0


def test_another_number_of_threads_gives_the_same_within_the_uncertainty(monkeypatch, tmp_path):
    least = Options(n=40, chain=2, limit=20)  # as two threads are slow where others want the cores, too
    first = evaluation.evaluate(GAME, least)
    monkeypatch.setenv("SYMEQ_CACHE", str(tmp_path / "threads"))
    torch.set_num_threads(2)
    assert alike(first, evaluation.evaluate(GAME, least), errors=1.0)


def test_a_broken_pair_is_worse(tmp_path):
    p, q = load(GAME)
    torch.manual_seed(0)
    with torch.no_grad():
        for w in p.parameters():
            w.copy_(w.flatten()[torch.randperm(w.numel())].reshape(w.shape))
    save_pair(tmp_path / "broken", p, q, read_config(GAME))
    good, broken = (evaluation.evaluate(f, SMALL)["figures"] for f in (GAME, tmp_path / "broken"))
    for group, name in (
        ("quality", "Frechet distance, random code"),
        ("quality", "kernel distance, random code"),
        ("quality", "recall, random code"),
        ("likelihood", "ELBO"),
        ("likelihood", "log-likelihood"),
        ("consistency", "inconsistency on data"),
        ("consistency", "inconsistency on dreams"),
        ("utilities", "L_p"),
    ):
        assert best([broken[group][name], good[group][name]]) == 1, name


def test_without_an_extractor_the_rest_is_there_and_the_way_out_is_told(monkeypatch):
    monkeypatch.setattr(measured, "extractor_folder", lambda data: SHIPPED / "nowhere")
    monkeypatch.setattr("symeq_core.extractors.extractor_folder", lambda data: SHIPPED / "nowhere")
    r = evaluation.evaluate(GAME, Options(n=200, chain=1, limit=50))
    assert "quality" not in r["figures"]
    assert "train-extractor digits" in r["missing"]["quality"]
    assert r["figures"]["likelihood"]["ELBO"]["value"] is not None


def test_inception_that_cannot_be_had_now_may_be_the_next_time(monkeypatch):
    from symeq_core import quality

    def refuse(x):
        raise SymeqError("Inception's weights can't be had")

    options = replace(SMALL, inception=True)
    plain = evaluation.evaluate(GAME, SMALL)
    monkeypatch.setattr(quality, "inception_features", refuse)
    refused = evaluation.evaluate(GAME, options)
    assert refused["missing"] == {"inception": "Inception's weights can't be had"}
    assert refused["figures"] == plain["figures"]
    monkeypatch.setattr(quality, "inception_features", lambda x: x.flatten(1))
    r = evaluation.evaluate(GAME, options)
    assert not r["missing"]
    assert list(r["figures"]["inception"]) == [f"Inception FID, {k}" for k in ("random code", "limiting", "floor")]
    assert r["options"]["inception"]
    monkeypatch.setattr(quality, "inception_features", refuse)
    assert evaluation.evaluate(GAME, options) == r


def test_a_pair_that_is_trained_meanwhile_is_not_mixed_up(monkeypatch):
    contents = itertools.chain(["one"], itertools.repeat("two"))
    monkeypatch.setattr(measured, "content", lambda folder: next(contents))
    for part in ("_quality", "_likelihood", "_consistency"):
        monkeypatch.setattr(evaluation, part, lambda *args: None)
    with pytest.raises(SymeqError, match="changed while it was measured"):
        evaluation.evaluate(GAME, Options(n=20, chain=1, limit=20))


@pytest.mark.parametrize("wrong", [{"n": 5}, {"n": 10**6}, {"chain": 0}, {"limit": 2}])
def test_options_that_make_no_sense_are_refused(wrong):
    with pytest.raises(UsageError):
        Options(**wrong)


def test_what_is_found_is_of_the_weights_that_are_there_now(tmp_path, monkeypatch):
    monkeypatch.setenv("SYMEQ_CACHE", str(tmp_path / "cache"))
    shutil.copytree(GAME, tmp_path / "mine", ignore=shutil.ignore_patterns("snapshots", "metrics.json"))
    pair = Pair("own:mine", tmp_path / "mine")
    assert found(pair) is None
    files.write_json(pair.folder / "metrics.json", {"content": "of other weights", "figures": {}})
    assert found(pair) is None
    files.write_json(stored(pair.folder).json, {"content": measured.content(pair.folder), "figures": {"quality": {}}})
    assert found(pair)["figures"] == {"quality": {}}


def test_the_figures_at_default_options_come_first(tmp_path, monkeypatch):
    monkeypatch.setenv("SYMEQ_CACHE", str(tmp_path / "cache"))
    shutil.copytree(GAME, tmp_path / "mine", ignore=shutil.ignore_patterns("snapshots", "metrics.json"))
    pair = Pair("own:mine", tmp_path / "mine")
    beside, usual, quick = pair.folder / "metrics.json", measured.key(pair.folder), measured.key(pair.folder, SMALL)
    files.write_json(beside, quick | {"figures": {"quick": {}}})
    assert found(pair)["figures"] == {"quick": {}}
    files.write_json(stored(pair.folder).json, usual | {"figures": {"stored": {}}})
    assert found(pair)["figures"] == {"stored": {}}
    files.write_json(beside, usual | {"figures": {"beside": {}}})
    assert found(pair)["figures"] == {"beside": {}}
    monkeypatch.setattr(measured, "extractor_name", lambda data: "another classifier")
    assert found(pair)["figures"] == {"beside": {}}, "as nothing is known with that one yet"
    files.write_json(stored(pair.folder).json, measured.key(pair.folder) | {"figures": {"new": {}}})
    assert found(pair)["figures"] == {"new": {}}


def test_what_metrics_json_tells_is_not_computed_again(tmp_path, monkeypatch):
    monkeypatch.setenv("SYMEQ_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(evaluation, "_compute", lambda *args: pytest.fail("computed"))
    told = evaluation.evaluate(GAME)
    assert told["figures"] == files.read_json(GAME / "metrics.json", limit=4 << 20)["figures"]
    assert not (tmp_path / "cache").exists()
    shutil.copytree(GAME, tmp_path / "mine", ignore=shutil.ignore_patterns("snapshots"))
    assert evaluation.evaluate(tmp_path / "mine") == told
    (tmp_path / "mine" / "metrics.json").write_text("{")
    with pytest.raises(pytest.fail.Exception, match="computed"):
        evaluation.evaluate(tmp_path / "mine")


def figure(value, stderr=0.1, better="lower"):
    return {"value": value, "stderr": stderr, "n": 10, "unit": "u", "better": better, "meaning": "m", "seed": 0}


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        ([figure(1.0), figure(2.0)], 0),
        ([figure(1.0, better="higher"), figure(2.0, better="higher")], 1),
        ([figure(1.0), figure(1.2)], None),
        ([figure(1.0), figure(3.0), figure(1.1)], None),
        ([figure(1.0), figure(3.0), figure(2.0)], 0),
        ([figure(1.0), figure(1.5), figure(3.0, stderr=2.0)], None),  # which might be the best
        ([figure(1.0, None), figure(2.0, None)], None),
        ([figure(1.0, better=None), figure(2.0, better=None)], None),
        ([figure(1.0), None], None),
        ([figure(1.0), figure(None)], None),
    ],
)
def test_the_best_is_better_than_all_beyond_the_uncertainty(figures, expected):
    assert best(figures) == expected


def test_several_pairs_give_a_table_and_a_list(capsys):
    arguments = ["evaluate", str(GAME), str(ELBO), "--n", "200", "--chain", "10"]
    assert cli.main(arguments) == 0
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert lines[0].startswith("A: digits-bits-symmetric at step 25,000 (digits, flat bernoulli:10, symmetric): seed 0")
    assert lines[1].startswith("B: digits-bits-elbo")
    assert "* the best, by more than 2 standard errors" in text
    assert cli.main([*arguments, "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert [r["learner"] for r in results] == ["symmetric", "elbo"]
    assert table(results) == lines
    for group in results[0]["figures"]:
        for name in results[0]["figures"][group]:
            row = next(k for k in lines if k.startswith(f"  {label(name)} "))
            marked = best([r["figures"][group][name] for r in results])
            assert ("*" in row) == (marked is not None) or group == "utilities"  # ELBO comes twice


def test_images_that_were_trained_on_are_told(tmp_path, capsys):
    shutil.copytree(GAME, tmp_path / "all", ignore=shutil.ignore_patterns("snapshots", "metrics.json"))
    config = files.read_json(tmp_path / "all" / "config.json")
    files.write_json(tmp_path / "all" / "config.json", config | {"data": config["data"] | {"split": "all"}})
    results = [evaluation.evaluate(folder, SMALL) for folder in (GAME, tmp_path / "all")]
    assert [r["trained on test images"] for r in results] == [False, True]
    lines = table(results)
    assert "(digits, trained on its test images, too, flat" in lines[1]
    assert "test images, too" not in lines[0]


def test_write_puts_it_beside_the_weights(tmp_path, capsys):
    shutil.copytree(GAME, tmp_path / "mine", ignore=shutil.ignore_patterns("snapshots", "metrics.json"))
    assert cli.main(["evaluate", str(tmp_path / "mine"), "--n", "200", "--chain", "10", "--json", "--write"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert files.read_json(tmp_path / "mine" / "metrics.json", limit=4 << 20) == shown
    assert found(Pair("own:mine", tmp_path / "mine")) == shown
