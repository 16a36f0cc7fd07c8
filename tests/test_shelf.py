"""What people do with run folders loses nothing, and no zip, however made, leaves anything but a sound run behind."""

import io
import json
import os
import random
import stat
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

from symeq_core import runs, shelf
from symeq_core.config import Config, override, to_dict
from symeq_core.errors import SymeqError, UsageError
from symeq_core.presets import preset
from symeq_core.runs import Run, all_runs

METRICS = {"event": "metrics", "step": 10, "seconds": 1.0, "utility": {"p": -1.0}, "terms": {"p": {}}, "grad_norm": {}}
FIGURE = {"value": -1.0, "stderr": 0.1, "n": 500, "unit": "nats per image"}
PROBE = {"event": "probe", "step": 10, "seconds": 1.0, "figures": {"L_p": FIGURE}}


def png(width=8, height=8):
    buffer = io.BytesIO()
    Image.new("L", (width, height)).save(buffer, "PNG")
    return buffer.getvalue()


def tensors(n=4):
    return safetensors.numpy.save({"p.w": np.arange(n, dtype=np.float32)}, {"step": "10"})


def lines(*events):
    return "".join(json.dumps(e) + "\n" for e in events).encode()


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "runs"
    folder.mkdir()
    return folder


@pytest.fixture
def run(root):
    """A run with everything a run can have."""
    made = Run.create(root / "mine", override(Config(), {"name": "my run", "seed": 7}))
    for event in ({"event": "start", "step": 0}, METRICS, PROBE, {"event": "stopped", "step": 10}):
        made.append(event)
    made.weights.write_bytes(tensors())
    for step in (0, 10):
        made.write_snapshot(step, {k: tensors() if k.endswith("tensors") else png() for k in shelf.SNAPSHOT})
    (made.folder / "commands").mkdir()
    for name in ("lock", "log.txt", "commands/1.json", ".config.json.abc.tmp"):
        (made.folder / name).write_text("{}")
    return made


def refusal(kind, call, *arguments, **options):
    """The one sentence with which a call fails."""
    with pytest.raises(kind) as caught:
        call(*arguments, **options)
    assert type(caught.value) is kind
    sentence = str(caught.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert len(sentence) < 500
    return sentence


def contents(folder):
    return {f.relative_to(folder).as_posix(): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


# --- names ---


def test_find(root, run):
    assert shelf.find(root, "mine").folder == run.folder
    assert shelf.find(str(root), "mine").config() == run.config()
    for name in ("A-1.2_x", "modèle 2", "模型"):
        Run.create(root / name, Config())
        assert shelf.find(root, name).folder.name == name


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            ".",
            "..",
            "../runs/mine",
            "mine/",
            "/etc",
            "mine/../mine",
            ".trash",
            "mine\0",
            "mine\n",
            "C:mine",
            "a\\b",
        ),
        *("nowhere", "empty", "checkpoint", "file", "link", "x" * 5000, "é" * 199, "-mine", "<b>mine"),
    ],
)
def test_find_refuses_what_is_no_run_in_root(root, run, name, tmp_path):
    (root / "empty").mkdir()
    (root / "file").touch()
    Run.create(root / "checkpoint", Config())
    (root / "checkpoint" / "model.safetensors").touch()
    outside = Run.create(tmp_path / "outside", Config())
    (root / "link").symlink_to(outside.folder)
    assert "There is no run" in refusal(SymeqError, shelf.find, root, name)


def test_rename_changes_the_name_shown_and_nothing_else(run):
    before = run.config()
    shelf.rename(run, "  größer,\t besser ")
    assert run.config() == override(before, {"name": "größer, besser"})
    assert Run.open(run.folder).state() == "stopped"


@pytest.mark.parametrize("name", ["", "  ", "x" * 81, "a\0b", "a\x1b[2J", "\u202eabc", "\ud800"])
def test_rename_refuses_what_is_no_name(run, name):
    assert "1 to 80 characters" in refusal(UsageError, shelf.rename, run, name)
    assert run.config().name == "my run"


def test_what_is_being_trained_can_be_sent_and_duplicated_but_not_renamed_or_deleted(root, run):
    with run.lock():
        assert "stop it first" in refusal(UsageError, shelf.rename, run, "other")
        assert "stop it first" in refusal(UsageError, shelf.delete, run)
        assert shelf.import_zip(shelf.export_zip(run), root).config() == run.config()
        assert shelf.duplicate(run, root).config() == run.config()
    assert run.config().name == "my run"
    assert shelf.trash(root) == []


def test_nobody_starts_a_run_that_is_being_renamed(run, monkeypatch):
    def look(self, config):
        assert self.is_running()

    monkeypatch.setattr(Run, "write_config", look)
    shelf.rename(run, "other")


def test_duplicate_has_the_settings_and_nothing_else(root, run):
    copies = [shelf.duplicate(run, root) for _ in range(3)]
    assert len({c.folder for c in copies}) == 3
    for copy in copies:
        assert os.listdir(copy.folder) == ["config.json"]
        assert (copy.config(), copy.state()) == (run.config(), "new")
        assert shelf.find(root, copy.folder.name).folder == copy.folder


@pytest.mark.parametrize("name", ["../../x", ".hidden", "-rf", "~", "", "a/b\\c:d", "é" * 200])
def test_a_duplicate_of_any_name_is_found_in_root(root, name):
    run = Run.create(root / "mine", override(Config(), {"name": name}))
    copy = shelf.duplicate(run, root)
    assert copy.folder.parent == root
    assert shelf.find(root, copy.folder.name).config().name == name


def test_a_duplicate_that_fails_leaves_nothing(root, run, monkeypatch):
    def full(*_):
        raise SymeqError("The disk is full.")

    monkeypatch.setattr(Run, "write_config", full)
    refusal(SymeqError, shelf.duplicate, run, root)
    assert os.listdir(root) == ["mine"]


def test_what_is_gone_is_said_to_be(root):
    for call in (
        shelf.delete,
        shelf.export_zip,
        lambda run: shelf.rename(run, "a"),
        lambda run: shelf.duplicate(run, root),
    ):
        refusal(SymeqError, call, Run(root / "gone"))
    assert os.listdir(root) == []  # no lock file makes a folder


# --- the trash ---


def test_delete_and_restore(root, run):
    before = contents(run.folder)
    key = shelf.delete(run)
    assert all_runs(root) == []
    (trashed,) = shelf.trash(root)
    assert (trashed.key, trashed.name) == (key, "mine")
    assert abs(trashed.deleted - time.time()) < 60
    back = shelf.restore(root, key)
    assert back.folder == run.folder
    assert contents(back.folder) == before
    assert shelf.trash(root) == []
    assert not back.is_running()


def test_restore_never_replaces_a_run(root, run):
    key = shelf.delete(run)
    new = Run.create(root / "mine", Config())
    (root / "mine-2").mkdir()
    back = shelf.restore(root, key)
    assert back.folder == root / "mine-3"
    assert back.config().name == "my run"
    assert new.config() == Config()


@pytest.mark.parametrize("key", ["", ".", "..", "../mine", "nowhere", "0" * 20 + "-mine", "0" * 20 + "-../../mine"])
def test_restore_refuses_what_is_not_in_the_trash(root, run, key):
    shelf.delete(Run.create(root / "other", Config()))
    (root / ".trash" / "unrelated").mkdir()
    assert "no longer in the trash" in refusal(SymeqError, shelf.restore, root, key)


def test_the_trash_is_emptied_by_age(root):
    keys = [shelf.delete(Run.create(root / "same", Config())) for _ in range(3)]
    assert [t.key for t in shelf.trash(root)] == keys[::-1]
    old = f"{time.time_ns() - 100 * 10**9:020d}-same"
    (root / ".trash" / keys[0]).rename(root / ".trash" / old)
    assert shelf.empty_trash(root, older_than_s=50) == 1
    assert [t.key for t in shelf.trash(root)] == keys[:0:-1]
    assert shelf.empty_trash(root) == 2
    assert shelf.trash(root) == []
    assert shelf.empty_trash(root) == 0
    assert shelf.empty_trash(root / "nowhere") == 0


def test_size_is_that_of_all_files(run):
    assert shelf.size(run) == sum(map(len, contents(run.folder).values()))
    assert shelf.size(Run(run.folder / "gone")) == 0


# --- zips ---


def test_export_and_import_again(root, run):
    exported = shelf.export_zip(run)
    assert exported == shelf.export_zip(run)
    with zipfile.ZipFile(io.BytesIO(exported)) as z:
        assert z.testzip() is None
        assert not [n for n in z.namelist() if "lock" in n or "log" in n or "commands" in n or "tmp" in n]
    back = shelf.import_zip(exported, root)
    assert back.folder == root / "mine-2"
    left_out = ("lock", "log.txt", "commands/1.json", ".config.json.abc.tmp")
    assert contents(back.folder) == {k: v for k, v in contents(run.folder).items() if k not in left_out}
    assert (back.state(), back.step(), list(back.snapshots())) == ("stopped", 10, [0, 10])
    assert set(os.listdir(root)) == {"mine", "mine-2"}


def test_a_torn_event_is_not_sent(root, run):
    with open(run.folder / "events.jsonl", "ab") as f:
        f.write(b'{"event": "met')
    back = shelf.import_zip(shelf.export_zip(run), root)
    assert (back.folder / "events.jsonl").read_bytes().endswith(b"}\n")
    assert back.events() == run.events()


def test_a_run_that_never_started_can_be_sent(root):
    run = Run.create(root / "new", Config())
    assert shelf.import_zip(shelf.export_zip(run), root).state() == "new"


def test_a_run_goes_on_after_a_journey(root, tmp_path):
    from symeq_core.worker import Worker

    config = override(preset("digits-flat-symmetric"), {"train.steps": 4, "train.log_every": 2})
    run = Run.create(root / "trained", config)
    Worker(run).work()
    back = shelf.import_zip(shelf.export_zip(run), tmp_path / "elsewhere")
    longer = {"train.steps": 6}
    for each in (run, back):
        assert Worker(each, changes=longer).work() == "finished"
    here, there = (safetensors.numpy.load_file(r.weights) for r in (run, back))
    assert all((here[k] == there[k]).all() for k in here if k != "trainer.seconds")


GOOD = {
    "config.json": json.dumps(to_dict(Config())).encode(),
    "events.jsonl": lines(METRICS, PROBE),
    "latest.safetensors": tensors(),
    "snapshots/00000010/samples.png": png(),
}


def zipped(entries, method=zipfile.ZIP_DEFLATED):
    """A zip of {name: content} or [(name or ZipInfo, content), ...]."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as z:
        for name, content in entries.items() if isinstance(entries, dict) else entries:
            z.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize("form", ["bytes", "path", "text", "stream"])
def test_import_takes_a_path_bytes_or_a_stream(root, tmp_path, form):
    file = tmp_path / "it.zip"
    file.write_bytes(zipped(GOOD))
    with open(file, "rb") as stream:
        given = {"bytes": file.read_bytes(), "path": file, "text": str(file), "stream": stream}[form]
        assert contents(shelf.import_zip(given, root).folder) == GOOD


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param({f"top/{k}": v for k, v in GOOD.items()}, id="one folder"),
        pytest.param({"top/": b"", "top/snapshots/": b""} | {f"top/{k}": v for k, v in GOOD.items()}, id="folders"),
        pytest.param(
            GOOD | {"lock": b"", "log.txt": b"x", "commands/1.json": b"{}", ".DS_Store": b"", "__MACOSX/._lock": b""},
            id="a whole folder",
        ),
    ],
)
def test_import_takes_zips_made_by_hand(root, entries):
    run = shelf.import_zip(zipped(entries), root)
    assert contents(run.folder) == GOOD
    assert run.folder.name == ("top" if "top/config.json" in entries else "run")
    assert os.listdir(root) == [run.folder.name]


@pytest.mark.parametrize("top", [".hidden", "-rf", "_", "~", "é" * 100, "a<b>c"])
def test_the_folder_of_an_import_is_one_that_can_be_found(root, top):
    run = shelf.import_zip(zipped({f"{top}/{k}": v for k, v in GOOD.items()}), root)
    assert shelf.find(root, run.folder.name).config() == Config()


def test_import_of_a_checkpoint(root):
    checkpoint = {
        "config.json": GOOD["config.json"],
        "model.safetensors": tensors(),
        "metrics.json": b'{"content": "", "figures": {}}',
        "chains.json": b'{"content": ""}',
    }
    folder = shelf.import_zip(zipped(checkpoint | {"thumbnail.png": png()}), root).folder
    assert not runs.is_run(folder)
    assert (folder / "model.safetensors").read_bytes() == tensors()


def link(name, target, mode=stat.S_IFLNK):
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, (mode | 0o777) << 16
    return info, target


def raw_name(wanted):
    """A zip with a name that zipfile itself would not write: it is put in place of one of the same length."""
    stand_in = "x" * len(wanted)
    return zipped([*GOOD.items(), (stand_in, b"")]).replace(stand_in.encode(), wanted.encode())


def encrypted():
    """As zipfile writes none: the flag, in the local header and in the list."""
    content = bytearray(zipped(GOOD))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


def lying(declared):
    """The size in the list of contents is another than that of the content."""
    content = bytearray(zipped(GOOD | {"events.jsonl": lines(*[METRICS] * 100)}))
    entry = [k for k in range(len(content)) if content[k : k + 4] == b"PK\x01\x02"][1]
    content[entry + 24 : entry + 28] = declared.to_bytes(4, "little")
    return bytes(content)


def many(n):
    return zipped([*GOOD.items(), *((f"snapshots/{k:08d}/samples.png", b"") for k in range(n))], zipfile.ZIP_STORED)


def with_config(content):
    return zipped(GOOD | {"config.json": content if isinstance(content, bytes) else json.dumps(content).encode()})


NASTY = {
    "nothing": (b"", "no zip"),
    "text": (b"hello" * 100, "no zip"),
    "half": (lambda: zipped(GOOD)[:-200], "no zip"),
    "empty": (lambda: zipped({}), "holds no run"),
    "no config": (lambda: zipped({"events.jsonl": b""}), "holds no run"),
    "deep config": (lambda: zipped({"a/b/config.json": GOOD["config.json"]}), "holds no run"),
    "two runs": (lambda: zipped({f"{t}/{k}": v for t in "ab" for k, v in GOOD.items()}), "more than one run"),
    "beside the folder": (
        lambda: zipped({f"a/{k}": v for k, v in GOOD.items()} | {"b/lock": b""}),
        "not part of a run",
    ),
    "absolute": (lambda: zipped([*GOOD.items(), ("/etc/passwd", b"")]), "not a safe name"),
    "parent": (lambda: zipped([*GOOD.items(), ("../config.json", b"")]), "not a safe name"),
    "parent inside": (lambda: zipped([*GOOD.items(), ("snapshots/../../x", b"")]), "not a safe name"),
    "parent as top": (lambda: zipped({f"../{k}": v for k, v in GOOD.items()}), "not a safe name"),
    "dot": (lambda: zipped([*GOOD.items(), ("./events.jsonl", b"")]), "not a safe name"),
    "double slash": (lambda: zipped([*GOOD.items(), ("snapshots//x", b"")]), "not a safe name"),
    "drive": (lambda: zipped([*GOOD.items(), ("C:/x", b"")]), "not a safe name"),
    "drive alone": (lambda: zipped([*GOOD.items(), ("C:x", b"")]), "not a safe name"),
    "backslash": (lambda: raw_name("..\\..\\config.json"), "not a safe name"),
    "nul": (lambda: raw_name("config.json\0.png"), "not a safe name"),
    "line end": (lambda: zipped([*GOOD.items(), ("log.txt\n", b"")]), "not a safe name"),
    "ignored parent": (lambda: zipped([*GOOD.items(), ("commands/../../x", b"")]), "not a safe name"),
    "symlink": (lambda: zipped([*GOOD.items(), link("thumbnail.png", "/etc/passwd")]), "is not a file"),
    "folder symlink": (lambda: zipped([*GOOD.items(), link("snapshots", "/tmp")]), "is not a file"),
    "pipe": (lambda: zipped([*GOOD.items(), link("thumbnail.png", "", stat.S_IFIFO)]), "is not a file"),
    "program": (lambda: zipped(GOOD | {"run.py": b"import os"}), "not part of a run"),
    "pickle": (lambda: zipped(GOOD | {"latest.pt": b""}), "not part of a run"),
    "hidden": (lambda: zipped(GOOD | {".config.json.x.tmp": b""}), "not part of a run"),
    "snapshot name": (lambda: zipped(GOOD | {"snapshots/00000010/x.png": png()}), "not part of a run"),
    "snapshot step": (lambda: zipped(GOOD | {"snapshots/٠٠٠٠٠٠٠٠/samples.png": png()}), "not part of a run"),
    "snapshot depth": (lambda: zipped(GOOD | {"snapshots/00000010/a/samples.png": png()}), "not part of a run"),
    "both weights": (lambda: zipped(GOOD | {"model.safetensors": tensors()}), "has both"),
    "encrypted": (encrypted, "is encrypted"),
    "lzma": (lambda: zipped(GOOD, zipfile.ZIP_LZMA), "other than deflate"),
    "bzip2": (lambda: zipped(GOOD, zipfile.ZIP_BZIP2), "other than deflate"),
    "bomb": (lambda: zipped(GOOD | {"events.jsonl": bytes(20 << 20)}), "times as large"),
    "too much": (lambda: zipped(GOOD | {"events.jsonl": os.urandom(3 << 20)}), "bytes together"),
    "too many": (lambda: many(10_001), "more than 10,000 files"),
    "far too many": (lambda: many(60_000), "more than 10,000 files"),
    "smaller than it says": (lambda: lying(1 << 20), "events.jsonl is damaged"),
    "larger than it says": (lambda: lying(10), "no zip"),
    "config no json": (lambda: with_config(b"{"), "config.json is damaged"),
    "config no dict": (lambda: with_config([1]), "config.json is damaged"),
    "config nested": (lambda: with_config(b"[" * 100_000), "config.json is damaged"),
    "config not text": (lambda: with_config(b"\xff\xfe\xfd"), "config.json is damaged"),
    "config too long": (lambda: with_config(b'{"name": "%s"}' % os.urandom(1 << 20).hex().encode()), "is damaged"),
    "config wrong": (lambda: with_config(to_dict(Config()) | {"seed": "x" * 10_000}), "config.json is not valid: seed"),
    "config unknown": (lambda: with_config(to_dict(Config()) | {"__class__": 1}), "there is no field"),
    "config surrogate": (lambda: with_config(b'{"name": "\\ud800"}'), "config.json is damaged"),
    "config infinite": (lambda: with_config(b'{"x": Infinity}'), "config.json is damaged"),
    "metrics": (lambda: zipped(GOOD | {"metrics.json": b"x"}), "metrics.json is damaged"),
    "metrics of a wrong kind": (lambda: zipped(GOOD | {"metrics.json": b'{"content": 3}'}), "metrics.json is damaged"),
    "chains of a wrong kind": (lambda: zipped(GOOD | {"chains.json": b'{"content": 3}'}), "chains.json is damaged"),
    "cut picture": (lambda: zipped(GOOD | {"thumbnail.png": png()[:40]}), "thumbnail.png is damaged"),
    "weights": (lambda: zipped(GOOD | {"latest.safetensors": b"x" * 100}), "latest.safetensors is damaged"),
    "no weights": (lambda: zipped(GOOD | {"latest.safetensors": b""}), "latest.safetensors is damaged"),
    "short weights": (lambda: zipped(GOOD | {"latest.safetensors": tensors()[:-1]}), "latest.safetensors is damaged"),
    "long header": (
        lambda: zipped(GOOD | {"latest.safetensors": (1 << 60).to_bytes(8, "little") + b"{}"}),
        "latest.safetensors is damaged",
    ),
    "picture": (lambda: zipped(GOOD | {"thumbnail.png": b"<svg onload=alert(1)>"}), "thumbnail.png is damaged"),
    "huge picture": (
        lambda: zipped(GOOD | {"thumbnail.png": png()[:16] + b"\0\1\0\0" * 2 + png()[24:]}),
        "thumbnail.png is damaged",
    ),
    "metrics event": (
        lambda: zipped(GOOD | {"events.jsonl": lines({"event": "metrics", "step": 1})}),
        "events.jsonl is damaged",
    ),
    "probe event": (
        lambda: zipped(GOOD | {"events.jsonl": lines(PROBE | {"figures": {"L_p": 3}})}),
        "events.jsonl is damaged",
    ),
    "infinite event": (
        lambda: zipped(GOOD | {"events.jsonl": lines(METRICS | {"seconds": float("inf")})}),
        "events.jsonl is damaged",
    ),
    "event of no text": (
        lambda: zipped(GOOD | {"events.jsonl": lines({"event": "failed", "why": "\ud800"})}),
        "events.jsonl is damaged",
    ),
    "time of an event": (lambda: zipped(GOOD | {"events.jsonl": lines(METRICS | {"time": "x"})}), "events.jsonl is"),
}


@pytest.mark.parametrize("nasty", NASTY)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_import_refuses_a_nasty_zip_and_leaves_nothing(tmp_path, root, nasty):
    content, why = NASTY[nasty]
    content = content() if callable(content) else content
    assert why in refusal(
        UsageError, shelf.import_zip, content, root, limit_bytes=(2 if nasty == "too much" else 50) << 20
    )
    assert os.listdir(root) == []
    assert os.listdir(tmp_path) == ["runs"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_import_refuses_one_name_twice(root):
    sentence = refusal(UsageError, shelf.import_zip, zipped([*GOOD.items(), ("config.json", b"{}")]), root)
    assert "config.json twice" in sentence
    assert os.listdir(root) == []


def test_no_missing_file_is_imported(root, tmp_path):
    refusal(UsageError, shelf.import_zip, tmp_path / "nowhere.zip", root)


def test_a_full_disk_leaves_nothing(root, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shelf.shutil, "copyfileobj", full)
    assert "No space left" in refusal(SymeqError, shelf.import_zip, zipped(GOOD), root)
    assert os.listdir(root) == []


def test_what_a_killed_import_left_goes_with_a_later_one(root):
    old, young = root / ".import-old", root / ".import-young"
    for folder in (old, young):
        (folder / "run").mkdir(parents=True)
    os.utime(old, (0, 0))
    shelf.import_zip(zipped(GOOD), root)
    assert set(os.listdir(root)) == {".import-young", "run"}


def test_damaged_zips_are_refused_in_one_sentence(root):
    """Bytes of a good zip changed at random (a fixed seed): it is refused, or what comes out is sound."""
    good, generator = zipped({f"top/{k}": v for k, v in GOOD.items()}), random.Random(0)
    refused = 0
    for _ in range(300):
        content = bytearray(good)
        for _ in range(generator.randint(1, 4)):
            content[generator.randrange(len(content))] = generator.randrange(256)
        try:
            run = shelf.import_zip(bytes(content), root)
        except UsageError:
            refused += 1
        else:
            assert run.config() == Config()
            assert run.events()
            shelf.delete(run)
            shelf.empty_trash(root)
        assert set(os.listdir(root)) <= {".trash"}
    assert 100 < refused < 300


def test_importing_the_shelf_and_a_zip_needs_no_torch(root, tmp_path):
    (tmp_path / "it.zip").write_bytes(zipped(GOOD))
    code = "import sys; from symeq_core import shelf; shelf.import_zip(*sys.argv[1:]); print('torch' in sys.modules)"
    out = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "it.zip"), str(root)],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert out.stdout.strip() == "False"
