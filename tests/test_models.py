"""Models: shapes, the ladder's shared block, labels, priors, networks."""

import pytest
import torch

from symeq_core.config import ModelConfig
from symeq_core.errors import SymeqError, UsageError
from symeq_core.factors import Implicit
from symeq_core.models import build, random_codes, set_label_bank

X = (1, 8, 8)


def config(**fields):
    return ModelConfig(**({"x_shape": X, "hidden": (6,)} | fields))


@pytest.mark.parametrize("layers", [1, 2, 3, 5])
@pytest.mark.parametrize("kind", ["ladder", "reverse"])
def test_any_number_of_layers(kind, layers):
    p, q = build(config(kind=kind, latents=" ".join(f"bernoulli:{k + 2}" for k in range(layers))))
    z = tuple(f"z{k}" for k in range(layers))
    assert p.names == (*z, "x")
    assert q.names == (z if kind == "ladder" else z[::-1])
    v = p.sample(n=3)
    assert {k: tuple(t.shape) for k, t in v.items()} == {f"z{k}": (3, k + 2) for k in range(layers)} | {"x": (3, *X)}
    assert {k: tuple(t.shape) for k, t in q.log_probs(v).items()} == dict.fromkeys(z, (3,))


@pytest.mark.parametrize("shape", [(1, 5, 9), (3, 4, 4)])
@pytest.mark.parametrize("x", ["bernoulli", "gaussian", "gaussian-scale"])
def test_images_of_any_size_and_of_3_channels(shape, x):
    p, q = build(config(x_shape=shape, x_family=x, latents="bernoulli:3"))
    v = p.sample(n=2)
    assert v["x"].shape == (2, *shape) == p.mean(v, "x").shape
    assert q.log_probs(v)["z0"].isfinite().all()


@pytest.mark.parametrize("hidden", [(), (7,), (9, 7)])
def test_hidden_layers(hidden):
    p, q = build(config(hidden=hidden, kind="ladder", latents="bernoulli:2 bernoulli:3"))
    assert q.sample(p.sample(n=2))["z0"].shape == (2, 2)


def test_the_ladder_adds_the_decoders_own_scores():
    """q's scores of z1 are p's z1 | z0 scores plus a term from x alone; of z0, the prior's plus such a term."""
    p, q = build(config(kind="ladder", latents="gaussian:2 bernoulli:3"))
    x = torch.rand(4, *X).round()
    differences = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        v = {"x": x, "z0": torch.randn(4, 2), "z1": torch.zeros(4, 3)}
        differences.append(q.scores(v, ["z1"])["z1"] - p.scores(v, ["z1"])["z1"])
    torch.testing.assert_close(*differences)
    assert (q.scores(v, ["z0"])["z0"][:, 1] < p.scores(v, ["z0"])["z0"][:, 1]).all()  # never less precise
    before = q.scores(v, ["z1"])["z1"]
    with torch.no_grad():
        p["z1"].terms[0].net.layers[-1].bias.add_(1.0)
    torch.testing.assert_close(q.scores(v, ["z1"])["z1"], before + 1.0)


def test_a_shared_trunk_is_computed_once_a_call_and_with_gradients_where_needed():
    _, q = build(config(kind="ladder", latents="bernoulli:2 bernoulli:3"))
    calls = []
    q.features["h"].register_forward_hook(lambda *a: calls.append(a[2].requires_grad))
    v = q.sample({"x": torch.rand(4, *X).round()})
    assert calls == [False]
    q.log_probs(v)
    assert calls == [False, True]
    assert set(v) == {"x", "z0", "z1"}


def test_what_is_given_stays_clamped():
    p, q = build(config(kind="reverse", latents="bernoulli:2 bernoulli:3", label="categorical:1x4"))
    y = torch.nn.functional.one_hot(torch.tensor([[1], [3]]), 4).float()
    x = torch.rand(2, *X).round()
    v = q.sample({"x": x, "y": y})
    assert torch.equal(v["y"], y)
    assert torch.equal(v["x"], x)
    dream = p.sample({"y": y})
    assert torch.equal(dream["y"], y)
    assert set(dream) == {"y", "z0", "z1", "x"}


def test_the_label_reaches_decoder_and_encoder():
    p, q = build(config(latents="bernoulli:2", label="categorical:1x4"))
    z, x = torch.zeros(4, 2), torch.zeros(4, *X)
    y = torch.eye(4)[:, None]
    v = {"x": x, "z0": z, "y": y}
    assert p.mean(v, "x").flatten(1).std(0).max() > 1e-3
    assert q.mean(v, "z0").std(0).max() > 1e-3
    assert q.mean(v, "y").std(0).max() < 1e-7  # x is the same


def test_initialisation_follows_from_the_seed_and_leaves_the_callers_randomness_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    a, b, c = build(config(), 1), build(config(), 1), build(config(), 2)
    assert torch.equal(torch.rand(3), expected)
    flat = [torch.cat([w.flatten() for m in pair for w in m.parameters()]) for pair in (a, b, c)]
    assert torch.equal(flat[0], flat[1])
    assert not torch.equal(flat[0], flat[2])


@pytest.mark.parametrize(("latents", "prior"), [("gaussian:3", "implicit:ring"), ("bernoulli:8", "implicit:few-hot")])
def test_named_implicit_priors(latents, prior):
    p, _ = build(config(latents=latents, prior=prior))
    torch.manual_seed(0)
    z = random_codes(p, 500)["z0"]
    if latents == "bernoulli:8":
        assert (z.sum(1) == 2).all()
        assert z.mean(0).min() > 0.15
    else:
        assert (z[:, :2].norm(dim=1) - 1.5).abs().mean() < 0.15
        assert z[:, 2].std() == pytest.approx(1, abs=0.15)
    assert "z0" not in p.log_probs(p.sample(n=2))


def test_any_callable_is_an_implicit_prior():
    p, _ = build(config(latents="gaussian:2", prior="implicit"), prior=lambda n: torch.full((n, 2), 7.0))
    assert (p.sample(n=3)["z0"] == 7).all()
    assert "z0" not in p.log_probs(p.sample(n=3))


def test_an_implicit_prior_that_is_a_module_stays_the_callers():
    class Prior(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(2, 2)

        def forward(self, n):
            return self.layer(torch.randn(n, 2)).detach()

    p, _ = build(config(latents="gaussian:2", prior="implicit"), prior=Prior())
    assert p.sample(n=3)["z0"].shape == (3, 2)
    assert not [k for k, _ in p.named_parameters() if "z0" in k]


def test_implicit_priors_that_cannot_be():
    p, _ = build(config(latents="gaussian:2", prior="implicit"), prior=lambda n: torch.zeros(n, 3))
    with pytest.raises(SymeqError, match=r"shape \[4, 2\], but it drew \[4, 3\]"):
        p.sample(n=4)
    p, _ = build(config(latents="gaussian:2", prior="implicit"))
    with pytest.raises(SymeqError, match="pass it again"):
        p.sample(n=4)
    for bad in ({"prior": "implicit:nonsense"}, {"prior": "implicit:ring", "latents": "bernoulli:3"}, {"prior": "x"}):
        with pytest.raises(UsageError):
            build(config(**bad))
    with pytest.raises(UsageError, match="samples of another"):
        build(config(latents="gaussian:2"), prior=lambda n: torch.zeros(n, 2))


def test_an_empirical_label_prior_draws_the_training_labels():
    p, _ = build(config(label="bernoulli:4", label_prior="empirical"))
    labels = torch.tensor([[1, 0, 0, 1], [0, 1, 1, 0]], dtype=torch.uint8)
    set_label_bank(p, labels, seed=0)
    y = p.sample(n=200)["y"]
    assert isinstance(p["y"], Implicit)
    assert {tuple(r) for r in y.tolist()} == {(1, 0, 0, 1), (0, 1, 1, 0)}


def test_convolutions_refuse_other_image_sizes():
    with pytest.raises(UsageError, match="28 x 28 images, not 8 x 8"):
        build(config(nets="conv"))


@pytest.mark.parametrize("kind", ["flat", "ladder", "reverse"])
@pytest.mark.parametrize("channels", [1, 3])
def test_convolutions(kind, channels):
    latents = "bernoulli:3" if kind == "flat" else "bernoulli:3 bernoulli:5"
    p, q = build(config(nets="conv", kind=kind, latents=latents, x_shape=(channels, 28, 28), width=12, middle=9))
    v = p.sample(n=2)
    assert v["x"].shape == (2, channels, 28, 28)
    assert q.sample({"x": v["x"]})["z0"].shape == (2, 3)


def test_an_unknown_image_shape_is_refused():
    with pytest.raises(UsageError, match="x_shape"):
        build(ModelConfig())
