"""Differences in words, figures with a verdict, and the tables of curves."""

import math

import pytest

from symeq_core import compare
from symeq_core.config import override
from symeq_core.presets import preset

GAME, ELBO, SLEEP = (preset(f"digits-flat-{k}") for k in ("symmetric", "elbo", "wake-sleep"))


def test_a_learner_alone_is_no_confounder_and_neither_is_what_comes_with_it():
    found = compare.contrast(GAME, ELBO)
    assert found.text.startswith("A and B differ in the learner only: symmetric game against ELBO.")
    assert "order of moves (alternating against simultaneous)" in found.text
    assert not found.confounded
    prior = compare.contrast(SLEEP, GAME, "AC")
    assert prior.text.startswith("A and C differ in the learner only: wake-sleep against symmetric game.")
    assert "prior (learned against fixed)" in prior.text
    assert not prior.confounded


def test_an_order_of_moves_that_is_not_the_learners_own_is_a_confounder():
    other = override(GAME, {"train.schedule": "simultaneous"})
    assert compare.contrast(GAME, other).text.endswith(
        "one setting only: order of moves (alternating against simultaneous)."
    )
    found = compare.contrast(override(ELBO, {"train.schedule": "alternating", "train.moves_q": 2}), other)
    assert found.confounded
    assert set(found.fields) == {"train.schedule", "train.moves_q"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": 1}, "seed (0 against 1)"),
        ({"model.latents": "bernoulli:10"}, "layers of code (16 bits against 10 bits)"),
        ({"train.lr": 1e-4}, "Adam step of p (0.001 against 0.0001)"),
        ({"train.lr_q": 1e-4}, "Adam step of q (that of p against 0.0001)"),
        ({"model.hidden": [64, 32]}, "hidden widths (128 against 64×32)"),
        ({"train.steps": 20000}, "iterations (5,000 against 20,000)"),
        ({"model.label": "categorical:1x10"}, "label (none against 1×10 classes)"),
    ],
)
def test_whatever_else_differs_is_named_with_both_values(changes, said):
    found = compare.contrast(GAME, override(ELBO, changes))
    assert found.confounded
    assert "more than the learner (symmetric game against ELBO)" in found.text
    assert said in found.text
    same = compare.contrast(GAME, override(GAME, changes))
    assert not same.confounded
    assert same.text == f"A and B have the same learner, the symmetric game, and differ in one setting only: {said}."


def test_several_settings_of_one_learner_are_a_confounder():
    found = compare.contrast(ELBO, override(ELBO, {"seed": 1, "train.batch": 64}))
    assert found.confounded
    assert "2 settings" in found.text
    assert "batch size (128 against 64)" in found.text


def test_how_one_looked_at_the_training_is_no_difference():
    aside = {"train.snapshot_every": 7, "train.log_every": 7, "train.threads": 3, "train.save_seconds": 1.0}
    assert compare.contrast(GAME, override(GAME, aside)).text.endswith("all their settings are the same.")
    assert not compare.contrast(GAME, override(ELBO, aside)).confounded


def test_other_images_are_told_first():
    found = compare.contrast(GAME, preset("mnist-reverse-elbo"))
    assert found.confounded
    assert "different images: digits against MNIST" in found.text


def test_what_was_trained_counts_not_what_was_planned():
    assert compare.contrast(GAME, ELBO, trained=(5000, 5000)).confounded is False
    assert "iterations (5,000 against 120)" in compare.contrast(GAME, ELBO, trained=(5000, 120)).text
    longer = override(ELBO, {"train.steps": 9000})
    assert not compare.contrast(GAME, longer, trained=(400, 400)).confounded


def test_every_field_of_a_config_has_a_name():
    from symeq_core.config import _fields

    assert not set(_fields()) - set(compare.FIELDS) - compare.ASIDE


def cell(value, stderr=0.3, **more):
    return {"value": value, "stderr": stderr, "n": 100, "unit": "nats per image"} | more


@pytest.mark.parametrize(
    ("a", "b", "best"),
    [
        (cell(-20.0), cell(-18.0), 1),
        (cell(-18.0), cell(-20.0), 0),
        (cell(-18.0), cell(-18.0 - 2 * math.hypot(0.3, 0.3) + 1e-9), None),
        (cell(-18.0), cell(-18.0 - 2 * math.hypot(0.3, 0.3) - 1e-9), 0),
        (cell(-18.0, None), cell(-20.0), None),
        (cell(-18.0), None, None),
        (cell(-18.0), {"value": None, "stderr": None, "n": 0, "unit": "nats per image", "reason": "implicit"}, None),
    ],
)
def test_better_is_more_than_twice_the_error_of_the_difference(a, b, best):
    found = compare.row("g", "ELBO", [a, b])
    assert found.best == best
    assert found.unit == "nats per image"


def test_a_verdict_says_by_how_much_and_what_it_does_not_know():
    assert compare.row("g", "ELBO", [cell(-20.0), cell(-18.0)]).verdict == "B better by 2.00 ± 0.42"
    assert "no clear difference" in compare.row("g", "ELBO", [cell(-20.0), cell(-20.1)]).verdict
    assert compare.row("g", "anything", [cell(1.0), cell(5.0)]).verdict == ""
    lower = compare.row("g", "distance", [cell(1.0, 0.1, better="lower"), cell(5.0, 0.1, better="lower")])
    assert (lower.best, lower.verdict) == (0, "A better by 4.00 ± 0.14")
    three = compare.row("g", "ELBO", [cell(-20.0), cell(-18.0), cell(-18.1)], "ACD")
    assert three.best is None
    assert compare.row("g", "ELBO", [cell(-20.0), cell(-10.0), cell(-18.1)], "ACD").verdict.endswith("than D")


def test_distances_of_different_n_are_not_compared_and_floors_not_ranked():
    few, many = cell(1.0, 0.1, better="lower", extractor="e"), cell(5.0, 0.1, better="lower", extractor="e", n=500)
    found = compare.row("quality", "Frechet distance, limiting", [few, many])
    assert (found.best, found.verdict) == (None, "not comparable: n = 100 and 500")
    assert compare.row("quality", "distance", [few, few | {"value": 9.0, "extractor": "f"}]).verdict.startswith("not")
    same = compare.row("likelihood", "bound", [f | {"extractor": None} for f in (few, many)])
    assert same.best == 0
    assert compare.row("quality", "Frechet distance, floor", [few, few | {"value": 9.0}]).best is None


def test_bounds_from_the_better_side_are_not_ranked():
    a, b = (cell(v, 0.1, better="lower", bound="lower") for v in (1.0, 5.0))
    found = compare.row("consistency", "inconsistency on data", [a, b])
    assert found.best is None
    assert found.verdict.startswith("no verdict")
    assert compare.row("g", "other", [f | {"bound": "upper"} for f in (a, b)]).best == 0


def test_the_best_beats_every_other_one_not_the_second_only():
    found = compare.row("g", "ELBO", [cell(-10.0), cell(-12.0), cell(-13.0, 5.0)])
    assert (found.best, found.verdict) == (None, "no clear difference between A and C (3.0 ± 5.0)")


@pytest.mark.parametrize(("least", "best"), [(5.0, 0), (3.1, None), (1.0, None)])
def test_an_upper_bound_wins_only_where_it_beats_the_others_lower_bound(least, best):
    name = "inconsistency on dreams"
    of = [
        {name: cell(v, 0.1, better="lower", bound="upper"), f"{name}, at least": cell(low, 0.1, better="lower")}
        for v, low in ((3.0, 2.0), (50.0, least))
    ]
    found = compare.rows([{"figures": {"consistency": figures}} for figures in of], [[], []])[0]
    assert (found.name, found.best) == (name, best)
    assert found.verdict.startswith("no verdict" if best is None else "A better by 47")


def test_joint_utilities_of_other_codes_are_not_ranked_and_groups_stay_together():
    figures = {"utilities": {"L_p": cell(1.0), "ELBO": cell(1.0)}, "consistency": {"a": cell(1.0)}}
    more = {"utilities": {"L_p": cell(9.0), "ELBO": cell(9.0)}, "consistency": {"a": cell(1.0), "b": cell(1.0)}}
    configs = [preset("digits-flat-symmetric"), preset("digits-plane-symmetric")]
    found = compare.rows([{"figures": figures}, {"figures": more}], [[], []], configs=configs)
    assert [r.group for r in found] == ["utilities", "utilities", "consistency", "consistency"]
    assert [(r.name, r.best) for r in found[:2]] == [("L_p", None), ("ELBO", 1)]
    assert found[0].verdict == "not comparable: other codes"
    alike = compare.rows([{"figures": figures}, {"figures": more}], [[], []], configs=configs[:1] * 2)
    assert alike[0].best == 1


def test_a_bound_that_decides_nothing_gives_way_to_a_figure_that_does():
    open_bound = {"inconsistency on data": cell(1.0, 0.1, better="lower", bound="lower")}
    figures = open_bound | {"inconsistency on dreams": cell(3.0, 0.1, better="lower", bound="upper")}
    found = compare.headlines(compare.rows([{"figures": {"consistency": figures}}] * 2, [[], []]))
    assert [r.name for r in found] == ["inconsistency on dreams"]
    found = compare.headlines(compare.rows([{"figures": {"consistency": open_bound}}] * 2, [[], []]))
    assert [r.name for r in found] == ["inconsistency on data"]


def test_headlines_are_the_first_known_of_each():
    rows = [
        compare.row("likelihood", "log-likelihood", [{"value": None}, {"value": None}]),
        compare.row("likelihood", "importance-weighted bound", [cell(1.0), cell(2.0)]),
        compare.row("likelihood", "ELBO", [cell(1.0), cell(2.0)]),
        compare.row("utilities", "L_q", [cell(1.0), None]),
        compare.row("quality", "Frechet distance, limiting", [cell(1.0), cell(2.0)]),
    ]
    assert compare.headlines(rows) == [rows[4], rows[1], rows[2]]


def events(shift=0.0):
    found = []
    for step in (0, 10, 20):
        found.append(
            {
                "event": "probe",
                "step": step,
                "seconds": step / 10,
                "figures": {
                    "L_p": cell(step + shift),
                    "ELBO": cell(step - 1 + shift),
                    "label accuracy": cell(0.5) | {"unit": "fraction"},
                },
            }
        )
    for step in (10, 20):
        terms = {"p": {"z0": -2.0, "x": step + shift}, "q": {"z0": -1.0}}
        found.append({"event": "metrics", "step": step, "seconds": step / 10, "terms": terms})
    return found


def test_figures_are_stored_ones_only_where_all_have_them():
    stored = {"figures": {"likelihood": {"ELBO": cell(-3.0)}}}
    rows = compare.rows([stored, None], [events(), events(1.0)])
    assert [(r.group, r.name) for r in rows] == [("last probe", k) for k in ("L_p", "ELBO", "label accuracy")]
    assert [c["value"] for c in rows[0].cells] == [20, 21]
    assert rows[0].cells[0]["step"] == 20
    both = compare.rows([stored, {"figures": {"likelihood": {"ELBO": cell(-9.0), "n": cell(1)}}}], [[], []])
    assert [(r.group, r.name, r.best) for r in both] == [("likelihood", "ELBO", 0), ("likelihood", "n", None)]
    assert both[1].cells[0] is None
    assert compare.rows([None, None], [[], []]) == []


def test_curves_hold_every_point_of_every_pair():
    table = compare.probe_curves([events(), events(1.0)], "AC")
    assert set(table["series"]) == {"L_p", "ELBO"}
    assert list(table[(table.pair == "C") & (table.series == "L_p")]["value"]) == [1, 11, 21]
    assert set(table["stderr"]) == {0.3}


def test_terms_add_up_to_the_utility():
    table = compare.term_curves([events(), events(1.0)], "p")
    wide = table.pivot(index=["pair", "step"], columns="series", values="value")
    assert list(wide.columns) == ["sum", "x", "z0"]
    assert (wide["sum"] == wide["x"] + wide["z0"]).all()
    assert list(compare.term_curves([events()], "q")["series"]) == ["sum", "z0"] * 2
    assert compare.term_curves([[]], "p").empty
