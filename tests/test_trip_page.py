"""The round-trip page under AppTest: starts, links, statistics, and what is missing or damaged."""

import json
import shutil

import pytest

from symeq_core import strokes, tripstore
from symeq_core.config import override
from symeq_core.datasets import DataError
from symeq_core.gallery import SHIPPED
from symeq_core.presets import preset
from symeq_core.runs import Run
from symeq_core.store import Entry
from symeq_core.worker import Worker
from ui import pairs

from .test_curves import LABELS, Dark, X
from .test_pages import charts, domains, opened, texts
from .test_pages import root as root  # a fixture: a folder of runs of its own

PAGE = "pages/5_Round_trip.py"
PAIRS = {"a": "digits-bits-symmetric", "b": "digits-bits-elbo"}
THREE = strokes.encode([strokes.np.array([[0.3, 0.2], [0.7, 0.25], [0.45, 0.48], [0.7, 0.7], [0.3, 0.85]])])


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SYMEQ_CACHE", str(tmp_path / "cache"))


def given(at, name):
    """What a component was given."""
    found = [c.proto for c in at.get("bidi_component") if c.proto.component_name.endswith(name)]
    return json.loads(found[0].json) if found else None


@pytest.mark.parametrize("start", ["Every class", "One image", "Random codes", "Noise"])
def test_every_start_has_a_film_of_both(start):
    at = opened(PAGE, **PAIRS, start=start)
    film = given(at, "film")
    assert [p["name"] for p in film["pairs"]] == ["A", "B"]
    assert film["k"] is None
    for p in film["pairs"]:
        assert (p["n"], p["h"], p["w"]) == (10, 8, 8)
        assert film["ks"][p["frames"] - 1] == 4, "the first frames are there at once"
        assert len(p["seen"]) == p["frames"]
        assert (p["origin"] is None) == (start == "Noise")
    a, b = film["pairs"]
    assert (a["mean"] == b["mean"]) is False
    if start == "Every class":
        assert a["origin"] == list(range(10))


@pytest.mark.parametrize("start", ["Every class", "One image"])
def test_before_the_data_are_there_chains_start_from_the_images_of_snapshots(start, tmp_path, monkeypatch):
    monkeypatch.setenv("SYMEQ_DATA", str(tmp_path / "data"))
    at = opened(PAGE, start=start)
    assert [at.query_params[k] for k in "ab"] == ["mnist-reverse-symmetric", "mnist-reverse-elbo"]
    a, b = given(at, "film")["pairs"]
    assert (a["n"], a["h"], a["w"]) == (10, 28, 28)
    assert a["origin"] == b["origin"] == (list(range(10)) if start == "Every class" else [8] * 10)
    assert "start from the 64 test images of its snapshots" in texts(at)
    assert [b.label for b in at.button if b.label.startswith("Download")] == ["Download MNIST"]
    assert not (tmp_path / "data").exists(), "nothing was downloaded"


def test_a_download_that_fails_is_told_and_the_film_stays(tmp_path, monkeypatch):
    monkeypatch.setenv("SYMEQ_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(
        "symeq_core.datasets._torchvision", lambda *args, **options: (_ for _ in ()).throw(DataError("No network."))
    )
    at = opened(PAGE)
    next(b for b in at.button if b.label == "Download MNIST").click().run()
    assert [e.value for e in at.error] == ["No network."]
    assert given(at, "film")["pairs"][0]["n"] == 10


def test_other_pages_keep_pairs_of_their_own_until_some_are_chosen():
    at = opened(PAGE)
    assert pairs.KEPT not in at.session_state
    assert at.session_state["a"] == "mnist-reverse-symmetric"
    at.selectbox(key="a").select("digits-bits-symmetric").run()
    assert at.session_state[pairs.KEPT] == {"a": "digits-bits-symmetric", "b": "digits-bits-elbo"}
    at.selectbox(key="a").select("mnist-reverse-symmetric").run()
    assert at.session_state[pairs.KEPT]["a"] == "mnist-reverse-symmetric"


def test_a_against_itself_is_the_same_film():
    film = given(opened(PAGE, a=PAIRS["a"], b=PAIRS["a"], seed="3"), "film")
    assert film["pairs"][0]["sample"] == film["pairs"][1]["sample"]


def test_a_class_is_begun_with_its_first_image():
    at = opened(PAGE, **PAIRS, start="One image", image="1")
    pills = next(g for g in at.get("button_group") if "all" in g.options)
    pills.set_value("4").run()
    four = given(at, "picker")["chosen"]
    assert given(at, "film")["pairs"][0]["origin"] == [4] * 10
    assert given(at, "picker")["indices"][0] == four


def test_what_is_said_beside_films_of_one_image_is_said_to_be_of_all():
    assert "Over 360 test images: after 1,000 round trips" in texts(opened(PAGE, **PAIRS, start="One image"))
    assert "Over 360 test images" not in texts(opened(PAGE, **PAIRS))


def test_a_drawing_tells_what_it_is_read_as():
    at = opened(PAGE, **PAIRS, start="Drawing", ink=THREE)
    assert "Read as 3 (" in given(at, "pad")["seen"][0]["text"]
    assert given(at, "film")["anew"]


def test_from_noise_the_matrices_say_why_they_are_not_there():
    assert "Which class becomes which is not known: pixel noise is of no class" in texts(
        opened(PAGE, **PAIRS, start="Noise")
    )


def test_a_link_brings_image_seed_step_and_display():
    at = opened(PAGE, **PAIRS, start="One image", image="17", seed="5", k="30", frames="sample", speed="2", more="true")
    film = given(at, "film")
    assert (film["k"], film["show"], film["speed"]) == (30, "sample", "2")
    assert [e.proto.expanded for e in at.expander] == [True]
    assert given(at, "picker")["chosen"] == 17
    other = given(opened(PAGE, **PAIRS, start="One image", image="17", seed="6"), "film")
    assert other["id"] != film["id"]
    assert other["pairs"][0]["sample"] != film["pairs"][0]["sample"]


@pytest.mark.parametrize(
    "query",
    [
        {"k": "x"},
        {"k": "-3"},
        {"frames": "x"},
        {"speed": "3"},
        {"more": "perhaps"},
        {"start": "x"},
        {"image": "-1"},
        {"seed": "a"},
        {"k": "9999"},
        {"mk": "2"},
        {"seed": "5.5"},
        {"zoom": "frechet,1,2,3"},
        {"zoom": "nothing,1,2,3,4"},
    ],
)
def test_nonsense_in_the_url_is_told_and_does_no_harm(query):
    at = opened(PAGE, **PAIRS, **query)
    assert given(at, "film")
    (value,) = query.values()
    told = [w.value for w in at.warning]
    assert len(told) == 1
    assert f"the link asks for '{value}'" in told[0]


def test_a_link_brings_the_zoom_of_curves_and_a_press_takes_it_back():
    at = opened(PAGE, **PAIRS, zoom="retention,1,100,0.5,0.75")
    zoomed = {"x": [1, 100], "y": [0.5, 0.75]}
    assert domains(at).count(zoomed) == 1
    assert at.query_params["zoom"] == "retention,1,100,0.5,0.75"
    at.button(key="whole Round trip").click().run()
    assert zoomed not in domains(at)
    assert "zoom" not in at.query_params


@pytest.mark.parametrize("key", ["start", "mk", "frames", "class", "seed"])
def test_an_empty_value_in_the_link_is_as_if_there_were_none(key):
    assert given(opened(PAGE, **PAIRS, **{key: ""}), "film")


def test_a_whole_link_is_told_nothing_about():
    query = {
        "k": "30",
        "frames": "sample",
        "start": "One image",
        "image": "17",
        "seed": "5",
        "class": "3",
        "mk": "k = 10",
    }
    assert not opened(PAGE, **PAIRS, **query).warning


def test_pairs_of_different_data_are_not_summed_up_as_if_comparable():
    at = opened(PAGE, a=PAIRS["a"], b="mnist-reverse-elbo")
    assert [w.value.partition(":")[0] for w in at.warning] == ["A knows Digits 8×8, B MNIST"]
    assert "times as far" not in texts(at)


def test_a_drawing_in_the_url_is_shown_as_the_model_sees_it_and_starts_the_chains():
    at = opened(PAGE, **PAIRS, start="Drawing", ink=THREE)
    pad = given(at, "pad")
    assert pad["code"] == THREE
    assert [s["side"] for s in pad["seen"]] == [8]
    assert given(at, "film")["pairs"][0]["n"] == 10
    assert not at.error


def test_a_drawing_stays_in_the_address_beside_a_damaged_pair(root):
    (root / "broken").mkdir(parents=True)
    (root / "broken" / "config.json").write_text("{")
    (root / "broken" / "latest.safetensors").write_bytes(b"nonsense")
    at = opened(PAGE, a=PAIRS["a"], b="own:broken", start="Drawing", ink=THREE)
    assert at.error
    assert at.query_params["ink"] == THREE


def test_nothing_drawn_yet_is_a_pad_and_no_film():
    at = opened(PAGE, **PAIRS, start="Drawing")
    assert given(at, "pad")["seen"] == []
    assert given(at, "film") is None


def test_a_drawing_that_is_none_is_one_sentence():
    at = opened(PAGE, **PAIRS, start="Drawing", ink="!!")
    assert [e.value for e in at.error] == ["The drawing in the address is damaged: clear it and draw again."]
    assert given(at, "pad")["code"] == ""


def stored(pairs, start="test", chains=None):
    """Statistics as if they had been computed: of a tiny pair, one of them with all its chains kept."""
    from symeq_core.gallery import Pair
    from symeq_core.models import ModelConfig, build
    from symeq_core.trips import chain_statistics

    p, q = build(ModelConfig(kind="flat", latents="bernoulli:4", x_shape=(1, 3, 4)), seed=0)
    for i, key in enumerate(pairs):
        s = chain_statistics(p, q, X, LABELS, Dark(), ks=(0, 1, 10), start=start)
        if s["retention"]["value"]:
            s["retention"] |= {"value": [1.0, 1.0, [1.0, 0.25][i]], "stderr": [0.0] * 3}
        entry = tripstore.entry(Pair(key, SHIPPED / key).folder, start)
        entry.folder.mkdir(parents=True)
        entry.json.write_text(json.dumps(s))


def test_numbers_that_are_known_are_a_sentence_curves_and_matrices(monkeypatch):
    monkeypatch.setattr("symeq_core.tripstore._beside", lambda pair, start: None)
    stored(PAIRS.values())
    at = opened(PAGE, **PAIRS)
    shown = texts(at)
    assert "A's chains keep the class they started from longer: A 100 ± 0%, B 25 ± 0% at k = 10" in shown
    assert len(charts(at)) == 6 + 2
    assert len(charts(opened(PAGE, **PAIRS, more="true"))) == 6 + 2 + 2, "two more are drawn when they are unfolded"
    assert given(at, "film")["pairs"][0]["frechet"]["ks"] == [1, 2, 11]  # the film shows at k + 1 what is measured at k
    assert not [b for b in at.button if b.key == "measure"]


def test_numbers_of_noise_say_why_nothing_is_kept(monkeypatch):
    monkeypatch.setattr("symeq_core.tripstore._beside", lambda pair, start: None)
    stored(PAIRS.values(), "noise")
    at = opened(PAGE, **PAIRS, start="Noise")
    assert "pixel noise is of no class" in texts(at)
    assert "After 10 round trips from noise, " in texts(at)


def test_numbers_that_are_missing_are_computed_at_a_press(monkeypatch):
    monkeypatch.setattr("symeq_core.tripstore._beside", lambda pair, start: None)
    started = []
    monkeypatch.setattr(Entry, "launch", lambda self, arguments: started.append(arguments))
    at = opened(PAGE, **PAIRS, start="Random codes")
    at.button(key="measure").click().run()
    assert not at.exception
    assert [(a[0], a[1].rpartition("/")[2], a[3]) for a in started] == [
        ("chain", PAIRS["a"], "prior"),
        ("chain", PAIRS["b"], "prior"),
    ]


def test_a_damaged_pair_is_told_and_the_other_plays(root):
    run = Run.create(root / "tiny", override(preset("digits-flat-elbo"), {"train.steps": 2}))
    Worker(run).work()
    (root / "tiny" / "latest.safetensors").write_bytes(b"nonsense")
    at = opened(PAGE, a=PAIRS["a"], b="own:tiny")
    assert [p["name"] for p in given(at, "film")["pairs"]] == ["A"]
    assert any(e.value.startswith("B: ") for e in at.error)


def test_pairs_of_different_data_stand_side_by_side(root, monkeypatch):
    shutil.copytree(SHIPPED / PAIRS["b"], root / "other", ignore=shutil.ignore_patterns("snapshots"))
    config = json.loads((root / "other" / "config.json").read_text())
    (root / "other" / "config.json").write_text(json.dumps(config | {"data": config["data"] | {"name": "mnist"}}))
    monkeypatch.setenv("SYMEQ_DATA", str(root / "nowhere"))
    monkeypatch.setattr("symeq_core.datasets._torchvision", _missing)
    at = opened(PAGE, a=PAIRS["a"], b="own:other")
    assert [p["name"] for p in given(at, "film")["pairs"]] == ["A"]
    assert any("no such data here" in e.value for e in at.error)
    at = opened(PAGE, a=PAIRS["a"], b="own:other", start="Noise")
    assert [p["name"] for p in given(at, "film")["pairs"]] == ["A", "B"], "noise needs no data"


def _missing(*args, **options):
    from symeq_core.datasets import DataError

    raise DataError("There is no such data here.")
