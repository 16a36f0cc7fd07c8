"""One conformance test for every learner x model x family, and what tells the learners apart."""

import itertools

import pytest
import torch

from symeq_core.config import LearnerConfig, ModelConfig, TrainConfig
from symeq_core.errors import UsageError
from symeq_core.learners import LEARNERS, Batch, elbo_terms, moves
from symeq_core.models import build
from symeq_core.trainer import Trainer

X = (1, 4, 4)
LATENTS = {
    "flat": ["bernoulli:3", "categorical:2x3", "gaussian:2"],
    "ladder": ["bernoulli:2 bernoulli:3", "categorical:1x3 gaussian:2", "gaussian:2 bernoulli:2 categorical:2x2"],
    "reverse": ["bernoulli:2 bernoulli:3", "categorical:1x3 gaussian:2", "gaussian:2 bernoulli:2 categorical:2x2"],
}
ESTIMATORS = {"symmetric": ["auto"], "wake_sleep": ["auto"], "elbo": ["pathwise", "zgr", "score"]}
PRIORS = ["fixed", "learned", "implicit"]
LABELS = [None, "categorical:1x3", "bernoulli:4"]
X_FAMILIES = ["bernoulli", "gaussian", "gaussian-scale"]


def draw_prior(latent):
    """An implicit prior for any family: a callable that draws samples."""

    def draw(n):
        if latent.family == "gaussian":
            return torch.randn(n, *latent.event)
        if latent.family == "bernoulli":
            return torch.bernoulli(torch.full((n, *latent.event), 0.3))
        return torch.nn.functional.one_hot(torch.randint(latent.classes, (n, latent.units)), latent.classes).float()

    return draw


def refusal(learner, estimator, prior, config):
    """Words of the refusal a combination deserves, or None where it is allowed."""
    families = {layer.family for layer in config.latents} | ({config.label.family} if config.label else set())
    if learner == "symmetric":
        return "prior pi\\(z\\) is given" if prior == "learned" else None
    if prior == "implicit":
        return "implicit"
    if learner == "elbo":
        if estimator == "pathwise" and families != {"gaussian"}:
            return "pathwise estimator needs Gaussian"
        if estimator == "zgr" and families == {"gaussian"}:
            return "ZGR is for discrete latents"
    return None


def combinations():
    for kind, learner in itertools.product(LATENTS, LEARNERS):
        for latents, estimator, prior, label, x in itertools.product(
            LATENTS[kind], ESTIMATORS[learner], PRIORS, LABELS, X_FAMILIES
        ):
            yield (
                learner,
                estimator,
                prior,
                ModelConfig(kind=kind, latents=latents, prior=prior, label=label, x_family=x, x_shape=X, hidden=(6,)),
            )


def batch_of(config, seed=0):
    g = torch.Generator().manual_seed(seed)
    x = torch.bernoulli(torch.full((8, *X), 0.5), generator=g)
    if config.label is None:
        return Batch({"x": x})
    if config.label.family == "bernoulli":
        y = torch.bernoulli(torch.full((4, *config.label.event), 0.5), generator=g)
    else:
        y = torch.nn.functional.one_hot(torch.randint(3, (4, 1), generator=g), 3).float()
    return Batch({"x": x}, {"x": x[:4], "y": y})


def trainer_of(config, p, q, learner, estimator="auto", train=None):
    made = moves(p, q, LearnerConfig(learner, estimator=estimator))
    return Trainer(made, lambda t: batch_of(config, t), train or TrainConfig(), 0)


@pytest.mark.parametrize("kind", LATENTS)
@pytest.mark.parametrize("learner", LEARNERS)
def test_every_combination_trains_or_is_refused(learner, kind):
    """Allowed: a few iterations move both players by finite steps. Not allowed: one sentence at construction."""
    seen = {"allowed": 0, "refused": 0}
    for name, estimator, prior, config in combinations():
        if name != learner or config.kind != kind:
            continue
        what = f"{name} {estimator} {prior} {config.kind} {config.latents} {config.label} {config.x_family}"
        p, q = build(config, 0, draw_prior(config.latents[0]) if prior == "implicit" else None)
        words = refusal(name, estimator, prior, config)
        if words:
            with pytest.raises(UsageError, match=words) as e:
                moves(p, q, LearnerConfig(name, estimator=estimator))
            assert "\n" not in str(e.value), what
            seen["refused"] += 1
            continue
        before = [w.clone() for w in (*p.parameters(), *q.parameters())]
        trainer = trainer_of(config, p, q, name, estimator=estimator)
        event = list(trainer.events(3))[-1]
        assert set(event["utility"]) == {"p", "q"}, what
        after = [*p.parameters(), *q.parameters()]
        moved = [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]
        assert all(moved), f"{what}: {moved}"
        assert all(w.isfinite().all() for w in after), what
        seen["allowed"] += 1
    assert seen["allowed"] >= 27
    assert seen["refused"] >= 27


def pair(**fields):
    config = ModelConfig(**({"x_shape": X, "hidden": (6,), "latents": "bernoulli:3"} | fields))
    return config, *build(config, 0)


@pytest.mark.parametrize("kind", ["ladder", "reverse"])
def test_with_a_fixed_prior_wake_sleep_is_the_symmetric_game(kind):
    """Bit for bit the same trajectory; what tells them apart is the learned prior."""
    weights = []
    for learner in ("symmetric", "wake_sleep"):
        config, p, q = pair(kind=kind, latents="bernoulli:2 bernoulli:3")
        list(trainer_of(config, p, q, learner).events(5))
        weights.append(torch.cat([w.flatten() for w in (*p.parameters(), *q.parameters())]))
    assert torch.equal(*weights)


def test_wake_sleep_learns_the_prior():
    """Half the codes of the data are forced on: the learned prior follows, a fixed one can't."""
    config, p, q = pair(prior="learned")
    with torch.no_grad():
        q["z0"].terms[0].net.layers[-1].bias.fill_(3.0)
    before = p.mean({"x": torch.zeros(1, *X)}, "z0").clone()
    trainer = trainer_of(config, p, q, "wake_sleep", train=TrainConfig(lr=0.1))
    for _ in range(10):
        trainer.step(["p"])
    assert (p.mean({"x": torch.zeros(1, *X)}, "z0") > before + 0.1).all()


def test_closed_form_kl_is_used_exactly_where_it_can_be():
    """Ladder: every layer. Reverse: only the top one, given z1; the terms are checked against the log-ratios' mean."""
    for kind, deterministic in (("ladder", {"z0", "z1"}), ("reverse", {"z0"})):
        _, p, q = pair(kind=kind, latents="bernoulli:2 bernoulli:3")
        x = torch.bernoulli(torch.full((1, *X), 0.5)).expand(2000, *X)
        torch.manual_seed(0)
        terms, _ = elbo_terms(p, q, {"x": x})
        v = q.sample({"x": x})
        for name in ("z0", "z1"):
            ratio = (p.log_probs(v, [name])[name] - q.log_probs(v, [name])[name]).detach()
            error = (ratio.var() / 2000 + terms[name].var() / 2000).sqrt().item()
            assert abs(terms[name].mean().item() - ratio.mean().item()) < 5 * error + 1e-6
            if name in deterministic:
                assert terms[name].std() < 0.5 * ratio.std()
            else:
                assert terms[name].std() > 0.8 * ratio.std()


def test_the_refusal_of_an_implicit_prior_explains_itself():
    config = ModelConfig(latents="gaussian:2", prior="implicit:ring", x_shape=X)
    with pytest.raises(UsageError) as e:
        moves(*build(config), LearnerConfig("elbo"))
    for words in ("log p(z)", "z0", "implicit", "samples only", "symmetric"):
        assert words in str(e.value)


def test_labelled_weight_scales_the_labelled_terms():
    config, p, q = pair(label="categorical:1x3")
    found = []
    for w in (1.0, 0.25):
        torch.manual_seed(0)
        terms = moves(p, q, LearnerConfig(labelled_weight=w))[0].utility(batch_of(config))
        found.append({k: v.mean().item() for k, v in terms.items()})
    for k in found[0]:
        factor = 0.25 if k.startswith("labelled/") else 1.0
        assert found[1][k] == pytest.approx(factor * found[0][k])
