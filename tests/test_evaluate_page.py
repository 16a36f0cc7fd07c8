"""Evaluating from the app: figures side by side, the button that measures them, what is under way, and what failed."""

import shutil

import pytest

from symeq_core import evaluation, files, measured
from symeq_core.gallery import SHIPPED, Pair
from symeq_core.measured import Options
from symeq_core.store import Entry

from .browser import needs_chromium, settled
from .test_pages import opened, texts
from .test_pages import root as root  # a fixture: a folder of runs of its own

PAGE = "pages/3_Compare.py"
GAME, ELBO = "digits-bits-symmetric", "digits-bits-elbo"
TINY = Options(n=100, chain=10, limit=60)


def copied(root, name):
    """An own pair that has not been evaluated."""
    shutil.copytree(SHIPPED / name, root / name, ignore=shutil.ignore_patterns("metrics.json", "snapshots"))
    return Pair(f"own:{name}", root / name)


@pytest.fixture
def own(root, tmp_path, monkeypatch):
    monkeypatch.setenv("SYMEQ_CACHE", str(tmp_path / "cache"))
    return [copied(root, name) for name in (GAME, ELBO)]


def shown(at):
    return " ".join(e.proto.body for e in at.get("html"))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Small evaluations by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SYMEQ_CACHE", str(tmp_path_factory.mktemp("cache")))
        return {name: evaluation.evaluate(SHIPPED / name, TINY) for name in (GAME, ELBO)}


@pytest.fixture
def evaluated(own, small):
    """Own pairs whose small evaluations are stored as if they were whole ones."""
    for pair in own:
        files.write_json(measured.stored(pair.folder).json, small[pair.folder.name])
    return own


def test_pairs_without_figures_offer_to_measure_them_each_once(own, monkeypatch):
    started = []
    monkeypatch.setattr(Entry, "launch", lambda self, arguments: started.append(arguments))
    at = opened(PAGE, a=own[0].key, b=own[1].key)
    assert "A and B have not been evaluated yet" in texts(at)
    at.button(key="evaluate").click().run()
    assert not at.exception
    assert [a for a in started if a[0] == "evaluate"] == [["evaluate", str(p.folder.resolve())] for p in own]


def test_figures_of_both_are_side_by_side_with_their_meaning(evaluated):
    own = evaluated
    at = opened(PAGE, a=own[0].key, b=own[1].key)
    html = shown(at)
    found = [measured.found(p) for p in own]
    for group, figures in found[0]["figures"].items():
        for name, f in figures.items():
            assert measured.shown(f) in html
            assert measured.shown(found[1]["figures"][group][name]) in html
    assert "Extractor: symeq-digits-" in html
    assert "lower is better" in html
    assert "seed 0" in html
    assert not any(b.key == "evaluate" for b in at.button)


def test_what_is_under_way_is_shown_and_what_failed_is_told(own):
    entry = measured.stored(own[0].folder)
    with entry.computing() as tell:
        tell("round trips of 898 images", 0.25)
        at = opened(PAGE, a=own[0].key, b=own[1].key)
        assert "Evaluating A: round trips of 898 images" in " ".join(p.proto.text for p in at.get("progress"))
        assert not any(b.key == "evaluate" for b in at.button)
    with pytest.raises(ZeroDivisionError), entry.computing():
        raise ZeroDivisionError("the disk is full")
    at = opened(PAGE, a=own[0].key, b=own[1].key)
    assert any("A could not be evaluated: the disk is full" in e.value for e in at.error)
    assert at.button(key="evaluate")


def test_the_gallery_shows_headlines_of_what_was_measured(evaluated):
    html = shown(opened("app.py"))
    for name, figure in measured.on_card(measured.found(evaluated[0])).items():
        assert name in html
        assert f">{measured.shown(figure).partition(' ')[0].replace('-', '−')} <" in html


@needs_chromium
def test_the_button_measures_and_the_figures_appear(app, page):
    pair = copied(app.runs, "digits-bits-wake-sleep")
    page.set_default_timeout(120_000)
    page.goto(app.url(f"/Compare?a={pair.key}&b={pair.key}"))
    settled(page)
    page.get_by_role("button", name="Evaluate A").click()
    page.get_by_text("Evaluating A").first.wait_for()
    page.get_by_text("All figures").click(timeout=400_000)
    page.locator(".figures").wait_for()
    assert "inconsistency on dreams" in page.locator(".figures").inner_text()
