"""Every page under AppTest: with nothing there, with runs, and with what is damaged or unknown."""

import io
import json
import os
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from symeq_core import files, folders, shelf, supervisor
from symeq_core.config import override
from symeq_core.errors import SymeqError
from symeq_core.presets import preset
from symeq_core.runs import Run
from symeq_core.worker import Worker
from ui import controls, form, runlist, words

ROOT = Path(__file__).parent.parent
PAGES = ("app.py", *sorted(str(f.relative_to(ROOT)) for f in ROOT.glob("pages/*.py")))


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    """A folder of runs, no results computed before, and no process started by looking at a page."""
    monkeypatch.setenv("SYMEQ_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("SYMEQ_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(supervisor, "ensure", lambda root: None)
    return tmp_path / "runs"


@pytest.fixture
def done(root):
    changes = {"train.steps": 6, "train.log_every": 2, "train.probe_every": 3, "train.snapshot_every": 3}
    run = Run.create(root / "done", override(preset("digits-ladder-symmetric"), changes))
    Worker(run).work()
    return run


def opened(page, /, **query):
    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=30)
    if page != "app.py":  # page links need the whole app
        at.switch_page(page)
    for k, v in query.items():
        at.query_params[k] = v
    at.run()
    assert not at.exception, at.exception
    return at


def charts(at):
    """The specifications of all charts on the page."""
    return [json.loads(c.proto.spec) for c in at.get("vega_lite_chart") or at.get("arrow_vega_lite_chart")]


def domains(at):
    """Where the axes of each chart of layers end, where that is fixed: {"x": ..., "y": ...}."""
    found = []
    for chart in charts(at):
        axes = [(a, e[a].get("scale", {}).get("domain")) for e in (c["encoding"] for c in chart["layer"]) for a in "xy"]
        found.append({a: domain for a, domain in axes if domain})
    return found


def texts(at):
    kinds = ("markdown", "caption", "error", "warning", "info", "success")
    return " ".join(str(e.value) for kind in kinds for e in at.get(kind))


def labelled(widgets, label):
    return next(w for w in widgets if w.label == label)


@pytest.fixture
def started(monkeypatch):
    """The folders of runs that were put in the queue, which nobody serves."""
    found = []
    monkeypatch.setattr(supervisor, "submit", lambda root, run, changes=None: found.append(Path(run)))
    return found


@pytest.fixture
def served(monkeypatch):
    """Runs that are put in the queue are trained at once, to their end or failure."""

    def submit(root, run, changes=None):
        with suppress(SymeqError):
            Worker(Run(run), changes=changes).work()

    monkeypatch.setattr(supervisor, "submit", submit)


def pictures(folder, n=12):
    """A folder with so many real images."""
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(n):
        pixels = np.random.default_rng(k).integers(0, 256, (9, 9), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{k}.png")
    return folder


def zipped(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as z:
        for name, content in members.items():
            z.writestr(name, content)
    return buffer.getvalue()


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


def test_what_is_chosen_is_what_is_trained(started):
    at = opened("pages/1_Train.py", learner="ELBO", model="Reverse", steps="700", seed="5")
    at.button(key="start").click().run()
    assert not at.exception
    config = Run.open(started[0]).config()
    assert (config.learner.name, config.model.kind, config.train.steps, config.seed) == ("elbo", "reverse", 700, 5)
    assert started[0].name in at.query_params["run"]


def test_a_link_reproduces_every_choice_of_the_form(started):
    """All is set by hand on one page; what its URL then says is opened afresh, and both start the same.

    Bound widgets are put into the URL by the browser alone; tests/test_browser.py shows that.
    """
    at = opened("pages/1_Train.py")
    at.button_group(key="model").set_value("reverse").run()
    at.button_group(key="learner").set_value("wake_sleep").run()
    numbers = {
        "Iterations": 1234,
        "Batch": 33,
        "Seed": 7,
        "Adam step of p": 2e-4,
        "Adam step of q": 3e-4,
        "Moves of p an iteration": 2,
        "Moves of q an iteration": 3,
        "Cooldown, iterations": 99,
        "Labels shown": 50,
    }
    for label, value in numbers.items():
        labelled(at.number_input, label).set_value(value).run()
    labelled(at.text_input, "Layers of code, z0 first").set_value("bernoulli:4 categorical:3x5").run()
    labelled(at.text_input, "Hidden widths").set_value("40 30").run()
    at.selectbox(key="order").set_value("simultaneous").run()
    bound = {"model": "Reverse", "learner": "Wake-sleep", "seed": "7", "order": "simultaneous"}
    link = bound | dict(at.query_params.items())
    at.button(key="start").click().run()
    opened("pages/1_Train.py", **link).button(key="start").click().run()
    a, b = (Run.open(folder).config() for folder in started)
    assert a == b
    assert (a.train.steps, a.train.batch, a.seed, a.train.lr, a.train.lr_q) == (1234, 33, 7, 2e-4, 3e-4)
    assert (a.train.moves_p, a.train.moves_q, a.train.schedule, a.train.cooldown) == (2, 3, "simultaneous", 99)
    assert a.data.labelled == 50
    assert (list(map(str, a.model.latents)), a.model.hidden) == (["bernoulli:4", "categorical:3x5"], (40, 30))
    assert (a.model.kind, a.learner.name) == ("reverse", "wake_sleep")


def test_an_implicit_prior_is_in_the_link_and_refused_to_the_elbo(started):
    at = opened("pages/1_Train.py", prior=form.PRIORS["implicit:few-hot"])
    at.button(key="start").click().run()
    assert Run.open(started[0]).config().model.prior == "implicit:few-hot"
    at = opened("pages/1_Train.py", prior=form.PRIORS["implicit:few-hot"], learner="ELBO")
    assert "needs the density" in at.error[0].value
    assert at.button(key="start").disabled


def test_settings_of_one_model_do_not_stick_to_another(started):
    at = opened("pages/1_Train.py", layers="bernoulli:7", steps="77", lr="2e-05")
    at.button_group(key="model").set_value("ladder").run()
    assert not at.error
    at.button(key="start").click().run()
    config = Run.open(started[0]).config()
    assert config == override(preset("digits-ladder-symmetric"), {"train.lr": 2e-5, "train.lr_q": 1e-3})


@pytest.mark.parametrize("name", form.PRESETS)
def test_a_preset_starts_as_it_is(name, started):
    at = opened("pages/1_Train.py", preset=name)
    assert not at.error
    at.button(key="start").click().run()
    assert Run.open(started[0]).config() == preset(name)


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
    labelled(at.text_input, "Layers of code, z0 first").set_value("bits:3").run()
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


# --- data that are not there -----------------------------------------------------------------------------------


def one_sentence(at):
    """The only error of the page."""
    assert not at.exception
    assert len(at.error) == 1
    assert "\n" not in at.error[0].value
    return at.error[0].value


def offline(monkeypatch):
    import torchvision

    def refuse(*args, **kwargs):
        raise OSError("[Errno -3] Temporary failure in name resolution")

    for kind in ("MNIST", "CelebA"):
        monkeypatch.setattr(getattr(torchvision.datasets, kind), "download", refuse)


@pytest.mark.parametrize(
    ("data", "name"), [("MNIST", "MNIST"), ("Fashion-MNIST", "FashionMNIST"), ("CelebA", "CelebA")]
)
def test_data_that_cannot_be_downloaded_are_one_sentence_and_leave_no_run(
    data, name, root, tmp_path, monkeypatch, served
):
    monkeypatch.setenv("SYMEQ_DATA", str(tmp_path / "none"))
    offline(monkeypatch)
    at = opened("pages/1_Train.py", data=data)
    at.button(key="start").click().run()
    sentence = one_sentence(at)
    assert name in sentence
    assert "set SYMEQ_DATA" in sentence
    assert not list(root.glob("*/config.json"))
    assert not at.button(key="start").disabled


def test_a_download_that_fails_late_is_a_failed_run_with_a_way_to_try_again(root):
    run = Run.create(root / "late", preset("mnist-flat-symmetric"))
    run.append({"event": "failed", "step": 0, "why": "MNIST is missing: try again."})
    at = opened("pages/1_Train.py", run="late")
    assert one_sentence(at) == "MNIST is missing: try again."
    assert next(b["label"] for b in controls.buttons("failed", begun=False)) == "Retry"


def test_a_folder_that_is_not_there_is_told_before_anything_starts(root, tmp_path):
    where = {"data": "Own images", "source": "A folder on this machine"}
    at = opened("pages/1_Train.py", **where, path=str(tmp_path / "nowhere"))
    assert "nowhere" in one_sentence(at)
    assert at.button(key="start").disabled
    at = opened("pages/1_Train.py", **where, path=str(pictures(tmp_path / "few", 3)))
    assert "too few images" in one_sentence(at)
    at = opened("pages/1_Train.py", **where)
    assert not at.error
    assert at.button(key="start").disabled


def test_own_images_from_a_folder_are_trained_on(root, tmp_path, served, monkeypatch):
    monkeypatch.setenv("SYMEQ_DATA", str(tmp_path / "data"))
    path = str(pictures(tmp_path / "mine"))
    where = {"data": "Own images", "source": "A folder on this machine", "path": path, "side": "8", "colour": "Colour"}
    at = opened("pages/1_Train.py", **where, steps="10", batch="4")
    assert "12 images, without labels" in texts(at)
    at.button(key="start").click().run()
    assert not at.exception
    run = Run.open(next(root.glob("*/config.json")).parent)
    assert run.state() == "finished"
    assert run.config().model.x_shape == (3, 8, 8)


def test_own_images_from_a_zip_are_kept_and_in_the_link(root, tmp_path, started):
    folder = pictures(tmp_path / "p")
    content = zipped({f"{k}.png": (folder / f"{k}.png").read_bytes() for k in range(12)})
    at = opened("pages/1_Train.py", data="Own images")
    at.file_uploader(key="zip").set_value(("my cats.zip", content, "application/zip")).run()
    assert not at.exception
    assert "12 images" in texts(at)
    name = at.query_params["images"]
    again = opened("pages/1_Train.py", data="Own images", images=name)
    again.button(key="start").click().run()
    assert Run.open(started[0]).config().data.path == str(root / folders.UPLOADS / name)


def test_a_zip_that_is_none_is_one_sentence_and_the_form_still_works(root):
    at = opened("pages/1_Train.py", data="Own images")
    at.file_uploader(key="zip").set_value(("cats.zip", b"nothing of the kind", "application/zip")).run()
    assert "no zip at all" in one_sentence(at)
    assert at.button(key="start").disabled
    at.button_group(key="data").set_value("digits").run()
    assert not at.error
    assert not at.button(key="start").disabled


def test_images_that_were_never_uploaded_here_are_told(root):
    assert "upload their zip again" in one_sentence(opened("pages/1_Train.py", data="Own images", images="cats-0123"))


# --- the list of runs ------------------------------------------------------------------------------------------


def run_of(root, name, learner="symmetric", *events):
    run = Run.create(root / name, override(preset(f"digits-flat-{learner}"), {"name": name}))
    for event in events:
        run.append(event)
    return run


@pytest.fixture
def several(root):
    """Eight runs in several states, the last made first."""
    start = {"event": "start", "step": 0}
    for k in range(5):
        run_of(root, f"done {k}", "elbo", start, {"event": "finished", "step": 100 * k})
    measured = {"event": "metrics", "step": 30, "seconds": 1.0, "utility": {"p": -1.0}, "grad_norm": {}}
    run_of(root, "dead", "symmetric", start, measured)
    run_of(root, "bad", "symmetric", {"event": "failed", "step": 0, "why": "no data"})
    run_of(root, "fresh", "wake-sleep")
    for k, folder in enumerate(sorted(root.iterdir())):
        os.utime(folder, (1000 - k, 1000 - k))


def shown(**query):
    at = opened("pages/2_Runs.py", **query)
    return [m.value.split("**")[1] for m in at.markdown if m.value.startswith("**") and ":small" in m.value]


def test_runs_are_searched_filtered_and_sorted_by_the_url(several):
    assert set(shown()) == {*(f"done {k}" for k in range(5)), "dead", "bad", "fresh"}
    assert shown(search="elbo 3") == ["done 3"]
    assert set(shown(state=runlist.SHOW["broken"])) == {"dead", "bad"}
    assert shown(sort=runlist.SORT["step"])[:3] == ["done 4", "done 3", "done 2"]
    assert shown(sort=runlist.SORT["name"])[0] == "bad"
    assert shown(sort=runlist.SORT["old"]) == shown()[::-1]
    assert "No run is like that" in texts(opened("pages/2_Runs.py", search="nonsense"))


def test_many_runs_come_in_pages(root):
    for k in range(45):
        run_of(root, f"run {k:02}")
    assert len(shown(sort=runlist.SORT["name"])) == runlist.PAGE
    assert shown(sort=runlist.SORT["name"], page="3") == [f"run {k}" for k in range(40, 45)]
    assert "41 to 45 of 45" in texts(opened("pages/2_Runs.py", page="3"))


def test_the_events_of_a_run_are_read_once(several, root, monkeypatch):
    read = []
    monkeypatch.setattr(Run, "events", lambda self: read.append(self) or [])
    assert len(shown()) == 8
    assert not read


def test_names_of_a_persons_own_have_no_meaning_in_markdown(root):
    run = run_of(root, "plain")
    shelf.rename(run, "a_*b*_ $x$ [link](http://x) <b>")
    assert r"a\_\*b\*\_ \$x\$" in texts(opened("pages/2_Runs.py"))


def test_a_deleted_run_can_be_brought_back_later(done, root):
    shelf.delete(done)
    at = opened("pages/2_Runs.py")
    at.button(key=f"restore {shelf.trash(root)[0].key}").click().run()
    assert not at.exception
    assert done.config().name == "digits-ladder-symmetric"


def imported(content, name="it.zip"):
    at = opened("pages/2_Runs.py")
    at.file_uploader(key="import").set_value((name, content, "application/zip")).run()
    at.button(key="do import").click().run()
    assert not at.exception
    return at


def test_an_exported_run_is_imported(done, root):
    at = imported(shelf.export_zip(done))
    assert "done-2 was imported: it is in the list below." in texts(at)
    assert Run.open(root / "done-2").config() == done.config()


def test_an_imported_checkpoint_says_where_it_is(done, root):
    members = {
        "config.json": (done.folder / "config.json").read_bytes(),
        "model.safetensors": done.weights.read_bytes(),
    }
    at = imported(zipped({f"mine/{k}": v for k, v in members.items()}))
    assert "mine was imported. It is a finished checkpoint" in texts(at)
    assert (root / "mine" / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"nothing", "no zip at all"),
        (zipped({"notes.txt": b"hello"}), "holds no run"),
        (zipped({"../config.json": b"{}"}), "not a safe name"),
        (zipped({"run/config.json": b"{}", "run/events.jsonl": b"\0" * (3 << 20)}), "times as large"),
        (zipped({"run/config.json": b'{"seed": "x"}'}), "seed"),
    ],
)
def test_what_is_no_run_is_not_imported_and_nothing_is_lost(content, why, done, root):
    before = sorted(f.name for f in root.iterdir())
    at = imported(content)
    assert why in one_sentence(at)
    assert sorted(f.name for f in root.iterdir()) == before
    assert "digits-ladder-symmetric" in texts(at)


def test_too_large_an_import_is_told(done, root, monkeypatch):
    monkeypatch.setattr(shelf, "LIMIT_FILES", 3)
    assert "more than 3 files" in one_sentence(imported(shelf.export_zip(done)))


@pytest.mark.parametrize("deed", ["rename", "copy", "delete"])
def test_a_disk_that_refuses_is_told_at_the_row_and_nothing_is_lost(deed, done, root, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(30, "Read-only file system")

    before = {f: f.read_bytes() for f in done.folder.rglob("*") if f.is_file() and f.name != "lock"}
    at = opened("pages/2_Runs.py")
    if deed == "rename":
        at.text_input(key="name done").set_value("other").run()
    for name in ("replace", "rename"):
        monkeypatch.setattr(files.os, name, full)
    at.button(key=f"{deed} done").click().run()
    assert not at.exception
    assert len(at.toast) == 1
    assert "Read-only file system" in at.toast[0].value
    assert {f: f.read_bytes() for f in before} == before


def test_a_run_killed_while_paused_says_what_resume_does(root):
    events = ({"event": "start", "step": 0}, {"event": "paused", "step": 7})
    run_of(root, "paused", "symmetric", *events)
    at = opened("pages/1_Train.py", run="paused")
    assert "The run was paused, and saved then" in at.warning[0].value
    assert "**Resume** goes on training" in at.warning[0].value


# --- the controls of a run -------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", sorted(words.STATES))
def test_the_same_buttons_are_there_in_every_state(state):
    found = controls.buttons(state)
    assert [b["do"] for b in found] == ["go", "pause", "stop", "p", "q", "both"]
    enabled = {b["do"] for b in found if b["enabled"]}
    if state in controls.LIVE:
        assert len(enabled) == 6
    else:
        assert enabled <= ({"stop"} if state == "queued" else {"go"})


def test_a_press_means_what_the_run_can_do_now(root, monkeypatch):
    run, sent, queued = run_of(root, "it"), [], []
    monkeypatch.setattr(Run, "send", lambda self, do, **how: sent.append((do, how.get("players"))))
    monkeypatch.setattr(supervisor, "submit", lambda root, run, changes=None: queued.append(run))
    monkeypatch.setattr(supervisor, "cancel", lambda root, name: queued.remove(name))
    for state, do in (("stopped", "go"), ("paused", "go"), ("running", "go"), ("running", "pause"), ("paused", "q")):
        monkeypatch.setattr(supervisor, "status", lambda root, folder, state=state: state)
        controls.act(root, run, do)
    assert queued == [run.folder]
    assert sent == [("resume", None), ("resume", None), ("pause", None), ("step", ["q"])]
    queued[:] = ["it"]
    monkeypatch.setattr(supervisor, "status", lambda root, folder: "queued")
    controls.act(root, run, "stop")
    assert queued == []


def test_a_run_that_is_gone_while_it_is_watched_is_one_sentence(done, root):
    """A live view reruns without its page, which would tell what is amiss."""
    code = (
        "from pathlib import Path; from symeq_core.runs import Run; from ui import live;"
        f"live.show(Path({str(root)!r}), Run(Path({str(root / 'gone')!r})))"
    )
    at = AppTest.from_string(code, default_timeout=30).run()
    said = [e.value for e in at.error]
    assert not at.exception
    assert len(said) == 1
    assert "gone" in said[0]


@pytest.mark.parametrize("page", ["app.py", "pages/2_Runs.py", "pages/5_Round_trip.py"])
def test_a_damaged_picture_is_left_out(page, done):
    for picture in done.folder.rglob("*.png"):
        picture.write_bytes(b"no picture")
    opened(page, **({"a": "own:done"} if "Round" in page else {}))


def test_a_refusal_quotes_a_link_as_it_is_written():
    at = opened("pages/3_Compare.py", a="![x](http://x/y.png) $z$ <b>")
    assert r"!\[x\](http://x/y.png) \$z\$ \<b>" in at.error[0].value


def test_a_badge_has_no_html_of_others():
    from ui import theme

    assert "<b>" not in theme.badge("<b>", theme.NEUTRAL)


def test_a_tiny_step_of_a_run_can_be_looked_at(done, root):
    changed = override(done.config(), {"train.lr": 1e-12})
    run = Run.create(root / "tiny", changed)
    assert not opened("pages/1_Train.py", run=run.folder.name).error
