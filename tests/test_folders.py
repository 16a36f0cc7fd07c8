"""Folders of own images, and zips that anybody may have made unpacked into one."""

import io
import os
import random
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from symeq_core import folders
from symeq_core.config import DataConfig
from symeq_core.datasets import load_data
from symeq_core.errors import SymeqError, UsageError


def picture(seed, kind="PNG"):
    """A real image file of 12 x 10 pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (10, 12), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def zipped(members, method=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as z:
        for name, content in members.items() if isinstance(members, dict) else members:
            z.writestr(name, content)
    buffer.seek(0)
    return buffer


def labelled(top="", n=6):
    return {f"{top}{label}/{k}.png": picture(k) for label in ("cats", "dogs") for k in range(n)}


def refused(file, root, **how):
    """The one sentence with which this zip is refused; nothing may be left behind."""
    with pytest.raises(SymeqError) as e:
        folders.unpack(file, "it.zip", root, **how)
    home = root / folders.UPLOADS
    assert not home.is_dir() or os.listdir(home) == []
    assert "\n" not in str(e.value)
    return str(e.value)


@pytest.mark.parametrize("top", ["", "my pictures/"])
def test_a_zip_becomes_a_folder_that_trains(top, tmp_path, monkeypatch):
    monkeypatch.setenv("SYMEQ_DATA", str(tmp_path / "data"))
    folder = folders.unpack(zipped(labelled(top)), "my pets.zip", tmp_path)
    assert folder.parent == tmp_path / folders.UPLOADS
    assert folder.name.startswith("my-pets-")
    found = folders.contents(folder)
    assert found.labels == ["cats", "dogs"]
    assert str(found) == "12 images with 2 labels (cats, dogs)"
    data = load_data(DataConfig(name="folder", path=str(folder), size=8, channels=1))
    assert data.label_names == ("cats", "dogs")
    assert len(data.train) + len(data.test) == 12
    assert data.train.images.shape[1:] == (1, 8, 8)


def test_images_without_folders_have_no_labels(tmp_path):
    kinds = ["PNG", "JPEG", "GIF", "BMP", "TIFF", "PPM"]
    members = {f"{k}.{kinds[k % 6].lower()}": picture(k, kinds[k % 6]) for k in range(12)}
    found = folders.contents(folders.unpack(zipped(members), "x.zip", tmp_path))
    assert (len(found.images), found.labels) == (12, [])


def test_what_is_no_image_is_passed_over(tmp_path):
    more = {"readme.txt": b"hello", "cats/Thumbs.db": b"x", "__MACOSX/cats/._1.png": b"x", ".hidden/1.png": b"x"}
    found = folders.contents(folders.unpack(zipped(labelled() | more), "x.zip", tmp_path))
    assert (len(found.images), found.labels) == (12, ["cats", "dogs"])


def test_files_keep_their_names_so_that_a_person_finds_them(tmp_path):
    folder = folders.unpack(zipped({f"cat {k}.png": picture(k) for k in range(10)}), "x.zip", tmp_path)
    assert sorted(f.name for f in folder.iterdir())[3] == "000003-cat 3.png"


def test_the_same_zip_is_unpacked_once_and_another_beside_it(tmp_path):
    first = folders.unpack(zipped(labelled()), "x.zip", tmp_path)
    before = {f: f.stat().st_mtime_ns for f in first.rglob("*")}
    assert folders.unpack(zipped(labelled()), "x.zip", tmp_path) == first
    assert {f: f.stat().st_mtime_ns for f in first.rglob("*")} == before
    second = folders.unpack(zipped(labelled(n=7)), "x.zip", tmp_path)
    assert set(folders.uploaded(tmp_path)) == {first.name, second.name}


def encrypted():
    """A good zip whose files say that they are encrypted."""
    content = bytearray(zipped(labelled(), zipfile.ZIP_STORED).getvalue())
    at = -1
    while (at := content.find(b"PK\x01\x02", at + 1)) >= 0:
        content[at + 8] |= 1
    return io.BytesIO(bytes(content))


def link():
    info = zipfile.ZipInfo("cats/link.png")
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return zipped([*labelled().items(), (info, b"/etc/passwd")])


def torn():
    content = zipped(labelled(), zipfile.ZIP_STORED).getvalue()
    at = content.find(b"IDAT") + 8
    return io.BytesIO(content[:at] + b"\xff\xff" + content[at + 2 :])


NASTY = {
    "no zip": (lambda: io.BytesIO(b"not a zip at all"), "damaged, or no zip"),
    "empty file": (lambda: io.BytesIO(b""), "damaged, or no zip"),
    "cut off": (lambda: io.BytesIO(zipped(labelled()).getvalue()[:-40]), "damaged, or no zip"),
    "changed bytes": (torn, "damaged, or no zip"),
    "encrypted": (encrypted, "it is encrypted"),
    "no images": (lambda: zipped({"notes.txt": b"hello"}), "it holds 0 images"),
    "too few": (lambda: zipped({f"{k}.png": picture(k) for k in range(9)}), "it holds 9 images"),
    "upwards": (lambda: zipped(labelled() | {"../../evil.png": picture(0)}), "'../../evil.png' is not a safe name"),
    "absolute": (lambda: zipped(labelled() | {"/tmp/evil.png": picture(0)}), "is not a safe name"),
    "backslash": (lambda: zipped(labelled() | {"..\\evil.png": picture(0)}), "is not a safe name"),
    "link": (link, "is not a file but a link"),
    "bomb": (lambda: zipped(labelled() | {"cats/big.bmp": b"\0" * (3 << 20)}), "more than 200 times as large"),
    "no image": (lambda: zipped(labelled() | {"cats/x.png": b"not an image"}), "'cats/x.png' in it is not a sound"),
    "other method": (lambda: zipped(labelled(), zipfile.ZIP_LZMA), "other than deflate"),
}


@pytest.mark.parametrize("nasty", NASTY)
def test_a_nasty_zip_is_refused_in_one_sentence_and_leaves_nothing(nasty, tmp_path):
    make, why = NASTY[nasty]
    sentence = refused(make(), tmp_path)
    assert why in sentence
    assert not (tmp_path.parent / "evil.png").exists()


def test_too_many_bytes_or_files_are_refused(tmp_path, monkeypatch):
    assert "more than 1,000 bytes" in refused(zipped(labelled()), tmp_path, limit_bytes=1000)
    monkeypatch.setattr(folders, "LIMIT_FILES", 11)
    assert "more than 11 files" in refused(zipped(labelled()), tmp_path)


def test_a_bomb_is_refused_before_anything_is_unpacked(tmp_path, monkeypatch):
    def never(*_):
        raise AssertionError("something was unpacked")

    monkeypatch.setattr(folders.shutil, "copyfileobj", never)
    refused(zipped(labelled() | {"cats/big.bmp": b"\0" * (3 << 20)}), tmp_path)


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folders.shutil, "copyfileobj", full)
    assert "No space left on device" in refused(zipped(labelled()), tmp_path)


def test_zips_changed_at_random_are_refused_or_sound(tmp_path):
    """200 zips, each with up to four bytes changed (a fixed seed)."""
    good, generator, count = zipped(labelled(), zipfile.ZIP_STORED).getvalue(), random.Random(0), 0
    for _ in range(200):
        content = bytearray(good)
        for _ in range(generator.randint(1, 4)):
            content[generator.randrange(len(content))] = generator.randrange(256)
        try:
            folder = folders.unpack(io.BytesIO(bytes(content)), "x.zip", tmp_path)
        except UsageError:
            count += 1
        else:
            assert len(folders.contents(folder).images) >= folders.LEAST
    assert 50 < count < 200
    assert not list((tmp_path / folders.UPLOADS).glob(".*"))


def test_what_a_killed_unpacking_left_goes_with_a_later_one(tmp_path):
    home = tmp_path / folders.UPLOADS
    old, young = home / ".old.partial", home / ".young.partial"
    for folder in (old, young):
        folder.mkdir(parents=True)
    os.utime(old, (0, 0))
    folders.unpack(zipped(labelled()), "x.zip", tmp_path)
    assert not old.exists()
    assert young.exists()
    assert len(folders.uploaded(tmp_path)) == 1


def test_too_few_images_in_a_folder_are_told(tmp_path):
    for k in range(9):
        (tmp_path / f"{k}.png").write_bytes(picture(k))
    with pytest.raises(SymeqError, match=r"holds too few images to train and test on \(9;"):
        folders.contents(tmp_path)


def test_looking_at_images_needs_no_torch(tmp_path):
    (tmp_path / "it.zip").write_bytes(zipped(labelled()).getvalue())
    code = (
        "import sys, pathlib; from symeq_core import folders;"
        "folders.contents(folders.unpack(open(sys.argv[1], 'rb'), 'it.zip', pathlib.Path(sys.argv[2])));"
        "print('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "it.zip"), str(tmp_path)]
    out = subprocess.run(command, cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"
