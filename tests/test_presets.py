"""Every preset is valid, and every one that can run on digits learns there, those that train alike once."""

import pytest
import torch

from symeq_core import metrics
from symeq_core.config import override, to_dict
from symeq_core.datasets import complete, load_data
from symeq_core.learners import Batch, moves
from symeq_core.models import build, set_label_bank
from symeq_core.presets import PRESETS, preset
from symeq_core.sources import Source, clean
from symeq_core.trainer import Trainer

STEPS = 400
# Nats per test image (n = 360) that STEPS iterations gain, for every preset: at least this much.
ELBO_GAIN, L_P_GAIN, L_Q_GAIN = 15.0, 15.0, 0.2
LENGTH = (
    "steps",
    "cooldown",
    "threads",
    "log_every",
    "probe_every",
    "snapshot_every",
    "snapshot_chain",
    "save_seconds",
)


def first_steps(name):
    """What the first STEPS iterations depend on: presets that differ in the length of training only are alike."""
    c = to_dict(preset(name))
    return repr((c["data"], c["model"], c["learner"], {k: v for k, v in c["train"].items() if k not in LENGTH}))


MLP = [k for k in PRESETS if preset(k).model.nets == "mlp"]
TRAINED = sorted({first_steps(k): k for k in reversed(MLP)}.values())  # of each kind the first
LARGE = {"celeba-reverse-symmetric"}


def figures(p, q, test, config):
    return metrics.utilities(p, q, clean(test.images, config.data), test.labels, seed=0)


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n in LARGE else ()) for n in TRAINED])
def test_every_preset_learns_on_digits(name):
    """Seed 0, batch 128: L_p, L_q and the ELBO rise by the stated amounts, far beyond their standard errors."""
    changes = {"data.name": "digits", "data.size": None, "train.batch": 128, "data.binarize": 0.4375}
    changes |= {"model.x_family": "bernoulli", "data.noise": 0.0}
    config = complete(override(preset(name), changes))
    data = load_data(config.data)
    p, q = build(config.model, config.seed)
    source = Source(data.train, config.data, config.seed, config.train.batch, config.train.labelled_batch)
    if source.chosen is not None:
        set_label_bank(p, source.labels[source.chosen], config.seed)
    trainer = Trainer(moves(p, q, config.learner), source, config.train, config.seed)
    before = figures(p, q, data.test, config)
    list(trainer.events(STEPS))
    after = figures(p, q, data.test, config)
    gain = {k: after[k]["value"] - before[k]["value"] for k in before if before[k]["value"] is not None}
    if config.model.prior.startswith("implicit") or config.model.label_prior == "empirical":
        assert "reason" in after["ELBO"]
    else:
        assert gain["ELBO"] > ELBO_GAIN
    if config.learner.name == "symmetric":
        assert gain["L_p"] > L_P_GAIN
        assert gain["L_q"] > L_Q_GAIN
    if config.data.labelled:
        assert after["label accuracy"]["value"] > 0.5  # of 10 classes


@pytest.mark.parametrize("name", sorted(set(PRESETS) - set(MLP)))
def test_the_authors_settings_are_as_published(name):
    """The networks' and settings' figures, and one iteration on images of the right size."""
    c = complete(preset(name))
    fashion = "fmnist" in name
    assert (c.data.split, c.train.batch, c.train.lr, c.train.steps) == ("all", 1024, 1e-4, 200_000)
    assert [latent.units for latent in c.model.latents] == [30, 100]
    assert c.model.width == (1000 if fashion else 600)
    assert c.model.x_family == ("gaussian-scale" if fashion else "bernoulli")
    assert (c.data.binarize, c.data.flip, c.data.noise) == ((None, 0.0, 0.01) if fashion else (0.4375, 0.001, 0.0))
    p, q = build(c.model)
    x = torch.rand(4, 1, 28, 28).round()
    for move in moves(p, q, c.learner):
        terms = move.utility(Batch({"x": x}))
        grads = torch.autograd.grad(sum(t.mean() for t in terms.values()), move.params)
        assert all(g.isfinite().all() for g in grads)
