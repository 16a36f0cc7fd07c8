"""The command line: what it does, what it prints, and its one sentence and exit code where it can't."""

import errno
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from symeq_core import cli, files
from symeq_core.config import from_dict, to_dict
from symeq_core.presets import PRESETS, preset
from symeq_core.runs import Run

ROOT = Path(__file__).parent.parent
TINY = ("--set", "threads=1", "--set", "hidden=8", "--set", "batch=16")
COMMANDS = ("train", "evaluate", "train-extractor", "sample", "presets", "import-authors", "runs")


@pytest.fixture(autouse=True)
def _home(monkeypatch, tmp_path):
    """Whatever has no folder of its own lands in the test's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SYMEQ_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr("symeq_core.trainer.set_threads", lambda threads: torch.get_num_threads())


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """One short finished run that no test changes."""
    folder = tmp_path_factory.mktemp("kept") / "run"
    arguments = ["train", "--preset", "digits-labels-symmetric", "--steps", "20", "--out", str(folder), *TINY]
    assert cli.main([*arguments, "--set", "probe_every=10"]) == 0
    return folder


@pytest.fixture
def finished(kept, tmp_path):
    """A copy of it."""
    shutil.copytree(kept, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def call(capsys):
    """(exit code, standard output, standard error) of a command."""

    def run(*arguments):
        code = cli.main([str(a) for a in arguments])
        out, error = capsys.readouterr()
        return code, out, error

    return run


def complaint(code, out, error):
    """The one line with which a command fails."""
    assert code in (1, 2)
    assert out == ""
    assert error.startswith("symeq_core: ")
    assert error.endswith((".\n", "?\n"))
    assert error.count("\n") == 1
    assert "Traceback" not in error
    return error


# --- help ---


@pytest.mark.parametrize("command", [(), *((c,) for c in COMMANDS)])
def test_every_command_has_help(capsys, command):
    with pytest.raises(SystemExit) as ended:
        cli.main([*command, "--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith(" ".join(["usage: python -m symeq_core", *command]))
    if not command:
        assert all(re.search(rf"^    {c}\s+\w", out, re.MULTILINE) for c in COMMANDS)


# --- train ---


def test_train_makes_a_run_of_a_preset(call, tmp_path):
    options = ("--set", "lr=0.01", "--set", "model.latents=bernoulli:3", "--set", "seed=7")
    code, out, error = call(
        "train", "--preset", "digits-flat-elbo", "--steps", 6, "--out", tmp_path / "a" / "b", *TINY, *options
    )
    assert code == 0
    run = Run.open(tmp_path / "a" / "b")
    config = run.config()
    assert (config.train.steps, config.train.lr, config.seed, config.model.latents[0].units) == (6, 0.01, 7, 3)
    assert (config.learner.name, run.state(), run.step()) == ("elbo", "finished", 6)
    first, second = out.splitlines()
    number = r"-?\d+\.\d\d ± \d+\.\d\d"
    figures = rf"L_p {number}, L_q {number}, ELBO {number} nats per test image \(mean ± s\.e\., n = 360\)"
    assert re.fullmatch(rf"finished at step 6: {figures}", first)
    assert second == str(tmp_path / "a" / "b")
    lines = error.splitlines()
    assert lines[0].startswith(f"{run.folder}: digits, flat, elbo, 6 steps; Ctrl-C saves and stops")
    assert [line.partition(":")[0] for line in lines[1:]] == ["step 0", "step 6"]


def test_train_finds_a_folder_of_its_own(call, tmp_path):
    for _ in range(2):
        assert call("train", "--preset", "digits-flat-symmetric", "--steps", 1, *TINY)[0] == 0
    names = sorted(os.listdir(tmp_path / "runs"))
    assert len(names) == 2
    assert all(name.startswith("digits-flat-symmetric-20") for name in names)


def test_train_resumes_longer_and_with_other_settings(call, finished):
    code, out, error = call("train", finished, "--steps", 25, "--set", "train.lr=0.5", "--set", "log_every=5")
    run = Run(finished)
    assert code == 0
    assert (run.config().train.lr, run.config().train.steps, run.step()) == (0.5, 25, 25)
    assert out.startswith("finished at step 25: L_p")
    assert "step 20: set train.lr=0.5, train.log_every=5, train.steps=25\n" in error
    assert [e["step"] for e in run.events() if e["event"] == "resume"] == [20]


def test_train_of_a_finished_run_says_so(call, finished):
    code, out, error = call("train", finished)
    assert code == 0
    assert "It was finished already; --steps N with N above 20 trains it longer" in error
    assert out.startswith("finished at step 20: L_p")


def test_the_units_of_figures_are_told(call, finished):
    out = call("train", finished)[1]
    assert re.search(r"ELBO \S+ ± \S+ nats per test image, label accuracy 0\.\d\d ± 0\.\d\d \(mean", out)


def test_a_stopped_run_tells_where_its_figures_come_from(call, finished, monkeypatch):
    run = Run(finished)
    step = "symeq_core.worker.Trainer.step"
    from symeq_core.worker import Trainer

    plain = Trainer.step

    def stops(self, *arguments, **options):
        plain(self, *arguments, **options)
        if self.iteration == 23:
            run.send("stop")

    monkeypatch.setattr(step, stops)
    monkeypatch.setattr("symeq_core.worker.POLL_SECONDS", 0.0)
    code, out, _ = call("train", finished, "--steps", 10**6)
    assert code == 0  # it was asked to
    assert out.startswith("stopped at step 23: at step 20, L_p")


def test_what_happens_meanwhile_is_told(call, finished, monkeypatch):
    run = Run(finished)
    from symeq_core.worker import Worker

    plain = Worker._emit

    def emit(self, event):
        plain(self, event)
        if event["event"] == "resume":
            run.send("pause")
            (run.folder / "commands" / "z.json").write_text("{")
        if event["event"] == "refused":
            run.send("resume")

    monkeypatch.setattr(Worker, "_emit", emit)
    monkeypatch.setattr("symeq_core.worker.POLL_SECONDS", 0.0)
    code, _, error = call("train", finished, "--steps", 21)
    assert code == 0
    told = [line for line in error.splitlines() if line.startswith("step 20: ")]
    assert [t.split()[2] for t in told] == ["set", "paused", "refused", "going"]
    assert "z.json is damaged" in told[2]


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("columns", [0, 80, 200])
def test_a_terminal_shows_a_bar_with_both_utilities_and_images_per_second(finished, monkeypatch, columns):
    """0: the terminal doesn't tell its width."""
    terminal = Terminal()
    monkeypatch.setattr(terminal, "fileno", lambda: 2)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(os, "get_terminal_size", lambda _: os.terminal_size((columns, columns and 24)))
    monkeypatch.setattr("tqdm.std._screen_shape_wrapper", lambda: lambda _: (columns, columns and 24))
    assert cli.main(["train", str(finished), "--steps", "25", "--set", "log_every=1"]) == 0
    bars = [b for b in re.split(r"[\r\n]", terminal.getvalue()) if "images/s" in b]
    pattern = r" *(\d+)%\|.*\| (\d+)/25, \d\d:\d\d left, utility p -\d+\.\d\d, q -\d+\.\d\d, [\d,]+ images/s *"
    shown = [re.fullmatch(pattern, b) for b in bars]
    assert all(shown)
    assert [int(s[2]) for s in shown][-1] == 25
    assert {21, 22, 23, 24, 25} <= {int(s[2]) for s in shown}
    assert {int(s[1]) for s in shown if s[2] == "21"} == {84}
    assert "step 20: set" in terminal.getvalue()


def test_a_download_is_shown(finished):
    progress = cli._Progress(Run(finished))
    with progress:
        progress.hear({"event": "data", "what": "images", "done": 1000, "total": 5000})
        assert progress.bar.disable
        progress.hear({"event": "data", "what": "images", "done": 1000, "total": None})
        progress.hear({"event": "anything new"})


@pytest.mark.parametrize("number", [errno.EIO, errno.EPIPE])
@pytest.mark.parametrize("writes", [0, 1, 6])
def test_a_terminal_that_goes_away_does_not_stop_training(finished, monkeypatch, capsys, writes, number):
    terminal, left = Terminal(), [writes]

    def write(text):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(terminal, "write", write)
    monkeypatch.setattr(sys, "stderr", terminal)
    assert cli.main(["train", str(finished), "--steps", "22"]) == 0
    assert left[0] < 0
    assert capsys.readouterr().out.startswith("finished at step 22")
    assert Run(finished).step() == 22


def test_a_test_set_of_one_image_has_no_error(call, tmp_path):
    for k in range(10):
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.new("L", (8, 8), 20 * k).save(tmp_path / "images" / f"{k}.png")
    data = ("--set", "data.name=folder", "--set", f"path={tmp_path / 'images'}", "--set", "size=8")
    code, out, _ = call(
        "train", "--preset", "digits-flat-symmetric", "--steps", 1, "--out", tmp_path / "r", *TINY, *data
    )
    assert code == 0
    assert re.search(r"L_p -\d+\.\d\d, L_q -\d+\.\d\d, ELBO -\d+\.\d\d nats per test image .*n = 1\)", out)
    code, out, _ = call("evaluate", tmp_path / "r", "--short")
    assert code == 0
    assert "±" not in out.split("(")[0]


# --- evaluate, sample ---


def test_evaluate_gives_short_figures_as_json_and_as_text(call, kept):
    code, out, error = call("evaluate", kept, "--short", "--json", "--seed", 3)
    assert (code, error) == (0, "")
    found = json.loads(out)
    assert (found["seed"], found["name"], found["target"]) == (3, "digits-labels-symmetric", str(kept))
    assert {*found["figures"]} == {"L_p", "L_q", "ELBO", "label accuracy"}
    for name, figure in found["figures"].items():
        assert {"value", "stderr", "n", "unit"} <= {*figure}
        assert figure["n"] == 360
        assert figure["unit"] == ("fraction" if name == "label accuracy" else "nats per image")
        assert figure["stderr"] > 0
    assert call("evaluate", kept, "--short", "--json", "--seed", 3)[1] == out
    assert json.loads(call("evaluate", kept, "--short", "--json", "--seed", 4)[1])["figures"] != found["figures"]
    code, text, error = call("evaluate", kept, "--short", "--seed", 3)
    assert (code, error) == (0, "")
    head, *lines = text.splitlines()
    assert head == "digits-labels-symmetric at step 20: 360 test images of digits, seed 3"
    for line, (name, figure) in zip(lines, found["figures"].items(), strict=True):
        numbers = f"{figure['value']:.3f} ± {figure['stderr']:.3f} {figure['unit']} (mean ± s.e., n = 360)"
        assert re.fullmatch(rf"  {name} +{re.escape(numbers)}", line)


def test_evaluate_may_take_fewer_images(call, kept):
    found = json.loads(call("evaluate", kept, "--short", "--json", "--limit", 50)[1])
    assert {f["n"] for f in found["figures"].values()} == {50}


def test_evaluate_says_why_there_is_no_elbo(call, tmp_path):
    ring = ("train", "--preset", "digits-ring-symmetric", "--steps", 1, "--out", tmp_path / "ring", *TINY)
    code, out, _ = call(*ring)
    assert (code, "ELBO" in out) == (0, False)
    assert "not defined: the prior is implicit" in call("evaluate", tmp_path / "ring", "--short")[1]
    figure = json.loads(call("evaluate", tmp_path / "ring", "--short", "--json")[1])["figures"]["ELBO"]
    assert (figure["value"], figure["n"]) == (None, 0)


@pytest.mark.parametrize(("n", "columns", "rows"), [(1, 1, 1), (6, 2, 3), (16, 4, 4)])
def test_sample_draws_a_picture(call, kept, tmp_path, n, columns, rows):
    """Tiles of 8 x 8 pixels are shown 32 wide, 2 apart; margins and titles lie around the three boards."""
    file = tmp_path / "new" / "x.PNG"
    code, out, error = call("sample", kept, "--out", file, "--n", n, "--chain", 3, "--seed", 5)
    assert (code, out, error) == (
        0,
        f"{file}: {n} images of each kind by digits-labels-symmetric at step 20, seed 5\n",
        "",
    )
    picture = Image.open(file)
    assert picture.format == "PNG"
    assert picture.height == 12 + (2 * 17 + 6) + (rows * 34 + 2) + 12
    assert picture.width >= 4 * 12 + 2 * (columns * 34 + 2) + (columns * 66 + 2)
    before = file.read_bytes()
    call("sample", kept, "--out", file, "--n", n, "--chain", 3, "--seed", 5)
    assert file.read_bytes() == before
    call("sample", kept, "--out", file, "--n", n, "--chain", 3, "--seed", 6)
    assert file.read_bytes() != before


def test_sample_says_when_there_are_fewer_test_images(call, kept, tmp_path):
    out = call("sample", kept, "--out", tmp_path / "x.png", "--n", 400, "--chain", 1)[1]
    assert "400 images of each kind (but 360 test images, as there are no more)" in out


# --- presets, runs ---


def test_presets_are_listed_and_shown_whole(call):
    code, out, error = call("presets")
    assert (code, error) == (0, "")
    head, *rows = out.splitlines()
    assert head.split() == ["preset", "data", "model", "(z0", "first)", "learner", "steps"]
    assert [row.split()[0] for row in rows] == [*PRESETS]
    assert "digits-ladder-wake-sleep" in out
    for name in PRESETS:
        code, out, _ = call("presets", name)
        assert code == 0
        assert from_dict(json.loads(out)) == preset(name)


def test_runs_are_listed_with_their_state(call, finished, tmp_path):
    root = tmp_path / "many"
    root.mkdir()
    shutil.move(finished, root / "done")
    Run.create(root / "fresh", preset("digits-ladder-elbo"))
    dead = Run.create(root / "dead", preset("digits-flat-symmetric"))
    dead.append({"event": "start", "step": 0})
    dead.append({"event": "metrics", "step": 1234, "seconds": 1.0, "utility": {"p": -1.0}, "grad_norm": {}})
    (root / "broken").mkdir()
    (root / "broken" / "config.json").write_text("{")
    wrong = Run.create(root / "wrong", preset("digits-flat-symmetric"))
    (wrong.folder / "events.jsonl").mkdir()
    files.write_json(root / "odd" / "config.json", to_dict(preset("digits-flat-elbo")) | {"more": "x\ny"})
    code, out, error = call("runs", "--root", root)
    assert (code, error) == (0, "")
    head, *rows = out.splitlines()
    assert head.split() == ["run", "state", "step", "data", "model", "learner", "last", "event"]
    found = {row.split()[0]: row for row in rows}
    assert {name: row.split()[1] for name, row in found.items()} == {
        "done": "finished",
        "fresh": "new",
        "dead": "interrupted",
        "broken": "damaged",
        "wrong": "damaged",
        "odd": "damaged",
    }
    assert "20 / 20 " in found["done"]
    assert "1,234 / 5,000 " in found["dead"]
    assert "0 / 5,000 " in found["fresh"]
    assert found["fresh"].endswith("never")
    assert re.search(r"\d+ s ago$", found["dead"])
    assert "there is no field 'more'" in found["odd"]


def test_no_runs_are_told_with_a_way_on(call, tmp_path):
    for options in ((), ("--root", tmp_path / "nowhere")):
        code, out, error = call("runs", *options)
        assert (code, error, out.count("\n")) == (0, "", 1)
        assert "`python -m symeq_core train --preset digits-flat-symmetric` makes one" in out


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s ago"), (-50, "0 s ago"), (300, "5 minutes ago"), (7200, "2 hours ago"), (10**6, "12 days ago")],
)
def test_ages_are_in_words(tmp_path, monkeypatch, seconds, said):
    run = Run.create(tmp_path / "run", preset("digits-flat-symmetric"))
    run.append({"event": "start", "step": 0})
    told = run.events()[0]["time"]
    monkeypatch.setattr("symeq_core.cli.time.time", lambda: told + seconds)
    assert cli._age(run) == said


# --- what is wrong ---

NEW = ("train", "--preset", "digits-flat-symmetric")
USES = [
    ((), 2, "the following arguments are required: COMMAND"),
    (("fly",), 2, "invalid choice: 'fly'"),
    (("train",), 2, "Name a preset (--preset digits-flat-symmetric) or a run folder to resume"),
    (("train", "--steps", "5"), 2, "Name a preset"),
    ((*NEW, "--steps", "0"), 2, "argument --steps: must be at least 1, but it is 0"),
    ((*NEW, "--steps", "-3"), 2, "argument --steps: must be at least 1"),
    ((*NEW, "--steps", "many"), 2, "argument --steps: 'many' is not a whole number"),
    ((*NEW, "--fast"), 2, "unrecognized arguments: --fast"),
    (("train", "--preset", "zebra"), 2, "There is no preset 'zebra'; `python -m symeq_core presets` lists them"),
    (("train", "--preset", "digits-flat-symetric"), 2, "did you mean digits-flat-symmetric?"),
    ((*NEW, "--set", "lrr=1"), 2, "There is no field 'lrr'; did you mean lr?"),
    ((*NEW, "--set", ".name=x"), 2, "'.name' could be data.name or learner.name"),
    ((*NEW, "--set", "lr"), 2, "'lr' is not a setting: write it as name=value"),
    ((*NEW, "--set", "lr=fast"), 2, 'train.lr must be a valid number, but it is "fast"'),
    ((*NEW, "--set", "save_seconds=Infinity"), 2, "train.save_seconds must be a finite number"),
    ((*NEW, "--set", "latents=bernoulli:8 bernoulli:8"), 2, "a flat model has one latent layer, not 2"),
    ((*NEW, "--set", "device=gpu"), 2, "This machine has no device 'gpu'"),
    ((*NEW, "--set", "data.name=zebras"), 2, "There is no data set 'zebras'"),
    ((*NEW, "--set", "prior=learned"), 2, "the prior pi(z) is given"),
    (("train", "--preset", "digits-ring-symmetric", "--set", "learner.name=elbo"), 2, "the prior of z0 is implicit"),
    ((*NEW, "--out", "RUN"), 2, "exists and is not empty"),
    (("train", "nowhere"), 1, "There is no folder nowhere: `python -m symeq_core runs` lists the runs"),
    (("train", "."), 1, "is not a run: it holds no config.json"),
    (("train", "PAIR"), 1, "is a finished checkpoint, not a run"),
    (("train", "RUN", "--preset", "digits-flat-elbo"), 2, "--preset and --out are for a new run"),
    (("train", "RUN", "--out", "x"), 2, "--preset and --out are for a new run"),
    (("train", "RUN", "--set", "model.kind=ladder"), 2, "model.kind can't change within a run"),
    (("train", "RUN", "--set", "device=gpu"), 2, "This machine has no device 'gpu'"),
    (("train", "BROKEN"), 1, "there is no field 'more'"),
    (("evaluate",), 2, "the following arguments are required: target"),
    (("evaluate", "nowhere"), 1, "There is no nowhere/config.json"),
    (("evaluate", "."), 1, "There is no config.json"),
    (("evaluate", "FRESH"), 1, "holds no weights yet"),
    (("evaluate", "BROKEN"), 1, "there is no field 'more'"),
    (("evaluate", "RUN", "--device", "gpu"), 2, "This machine has no device 'gpu'"),
    (("evaluate", "RUN", "--short", "--limit", "1"), 2, "--limit 1 leaves no uncertainty"),
    (("evaluate", "RUN", "--limit", "50"), 2, "--limit goes with --short"),
    (("evaluate", "RUN", "--short", "--quick"), 2, "--short is L_p, L_q and ELBO alone"),
    (("evaluate", "RUN", "--n", "5"), 2, "--n is from 20"),
    (("evaluate", "RUN", "--chain", "0"), 2, "--chain from 1"),
    (("evaluate", "RUN", "FRESH"), 1, "holds no weights yet"),
    (("train-extractor", "celeba"), 2, "invalid choice: 'celeba'"),
    (("train-extractor", "digits", "--set", "lr=1"), 2, "--set is for the data here"),
    (("train-extractor", "folder"), 2, "needs a path"),
    (("evaluate", "RUN", "--limit", "few"), 2, "argument --limit: 'few' is not a whole number"),
    (("evaluate", "RUN", "--seed", "-1"), 2, "argument --seed: must be from 0"),
    (("evaluate", "RUN", "--seed", str(2**64)), 2, "argument --seed: must be from 0"),
    (("sample", "RUN"), 2, "the following arguments are required: --out"),
    (("sample", "RUN", "--out", "x.jpg"), 2, "x.jpg does not end in .png"),
    (("sample", "RUN", "--out", "x.png", "--n", "0"), 2, "--n is from 1"),
    (("sample", "RUN", "--out", "x.png", "--chain", "0"), 2, "--chain from 1"),
    (("sample", "RUN", "--out", "FILE/x.png"), 1, "could not be written"),
    (("sample", "nowhere", "--out", "x.png"), 1, "There is no nowhere/config.json"),
    (("presets", "zebra"), 2, "There is no preset 'zebra'"),
    (("import-authors", "nowhere", "--variant", "mnist-ladder", "-o", "x"), 1, "There is no file nowhere"),
    (("import-authors", "FILE", "--variant", "mnist-zebra", "-o", "x"), 2, "invalid choice: 'mnist-zebra'"),
    (("import-authors", "FILE", "--variant", "mnist-ladder", "-o", "x"), 1, "FILE is not a state dict"),
]


@pytest.mark.parametrize(("arguments", "code", "said"), USES, ids=lambda v: " ".join(v) if isinstance(v, tuple) else "")
def test_what_is_wrong_is_told_in_one_sentence(call, finished, tmp_path, arguments, code, said):
    (tmp_path / "FILE").write_text("no state dict")
    os.rename(finished, tmp_path / "RUN")
    Run.create(tmp_path / "FRESH", preset("digits-flat-symmetric"))
    files.write_json(tmp_path / "BROKEN" / "config.json", {"more": 1})
    files.write_json(tmp_path / "PAIR" / "config.json", {})
    (tmp_path / "PAIR" / "model.safetensors").write_bytes(b"")
    before = {f: f.read_bytes() for f in tmp_path.rglob("*") if f.is_file() and f.name != "lock"}
    found = call(*arguments)
    assert said in complaint(*found)
    assert found[0] == code
    after = {f: f.read_bytes() for f in tmp_path.rglob("*") if f.is_file() and f.name != "lock"}
    broken = {tmp_path / "BROKEN" / "events.jsonl"}  # which says that it failed
    assert {f: v for f, v in after.items() if f not in broken} == before
    assert not (tmp_path / "runs").exists()


def test_an_interrupt_and_a_system_error_are_told(call, monkeypatch):
    def fails(error):
        def command(o):
            raise error

        return command

    for error, said in (
        (KeyboardInterrupt(), "Interrupted."),
        (
            PermissionError(errno.EACCES, "Permission denied", "/some/file"),
            "/some/file can't be used (Permission denied).",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), "The output can't be used (No space left on device)."),
    ):
        monkeypatch.setattr(cli, "_presets", fails(error))
        found = call("presets")
        assert complaint(*found) == f"symeq_core: {said}\n"
        assert found[0] == 1


# --- real processes ---


def python(*arguments, **options):
    command = [sys.executable, "-m", "symeq_core", *map(str, arguments)]
    env = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    return subprocess.run(command, cwd=ROOT, env=env, text=True, capture_output=not options, **options)


def test_the_module_is_a_command():
    done = python("presets", "digits-flat-elbo")
    assert (done.returncode, done.stderr) == (0, "")
    assert from_dict(json.loads(done.stdout)) == preset("digits-flat-elbo")
    done = python("presets", "zebra")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "symeq_core: There is no preset 'zebra'; `python -m symeq_core presets` lists them.\n"


def test_a_reader_that_stops_early_is_no_failure():
    end, begin = os.pipe()
    os.close(end)  # as `| head -0` does
    with os.fdopen(begin, "w") as closed:
        done = python("presets", stdout=closed, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_disk_behind_the_output_is_told():
    with open("/dev/full", "w") as full:
        done = python("presets", stdout=full, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (1, "symeq_core: The output can't be used (No space left on device).\n")


def test_steps_that_are_no_more_than_were_made_are_refused_and_change_nothing(tmp_path, capsys):
    folder = tmp_path / "run"
    assert cli.main(["train", "--preset", "digits-flat-symmetric", "--steps", "6", "--out", str(folder)]) == 0
    before = (folder / "config.json").read_bytes()
    for more in (["--steps", "3"], ["--set", "lr=0.5"], ["--steps", "6"]):
        assert cli.main(["train", str(folder), *more]) == 2
        assert "at step 6 already, and --steps is the total" in capsys.readouterr().err
    assert (folder / "config.json").read_bytes() == before


def test_a_run_is_found_by_the_name_the_list_shows_and_figures_state_the_step(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SYMEQ_RUNS", str(tmp_path))
    argv = ["train", "--preset", "digits-flat-symmetric", "--steps", "4", "--out", str(tmp_path / "first")]
    assert cli.main(argv) == 0
    capsys.readouterr()
    assert cli.main(["evaluate", "first", "--short", "--json", "--limit", "20"]) == 0
    assert json.loads(capsys.readouterr().out)["step"] == 4
    assert cli.main(["evaluate", "first", "--short", "--limit", "20"]) == 0
    assert "digits-flat-symmetric at step 4: 20 test images" in capsys.readouterr().out
