"""The latent space page under AppTest: what is drawn, what the URL says, and what it says when something is amiss."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from symeq_core import gallery, maps, supervisor
from symeq_core.checkpoints import save_pair
from symeq_core.config import override
from symeq_core.datasets import complete
from symeq_core.models import build
from symeq_core.presets import preset
from ui import latent_map, latent_url, latent_wait

ROOT = Path(__file__).parent.parent
PAGE = "pages/4_Latent_space.py"


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    """A folder of runs with small untrained pairs, and no process started by looking at a page."""
    runs = tmp_path / "runs"
    monkeypatch.setenv("SYMEQ_RUNS", str(runs))
    monkeypatch.setenv("SYMEQ_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(supervisor, "ensure", lambda root: None)
    monkeypatch.setattr(gallery, "SHIPPED", tmp_path / "shipped")
    for name in ("digits-flat-symmetric", "digits-flat-elbo", "digits-ladder-symmetric", "digits-plane-symmetric"):
        config = complete(override(preset(name), {"model.hidden": [16]}))
        save_pair(runs / name, *build(config.model, seed=len(name)), config)
    return runs


def opened(**query):
    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    at.switch_page(PAGE)
    for k, v in {"a": "own:digits-flat-symmetric", "b": "own:digits-flat-elbo", **query}.items():
        at.query_params[k] = v
    at.run()
    assert not at.exception, at.exception
    return at


def sent(at):
    """(header, arrays) of what the maps were sent."""
    raw = next(c.proto.bytes for c in at.get("bidi_component") if c.proto.component_name.endswith("maps"))
    size = int.from_bytes(raw[:4], "little")
    header = json.loads(raw[4 : 4 + size])
    types = {v: k for k, v in latent_map._TYPES.items()}
    arrays = {k: np.frombuffer(raw, types[t], length, offset) for k, (t, offset, length) in header["arrays"].items()}
    return header, arrays


def texts(at):
    kinds = ("markdown", "caption", "error", "warning", "info", "html")
    return " ".join(str(getattr(e, "value", None) or e.proto.body) for kind in kinds for e in at.get(kind))


def test_two_maps_of_the_same_images_are_sent():
    header, arrays = sent(opened())
    assert [p["letter"] for p in header["panes"]] == ["A", "B"]
    assert arrays["positionA"].shape == arrays["positionB"].shape == (720,)
    assert header["total"] == 360
    assert sorted(arrays["numbers"]) == list(range(360))
    assert (arrays["nearA"].reshape(360, -1) != np.arange(360)[:, None]).all()
    assert "Hamming" in header["panes"][0]["facts"]
    assert header["colour"]["kind"] == "label"


COSTS = ["Total cost", "Cost of pixels", "Cost of code"]


@pytest.mark.parametrize("colour", ["Reconstruction error", *COSTS])
def test_points_are_coloured_by_the_figure_chosen(colour):
    header, arrays = sent(opened(colour=colour))
    assert header["colour"]["title"] == colour
    assert np.isfinite(arrays["valueA"]).all()
    assert header["colour"]["lo"] < header["colour"]["hi"]
    assert not np.array_equal(arrays["valueA"], arrays["valueB"])


def test_numbers_of_a_pair_beside_itself_are_those_of_identity():
    at = opened(b="own:digits-flat-symmetric", colour="Neighbours shared", map="PCA")
    metrics = {m.label: m.value for m in at.metric}
    assert metrics["Neighbours shared"].startswith("100.0%")
    assert metrics["Median distance A to B"] == "0.00 radii"
    np.testing.assert_allclose(sent(at)[1]["valueA"], 100, rtol=1e-5)


def test_the_plane_brings_its_decoder_and_its_ellipses():
    header, arrays = sent(opened(a="own:digits-plane-symmetric", b="own:digits-plane-symmetric", prior="true"))
    pane = header["panes"][0]
    assert pane["native"]
    assert pane["layers"] == 2
    assert arrays["sdA"].shape == (720,)
    assert arrays["furtherA"].shape == (2000,)
    assert arrays["decoderAb1"].shape == (64,)
    assert pane["prior"] == [0, 0]
    assert any("standard deviations" in note for note in header["notes"])


def test_a_prior_that_is_not_standard_normal_gets_no_rings(root):
    config = complete(override(preset("digits-ring-symmetric"), {"model.hidden": [8]}))
    save_pair(root / "ring", *build(config.model), config)
    header, _ = sent(opened(a="own:ring", b="own:ring"))
    assert header["panes"][0]["native"]
    assert "prior" not in header["panes"][0]
    assert header["notes"] == []
    at = opened(a="own:ring", b="own:ring", panel="What each unit knows")
    assert "The prior is another one here" in texts(at)


def test_many_selected_images_are_shown_page_by_page():
    chosen = ",".join(map(str, range(20)))
    at = opened(sel=chosen, page="3")
    assert "20 images selected, 17 to 20 shown" in texts(at)
    assert at.query_params["page"] == "3"
    assert "no whole number from 1 to 3; shown instead: 1" in texts(opened(sel=chosen, page="9"))
    assert "page" not in opened(sel="7,12", page="2").query_params


def test_layers_and_panels():
    at = opened(a="own:digits-ladder-symmetric", b="own:digits-ladder-symmetric", layer="z1", panel="Flip a unit")
    assert "z1[" in texts(at)
    assert "shared noise" not in texts(at)
    at = opened(a="own:digits-ladder-symmetric", b="own:digits-ladder-symmetric", panel="Flip a unit")
    assert "draws of the layers below with shared noise" in texts(at)
    at = opened(panel="What each unit knows")
    assert "of 16</strong>" in texts(at) or "of 16** bits" in texts(at)
    assert len(at.get("vega_lite_chart") or at.get("arrow_vega_lite_chart")) == 4
    assert "share none" in texts(opened(panel="What moved most"))


def test_bits_that_stay_flipped_change_what_further_flips_start_from():
    def tiles(**query):
        at = opened(panel="Flip a unit", **query)
        return [h.value for h in at.get("html") if 'class="tiles"' in h.value]

    plain, walked, ordered = tiles(), tiles(flipped="3"), tiles(flips="Unit by unit")
    assert len(plain) == len(walked) == 2
    for before, after, in_turn in zip(plain, walked, ordered, strict=True):
        bits = [dict(re.findall(r"z0\[(\d+)\] ([01]) → ", text)) for text in (before, after)]
        assert {j for j in bits[0] if bits[0][j] != bits[1][j]} == {"3"}
        assert re.search(r"decoded", after)
        assert before.split("decoded")[0] != after.split("decoded")[0], "another image to start from"
        numbers = [int(j) for j in re.findall(r"z0\[(\d+)\]", in_turn)]
        assert numbers == sorted(numbers)


def test_a_selection_in_the_url_is_shown():
    at = opened(sel="7,12")
    assert sent(at)[0]["start"]["selected"] == [7, 12]
    page = texts(at)
    assert ">7 · " in page
    assert ">12 · " in page
    assert at.query_params["sel"] == "7,12"


@pytest.mark.parametrize("chosen", [[], [7, 12], [*range(24)], [*range(0, 9000, 3)], [999_999, *range(30)]])
def test_a_selection_of_any_size_goes_through_the_url(chosen):
    written = latent_url.text(chosen)
    assert latent_url.numbers(written) == sorted(chosen)
    assert len(written) < 1700


def test_what_is_drawn_is_in_the_url():
    at = opened(a="own:digits-plane-symmetric", b="own:digits-plane-symmetric", images="true", plane="false")
    assert sent(at)[0]["start"]["drawn"] == {"images": True, "plane": False, "ellipses": True}
    assert at.query_params["images"] == "true"
    assert at.query_params["plane"] == "false"
    assert "ellipses" not in at.query_params


@pytest.mark.parametrize(
    "query",
    [
        {"sel": "x"},
        {"sel": "99999999"},
        {"view": "1,2"},
        {"view": "nan,0,1"},
        {"sel": "~"},
        {"sel": "~????"},
        {"sel": "~" + "A" * 9000},
        {"sel": "1,²"},
        {"images": "perhaps", "plane": "", "ellipses": "0"},
        {"map": "nonsense", "layer": "z9", "codes": "?", "colour": "none", "n": "-3", "panel": "x"},
    ],
)
def test_nonsense_in_the_url_does_no_harm(query):
    header, _ = sent(opened(**query))
    assert header["start"]["selected"] == []
    assert header["start"]["view"] is None
    assert header["start"]["drawn"] == {"images": False, "plane": True, "ellipses": True}


def test_what_a_link_asks_for_in_vain_is_told(root):
    ladder = {"a": "own:digits-ladder-symmetric", "b": "own:digits-ladder-symmetric"}
    at = opened(
        **ladder,
        layer="zzz",
        map="foo",
        colour="<b>",
        n="-3",
        prior="perhaps",
        panel="nothing",
        codes="Mean",
        sel="!!",
        view="a,b,c",
    )
    told = [w.value for w in at.warning]
    assert len(told) == 8
    for name, value in (
        ("Layer", "zzz"),
        ("Map", "foo"),
        ("Images", "-3"),
        ("Prior", "perhaps"),
        ("Beneath", "nothing"),
        ("Selection", "!!"),
        ("Zoom", "a,b,c"),
    ):
        assert any(t.startswith(name) and f"'{value}'" in t for t in told), (name, told)
    assert "Layer: the link asks for 'zzz', which is not there; shown instead: z0. To choose from: z0, z1." in told
    assert not any("<b>" in t.replace("\\<", "") for t in told)
    assert not any(k in at.query_params for k in ("layer", "map", "colour", "prior", "n"))
    at.run()
    assert not at.warning
    assert not opened(**ladder, layer="z1", map="PCA", colour=COSTS[2], prior="true", align="False").warning


def test_pairs_that_cannot_be_put_beside_each_other_are_told_and_a_is_shown(root):
    config = complete(override(preset("digits-flat-symmetric"), {"model.hidden": [8], "data.binarize": 0.2}))
    save_pair(root / "other", *build(config.model), config)
    at = opened(b="own:other", colour="Neighbours shared")
    assert "see the same images differently" in at.warning[0].value
    assert "wants two maps" in texts(at)
    assert len(sent(at)[0]["panes"]) == 1
    at = opened(b="own:digits-plane-symmetric")
    assert "A code of A is 16 bits and one of B is 2 reals" in at.warning[0].value
    at = opened(a="own:digits-plane-symmetric", b="own:digits-flat-symmetric")
    assert len(sent(at)[0]["panes"]) == 1


def test_a_pair_of_other_data_can_be_put_right_by_a_button(root):
    config = complete(override(preset("mnist-flat-symmetric"), {"model.hidden": [8]}))
    save_pair(root / "other", *build(config.model), config)
    at = opened(b="own:other")
    assert at.warning[0].value == (
        "A was trained on Digits 8×8 and B on MNIST, so their maps would show different images. A is shown alone; ⇄ "
        "shows B."
    )
    button = next(k for k in at.button if k.key == "suits")
    assert "digits" in button.label
    button.click().run()
    assert at.query_params["b"] == "own:digits-flat-elbo"
    assert not at.warning
    assert len(sent(at)[0]["panes"]) == 2


def test_a_damaged_pair_is_one_sentence(root):
    (root / "digits-flat-elbo" / "model.safetensors").write_bytes(b"nothing")
    at = opened()
    assert "damaged" in texts(at)
    assert "A is shown alone." in at.warning[0].value
    assert len(sent(at)[0]["panes"]) == 1


def test_umap_is_computed_beside_the_app_and_pca_shown_meanwhile(monkeypatch):
    launched = []
    monkeypatch.setattr(latent_wait.Entry, "launch", lambda self, arguments: launched.append(arguments))
    at = opened(map="UMAP")
    assert len(launched) == 2
    assert launched[0][0] == "project"
    assert "PCA" in sent(at)[0]["panes"][0]["facts"]
    assert len(at.get("progress")) == 2


def test_a_umap_that_is_there_is_shown_at_once(root, monkeypatch):
    positions = np.random.default_rng(0).normal(size=(360, 2)).astype(np.float32)
    monkeypatch.setattr(maps, "compute", lambda *args, **more: positions)
    for name in ("digits-flat-symmetric", "digits-flat-elbo"):
        maps.project(root / name, maps.Spec("z0"))
    at = opened(map="UMAP", align="false", prior="true")
    assert "mean place of its 5 nearest encodings" in sent(at)[0]["notes"][0]
    assert "mean place" not in sent(opened(map="PCA", prior="true"))[0]["notes"][0]
    np.testing.assert_array_equal(sent(at)[1]["positionA"].reshape(-1, 2), positions)
    assert "UMAP" in sent(at)[0]["panes"][0]["facts"]


def test_a_joint_umap_shows_both_in_one_frame(root, monkeypatch):
    place = np.random.default_rng(0).normal(size=(360, 2)).astype(np.float32)
    monkeypatch.setattr(maps, "joint_compute", lambda *args, **more: (place, place + 9))
    launched = []
    monkeypatch.setattr(latent_wait.Entry, "launch", lambda self, arguments: launched.append(arguments))
    at = opened(map="Joint UMAP")
    assert launched[0][:2] == ["project", "--joint"]
    assert "PCA" in sent(at)[0]["panes"][0]["facts"]
    a, b = root / "digits-flat-symmetric", root / "digits-flat-elbo"
    maps.joint_project(maps.Two((a, b), (maps.Spec("z0"), maps.Spec("z0"))))
    header, arrays = sent(opened(map="Joint UMAP", prior="true"))
    assert "of both" in header["panes"][0]["facts"]
    assert header["panes"][0]["frame"] == header["panes"][1]["frame"]
    got = {arrays[f"position{k}"].reshape(-1, 2)[0, 0] for k in "AB"}
    assert got == {place[0, 0], place[0, 0] + 9}
    assert not [t for t in opened(map="Joint UMAP").toggle if t.key == "align"]


def test_a_umap_that_failed_says_why(root):
    for name in ("digits-flat-symmetric", "digits-flat-elbo"):
        entry = maps.entry(root / name, maps.Spec("z0"))
        entry.folder.mkdir(parents=True)
        (entry.folder / "failed").write_text("No room.")
    at = opened(map="UMAP")
    assert "No room." in at.error[0].value


def test_what_is_packed_can_be_read_again():
    a, b = np.arange(3, dtype=np.uint8), np.linspace(0, 1, 4, dtype=np.float32)
    raw = latent_map.pack({"x": 1}, {"a": a, "b": b})
    size = int.from_bytes(raw[:4], "little")
    header = json.loads(raw[4 : 4 + size])
    for name, array in (("a", a), ("b", b)):
        _, offset, length = header["arrays"][name]
        assert offset % 4 == 0
        np.testing.assert_array_equal(np.frombuffer(raw, array.dtype, length, offset), array)
    assert header["id"] != json.loads(latent_map.pack({"x": 2}, {"a": a, "b": b})[4 : 4 + size])["id"]


@pytest.mark.parametrize("channels", [1, 3])
def test_the_sheet_holds_every_image_in_its_place(channels):
    from io import BytesIO

    from PIL import Image

    x = np.random.default_rng(0).integers(0, 2, (7, channels, 4, 5)).astype(np.float32)
    data, facts = latent_map.sheet(x)
    assert data[:16].decode() == facts["id"]
    board = np.asarray(Image.open(BytesIO(data[16:])).convert("RGB" if channels == 3 else "L")) / 255
    board = board.reshape(*board.shape[:2], -1)
    for i in range(7):
        row, column = divmod(i, facts["columns"])
        tile = board[4 * row : 4 * row + 4, 5 * column : 5 * column + 5]
        np.testing.assert_array_equal(tile.transpose(2, 0, 1), x[i])


def test_large_images_are_sent_small():
    x = np.zeros((3, 3, 64, 64), np.float32)
    x[1, 0, :2, :2] = 1
    _, facts = latent_map.sheet(x)
    assert (facts["w"], facts["h"]) == (32, 32)
    assert latent_map._small(x)[1, 0, 0, 0] == 1
    assert latent_map._small(x).sum() == 1


def test_names_of_pairs_and_classes_are_no_html(root):
    config = complete(override(preset("digits-flat-symmetric"), {"model.hidden": [8]}))
    save_pair(root / "named", *build(config.model), replace(config, name="<i>mine</i>"))
    at = opened(a="own:named", panel="Flip a unit")
    shown = " ".join(h.proto.body for h in at.get("html"))
    assert "<i>" not in shown
    assert "&lt;i&gt;mine" in shown
