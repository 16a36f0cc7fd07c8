"""Results are found by content, computed once, and their processes tell how far they are and why they failed."""

import itertools
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from PIL import Image

from symeq_core import files, folders, maps, portrait, store, tripstore
from symeq_core.errors import SymeqError
from symeq_core.gallery import SHIPPED, Pair
from symeq_core.store import Entry

from .test_gallery import stored


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("SYMEQ_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_what_is_measured_is_the_pair_on_the_images_that_are_there_now(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "AGAIN_SECONDS", 1e-9)
    home = tmp_path / "images"
    home.mkdir()
    for i in range(10):
        Image.new("L", (8, 8), i).save(home / f"{i}.png")
    folder = stored(tmp_path / "a", **{"data.name": "folder", "data.path": str(home), "model.x_shape": [1, 8, 8]})
    pair = Pair("own:a", folder)
    first, stamp = store.subject(folder), pair.stamp()
    assert (store.subject(folder), pair.stamp()) == (first, stamp)
    Image.new("L", (8, 8), 10).save(home / "10.png")
    assert store.subject(folder) != first
    assert pair.stamp() != stamp
    assert store.subject(folder).startswith(store.content(folder))
    other = stored(tmp_path / "b")
    assert store.subject(other) == store.content(other)


def test_the_content_follows_weights_model_and_data_but_not_names(tmp_path):
    a, b = stored(tmp_path / "a"), stored(tmp_path / "b", name="other")
    assert store.content(a) == store.content(b)
    assert store.content(stored(tmp_path / "c", seed=1)) == store.content(a)  # built alike, of the same weights
    assert store.content(stored(tmp_path / "d", **{"data.binarize": 0.3})) != store.content(a)
    assert store.content(stored(tmp_path / "e", **{"model.hidden": [5]})) != store.content(a)


def test_an_entry_is_named_by_its_key(root):
    assert Entry("k", {"a": 1, "b": 2}).folder == Entry("k", {"b": 2, "a": 1}).folder
    assert Entry("k", {"a": 1}).folder != Entry("k", {"a": 2}).folder
    assert root in Entry("k", {}).folder.parents


def test_progress_while_it_is_computed_and_nothing_of_it_afterwards(root):
    entry = Entry("k", {})
    assert (entry.is_done(), entry.is_running()) == (False, False)
    also = []
    with entry.computing(lambda what, done: also.append((what, done))) as tell:
        assert entry.is_running()
        tell("chains", 0.25)
        assert entry.progress() == ("chains", 0.25) == also[-1]
        files.write_json(entry.json, {"x": 1})
    assert (entry.is_done(), entry.is_running()) == (True, False)
    assert not (entry.folder / "progress.json").exists()


def test_a_failure_is_told_until_the_next_attempt():
    entry = Entry("k", {})
    with pytest.raises(ValueError, match="no luck"), entry.computing():
        raise ValueError("no\nluck".replace("\n", " "))
    assert entry.failure() == "no luck"
    with pytest.raises(MemoryError), entry.computing():
        raise MemoryError
    assert entry.failure() == "MemoryError"
    with entry.computing():
        assert entry.failure() is None


def test_a_second_process_waits_for_the_first():
    entry, order = Entry("k", {}), []

    def second():
        with Entry("k", {}).computing():
            order.append("second")

    with entry.computing():
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.1)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_a_launched_process_is_running_and_started_once(monkeypatch):
    started = []
    monkeypatch.setattr(store.subprocess, "Popen", lambda command, **_: started.append(command))
    entry = Entry("k", {})
    entry.launch(["presets"])
    entry.launch(["presets"])
    assert [c[-2:] for c in started] == [["symeq_core", "presets"]]
    assert entry.is_running()
    files.write_json(entry.json, {})
    assert not entry.is_running()


def test_a_process_that_was_killed_is_told_until_the_next_attempt(monkeypatch):
    entry, script = Entry("k", {}), "import os, sys\nfrom pathlib import Path\nfrom symeq_core.store import Entry\n"
    script += "with Entry('k', {}).computing() as tell:\n    os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", script], check=False)
    assert (entry.is_done(), entry.is_running()) == (False, False)
    assert entry.failure() == store.KILLED
    monkeypatch.setattr(store.subprocess, "Popen", lambda command, **_: None)
    entry.launch(["presets"])
    assert entry.failure() is None
    monkeypatch.setattr(store, "STARTING_SECONDS", -1.0)  # it never came so far as to take the lock
    assert entry.failure() == store.KILLED
    (entry.folder / "failed").unlink()
    assert entry.failure() is None  # once forgotten, it may be launched again
    with entry.computing():
        assert entry.failure() is None
        files.write_json(entry.json, {})
    assert entry.failure() is None


def test_what_a_process_leaves_it_removes_before_it_lets_another_in(monkeypatch):
    entry, seen = Entry("k", {}), []
    release = store.FileLock.release

    def watched(self, *args, **options):
        seen.append((entry.folder / "progress.json").exists())
        release(self, *args, **options)

    with entry.computing():
        assert entry.progress() == ("starting", 0.0)
        monkeypatch.setattr(store.FileLock, "release", watched)
    assert seen
    assert not any(seen)


def test_a_disk_that_can_not_be_written_is_one_sentence(root, monkeypatch):
    root.parent.mkdir(exist_ok=True)
    root.write_text("a file where the folder should be")
    for attempt in (lambda: Entry("k", {}).launch(["presets"]), lambda: Entry("k", {}).computing().__enter__()):
        with pytest.raises(SymeqError, match="could not be written"):
            attempt()
    root.unlink()

    def refuse(self, *args, **options):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(store.FileLock, "acquire", refuse)
    with pytest.raises(SymeqError, match=r"could not be written \(Read-only file system\)"), Entry("k", {}).computing():
        pass


def test_weights_that_can_not_be_read_are_one_sentence(tmp_path, monkeypatch):
    folder = stored(tmp_path / "a")

    def refuse(*args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(store, "file_hash", refuse)
    with pytest.raises(SymeqError, match=r"can't be read \(Permission denied\)"):
        store.content(folder)


@pytest.mark.parametrize(
    ("module", "compute", "work", "result"),
    [
        (tripstore, tripstore.compute, "_compute", ({}, {"samples.png": b""})),
        (portrait, portrait.compute, "_draw", {"samples.png": b""}),
        (maps, lambda folder: maps.project(folder, maps.Spec("z0")), "compute", np.zeros((3, 2), np.float32)),
    ],
)
def test_what_was_computed_of_weights_that_changed_meanwhile_is_not_kept(
    module, compute, work, result, root, monkeypatch
):
    contents = itertools.chain(["one"], itertools.repeat("two"))
    monkeypatch.setattr(module, "subject", lambda folder: next(contents))
    monkeypatch.setattr(module, work, lambda *args: result)
    with pytest.raises(SymeqError, match="changed while it was measured"):
        compute(SHIPPED / "digits-bits-elbo")
    kept = {f.name for f in root.rglob("*") if f.is_file()}
    assert kept <= {"failed", "lock"}
