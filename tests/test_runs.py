"""The run folder: what is in it survives anything, and nobody is misled by what a dead process left."""

import errno
import json
import os
import shutil
import threading
import time

import pytest

from symeq_core import files, runs
from symeq_core.config import Config, differences, override, to_dict
from symeq_core.errors import SymeqError, UsageError
from symeq_core.runs import Run, all_runs, check_command, new_folder, runs_root

EVERYTHING = {"metrics": 1, "probe": 1, "snapshot": 1}


@pytest.fixture
def run(tmp_path):
    return Run.create(tmp_path / "run", Config())


def refusal(kind, call, *arguments, **options):
    """The one sentence with which a call fails."""
    with pytest.raises(kind) as caught:
        call(*arguments, **options)
    assert type(caught.value) is kind
    sentence = str(caught.value)
    assert sentence.endswith((".", "?"))
    assert "\n" not in sentence
    return sentence


def steps(run, kind):
    return [e["step"] for e in run.events() if e["event"] == kind]


# --- making and opening ---


@pytest.mark.parametrize("existing", [None, "empty folder", "missing parents"])
def test_create_makes_a_new_run(tmp_path, existing):
    folder = tmp_path / "a" / "b" if existing == "missing parents" else tmp_path / "a"
    if existing == "empty folder":
        folder.mkdir()
    config = override(Config(), {"seed": 3})
    made = Run.create(folder, config)
    assert Run.open(str(folder)).config() == config == made.config()
    assert (made.state(), made.step(), made.events(), made.snapshots()) == ("new", 0, [], {})


@pytest.mark.parametrize("content", ["config.json", "anything"])
def test_create_refuses_a_folder_in_use(tmp_path, content):
    (tmp_path / content).write_text("mine")
    assert "exists and is not empty" in refusal(UsageError, Run.create, tmp_path, Config())
    assert "exists and is not empty" in refusal(UsageError, Run.create, tmp_path / content, Config())
    assert (tmp_path / content).read_text() == "mine"
    assert os.listdir(tmp_path) == [content]


def test_create_says_where_it_can_not_write(tmp_path):
    (tmp_path / "file").write_text("")
    assert "could not be written" in refusal(SymeqError, Run.create, tmp_path / "file" / "run", Config())


def test_open_refuses_what_is_no_run(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "pair").mkdir()
    files.write_json(tmp_path / "pair" / "config.json", to_dict(Config()))
    (tmp_path / "pair" / "model.safetensors").write_bytes(b"")
    assert "There is no folder" in refusal(SymeqError, Run.open, tmp_path / "nowhere")
    assert "There is no folder" in refusal(SymeqError, Run.open, tmp_path / "file")
    assert "not a run: it holds no config.json" in refusal(SymeqError, Run.open, tmp_path)
    assert "is a finished checkpoint, not a run" in refusal(SymeqError, Run.open, tmp_path / "pair")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "damaged"),
        (b'{"seed": 1', "damaged"),
        (b"\xff\xfe\x00", "damaged"),
        (b"[" * 100_000, "damaged"),
        (b"[]", "not a configuration"),
        (b"null", "not a configuration"),
        (b'{"foo": 1}', "there is no field 'foo'"),
        (b'{"train": {"lr": "fast"}}', "train.lr must be"),
        (b'{"x": "' + b"x" * (1 << 21) + b'"}', "too large"),
    ],
)
def test_a_damaged_config_is_told_in_one_sentence(run, content, said):
    (run.folder / "config.json").write_bytes(content)
    sentence = refusal(SymeqError, run.config)
    assert said in sentence
    assert str(run.folder / "config.json") in sentence


def test_write_config_replaces_it(run):
    run.write_config(override(run.config(), {"steps": 7}))
    assert differences(Config(), Run(run.folder).config()) == {"train.steps": (5000, 7)}


def test_a_copied_folder_is_the_same_run(run, tmp_path):
    run.append({"event": "start", "step": 0})
    run.append({"event": "stopped", "step": 4})
    run.write_snapshot(3, {"samples.png": b"x"})
    shutil.copytree(run.folder, tmp_path / "copy")
    copy = Run.open(tmp_path / "copy")
    assert (copy.config(), copy.events(), copy.state(), copy.step()) == (run.config(), run.events(), "stopped", 4)
    shutil.rmtree(run.folder)
    assert (copy.snapshots()[3] / "samples.png").read_bytes() == b"x"


# --- lists of runs ---


def test_runs_are_listed_the_last_changed_first(tmp_path):
    for seconds, name in ((100, "old"), (300, "young"), (200, "middle")):
        Run.create(tmp_path / name, Config())
        os.utime(tmp_path / name, (seconds, seconds))
    (tmp_path / "no run").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "pair").mkdir()
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "pair" / name).write_text("")
    assert [r.folder.name for r in all_runs(tmp_path)] == ["young", "middle", "old"]
    assert all_runs(tmp_path / "nowhere") == []


def test_new_folders_never_collide(tmp_path):
    found = {new_folder(tmp_path / "runs", "digits") for _ in range(5)}
    assert len(found) == 5
    assert all(f.is_dir() and f.name.startswith("digits-") for f in found)
    Run.create(found.pop(), Config())  # an empty folder is as good as none


@pytest.mark.parametrize("name", ["a/b", "../up", "x" * 300, "a b\n"])
def test_a_new_folder_lies_in_its_root_whatever_the_name(tmp_path, name):
    folder = new_folder(tmp_path, name)
    assert folder.resolve().parent == tmp_path.resolve()
    assert folder.is_dir()


def test_a_new_folder_that_can_not_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    assert "can't be made" in refusal(SymeqError, new_folder, tmp_path / "file", "digits")


def test_the_root_of_runs(monkeypatch, tmp_path):
    monkeypatch.setenv("SYMEQ_RUNS", str(tmp_path))
    assert runs_root() == tmp_path
    monkeypatch.delenv("SYMEQ_RUNS")
    assert str(runs_root()) == "runs"


# --- events ---

SAYS = {  # the least that an event of its kind says
    "metrics": {"seconds": 1.0, "utility": {"p": -1.5}, "grad_norm": {}},
    "probe": {"seconds": 1.0, "figures": {}},
    "snapshot": {},
}


def event(kind, step):
    return {"event": kind, "step": step, **SAYS.get(kind, {})}


def test_events_are_stamped_and_read_back(run):
    before = time.time()
    run.append({"event": "start", "step": 0, "device": "cpu"})
    run.append(event("metrics", 1))
    first, second = run.events()
    assert (first["event"], first["device"], second["utility"]) == ("start", "cpu", {"p": -1.5})
    assert before - 0.01 <= first["time"] <= second["time"] <= time.time() + 0.01
    assert len((run.folder / "events.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize("torn", [b'{"event": "metr', b"{", b"\xff\xfe", b"7", b"null", b'{"event": 3}', b"[" * 50_000])
def test_a_torn_line_is_ignored_and_the_next_ones_are_whole(run, torn):
    run.append({"event": "start", "step": 0})
    with open(run.folder / "events.jsonl", "ab") as f:
        f.write(torn)
    assert [e["event"] for e in run.events()] == ["start"]
    run.append({"event": "resume", "step": 0})
    run.append({"event": "stopped", "step": 1})
    assert [e["event"] for e in run.events()] == ["start", "resume", "stopped"]
    lines = (run.folder / "events.jsonl").read_bytes().splitlines()
    assert lines[1] == torn
    assert [json.loads(line)["event"] for line in lines[2:]] == ["resume", "stopped"]


@pytest.mark.parametrize(
    "found",
    [{"event": "resume"}, {"event": "metrics", **SAYS["metrics"]}, event("probe", "x"), {"event": "probe", "step": 1}],
)
def test_an_event_without_its_step_or_what_it_says_is_left_out(run, found):
    run.append(found)
    run.append({"event": "start", "step": 0})
    assert [e["event"] for e in run.events()] == ["start"]
    assert run.step() == 0


def test_a_resume_takes_back_what_was_measured_later_and_nothing_else(run):
    run.append({"event": "start", "step": 0})
    for step in (0, 10, 20, 30):
        for kind in runs.MEASURED:
            run.append(event(kind, step))
    run.append({"event": "set", "step": 20, "changes": {"train.lr": 0.1}})
    run.append({"event": "refused", "step": 30, "why": "no"})
    run.append({"event": "failed", "step": 30, "why": "NaN"})
    assert run.step() == 30
    run.append({"event": "resume", "step": 20})
    assert all(steps(run, kind) == [0, 10, 20] for kind in runs.MEASURED)
    kept = [e["event"] for e in run.events() if e["event"] not in runs.MEASURED]
    assert kept == ["start", "set", "refused", "failed", "resume"]
    assert run.step() == 20
    run.append(event("metrics", 30))
    assert steps(run, "metrics") == [0, 10, 20, 30]
    run.append({"event": "resume", "step": 0})
    assert steps(run, "metrics") == [0]


def test_a_second_start_takes_back_all_that_was_measured(run):
    run.append({"event": "start", "step": 0})
    run.append(event("probe", 0))
    run.append({"event": "start", "step": 0})
    run.append(event("probe", 0))
    assert [e["event"] for e in run.events()] == ["start", "start", "probe"]


def test_an_event_that_can_not_be_written_is_told(run, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(runs, "open", full, raising=False)
    sentence = refusal(SymeqError, run.append, {"event": "start", "step": 0})
    assert "events.jsonl could not be written (No space left on device)" in sentence


def test_events_that_can_not_be_read_are_told(run):
    (run.folder / "events.jsonl").mkdir()
    assert "events.jsonl can't be read" in refusal(SymeqError, run.events)


# --- liveness ---


def test_the_lock_is_held_by_one(run):
    assert not run.is_running()
    with run.lock():
        assert run.is_running()
        assert Run(run.folder).is_running()
        assert "is being trained by another process" in refusal(SymeqError, run.lock(patience=0.05).__enter__)
        assert run.is_running()
    assert not run.is_running()
    with pytest.raises(ZeroDivisionError), run.lock():
        1 / 0  # noqa: B018
    assert not run.is_running()


def test_a_lock_that_can_not_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "run"):
        assert "can't be locked" in refusal(SymeqError, Run(folder).lock().__enter__)
        assert not Run(folder).is_running()
    assert not Run(tmp_path / "nowhere").is_running()
    assert os.listdir(tmp_path) == ["file"]


def during_looks(run, act, lookers=3):
    """Act while others look without a pause; what they saw while `act` told them to note it."""
    seen, over = [], threading.Event()

    def look():
        while not over.is_set():
            seen.append(run.is_running())

    threads = [threading.Thread(target=look) for _ in range(lookers)]
    for thread in threads:
        thread.start()
    try:
        act()
    finally:
        over.set()
        for thread in threads:
            thread.join()
    return seen


def test_looks_do_not_see_each_other(run):
    with run.lock():
        pass  # the file is there
    mine = []
    others = during_looks(run, lambda: mine.extend(run.is_running() for _ in range(3000)))
    assert len(others) > 100
    assert not any(mine + others)


def test_looks_never_make_a_starting_worker_fail(run):
    def start():
        for _ in range(30):
            with run.lock(patience=0.0):  # even without any
                assert run.is_running()

    assert len(during_looks(run, start)) > 100


@pytest.mark.parametrize(
    ("told", "dead", "alive"),
    [
        ([], "new", "running"),
        (["start"], "interrupted", "running"),
        (["start", "metrics"], "interrupted", "running"),
        (["start", "paused"], "interrupted", "paused"),
        (["start", "paused", "running"], "interrupted", "running"),
        (["start", "finished"], "finished", "running"),
        (["start", "stopped"], "stopped", "running"),
        (["failed"], "failed", "running"),
        (["start", "stopped", "resume"], "interrupted", "running"),
        (["start", "paused", "resume"], "interrupted", "running"),
    ],
)
def test_the_state_follows_from_the_last_change_and_the_lock(run, told, dead, alive):
    for kind in told:
        run.append(event(kind, 0))
    assert run.state() == dead
    with run.lock():
        assert run.state() == alive
    assert run.state() == dead


def test_a_run_that_ends_while_its_state_is_read_is_not_interrupted(run, monkeypatch):
    run.append({"event": "start", "step": 0})
    held, look = run.lock(), run.is_running
    held.__enter__()

    def ends_then_look():
        run.append({"event": "finished", "step": 1})
        held.__exit__(None, None, None)
        return look()

    monkeypatch.setattr(run, "is_running", ends_then_look)
    assert run.state() == "finished"


# --- commands ---


def test_commands_are_taken_once_in_order(run):
    with run.lock():
        run.send("pause")
        run.send("step", players=["p"], count=3)
        run.send("set", changes={"train.lr": 0.5})
        run.send("resume")
        run.send("stop")
    taken = list(run.take_commands())
    assert [c["do"] for c in taken] == ["pause", "step", "set", "resume", "stop"]
    assert taken[1] == {"do": "step", "players": ["p"], "count": 3}
    assert list(run.take_commands()) == []
    assert os.listdir(run.folder / "commands") == []


def test_a_command_needs_someone_to_hear_it(run):
    assert "is not running, so there is nothing to pause" in refusal(SymeqError, run.send, "pause")
    assert not (run.folder / "commands").exists()


WRONG = [
    ({"do": "fly"}, "There is no such command: the commands are pause, resume, step, stop, set."),
    ({"do": "refused"}, "There is no such command"),
    ({"do": ["stop"]}, "There is no such command"),
    ({}, "There is no such command"),
    ([], "There is no such command"),
    ("stop", "There is no such command"),
    (None, "There is no such command"),
    ({"do": "step", "players": []}, "A step names its players"),
    ({"do": "step", "players": "p"}, "A step names its players"),
    ({"do": "step", "players": ["r"]}, "A step names its players"),
    ({"do": "step", "players": [["p"]]}, "A step names its players"),
    ({"do": "step", "players": [{}]}, "A step names its players"),
    ({"do": "step", "count": 0}, "A step's count is a whole number"),
    ({"do": "step", "count": 1.5}, "A step's count is a whole number"),
    ({"do": "step", "count": True}, "A step's count is a whole number"),
    ({"do": "step", "count": 10**9}, "A step's count is a whole number"),
    ({"do": "set"}, "A set command needs changes"),
    ({"do": "set", "changes": {}}, "A set command needs changes"),
    ({"do": "set", "changes": ["train.lr"]}, "A set command needs changes"),
    ({"do": "set", "changes": {"model.kind": "ladder"}}, "model.kind can't change within a run"),
    ({"do": "set", "changes": {"data.flip": 0}}, "data.flip can't change within a run"),
    ({"do": "set", "changes": {"seed": 1}}, "seed can't change within a run"),
    ({"do": "set", "changes": {"train.threads": 2}}, "stop it and resume it with --set train.threads"),
    ({"do": "set", "changes": {"device": "cuda"}}, "stop it and resume it with --set train.device"),
    ({"do": "set", "changes": {"train.lr": -1}}, "train.lr must be greater than 0"),
    ({"do": "set", "changes": {"train.lr": "fast"}}, "train.lr must be a valid number"),
    ({"do": "set", "changes": {"train.moves_p": 0, "train.moves_q": 0}}, "nobody would ever move"),
    ({"do": "set", "changes": {"lrr": 1}}, "There is no field 'lrr'"),
]


@pytest.mark.parametrize(("command", "said"), WRONG)
def test_a_wrong_command_is_refused_by_sender_and_taker(run, command, said):
    assert said in refusal(UsageError, check_command, command, run.config())
    files.write_json(run.folder / "commands" / "1.json", command)
    (taken,) = run.take_commands()
    assert taken["do"] == "refused"
    assert said in taken["why"]
    if isinstance(command, dict) and isinstance(command.get("do"), str):
        with run.lock():
            details = {k: v for k, v in command.items() if k != "do"}
            assert said in refusal(UsageError, run.send, command["do"], **details)
    assert os.listdir(run.folder / "commands") == []


@pytest.mark.parametrize("content", [b"", b"{", b'{"do": "stop"', b"\xff", b"[" * 50_000, b" " * (2 << 20)])
def test_a_damaged_command_is_refused(run, content):
    files.write(run.folder / "commands" / "1.json", content)
    (taken,) = run.take_commands()
    assert taken["do"] == "refused"
    assert "1.json is" in taken["why"]
    assert list(run.take_commands()) == []


def test_what_is_no_command_file_is_passed_over(run):
    folder = run.folder / "commands"
    (folder / "folder.json").mkdir(parents=True)
    (folder / ".1.json.tmp").write_text("{}")
    (folder / ".hidden.json").write_text("{}")
    (folder / "notes.txt").write_text("{}")
    assert list(run.take_commands()) == []
    assert len(os.listdir(folder)) == 4


def test_each_command_is_judged_by_the_config_that_the_one_before_left(run):
    files.write_json(run.folder / "commands" / "1.json", {"do": "set", "changes": {"moves_p": 0}})
    files.write_json(run.folder / "commands" / "2.json", {"do": "set", "changes": {"moves_q": 0}})
    taken = run.take_commands()
    run.write_config(override(run.config(), next(taken)["changes"]))
    assert "nobody would ever move" in next(taken)["why"]


# --- what a dead process left, snapshots ---


def test_a_sweep_removes_commands_and_torn_files_and_nothing_else(run):
    run.append({"event": "start", "step": 0})
    run.write_snapshot(5, {"samples.png": b"x"})
    kept = {f.relative_to(run.folder) for f in run.folder.rglob("*")}
    files.write_json(run.folder / "commands" / "1.json", {"do": "stop"})
    (run.folder / ".latest.safetensors.0a1b2c3d.tmp").write_bytes(b"half")
    (run.folder / "snapshots" / ".00000005.0a1b2c3d.tmp").mkdir()
    (run.folder / "snapshots" / ".00000005.0a1b2c3d.tmp" / "samples.png").write_bytes(b"half")
    run.sweep()
    assert {f.relative_to(run.folder) for f in run.folder.rglob("*") if f.name != "commands"} == kept
    assert list(run.take_commands()) == []


def test_what_can_not_be_removed_is_told(run, monkeypatch):
    files.write_json(run.folder / "commands" / "1.json", {"do": "stop"})

    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("pathlib.Path.unlink", refuse)
    assert "1.json can't be removed (Read-only file system)" in refusal(SymeqError, lambda: list(run.take_commands()))


def test_snapshots_go_by_step(run):
    for step in (500, 0, 1000, 123456789):
        run.write_snapshot(step, {"samples.png": str(step).encode()})
    run.write_snapshot(500, {"samples.png": b"again"})
    (run.folder / "snapshots" / ".00000001.abc.tmp").mkdir()
    (run.folder / "snapshots" / "notes").mkdir()
    found = run.snapshots()
    assert [*found] == [0, 500, 1000, 123456789]
    assert (found[500] / "samples.png").read_bytes() == b"again"
    run.drop_snapshots(after=500)
    assert [*run.snapshots()] == [0, 500]
    assert (run.folder / "snapshots" / "notes").exists()


def test_a_run_that_never_saved_anything_gives_its_folder_to_a_new_one(tmp_path):
    run = Run.create(tmp_path / "run", Config())
    run.append({"event": "failed", "step": 0, "why": "no data"})
    again = Run.create(tmp_path / "run", override(Config(), {"seed": 3}))
    assert again.config().seed == 3
    (tmp_path / "run" / "latest.safetensors").write_bytes(b"")
    assert "exists and is not empty" in refusal(UsageError, Run.create, tmp_path / "run", Config())
