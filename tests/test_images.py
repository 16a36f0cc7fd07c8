"""Image files as people have them -> bytes; and the cache of what was decoded."""

import errno
import io
import os
import queue
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image

from symeq_core import folders, images
from symeq_core.errors import SymeqError

torch.set_num_threads(1)
SIDE = 8


def flat(mode, colour, size=(SIDE, SIDE)):
    return Image.new(mode, size, colour)


def flat_16_bits(value):
    return Image.fromarray(np.full((SIDE, SIDE), value, np.uint16))


def palette(colour, transparent=None):
    picture = flat("P", 3)
    picture.putpalette([0, 0, 0] * 3 + list(colour))
    if transparent is not None:
        picture.info["transparency"] = transparent
    return picture


def message_of(call, *args, **options):
    with pytest.raises(SymeqError) as e:
        call(*args, **options)
    assert len(str(e.value).splitlines()) == 1
    return str(e.value)


# --- one file --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "picture", "rgb"),
    [
        ("grey.png", flat("L", 100), (100, 100, 100)),
        ("rgb.png", flat("RGB", (10, 200, 30)), (10, 200, 30)),
        ("rgb.bmp", flat("RGB", (10, 200, 30)), (10, 200, 30)),
        ("one-bit.png", flat("1", 1), (255, 255, 255)),
        ("palette.gif", palette((10, 200, 30)), (10, 200, 30)),
        ("palette-see-through.png", palette((10, 200, 30), transparent=3), (255, 255, 255)),
        ("rgba-opaque.png", flat("RGBA", (10, 200, 30, 255)), (10, 200, 30)),
        ("rgba-see-through.png", flat("RGBA", (10, 200, 30, 0)), (255, 255, 255)),
        ("rgba-fifth.webp", flat("RGBA", (0, 0, 0, 51)), (204, 204, 204)),
        ("grey-see-through.png", flat("LA", (10, 0)), (255, 255, 255)),
        ("cmyk.tif", flat("CMYK", (255, 0, 0, 0)), (0, 255, 255)),
        ("16-bits.png", flat_16_bits(100 * 257), (100, 100, 100)),
        ("16-bits.tif", flat_16_bits(100 * 257), (100, 100, 100)),
        ("16-bits.pgm", flat_16_bits(100 * 257), (100, 100, 100)),
        ("16-bits-white.png", flat_16_bits(65535), (255, 255, 255)),
    ],
)
def test_a_picture_is_read_as_it_is_shown(tmp_path, name, picture, rgb):
    lossless = {"lossless": True} if name.endswith(".webp") else {}
    picture.save(tmp_path / name, **lossless)
    colour, grey = (images.read(tmp_path / name, SIDE, channels) for channels in (3, 1))
    assert colour.dtype == grey.dtype == torch.uint8
    assert colour.shape == (3, SIDE, SIDE)
    assert grey.shape == (1, SIDE, SIDE)
    assert torch.equal(colour, torch.tensor(rgb, dtype=torch.uint8)[:, None, None].expand(3, SIDE, SIDE))
    luma = Image.new("RGB", (1, 1), rgb).convert("L").getpixel((0, 0))
    assert torch.equal(grey, torch.full((1, SIDE, SIDE), luma, dtype=torch.uint8))


@pytest.mark.parametrize("size", [(3 * SIDE, SIDE), (SIDE, 3 * SIDE)])
def test_the_central_square_is_kept(tmp_path, size):
    picture = flat("L", 0, size)
    picture.paste(200, ((size[0] - SIDE) // 2, (size[1] - SIDE) // 2, (size[0] + SIDE) // 2, (size[1] + SIDE) // 2))
    picture.save(tmp_path / "wide.png")
    assert torch.equal(images.read(tmp_path / "wide.png", SIDE, 1), torch.full((1, SIDE, SIDE), 200).byte())


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (400, 300)])
def test_any_size_is_resized(tmp_path, size):
    flat("L", 77, size).save(tmp_path / "a.png")
    assert torch.equal(images.read(tmp_path / "a.png", SIDE, 1), torch.full((1, SIDE, SIDE), 77).byte())


def test_rows_and_columns_are_not_exchanged(tmp_path):
    values = torch.arange(SIDE * SIDE, dtype=torch.uint8).view(1, SIDE, SIDE)
    Image.fromarray(values[0].numpy()).save(tmp_path / "a.png")
    assert torch.equal(images.read(tmp_path / "a.png", SIDE, 1), values)


def test_exif_orientation_is_obeyed(tmp_path):
    picture = flat("L", 0, (16, 16))
    picture.paste(255, (0, 0, 8, 16))  # the left half is white ...
    exif = Image.Exif()
    exif[0x0112] = 6  # ... and becomes the top when the camera's turn by 90 degrees is undone
    picture.save(tmp_path / "turned.jpg", exif=exif, quality=100)
    pixels = images.read(tmp_path / "turned.jpg", 16, 1)
    assert pixels[0, :7].min() > 250
    assert pixels[0, 9:].max() < 5


def _truncated(file):
    whole = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)).save(whole, "PNG")
    file.write_bytes(whole.getvalue()[:1000])


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("empty.png", lambda f: f.touch()),
        ("text.jpg", lambda f: f.write_text("<html>not an image</html>")),
        ("truncated.png", _truncated),
        ("floats.tif", lambda f: flat("F", 0.5).save(f)),
        ("32-bits.tif", lambda f: flat("I", 70000).save(f)),
        ("missing.png", lambda f: None),
        ("folder.png", lambda f: f.mkdir()),
    ],
)
def test_what_is_no_usable_image_is_named(tmp_path, name, write):
    write(tmp_path / name)
    message = message_of(images.read, tmp_path / name, SIDE, 1)
    assert message.count(str(tmp_path / name)) == 1
    assert message.endswith("repair or remove it.")


def test_an_absurdly_large_image_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    flat("1", 0, (100, 100)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4999)  # Pillow refuses twice as many
    message = message_of(images.read, tmp_path / "bomb.png", SIDE, 1)
    assert "bomb.png" in message
    assert "10000 pixels" in message


# --- folders ---------------------------------------------------------------------------------------------------


def test_image_files_are_found_by_suffix_and_sorted_by_name(tmp_path):
    for name in ("b.PNG", "a.jpeg", "C.jpg", "z.TIFF", ".hidden.png", "notes.txt", "Thumbs.db", "png", "x.png.part"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [f.name for f in folders.image_files(tmp_path)] == ["C.jpg", "a.jpeg", "b.PNG", "z.TIFF"]


def test_image_folders_hold_images_themselves_and_are_not_hidden(tmp_path):
    for name in ("cats/1.png", "Dogs/1.png", ".thumbnails/1.png", "deep/er/1.png", "notes/readme.txt"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    (tmp_path / "beside.png").touch()
    assert [f.name for f in folders.image_folders(tmp_path)] == ["Dogs", "cats"]


@pytest.mark.skipif(os.name == "nt", reason="making links needs a privilege there")
def test_links_are_followed_but_never_in_circles_or_nowhere(tmp_path):
    real, seen = tmp_path / "real", tmp_path / "seen"
    real.mkdir()
    seen.mkdir()
    (real / "1.png").touch()
    (seen / "linked.png").symlink_to(real / "1.png")
    (seen / "nowhere.png").symlink_to(real / "2.png")
    (seen / "circle.png").symlink_to(seen / "circle.png")
    (seen / "folder").symlink_to(real)
    assert [f.name for f in folders.image_files(seen)] == ["linked.png"]
    (seen / "again").symlink_to(seen)
    assert [f.name for f in folders.image_folders(seen)] == ["again", "folder"]


@pytest.mark.parametrize("find", [folders.image_files, folders.image_folders])
def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch, find):
    (tmp_path / "locked").mkdir()

    def refuse(self):
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", refuse)
    message = message_of(find, tmp_path / "locked")
    assert message.count(str(tmp_path / "locked")) == 1
    assert "Permission denied" in message


# --- the cache -------------------------------------------------------------------------------------------------


class Folder:
    """Five files of 12 bytes; a `picture` of one is its bytes [3, 2, 2]."""

    def __init__(self, path):
        self.path, self.cache, self.opened = path / "pictures", path / "cache" / "small", []
        self.path.mkdir()
        self.files = [self.path / f"{k}.raw" for k in range(5)]
        for k, file in enumerate(self.files):
            file.write_bytes(bytes(range(k, k + 12)))

    def picture(self, file):
        self.opened.append(file.name)
        return torch.frombuffer(bytearray(file.read_bytes()), dtype=torch.uint8).view(3, 2, 2)

    def load(self, progress=None):
        self.opened.clear()
        return images.decoded("pictures", self.files, self.picture, (3, 2, 2), self.cache, progress)

    def truth(self):
        return torch.stack([torch.tensor(list(f.read_bytes())).view(3, 2, 2).byte() for f in self.files])

    def kept(self):
        return sorted(f for f in self.cache.parent.iterdir() if f.suffix != ".lock")


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


def test_pictures_are_decoded_once(folder):
    first = folder.load()
    assert folder.opened == [f.name for f in folder.files]
    assert torch.equal(first, folder.truth())
    second = folder.load()
    assert folder.opened == []
    assert second.dtype == torch.uint8
    assert torch.equal(second, folder.truth())


def test_the_cache_can_not_be_changed_through_its_tensor(folder):
    folder.load()
    folder.load().zero_()
    assert torch.equal(folder.load(), folder.truth())
    assert folder.opened == []


def _swap(f):
    f.files[1].rename(f.path / "x")
    f.files[2].rename(f.files[1])
    (f.path / "x").rename(f.files[2])
    for k in (1, 2):  # when a file was changed is part of the key; here only that tells
        os.utime(f.files[k], ns=(0, 10**18 + k))


def _other_bytes(f):
    before = f.files[3].stat().st_mtime_ns
    f.files[3].write_bytes(bytes(range(100, 112)))
    os.utime(f.files[3], ns=(before + 10**9, before + 10**9))


def _other_name(f):
    f.files[4] = f.files[4].rename(f.path / "new.raw")


@pytest.mark.parametrize("change", [_swap, _other_bytes, _other_name, lambda f: f.files.reverse()])
def test_other_images_of_the_same_number_are_decoded_anew_and_replace_the_old(folder, change):
    folder.load()
    old = folder.kept()
    change(folder)
    assert torch.equal(folder.load(), folder.truth())
    assert len(folder.opened) == 5
    assert len(folder.kept()) == len(old) == 1
    assert folder.kept() != old


def _rewrite(change):
    return lambda file: file.write_bytes(change(file.read_bytes()))


def _save(value):
    def write(file):
        with open(file, "wb") as f:
            np.save(f, value)

    return write


@pytest.mark.parametrize(
    "damage",
    [
        _rewrite(lambda whole: b""),
        _rewrite(lambda whole: whole[:5]),
        _rewrite(lambda whole: whole[:-1]),
        _rewrite(lambda whole: b"<html>" * 50),
        _rewrite(lambda whole: whole.replace(b"(5, 3, 2, 2)", b"(5, 3, 2, 3)")),
        _save(np.zeros((4, 3, 2, 2), np.uint8)),
        _save(np.zeros((5, 3, 2, 2), np.int8)),
        _save(np.array([{"an": "object"}], dtype=object)),
    ],
)
def test_a_damaged_cache_is_decoded_anew(folder, damage):
    folder.load()
    (kept,) = folder.kept()
    damage(kept)
    assert torch.equal(folder.load(), folder.truth())
    assert len(folder.opened) == 5
    folder.load()
    assert folder.opened == []  # and mended


def test_what_a_killed_process_left_is_removed(folder):
    folder.cache.parent.mkdir()
    (folder.cache.parent / f"{folder.cache.name}-0123.npy.99.tmp").write_bytes(b"half")
    (folder.cache.parent / "other-0123.npy").write_bytes(b"not ours")
    folder.load()
    names = [f.name for f in folder.kept()]
    assert len(names) == 2
    assert "other-0123.npy" in names
    assert not any(n.endswith(".tmp") for n in names)


def _refuse(number):
    def call(*args, **options):
        raise OSError(number, os.strerror(number))

    return call


def _read_only(folder, monkeypatch):
    """As on a disk mounted read-only, where even removing what isn't there is refused."""
    folder.cache.parent.mkdir()
    monkeypatch.setattr(images, "open", _refuse(errno.EROFS), raising=False)
    monkeypatch.setattr(images.FileLock, "acquire", _refuse(errno.EROFS))
    monkeypatch.setattr(Path, "unlink", _refuse(errno.EROFS))


def _full(folder, monkeypatch):
    monkeypatch.setattr(np, "save", _refuse(errno.ENOSPC))


def _a_file_in_the_way(folder, monkeypatch):
    folder.cache.parent.write_text("a file where the cache's folder would be")


@pytest.mark.parametrize("spoil", [_read_only, _full, _a_file_in_the_way])
def test_where_nothing_can_be_written_it_costs_only_time(folder, monkeypatch, spoil):
    spoil(folder, monkeypatch)
    for _ in range(2):
        assert torch.equal(folder.load(), folder.truth())
        assert len(folder.opened) == 5
    assert not folder.cache.parent.is_dir() or folder.kept() == []


def test_progress_tells_how_many_of_how_many(folder):
    file, told = folder.files[0], []
    folder.files = [file] * 250
    folder.load(lambda *facts: told.append(facts))
    assert told == [("decoding pictures", k, 250) for k in (100, 200, 250)]


def test_a_picture_that_fails_leaves_no_cache(folder):
    folder.files[3].unlink()
    with pytest.raises(FileNotFoundError):
        folder.load()
    assert folder.kept() == []


def test_more_than_fits_into_memory_is_one_sentence(folder):
    shape = (3, 2**24, 2**24)  # 5 times 8e14 bytes, more than any address space has
    message = message_of(images.decoded, "x", folder.files, folder.picture, shape, folder.cache, None)
    assert "5 images" in message
    assert "data.size" in message


@pytest.fixture
def first(folder, monkeypatch):
    """The lock of the folder's cache, held as by another process."""
    monkeypatch.setattr(images, "WAIT_SECONDS", 0.02)
    folder.cache.parent.mkdir()
    lock = FileLock(folder.cache.with_name(f".{folder.cache.name}.lock"))
    with lock:
        yield lock


def loading(folder, progress):
    """Load in a thread of its own; the queue will hold the pictures, or the error."""
    end = queue.Queue()

    def load():
        try:
            end.put(folder.load(progress))
        except SymeqError as e:
            end.put(str(e))

    threading.Thread(target=load, daemon=True).start()
    return end


def test_a_second_process_waits_says_so_and_goes_on_when_the_first_is_done(folder, first):
    told = queue.Queue()
    end = loading(folder, lambda *facts: told.put(facts))
    for _ in range(2):
        assert told.get(timeout=10) == ("waiting for another process, which loads pictures", 0, None)
    assert folder.opened == []
    assert end.empty()
    first.release()
    assert torch.equal(end.get(timeout=10), folder.truth())


def test_a_wait_for_another_process_can_be_ended(folder, first):
    def stop(*facts):
        raise SymeqError("Asked to stop.")

    assert loading(folder, stop).get(timeout=10) == "Asked to stop."
    assert folder.opened == []


# --- reasons ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("a\nb: c.\n\n"), "b: c"),
        (RuntimeError("<urlopen error [Errno -3] Name>\n"), "[Errno -3] Name"),
        (OSError(errno.ENOSPC, "No space left on device", "/a/b"), "No space left on device"),
        (AssertionError(), "not in the expected format, AssertionError"),
        (ValueError("x" * 1000), "x" * 160),
    ],
)
def test_a_reason_is_one_short_line(error, reason):
    assert images.reason(error) == reason


def test_a_reason_is_the_systems_however_deep():
    refused = OSError(errno.ENOSPC, "No space left on device")
    middle, outer = ValueError("Pool(a)"), RuntimeError("Max retries (Pool(a))")
    middle.__context__, outer.__context__ = refused, middle
    assert images.reason(outer) == "No space left on device"
