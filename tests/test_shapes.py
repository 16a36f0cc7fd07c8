"""Files that anybody may have made: what is not in our form is refused in one sentence, and all else can be drawn."""

import copy
import json
import random
import shutil

import numpy as np
import pytest

from symeq_core import compare, curves, gallery, maps, measured, shapes, verdict
from symeq_core.checkpoints import read_tensors, write_tensors
from symeq_core.errors import SymeqError
from symeq_core.gallery import Pair
from symeq_core.runs import parse
from ui import cards, evaluate

from .test_pages import opened, texts
from .test_pages import root as root  # a fixture: a folder of runs of its own

A, B = "digits-bits-symmetric", "digits-bits-elbo"
STRANGE = [None, True, -1, 0, 3, 1e999, -1e300, 10**400, "x", "", "x" * 3000, [], [1], {}, {"a": 1}, [[None]], 0.5]


def shipped(name=A):
    return json.loads((gallery.SHIPPED / name / "metrics.json").read_text())


def places(value, path=()):
    """Every place in a JSON value, as keys."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


def mutated(value, rng):
    """A copy in which up to three places are dropped or hold something strange."""
    value = copy.deepcopy(value)
    for _ in range(rng.randint(1, 3)):
        *path, last = rng.choice(list(places(value)) or [()]) or (None,)
        inner = value
        for key in path:
            inner = inner[key]
        if last is None:
            break
        if rng.random() < 0.4:
            del inner[last]
        else:
            inner[last] = rng.choice(STRANGE)
    return value


def copied(root, name, metrics):
    folder = root / name
    shutil.copytree(gallery.SHIPPED / A, folder, ignore=shutil.ignore_patterns("snapshots"))
    text = metrics if isinstance(metrics, str) else json.dumps(metrics)
    (folder / "metrics.json").write_text(text.replace("Infinity", "1e999"))
    return Pair(f"own:{name}", folder)


def looked_up(pair):
    """(what is known, why nothing is)."""
    try:
        return measured.found(pair), None
    except SymeqError as e:
        return None, str(e)


def test_all_that_is_shipped_is_in_our_form():
    for pair in gallery.shipped():
        assert pair.metrics()["figures"]
        lines = (pair.folder / "events.jsonl").read_bytes().splitlines()
        assert len(parse(b"\n".join(lines))) == len(lines)


def test_strange_metrics_are_refused_in_a_sentence_or_can_be_drawn(root, tmp_path, monkeypatch):
    monkeypatch.setenv("SYMEQ_CACHE", str(tmp_path / "cache"))
    rng, whole, refused = random.Random(0), shipped(), 0
    other = shipped(B)
    pair = copied(root, "own", whole)
    for _ in range(400):
        (pair.folder / "metrics.json").write_text(json.dumps(mutated(whole, rng)).replace("Infinity", "1e999"))
        found, why = looked_up(pair)
        if why:
            assert "metrics.json" in why
            assert "evaluate the pair anew" in why or "restore it" in why
            assert "\n" not in why
            refused += 1
        if found is None:  # or its content is another one
            continue
        rows = compare.rows([found, other], [[], []])
        cards.cards(compare.headlines(rows), [("A", "#000000"), ("B", "#000000")], True)
        for row in rows:
            evaluate._row(row, True)
        evaluate._facts([("A", pair, found), ("B", pair, other)], True)
        measured.on_card(found)
        statistics = found.get("chain")
        if statistics:
            verdict.summary(statistics, other["chain"])
            for curve in (*curves.CURVES, *curves.MORE):
                curves.points(curve, {"A": statistics})
                curves.levels(curve, {"A": statistics})
                curves.meaning(curve, {"A": statistics})
            for k in curves.steps({"A": statistics}):
                curves.matrix(statistics, k)
    assert 100 < refused < 400


FOREIGN = {
    "a list": [],
    "no figures": {"content": "x"},
    "figures in a list": {"content": "x", "figures": [1]},
    "a figure is a number": {"content": "x", "figures": {"quality": {"FID": 3.0}}},
    "not a number": '{"content": "x", "figures": {"quality": {"FID": {"value": NaN, "n": 1, "unit": ""}}}}',
    "infinite": '{"content": "x", "figures": {"quality": {"FID": {"value": 1e999, "n": 1, "unit": ""}}}}',
    "huge": '{"figures": ' + "[" * 100_000,
}


@pytest.fixture
def foreign(root, tmp_path, monkeypatch):
    """Own pairs with foreign figures, two of them of the very weights they hold."""
    monkeypatch.setenv("SYMEQ_CACHE", str(tmp_path / "cache"))
    for k, metrics in enumerate(FOREIGN.values()):
        copied(root, f"foreign{k}", metrics)
    torn = shipped()
    torn["chain"]["retention"]["value"] = "high"
    copied(root, "chain", torn)
    return root


@pytest.mark.parametrize("page", ["app.py", "pages/3_Compare.py", "pages/5_Round_trip.py", "pages/6_Results.py"])
def test_every_page_opens_with_foreign_figures(foreign, page):
    for a, b in (("own:foreign0", "own:foreign1"), ("own:foreign3", "own:foreign5"), ("own:chain", B)):
        at = opened(page, a=a, b=b)
        if page in ("pages/3_Compare.py", "pages/5_Round_trip.py"):
            said = [e.value for e in at.error]
            assert len(said) == (1 if b == B else 2)
            assert all("metrics.json" in e for e in said)
        if page == "app.py":
            assert texts(at).count("metrics.json") == len(FOREIGN) + 1
            break


def test_the_way_out_is_offered_and_what_it_measures_is_shown(foreign):
    at = opened("pages/3_Compare.py", a="own:chain", b=B)
    assert at.button(key="evaluate").label == "Evaluate A"
    entry = measured.stored(foreign / "chain")
    entry.folder.mkdir(parents=True)
    entry.json.write_text(json.dumps(shipped()))
    at = opened("pages/3_Compare.py", a="own:chain", b=B)
    assert not at.error
    assert not [b for b in at.button if b.key == "evaluate"]


def test_strange_events_are_left_out_and_the_others_are_drawn(root):
    rng = random.Random(1)
    pair = copied(root, "own", shipped())
    path = pair.folder / "events.jsonl"
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert [json.dumps(e) for e in map(json.loads, path.read_text().splitlines())] == [json.dumps(e) for e in lines]
    strange = [mutated(rng.choice(lines), rng) for _ in range(400)]
    text = "\n".join(json.dumps(e).replace("Infinity", "1e999") for e in strange)
    path.write_text(text)
    kept = pair.events()
    assert 20 < len(kept) < 400
    for player in "pq":
        compare.term_curves([kept], player)
    compare.probe_curves([kept])
    compare.rows([None], [kept])
    at = opened("pages/3_Compare.py", a="own:own", b=B, curves="Decoder p, term by term")
    assert not at.error
    opened("pages/2_Runs.py")
    opened("pages/1_Train.py", run="own")


def test_results_tell_of_a_shipped_pair_with_foreign_figures(root, tmp_path, monkeypatch):
    monkeypatch.setattr(gallery, "SHIPPED", tmp_path / "shipped")
    for name in (A, B, "digits-plane-symmetric", "digits-plane-elbo"):
        source = gallery.Path(__file__).parent.parent / "checkpoints" / name
        shutil.copytree(source, tmp_path / "shipped" / name, ignore=shutil.ignore_patterns("snapshots"))
    (tmp_path / "shipped" / A / "metrics.json").write_text('{"figures": 3}')
    at = opened("pages/6_Results.py")
    assert "metrics.json" in at.error[0].value
    assert any("Digits 8×8" in h.proto.body for h in at.get("html"))


@pytest.mark.parametrize("shape", [(0, 2), (5000, 3), (360,), (2, 360, 2)])
def test_positions_that_are_no_points_of_a_plane_are_passed_over(root, tmp_path, shape):
    import torch

    folder = copied(root, "own", shipped()).folder
    facts = read_tensors(gallery.SHIPPED / A / maps.FILE)[1]
    assert maps.shipped(folder, maps.Spec("z0")) is not None
    write_tensors(folder / maps.FILE, {"z0.mean": torch.zeros(shape)}, facts)
    assert maps.shipped(folder, maps.Spec("z0")) is None
    write_tensors(folder / maps.FILE, {"z0.mean": torch.full((360, 2), float(np.nan))}, facts)
    assert maps.shipped(folder, maps.Spec("z0")) is None


def test_a_refusal_names_file_place_and_way_out(tmp_path):
    with pytest.raises(SymeqError) as e:
        shapes.checked({"content": "x", "figures": {"quality": []}}, shapes.Metrics, tmp_path / "f", "evaluate it anew")
    assert str(e.value).startswith(f"{tmp_path / 'f'} is not in the form")
    assert "figures.quality" in str(e.value)
    assert str(e.value).endswith("evaluate it anew.")
