"""A training process goes on bit for bit from wherever it was stopped, obeys commands, and fails with one sentence."""

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from symeq_core import cli, runs, worker
from symeq_core.checkpoints import load, read_tensors, write_tensors
from symeq_core.config import override
from symeq_core.errors import SymeqError, UsageError
from symeq_core.presets import PRESETS, preset
from symeq_core.runs import Run
from symeq_core.trainer import NonFinite
from symeq_core.worker import Worker, check

ROOT = Path(__file__).parent.parent
STEPS = 10
TINY = {
    "train.steps": STEPS,
    "train.batch": 16,
    "train.labelled_batch": 8,
    "train.threads": 1,
    "train.log_every": 1,
    "train.probe_every": 0,
    "train.snapshot_every": 0,
    "train.save_seconds": 1e6,  # only at the start, at the end and where a command asks for it
    "model.latents": "bernoulli:4",
    "model.hidden": [8],
}
TWO = {"model.latents": "bernoulli:3 bernoulli:5"}
PLANE = {"model.latents": "gaussian:2"}
ELBO = {"learner.name": "elbo", "train.schedule": "simultaneous"}
LABELS = {"data.labelled": 40}
SEVERAL = {"train.moves_p": 2, "train.moves_q": 3}
CASES = {
    "symmetric": {},
    "symmetric, ladder, several moves, labels": {"model.kind": "ladder"} | TWO | SEVERAL | LABELS,
    "symmetric, reverse, simultaneous": {"model.kind": "reverse", "train.schedule": "simultaneous"} | TWO | SEVERAL,
    "symmetric, implicit prior": PLANE | {"model.prior": "implicit:ring"},
    "symmetric, empirical label prior": {"model.label_prior": "empirical"} | LABELS,
    "symmetric, Gaussian x": {"model.x_family": "gaussian-scale", "data.binarize": None, "data.noise": 0.1},
    "elbo, zgr": ELBO,
    "elbo, zgr, ladder, labels": {"model.kind": "ladder"} | TWO | ELBO | LABELS,
    "elbo, zgr, categorical, several moves": {"model.latents": "categorical:2x3"} | ELBO | SEVERAL,
    "elbo, score": ELBO | {"learner.estimator": "score"},
    "elbo, pathwise": ELBO | PLANE,
    "wake-sleep": {"learner.name": "wake_sleep", "model.prior": "learned"},
    "wake-sleep, labels, several moves": {"learner.name": "wake_sleep", "model.prior": "learned"} | LABELS | SEVERAL,
}


@pytest.fixture
def create(tmp_path):
    """A new tiny run with these changes."""

    def make(changes=None, name="run"):
        return Run.create(tmp_path / name, override(preset("digits-flat-symmetric"), TINY | (changes or {})))

    return make


@pytest.fixture
def eager(monkeypatch):
    """Commands are looked for before every iteration."""
    monkeypatch.setattr(worker, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(worker, "PAUSE_SECONDS", 0.0)


class Killed(BaseException):
    """Ends a worker as a kill would: nothing is caught, nothing saved."""


class Script:
    """A listener that does one thing after another, each when its event is heard."""

    def __init__(self, *acts):
        self.acts = list(acts)  # (event, step or None, what to do)

    def __call__(self, event):
        if self.acts:
            kind, step, act = self.acts[0]
            if event["event"] == kind and step in (None, event.get("step")):
                self.acts.pop(0)
                act()


def kill():
    raise Killed


def nothing():
    pass


def trained(run, *acts, changes=None):
    """Train while the acts are performed; all must have had their turn."""
    script = Script(*acts)
    end = Worker(run, script, changes).work()
    assert script.acts == []
    return end


def interrupted(run, *acts):
    with pytest.raises(Killed):
        trained(run, *acts)
    assert run.state() == "interrupted"


def weights(run):
    """All that is saved but the clock."""
    return {k: v for k, v in read_tensors(run.weights)[0].items() if k != "trainer.seconds"}


def measured(run, after=0):
    """What was measured, without what depends on the clock."""
    kept = ("step", "moves", "utility", "terms", "grad_norm")
    return [{k: e[k] for k in kept} for e in run.events() if e["event"] == "metrics" and e["step"] > after]


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def changed(a, b):
    """Names of the tensors that differ."""
    assert a.keys() == b.keys()
    return {k for k in a if not torch.equal(a[k], b[k])}


def saved_step(run):
    return int(weights(run)["trainer.iteration"])


def kinds(run, *of):
    return [e["event"] for e in run.events() if e["event"] in of]


def last(run, kind):
    return next(e for e in reversed(run.events()) if e["event"] == kind)


def refusal(kind, call, *arguments):
    with pytest.raises(kind) as caught:
        call(*arguments)
    sentence = str(caught.value)
    assert sentence.endswith((".", "?"))
    assert "\n" not in sentence
    return sentence


# --- resuming ---


@pytest.mark.parametrize("case", CASES)
def test_a_resumed_run_equals_an_uninterrupted_one(create, eager, case):
    """Stopped at 4, killed at 7 (and so taken back to 4), resumed: weights, optimisers and metrics are equal."""
    whole, parts = create(CASES[case], "whole"), create(CASES[case], "parts")
    assert trained(whole) == "finished"
    assert trained(parts, ("metrics", 4, lambda: parts.send("stop"))) == "stopped"
    assert (parts.state(), parts.step()) == ("stopped", 4)
    assert not same(weights(parts), weights(whole))
    interrupted(parts, ("metrics", 7, kill))
    assert parts.step() == 7
    assert trained(parts, ("resume", 4, nothing)) == "finished"
    assert same(weights(parts), weights(whole))
    assert measured(parts) == measured(whole)
    assert [m["step"] for m in measured(parts)] == list(range(1, STEPS + 1))
    assert {k.split(".")[1] for k in weights(parts) if k.startswith("optimizer.")} == {"p", "q"}


def test_means_over_several_iterations_are_equal_after_a_kill(create):
    """Checkpoints lie where means end, so each mean is taken over the same iterations."""
    changes = {"train.log_every": 3, "train.save_seconds": 0, "train.steps": 20}
    whole, parts = create(changes, "whole"), create(changes, "parts")
    trained(whole)
    interrupted(parts, ("metrics", 9, kill))
    interrupted(parts, ("resume", 6, nothing), ("metrics", 15, kill))
    trained(parts, ("resume", 12, nothing))
    assert measured(parts) == measured(whole)
    assert [m["step"] for m in measured(parts)] == [3, 6, 9, 12, 15, 18, 20]
    assert same(weights(parts), weights(whole))


def test_looking_does_not_disturb_training(create):
    plain, watched = create(name="plain"), create({"train.probe_every": 1, "train.snapshot_every": 3}, "watched")
    trained(plain)
    trained(watched)
    assert same(weights(plain), weights(watched))
    assert measured(plain) == measured(watched)
    assert [e["step"] for e in watched.events() if e["event"] == "probe"] == list(range(STEPS + 1))
    assert [*watched.snapshots()] == [0, 3, 6, 9, 10]


def test_a_resume_takes_back_later_snapshots(create):
    run = create({"train.snapshot_every": 2, "train.save_seconds": 0, "train.log_every": 5})
    interrupted(run, ("snapshot", 8, kill))
    assert [*run.snapshots()] == [0, 2, 4, 6, 8]
    interrupted(run, ("resume", 5, kill))
    assert [*run.snapshots()] == [0, 2, 4]
    assert [e["step"] for e in run.events() if e["event"] == "snapshot"] == [0, 2, 4]
    trained(run)
    assert [*run.snapshots()] == [0, 2, 4, 6, 8, 10]


def test_a_run_killed_before_its_first_checkpoint_begins_anew(create):
    whole, parts = create(name="whole"), create(name="parts")
    trained(whole)
    interrupted(parts, ("snapshot", 0, kill))
    assert not parts.weights.exists()
    assert trained(parts, ("start", 0, nothing)) == "finished"
    assert same(weights(parts), weights(whole))
    assert [e["step"] for e in parts.events() if e["event"] == "probe"] == [0]


def test_a_finished_run_stays_finished_and_can_be_trained_longer(create):
    whole, parts = create({"train.steps": 14}, "whole"), create(name="parts")
    trained(whole)
    trained(parts)
    before = weights(parts)
    assert trained(parts, ("resume", STEPS, nothing)) == "finished"
    assert same(before, weights(parts))
    assert trained(parts, changes={"train.steps": 14}) == "finished"
    assert same(weights(parts), weights(whole))
    assert measured(parts) == measured(whole)
    assert last(parts, "set")["changes"] == {"train.steps": 14}


def test_a_copied_run_goes_on_and_can_be_loaded(create, tmp_path):
    run = create({"train.save_seconds": 0})
    interrupted(run, ("metrics", 6, kill))
    shutil.copytree(run.folder, tmp_path / "copy")
    trained(run)
    whole = weights(run)
    shutil.rmtree(run.folder)
    copy = Run.open(tmp_path / "copy")
    assert copy.state() == "interrupted"
    held = weights(copy)
    p, q = load(copy.folder)
    assert all(torch.equal(v, held[f"p.{k}"]) for k, v in p.state_dict().items())
    assert all(torch.equal(v, held[f"q.{k}"]) for k, v in q.state_dict().items())
    assert trained(copy, ("resume", 5, nothing)) == "finished"
    assert same(weights(copy), whole)


@pytest.mark.parametrize("damage", ["empty", "half", "other model", "no optimiser", "other shape", "no config"])
def test_a_checkpoint_that_does_not_fit_is_told(create, damage):
    run = create()
    trained(run)
    tensors = read_tensors(run.weights)[0]
    if damage == "empty":
        run.weights.write_bytes(b"")
    elif damage == "half":
        run.weights.write_bytes(run.weights.read_bytes()[:1000])
    elif damage == "other model":
        run.write_config(override(run.config(), {"model.hidden": [8, 8]}))
    elif damage == "no optimiser":
        write_tensors(run.weights, {k: v for k, v in tensors.items() if k[1] == "."})
    elif damage == "other shape":  # one that would be broadcast
        name = next(k for k, v in tensors.items() if k.startswith("p.") and v.dim() == 2 and len(v) > 1)
        write_tensors(run.weights, tensors | {name: tensors[name][:1]})
    else:
        (run.folder / "config.json").unlink()
    before = run.weights.read_bytes()
    assert str(run.folder) in refusal(SymeqError, Worker(run).work)
    assert run.weights.read_bytes() == before
    assert not run.is_running()


def test_images_that_no_longer_fit_are_told_and_the_run_stays_as_it_was(create, tmp_path):
    def draw(*classes):
        for name in classes:
            (tmp_path / "images" / name).mkdir(parents=True)
            for k in range(8):
                Image.new("L", (8, 8), 30 * k).save(tmp_path / "images" / name / f"{k}.png")

    draw("a", "b")
    run = create({"data.name": "folder", "data.path": str(tmp_path / "images"), "data.size": 8, "data.labelled": 4})
    trained(run)
    before = (run.folder / "config.json").read_bytes()
    draw("c")
    assert "have another shape or other labels" in refusal(SymeqError, Worker(run).work)
    assert (run.folder / "config.json").read_bytes() == before
    shutil.rmtree(tmp_path / "images" / "c")
    assert trained(run, ("resume", STEPS, nothing)) == "finished"


# --- settings on starting and resuming ---


def test_a_run_prolonged_by_a_cooldown_equals_one_that_had_it_from_the_start(create):
    whole, parts = create({"train.steps": 12, "train.cooldown": 4}, "whole"), create({"train.steps": 8}, "parts")
    trained(whole)
    trained(parts)
    trained(parts, changes={"train.steps": 12, "train.cooldown": 4})
    assert same(weights(parts), weights(whole))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model.kind": "ladder"}, "model.kind can't change within a run"),
        ({"data.flip": 0.0}, "data.flip can't change within a run"),
        ({"train.lr": -1}, "train.lr must be"),
        ({"train.device": "gpu"}, "no device 'gpu'"),
        ({"train.foo": 1}, "no field 'train.foo'"),
    ],
)
def test_refused_changes_leave_the_run_as_it_was(create, changes, said):
    run = create()
    trained(run)
    before = {f: f.read_bytes() for f in run.folder.rglob("*") if f.is_file()}
    assert said in refusal(UsageError, Worker(run, None, changes).work)
    assert {f: f.read_bytes() for f in run.folder.rglob("*") if f.is_file()} == before
    assert run.state() == "finished"


def test_a_resume_may_change_hyperparameters_threads_and_device(create):
    run = create()
    trained(run, changes={"model.hidden": [4]})  # nothing is trained yet
    assert run.config().model.hidden == (4,)
    changes = {"train.lr": 0.1, "train.threads": 1, "train.device": "cpu", "train.steps": 12}
    assert trained(run, changes=changes) == "finished"
    assert (run.config().train.lr, run.step()) == (0.1, 12)
    assert last(run, "set")["changes"] == changes


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (ELBO | PLANE | {"model.prior": "implicit:ring"}, "the prior of z0 is implicit"),
        (PLANE | {"model.prior": "implicit"}, "model.prior=implicit stands for a function"),
        ({"model.prior": "learned"}, "the prior pi(z) is given, so it can't be learned"),
        ({"train.device": "gpu"}, "This machine has no device 'gpu'"),
        ({"data.name": "zebras"}, "There is no data set 'zebras'"),
    ],
)
def test_what_can_not_be_trained_is_refused_before_anything_is_loaded(create, monkeypatch, changes, said):
    monkeypatch.setattr(worker, "load_data", None)
    run = create(changes)
    sentence = refusal(UsageError, check, run.config())
    assert said in sentence
    assert refusal(UsageError, Worker(run).work) == sentence
    assert (run.state(), last(run, "failed")["why"]) == ("failed", sentence)


@pytest.mark.parametrize("name", [name for name in PRESETS if "celeba" not in name])
def test_every_preset_can_be_trained(name):
    assert check(preset(name)).model.x_shape is not None


# --- commands ---


def test_pause_and_resume(create, eager):
    whole, run = create(name="whole"), create(name="run")
    trained(whole)

    def look():
        assert run.state() == "paused"
        assert saved_step(run) == 3
        run.send("pause")  # once is enough
        run.send("resume")

    acts = ("metrics", 3, lambda: run.send("pause")), ("paused", 3, look), ("running", 3, nothing)
    assert trained(run, *acts) == "finished"
    assert kinds(run, "paused", "running") == ["paused", "running"]
    assert same(weights(run), weights(whole))
    assert measured(run) == measured(whole)


def test_what_was_done_before_and_during_a_pause_survives_a_kill(create, eager):
    whole, run = create(name="whole"), create(name="run")
    trained(whole)
    interrupted(run, ("metrics", 3, lambda: run.send("pause")), ("paused", 3, kill))
    assert saved_step(run) == 3
    interrupted(
        run,
        ("metrics", 4, lambda: run.send("step", count=3)),
        ("paused", 4, nothing),
        ("probe", 7, lambda: run.send("resume")),
        ("running", 7, kill),
    )
    assert saved_step(run) == 7
    assert trained(run, ("resume", 7, nothing)) == "finished"
    assert same(weights(run), weights(whole))
    assert measured(run) == measured(whole)


@pytest.mark.parametrize("players", [["p"], ["q"], ["p", "q"], None])
def test_single_steps_move_only_the_players_asked_for(create, eager, players):
    run, before = create({"train.steps": 100}), {}
    details = {"count": 2} | ({"players": players} if players else {})

    def step():
        before.update(weights(run))
        run.send("step", **details)

    acts = ("metrics", 3, lambda: run.send("pause")), ("paused", 3, step), ("probe", 5, lambda: run.send("stop"))
    assert trained(run, *acts) == "stopped"
    moved = {name[0] for name in changed(before, weights(run)) if name[:2] in ("p.", "q.")}
    assert moved == set(players or ["p", "q"])
    assert [m["moves"] for m in measured(run, after=3)] == 2 * [dict.fromkeys(players or ["p", "q"], 1)]
    assert last(run, "step") | {"time": 0} == {
        "event": "step",
        "step": 3,
        "players": players or ["p", "q"],
        "count": 2,
        "time": 0,
    }
    assert int(weights(run)["trainer.iteration"]) == 5


def test_a_single_step_pauses_a_run_and_others_wait_their_turn(create, eager):
    run = create({"train.steps": 100, "train.log_every": 50})

    def ask():
        run.send("step", players=["p"], count=3)
        run.send("step", players=["q"], count=2)

    acts = ("start", 0, ask), ("paused", 0, nothing), ("probe", 3, nothing), ("probe", 5, lambda: run.send("stop"))
    assert trained(run, *acts) == "stopped"
    assert [(m["step"], m["moves"]) for m in measured(run)] == [(3, {"p": 3}), (5, {"q": 2})]


def test_a_pause_after_single_steps_takes_none_of_them_back(create, eager):
    """As when a person presses both before the worker has looked."""
    run = create({"train.steps": 100, "train.log_every": 50})

    def ask():
        for player in "pqp":
            run.send("step", players=[player])
            run.send("pause")

    acts = ("start", 0, ask), ("probe", 3, lambda: run.send("stop"))
    assert trained(run, *acts) == "stopped"
    assert [m["moves"] for m in measured(run)] == [{"p": 1}, {"q": 1}, {"p": 1}]


def test_a_pause_ends_single_steps(create, eager):
    run = create({"train.steps": 10**6})

    def enough():
        run.send("pause")
        run.send("resume")

    assert (
        trained(
            run,
            ("start", 0, lambda: run.send("step", players=["q"], count=10**6)),
            ("metrics", 3, enough),
            ("running", 3, nothing),
            ("metrics", 4, lambda: run.send("stop")),
        )
        == "stopped"
    )
    assert [m["moves"] for m in measured(run)] == 3 * [{"q": 1}] + [{"p": 1, "q": 1}]


def test_single_steps_end_where_the_run_ends(create, eager):
    run = create({"train.steps": 3, "train.log_every": 50})
    assert trained(run, ("start", 0, lambda: run.send("step", count=10))) == "finished"
    assert run.step() == saved_step(run) == 3
    assert [e["step"] for e in run.events() if e["event"] == "probe"] == [0, 3]


def test_stop_saves_and_is_done(create, eager):
    run = create()
    assert trained(run, ("metrics", 4, lambda: run.send("stop"))) == "stopped"
    assert (run.state(), run.step(), saved_step(run)) == ("stopped", 4, 4)
    assert last(run, "stopped")["reason"] == "asked to"


def test_commands_are_obeyed_in_order(create, eager):
    run = create()

    def ask():
        run.send("set", changes={"train.steps": 6})
        run.send("pause")
        run.send("step", players=["q"])
        run.send("resume")
        run.send("set", changes={"train.steps": 8})

    assert trained(run, ("metrics", 3, ask)) == "finished"
    assert kinds(run, "set", "paused", "step", "running") == ["set", "paused", "step", "running", "set"]
    moved = [m["moves"] for m in measured(run, after=2)]
    assert moved == [{"p": 1, "q": 1}, {"q": 1}] + 4 * [{"p": 1, "q": 1}]
    assert run.step() == 8


SETS = {
    "lr": {"train.lr": 0.1},
    "lr_q": {"train.lr_q": 0.2},
    "batch": {"train.batch": 32},
    "schedule": {"train.schedule": "simultaneous"},
    "moves": {"train.moves_q": 3, "train.moves_p": 0},
    "weight": {"learner.labelled_weight": 5.0},
    "labelled batch": {"train.labelled_batch": 4},
    "longer": {"train.steps": 15},
    "shorter": {"train.steps": 7},
    "short names, several": {"lr": 0.01, "batch": 8},
}


@pytest.mark.parametrize("name", SETS)
def test_a_changed_setting_holds_from_then_on_and_after_a_resume(create, eager, name):
    plain, whole, parts = (create(LABELS, k) for k in ("plain", "whole", "parts"))
    trained(plain)
    for run in (whole, parts):
        change = ("metrics", 3, lambda run=run: run.send("set", changes=SETS[name]))
        if run is whole:
            assert trained(run, change, ("set", 3, nothing)) == "finished"
        else:
            interrupted(run, change, ("metrics", 6, kill))
    assert saved_step(parts) == 3  # what came before was trained with the old settings
    assert trained(parts, ("resume", 3, nothing)) == "finished"
    assert parts.config() == whole.config() == override(plain.config(), SETS[name])
    assert same(weights(parts), weights(whole))
    assert measured(parts) == measured(whole)
    assert measured(whole)[:3] == measured(plain)[:3]
    assert changed(weights(whole), weights(plain)) if "steps" not in str(SETS[name]) else True
    assert last(whole, "set")["changes"] == SETS[name]
    assert whole.step() == SETS[name].get("train.steps", STEPS)


def test_fewer_steps_than_were_made_end_a_run(create, eager):
    run = create()
    assert trained(run, ("metrics", 6, lambda: run.send("set", changes={"train.steps": 2}))) == "finished"
    assert run.step() == saved_step(run) == 6


REFUSED = {
    "unknown": (b'{"do": "fly"}', "There is no such command"),
    "model": (b'{"do": "set", "changes": {"model.kind": "ladder"}}', "model.kind can't change within a run"),
    "threads": (b'{"do": "set", "changes": {"train.threads": 2}}', "train.threads can't change while"),
    "device": (b'{"do": "set", "changes": {"train.device": "cuda"}}', "train.device can't change while"),
    "bad value": (b'{"do": "set", "changes": {"train.lr": "fast"}}', "train.lr must be a valid number"),
    "not a number": (b'{"do": "set", "changes": {"train.lr": NaN}}', "damaged"),
    "bad step": (b'{"do": "step", "players": [["p"]]}', "A step names its players"),
    "damaged": (b'{"do": "st', "damaged"),
    "empty": (b"", "damaged"),
    "no dict": (b'["stop"]', "There is no such command"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_command_is_told_and_training_goes_on(create, eager, name):
    content, said = REFUSED[name]
    whole, run = create(name="whole"), create(name="run")
    trained(whole)
    config = whole.config()

    def leave():
        (run.folder / "commands").mkdir()
        (run.folder / "commands" / "1.json").write_bytes(content)

    assert trained(run, ("metrics", 3, leave), ("refused", 3, nothing)) == "finished"
    why = last(run, "refused")["why"]
    assert said in why
    assert "\n" not in why
    assert same(weights(run), weights(whole))
    assert run.config() == config


def test_commands_for_a_dead_process_do_not_concern_the_next_one(create, eager):
    run = create()
    for k, command in enumerate(({"do": "stop"}, {"do": "pause"}, {"do": "set", "changes": {"train.lr": 1.0}})):
        (run.folder / "commands").mkdir(exist_ok=True)
        (run.folder / "commands" / f"{10**30 + k}.json").write_text(json.dumps(command))  # even if the clock was wrong
    assert trained(run) == "finished"
    assert kinds(run, "stopped", "paused", "set", "refused") == []
    assert run.config().train.lr == 1e-3
    assert os.listdir(run.folder / "commands") == []


def test_commands_are_heard_while_data_load(create, eager, monkeypatch):
    monkeypatch.setattr(worker, "DATA_SECONDS", 0.0)
    run, load_data = create(), worker.load_data

    def slow(*commands):
        def loading(config, progress):
            for command, details in commands:
                run.send(command, **details)
            progress("images", 1, 2)
            return load_data(config)

        return loading

    monkeypatch.setattr(worker, "load_data", slow(("pause", {}), ("stop", {})))
    assert trained(run, ("data", None, nothing)) == "stopped"
    assert (run.state(), run.step(), run.weights.exists()) == ("stopped", 0, False)
    monkeypatch.setattr(worker, "load_data", slow(("set", {"changes": {"train.steps": 4}}), ("pause", {})))
    assert trained(run, ("set", 0, nothing), ("paused", 0, lambda: run.send("resume"))) == "finished"
    assert run.step() == 4


# --- failing ---


@pytest.fixture
def poison(monkeypatch):
    """The utility of a player is NaN from iteration `step` on."""

    def into(player, step):
        plain = worker.moves

        def poisoned(p, q, config):
            calls = {"n": 0}

            def wrong(utility):
                def called(batch):
                    calls["n"] += 1
                    return {k: v * float("nan") if calls["n"] >= step else v for k, v in utility(batch).items()}

                return called

            return tuple(m._replace(utility=wrong(m.utility)) if m.player == player else m for m in plain(p, q, config))

        monkeypatch.setattr(worker, "moves", poisoned)
        return lambda: monkeypatch.setattr(worker, "moves", plain)

    return into


@pytest.mark.parametrize("player", ["p", "q"])
@pytest.mark.parametrize("every", [1, 50])
def test_nan_stops_a_run_at_its_last_good_checkpoint(create, poison, capsys, player, every):
    changes = {"train.log_every": every, "train.save_seconds": 0}
    whole, run = create(changes, "whole"), create(changes, "run")
    trained(whole)
    cure = poison(player, 5)
    assert cli.main(["train", str(run.folder)]) == 1
    sentence = capsys.readouterr().err.splitlines()[-1]
    assert f"layer {player}" in sentence
    assert "at step 5" in sentence
    assert run.state() == "failed"
    assert sentence == f"symeq_core: {last(run, 'failed')['why']}"
    assert all(v.isfinite().all() for v in weights(run).values())
    assert saved_step(run) == (4 if every == 1 else 0)
    cure()
    assert trained(run, ("resume", saved_step(run), nothing)) == "finished"
    assert same(weights(run), weights(whole))
    assert measured(run) == measured(whole)


def test_a_learning_rate_that_blows_up_is_survived(create):
    """Six layers of ReLU at learning rate 10: infinite within a few steps."""
    changes = ELBO | PLANE | {"model.hidden": [64] * 6, "model.activation": "relu", "train.batch": 128}
    run = create(changes | {"train.steps": 50, "train.lr": 10})
    sentence = refusal(NonFinite, Worker(run).work)
    assert "became NaN or infinite at step" in sentence
    assert "smaller learning rate" in sentence
    assert all(v.isfinite().all() for v in weights(run).values())
    assert trained(run, changes={"train.lr": 1e-4, "train.steps": 20}) == "finished"
    assert all(v.isfinite().all() for v in weights(run).values())


@pytest.mark.parametrize("what", ["Player p", "Player q", "The optimiser of player p", "The optimiser of player q"])
def test_what_is_not_finite_is_never_saved(create, monkeypatch, what):
    run, player = create({"train.save_seconds": 0}), what[-1]
    step = worker.Trainer.step

    def overflow(self, *arguments, **options):
        step(self, *arguments, **options)
        if self.iteration == 5:
            optimizer = self.optimizers[player]
            weight = optimizer.param_groups[0]["params"][0]
            (weight.data if "Player" in what else optimizer.state[weight]["exp_avg_sq"]).fill_(float("inf"))

    monkeypatch.setattr(worker.Trainer, "step", overflow)
    assert f"{what} became NaN or infinite at step 5" in refusal(NonFinite, Worker(run).work)
    assert saved_step(run) == 4
    assert all(v.isfinite().all() for v in weights(run).values())


@pytest.mark.parametrize("full", ["checkpoint", "snapshot", "events"])
def test_a_full_disk_is_told_and_the_last_checkpoint_is_whole(create, monkeypatch, capsys, full):
    changes = {"train.save_seconds": 0 if full == "checkpoint" else 1e6, "train.snapshot_every": 2}
    whole, run = create(changes, "whole"), create(changes, "run")
    trained(whole)
    interrupted(run, ("metrics", 3, kill))
    before = run.weights.read_bytes()

    def no_space(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as m:
        if full == "events":
            m.setattr(runs, "open", no_space, raising=False)
        else:
            m.setattr(os, "fsync", no_space)
        assert cli.main(["train", str(run.folder)]) == 1
    error = capsys.readouterr().err
    assert "could not be written (No space left on device): free or unlock that disk." in error.splitlines()[-1]
    assert "Traceback" not in error
    assert run.weights.read_bytes() == before
    assert not run.is_running()
    assert run.state() == ("interrupted" if full == "events" else "failed")
    load(run.folder)
    assert trained(run) == "finished"
    assert same(weights(run), weights(whole))
    assert measured(run) == measured(whole)
    assert list(run.folder.rglob(".*.tmp")) == []


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        MemoryError(),
        RuntimeError("can't allocate memory: you tried ..."),
    ],
)
def test_too_little_memory_is_told(create, monkeypatch, error):
    def fail(*_, **__):
        raise error

    run = create()
    monkeypatch.setattr(worker.Trainer, "step", fail)
    sentence = refusal(SymeqError, Worker(run).work)
    assert "The memory of cpu is too small" in sentence
    assert last(run, "failed")["why"] == sentence


def test_an_unknown_error_is_recorded_and_raised(create, monkeypatch):
    run = create()
    monkeypatch.setattr(worker.Trainer, "step", lambda *_, **__: [][0])
    with pytest.raises(IndexError):
        Worker(run).work()
    assert run.state() == "failed"
    assert last(run, "failed")["why"] == "IndexError: list index out of range"
    assert not run.is_running()


def test_a_listener_that_is_gone_does_not_stop_training(create):
    run, heard = create(), []

    def listener(event):
        heard.append(event)
        if event["event"] == "metrics":
            raise BrokenPipeError

    assert Worker(run, listener).work() == "finished"
    assert heard[-1]["event"] == "metrics"
    assert run.step() == STEPS


# --- signals ---


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_saves_and_stops(create, name):
    whole, run = create({"train.log_every": 5}, "whole"), create({"train.log_every": 5}, "run")
    trained(whole)
    number, before = getattr(signal, name), {k: signal.getsignal(k) for k in (signal.SIGINT, signal.SIGTERM)}
    step = worker.Trainer.step

    def interrupt(self, *arguments, **options):
        step(self, *arguments, **options)
        if self.iteration == 3:
            os.kill(os.getpid(), number)

    with pytest.MonkeyPatch.context() as m:
        m.setattr(worker.Trainer, "step", interrupt)
        assert trained(run) == "stopped"
    assert {k: signal.getsignal(k) for k in before} == before
    assert (run.state(), run.step(), saved_step(run)) == ("stopped", 3, 3)
    assert last(run, "stopped")["reason"] == "interrupted"
    assert trained(run, ("resume", 3, nothing)) == "finished"
    assert same(weights(run), weights(whole))


def test_a_signal_before_training_or_a_second_one_ends_at_once(create):
    run = create()

    def interrupt():
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        trained(run, ("snapshot", 0, interrupt))
    assert not run.weights.exists()
    with pytest.raises(KeyboardInterrupt):
        trained(run, ("metrics", 2, interrupt), ("stopped", None, interrupt))
    assert trained(run) == "finished"


def test_an_ignored_signal_stays_ignored(create):
    run, before = create(), signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert trained(run, ("metrics", 2, lambda: os.kill(os.getpid(), signal.SIGHUP))) == "finished"
    finally:
        signal.signal(signal.SIGHUP, before)


# --- real processes ---


def start(run, *options):
    """`python -m symeq_core train`, whose standard error is a pipe of lines, and which heeds Ctrl-C.

    (Under nohup, or in the background of a script, this process ignores it, and its children inherit that.)
    """
    command = [sys.executable, "-m", "symeq_core", "train", str(run.folder), *options]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=ROOT, preexec_fn=heed, **pipes)


def heed():
    """Ctrl-C as in a terminal."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


# Forks one training process after another, as a fork needs no import anew, and tells how each ended.
FORKS = """
import json, os, signal, sys
import sklearn.datasets, torch._dynamo  # what training would import late
from symeq_core import cli, files, runs, worker


class Torn:
    def __init__(self, file):
        self.file = file

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def __getattr__(self, name):
        return getattr(self.file, name)

    def write(self, content):
        self.file.write(content[: len(content) // 2])
        self.file.flush()
        os.kill(os.getpid(), signal.SIGKILL)


def tear(name, whole):
    left = [whole]

    def torn(path, mode="r", **options):
        left[0] -= name in str(path) and mode != "rb"
        file = open(path, mode, **options)
        return Torn(file) if left[0] < 0 else file

    files.open = runs.open = torn


for line in sys.stdin:
    job = json.loads(line)
    lines, end = os.pipe()
    pid = os.fork()
    if not pid:
        os.dup2(end, 1), os.dup2(end, 2)
        if "torn" in job:
            tear(*job["torn"])
        os._exit(cli.main(["train", job["folder"]]))
    os.close(end)
    run, left, alive = runs.Run(job["folder"]), job.get("steps", 10**6), None
    with os.fdopen(lines) as lines:
        for text in lines:
            left -= text.startswith("step")
            if not left:
                alive = run.is_running()
                os.kill(pid, signal.SIGKILL)
                break
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    print(json.dumps([code, alive, run.is_running(), run.state()]), flush=True)
"""


@pytest.fixture(scope="module")
def fork():
    """Train a run in a process of its own: killed after so many lines about steps, or in the middle of a write."""
    command = [sys.executable, "-c", FORKS]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:

        def train(run, **job):
            server.stdin.write(json.dumps({"folder": str(run.folder)} | job) + "\n")
            server.stdin.flush()
            return json.loads(server.stdout.readline())

        yield train
        server.stdin.close()


@pytest.mark.parametrize(
    "case",
    ["symmetric, ladder, several moves, labels", "elbo, zgr", "elbo, score", "wake-sleep, labels, several moves"],
)
def test_a_process_killed_at_random_moments_is_resumed_bit_for_bit(create, fork, case):
    """Killed four times, after numbers of steps drawn from seed 0, while each step is measured and saved."""
    moments = random.Random(0)
    busy = {"train.steps": 10**6, "train.save_seconds": 0, "train.probe_every": 1, "train.snapshot_every": 20}
    parts = create(CASES[case] | busy, "parts")
    for _ in range(4):
        assert fork(parts, steps=moments.randint(2, 30)) == [-signal.SIGKILL, True, False, "interrupted"]
        load(parts.folder)
    steps = saved_step(parts) + 3
    changes = {"train.steps": steps, "train.snapshot_every": 0}
    if case.startswith("symmetric"):
        with start(parts, "--steps", str(steps), "--set", "snapshot_every=0") as process:
            out, error = process.communicate()
        assert (process.returncode, "Traceback" in error) == (0, False)
        assert f"finished at step {steps}" in out
    else:
        assert trained(parts, changes=changes) == "finished"
    assert kinds(parts, "start", "resume") == ["start"] + 4 * ["resume"]
    whole = create(CASES[case] | changes, "whole")
    trained(whole)
    assert same(weights(parts), weights(whole))
    assert measured(parts) == measured(whole)


@pytest.mark.parametrize(
    ("name", "left", "case"),
    [
        ("latest.safetensors", 4, "elbo, zgr, ladder, labels"),
        ("events.jsonl", 12, "wake-sleep, labels, several moves"),
        ("round_trips.png", 2, "symmetric, implicit prior"),
    ],
)
def test_a_process_killed_in_the_middle_of_a_write_is_resumed(create, fork, name, left, case):
    changes = CASES[case] | {"train.save_seconds": 0, "train.snapshot_every": 3}
    whole, parts = create(changes, "whole"), create(changes, "parts")
    trained(whole)
    assert fork(parts, torn=[name, left]) == [-signal.SIGKILL, None, False, "interrupted"]
    torn = [f for f in parts.folder.rglob("*") if f.name.endswith(".tmp")]
    torn_line = not (parts.folder / "events.jsonl").read_bytes().endswith(b"\n")
    assert (len(torn), torn_line) == ((0, True) if name == "events.jsonl" else (1, False))
    load(parts.folder)
    begun = saved_step(parts)
    assert 0 < begun < STEPS
    assert trained(parts, ("resume", begun, nothing)) == "finished"
    assert same(weights(parts), weights(whole))
    assert measured(parts) == measured(whole)
    assert [*parts.snapshots()] == [0, 3, 6, 9, 10]
    assert [f for f in parts.folder.rglob("*") if f.name.endswith(".tmp")] == []
    content = (parts.folder / "events.jsonl").read_bytes()
    assert len(content.splitlines()) - len(runs.parse(content)) == torn_line


def test_a_running_process_is_alone_and_ctrl_c_ends_it_at_a_step_from_which_it_goes_on(create, capsys):
    run = create({"train.steps": 10**6, "train.probe_every": 1})
    with start(run) as process:
        assert any(line.startswith("step 5:") for line in process.stderr)
        assert cli.main(["train", str(run.folder), "--set", "lr=1"]) == 1
        assert capsys.readouterr().err.endswith("is being trained by another process: stop that one first.\n")
        process.send_signal(signal.SIGINT)
        out, error = process.communicate()
    assert (process.returncode, "Traceback" in error) == (1, False)
    stopped = saved_step(run)
    assert f"stopped at step {stopped}" in out.replace(",", "")
    assert (run.state(), run.step(), run.config().train.lr) == ("stopped", stopped, 1e-3)
    whole = create({"train.steps": stopped + 3}, "whole")
    trained(whole)
    assert trained(run, ("resume", stopped, nothing), changes={"train.steps": stopped + 3}) == "finished"
    assert same(weights(run), weights(whole))


def test_a_run_on_a_moved_folder_goes_on_from_where_the_folder_is_now(tmp_path, monkeypatch):
    """The path is kept whole, so that it holds from anywhere; a new one may be given when the run is resumed."""
    from PIL import Image

    for k in range(30):
        path = tmp_path / "images" / f"{k % 2}" / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((8, 8), 60).save(path)
    monkeypatch.setenv("SYMEQ_DATA", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    config = override(
        preset("digits-flat-symmetric"),
        {"data.name": "folder", "data.path": "images", "data.size": 8, "train.steps": 3, "train.batch": 4},
    )
    run = Run.create(tmp_path / "run", config)
    Worker(run).work()
    assert run.config().data.path == str(tmp_path / "images")
    (tmp_path / "images").rename(tmp_path / "moved")
    with pytest.raises(SymeqError, match="no folder"):
        Worker(run, changes={"train.steps": 5}).work()
    assert Worker(run, changes={"train.steps": 5, "data.path": "moved"}).work() == "finished"
    assert run.config().data.path == str(tmp_path / "moved")
    assert run.step() == 5


def test_snapshots_come_more_often_at_first(create):
    run = create({"train.steps": 120, "train.snapshot_every": 60})
    Worker(run).work()
    assert [*run.snapshots()] == [0, 10, 20, 50, 60, 120]
