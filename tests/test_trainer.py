"""The trainer: whose parameters move, in which order, on which batches, and what it reports."""

import math

import pytest
import torch
from torch import nn

from symeq_core.config import LearnerConfig, ModelConfig, TrainConfig
from symeq_core.datasets import Images
from symeq_core.errors import UsageError
from symeq_core.learners import LEARNERS, Batch, Move, moves
from symeq_core.models import build
from symeq_core.presets import preset
from symeq_core.seeds import derive, seed_torch
from symeq_core.sources import Source
from symeq_core.trainer import NonFinite, Trainer, device_of, set_threads

X = (1, 4, 4)


def batches(t):
    return Batch({"x": torch.bernoulli(torch.full((8, *X), 0.5), generator=torch.Generator().manual_seed(t))})


def pair(seed=0):
    return build(ModelConfig("ladder", "bernoulli:2 bernoulli:3", x_shape=X, hidden=(6,)), seed)


def trainer_of(learner="symmetric", seed=0, **train):
    p, q = pair()
    return p, q, Trainer(moves(p, q, LearnerConfig(learner)), batches, TrainConfig(**train), seed)


def weights(chain):
    return torch.cat([w.detach().flatten().clone() for w in chain.parameters()])


@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize("schedule", ["alternating", "simultaneous"])
@pytest.mark.parametrize("player", ["p", "q"])
def test_a_single_step_moves_one_player_only(learner, schedule, player):
    p, q, trainer = trainer_of(learner, schedule=schedule)
    before = {"p": weights(p), "q": weights(q)}
    trainer.step([player])
    after = {"p": weights(p), "q": weights(q)}
    other = "q" if player == "p" else "p"
    assert not torch.equal(before[player], after[player])
    assert torch.equal(before[other], after[other])
    assert trainer.iteration == 1


class Recorder:
    """Two players that write down which of them evaluates which batch, and what the parameters were."""

    def __init__(self, **train):
        self.a, self.b, self.log = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1)), []
        self.trainer = Trainer(
            [self.move("p", self.a), self.move("q", self.b)], self.batch, TrainConfig(lr=0.1, **train), 0
        )

    def batch(self, t):
        return Batch({"x": torch.full((4, 1), float(t))})

    def move(self, player, w):
        def utility(batch):
            t = int(batch.data["x"][0])
            self.log.append((player, t, round(self.a.item(), 3), round(self.b.item(), 3)))
            return {"x": (w * torch.ones(4)) + 0 * self.a + 0 * self.b}

        return Move(player, (w,), utility)


def test_alternating_lets_q_answer_to_the_new_p():
    r = Recorder(schedule="alternating")
    r.trainer.step()
    assert r.log == [("p", 0, 0.0, 0.0), ("q", 0, 0.1, 0.0)]


def test_simultaneous_moves_start_from_the_same_point():
    r = Recorder(schedule="simultaneous")
    r.trainer.step()
    assert r.log == [("p", 0, 0.0, 0.0), ("q", 0, 0.0, 0.0)]
    assert (r.a.item(), r.b.item()) == pytest.approx((0.1, 0.1))


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("alternating", [("p", 0), ("q", 0), ("q", 1), ("q", 2), ("p", 3), ("q", 3), ("q", 4), ("q", 5)]),
        ("simultaneous", [("p", 0), ("q", 0), ("q", 1), ("q", 2), ("p", 3), ("q", 3), ("q", 4), ("q", 5)]),
    ],
)
def test_several_moves_of_one_player_draw_a_batch_each(schedule, expected):
    r = Recorder(schedule=schedule, moves_q=3)
    r.trainer.step()
    r.trainer.step()
    assert [row[:2] for row in r.log] == expected
    assert r.trainer.metrics()["moves"] == {"p": 2, "q": 6}


def test_players_of_one_utility_share_its_evaluation():
    """Simultaneous ELBO: one forward pass an iteration; alternating: two."""
    for schedule, calls in (("simultaneous", 1), ("alternating", 2)):
        p, q = pair()
        seen = []
        utility = moves(p, q, LearnerConfig("elbo"))[0].utility

        def counted(batch, utility=utility, seen=seen):
            seen.append(1)
            return utility(batch)

        made = [m._replace(utility=counted) for m in moves(p, q, LearnerConfig("elbo"))]
        Trainer(made, batches, TrainConfig(schedule=schedule), 0).step()
        assert len(seen) == calls


def test_training_ascends_and_reports_means_over_the_window():
    _, _, trainer = trainer_of(log_every=7)
    events = list(trainer.events(20))
    assert [e["step"] for e in events] == [7, 14, 20]
    assert [e["moves"]["p"] for e in events] == [7, 7, 6]
    e = events[0]
    assert set(e["terms"]["p"]) == {"z0", "z1", "x"}
    assert e["utility"]["p"] == pytest.approx(sum(e["terms"]["p"].values()))
    assert set(e["grad_norm"]) == {"p", "q"}
    assert e["images_per_s"] > 0
    assert e["terms"]["p"]["z0"] == pytest.approx(-2 * math.log(2), rel=1e-5)  # the uniform prior's constant
    assert events[-1]["seconds"] > events[0]["seconds"]


def test_the_gradient_norm_is_that_of_the_move():
    p, q, trainer = trainer_of()
    theta = tuple(p.parameters())
    seed_torch(derive(0, "iteration", 0), torch.device("cpu"))
    terms = moves(p, q, LearnerConfig())[0].utility(batches(0))
    grads = torch.autograd.grad(sum(t.mean() for t in terms.values()), theta)
    expected = torch.cat([g.flatten() for g in grads]).norm().item()
    trainer.step(measure=True)
    assert trainer.metrics()["grad_norm"]["p"] == pytest.approx(expected, rel=1e-5)


def test_nothing_done_between_iterations_changes_them():
    results = []
    for noisy in (False, True):
        p, q, trainer = trainer_of()
        for _ in range(4):
            trainer.step()
            if noisy:
                torch.rand(10)
                p.sample(n=3)
        results.append(torch.cat((weights(p), weights(q))))
    assert torch.equal(*results)


def test_another_seed_is_another_run():
    a, b = trainer_of(seed=0), trainer_of(seed=1)
    a[2].step()
    b[2].step()
    assert not torch.equal(weights(a[0]), weights(b[0]))


def test_every_learner_sees_the_same_batches():
    images = Images(torch.randint(0, 256, (50, *X), dtype=torch.uint8), None)
    seen = {}
    for learner in LEARNERS:
        p, q = pair()
        source, log = Source(images, preset("digits-flat-elbo").data, 3, batch=8), []

        def batch(t, source=source, log=log):
            log.append(source(t).data["x"])
            return source(t)

        trainer = Trainer(moves(p, q, LearnerConfig(learner)), batch, TrainConfig(), 3)
        list(trainer.events(4))
        seen[learner] = torch.stack(log)
    assert torch.equal(seen["symmetric"], seen["elbo"])
    assert torch.equal(seen["symmetric"], seen["wake_sleep"])


def test_state_continues_bit_for_bit():
    p, q, trainer = trainer_of("elbo", moves_q=2)
    list(trainer.events(3))
    state = {k: v.clone() for k, v in trainer.state().items()}
    at3 = [w.detach().clone() for w in (*p.parameters(), *q.parameters())]
    last = list(trainer.events(3))[-1]
    p2, q2, again = trainer_of("elbo", moves_q=2)
    with torch.no_grad():
        for w, v in zip((*p2.parameters(), *q2.parameters()), at3, strict=True):
            w.copy_(v)
    again.load_state(state)
    assert again.iteration == 3
    assert list(again.events(3))[-1]["terms"] == last["terms"]
    assert torch.equal(weights(p), weights(p2))
    assert torch.equal(weights(q), weights(q2))


def test_hyperparameters_change_from_the_next_iteration_on():
    p, _, trainer = trainer_of(lr=1e-3)
    trainer.step()
    before = weights(p)
    trainer.configure(TrainConfig(lr=1e-9, lr_q=1.0))
    trainer.step()
    assert (weights(p) - before).abs().max() < 1e-7


@pytest.mark.parametrize(
    ("train", "rates"),
    [
        ({"cooldown": 4}, [0.1, 0.1, 0.1, 0.1, 0.075, 0.05, 0.025, 0.1]),
        ({"cooldown": 0}, [0.1] * 8),
        ({"cooldown": 99}, [0.1 * k / 7 for k in (7, 6, 5, 4, 3, 2, 1, 7)]),
    ],
)
def test_step_sizes_fall_at_the_end_and_are_whole_again_after_it(train, rates):
    r = Recorder(steps=7, lr_q=0.2, **train)
    for k, rate in enumerate(rates):
        before = r.a.item(), r.b.item()
        r.trainer.iteration = k
        r.trainer.step()
        # the gradient is constant, so Adam's step is the step size
        assert (r.a.item() - before[0], r.b.item() - before[1]) == pytest.approx((rate, 2 * rate), abs=1e-5)


@pytest.mark.parametrize("player", ["p", "q"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_names_player_and_step(player, value):
    r = Recorder()
    good = r.trainer.moves

    def bad(batch):
        return {"x": torch.full((4,), value) * r.a * r.b if r.trainer.iteration == 2 else r.a * r.b + torch.zeros(4)}

    r.trainer.moves = tuple(m._replace(utility=bad) if m.player == player else m for m in good)
    with torch.no_grad():
        r.a.fill_(1.0), r.b.fill_(1.0)
    for _ in range(5):
        r.trainer.step()
    with pytest.raises(NonFinite, match=f"player {player} .* at step 3"):
        r.trainer.metrics()


def test_device_and_threads():
    assert device_of("cpu").type == "cpu"
    assert device_of("auto").type in ("cpu", "cuda", "mps")
    for name in ("cuda:99", "tpu", "quantum"):
        with pytest.raises(UsageError, match=f"no device '{name}'"):
            device_of(name)
    assert set_threads(1) == 1
    assert torch.get_num_threads() == 1
    assert set_threads(0) >= 1


def test_images_per_second_counts_images():
    _, _, trainer = trainer_of()
    list(trainer.events(5))
    trainer.seconds, trainer._mark = 2.0, (0, 0.0)
    assert trainer.metrics()["images_per_s"] == pytest.approx(5 * 8 / 2.0, rel=0.01)
