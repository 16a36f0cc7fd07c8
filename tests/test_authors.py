"""The authors' models, written anew here from the paper's table, give the same scores after import."""

import errno
import io
import itertools
import math
import os
import pickle
import warnings
import zipfile

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from symeq_core import authors, cli, files
from symeq_core.authors import VARIANTS, import_authors
from symeq_core.checkpoints import load, pair_tensors
from symeq_core.errors import SymeqError, UsageError
from symeq_core.runs import read_config

N0, N1, H, MIDDLE, B = 5, 7, 20, 11, 3


# --- their networks ---


class Trunk(nn.Module):
    """x [B, 1, 28, 28] -> features [B, H]."""

    def __init__(self):
        super().__init__()
        self.conv0 = nn.Conv2d(1, 32, 3, padding=1)
        self.conv1 = nn.Conv2d(32, 32, 2)
        self.conv2 = nn.Conv2d(32, 64, 3, stride=2)
        self.conv3 = nn.Conv2d(64, 64, 3)
        self.conv4 = nn.Conv2d(64, 64, 3)
        self.conv5 = nn.Conv2d(64, 128, 3, stride=2)
        self.conv6 = nn.Conv2d(128, H, 4)
        self.conv_z1 = nn.Linear(H, N1)

    def features(self, x):
        for k in range(7):
            x = torch.tanh(getattr(self, f"conv{k}")(x))
        return x[:, :, 0, 0]


class LadderEncoder(Trunk):
    """x -> what x adds to the scores of z0 and z1."""

    def __init__(self):
        super().__init__()
        self.lin1, self.lin2, self.lin3 = nn.Linear(H, H), nn.Linear(H, H), nn.Linear(H, N0)
        self.lin_skip = nn.Linear(N1, N0, bias=False)

    def forward(self, x):
        h = self.features(x)
        z1 = self.conv_z1(h)
        return self.lin3(torch.tanh(self.lin2(torch.tanh(self.lin1(h))))) + self.lin_skip(z1), z1


class ReverseEncoder1(Trunk):
    """x -> scores of z1."""

    def forward(self, x):
        return self.conv_z1(self.features(x))


class ReverseEncoder0(nn.Module):
    """z1 -> scores of z0."""

    def __init__(self):
        super().__init__()
        self.conv_z1 = nn.Linear(N1, MIDDLE)
        self.lin1, self.lin2, self.lin3 = nn.Linear(MIDDLE, MIDDLE), nn.Linear(MIDDLE, MIDDLE), nn.Linear(MIDDLE, N0)
        self.lin_skip = nn.Linear(N1, N0, bias=False)

    def forward(self, z1):
        h = torch.tanh(self.conv_z1(z1))
        return self.lin3(torch.tanh(self.lin2(torch.tanh(self.lin1(h))))) + self.lin_skip(z1)


class Decoder1(nn.Module):
    """z0 -> scores of z1."""

    def __init__(self, act):
        super().__init__()
        self.act = act
        self.lin1, self.lin2, self.lin3 = nn.Linear(N0, MIDDLE), nn.Linear(MIDDLE, MIDDLE), nn.Linear(MIDDLE, N1)
        self.lin_skip = nn.Linear(N0, N1, bias=False)

    def forward(self, z0):
        return self.lin3(self.act(self.lin2(self.act(self.lin1(z0))))) + self.lin_skip(z0)


class DecoderX(nn.Module):
    """z1 -> logits (or means) of x."""

    def __init__(self, act):
        super().__init__()
        self.act = act
        self.conv1 = nn.ConvTranspose2d(N1, 128, 4)
        self.conv2 = nn.ConvTranspose2d(128, 64, 3, stride=2)
        self.conv3 = nn.ConvTranspose2d(64, 64, 3)
        self.conv4 = nn.ConvTranspose2d(64, 64, 3)
        self.conv5 = nn.ConvTranspose2d(64, 32, 3, stride=2)
        self.conv6 = nn.ConvTranspose2d(32, 32, 2)
        self.conv7 = nn.Conv2d(32, 1, 3, padding=1)

    def forward(self, z1):
        y = z1[:, :, None, None]
        for k in range(1, 7):
            y = self.act(getattr(self, f"conv{k}")(y))
        return self.conv7(y)


class Ladder(nn.Module):
    """q(z0 | x) q(z1 | z0, x), whose z1 scores contain the decoder's."""

    def __init__(self, act=torch.tanh):
        super().__init__()
        self.rnet, self.fnet01, self.fnet1x = LadderEncoder(), Decoder1(act), DecoderX(act)
        for name, size in (("z0_q", N0), ("z1_p", N1), ("z1_q", N1)):  # running statistics
            self.register_buffer(name, torch.rand(size))
            self.register_buffer(f"{name}_mi", torch.tensor(float("nan")))

    def scores(self, v):
        z0, z1 = self.rnet(v["x"])
        p_z1 = self.fnet01(v["z0"])
        return {"p z1": p_z1, "p x": self.fnet1x(v["z1"]), "q z0": z0, "q z1": p_z1 + z1}


class FashionLadder(Ladder):
    """The decoder has relu and a Gaussian x."""

    def __init__(self):
        super().__init__(torch.relu)
        self.lsigma = nn.Parameter(torch.tensor(-0.7))


class Reverse(nn.Module):
    """q(z1 | x) q(z0 | z1)."""

    def __init__(self):
        super().__init__()
        self.qnetx1, self.qnet10 = ReverseEncoder1(), ReverseEncoder0()
        self.pnet01, self.pnet1x = Decoder1(torch.tanh), DecoderX(torch.tanh)
        self.dummy_param = nn.Parameter(torch.tensor(0.0))

    def scores(self, v):
        return {
            "p z1": self.pnet01(v["z0"]),
            "p x": self.pnet1x(v["z1"]),
            "q z1": self.qnetx1(v["x"]),
            "q z0": self.qnet10(v["z1"]),
        }


THEIRS = {"mnist-ladder": Ladder, "mnist-reverse": Reverse, "fmnist-ladder": FashionLadder}


def theirs(variant):
    """A model of theirs with weights large enough that every nonlinearity shows."""
    torch.manual_seed(4)
    model = THEIRS[variant]()
    with torch.no_grad():
        for name, w in model.named_parameters():
            if w.dim() > 1:
                w *= 2
            elif name != "lsigma":
                w += 0.3 * torch.randn_like(w)
    return model


def values(variant):
    torch.manual_seed(5)
    x = torch.rand(B, 1, 28, 28)
    z0, z1 = torch.rand(B, N0).round(), torch.rand(B, N1).round()
    return {"x": x if variant == "fmnist-ladder" else x.round(), "z0": z0, "z1": z1}


def log_probs(model, v):
    """[B] of each factor by the textbook, from the model's scores."""
    found = {"p z0": torch.full((B,), N0 * math.log(0.5))}
    for name, s in model.scores(v).items():
        value = v[name[2:]]
        if name == "p x" and isinstance(model, FashionLadder):
            found[name] = torch.distributions.Normal(s, model.lsigma.exp()).log_prob(value).flatten(1).sum(1)
        else:
            found[name] = -F.binary_cross_entropy_with_logits(s, value, reduction="none").flatten(1).sum(1)
    return found


def saved(state, **how):
    """What torch.save makes of it."""
    content = io.BytesIO()
    torch.save(state, content, **how)
    return content.getvalue()


def as_convolutions(state):
    """The state with the layers called conv saved as convolutions throughout."""
    return {k: v[:, :, None, None] if k.endswith("conv_z1.weight") else v for k, v in state.items()}


FORMS = {
    "as-linear": saved,
    "as-convolution": lambda state: saved(as_convolutions(state)),
    "before-zip": lambda state: saved(state, _use_new_zipfile_serialization=False),
    "in-double": lambda state: saved({k: v.double() for k, v in state.items()}),
}


# --- what is imported is theirs ---


@torch.no_grad()
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("variant", THEIRS)
def test_scores_and_log_probs_are_theirs(tmp_path, capsys, variant, form):
    model, v = theirs(variant), values(variant)
    (tmp_path / "model.pt").write_bytes(FORMS[form](model.state_dict()))
    out = tmp_path / "imported"
    assert cli.main(["import-authors", str(tmp_path / "model.pt"), "--variant", variant, "-o", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}: {variant}, bernoulli:{N0} bernoulli:{N1}, H = {H}\n"
    assert sorted(os.listdir(out)) == ["config.json", "model.safetensors"]
    p, q = load(out)
    scores = {f"p {k}": s for k, s in p.scores(v).items()} | {f"q {k}": s for k, s in q.scores(v).items()}
    assert not scores.pop("p z0").any()  # the uniform prior
    expected = model.scores(v)
    if variant == "fmnist-ladder":  # of the normal: mean / variance, -1 / (2 variance)
        precision = torch.exp(-2 * model.lsigma)
        mean = expected["p x"]
        expected["p x"] = torch.stack((mean * precision, -0.5 * precision.expand_as(mean)), 1)
    torch.testing.assert_close(scores, expected, rtol=1e-5, atol=1e-5)
    found = {f"p {k}": s for k, s in p.log_probs(v).items()} | {f"q {k}": s for k, s in q.log_probs(v).items()}
    torch.testing.assert_close(found, log_probs(model, v), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("variant", THEIRS)
def test_the_function_does_what_the_command_does(tmp_path, variant):
    file = tmp_path / "model.pt"
    file.write_bytes(saved(theirs(variant).state_dict()))
    config = import_authors(str(file), variant, str(tmp_path / "a"))
    assert cli.main(["import-authors", str(file), "--variant", variant, "-o", str(tmp_path / "b")]) == 0
    assert config == read_config(tmp_path / "a") == read_config(tmp_path / "b")
    assert (config.model.width, config.model.middle, config.model.x_shape) == (H, MIDDLE, (1, 28, 28))
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize("variant", THEIRS)
def test_every_weight_is_theirs(tmp_path, variant):
    state = theirs(variant).state_dict()
    tensors, config = authors.convert(state, variant)
    (tmp_path / "model.pt").write_bytes(saved(state))
    import_authors(tmp_path / "model.pt", variant, tmp_path / "out")
    ours = pair_tensors(*load(tmp_path / "out"))
    assert ours.keys() - tensors.keys() == {"p.factors.z0.constant"}
    weights = [v for k, v in state.items() if not k.startswith("z") and k != "dummy_param"]
    assert sum(v.numel() for v in tensors.values()) == sum(v.numel() for v in weights)
    assert read_config(tmp_path / "out") == config


def test_tensors_that_share_memory_are_imported(tmp_path):
    state = theirs("mnist-ladder").state_dict()
    state["rnet.lin2.weight"] = state["rnet.lin1.weight"]
    state["rnet.conv3.bias"] = state["rnet.conv2.bias"][:1].expand(64)
    state["rnet.lin3.weight"] = nn.Parameter(state["rnet.lin3.weight"].T.contiguous().T)
    (tmp_path / "model.pt").write_bytes(saved(state))
    import_authors(tmp_path / "model.pt", "mnist-ladder", tmp_path / "out")
    ours = pair_tensors(*load(tmp_path / "out"))
    assert torch.equal(ours["q.features.z0|x.net.layers.2.weight"], state["rnet.lin1.weight"])
    assert torch.equal(ours["q.features.h.net.layers.6.bias"], state["rnet.conv3.bias"])
    assert torch.equal(ours["q.features.z0|x.net.layers.4.weight"], state["rnet.lin3.weight"])


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "model.pt").write_bytes(saved(theirs("mnist-ladder").state_dict()))
    (tmp_path / "out").mkdir()
    import_authors(tmp_path / "model.pt", "mnist-ladder", tmp_path / "out")
    load(tmp_path / "out")


def test_the_command_offers_the_variants_there_are():
    assert set(cli.VARIANTS) == set(VARIANTS) == set(THEIRS)


# --- what is refused ---


def with_tensor(name, change):
    """A mnist-ladder file in which one tensor is changed."""
    state = theirs("mnist-ladder").state_dict()
    return saved(state | {name: change(state[name])})


def without(name):
    state = theirs("mnist-ladder").state_dict()
    del state[name]
    return saved(state)


def put_nan(t):
    t = t.clone()
    t.view(-1)[0] = float("nan")
    return t


def repacked(change, compression=zipfile.ZIP_STORED):
    """A small saved tensor whose archive's entries are changed: (name, content) -> content."""
    content = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(saved({"a": torch.zeros(10)}))) as source,
        zipfile.ZipFile(content, "w", compression) as target,
    ):
        for entry in source.infolist():
            target.writestr(entry.filename, change(entry.filename, source.read(entry)))
    return content.getvalue()


def inflated(name, content):
    return bytes(50_000_000) if name.endswith("data/0") else content


def overstated(name, content):
    """Ten numbers of which the pickle says they were 2^30."""
    return content.replace(b"K\x0a", b"J" + (2**30).to_bytes(4, "little")) if name.endswith("data.pkl") else content


NOT_A_STATE_DICT = "is not a state dict saved with torch.save"
DAMAGED_OR_MORE = "it is damaged, cut short, or holds more than weights"
LIES = "claims more data than it holds"
NOT_PLAIN = "does not hold plain floating-point numbers"
SHAPE = "rnet.lin1.weight has shape [20, 19], expected [20, 20]"
REFUSED = {
    "empty": (lambda: b"", DAMAGED_OR_MORE),
    "text": (lambda: b"These are the weights.\n" * 40, DAMAGED_OR_MORE),
    "random": (lambda: bytes(range(256)) * 40, DAMAGED_OR_MORE),
    "cut": (lambda: saved(theirs("mnist-ladder").state_dict())[:-5000], DAMAGED_OR_MORE),
    "cut-in-half": (lambda: FORMS["before-zip"](theirs("mnist-ladder").state_dict())[:400_000], DAMAGED_OR_MORE),
    "whole-module": (lambda: saved(theirs("mnist-ladder")), DAMAGED_OR_MORE),
    "nested": (lambda: saved({"model": theirs("mnist-ladder").state_dict(), "step": 3}), NOT_A_STATE_DICT),
    "list": (lambda: saved([torch.zeros(3)]), NOT_A_STATE_DICT),
    "numbered": (lambda: saved({1: torch.zeros(3)}), NOT_A_STATE_DICT),
    "nothing": (lambda: saved({}), NOT_A_STATE_DICT),
    "foreign": (lambda: saved(nn.Linear(3, 4).state_dict()), "it lacks 'fnet01.lin1.bias': is the variant right?"),
    "reverse": (lambda: saved(theirs("mnist-reverse").state_dict()), "it lacks 'fnet01.lin1.bias'"),
    "fashion": (lambda: saved(theirs("fmnist-ladder").state_dict()), "it has the unknown tensor 'lsigma'"),
    "one-missing": (lambda: without("fnet1x.conv4.bias"), "it lacks 'fnet1x.conv4.bias'"),
    "odd-name": (lambda: saved(theirs("mnist-ladder").state_dict() | {"a\nb": torch.zeros(1)}), "'a\\nb'"),
    "shape": (lambda: with_tensor("rnet.lin1.weight", lambda t: t[:, 1:]), SHAPE),
    "transposed": (
        lambda: with_tensor("fnet01.lin1.weight", lambda t: t.T.contiguous()),
        "fnet01.lin1.weight has shape [5, 11], expected [5, 5]",
    ),
    "transposed-skip": (
        lambda: with_tensor("rnet.lin_skip.weight", lambda t: t.T.contiguous()),
        "rnet.lin_skip.weight has shape [7, 5], expected [5, 7]",
    ),
    "flattened": (lambda: with_tensor("rnet.conv_z1.weight", torch.flatten), "rnet.conv_z1.weight has shape [140]"),
    "scalar": (lambda: with_tensor("rnet.lin3.bias", torch.sum), "rnet.lin3.bias has shape [], expected [5]"),
    "no-units": (lambda: with_tensor("rnet.lin3.weight", lambda t: t[:0]), "The tensors' shapes are no model's"),
    "channels": (
        lambda: with_tensor("rnet.conv0.weight", lambda t: t.expand(32, 9, 3, 3).clone()),
        "The tensors' shapes are no model's",
    ),
    "wide": (  # H = 60,000 would be 14 GB for rnet.lin1 alone
        lambda: with_tensor("rnet.conv_z1.weight", lambda t: torch.zeros(N1, 60_000)),
        "expected [60000",
    ),
    "integer": (lambda: with_tensor("rnet.lin1.weight", lambda t: t.int()), f"rnet.lin1.weight {NOT_PLAIN}"),
    "bool": (lambda: with_tensor("rnet.lin1.weight", lambda t: t > 0), f"rnet.lin1.weight {NOT_PLAIN}"),
    "complex": (lambda: with_tensor("rnet.lin1.weight", lambda t: t.cfloat()), f"rnet.lin1.weight {NOT_PLAIN}"),
    "sparse": (lambda: with_tensor("rnet.lin1.weight", lambda t: t.to_sparse()), DAMAGED_OR_MORE),
    "no-data": (lambda: with_tensor("rnet.lin1.weight", lambda t: t.to("meta")), f"rnet.lin1.weight {NOT_PLAIN}"),
    "nan": (lambda: with_tensor("rnet.lin1.weight", put_nan), "rnet.lin1.weight holds NaN or infinite numbers"),
    "beyond-float": (
        lambda: with_tensor("rnet.lin1.weight", lambda t: t.double() * 1e200),
        "rnet.lin1.weight holds NaN or infinite numbers",
    ),
    "stride-0": (lambda: saved({"rnet.conv0.weight": torch.zeros(1, dtype=torch.half).expand(2**31)}), LIES),
    "zip-bomb": (lambda: repacked(inflated, zipfile.ZIP_DEFLATED), LIES),
    "overstated": (lambda: repacked(overstated), LIES),
}


def imported(tmp_path, capsys, content, variant="mnist-ladder"):
    """(exit code, what stderr says) of an import; whatever it was, it left nothing."""
    file, out = tmp_path / "model.pt", tmp_path / "out"
    file.write_bytes(content)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        code = cli.main(["import-authors", str(file), "--variant", variant, "-o", str(out)])
    told = capsys.readouterr()
    assert not warned
    assert told.out == ""
    assert os.listdir(tmp_path) == ["model.pt"]
    return code, told.err


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_one_sentence(tmp_path, capsys, name):
    content, words = REFUSED[name]
    code, told = imported(tmp_path, capsys, content())
    assert code == 1
    assert words in told
    assert told.startswith("symeq_core: ")
    assert told.endswith((".\n", "?\n"))
    assert told.count("\n") == 1


@pytest.mark.parametrize(("variant", "other"), list(itertools.permutations(THEIRS, 2)))
def test_only_the_right_variant_is_taken(tmp_path, capsys, variant, other):
    code, told = imported(tmp_path, capsys, saved(theirs(other).state_dict()), variant)
    assert code == 1
    assert told.startswith(f"symeq_core: This is not a saved {variant} model, as it ")


class _Evil:
    """What runs code when it is unpickled."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


def test_code_is_never_run(tmp_path, capsys):
    trace = tmp_path.with_name(tmp_path.name + "-trace")
    for content in (
        pickle.dumps(_Evil(trace)),
        pickle.dumps({"rnet.conv0.weight": _Evil(trace)}, 2),
        saved({"rnet.conv0.weight": _Evil(trace)}),
        saved({"rnet.conv0.weight": _Evil(trace)}, _use_new_zipfile_serialization=False),
    ):
        code, told = imported(tmp_path, capsys, content)
        assert code == 1
        assert DAMAGED_OR_MORE in told
        assert not trace.exists()
    with zipfile.ZipFile(io.BytesIO(saved({"a": _Evil(trace)}))) as archive:
        pickle.loads(archive.read(next(k for k in archive.namelist() if k.endswith("data.pkl"))))
    assert trace.exists()  # so it would have shown


def test_a_missing_file_and_a_folder_are_told(tmp_path, capsys):
    out = tmp_path / "out"
    for path, words in ((tmp_path / "none.pt", "There is no file "), (tmp_path, "is a folder: name the file")):
        assert cli.main(["import-authors", str(path), "--variant", "mnist-ladder", "-o", str(out)]) == 1
        assert words in capsys.readouterr().err
        assert not out.exists()


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_an_output_in_use_is_bad_use(tmp_path, capsys, kind):
    (tmp_path / "model.pt").write_bytes(saved(theirs("mnist-ladder").state_dict()))
    out = tmp_path / "out"
    kept = out / "precious" if kind == "folder" else out
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("keep me")
    assert cli.main(["import-authors", str(tmp_path / "model.pt"), "--variant", "mnist-ladder", "-o", str(out)]) == 2
    assert capsys.readouterr().err == f"symeq_core: {out} exists and is not empty: name a new folder.\n"
    assert kept.read_text() == "keep me"
    assert sorted(os.listdir(tmp_path)) == ["model.pt", "out"]


def test_an_unknown_variant_is_bad_use(tmp_path, capsys):
    file = tmp_path / "model.pt"
    file.write_bytes(saved(theirs("mnist-ladder").state_dict()))
    with pytest.raises(UsageError, match="choose one of mnist-ladder, mnist-reverse, fmnist-ladder"):
        import_authors(file, "cifar", tmp_path / "out")
    assert cli.main(["import-authors", str(file), "--variant", "cifar", "-o", str(tmp_path / "out")]) == 2
    assert "invalid choice" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["model.pt"]


@pytest.mark.parametrize("existed", [True, False])
@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_a_full_disk_leaves_the_output_as_it_was(tmp_path, monkeypatch, capsys, file, existed):
    (tmp_path / "model.pt").write_bytes(saved(theirs("mnist-ladder").state_dict()))
    out = tmp_path / "out"
    if existed:
        out.mkdir()
    whole = os.replace

    def full(source, target):
        if target.name == file:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        whole(source, target)

    monkeypatch.setattr(files.os, "replace", full)
    assert cli.main(["import-authors", str(tmp_path / "model.pt"), "--variant", "mnist-ladder", "-o", str(out)]) == 1
    assert "could not be written (No space left on device)" in capsys.readouterr().err
    assert out.exists() == existed
    assert not existed or os.listdir(out) == []


def test_an_output_below_a_file_is_told(tmp_path):
    (tmp_path / "model.pt").write_bytes(saved(theirs("mnist-ladder").state_dict()))
    with pytest.raises(SymeqError, match=r"could not be written \(.+\)"):
        import_authors(tmp_path / "model.pt", "mnist-ladder", tmp_path / "model.pt" / "out")
    assert os.listdir(tmp_path) == ["model.pt"]
