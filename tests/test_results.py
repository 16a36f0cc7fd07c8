"""Who wins is told from the numbers and their uncertainties, whichever way is better."""

import math

import pytest
import torch

from symeq_core import files, gallery, likelihood, results
from symeq_core.gallery import Pair
from symeq_core.measured import error_of_difference, winner
from symeq_core.store import content

from .test_gallery import stored

IDEAS = {idea.title: idea for idea in results.IDEAS}
README = gallery.SHIPPED.parent / "README.md"


def figure(value, stderr=0.1, better="lower", n=100):
    return {"value": value, "stderr": stderr, "better": better, "n": n, "unit": "u", "meaning": "m"}


def bounded(found, side):
    return found | {"bound": side}


@pytest.mark.parametrize(
    ("game", "elbo", "expected"),
    [
        (figure(1.0), figure(2.0), "game"),
        (figure(2.0), figure(1.0), "elbo"),
        (figure(1.0, better="higher"), figure(2.0, better="higher"), "elbo"),
        (figure(2.0, better="higher"), figure(1.0, better="higher"), "game"),
        (figure(1.0), figure(1.28), "tie"),
        (figure(1.0), figure(1.29), "game"),
        (figure(1.0, 0.0), figure(1.0, 0.0), "tie"),
        (figure(1.0, None), figure(2.0), None),
        (figure(1.0), figure(2.0, None), None),
        (bounded(figure(1.0), "lower"), bounded(figure(2.0), "lower"), None),  # the first may be far larger
        (bounded(figure(1.0), "upper"), bounded(figure(2.0), "upper"), "game"),
        (bounded(figure(1.0, better="higher"), "lower"), bounded(figure(2.0, better="higher"), "lower"), "elbo"),
        (figure(1.0) | {"extractor": "e"}, figure(2.0) | {"extractor": "e"}, "game"),
        (figure(1.0) | {"extractor": "e"}, figure(2.0) | {"extractor": "f"}, None),
        (figure(1.0) | {"extractor": "e"}, figure(2.0, n=50) | {"extractor": "e"}, None),
        (figure(None), figure(1.0), None),
        (figure(1.0, better=None), figure(2.0, better=None), None),
    ],
)
def test_the_winner_is_better_beyond_two_standard_errors_of_the_difference(game, elbo, expected):
    assert winner(game, elbo) == expected


def test_figures_of_the_same_images_are_compared_image_by_image():
    """Images differ by 10, pairs by 0.5 on each of them, give or take 0.1: the mean of 400 alone doesn't tell."""
    g = torch.Generator().manual_seed(0)
    x = torch.rand(400, 1, 2, 2, generator=g)
    one = 10 * torch.randn(400, generator=g)
    two = one + 0.5 + 0.1 * torch.randn(400, generator=g)
    a, b = (likelihood.figure(v, "nats", "m", 0, better="higher", **likelihood.each(v, x)) for v in (one, two))
    assert error_of_difference(a, b) == pytest.approx((two - one).std().item() / 20, rel=1e-3)
    assert winner(a, b) == "elbo"
    for change in ({"images": "others"}, {"each": None}, {"each": "?"}, {"each": a["each"][:-8]}):
        assert error_of_difference(a, b | change) == pytest.approx(math.hypot(a["stderr"], b["stderr"]))
        assert winner(a, b | change) == "tie"


@pytest.fixture
def pairs(tmp_path):
    """The game's and the ELBO's pair of one match."""
    made = []
    for learner, (random, limiting) in {"symmetric": (2.0, 3.0), "elbo": (1.0, 30.0)}.items():
        folder = stored(tmp_path / f"tiny-{learner}", **{"learner.name": learner})
        quality = {
            "Frechet distance, random code": figure(random),
            "kernel distance, random code": figure(random),
            "Frechet distance, limiting": figure(limiting),
            "Frechet distance, floor": figure(0.5, 0.01),
        }
        files.write_json(folder / "metrics.json", {"content": content(folder), "figures": {"quality": quality}})
        made.append(Pair(folder.name, folder))
    return made


@pytest.fixture
def match(pairs):
    return results.matches(pairs)[0]


def test_pairs_that_differ_in_the_learner_are_matched(pairs, match, tmp_path):
    assert match.name == "tiny"
    assert match.elbo["quality"]["Frechet distance, limiting"]["value"] == 30
    other = stored(tmp_path / "else-elbo", **{"learner.name": "elbo", "model.latents": "bernoulli:3"})
    assert results.matches([pairs[1], Pair("x", other), pairs[0]]) == [match]
    deviant = stored(tmp_path / "deviant-elbo", **{"learner.name": "elbo", "model.x_family": "gaussian-scale"})
    assert results.matches([pairs[0], Pair("d", deviant)]) == []
    told = []
    files.write(other / "config.json", b"damaged")
    assert results.matches([Pair("x", other), *pairs], told.append) == [match]
    assert "config.json" in str(told[0])


def test_verdicts_tell_both_wins_and_losses_and_leave_floors_out(match):
    assert {name: v.winner for name, v in results.verdicts(match).items()} == {
        "Frechet distance, random code": "elbo",
        "kernel distance, random code": "elbo",
        "Frechet distance, limiting": "game",
    }


def test_figures_of_one_idea_count_once(match):
    told = results.verdicts(match)
    assert results.tally([told, told]) == {"game": 2, "elbo": 2, "none": 8}
    assert results.representative(IDEAS["Random codes"], told).figure == "Frechet distance, random code"
    del told["Frechet distance, random code"]
    assert results.representative(IDEAS["Random codes"], told).figure == "kernel distance, random code"
    utilities = {"L_p": told["Frechet distance, limiting"]}
    assert results.tally([utilities]) == {"none": 6}, "each learner its own"


def test_every_shipped_figure_with_a_verdict_belongs_to_one_idea():
    known = [name for idea in results.IDEAS for name in idea.figures]
    assert len(known) == len(set(known))
    found = results.matches(gallery.shipped())
    assert {name for m in found for name in results.verdicts(m)} <= set(known)


def test_the_summary_says_where_who_is_better(match):
    told = results.verdicts(match)
    found = [(("MNIST", "flat"), told), (("MNIST", "ladder"), told), (("digits", "flat"), told)]
    assert results.summary(IDEAS["Limiting images"], found) == (
        "**Limiting images**: the game is better on MNIST (flat, ladder) and digits (flat)."
    )
    assert results.summary(IDEAS["Random codes"], found[:1]) == "**Random codes**: the ELBO is better on MNIST (flat)."
    assert results.summary(IDEAS["Likelihood"], found[:1]) == "**Likelihood**: no verdict on MNIST (flat)."


@pytest.mark.parametrize(("least", "expected"), [(5.0, "game"), (3.1, None), (1.0, None)])
def test_an_upper_bound_wins_only_where_it_beats_the_others_lower_bound(match, least, expected):
    name = "inconsistency on dreams"
    game = {name: bounded(figure(3.0), "upper"), f"{name}, at least": bounded(figure(2.0), "lower")}
    elbo = {name: bounded(figure(50.0), "upper"), f"{name}, at least": bounded(figure(least), "lower")}
    told = results.verdicts(match._replace(game={"consistency": game}, elbo={"consistency": elbo}))
    assert getattr(told.get(name), "winner", None) == expected


def test_the_table_holds_the_figures_with_their_uncertainty(match):
    row = results.markdown([match]).splitlines()[2]
    assert row == "| tiny | 1.00 ± 0.10 | 2.00 ± 0.10 | 30.00 ± 0.10 | 3.00 ± 0.10 | 0.500 ± 0.010 | 100 |"


def test_figures_are_as_precise_as_their_uncertainty():
    assert results.shown(figure(1234.567, 12.3)) == "1,235 ± 12"
    assert results.shown(figure(0.123456, 0.00123)) == "0.1235 ± 0.0012"
    assert results.shown(None) == results.shown(figure(None)) == "–"


def test_the_readme_shows_the_table_of_the_shipped_pairs():
    assert results.markdown(results.matches(gallery.shipped())) in README.read_text(encoding="utf-8")
