"""Round trips, figures of merit on the test set, image grids and snapshots."""

import io

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from symeq_core import chains, exact, figures, metrics, sheets, snapshots
from symeq_core.config import ModelConfig
from symeq_core.models import build, random_codes

X = (1, 2, 2)


def pair(seed=0, scale=3.0, **fields):
    p, q = build(ModelConfig(**({"x_shape": X, "hidden": (4,), "latents": "bernoulli:2"} | fields)), seed)
    with torch.no_grad():
        for w in {*p.parameters(), *q.parameters()}:
            w.mul_(scale)
    return p, q


def transition(p, q):
    """[16, 16] exact probabilities of one round trip x -> x'."""
    s = exact.enumerate_states(p)
    z_of = s.which["z0"]
    p_x = torch.zeros(4, 16).index_put((z_of, s.which["x"]), p.log_probs(s.values, ["x"])["x"].exp())
    q_z = torch.zeros(16, 4).index_put((s.which["x"], z_of), exact.log_joint(q, s).exp())
    return (q_z @ p_x).detach()


def number(x):
    return (x.flatten(1) @ torch.tensor([8.0, 4.0, 2.0, 1.0])).long()


@pytest.mark.parametrize("k", [1, 3])
def test_round_trips_follow_the_exact_transition_matrix(k):
    """20,000 chains from one image; every frequency after k trips within 5 s.e."""
    p, q = pair()
    n, start = 20_000, torch.tensor([[[[1.0, 0.0], [0.0, 1.0]]]])
    torch.manual_seed(0)
    trips = list(chains.round_trips(p, q, start.expand(n, *X), k))
    assert len(trips) == k + 1
    assert torch.equal(trips[0]["x"], start.expand(n, *X))
    truth = torch.linalg.matrix_power(transition(p, q), k)[9]
    seen = torch.bincount(number(trips[-1]["x"]), minlength=16) / n
    assert ((seen - truth).abs() < 5 * (truth * (1 - truth) / n).sqrt() + 1e-9).all()


def test_limiting_images_come_from_the_stationary_distribution():
    """Means of x under the chain's exact stationary distribution; n = 20,000, 30 trips, within 5 s.e."""
    p, q = pair(scale=2.0)
    t = transition(p, q)
    stationary = torch.linalg.matrix_power(t.double(), 200)[0].float()
    s = exact.enumerate_states(p)
    x = exact.values_of(p, "x").flatten(1)
    q_z = torch.zeros(16, 4).index_put((s.which["x"], s.which["z0"]), exact.log_joint(q, s).exp())
    means = p.mean({"z0": exact.values_of(p, "z0")}, "x").flatten(1)
    truth = stationary @ q_z @ means
    torch.manual_seed(0)
    got = chains.limiting(p, q, 20_000, 30).flatten(1)
    assert ((got.mean(0) - truth).abs() < 5 * got.std(0) / 20_000**0.5 + 1e-6).all()
    torch.testing.assert_close(truth, stationary @ t @ x, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("latents", ["bernoulli:2 bernoulli:6", "categorical:4x3", "gaussian:3"])
def test_interpolations_go_from_code_to_code_one_unit_at_a_time(latents, monkeypatch):
    p, q = pair(kind="ladder" if " " in latents else "flat", latents=latents)
    seen = []
    monkeypatch.setattr(chains, "decode", lambda p, v: seen.append(v) or torch.zeros(3, *X))
    torch.manual_seed(0)
    a, b = torch.zeros(3, *X), torch.ones(3, *X)
    assert chains.interpolations(p, q, a, b, 5).shape == (5, 3, *X)
    torch.manual_seed(0)
    start, end = q.sample({"x": a}), q.sample({"x": b})
    for name in ("z0", "z1")[: len(latents.split())]:
        torch.testing.assert_close(seen[0][name], start[name])
        torch.testing.assert_close(seen[-1][name], end[name])
        if latents == "gaussian:3":
            torch.testing.assert_close(seen[1][name], 0.75 * start[name] + 0.25 * end[name])
            continue
        for i, v in enumerate(seen):
            of_end = (v[name] == end[name]).flatten(2).all(-1) if v[name].dim() > 2 else v[name] == end[name]
            of_start = (v[name] == start[name]).flatten(2).all(-1) if v[name].dim() > 2 else v[name] == start[name]
            assert (of_end | of_start).all(), i  # every point is a code


def test_random_codes_follow_the_prior_and_decoding_gives_means():
    p, _ = pair(kind="ladder", latents="bernoulli:2 bernoulli:3")
    torch.manual_seed(0)
    v = random_codes(p, 7)
    assert set(v) == {"z0", "z1"}
    torch.testing.assert_close(chains.decode(p, v), p.mean(v, "x"))
    assert chains.decoded_prior(p, 7).shape == (7, *X)
    assert not chains.decoded_prior(p, 7).requires_grad


def test_utilities_agree_with_enumeration_and_state_their_error():
    """All 16 images, each 2,000 times (n = 32,000): every figure within 4 of the stderr it states."""
    p, q = pair()
    s = exact.enumerate_states(p)
    pi = torch.full((16,), 1 / 16)
    x = exact.values_of(p, "x").repeat(2000, 1, 1, 1)
    got = metrics.utilities(p, q, x, seed=1, batch=999)
    truth = {"L_p": exact.L_p(p, q, s, pi), "L_q": exact.L_q(p, q, s), "ELBO": exact.elbo(p, q, s, pi)}
    for name, value in truth.items():
        assert got[name]["n"] == 32_000
        assert abs(got[name]["value"] - value.item()) < 4 * got[name]["stderr"]
        assert 0 < got[name]["stderr"] < 0.1


def test_utilities_repeat_and_leave_the_callers_randomness_alone():
    p, q = pair()
    x = exact.values_of(p, "x")
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    a, b = metrics.utilities(p, q, x, seed=1), metrics.utilities(p, q, x, seed=1)
    assert a == b
    assert a != metrics.utilities(p, q, x, seed=2)
    assert torch.equal(torch.rand(2), expected)


def test_label_accuracy():
    p, q = pair(label="categorical:1x3")
    x = exact.values_of(p, "x")
    truth = torch.nn.functional.one_hot(q.mean({"x": x}, "y").argmax(2), 3).to(torch.uint8)
    assert metrics.utilities(p, q, x, truth)["label accuracy"]["value"] == 1.0
    wrong = truth.roll(1, 2)
    wrong[:4] = truth[:4]
    assert metrics.utilities(p, q, x, wrong)["label accuracy"]["value"] == 0.25


def test_an_implicit_prior_has_no_elbo_and_says_why():
    p, q = pair(latents="gaussian:2", prior="implicit:ring")
    found = metrics.utilities(p, q, torch.zeros(4, *X))
    assert found["ELBO"]["value"] is None
    assert "implicit" in found["ELBO"]["reason"]


def test_a_grid_places_every_image():
    x = torch.linspace(0, 1, 6)[:, None, None, None].expand(6, 1, 28, 28)
    pixels = np.asarray(figures.grid(x, columns=3, gap=2))[..., 0]
    assert pixels.shape == (2 * 30 + 2, 3 * 30 + 2)
    centres = [int(pixels[2 + 14 + 30 * r, 2 + 14 + 30 * c]) for r in range(2) for c in range(3)]
    assert centres == [0, 51, 102, 153, 204, 255]


def test_small_images_are_enlarged_and_values_clamped():
    board = figures.grid(torch.tensor([[[[-1.0, 2.0], [0.0, 1.0]]]]).expand(2, 1, 2, 2), 2)
    assert board.size == (62, 32)
    pixels = np.asarray(board)[..., 0]
    assert (pixels[5, 5], pixels[5, 25], pixels[25, 5], pixels[25, 25]) == (0, 255, 0, 255)


@pytest.mark.parametrize("fields", [{}, {"x_shape": (3, 4, 4)}, {"latents": "gaussian:2"}])
def test_a_snapshot_shows_the_same_probe_with_the_same_seed(fields):
    p, q = pair(**fields)
    probe = torch.rand(30, *p["x"].event).round()
    a, b = snapshots.take(p, q, probe, seed=3), snapshots.take(p, q, probe, seed=3)
    assert a == b
    assert a != snapshots.take(p, q, probe, seed=4)
    assert "limiting.png" not in a
    assert "limiting.png" in snapshots.take(p, q, probe, seed=3, chain=2)
    for name in ("samples.png", "reconstructions.png", "round_trips.png", "interpolations.png"):
        assert Image.open(io.BytesIO(a[name])).size > (28, 28)
    codes = safetensors.torch.load(a["codes.safetensors"])
    assert codes["z0.sample"].shape == codes["z0.mean"].shape == (30, 2)
    assert codes["z0.sample"].dtype == (torch.float32 if "latents" in fields else torch.uint8)


def test_titles_and_boards_do_not_overlap():
    board = Image.new("RGB", (40, 30), "red")
    sheet = sheets.titled([("one", board), ("a much longer title than its board", board)])
    red = (np.asarray(sheet) == (255, 0, 0)).all(-1).sum()
    assert red == 2 * 40 * 30
