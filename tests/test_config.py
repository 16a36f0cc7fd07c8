"""Configs are frozen, complete, and refuse what is wrong with one sentence that names the field."""

import dataclasses
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from symeq_core import config as configs
from symeq_core.config import (
    Config,
    Latent,
    ModelConfig,
    check_live,
    differences,
    from_dict,
    full_name,
    override,
    parse_settings,
    to_dict,
)
from symeq_core.errors import UsageError
from symeq_core.presets import PRESETS, preset

ROOT = Path(__file__).parent.parent


def refusal(call, *arguments):
    """The one sentence with which a call is refused."""
    with pytest.raises(UsageError) as caught:
        call(*arguments)
    sentence = str(caught.value)
    assert sentence.endswith((".", "?"))
    assert "\n" not in sentence
    assert len(sentence) < 400
    return sentence


# --- to and from plain values ---


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_survives_json(name):
    config = preset(name)
    text = json.dumps(to_dict(config), allow_nan=False)
    assert from_dict(json.loads(text)) == config
    assert config.name == name


def test_to_dict_is_complete_and_plain():
    values = to_dict(Config())
    assert {*values} == {f.name for f in dataclasses.fields(Config)}
    assert {*values["train"]} == {f.name for f in dataclasses.fields(Config().train)}
    assert values["model"]["latents"] == [{"family": "bernoulli", "units": 16, "classes": None}]
    assert from_dict({}) == Config()


def test_configs_are_frozen_and_compare_by_value():
    config = Config()
    for owner, name in ((config, "seed"), (config.train, "lr"), (config.model, "kind"), (config.data, "name")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(owner, name, getattr(owner, name))
    assert hash(config) == hash(Config())
    assert config != override(config, {"seed": 1})


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"foo": 1}, "there is no field 'foo'"),
        ({"model": {"foo": 1}}, "there is no field 'model.foo'"),
        ({"train": 5}, "train must be"),
        ({"train": {"steps": "many"}}, 'train.steps must be a valid integer, but it is "many"'),
        ({"train": {"steps": 1.5}}, "train.steps must be a valid integer, but it is 1.5"),
        ({"train": {"steps": True}}, "train.steps must be a number, but it is true"),
        ({"train": {"steps": 0}}, "train.steps must be greater than or equal to 1, but it is 0"),
        ({"train": {"batch": 10**10}}, "train.batch must be less than"),
        ({"train": {"lr": 0}}, "train.lr must be greater than 0"),
        ({"train": {"lr": math.nan}}, "train.lr must be a finite number"),
        ({"train": {"lr": False}}, "train.lr must be a number, but it is false"),
        ({"train": {"save_seconds": math.inf}}, "train.save_seconds must be a finite number"),
        ({"train": {"moves_p": 0, "moves_q": 0}}, "nobody would ever move"),
        ({"train": {"schedule": "random"}}, "train.schedule must be 'alternating' or 'simultaneous'"),
        ({"learner": {"name": "gan"}}, "learner.name must be 'symmetric', 'elbo' or 'wake_sleep'"),
        ({"data": {"binarize": 2}}, "data.binarize must be less than"),
        ({"data": {"binarize": None}}, "a Bernoulli x needs binary images"),
        ({"data": {"channels": 2}}, "data.channels must be 1 or 3"),
        ({"model": {"latents": "bernoulli:8 bernoulli:24"}}, "a flat model has one latent layer, not 2"),
        ({"model": {"hidden": [8, 0]}}, "model.hidden.1 must be greater than or equal to 1"),
        ({"model": {"hidden": None}}, "model.hidden must be a list"),
        ({"model": {"x_shape": [1, 8]}}, "model.x_shape.2 is missing"),
        ({"name": None}, "name must be"),
        ({"seed": -1}, "seed must be"),
        ({"format": 2}, "format must be 1"),
        ({"seed": "long\n" * 200}, "seed must be a valid integer"),
    ],
)
def test_what_is_wrong_is_named(values, said):
    sentence = refusal(from_dict, values, "The file")
    assert sentence.startswith("The file is not valid: ")
    assert said in sentence


# --- layers ---


@pytest.mark.parametrize(
    ("text", "layers"),
    [
        ("bernoulli:30", (Latent("bernoulli", 30),)),
        ("categorical:5x10", (Latent("categorical", 5, 10),)),
        ("gaussian:2", (Latent("gaussian", 2),)),
        ("bernoulli:8 gaussian:2", (Latent("bernoulli", 8), Latent("gaussian", 2))),
        (" bernoulli:8,gaussian:2 ", (Latent("bernoulli", 8), Latent("gaussian", 2))),
        (["bernoulli:8", {"family": "gaussian", "units": 2}], (Latent("bernoulli", 8), Latent("gaussian", 2))),
    ],
)
def test_layers_are_written_in_one_way(text, layers):
    config = override(Config(), {"model.kind": "ladder", "model.latents": text})
    assert config.model.latents == layers
    again = " ".join(map(str, layers))
    assert override(config, {"model.latents": again}) == config


@pytest.mark.parametrize(
    "text",
    [
        *("bernoulli", "bernoulli:", "bernoulli:x", "bernoulli:0", "bernoulli:-3", "bernoulli:5x2", "bernoulli:1e5"),
        *("categorical:5", "categorical:5x1", "categorical:5x2x2", "poisson:3", "gaussian:1.5", "gaussian:99999999"),
        *("", 5, [[]], [None]),
    ],
)
def test_what_is_no_layer_is_refused(text):
    assert "latents" in refusal(override, Config(), {"model.kind": "ladder", "model.latents": text})


def test_a_layer_knows_its_event():
    assert Latent("bernoulli", 30).event == (30,)
    assert Latent("categorical", 5, 10).event == (5, 10)
    assert ModelConfig("ladder", (Latent("gaussian", 2), Latent("gaussian", 4))).latent_names == ("z0", "z1")


# --- settings ---


@pytest.mark.parametrize(
    ("name", "full"),
    [("lr", "train.lr"), ("train.lr", "train.lr"), ("seed", "seed"), ("hidden", "model.hidden"), ("name", "name")],
)
def test_a_short_name_stands_for_the_one_field_that_has_it(name, full):
    assert full_name(name) == full


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (".name", "'.name' could be data.name or learner.name: write the whole name."),
        ("lrr", "There is no field 'lrr'; did you mean lr?"),
        ("train.lrr", "There is no field 'train.lrr'; did you mean train.lr?"),
        ("model.lr", "There is no field 'model.lr'"),
        ("rain.lr", "There is no field 'rain.lr'"),
        ("train", "There is no field 'train'"),
        ("", "There is no field ''"),
    ],
)
def test_unknown_and_ambiguous_names_are_refused(name, said):
    assert said in refusal(full_name, name)


def test_settings_are_json_values_or_text():
    given = ["lr=1e-3", "steps=7", "lr_q=none", "latents=bernoulli:8", "hidden=[4, 2]", "path=a=b"]
    assert parse_settings(given) == {
        "train.lr": 0.001,
        "train.steps": 7,
        "train.lr_q": None,
        "model.latents": "bernoulli:8",
        "model.hidden": [4, 2],
        "data.path": "a=b",
    }
    assert "write it as name=value" in refusal(parse_settings, ["lr"])
    assert "data.name or learner.name" in refusal(parse_settings, ["name=elbo"])
    assert "no field" in refusal(parse_settings, ["=3"])


@pytest.mark.parametrize("text", ["hidden=4,2", "hidden=4 2", "hidden=[4,2]"])
def test_widths_are_a_list_however_written(text):
    assert override(Config(), parse_settings([text])).model.hidden == (4, 2)
    assert override(Config(), parse_settings(["hidden=4"])).model.hidden == (4,)


def test_override_changes_just_what_it_says():
    config = preset("digits-ladder-elbo")
    changed = override(config, {"lr": 0.5, "data.labelled": 3, "seed": 9})
    assert differences(config, changed) == {
        "train.lr": (config.train.lr, 0.5),
        "data.labelled": (0, 3),
        "seed": (0, 9),
    }
    assert differences(config, config) == {}
    assert "train.lr must be" in refusal(override, config, {"lr": -1})
    assert config == preset("digits-ladder-elbo")


def test_differences_show_nested_values_whole():
    flat = Config()
    ladder = override(flat, {"model.kind": "ladder", "model.latents": "bernoulli:8 gaussian:2"})
    found = differences(flat, ladder)
    assert {*found} == {"model.kind", "model.latents"}
    assert [layer["units"] for layer in found["model.latents"][1]] == [8, 2]


@pytest.mark.parametrize("name", configs._fields())
def test_only_hyperparameters_may_change_within_a_run(name):
    fixed = name in ("train.device", "train.threads", "data.path")
    if not fixed and (name.startswith("train.") or name == "learner.labelled_weight"):
        check_live([name])
    else:
        sentence = refusal(check_live, [name])
        assert sentence.startswith(name)
        assert ("resume it with --set" in sentence) == fixed


# --- presets ---


def test_an_unknown_preset_is_refused_with_a_hint():
    assert "did you mean digits-flat-symmetric?" in refusal(preset, "digits-flat-symetric")
    assert "`python -m symeq_core presets` lists them" in refusal(preset, "zebra")


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_lists_only_fields_that_exist(name):
    assert all(full_name(field) == field for field in PRESETS[name])


def test_configs_presets_and_runs_need_no_torch():
    code = (
        "import sys; from symeq_core import config, presets, runs, cli; "
        "code = cli.main(['presets']) or cli.main(['runs', '--root', 'nowhere']); "
        "sys.exit(code or 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "digits-flat-symmetric" in done.stdout
