"""Figures over seeds: the table of hand-made values, what is shipped, and what README says of it."""

import pytest

from symeq_core import gallery, overseeds
from symeq_core.results import KINDS

README = gallery.SHIPPED.parent / "README.md"
VALUES = {"elbo": [2.0, 4.0, 6.0], "symmetric": [1.0, 5.0, 3.0]}


def test_rows_hold_values_by_seed_and_count_where_the_game_is_lower():
    rows = overseeds.checked({"tiny": {"seeds": [0, 1, 2], "n": 1234, **dict.fromkeys(KINDS, VALUES)}})
    assert [(r.match, r.kind) for r in rows] == [("tiny", k) for k in KINDS]
    assert (rows[0].elbo, rows[0].game, rows[0].better) == ((2.0, 4.0, 6.0), (1.0, 5.0, 3.0), 2)
    assert overseeds.markdown(rows[:1]).splitlines()[2] == (
        "| tiny | random code | 4.0 ± 2.0 | 3.0 ± 2.0 | 2 of 3 seeds | 1,234 |"
    )


@pytest.mark.parametrize(
    ("values", "text"),
    [((0.5, 0.5123), "0.5061 ± 0.0087"), ((100.0, 140.0), "120 ± 28"), ((1.0,), "1"), ((2.0, 2.0), "2")],
)
def test_a_spread_is_as_precise_as_its_deviation(values, text):
    assert overseeds.spread(values) == text


def test_seed_0_is_the_shipped_pair_and_the_readme_shows_the_table():
    """The figures of one seed stand in metrics.json, measured alike; on another machine the last digits differ."""
    rows = overseeds.known()
    assert rows
    assert overseeds.markdown(rows) in README.read_text(encoding="utf-8")
    for r in rows:
        for learner, values in (("elbo", r.elbo), ("symmetric", r.game)):
            quality = gallery.Pair("", gallery.SHIPPED / f"{r.match}-{learner}").metrics()["figures"]["quality"]
            assert values[0] == pytest.approx(quality[f"Frechet distance, {r.kind}"]["value"], rel=1e-6)
