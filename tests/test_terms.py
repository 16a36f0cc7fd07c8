"""The formulas of terms against the chains and utilities that are built."""

import pytest
import torch

from symeq_core import terms
from symeq_core.config import override
from symeq_core.learners import Batch, moves
from symeq_core.models import build
from symeq_core.presets import preset

X = {"model.x_shape": (1, 8, 8), "model.hidden": [4]}
MODELS = {
    "flat": {"model.latents": "bernoulli:3"},
    "reverse": {"model.kind": "reverse", "model.latents": "bernoulli:3 bernoulli:4"},
    "ladder": {"model.kind": "ladder", "model.latents": "bernoulli:3 bernoulli:4"},
    "deep reverse": {"model.kind": "reverse", "model.latents": "bernoulli:2 bernoulli:3 bernoulli:4"},
    "deep ladder": {"model.kind": "ladder", "model.latents": "bernoulli:2 bernoulli:3 bernoulli:4"},
    "labels": {"model.latents": "bernoulli:3", "model.label": "categorical:1x5"},
    "labelled ladder": {
        "model.kind": "ladder",
        "model.latents": "bernoulli:3 bernoulli:4",
        "model.label": "categorical:1x5",
    },
    "labelled reverse": {
        "model.kind": "reverse",
        "model.latents": "bernoulli:3 bernoulli:4",
        "model.label": "categorical:1x5",
    },
}


def variables(chain, names):
    """Variables that these parents stand for: a feature stands for what it is computed from."""
    found = set()
    for name in names:
        feature = chain._features.get(name)
        found |= variables(chain, feature.parents) if feature is not None else {name}
    return found


@pytest.mark.parametrize("model", MODELS)
def test_factors_depend_on_what_the_formula_says(model):
    config = override(preset("digits-flat-symmetric"), X | MODELS[model]).model
    p, q = build(config)
    for chain, name in ((p, "p"), (q, "q")):
        said = terms.parents(config, name)
        assert list(said) == list(chain.names)[: len(said)]
        for variable, above in said.items():
            assert set(above) == variables(chain, chain[variable].parents), f"{name}({variable} | ...)"


@pytest.mark.parametrize("learner", ["symmetric", "elbo", "wake-sleep"])
@pytest.mark.parametrize("model", MODELS)
def test_every_term_of_a_utility_has_a_formula_and_none_is_made_up(model, learner):
    config = override(preset(f"digits-flat-{learner}"), X | MODELS[model])
    p, q = build(config.model)
    for move in moves(p, q, config.learner):
        values = move.utility(Batch({"x": torch.zeros(2, 1, 8, 8)}))
        found = terms.formulas(config, move.player)
        assert set(found) == {"sum", *values}


def test_an_implicit_prior_has_no_term():
    config = override(preset("digits-ring-symmetric"), X)
    assert set(terms.formulas(config, "p")) == {"sum", "x"}


def test_formulas_as_the_paper_writes_them():
    game, elbo = (override(preset(f"digits-reverse-{k}"), {"model.x_shape": (1, 8, 8)}) for k in ("symmetric", "elbo"))
    assert terms.formulas(game, "p")["z1"] == "log p(z1 | z0)"
    assert terms.formulas(game, "q") == {
        "sum": "L_q = E π(z) p(x|z) log q(z | x)",
        "z1": "log q(z1 | x)",
        "z0": "log q(z0 | z1)",
    }
    assert terms.formulas(elbo, "p")["z1"] == "log p(z1 | z0) − log q(z1 | x)"
    assert terms.formulas(elbo, "q")["z0"] == "−KL( q(z0 | z1) ‖ p(z0) )"
    ladder = override(preset("digits-ladder-elbo"), {"model.x_shape": (1, 8, 8)})
    assert terms.formulas(ladder, "p")["z1"] == "−KL( q(z1 | z0, x) ‖ p(z1 | z0) )"


def test_units_are_what_a_term_is_a_sum_over():
    m = override(preset("digits-ladder-elbo"), {"model.x_shape": (1, 8, 8), "model.label": "categorical:2x5"}).model
    assert [terms.units(m, k) for k in ("x", "z0", "z1", "y", "labelled/x")] == [64, 8, 24, 2, 64]
