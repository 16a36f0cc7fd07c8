"""The Compare page under AppTest: what it says and draws, links, and what is damaged or missing."""

import json
import shutil
from pathlib import Path

import pytest

from symeq_core import gallery, measured, portrait, store
from symeq_core.config import override
from symeq_core.presets import preset
from symeq_core.runs import Run
from symeq_core.worker import Worker

from .test_pages import charts, domains, opened, texts
from .test_pages import root as root  # a fixture: a folder of runs of its own

PAGE = "pages/3_Compare.py"
QUICK = {"train.steps": 6, "train.log_every": 2, "train.probe_every": 3, "train.snapshot_every": 3}
A, B = "digits-bits-symmetric", "digits-bits-elbo"


def trained(folder, name, **changes):
    run = Run.create(folder, override(preset(name), QUICK | changes))
    Worker(run).work()
    return run


def asked(at, key):
    value = at.query_params[key]
    return value[-1] if isinstance(value, list) else value


def packed(at):
    """The header that the scrubber was given."""
    data = at.get("bidi_component")[0].proto.bytes
    return json.loads(data[4 : 4 + int.from_bytes(data[:4], "little")])


def test_two_shipped_pairs_differ_in_words_figures_pictures_and_curves():
    at = opened(PAGE, a=A, b=B)
    assert "differ in the learner only: symmetric game against ELBO" in texts(at)
    assert not at.warning
    header = packed(at)
    assert [p["letter"] for p in header["pairs"]] == ["A", "B"]
    assert header["steps"] == sorted({s for k in (A, B) for s in gallery.find(Path("none"), k).snapshots()})
    cards = " ".join(h.proto.body for h in at.get("html"))
    for k in (A, B):
        figures = gallery.find(Path("none"), k).metrics()["figures"]
        assert measured.shown(figures["quality"]["Frechet distance, limiting"]).partition(" ± ")[0] in cards
    assert len(charts(at)) == 3


def test_a_link_says_which_pairs_pictures_and_curves():
    at = opened(PAGE, a=B, b=A, show="Random codes", curves="Decoder p, term by term", axis="by time")
    assert packed(at)["kind"] == "codes"
    assert [p["name"] for p in packed(at)["pairs"]] == ["ELBO", "Symmetric game"]
    shown = charts(at)
    assert len(shown) == 3  # the sum, z0 and x
    assert "seconds" in json.dumps(shown[0]["layer"][-1]["encoding"]["x"])
    assert "−KL( q(z0 | x) ‖ p(z0) )" in texts(at)


def test_other_pictures_and_another_pair():
    at = opened(PAGE, a=A, b=B)
    first = packed(at)["stamp"]
    at.segmented_control(key="show").set_value("interpolations").run()
    assert packed(at)["kind"] == "interpolations"
    at.segmented_control(key="show").set_value("reconstructions").run()
    assert packed(at)["stamp"] == first
    at.button(key="swap").click().run()
    assert not at.exception
    assert asked(at, "a") == B
    assert packed(at)["stamp"] != first


def test_up_to_four_pairs(root):
    trained(root / "third", "digits-flat-symmetric")
    at = opened(PAGE, a=A, b=B)
    for count in (3, 4):
        at.button(key="add").click().run()
        assert not at.exception
        assert len(packed(at)["pairs"]) == count
    assert not [b for b in at.button if b.key == "add"]
    assert len({asked(at, k) for k in "abcd"}) >= 3
    at.button(key="remove").click().run()
    assert len(packed(at)["pairs"]) == 3
    assert "d" not in at.query_params


def test_more_than_the_learner_is_a_warning(root):
    trained(root / "own", "digits-flat-elbo", seed=3)
    at = opened(PAGE, a=A, b="own:own")
    assert "differ in more than the learner" in at.warning[0].value
    assert "seed (0 against 3)" in at.warning[0].value
    assert "seeds differ (A: 0, B: 3)" in texts(at)


def test_other_images_are_shown_with_data_of_their_own(root):
    run = trained(root / "own", "digits-flat-elbo")
    for snapshot in run.snapshots().values():  # as if it were another data set
        shutil.rmtree(snapshot)
    run.write_config(override(run.config(), {"data.name": "mnist"}))
    at = opened(PAGE, a=A, b="own:own")
    assert "different images: digits against MNIST" in at.warning[0].value
    assert "not comparable" in " ".join(h.proto.body for h in at.get("html"))


def test_limiting_samples_that_a_run_has_not_are_told(root):
    trained(root / "own", "digits-flat-symmetric")
    at = opened(PAGE, a=A, b="own:own", show="Limiting images")
    assert "B has no limiting images in its snapshots" in at.info[0].value
    assert [p["letter"] for p in packed(at)["pairs"]] == ["A"]


@pytest.fixture
def bare(root, tmp_path, monkeypatch):
    """An own pair of weights alone, and what was started in processes of their own."""
    monkeypatch.setenv("SYMEQ_CACHE", str(tmp_path / "cache"))
    started = []
    monkeypatch.setattr(store.Entry, "launch", lambda self, arguments: started.append(arguments))
    monkeypatch.setattr(store.Entry, "is_running", lambda self: bool(started) and not self.is_done())
    shutil.copytree(gallery.SHIPPED / A, root / "bare", ignore=shutil.ignore_patterns("snapshots", "events.jsonl"))
    return started


def test_a_pair_without_snapshots_or_events_is_still_compared(root, bare):
    at = opened(PAGE, a="own:bare", b=B)
    assert bare == [["pictures", str((root / "bare").resolve())]]
    assert any("A has no snapshots" in p.proto.text for p in at.get("progress"))
    assert [p["letter"] for p in packed(at)["pairs"]] == ["B"]
    assert any("trained elsewhere" in h.proto.body for h in at.get("html"))
    assert "differ in the learner only" in texts(at)
    assert "no curves" in texts(opened(PAGE, a="own:bare", b="own:bare"))


def test_its_pictures_are_drawn_once_and_stand_at_every_step(root, bare, monkeypatch):
    monkeypatch.setattr(portrait, "CHAIN", 3)
    folder = portrait.compute(root / "bare")
    for show in ("Reconstructions", "Random codes", "Limiting images", "Interpolations", "Round trips"):
        at = opened(PAGE, a="own:bare", b=B, show=show)
        header = packed(at)
        assert [p["still"] for p in header["pairs"]] == [True, False]
        assert header["steps"] == sorted(gallery.find(Path("none"), B).snapshots())
        assert all(row[0] == 0 for row in header["shown"])
    assert packed(opened(PAGE, a="own:bare", b="own:bare"))["steps"] == [0]
    assert not bare
    last = list(gallery.find(Path("none"), A).snapshots().values())[-1]
    for name in ("samples.png", "reconstructions.png", "round_trips.png", "interpolations.png"):
        assert (folder / name).read_bytes() == (last / name).read_bytes(), "as in training, of the same weights"


def test_pictures_that_could_not_be_drawn_are_told_with_a_way_out(root, bare):
    with pytest.raises(ZeroDivisionError), portrait.entry(root / "bare").computing():
        raise ZeroDivisionError("the disk is full")
    at = opened(PAGE, a="own:bare", b=B)
    assert "could not be drawn: the disk is full" in at.error[0].value
    at.button(key="draw A").click().run()
    assert bare[0][0] == "pictures"
    assert not at.error


def test_damaged_snapshots_events_and_figures_are_left_out(root):
    folder = root / "hurt"
    shutil.copytree(gallery.SHIPPED / A, folder)
    hurt = sorted((folder / "snapshots").iterdir())[3] / "reconstructions.png"
    hurt.write_bytes(hurt.read_bytes()[:200])
    (folder / "events.jsonl").write_bytes(b'{"event": "probe"\n\x00\n')
    (folder / "metrics.json").write_text("[")
    at = opened(PAGE, a="own:hurt", b=B)
    assert len(packed(at)["pairs"][0]["steps"]) == packed(at)["pairs"][1]["count"] - 1
    assert any("metrics.json" in e.value for e in at.error)


def evaluated(folder, source, value, content=None):
    """A copy of a shipped pair, evaluated: `content` says of which weights, for those it has."""
    shutil.copytree(gallery.SHIPPED / source, folder)
    figure = {"value": value, "stderr": 0.1, "n": 50, "unit": "nats per image", "better": "higher", "meaning": "a <b>"}
    figures = {"likelihood": {"log-likelihood": figure, "ELBO": figure}, "consistency": {"unit KL": figure}}
    found = {"figures": figures, "content": content or store.content(folder), "seconds": 1.0, "format": 1}
    (folder / "metrics.json").write_text(json.dumps(found))


def test_evaluated_figures_come_first_and_stale_ones_not_at_all(root, tmp_path, monkeypatch):
    monkeypatch.setenv("SYMEQ_CACHE", str(tmp_path / "cache"))
    evaluated(root / "one", A, -9.0)
    evaluated(root / "two", B, -7.0)
    evaluated(root / "old", B, -7.0, content="of other weights")
    at = opened(PAGE, a="own:one", b="own:two")
    bodies = " ".join(h.proto.body for h in at.get("html"))
    assert "B better by 2.00 ± 0.14" in bodies
    assert "a &lt;b&gt;" in bodies
    assert "last probe" not in texts(at)
    at = opened(PAGE, a="own:one", b="own:old")
    assert "last probe" in texts(at)
    assert at.button(key="evaluate").label == "Evaluate B"


def test_a_damaged_config_is_told_and_the_other_pair_is_shown(root):
    folder = root / "hurt"
    shutil.copytree(gallery.SHIPPED / A, folder)
    (folder / "config.json").write_text("{")
    at = opened(PAGE, a="own:hurt", b=B)
    assert at.error[0].value.startswith("A: ")
    assert [p["letter"] for p in packed(at)["pairs"]] == ["B"]


@pytest.mark.parametrize("key", ["nothing", "../../etc", "own:../x", "x" * 500])
def test_an_unknown_pair_in_the_url_is_one_sentence(key):
    at = opened(PAGE, a=key, b=B)
    assert len(at.error) == 1
    assert "There is no pair" in at.error[0].value
    assert len(packed(at)["pairs"]) == 2
    at.run()
    assert not at.error


@pytest.mark.parametrize(
    "query", [{"show": "nonsense"}, {"t": "x", "view": "?"}, {"c": ""}, {"curves": "9", "pin": "-"}]
)
def test_nonsense_in_the_url_does_no_harm(query):
    packed(opened(PAGE, a=A, b=B, **query))


def test_a_link_brings_the_zoom_of_curves():
    at = opened(PAGE, a=A, b=B, zoom="L_q,1000,2000,-30,-20.5")
    assert domains(at).count({"x": [1000, 2000], "y": [-30, -20.5]}) == 1
    assert [set(d) for d in domains(at)].count({"y"}) == 2, "the others are as usual"
    assert at.query_params["zoom"] == "L_q,1000,2000,-30,-20.5"


def test_curves_that_a_link_asks_for_in_vain_are_told():
    told = [w.value for w in opened(PAGE, a=A, b=B, curves="q", axis="w").warning]
    assert [w.value for w in opened(PAGE, a=A, b=B, zoom="L_q,1").warning] == [
        "Zoom: the link asks for 'L_q,1', which is none; shown instead: all."
    ]
    assert ["Curves: the link asks for 'q'" in t for t in told] == [True, False]
    assert ["Axis: the link asks for 'w'" in t for t in told] == [False, True]
