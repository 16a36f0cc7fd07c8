"""Who wins is told from the numbers and their uncertainties, whichever way is better."""

import pytest

from symeq_core import files, gallery, results
from symeq_core.gallery import Pair
from symeq_core.results import Match, winner
from symeq_core.store import content

from .test_gallery import stored

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


@pytest.fixture
def match(tmp_path):
    made = {}
    for learner, (random, limiting) in {"symmetric": (2.0, 3.0), "elbo": (1.0, 30.0)}.items():
        folder = stored(tmp_path / f"tiny-{learner}", **{"learner.name": learner})
        quality = {
            "Frechet distance, random code": figure(random),
            "Frechet distance, limiting": figure(limiting),
            "Frechet distance, floor": figure(0.5, 0.01),
        }
        files.write_json(folder / "metrics.json", {"content": content(folder), "figures": {"quality": quality}})
        made[learner] = Pair(folder.name, folder)
    return Match("tiny", made["symmetric"], made["elbo"])


def test_pairs_that_differ_in_the_learner_are_matched(match, tmp_path):
    other = stored(tmp_path / "else-elbo", **{"learner.name": "elbo", "model.latents": "bernoulli:3"})
    found = results.matches([match.elbo, Pair("x", other), match.game])
    assert found == [match]
    files.write(other / "config.json", b"damaged")
    assert results.matches([Pair("x", other), match.elbo, match.game]) == [match]


def test_verdicts_tell_both_wins_and_losses_and_leave_floors_out(match):
    found = {v.figure: v.winner for v in results.verdicts(match)}
    assert found == {"Frechet distance, random code": "elbo", "Frechet distance, limiting": "game"}


def test_the_summary_counts_them(match):
    found = [(match, results.verdicts(match))]
    assert results.summary(found, "Frechet distance, limiting").endswith("the game is better on tiny.")
    assert results.summary(found, "Frechet distance, random code").endswith("the ELBO is better on tiny.")
    assert "not evaluated" in results.summary(found, "nothing")


def test_the_table_holds_the_figures_with_their_uncertainty(match):
    row = results.markdown([match]).splitlines()[2]
    assert row == "| tiny | 1.00 ± 0.10 | 2.00 ± 0.10 | 30.00 ± 0.10 | 3.00 ± 0.10 | 0.500 ± 0.010 | 100 |"


def test_figures_are_as_precise_as_their_uncertainty():
    assert results.shown(figure(1234.567, 12.3)) == "1,235 ± 12"
    assert results.shown(figure(0.123456, 0.00123)) == "0.1235 ± 0.0012"
    assert results.shown(None) == results.shown(figure(None)) == "–"


def test_the_readme_shows_the_table_of_the_shipped_pairs():
    assert results.markdown(results.matches(gallery.shipped())) in README.read_text(encoding="utf-8")
