"""Boards cut into their images again, snapshots of several pairs lined up, and what the browser is given."""

import io
import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image

from symeq_core import boards, figures

SHAPES = [(1, 8, 8), (1, 28, 28), (3, 4, 6), (1, 30, 20)]


def images(n, shape, seed=0):
    """Images whose pixels are multiples of 1/255, none of them blank."""
    g = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, *shape), generator=g) / 255


def board(content):
    return Image.open(io.BytesIO(content))


def enlarged(x):
    """Images [N, C, H, W] as a board shows them: uint8 [N, h, w] or [N, h, w, 3]."""
    w, h = boards.tile(tuple(x.shape[1:]))
    pixels = (x * 255).round().byte().repeat_interleave(h // x.shape[2], 2).repeat_interleave(w // x.shape[3], 3)
    found = pixels.permute(0, 2, 3, 1).numpy()
    return found[..., 0] if found.shape[-1] == 1 else found


def snapshot(shape, n=13):
    parts = {
        "samples": images(n, shape, 1),
        "probe": images(n, shape, 2),
        "reconstructions": images(n, shape, 3),
        "round_trips": images(7 * 5, shape, 4).reshape(7, 5, *shape),
        "interpolations": images(9 * 4, shape, 5).reshape(9, 4, *shape),
        "limiting": images(n, shape, 6),
    }
    return parts, figures.snapshot_boards(parts)


def cut(content, layout):
    b = board(content)
    return [boards.tiles(b, where) for where in layout.model]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_probe_images_are_had_back_from_the_first_sound_snapshot(shape, tmp_path):
    for step in (0, 50):
        (tmp_path / str(step)).mkdir()
    (tmp_path / "0" / "reconstructions.png").write_bytes(b"torn")
    (tmp_path / "50" / "reconstructions.png").write_bytes(snapshot(shape)[1]["reconstructions.png"])
    found = boards.kept({step: tmp_path / str(step) for step in (0, 50)}, shape)
    assert torch.equal(torch.from_numpy(found.copy()), (images(13, shape, 2) * 255).round().byte())
    assert boards.kept({0: tmp_path / "0"}, shape) is None


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n", [4, 13, 64])
def test_every_image_is_found_again_to_the_pixel(shape, n):
    """Also where the last row of the board isn't full."""
    parts, found = snapshot(shape, n)
    for kind, part in (("codes", "samples"), ("limiting", "limiting"), ("reconstructions", "reconstructions")):
        content = found[boards.KINDS[kind].file]
        layout = boards.layout(kind, board(content), shape)
        np.testing.assert_array_equal(np.concatenate(cut(content, layout)), enlarged(parts[part]))
        assert layout.data == [[i] for i in range(n)]
    np.testing.assert_array_equal(boards.probe(board(found["reconstructions.png"]), shape), enlarged(parts["probe"]))


@pytest.mark.parametrize("shape", SHAPES)
def test_an_index_of_a_sequence_is_one_path_or_one_image(shape):
    parts, found = snapshot(shape)
    layout = boards.layout("interpolations", board(found["interpolations.png"]), shape)
    assert layout.data == [[0, 1], [1, 2], [2, 3], [3, 4]]
    for i, got in enumerate(cut(found["interpolations.png"], layout)):
        np.testing.assert_array_equal(got, enlarged(parts["interpolations"][:, i]))
        assert len(got) == len(boards.KINDS["interpolations"].sequence)
    layout = boards.layout("trips", board(found["round_trips.png"]), shape)
    for i, got in enumerate(cut(found["round_trips.png"], layout)):
        np.testing.assert_array_equal(got, enlarged(parts["round_trips"][1:, i]))
        assert len(got) == len(boards.KINDS["trips"].sequence)


def test_what_is_said_of_sequences_is_what_snapshots_make():
    from symeq_core import sheets, snapshots

    assert boards.PATH_LENGTH == snapshots.PATH_LENGTH
    assert boards.KINDS["trips"].sequence == tuple(f"k = {k}" for k in sheets.TRIPS[1:])
    assert {k.file for k in boards.KINDS.values()} == set(sheets.BOARDS)


def test_the_strip_holds_the_images_side_by_side():
    x = enlarged(images(5, (1, 8, 8)))
    pixels = np.asarray(board(boards.strip(x)))
    np.testing.assert_array_equal(np.stack(np.split(pixels, 5, 1)), x)


def test_one_timeline_for_snapshots_of_several_pairs():
    steps, shown = boards.timeline([[0, 10, 100], [0, 50, 100, 200]])
    assert steps == [0, 10, 50, 100, 200]
    assert shown == [[0, 0], [1, 0], [1, 1], [2, 2], [2, 3]]
    assert boards.timeline([[5], [0, 5]]) == ([0, 5], [[None, 0], [0, 1]])
    own = [0, 1, 4]
    assert boards.timeline([own, own]) == (own, [[k, k] for k in range(3)])


def written(folder, shape, steps, seed=0):
    found = {}
    for step in steps:
        found[step] = folder / f"{step:08d}"
        found[step].mkdir(parents=True)
        for name, content in snapshot(shape)[1].items():
            (found[step] / name).write_bytes(content)
    return found


def test_a_film_leaves_out_what_is_damaged_or_missing(tmp_path):
    folders = written(tmp_path, (1, 8, 8), [0, 10, 20, 30])
    whole = boards.film("codes", folders, (1, 8, 8))
    assert whole.steps == [0, 10, 20, 30]
    torn = folders[10] / "samples.png"
    torn.write_bytes(torn.read_bytes()[:-40])
    (folders[20] / "samples.png").unlink()
    (folders[30] / "limiting.png").write_bytes(b"no picture")
    (folders[0] / "reconstructions.png").unlink()
    film = boards.film("codes", folders, (1, 8, 8))
    assert film.steps == [0, 30]
    assert film.boards == [whole.boards[0], whole.boards[3]]
    assert film.probe == whole.probe
    assert boards.film("limiting", folders, (1, 8, 8)).steps == [0, 10, 20]
    for folder in folders.values():
        (folder / "limiting.png").unlink(missing_ok=True)
    assert boards.film("limiting", folders, (1, 8, 8)) is None
    assert boards.film("codes", {}, (1, 8, 8)) is None


def unpacked(content):
    n = int.from_bytes(content[:4], "little")
    header = json.loads(content[4 : 4 + n])
    ends = np.cumsum([4 + n, *header["sizes"]])
    return header, [content[i:j] for i, j in pairwise(ends)]


def test_what_is_packed_is_found_again(tmp_path):
    a = boards.film("codes", written(tmp_path / "a", (1, 8, 8), [0, 10]), (1, 8, 8))
    b = boards.film("codes", written(tmp_path / "b", (1, 8, 8), [0, 20]), (1, 8, 8))
    content = boards.pack("codes", "Random codes", [a, b], [{"letter": "A"}, {"letter": "B"}])
    header, blobs = unpacked(content)
    assert header["steps"] == [0, 10, 20]
    assert header["comparable"]
    assert len(header["data"]) == 1, "all probe images are the same"
    first, second = header["pairs"]
    assert blobs[first["first"] : first["first"] + first["count"]] == a.boards
    assert blobs[second["first"] : second["first"] + second["count"]] == b.boards
    assert blobs[header["data"][0]["blob"]] == a.probe
    assert second["letter"] == "B"
    assert boards.pack("codes", "Random codes", [a, b], [{"letter": "A"}, {"letter": "B"}]) == content
    assert (
        unpacked(boards.pack("codes", "Random codes", [b, a], [{"letter": "A"}, {"letter": "B"}]))[0]["stamp"]
        != (header["stamp"])
    )


def test_pairs_of_other_images_have_data_of_their_own_and_no_difference(tmp_path):
    a = boards.film("codes", written(tmp_path / "a", (1, 8, 8), [0]), (1, 8, 8))
    b = boards.film("codes", written(tmp_path / "b", (1, 28, 28), [0]), (1, 28, 28))
    header, blobs = unpacked(boards.pack("codes", "Random codes", [a, b], [{}, {}]))
    assert not header["comparable"]
    assert [blobs[d["blob"]] for d in header["data"]] == [a.probe, b.probe]
