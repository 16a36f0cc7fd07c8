"""Every data set through its real loading code, on small files in its own format; and the seeded source of batches.

Nothing here reaches further than 127.0.0.1: any other host's name is unknown, as it is without a network.
"""

import gzip
import hashlib
import http.server
import io
import os
import re
import shutil
import socket
import struct
import threading
import time
import zipfile
from functools import partial
from pathlib import Path

import gdown
import numpy as np
import platformdirs
import pytest
import torch
import torchvision
import tqdm
from PIL import Image
from torch.overrides import TorchFunctionMode

from symeq_core import datasets, images
from symeq_core.config import Config, DataConfig, Latent
from symeq_core.datasets import DataError, Images, complete, load_data
from symeq_core.errors import SymeqError, UsageError
from symeq_core.sources import Source, clean

torch.set_num_threads(1)

GIVEN = os.environ.get("SYMEQ_DATA")
REAL = [Path(GIVEN)] if GIVEN else []
REAL.append(Path(__file__).resolve().parents[2] / "shared" / "data")
KINDS = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST"}


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    """An empty data folder, and no network."""
    asked = socket.getaddrinfo

    def local_only(host, *args, **options):
        if host != "127.0.0.1":
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return asked(host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", local_only)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("SYMEQ_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def message_of(call, *args, kind=SymeqError):
    with pytest.raises(kind) as e:
        call(*args)
    assert len(str(e.value).splitlines()) == 1
    return str(e.value)


def same(a, b):
    return torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels)


def classes_of(part):
    assert part.labels.dtype == torch.uint8
    assert torch.equal(part.labels.sum(-1), torch.ones(len(part), 1))
    return part.labels[:, 0].argmax(1)


# --- digits ----------------------------------------------------------------------------------------------------


def test_digits_are_bytes_split_and_stratified():
    data = load_data(DataConfig("digits"))
    assert [len(data.train), len(data.test)] == [1437, 360]
    for part in (data.train, data.test):
        assert part.images.shape == (len(part), 1, 8, 8)
        assert part.labels.shape == (len(part), 1, 10)
        assert part.images.dtype == torch.uint8
    train, test = (classes_of(part).bincount(minlength=10) for part in (data.train, data.test))
    # Within one image of a fifth of each class, which is what stratified means.
    assert ((train + test) / 5 - test).abs().max() < 1
    assert data.label_names == tuple("0123456789")


def test_digits_thresholds_agree_with_the_four_bit_originals():
    from sklearn.datasets import load_digits

    data = load_data(DataConfig("digits", split="all"))
    original, label = load_digits(return_X_y=True)
    four_bits = {k * 255 // 16: k for k in range(17)}  # byte -> original value
    ours = np.vectorize(four_bits.__getitem__)(data.train.images.flatten(1).numpy())
    # The same images with the same labels, each as often, in whatever order: so nothing lost, nothing in both parts.
    rows = [sorted(map(tuple, np.c_[x, y].astype(int))) for x, y in ((ours, classes_of(data.train)), (original, label))]
    assert rows[0] == rows[1]
    for k in range(17):
        binary = clean(data.train.images, DataConfig(binarize=k / 16)).flatten(1).numpy()
        assert np.array_equal(binary, ours > k)
    assert DataConfig().binarize == 7 / 16


def test_digits_need_no_files(root):
    load_data(DataConfig("digits"))
    assert not root.exists()


@pytest.mark.parametrize("name", ["digits", "folder"])
def test_split_all_adds_the_test_images_to_the_training_ones(tmp_path, name):
    path = make_folder(tmp_path / "flat", {"": 23}) if name == "folder" else None
    apart, joined = (load_data(DataConfig(name, split=split, path=path)) for split in ("train", "all"))
    for field in Images._fields if name == "digits" else ("images",):
        both = torch.cat([getattr(part, field) for part in (apart.train, apart.test)])
        assert torch.equal(getattr(joined.train, field), both)
        assert torch.equal(getattr(joined.test, field), getattr(apart.test, field))
    assert (joined.train.labels is None) == (name == "folder")


# --- MNIST and Fashion-MNIST -----------------------------------------------------------------------------------


def idx(values):
    """The bytes of an IDX file."""
    return struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes()


def idx_files(train=60, test=20):
    """File name -> bytes, of random images; labels run 0, 1, ..., 9, 0, ..."""
    rng = np.random.default_rng(1)
    files = {}
    for part, n in (("train", train), ("t10k", test)):
        files[f"{part}-images-idx3-ubyte"] = idx(rng.integers(0, 256, (n, 28, 28), np.uint8))
        files[f"{part}-labels-idx1-ubyte"] = idx((np.arange(n) % 10).astype(np.uint8))
    return files


def write_idx(root, kind, files):
    raw = root / kind / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (raw / name).write_bytes(content)
    return raw


def assert_holds(data, files):
    for part, name in ((data.train, "train"), (data.test, "t10k")):
        pixels = torch.frombuffer(bytearray(files[f"{name}-images-idx3-ubyte"][16:]), dtype=torch.uint8)
        assert torch.equal(part.images, pixels.view(-1, 1, 28, 28))
        assert torch.equal(classes_of(part), torch.arange(len(part)) % 10)


@pytest.mark.parametrize("name", KINDS)
def test_idx_files_load(root, name):
    files = idx_files()
    write_idx(root, KINDS[name], files)
    data = load_data(DataConfig(name))
    assert_holds(data, files)
    assert len(data.label_names) == 10
    assert len(load_data(DataConfig(name, split="all")).train) == 80


GENUINE = {
    "mnist": [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],  # training images of each digit
    "fashion_mnist": [6000] * 10,
}


@pytest.mark.parametrize("name", KINDS)
def test_the_genuine_files_load(root, name):
    found = [r / KINDS[name] for r in REAL if (r / KINDS[name] / "raw" / "t10k-labels-idx1-ubyte").is_file()]
    if not found:
        pytest.skip(f"{KINDS[name]} is not in {' or '.join(map(str, REAL))}")
    write_idx(root, KINDS[name], {f.name: f.read_bytes() for f in (found[0] / "raw").glob("*-ubyte")})
    data = load_data(DataConfig(name))
    assert data.train.images.shape == (60_000, 1, 28, 28)
    assert data.test.images.shape == (10_000, 1, 28, 28)
    assert classes_of(data.train).bincount().tolist() == GENUINE[name]
    assert classes_of(data.train)[:2].tolist() == {"mnist": [5, 0], "fashion_mnist": [9, 0]}[name]


def _file(name, change):
    return lambda raw: (raw / name).write_bytes(change((raw / name).read_bytes()))


IMAGES, LABELS = "train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
HTML = b"<!DOCTYPE html><html><body>Please log in to this network</body></html>"
DAMAGES = {
    "truncated images": _file(IMAGES, lambda whole: whole[:-1]),
    "truncated header": _file(IMAGES, lambda whole: whole[:6]),
    "header only": _file(IMAGES, lambda whole: whole[:16]),
    "empty": _file(IMAGES, lambda whole: b""),
    "too long": _file(IMAGES, lambda whole: whole + b"\0"),
    "wrong magic": _file(IMAGES, lambda whole: b"\xff" + whole[1:]),
    "numbers of another kind": _file(LABELS, lambda whole: idx(np.zeros(20, np.uint8)).replace(b"\x08", b"\x09", 1)),
    "html images": _file(IMAGES, lambda whole: HTML),
    "html labels": _file(LABELS, lambda whole: HTML),
    "labels for images": _file(IMAGES, lambda whole: idx(np.zeros(60, np.uint8))),
    "other size": _file(IMAGES, lambda whole: idx(np.zeros((60, 27, 28), np.uint8))),
    "too few labels": _file(LABELS, lambda whole: idx(np.zeros(19, np.uint8))),
    "label out of range": _file(LABELS, lambda whole: idx(np.full(20, 10, np.uint8))),
    "nothing": lambda raw: write_idx(raw.parents[1], "MNIST", idx_files(train=0)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_idx_files_are_one_sentence(root, damage):
    raw = write_idx(root, "MNIST", idx_files())
    DAMAGES[damage](raw)
    before = {f.name: f.read_bytes() for f in raw.iterdir()}
    message = message_of(load_data, DataConfig("mnist"), kind=DataError)
    assert re.search(r"MNIST .* damaged or unreadable \(.+\): delete .* and try again", message)
    assert str(root / "MNIST") in message
    assert "not found" not in message.lower()
    assert "unreadable ()" not in message
    assert {f.name: f.read_bytes() for f in raw.iterdir()} == before  # nothing is deleted behind a person's back


# --- downloads -------------------------------------------------------------------------------------------------


class Server:
    """A web server on 127.0.0.1; `how` (whole, half, missing, silent) says what becomes of a request."""

    def __init__(self):
        self.content, self.asked, self.how, self.pause = {}, [], "whole", 0.0
        self.released = threading.Event()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.answer(self, self.path.strip("/"))

            def log_message(self, *args):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads, self.http.block_on_close = True, False
        self.http.handle_error = lambda *args: None  # a client may leave early
        self.url = f"http://127.0.0.1:{self.http.server_port}/"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def answer(self, request, name):
        self.asked.append(name)
        if self.how == "silent":
            self.released.wait(20)
            return
        if self.how == "missing" or name not in self.content:
            request.send_error(404)
            return
        body = self.content[name]
        request.send_response(200)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        time.sleep(self.pause)
        request.wfile.write(body[: len(body) // 2] if self.how == "half" else body)

    def close(self):
        self.released.set()
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


def md5(content):
    return hashlib.md5(content).hexdigest()


def publish(server, monkeypatch, kind):
    """Serve small IDX files, where torchvision will look for them and with the checksums it will expect."""
    files = idx_files(100, 20)
    server.content = {f"{name}.gz": gzip.compress(content) for name, content in files.items()}
    source = getattr(torchvision.datasets, kind)
    monkeypatch.setattr(source, "mirrors", [server.url])
    monkeypatch.setattr(source, "resources", [(name, md5(body)) for name, body in server.content.items()])
    return files


@pytest.mark.parametrize("name", KINDS)
def test_a_missing_data_set_is_downloaded_and_progress_hears_the_bytes(root, server, monkeypatch, capfd, name):
    files = publish(server, monkeypatch, KINDS[name])
    told = []
    assert_holds(load_data(DataConfig(name), lambda *facts: told.append(facts)), files)
    assert {what for what, _, _ in told} == {KINDS[name]}
    assert all(0 < done <= total for _, done, total in told)
    # Each file is told of to its last byte, and a large one on the way.
    sizes = [len(body) for body in server.content.values()]
    assert [done for _, done, total in told if done == total] == sizes
    assert len([done for _, done, total in told if total == max(sizes)]) > 2
    assert capfd.readouterr() == ("", "")  # and nobody prints
    server.asked.clear()
    assert_holds(load_data(DataConfig(name)), files)
    assert server.asked == []


@pytest.mark.parametrize("how", ["half", "missing", "silent"])
def test_a_broken_download_is_one_sentence_and_can_be_repeated(root, server, monkeypatch, how):
    files = publish(server, monkeypatch, "MNIST")
    server.how = how
    with monkeypatch.context() as impatient:
        impatient.setattr(datasets, "NETWORK_SECONDS", 0.1 if how == "silent" else 60)
        message = message_of(load_data, DataConfig("mnist"), kind=DataError)
    reason = {"half": "corrupted", "missing": "404: Not Found", "silent": "timed out"}[how]
    assert re.search(
        rf"MNIST is missing or incomplete in .* could not be downloaded \(.*{reason}\): try again", message
    )
    assert socket.getdefaulttimeout() is None
    server.how = "whole"
    assert_holds(load_data(DataConfig("mnist")), files)


def test_a_download_with_the_wrong_checksum_is_refused(root, server, monkeypatch):
    publish(server, monkeypatch, "MNIST")
    server.content["t10k-images-idx3-ubyte.gz"] = gzip.compress(b"something else")
    assert "corrupted" in message_of(load_data, DataConfig("mnist"), kind=DataError)
    assert not (root / "MNIST" / "raw" / "t10k-images-idx3-ubyte").exists()


def test_only_what_is_lacking_is_downloaded(root, server, monkeypatch):
    files = publish(server, monkeypatch, "MNIST")
    write_idx(root, "MNIST", dict(list(server.content.items())[:3]))
    assert_holds(load_data(DataConfig("mnist")), files)
    assert set(server.asked) == {"t10k-labels-idx1-ubyte.gz"}


def test_two_runs_started_at_once_download_once(root, server, monkeypatch):
    files = publish(server, monkeypatch, "MNIST")
    server.pause, loaded = 0.05, {}

    def load(who):
        loaded[who] = load_data(DataConfig("mnist"))

    threads = [threading.Thread(target=load, args=(k,), daemon=True) for k in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(timeout=20)
    for who in range(2):
        assert_holds(loaded[who], files)
    # One look for redirections and one download each.
    assert sorted(server.asked) == sorted(2 * list(server.content))


def test_what_progress_raises_is_not_taken_for_a_failed_download(root, server, monkeypatch):
    publish(server, monkeypatch, "MNIST")
    before = torchvision.datasets.utils.tqdm, tqdm.tqdm

    def full(what, done, total):
        raise SymeqError("The run's disk is full.")

    assert message_of(load_data, DataConfig("mnist"), full) == "The run's disk is full."
    assert (torchvision.datasets.utils.tqdm, tqdm.tqdm) == before


@pytest.mark.parametrize(
    ("name", "kind", "folder"), [*((n, k, k) for n, k in KINDS.items()), ("celeba", "CelebA", "celeba")]
)
def test_without_a_network_a_missing_data_set_is_one_sentence(root, name, kind, folder):
    message = message_of(load_data, DataConfig(name), kind=DataError)
    assert message.startswith(f"{kind} is missing or incomplete in {root / folder} and could not be downloaded (")
    assert "Temporary failure in name resolution" in message
    assert message.endswith(f"set SYMEQ_DATA to a folder that holds {kind} in torchvision's layout.")


def test_a_data_folder_that_can_not_be_made_is_one_sentence(root):
    root.write_text("a file in the way")
    message = message_of(load_data, DataConfig("mnist"), kind=DataError)
    assert str(root / "MNIST") in message
    assert "Not a directory" in message or "exists" in message


# --- CelebA ----------------------------------------------------------------------------------------------------

SPLITS = [0, 0, 2, 0, 1, 0, 2, 0]  # 0 train, 1 validation, 2 test
CELEBA = "celeba"


def attributes(k):
    return [1 if (k * 7 + a) % 3 == 0 else -1 for a in range(40)]


def face_bytes(seed):
    noise = np.random.default_rng(seed).integers(0, 256, (55, 45, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).resize((178, 218)).save(out, "JPEG", quality=95)
    return out.getvalue()


def celeba_files():
    """Path below the root -> bytes, in CelebA's formats."""
    n, names = len(SPLITS), [f"{k + 1:06}.jpg" for k in range(len(SPLITS))]

    def table(row, header=None):
        lines = [f"{n}", header] if header else []
        return "".join(f"{line}\n" for line in [*lines, *(f"{f} {row(k)}" for k, f in enumerate(names))]).encode()

    lists = {
        "list_attr_celeba.txt": table(
            lambda k: " ".join(f"{a:2}" for a in attributes(k)), " ".join(f"Attribute_{a}" for a in range(40)) + " "
        ),
        "identity_CelebA.txt": table(lambda k: f"{100 + k}"),
        "list_bbox_celeba.txt": table(lambda k: "   95  71 226 313", "image_id x_1 y_1 width height"),
        "list_landmarks_align_celeba.txt": table(
            lambda k: "69  109  106  113   77  142   73  152  108  154",
            "lefteye_x lefteye_y righteye_x righteye_y nose_x nose_y leftmouth_x leftmouth_y rightmouth_x rightmouth_y",
        ),
        "list_eval_partition.txt": table(lambda k: f"{SPLITS[k]}"),
    }
    return lists | {f"img_align_celeba/{name}": face_bytes(k) for k, name in enumerate(names)}


@pytest.fixture(scope="module")
def celeba_content():
    return celeba_files()


def expect(monkeypatch, content):
    """Let torchvision expect the checksums of these files."""
    known = [(i, md5(content[f]) if f in content else m, f) for i, m, f in torchvision.datasets.CelebA.file_list]
    monkeypatch.setattr(torchvision.datasets.CelebA, "file_list", known)


@pytest.fixture
def celeba(root, monkeypatch, celeba_content):
    """A small CelebA on disk; holds the names of the pictures opened so far."""
    for name, content in celeba_content.items():
        (root / CELEBA / name).parent.mkdir(parents=True, exist_ok=True)
        (root / CELEBA / name).write_bytes(content)
    expect(monkeypatch, celeba_content)
    opened, open_picture = [], Image.open

    def noted(file, *args, **options):
        if isinstance(file, Path):
            opened.append(file.name)
        return open_picture(file, *args, **options)

    monkeypatch.setattr(Image, "open", noted)
    return opened


def cropped(content, side):
    """The central 148 x 148 of 178 x 218, resized, by Pillow alone."""
    picture = Image.open(io.BytesIO(content)).crop((15, 35, 163, 183)).resize((side, side), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


@pytest.mark.parametrize("side", [None, 20])
def test_celeba_is_cropped_resized_and_has_attributes(celeba, celeba_content, monkeypatch, side):
    data = load_data(DataConfig("celeba", size=side))
    monkeypatch.undo()
    for part, number in ((data.train, 0), (data.test, 2)):
        members = [k for k, s in enumerate(SPLITS) if s == number]
        assert part.images.shape == (len(members), 3, side or 64, side or 64)
        for pixels, k in zip(part.images, members, strict=True):
            assert torch.equal(pixels, cropped(celeba_content[f"img_align_celeba/{k + 1:06}.jpg"], side or 64))
        assert part.labels.dtype == torch.uint8
        assert part.labels.tolist() == [[int(a > 0) for a in attributes(k)] for k in members]
    assert data.label_names == tuple(f"Attribute_{a}" for a in range(40))


def test_celeba_is_decoded_once_for_each_size(celeba):
    told = []
    first = load_data(DataConfig("celeba"), lambda *facts: told.append(facts))
    assert len(celeba) == SPLITS.count(0) + SPLITS.count(2)
    assert told[0] == ("decoding CelebA", SPLITS.count(0), SPLITS.count(0))
    celeba.clear()
    second = load_data(DataConfig("celeba"))
    assert celeba == []
    assert same(first.train, second.train)
    assert same(first.test, second.test)
    assert load_data(DataConfig("celeba", size=16)).train.images.shape[-1] == 16
    celeba.clear()
    load_data(DataConfig("celeba"))
    assert celeba == []


def test_celeba_notices_exchanged_images(celeba, root):
    load_data(DataConfig("celeba", size=8))
    other = face_bytes(99)
    (root / CELEBA / "img_align_celeba" / "000002.jpg").write_bytes(other)
    assert torch.equal(load_data(DataConfig("celeba", size=8)).train.images[1], cropped(other, 8))


@pytest.mark.parametrize("spoil", [Path.unlink, Path.touch, lambda f: f.write_bytes(HTML)])
def test_a_celeba_image_that_is_missing_or_damaged_is_named(celeba, root, spoil):
    file = root / CELEBA / "img_align_celeba" / "000004.jpg"
    file.write_bytes(b"")
    spoil(file)
    message = message_of(load_data, DataConfig("celeba"), kind=DataError)
    assert message.startswith(f"{file} is missing or damaged (")
    assert f"delete the folder {file.parent} and try again" in message


def test_celeba_is_downloaded_through_gdown(root, server, monkeypatch, celeba_content):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as z:
        for name, content in celeba_content.items():
            if name.startswith("img"):
                z.writestr(name, content)
    content = {f: c for f, c in celeba_content.items() if f.endswith(".txt")}
    content["img_align_celeba.zip"] = archive.getvalue()
    expect(monkeypatch, content)
    server.content = {i: content[f] for i, _, f in torchvision.datasets.CelebA.file_list}
    real = gdown.download

    def from_here(id, output, quiet, user_agent):  # the names torchvision uses
        return real(url=server.url + id, output=output, quiet=quiet, user_agent=user_agent, use_cookies=False)

    monkeypatch.setattr(gdown, "download", from_here)
    told = []
    data = load_data(DataConfig("celeba", size=8), lambda *facts: told.append(facts))
    assert (len(data.train), len(data.test)) == (SPLITS.count(0), SPLITS.count(2))
    size = len(content["img_align_celeba.zip"])
    assert ("CelebA", size, size) in told
    # The advice given for a damaged image, taken: what was downloaded is unpacked again.
    shutil.rmtree(root / CELEBA / "img_align_celeba")
    server.asked.clear()
    assert same(load_data(DataConfig("celeba", size=8)).train, data.train)
    assert server.asked == []


# --- a folder --------------------------------------------------------------------------------------------------


def colour(k):
    """A colour that tells which image this is, k < 4096."""
    return (16 * (k % 16), 16 * (k // 16 % 16), 16 * (k // 256))


def number_of(pixels):
    """The inverse of `colour` for images [N, 3, H, W] of one colour each."""
    assert torch.equal(pixels, pixels[..., :1, :1].expand_as(pixels))
    return (pixels[:, :, 0, 0].long() // 16) @ torch.tensor([1, 16, 256])


def make_folder(path, sizes):
    """Sub-folder ("" for none) -> how many images; the images are numbered through, each by its colour."""
    k = 0
    for name, n in sizes.items():
        (path / name).mkdir(parents=True, exist_ok=True)
        for _ in range(n):
            Image.new("RGB", (6, 5), colour(k)).save(path / name / f"{k:04}.png")
            k += 1
    return str(path)


def folder_config(path, **options):
    return DataConfig("folder", path=str(path), **{"channels": 3, "size": 4} | options)


@pytest.mark.parametrize(
    ("sizes", "names", "used"),
    [
        ({"": 25}, (), range(25)),
        ({"cats": 12, "dogs": 15}, ("cats", "dogs"), range(27)),
        ({"": 5, "cats": 12, "dogs": 15}, ("cats", "dogs"), range(5, 32)),
        ({"only": 12}, (), range(12)),
        ({"": 12, "only": 4}, (), range(12)),
        ({"": 12, ".hidden": 4, ".too": 4, "empty": 0}, (), range(12)),
        ({"cats": 12, ".thumbnails": 4, "dogs": 15, "notes": 0}, ("cats", "dogs"), [*range(12), *range(16, 31)]),
    ],
)
def test_sub_folders_are_labels_and_every_image_is_in_one_part(tmp_path, sizes, names, used):
    path = make_folder(tmp_path / "my images", sizes)
    for other in ("notes.txt", "images.zip", "Thumbs.db"):
        (tmp_path / "my images" / other).write_text("not an image")
    data = load_data(folder_config(path))
    found = torch.cat([number_of(part.images) for part in (data.train, data.test)])
    assert sorted(found.tolist()) == list(used)
    assert len(data.test) == len(used) // 10
    assert data.label_names == names
    for part in (data.train, data.test):
        assert part.images.shape == (len(part), 3, 4, 4)
        if names:
            starts = np.cumsum([0, *sizes.values()])
            owner = [list(sizes)[np.searchsorted(starts, k, "right") - 1] for k in number_of(part.images).tolist()]
            assert [names[k] for k in classes_of(part)] == owner
        else:
            assert part.labels is None


@pytest.mark.parametrize(
    ("size", "channels", "shape"), [(None, None, (1, 32, 32)), (7, 3, (3, 7, 7)), (9, 1, (1, 9, 9))]
)
def test_a_folder_has_the_configured_shape(tmp_path, size, channels, shape):
    config = folder_config(make_folder(tmp_path / "a", {"": 10}), size=size, channels=channels)
    assert load_data(config).train.images.shape == (9, *shape)
    assert complete(Config(data=config)).model.x_shape == shape


@pytest.mark.parametrize(
    ("sizes", "test"),
    [
        ({"a": 40, "b": 20, "c": 1}, [4, 2, 0]),
        ({"a": 30, "b": 30, "c": 40}, [3, 3, 4]),
        ({"a": 9, "b": 2}, [1, 0]),
        ({"a": 1, "b": 1, "c": 9}, [0, 0, 1]),
    ],
)
def test_the_test_part_is_stratified_and_leaves_no_class_without_training_images(tmp_path, sizes, test):
    data = load_data(folder_config(make_folder(tmp_path / "a", sizes)))
    counts = [classes_of(part).bincount(minlength=len(sizes)).tolist() for part in (data.test, data.train)]
    assert counts == [test, [n - t for n, t in zip(sizes.values(), test, strict=True)]]


def test_the_split_is_random_but_always_the_same(tmp_path, root):
    config = folder_config(make_folder(tmp_path / "a", {"": 60}))
    first = load_data(config)
    shutil.rmtree(root)  # so that no cache helps
    second = load_data(config)
    assert torch.equal(first.test.images, second.test.images)
    assert torch.equal(first.train.images, second.train.images)
    chosen = sorted(number_of(first.test.images).tolist())
    assert chosen not in (list(range(6)), list(range(54, 60)), list(range(0, 60, 10)), list(range(9, 60, 10)))


def test_a_folder_is_decoded_once_until_it_changes(tmp_path, root, monkeypatch):
    path = Path(make_folder(tmp_path / "a: <b> ?" if os.name != "nt" else tmp_path / "a", {"x": 11, "y": 11}))
    config, read, opened = folder_config(path), images.read, []

    def noted(file, **options):
        opened.append(file)
        return read(file, **options)

    monkeypatch.setattr(images, "read", noted)
    first = load_data(config)
    assert len(opened) == 22
    assert same(load_data(config).train, first.train)
    assert len(opened) == 22
    Image.new("RGB", (8, 8), colour(4000)).save(path / "x" / "0000.png")
    changed = load_data(config)
    assert len(opened) == 44
    found = torch.cat([number_of(part.images) for part in (changed.train, changed.test)])
    assert sorted(found.tolist()) == [*range(1, 22), 4000]
    assert all(re.fullmatch(r"[\w.-]+", f.name) for f in (root / "folders").iterdir())  # names that suit Windows


def test_folders_of_one_name_do_not_share_a_cache(tmp_path):
    paths = [make_folder(tmp_path / k / "images", {"": 10}) for k in "ab"]
    Image.new("RGB", (6, 5), colour(4000)).save(Path(paths[1]) / "0003.png")
    for path, there in ((paths[0], False), (paths[1], True), (paths[0], False)):
        data = load_data(folder_config(path))
        numbers = torch.cat([number_of(part.images) for part in (data.train, data.test)])
        assert (4000 in numbers) == there


def test_an_image_that_can_not_be_read_is_named(tmp_path):
    path = make_folder(tmp_path / "a", {"": 12})
    bad = tmp_path / "a" / "0007.png"
    bad.write_bytes(b"\x89PNG no more than that")
    assert message_of(load_data, folder_config(path)).startswith(f"{bad} can't be read as an image (")


@pytest.mark.parametrize("sizes", [{}, {"": 9}, {"x": 4, "y": 5}, {"deep/er": 20}])
def test_too_few_images_is_one_sentence(tmp_path, sizes):
    path = make_folder(tmp_path / "a", {"": 0} | sizes)
    message = message_of(load_data, folder_config(path), kind=DataError)
    counted = sum(n for name, n in sizes.items() if "/" not in name)
    assert message.startswith(f"{path} holds too few images to train and test on ({counted}; .bmp, ")


@pytest.mark.parametrize("path", ["nowhere", "file.png", "~nobody-of-this-name/images", "a" * 5000, "file.png/below"])
def test_a_folder_that_is_none_is_one_sentence(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.png").touch()
    message = message_of(load_data, DataConfig("folder", path=path), kind=DataError)
    assert message.startswith("There is no folder /" if os.name != "nt" else "There is no folder ")
    assert path in message
    assert message_of(complete, Config(data=DataConfig("folder", path=path))) == message


@pytest.mark.parametrize("path", [None, ""])
def test_a_folder_needs_a_path(path):
    assert "data.path" in message_of(load_data, DataConfig("folder", path=path), kind=UsageError)


# --- what is known without loading -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "shape", "label"),
    [
        ({"name": "digits"}, (1, 8, 8), None),
        ({"name": "digits", "labelled": 5}, (1, 8, 8), Latent("categorical", 1, 10)),
        ({"name": "mnist", "labelled": 1}, (1, 28, 28), Latent("categorical", 1, 10)),
        ({"name": "fashion_mnist"}, (1, 28, 28), None),
        ({"name": "celeba", "labelled": 3}, (3, 64, 64), Latent("bernoulli", 40)),
        ({"name": "celeba", "size": 32}, (3, 32, 32), None),
    ],
)
def test_complete_fills_in_shape_and_label_without_any_files(root, data, shape, label):
    model = complete(Config(data=DataConfig(**data))).model
    assert model.x_shape == shape
    assert model.label == label
    assert not root.exists()


@pytest.mark.parametrize(
    ("sizes", "label"), [({"a": 1, "b": 1, "c": 1}, Latent("categorical", 1, 3)), ({"a": 9}, None), ({"": 9}, None)]
)
def test_the_label_of_a_folder_is_its_sub_folders(tmp_path, sizes, label):
    config = Config(data=folder_config(make_folder(tmp_path / "a", sizes), labelled=7))
    if label:
        assert complete(config).model.label == label
    else:
        message = message_of(complete, config, kind=UsageError)
        assert "data.labelled is 7" in message
        assert "two sub-folders" in message


@pytest.mark.parametrize("call", [load_data, lambda data: complete(Config(data=data))])
def test_an_unknown_data_set_is_refused_with_the_known_ones(call):
    message = message_of(call, DataConfig("cifar"), kind=UsageError)
    assert all(name in message for name in ("cifar", *datasets.DATASETS))


def test_what_the_specs_promise_is_what_is_loaded(root, tmp_path, celeba):
    for kind in KINDS.values():
        write_idx(root, kind, idx_files())
    paths = {"folder": make_folder(tmp_path / "a", {"x": 10, "y": 10})}
    for name in datasets.DATASETS:
        config = DataConfig(name, path=paths.get(name), labelled=2)
        model, data = complete(Config(data=config)).model, load_data(config)
        for part in (data.train, data.test):
            assert part.images.shape == (len(part), *model.x_shape)
            assert part.labels.shape == (len(part), *model.label.event)
            assert part.images.dtype == part.labels.dtype == torch.uint8
        assert len(data.label_names) == model.label.event[-1]


def test_data_root_is_the_environments_else_the_platforms(monkeypatch, tmp_path):
    assert datasets.data_root() == tmp_path / "data"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SYMEQ_DATA", "relative")
    assert datasets.data_root() == tmp_path / "relative"
    monkeypatch.setenv("SYMEQ_DATA", "~/images")
    assert datasets.data_root() == Path.home() / "images"
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name: f"/caches/{name}")
    for unset in (partial(monkeypatch.setenv, value=""), partial(monkeypatch.delenv)):
        unset("SYMEQ_DATA")
        assert datasets.data_root() == Path("/caches/symeq/data")


# --- x as the model sees it ------------------------------------------------------------------------------------


@pytest.mark.parametrize("threshold", [0.0, 0.25, 0.4375, 0.5, 0.999, 1.0])
def test_clean_binarises_above_the_threshold(threshold):
    grey = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    x = clean(grey, DataConfig(binarize=threshold))
    assert x.dtype == torch.float32
    assert np.array_equal(x.flatten().numpy(), np.arange(256) / 255 > threshold)


def test_clean_keeps_greys_between_0_and_1():
    x = clean(torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16), DataConfig(binarize=None))
    torch.testing.assert_close(x.flatten(), torch.linspace(0, 1, 256))


# --- batches ---------------------------------------------------------------------------------------------------

GREY = DataConfig(binarize=None)


def numbered(n=37, classes=5):
    """n <= 256 images of 2 x 3 pixels, all as bright as the image's number, whose label is number modulo classes."""
    pixels = torch.arange(n, dtype=torch.uint8).view(n, 1, 1, 1).expand(n, 1, 2, 3).contiguous()
    return Images(pixels, torch.nn.functional.one_hot(torch.arange(n) % classes, classes).byte().unsqueeze(1))


def numbers(x):
    return (x[:, 0, 0, 0] * 255).round().long().tolist()


def tensors(batch):
    return [*batch.data.values(), *(batch.labelled or {}).values()]


@pytest.mark.parametrize("options", [{}, {"binarize": None, "noise": 0.1}, {"labelled": 7, "flip": 0.3}])
def test_a_batch_is_a_function_of_seed_and_t_alone(options):
    config, data = DataConfig(**options), load_data(DataConfig("digits")).train
    source, other, third = (Source(data, config, seed, batch=100, labelled_batch=9) for seed in (3, 3, 4))
    order = [0, 1, 2, 40, 3, 14, 15, 14, 0, 1000]
    batches = {t: source(t) for t in sorted(set(order))}
    torch.manual_seed(5)  # the global generator has no say
    for t in order:
        for mine, yours in zip(tensors(batches[t]), tensors(other(t)), strict=True):
            assert torch.equal(mine, yours)
        for name in ("data", "labelled") if config.labelled else ("data",):
            assert not torch.equal(getattr(batches[t], name)["x"], getattr(third(t), name)["x"])
    assert not torch.equal(batches[0].data["x"], batches[1].data["x"])


def test_order_noise_and_flips_each_follow_the_seed_and_t():
    data = numbered(200)
    equal = Images(torch.full_like(data.images, 128), None)

    def draws(config, what, seed, t):
        return Source(what, config, seed, batch=200)(t).data["x"].flatten().tolist()

    for config, what in ((GREY, data), (DataConfig(binarize=None, noise=0.1), equal), (DataConfig(flip=0.5), equal)):
        found = [draws(config, what, seed, t) for seed in (1, 2) for t in (0, 1, 2)]
        assert len(set(map(tuple, found))) == 6


def test_orders_of_past_epochs_are_forgotten():
    source = Source(numbered(), DataConfig(labelled=5), seed=0, batch=30, labelled_batch=64)
    for t in range(50):
        source(t)
    assert len(source._orders) == 2  # one of all images, one of the labelled


@pytest.mark.parametrize("batch", [1, 10, 36, 37, 38, 100])
def test_every_image_comes_exactly_once_an_epoch(batch):
    n, epochs = 37, 4
    source = Source(numbered(n), GREY, seed=0, batch=batch)
    batches = [source(t).data["x"] for t in range(-(-n * epochs // batch))]
    assert all(x.shape == (batch, 1, 2, 3) for x in batches)
    seen = numbers(torch.cat(batches))
    runs = [seen[e * n : (e + 1) * n] for e in range(epochs)]
    assert all(sorted(run) == list(range(n)) for run in runs)
    assert len({tuple(run) for run in [*runs, list(range(n))]}) == epochs + 1  # each in an order of its own


@pytest.mark.parametrize("rate", [0.001, 0.2])
def test_pixels_flip_at_the_configured_rate(rate):
    pixels = (torch.arange(256) % 2 * 255).byte().view(256, 1, 1, 1).expand(256, 1, 28, 28).contiguous()
    data, config = Images(pixels, None), DataConfig(flip=rate)
    flipped = {0.0: [], 1.0: []}
    for t in range(4):
        noisy, pure = (Source(data, c, 11, 256)(t).data["x"] for c in (config, DataConfig(flip=0.0)))
        assert set(noisy.unique().tolist()) == {0.0, 1.0}
        for value, found in flipped.items():
            found.append((noisy != pure)[pure == value].float())
    # Seed 11, n = 401,408 pixels of either value; within 4 standard errors of the rate.
    for found in map(torch.cat, flipped.values()):
        assert len(found) == 401_408
        assert abs(found.mean().item() - rate) < 4 * (rate * (1 - rate) / len(found)) ** 0.5
    # Flips at neighbouring pixels are independent: both flip at rate^2, within 4 standard errors.
    pairs = torch.cat(flipped[1.0]).view(-1, 2).prod(1)
    assert abs(pairs.mean().item() - rate**2) < 4 * (rate**2 * (1 - rate**2) / len(pairs)) ** 0.5


@pytest.mark.parametrize("sigma", [0.01, 0.3])
def test_noise_has_the_configured_standard_deviation(sigma):
    data = Images(torch.full((100, 1, 28, 28), 102, dtype=torch.uint8), None)
    source = Source(data, DataConfig(binarize=None, noise=sigma), seed=12, batch=100)
    noise = torch.cat([source(t).data["x"] for t in range(5)]).double() - 0.4
    n = noise.numel()  # seed 12, n = 392,000; within 4 standard errors, sigma / sqrt(n) and sigma / sqrt(2 n)
    assert n == 392_000
    assert abs(noise.mean().item()) < 4 * sigma / n**0.5
    assert abs(noise.std().item() - sigma) < 4 * sigma / (2 * n) ** 0.5


@pytest.mark.parametrize(
    "config", [DataConfig(flip=0.0, noise=0.5), DataConfig(binarize=None, flip=0.5, noise=0.0)], ids=["binary", "grey"]
)
def test_nothing_is_disturbed_where_nothing_is_configured(config):
    """Flips are for binarised pixels only, noise for the others only."""
    data = numbered(200)
    x = Source(data, config, seed=0, batch=200)(0).data["x"]
    expected = clean(data.images, config)
    assert sorted(x.flatten(1).tolist()) == sorted(expected.flatten(1).tolist())


@pytest.mark.parametrize("count", [1, 5, 12, 30])
def test_the_labelled_images_are_few_balanced_and_seeded(count):
    data = numbered(150)

    def subset(seed):
        source = Source(data, DataConfig(binarize=None, labelled=count), seed, batch=8, labelled_batch=count)
        labelled = source(0).labelled
        assert labelled["x"].shape == (count, 1, 2, 3)
        assert labelled["y"].shape == (count, 1, 5)
        assert labelled["y"].dtype == torch.float32
        chosen = numbers(labelled["x"])
        assert labelled["y"][:, 0].argmax(1).tolist() == [k % 5 for k in chosen]
        assert sorted(numbers(source(9).labelled["x"])) == sorted(chosen)  # the same ones in every epoch
        return sorted(chosen)

    chosen = subset(1)
    assert len(set(chosen)) == count
    per_class = np.bincount(np.array(chosen) % 5, minlength=5)
    assert per_class.max() - per_class.min() <= 1
    assert subset(1) == chosen
    assert subset(2) != chosen


def test_rare_classes_give_all_they_have_to_the_labelled_images():
    labels = torch.tensor([0] * 20 + [1] * 2 + [2] * 8)
    data = Images(numbered(30).images, torch.nn.functional.one_hot(labels, 3).byte().unsqueeze(1))
    source = Source(data, DataConfig(binarize=None, labelled=12), seed=0, batch=8, labelled_batch=12)
    assert source(0).labelled["y"].sum((0, 1)).tolist() == [5, 2, 5]


def test_more_labels_than_images_means_all_images():
    source = Source(numbered(), DataConfig(binarize=None, labelled=1000), seed=0, batch=8, labelled_batch=37)
    assert sorted(numbers(source(0).labelled["x"])) == list(range(37))
    assert len(Source(numbered(), DataConfig(labelled=3), 0, 8, labelled_batch=64)(0).labelled["x"]) == 64


def test_attributes_are_labels_too():
    bits = (torch.arange(37)[:, None] >> torch.arange(6) & 1).byte()
    data = Images(numbered().images, bits)
    y = Source(data, DataConfig(binarize=None, labelled=20), seed=0, batch=8, labelled_batch=20)(0).labelled
    assert torch.equal(y["y"], bits[numbers(y["x"])].float())
    assert len(set(numbers(y["x"]))) == 20


def test_labels_do_not_disturb_the_other_batches():
    data, with_labels = numbered(), DataConfig(flip=0.2, labelled=5)
    a, b = (Source(data, c, seed=0, batch=50)(3) for c in (DataConfig(flip=0.2), with_labels))
    assert torch.equal(a.data["x"], b.data["x"])
    assert a.labelled is None


def test_labelled_images_without_labels_are_refused():
    data = Images(numbered().images, None)
    assert "data.labelled=0" in message_of(Source, data, DataConfig(labelled=3), 0, 8, kind=UsageError)


def test_images_stay_bytes_and_are_not_copied():
    data = numbered()
    source = Source(data, DataConfig(labelled=5), seed=0, batch=8)
    before = data.images.clone()
    source(0)
    assert source.images.dtype == source.labels.dtype == torch.uint8
    assert source.images.data_ptr() == data.images.data_ptr()
    assert torch.equal(data.images, before)


class Counting(TorchFunctionMode):
    calls = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.calls += 1
        return function(*args, **kwargs or {})


@pytest.mark.parametrize("options", [{}, {"binarize": None, "noise": 0.1}, {"labelled": 200}])
def test_a_batch_takes_as_many_operations_whatever_its_size(options):
    calls = []
    for batch in (2, 200):
        source = Source(numbered(200), DataConfig(**options), seed=0, batch=batch, labelled_batch=batch)
        with Counting() as mode:
            source(0)
        calls.append(mode.calls)
    assert calls[0] == calls[1] > 0
