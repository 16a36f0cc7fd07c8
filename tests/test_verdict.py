"""The summing-up sentences follow from the numbers, whichever way these point."""

import pytest

from symeq_core.verdict import summary


def stats(kept, n=500, chance=0.1, steps=1000, start="test", distance=None, floor=1.0, reason=None):
    """What `chain_statistics` would hold, at the last step only."""
    error = (kept * (1 - kept) / n) ** 0.5 if kept is not None else None
    known = kept is not None
    return {
        "n": n,
        "steps": steps,
        "start": start,
        "ks": [steps],
        "retention": {
            "value": [kept] if known else None,
            "stderr": [error] if known else None,
            "chance": [chance] if known else None,
            "reason": reason,
        },
        "frechet": {
            "value": None if distance is None else [distance],
            "stderr": None if distance is None else [0.05 * distance],
            "floor": None if distance is None else floor,
            "n_reference": n,
        },
    }


def test_a_keeps_more_than_b_beyond_the_uncertainty():
    text, _ = summary(stats(0.74), stats(0.12))
    assert text == (
        "After 1,000 round trips, 74 ± 2 % of A's chains still show the class they started from, against 12 ± 1 % of "
        "B's (n = 500): A remembers, B is down to what chance alone gives (10 %)."
    )


def test_b_keeps_more_and_a_more_than_chance():
    text, _ = summary(stats(0.4), stats(0.6))
    assert text.endswith(": B keeps more.")
    assert "40 ± 2 % of A's" in text
    text, _ = summary(stats(0.11), stats(0.6))
    assert "B remembers, A is down to what chance" in text


def test_no_difference_beyond_two_standard_errors():
    text, _ = summary(stats(0.5), stats(0.54))
    assert text.endswith("no difference beyond the uncertainty.")
    text, _ = summary(stats(0.5, n=20_000), stats(0.54, n=20_000))
    assert text.endswith("B keeps more.")


def test_neither_keeps_anything():
    text, _ = summary(stats(0.11), stats(0.09))
    assert text.endswith("both have forgotten where they began, as chance alone gives 10 %.")


@pytest.mark.parametrize(("a", "b", "letter"), [(None, 0.3, "A"), (0.3, None, "B")])
def test_one_is_missing(a, b, letter):
    both = [None if v is None else stats(v) for v in (a, b)]
    text, distance = summary(*both)
    other = "B" if letter == "A" else "A"
    assert f"30 ± 2 % of {other}'s chains" in text
    assert f"of {letter}'s that is not known yet." in text
    assert distance == ""


def test_nothing_is_known():
    assert summary(None, None) == ("", "")
    assert summary(stats(None, reason="no classifier"), None) == ("", "")


def test_chains_of_other_lengths_and_numbers_are_not_thrown_together():
    text, _ = summary(stats(0.5, steps=1000), stats(0.9, steps=100))
    assert "After 1,000 round trips, 50" in text
    assert "After 100 round trips, 90" in text
    assert "keeps more" not in text
    assert "n = 500 and 360" in summary(stats(0.5), stats(0.9, n=360))[0]


def test_the_start_is_named():
    assert summary(stats(0.5, start="prior"), stats(0.9, start="prior"))[0].startswith(
        "After 1,000 round trips from random codes, 50"
    )


def test_distances():
    _, text = summary(stats(None, distance=4.0, start="noise"), stats(None, distance=12.0, start="noise"))
    assert "A 4.0 ± 0.20, B 12.0 ± 0.60; real images among themselves: 1.0. A stays closer, B is 3.0 times" in text
    assert "No difference" in summary(stats(None, distance=4.0), stats(None, distance=4.2))[1]
    assert summary(stats(None, distance=4.0), stats(None, distance=12.0, floor=2.0))[1] == "", "other images"
    assert summary(stats(None, distance=4.0), None)[1] == ""
