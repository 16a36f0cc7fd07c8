"""A folder rebuilds the pair bit for bit, with no other knowledge; whatever is damaged is told in one sentence."""

import json
import os
import pickle

import pytest
import safetensors.torch
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import symeq_core
from symeq_core.checkpoints import (
    assign_pair,
    load,
    pair_tensors,
    read_tensors,
    save_pair,
    tensor_bytes,
    write_tensors,
)
from symeq_core.config import from_dict, to_dict
from symeq_core.errors import SymeqError, UsageError
from symeq_core.factors import Implicit
from symeq_core.models import build, latents_of, set_label_bank
from symeq_core.runs import read_config

TWO_LAYERS = ("bernoulli:3 bernoulli:5", "categorical:2x3 categorical:3x2", "gaussian:2 gaussian:3")
CONV = {"nets": "conv", "x_shape": [1, 28, 28], "width": 8, "middle": 6, "latents": TWO_LAYERS[0]}
MODELS = {
    "flat-bernoulli": {"latents": "bernoulli:4"},
    "flat-categorical": {"latents": "categorical:3x4"},
    "flat-gaussian": {"latents": "gaussian:2"},
    **{f"{kind}-{k[:4]}": {"kind": kind, "latents": k} for kind in ("ladder", "reverse") for k in TWO_LAYERS},
    "three-layers": {"kind": "ladder", "latents": "gaussian:2 categorical:2x2 bernoulli:5"},
    "no-hidden-layer": {"hidden": []},
    "activations": {"hidden": [6, 4], "activation": "relu", "decoder_activation": "silu"},
    "x-gaussian": {"x_family": "gaussian"},
    "x-gaussian-scale": {"x_family": "gaussian-scale", "x_shape": [3, 4, 5]},
    "labels": {"label": "categorical:1x3"},
    "labels-ladder": {"kind": "ladder", "latents": TWO_LAYERS[0], "label": "bernoulli:4"},
    "labels-empirical": {"kind": "reverse", "latents": TWO_LAYERS[0], "label": "bernoulli:4"}
    | {"label_prior": "empirical"},
    "prior-learned": {"prior": "learned"},
    "prior-learned-gaussian": {"latents": "gaussian:2", "prior": "learned"},
    "prior-ring": {"latents": "gaussian:3", "prior": "implicit:ring"},
    "prior-few-hot": {"prior": "implicit:few-hot"},
    "conv-ladder": {"kind": "ladder", **CONV},
    "conv-reverse": {"kind": "reverse", **CONV, "x_family": "gaussian-scale", "decoder_activation": "relu"},
    "conv-labels": {"kind": "ladder", **CONV, "label": "categorical:1x3"},
}


def config_of(changes):
    model = {"x_shape": [1, 4, 5], "hidden": [6], "latents": "bernoulli:4"} | changes
    data = {"binarize": None} if model.get("x_family") else {}
    return from_dict({"model": model, "data": data, "seed": 1})


def trained(config, prior=None):
    """A pair whose every number differs from what `build` makes of the config's own seed."""
    p, q = build(config.model, seed=7, prior=prior)
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(8)
        for w in (*p.parameters(), *q.parameters()):
            w += 0.1 * torch.randn_like(w)
    if config.model.label is not None:
        set_label_bank(p, torch.eye(config.model.label.units), seed=9)
    return p, q


def scores_and_samples(p, q):
    """All that the pair computes: log p and log q of each factor, and samples under a fixed seed."""
    with torch.random.fork_rng():
        torch.manual_seed(2)
        dreams, x = p.sample(n=4), torch.rand(4, *p["x"].event).round()
        found = {f"dream {k}": v for k, v in dreams.items()}
        found |= {f"encoded {k}": v for k, v in q.sample({"x": x}).items()}
        found |= {f"log p {k}": v for k, v in p.log_probs(dreams).items()}
        return found | {f"log q {k}": v for k, v in q.log_probs(dreams).items()}


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def assert_refused(folder, *words):
    """Loading is refused with one sentence that has these words."""
    with pytest.raises(SymeqError) as e:
        load(folder)
    sentence = str(e.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    assert len(sentence) < 700
    for word in words:
        assert word in sentence
    return e.value


@pytest.fixture
def folder(tmp_path):
    """A sound checkpoint of a small model."""
    config = config_of({})
    save_pair(tmp_path / "pair", *trained(config), config)
    return tmp_path / "pair"


def change_config(folder, **changes):
    """Rewrite config.json; `model` changes fields of the model, anything else at the top."""
    values = json.loads((folder / "config.json").read_text())
    values["model"] |= changes.pop("model", {})
    (folder / "config.json").write_text(json.dumps(values | changes))


def change_tensors(folder, change):
    """Rewrite the weights after `change(tensors)`."""
    tensors, _ = read_tensors(folder / "model.safetensors")
    change(tensors)
    write_tensors(folder / "model.safetensors", tensors)


# --- what is saved comes back ---


@pytest.mark.parametrize("name", MODELS)
def test_a_folder_rebuilds_the_pair(tmp_path, name):
    config = config_of(MODELS[name])
    p, q = trained(config)
    save_pair(tmp_path, p, q, config)
    assert sorted(os.listdir(tmp_path)) == ["config.json", "model.safetensors"]
    again = symeq_core.load(tmp_path)
    assert_same(scores_and_samples(*again), scores_and_samples(p, q))
    assert read_config(tmp_path) == config
    for mine, other in zip((p, q), again, strict=True):
        assert [n for n, _ in mine.named_parameters()] == [n for n, _ in other.named_parameters()]
        assert all(w.requires_grad for w in other.parameters())
        assert not other.training


@pytest.mark.parametrize("name", MODELS)
def test_what_is_loaded_is_saved_as_it_was(tmp_path, name):
    config = config_of(MODELS[name])
    save_pair(tmp_path / "a", *trained(config), config)
    save_pair(tmp_path / "b", *load(tmp_path / "a"), read_config(tmp_path / "a"))
    for file in ("config.json", "model.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


@pytest.mark.parametrize(
    "name", ["labels-ladder", "labels-empirical", "prior-ring", "three-layers", "x-gaussian-scale"]
)
def test_log_probs_are_by_variable(tmp_path, name):
    config = config_of(MODELS[name])
    save_pair(tmp_path, *trained(config), config)
    p, q = load(tmp_path)
    v = p.sample(n=3)
    explicit = {k for k in p.names if not isinstance(p[k], Implicit)}
    assert set(p.log_probs(v)) == explicit
    assert set(q.log_probs(v)) == set(latents_of(p))
    for terms in (p.log_probs(v), q.log_probs(v)):
        for term in terms.values():
            assert term.shape == (3,)
            assert term.isfinite().all()


def test_the_bank_of_labels_is_stored(tmp_path):
    config = config_of(MODELS["labels-empirical"])
    p, q = trained(config)
    save_pair(tmp_path, p, q, config)
    bank = load(tmp_path)[0]["y"].draw.samples
    assert torch.equal(bank, p["y"].draw.samples)
    assert torch.equal(bank.unique(dim=0), torch.eye(4, dtype=torch.uint8).flip(0))


@pytest.mark.parametrize("name", ["ladder-bern", "conv-ladder", "three-layers"])
def test_a_loaded_ladder_shares_the_decoders_block(tmp_path, name):
    config = config_of(MODELS[name])
    save_pair(tmp_path, *trained(config), config)
    p, q = load(tmp_path)
    v = p.sample(n=3)
    before = q.log_probs(v)
    with torch.no_grad():
        for w in p["z1"].parameters():
            w += 0.5
    after = q.log_probs(v)
    assert torch.equal(after["z0"], before["z0"])
    assert not torch.isclose(after["z1"], before["z1"]).any()
    mine = {id(w) for w in p.parameters()}
    assert not any(id(w) in mine for w in q.parameters())


def test_a_run_folder_is_a_checkpoint_too(folder):
    expected = scores_and_samples(*load(folder))
    tensors, _ = read_tensors(folder / "model.safetensors")
    write_tensors(folder / "latest.safetensors", tensors | {"trainer.iteration": torch.tensor(3)}, {"step": "3"})
    (folder / "model.safetensors").unlink()
    assert_same(scores_and_samples(*load(folder)), expected)
    assert read_tensors(folder / "latest.safetensors")[1]["step"] == "3"


def test_building_leaves_the_callers_randomness_alone(folder):
    torch.manual_seed(3)
    expected = torch.rand(5)
    torch.manual_seed(3)
    load(folder)
    assert torch.equal(torch.rand(5), expected)


def test_a_loaded_pair_does_not_depend_on_its_file(folder):
    pair = load(folder)
    tensors, _ = read_tensors(folder / "model.safetensors")
    expected, sums = scores_and_samples(*pair), {k: v.sum() for k, v in tensors.items()}
    size = (folder / "model.safetensors").stat().st_size
    with open(folder / "model.safetensors", "r+b") as f:  # in place, as `cp` does
        f.write(b"\x77" * size)
    assert_same(scores_and_samples(*pair), expected)
    assert_same({k: v.sum() for k, v in tensors.items()}, sums)


def test_tensors_assigned_are_of_the_pair(folder):
    p, q = load(folder)
    assign_pair(p, q, {k: torch.zeros_like(v) for k, v in pair_tensors(p, q).items()})
    assert all(not w.any() for w in (*p.parameters(), *q.parameters()))


# --- a prior of the caller's own ---


def own_prior(n):
    return torch.bernoulli(torch.full((n, 4), 0.9))


@pytest.fixture
def own(tmp_path):
    """A checkpoint with a caller's own implicit prior, and the pair saved in it."""
    config = config_of({"prior": "implicit"})
    p, q = trained(config, own_prior)
    save_pair(tmp_path, p, q, config)
    return tmp_path, p, q


def test_a_prior_of_ones_own_is_passed_again(own):
    folder, p, q = own
    assert_same(scores_and_samples(*load(folder, prior=own_prior)), scores_and_samples(p, q))


def test_without_it_all_but_sampling_works(own):
    folder, p, q = own
    v = p.sample(n=3)
    again = load(folder)
    assert_same(again[0].log_probs(v), p.log_probs(v))
    assert_same(again[1].log_probs(v), q.log_probs(v))
    assert set(p.log_probs(v)) == {"x"}
    assert again[0].sample({"z0": v["z0"]})["x"].shape == v["x"].shape
    assert again[1].sample({"x": v["x"]})["z0"].shape == v["z0"].shape
    with pytest.raises(SymeqError, match=r"pass it again as load\(folder, prior=function\) to sample from it\.$"):
        again[0].sample(n=3)


def test_a_prior_is_refused_where_the_pair_has_another(folder):
    with pytest.raises(UsageError, match=r"set model\.prior=implicit"):
        load(folder, prior=own_prior)


# --- damaged weights ---


def cut(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-10])


def cut_early(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:100])


def overwritten(content):
    return lambda folder: (folder / "model.safetensors").write_bytes(content)


def tensors_with(name, change):
    return lambda folder: change_tensors(folder, lambda t: t.update({name: change(t[name])}))


def with_number(number):
    def put(t):
        t = t.clone()
        t.view(-1)[-1] = number
        return t

    return tensors_with(WEIGHT, put)


WEIGHT = "p.factors.x.terms.0.net.layers.0.weight"  # [6, 4]
HUGE_HEADER = (2**62).to_bytes(8, "little") + b"{}"
FALSE_OFFSETS = json.dumps({WEIGHT: {"dtype": "F32", "shape": [6, 4], "data_offsets": [0, 2**40]}}).encode()
DAMAGED = {
    "cut": (cut, "damaged or not a safetensors file"),
    "cut-early": (cut_early, "damaged or not a safetensors file"),
    "empty": (overwritten(b""), "damaged or not a safetensors file"),
    "random": (overwritten(bytes(range(256)) * 20), "damaged or not a safetensors file"),
    "huge-header": (overwritten(HUGE_HEADER), "damaged or not a safetensors file"),
    "false-offsets": (
        overwritten(len(FALSE_OFFSETS).to_bytes(8, "little") + FALSE_OFFSETS + b"0000"),
        "damaged or not a safetensors file",
    ),
    "missing": (lambda f: (f / "model.safetensors").unlink(), "holds no weights yet"),
    "no-tensors": (lambda f: change_tensors(f, dict.clear), "lacks 'p.factors."),
    "tensor-missing": (lambda f: change_tensors(f, lambda t: t.pop(WEIGHT)), f"lacks '{WEIGHT}'"),
    "tensor-extra": (
        lambda f: change_tensors(f, lambda t: t.update({"q.more": torch.zeros(2)})),
        "has the unknown tensor 'q.more'",
    ),
    "tensor-odd-name": (
        lambda f: change_tensors(f, lambda t: t.update({"p.\n" + "a" * 5000: torch.zeros(2)})),
        "has the unknown tensor 'p.\\naaaa",
    ),
    "transposed": (tensors_with(WEIGHT, lambda t: t.T), f"{WEIGHT} is F32 [4, 6], expected F32 [6, 4]"),
    "flattened": (tensors_with(WEIGHT, lambda t: t.flatten()), f"{WEIGHT} is F32 [24], expected F32 [6, 4]"),
    "half": (tensors_with(WEIGHT, lambda t: t.half()), f"{WEIGHT} is F16 [6, 4], expected F32 [6, 4]"),
    "integer": (tensors_with(WEIGHT, lambda t: t.int()), f"{WEIGHT} is I32 [6, 4], expected F32 [6, 4]"),
    "nan": (with_number(float("nan")), f"holds NaN or infinite numbers in {WEIGHT}"),
    "infinite": (with_number(float("-inf")), f"holds NaN or infinite numbers in {WEIGHT}"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_weights_are_refused(folder, name):
    damage, words = DAMAGED[name]
    damage(folder)
    error = assert_refused(folder, words, str(folder))
    assert not isinstance(error, UsageError)


class _Evil:
    """What runs code when it is unpickled."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


def test_a_pickle_is_never_run(folder, tmp_path):
    for k, protocol in enumerate((0, 2, 4)):
        trace = tmp_path / f"trace-{k}"
        content = pickle.dumps({"p": _Evil(trace)}, protocol)
        (folder / "model.safetensors").write_bytes(content)
        assert_refused(folder, "damaged or not a safetensors file")
        with pytest.raises(SymeqError):
            read_tensors(folder / "model.safetensors")
        assert not trace.exists()
        pickle.loads(content)
        assert trace.exists()  # so it would have shown


def test_numbers_that_torch_does_not_know_are_told(tmp_path):
    header = json.dumps({"a": {"dtype": "F6_E2M3", "shape": [4], "data_offsets": [0, 3]}}).encode()
    (tmp_path / "a.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(3))
    with pytest.raises(SymeqError, match=r"a\.safetensors"):
        read_tensors(tmp_path / "a.safetensors")


# --- damaged configs ---


def text(content):
    return lambda folder: (folder / "config.json").write_text(content)


BAD_CONFIG = {
    "missing": (lambda f: (f / "config.json").unlink(), "There is no "),
    "empty": (text(""), "not JSON"),
    "not-json": (text("model: ladder"), "not JSON"),
    "list": (text("[1, 2]"), "not a configuration of ours"),
    "string": (text('"config"'), "not a configuration of ours"),
    "null": (text("null"), "not a configuration of ours"),
    "unknown-field": (lambda f: change_config(f, colour="red"), "there is no field 'colour'"),
    "odd-field": (lambda f: change_config(f, **{"a\nb": 1}), "there is no field 'a"),
    "long-field": (lambda f: change_config(f, **{"a" * 100_000: 1}), "config.json is not valid: there is no field"),
    "model-a-number": (text('{"model": 3}'), "model"),
    "wrong-kind": (lambda f: change_config(f, model={"kind": "spiral"}), "model.kind"),
    "wrong-layers": (lambda f: change_config(f, model={"latents": {"a": 1}}), "model.latents"),
    "activation": (lambda f: change_config(f, model={"activation": "__import__"}), "model.activation"),
    "nan": (lambda f: change_config(f, learner={"labelled_weight": float("nan")}), "not JSON"),
    "endless": (text('{"train": {"save_seconds": 1e999}}'), "save_seconds"),
    "later-format": (lambda f: change_config(f, format=2), "format"),
    "no-shape": (lambda f: change_config(f, model={"x_shape": None}), "does not know the image shape"),
    "unknown-prior": (lambda f: change_config(f, model={"prior": "implicit:\nnope"}), "There is no prior"),
    "conv-size": (lambda f: change_config(f, model={"nets": "conv"}), "28 x 28"),
    "large": (lambda f: change_config(f, name="a" * 2_000_000), "too large"),
    "surrogate": (text('{"\\ud800": 1}'), "config.json"),
    "another-model": (lambda f: change_config(f, model={"hidden": [7]}), "expected F32 [7, 4]"),
}


@pytest.mark.parametrize("name", BAD_CONFIG)
def test_damaged_configs_are_refused(folder, name):
    damage, words = BAD_CONFIG[name]
    damage(folder)
    error = assert_refused(folder, words, str(folder))
    assert not isinstance(error, UsageError)


def test_deeply_nested_configs_are_refused(folder):
    for depth in (*range(20, 1000, 20), *range(960, 1001), 100_000):
        for around in ("[]", '{"name": []}', '{"model": {"hidden": []}}'):
            (folder / "config.json").write_text(around.replace("[]", "[" * depth + "]" * depth))
            assert_refused(folder, str(folder))


def test_no_folder_and_no_checkpoint_are_told(tmp_path):
    assert_refused(tmp_path / "nowhere", "There is no ", "nowhere")
    assert_refused(tmp_path, "There is no ", "config.json")


# --- sizes ---


class _Allocations(TorchDispatchMode):
    """Refuses to make any tensor of more than a hundred thousand numbers that takes memory."""

    def __torch_dispatch__(self, function, types, arguments=(), kwargs=None):
        kwargs = kwargs or {}
        shape = arguments[0] if arguments and isinstance(arguments[0], list | tuple) else ()
        where = str(kwargs.get("device"))
        large = all(isinstance(k, int) for k in shape) and torch.Size(shape).numel() > 100_000
        assert not large or where == "meta", f"{function} {shape} on {where}"
        return function(*arguments, **kwargs)


LARGE = {
    "hidden": {"hidden": [60_000] * 16},
    "latents": {"latents": "categorical:65536x65536"},
    "layers": {"kind": "ladder", "latents": " ".join(["gaussian:65536"] * 16)},
    "image": {"x_shape": [4, 65536, 65536]},
    "conv": {"nets": "conv", "kind": "reverse", "x_shape": [1, 28, 28], "width": 60_000, "middle": 60_000},
    "labels": {"label": "categorical:60000x60000", "label_prior": "empirical"},
    "more-than-64-bits": {**CONV, "kind": "ladder", "latents": " ".join(["categorical:65536x65536"] * 2)},
}


@pytest.mark.parametrize("name", LARGE)
def test_nothing_large_is_made_for_a_small_file(folder, name):
    values = to_dict(config_of(LARGE[name] if name != "conv" else LARGE[name] | {"latents": TWO_LAYERS[0]}))
    (folder / "config.json").write_text(json.dumps(values))
    with _Allocations():
        assert_refused(folder, str(folder))


def test_sizes_beyond_any_bound_are_refused(folder):
    for size in (2**40, 10**30, 10**400):
        for model in ({"hidden": [size, size]}, {"x_shape": [1, size, size]}, {"latents": f"bernoulli:{size}"}):
            change_config(folder, model=model)
            with _Allocations():
                assert_refused(folder, str(folder))


def test_the_guard_of_these_tests_works():
    with _Allocations(), pytest.raises(AssertionError):
        build(config_of({"hidden": [6_000]}).model)


# --- the device ---


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("name", ["ladder-bern", "conv-reverse", "labels-empirical", "prior-ring"])
def test_a_pair_is_loaded_onto_a_device(tmp_path, name):
    config = config_of(MODELS[name])
    save_pair(tmp_path / "a", *trained(config), config)
    p, q = load(tmp_path / "a", "cuda")
    v = p.sample(n=3)
    assert {k: t.device.type for k, t in v.items()} == dict.fromkeys(v, "cuda")
    here = {k: t.cpu() for k, t in v.items()}
    for mine, other in zip((p, q), load(tmp_path / "a"), strict=True):
        for k, t in mine.log_probs(v).items():
            torch.testing.assert_close(t.cpu(), other.log_probs(here)[k], rtol=1e-3, atol=1e-3)
    save_pair(tmp_path / "b", p, q, config)
    assert (tmp_path / "a/model.safetensors").read_bytes() == (tmp_path / "b/model.safetensors").read_bytes()


def test_the_same_tensors_and_facts_are_the_same_bytes():
    facts = {name: name for name in ("step", "content", "n", "é", "a b")}
    tensors = {"w": torch.arange(6.0).reshape(2, 3), "b": torch.zeros(2)}
    written = {tensor_bytes(tensors, dict(order)) for order in (facts.items(), reversed(facts.items()))}
    assert len(written | {tensor_bytes(tensors, facts) for _ in range(20)}) == 1
    assert safetensors.torch.load(written.pop())["w"].equal(tensors["w"])
