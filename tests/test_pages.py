"""Every page under AppTest: with nothing there, with runs, and with what is damaged or unknown."""

import json
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from symeq_core import supervisor
from symeq_core.config import override
from symeq_core.presets import preset
from symeq_core.runs import Run
from symeq_core.worker import Worker

ROOT = Path(__file__).parent.parent
PAGES = ("app.py", *sorted(str(f.relative_to(ROOT)) for f in ROOT.glob("pages/*.py")))


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    """A folder of runs, and no process started by looking at a page."""
    monkeypatch.setenv("SYMEQ_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(supervisor, "ensure", lambda root: None)
    return tmp_path / "runs"


@pytest.fixture
def done(root):
    changes = {"train.steps": 6, "train.log_every": 2, "train.probe_every": 3, "train.snapshot_every": 3}
    run = Run.create(root / "done", override(preset("digits-ladder-symmetric"), changes))
    Worker(run).work()
    return run


def opened(page, **query):
    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=30)
    if page != "app.py":  # page links need the whole app
        at.switch_page(page)
    for k, v in query.items():
        at.query_params[k] = v
    at.run()
    assert not at.exception, at.exception
    return at


def texts(at):
    return " ".join(str(e.value) for kind in ("markdown", "caption", "error", "warning", "info") for e in at.get(kind))


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens_with_nothing_there(page, root):
    at = opened(page)
    assert texts(at).strip()
    assert not list(root.glob("*/config.json"))


def test_runs_teaches_when_it_is_empty():
    assert "No run yet" in texts(opened("pages/2_Runs.py"))


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens_with_a_run_and_a_damaged_one(page, done, root):
    (root / "broken").mkdir()
    (root / "broken" / "config.json").write_text("{")
    (root / "broken" / "events.jsonl").write_text("{\x00")
    opened(page)


def test_a_damaged_run_is_told_and_the_others_are_there(done, root):
    (root / "broken").mkdir()
    (root / "broken" / "config.json").write_text("{")
    (root / "broken" / "events.jsonl").write_text("")
    shown = texts(opened("pages/2_Runs.py"))
    assert "digits-ladder-symmetric" in shown
    assert "damaged" in shown


@pytest.mark.parametrize("name", ["nothing", "../../etc", "a/b", "", "x" * 500, "done\n"])
def test_an_unknown_run_in_the_url_is_one_sentence_and_the_rest_works(name, done):
    at = opened("pages/1_Train.py", run=name)
    if name:
        assert len(at.error) == 1
        assert "\n" not in at.error[0].value
    else:
        assert at.button(key="start")


def test_a_finished_run_shows_its_numbers_and_curves(done):
    at = opened("pages/1_Train.py", run="done")
    metrics = {m.label: m.value for m in at.metric}
    assert metrics["Iteration"] == "6"
    probe = [e for e in done.events() if e["event"] == "probe"][-1]["figures"]
    for name in ("L_p", "L_q", "ELBO"):
        assert metrics[f"{name}, nats"] == f"{probe[name]['value']:.2f}"
    charts = at.get("vega_lite_chart") or at.get("arrow_vega_lite_chart")
    assert len(charts) == 3
    spec = json.loads(charts[0].proto.spec)
    assert spec["layer"]


def test_what_is_chosen_is_what_is_trained(root, monkeypatch):
    started = []
    monkeypatch.setattr(supervisor, "submit", lambda root, run, changes=None: started.append(Path(run)))
    at = opened("pages/1_Train.py", learner="ELBO", model="Reverse", steps="700", seed="5")
    at.button(key="start").click().run()
    assert not at.exception
    config = Run.open(started[0]).config()
    assert (config.learner.name, config.model.kind, config.train.steps, config.seed) == ("elbo", "reverse", 700, 5)
    assert started[0].name in at.query_params["run"]


@pytest.mark.parametrize(
    "query", [{"learner": "nonsense"}, {"steps": "-3"}, {"lr": "x"}, {"data": "1"}, {"moves_p": "0", "moves_q": "0"}]
)
def test_nonsense_in_the_url_does_no_harm(query):
    opened("pages/1_Train.py", **query)


def test_a_choice_that_cannot_be_is_told_and_not_started():
    at = opened("pages/1_Train.py", moves_p="0", moves_q="0")
    assert "nobody would ever move" in at.error[0].value
    assert at.button(key="start").disabled


def test_layers_that_cannot_be_are_told():
    at = opened("pages/1_Train.py")
    at.text_input(key="layers flat digits").set_value("bits:3").run()
    assert not at.exception
    assert at.error
    assert at.button(key="start").disabled


def test_rename_copy_delete_and_undo(done, root):
    at = opened("pages/2_Runs.py")
    at.text_input(key="name done").set_value("my pair").run()
    at.button(key="rename done").click().run()
    assert done.config().name == "my pair"
    at.button(key="copy done").click().run()
    assert len(list(root.glob("*/config.json"))) == 2
    at.button(key="delete done").click().run()
    assert not done.folder.exists()
    at.button(key="undo").click().run()
    assert not at.exception
    assert done.config().name == "my pair"


def test_watching_moves_no_settings_of_a_run(done):
    before = (done.folder / "config.json").read_bytes()
    at = opened("pages/1_Train.py", run="done", learner="ELBO", steps="9")
    assert not at.exception
    assert (done.folder / "config.json").read_bytes() == before


def test_home_starts_the_demo(root, monkeypatch):
    started = []
    monkeypatch.setattr(supervisor, "submit", lambda root, run, changes=None: started.append(Path(run)))
    at = opened("app.py")
    at.button(key="watch").click().run()
    assert Run.open(started[0]).config() == preset("digits-ladder-symmetric")


def test_a_disk_that_refuses_is_one_sentence(root, monkeypatch):
    root.mkdir(parents=True)

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    at = opened("pages/1_Train.py")
    monkeypatch.setattr("symeq_core.files.os.replace", full)
    at.button(key="start").click().run()
    assert not at.exception
    assert "No space left on device" in at.error[0].value


def test_home_is_quick_to_import():
    """The way to the first paint has no torch, umap or sklearn on it."""
    import subprocess
    import sys

    code = (
        "import sys; from streamlit.testing.v1 import AppTest;"
        "import symeq_core.supervisor as s; s.ensure = lambda r: 0;"
        "at = AppTest.from_file('app.py', default_timeout=30).run(); assert not at.exception;"
        "print([m for m in ('torch', 'umap', 'sklearn') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert out.stdout.strip().splitlines()[-1] == "[]"
