"""Files are replaced whole or not at all, whatever fails and whenever the process dies."""

import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from symeq_core import files
from symeq_core.errors import SymeqError

ROOT = Path(__file__).parent.parent
OLD = {"a": b"old a", "b": b"old b"}
NEW = {"a": b"new a", "c": b"new c"}


def full_disk(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def failing(function, at):
    """The function, but its call number `at` (from 1) finds the disk full."""
    calls = []

    def call(*arguments):
        calls.append(arguments)
        return full_disk() if len(calls) == at else function(*arguments)

    return call


def half_written(path, mode):
    """An open file that takes half of what is written to it, and no more."""
    f = open(path, mode)  # noqa: SIM115
    whole = f.write

    class Disk:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            f.close()

        def write(self, content):
            whole(content[: len(content) // 2])
            full_disk()

    return Disk()


def folder_content(folder):
    return {f.name: f.read_bytes() for f in folder.iterdir()}


def killed_at(function, call, action, folder):
    """Run `action` in a process that kills itself, as kill -9 does, when it calls os.`function` for the n-th time."""
    code = f"""
import os, signal
from pathlib import Path
from symeq_core import files
whole, calls = os.{function}, []
def fatal(*arguments):
    calls.append(arguments)
    if len(calls) == {call}:
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(*arguments)
os.{function} = fatal
{action}
"""
    done = subprocess.run([sys.executable, "-c", code, str(folder)], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    files.write(path, b"old content")
    return path


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "00000500"
    files.write_folder(path, OLD)
    return path


# --- one file ---


def test_write_makes_folders_and_replaces(tmp_path):
    path = tmp_path / "deep" / "down" / "file"
    files.write(path, b"first and longer")
    files.write(path, b"second")
    assert path.read_bytes() == b"second"
    assert os.listdir(path.parent) == ["file"]


@pytest.mark.parametrize("where", ["open", "fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_one_sentence(monkeypatch, file, where):
    if where == "open":
        monkeypatch.setattr(files, "open", half_written, raising=False)
    else:
        monkeypatch.setattr(files.os, where, full_disk)
    with pytest.raises(SymeqError) as e:
        files.write(file, b"new content")
    monkeypatch.undo()
    assert folder_content(file.parent) == {"file": b"old content"}
    assert str(e.value) == f"{file} could not be written (No space left on device): free or unlock that disk."


def test_an_interrupt_leaves_the_old_file(monkeypatch, file):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        files.write(file, b"new content")
    assert folder_content(file.parent) == {"file": b"old content"}


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_killed_write_leaves_the_old_file(file, function):
    killed_at(function, 1, f"files.write(Path({str(file)!r}), b'new content')", file)
    assert file.read_bytes() == b"old content"
    files.write(file, b"newer content")
    assert file.read_bytes() == b"newer content"


def test_what_a_killed_write_left_is_removed_in_time(file):
    other = file.with_name("other.json")
    killed_at("replace", 1, f"files.write(Path({str(file)!r}), b'new content')", file)
    left = {f for f in file.parent.iterdir() if f != file}
    assert len(left) == 1
    files.write(file, b"another writer may still be at it")
    assert left < set(file.parent.iterdir())
    for f in left:
        os.utime(f, (0, 0))
    files.write(other, b"not its file")
    assert left < set(file.parent.iterdir())
    files.write(file, b"newer content")
    assert set(file.parent.iterdir()) == {file, other}


def test_a_file_system_that_cannot_sync_folders_will_do(monkeypatch, file):
    whole = os.fsync

    def files_only(fd):
        if not os.path.isfile(f"/proc/self/fd/{fd}"):
            raise OSError(errno.EINVAL, "Invalid argument")
        whole(fd)

    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("needs /proc")
    monkeypatch.setattr(files.os, "fsync", files_only)
    files.write(file, b"new content")
    assert folder_content(file.parent) == {"file": b"new content"}


def test_a_reader_never_sees_half_a_file(file):
    contents = [bytes([65 + k]) * 300_000 for k in range(2)]
    files.write(file, contents[0])
    seen, done = set(), threading.Event()

    def read():
        while not done.is_set():
            seen.add(file.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for k in range(40):
        files.write(file, contents[k % 2])
    done.set()
    reader.join()
    assert seen <= set(contents)
    assert seen


def test_where_no_file_can_be_is_told(tmp_path, file):
    (tmp_path / "folder").mkdir()
    for path in (file / "below", tmp_path / "folder"):
        with pytest.raises(SymeqError, match=r"could not be written \(.+\): free or unlock that disk\.$"):
            files.write(path, b"content")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


# --- a folder ---


def test_write_folder_replaces_the_whole(folder):
    assert folder_content(folder) == OLD
    files.write_folder(folder, NEW)
    assert folder_content(folder) == NEW
    assert os.listdir(folder.parent) == [folder.name]


FAILURES = [("fsync", 1), ("fsync", 2), ("rename", 1), ("rename", 2)]


@pytest.mark.parametrize(("function", "call"), FAILURES)
def test_a_full_disk_leaves_the_old_folder(monkeypatch, folder, function, call):
    monkeypatch.setattr(files.os, function, failing(getattr(os, function), call))
    with pytest.raises(SymeqError) as e:
        files.write_folder(folder, NEW)
    assert str(e.value) == f"{folder} could not be written (No space left on device): free or unlock that disk."
    assert folder_content(folder) == OLD
    assert os.listdir(folder.parent) == [folder.name]


@pytest.mark.parametrize(("function", "call"), [("fsync", 1), ("fsync", 2), ("rename", 1)])
def test_a_full_disk_leaves_no_new_folder(monkeypatch, tmp_path, function, call):
    monkeypatch.setattr(files.os, function, failing(getattr(os, function), call))
    with pytest.raises(SymeqError):
        files.write_folder(tmp_path / "new", NEW)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("function", "call"), FAILURES)
def test_a_killed_write_loses_no_folder(folder, function, call):
    killed_at(function, call, f"files.write_folder(Path({str(folder)!r}), {NEW!r})", folder)
    hidden = [f for f in folder.parent.iterdir() if f != folder]
    assert all(f.name.startswith(".") for f in hidden)
    if (function, call) == ("rename", 2):  # the moment between the two renames: both are whole, under hidden names
        assert not folder.exists()
        assert sorted(map(folder_content, hidden), key=sorted) == sorted([OLD, NEW], key=sorted)
    else:
        assert folder_content(folder) == OLD
    for f in hidden:
        os.utime(f, (0, 0))
    files.write_folder(folder, NEW)
    assert folder_content(folder) == NEW
    assert os.listdir(folder.parent) == [folder.name]


# --- JSON ---


def test_json_comes_back(tmp_path):
    value = {"a": [1, 2.5, None, True], "ä": "☃"}
    files.write_json(tmp_path / "value.json", value)
    assert files.read_json(tmp_path / "value.json") == value


def test_json_of_an_editor_that_writes_a_mark_is_read(tmp_path):
    (tmp_path / "value.json").write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert files.read_json(tmp_path / "value.json") == {"a": 1}


def test_what_is_not_json_is_never_written(file):
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(file, {"loss": float("nan")})
    assert folder_content(file.parent) == {"file": b"old content"}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"a": 1',
        b"not json",
        b'{"a": NaN}',
        b"[-Infinity]",
        b"\xff\xfe\xfd",
        b'"\xc3"',
        b"9" * 5000,
        b"[" * 100_000,
    ],
    ids=lambda c: repr(c[:12]),
)
def test_damaged_json_is_told(tmp_path, content):
    path = tmp_path / "value.json"
    path.write_bytes(content)
    with pytest.raises(SymeqError) as e:
        files.read_json(path)
    assert str(e.value) == f"{path} is damaged, as it is not JSON: restore it from a copy."


def test_a_large_json_file_is_refused_unread(tmp_path):
    path = tmp_path / "value.json"
    path.write_bytes(b'"' + b"a" * 98 + b'"')
    assert len(files.read_json(path, limit=100)) == 98
    with pytest.raises(SymeqError, match="has more than 99 bytes"):
        files.read_json(path, limit=99)


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="needs /dev/zero")
def test_an_endless_file_is_refused(tmp_path):
    (tmp_path / "value.json").symlink_to("/dev/zero")
    with pytest.raises(SymeqError, match="is too large to be one of ours"):
        files.read_json(tmp_path / "value.json")


def test_missing_and_unreadable_json_is_told(tmp_path):
    with pytest.raises(SymeqError, match=r"^There is no .*value\.json: name a folder that holds one\.$"):
        files.read_json(tmp_path / "value.json")
    with pytest.raises(SymeqError, match=r"can't be read \(Is a directory\)\.$"):
        files.read_json(tmp_path)


def test_a_file_is_read_once_until_it_changes_and_what_went_wrong_is_not_kept(tmp_path):
    path, reads = tmp_path / "value.json", []

    @files.once
    def read(path, key):
        reads.append(key)
        return files.read_json(path)[key]

    with pytest.raises(SymeqError, match="There is no"):
        read(path, "a")
    files.write_json(path, {"a": 1, "b": 2})
    assert [read(path, "a"), read(path, "a"), read(path, "b")] == [1, 1, 2]
    files.write_json(path, {"a": 3, "b": 2})
    assert read(path, "a") == 3
    path.unlink()
    with pytest.raises(SymeqError, match="There is no"):
        read(path, "a")
    assert reads == ["a", "a", "b", "a", "a"]
