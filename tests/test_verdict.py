"""The summing-up sentences follow from the numbers, whichever way these point."""

import pytest

from symeq_core.verdict import summary


def stats(kept, n=500, chance=0.1, start="test", distance=None, floor=1.0, reason=None, ks=(1000,)):
    """What `chain_statistics` would hold of figures at these steps; a number stands for the same at all of them."""
    kept, distance = (v if isinstance(v, (list, type(None))) else [v] * len(ks) for v in (kept, distance))
    return {
        "n": n,
        "steps": ks[-1],
        "start": start,
        "ks": list(ks),
        "retention": {
            "value": kept,
            "stderr": kept and [(v * (1 - v) / n) ** 0.5 for v in kept],
            "chance": kept and [chance] * len(ks),
            "reason": reason,
        },
        "frechet": {
            "value": distance,
            "stderr": distance and [0.05 * v for v in distance],
            "floor": distance and floor,
            "n_reference": n,
        },
    }


def test_a_keeps_more_than_b_beyond_the_uncertainty():
    text = summary(stats(0.74), stats(0.12)).classes
    assert text == (
        "A's chains keep the class they started from longer: A 74 ± 2%, B 12 ± 1% at k = 1,000 (n = 500 chains). "
        "After 1,000 round trips from test images B has forgotten it, A has not (A 74 ± 2%, B 12 ± 1%; chance alone "
        "gives 10%)."
    )


def test_b_keeps_more_and_a_more_than_chance():
    text = summary(stats(0.4), stats(0.6)).classes
    assert text.startswith("B's chains keep")
    assert "neither has forgotten it" in text
    assert "A has forgotten it, B has not" in summary(stats(0.11), stats(0.6)).classes


def test_the_step_at_which_they_differ_most_leads():
    ks = (1, 10, 1000)
    text = summary(stats([0.9, 0.8, 0.1], ks=ks), stats([0.9, 0.5, 0.1], ks=ks)).classes
    assert text.startswith("A's chains keep the class they started from longer: A 80 ± 2%, B 50 ± 2% at k = 10")
    assert "both have forgotten it" in text
    text = summary(stats([0.9, 0.2, 0.1], ks=ks), stats([0.7, 0.8, 0.1], ks=ks)).classes
    assert text.startswith("B's chains keep")
    assert "at k = 1 it is the other way round: A 90 ± 1%, B 70 ± 2%" in text


def test_no_difference_beyond_the_uncertainty():
    assert summary(stats(0.5), stats(0.54)).classes.startswith("Both keep the class they started from equally long")
    assert summary(stats(0.5, n=20_000), stats(0.54, n=20_000)).classes.startswith("B's chains keep")
    assert "both have forgotten it" in summary(stats(0.11), stats(0.09)).classes


@pytest.mark.parametrize(("a", "b", "letter"), [(None, 0.3, "A"), (0.3, None, "B")])
def test_one_is_missing(a, b, letter):
    both = [None if v is None else stats(v) for v in (a, b)]
    distance, text = summary(*both)
    other = "B" if letter == "A" else "A"
    assert f"30 ± 2% of {other}'s chains" in text
    assert f"of {letter}'s that is not known yet." in text
    assert distance == ""


def test_nothing_is_known():
    assert summary(None, None) == ("", "")
    assert summary(stats(None, reason="no classifier"), None) == ("", "")


def test_chains_of_other_lengths_and_numbers_are_not_thrown_together():
    text = summary(stats(0.5), stats(0.9, ks=(100,))).classes
    assert "After 1,000 round trips from test images, 50" in text
    assert "After 100 round trips from test images, 90" in text
    assert "longer" not in text
    assert "n = 500 and 360 chains" in summary(stats(0.5), stats(0.9, n=360)).classes


def test_the_start_is_named():
    assert (
        "After 1,000 round trips from random codes"
        in summary(stats(0.5, start="prior"), stats(0.9, start="prior")).classes
    )


def test_distances():
    text = summary(stats(None, distance=4.0, start="noise"), stats(None, distance=12.0, start="noise")).distance
    assert text == (
        "After 1,000 round trips from noise, B's images are 3.0 times as far from real ones as A's (Fréchet distance "
        "A 4.00 ± 0.20, B 12.00 ± 0.60, n = 500 chains, real images among themselves 1.00; smaller is better)."
    )
    assert "within the uncertainty" in summary(stats(None, distance=4.0), stats(None, distance=4.2)).distance
    assert summary(stats(None, distance=4.0), stats(None, distance=12.0, floor=2.0)).distance == "", "other images"
    assert summary(stats(None, distance=4.0), None).distance == ""


def test_distances_that_cross_are_told():
    ks = (1, 10, 1000)
    text = summary(stats(None, distance=[2.0, 3.0, 5.0], ks=ks), stats(None, distance=[1.0, 3.0, 9.0], ks=ks)).distance
    assert "B's images are 1.8 times as far" in text
    assert text.endswith("At k = 1 it is the other way round: A 2.00 ± 0.10, B 1.000 ± 0.050.")
    text = summary(stats(None, distance=[2.0, 9.0, 5.0], ks=ks), stats(None, distance=[2.0, 3.0, 5.1], ks=ks)).distance
    assert "within the uncertainty" in text
    assert text.endswith("Where they differ most: A 9.00 ± 0.45, B 3.00 ± 0.15 at k = 10.")
