"""The gallery on the home page: every shipped pair, own ones, and imports that leave nothing bad behind."""

import os
import pickle
import subprocess
import sys
import zipfile

import pytest
import safetensors.torch
import torch

from symeq_core import authors, gallery, shelf
from symeq_core.errors import SymeqError
from symeq_core.runs import Run

from .test_authors import THEIRS, saved, theirs
from .test_gallery import stored
from .test_pages import ROOT, opened, root, texts  # noqa: F401 (a fixture)

pytestmark = pytest.mark.usefixtures("root")


def links(at):
    return [(e.proto.page, e.proto.query_string) for e in at.get("page_link")]


def test_every_group_of_shipped_pairs_leads_to_the_pages_with_a_and_b():
    asked = " ".join(query for _, query in links(opened("app.py")))
    for pair in gallery.shipped():
        if pair.config().learner.name != "wake_sleep":  # the third of its group
            assert pair.key in asked


def test_own_pairs_are_shown_beside_their_counterpart(root):  # noqa: F811
    stored(root / "mine", name="my pair")
    stored(root / "other", **{"learner.name": "elbo"})
    at = opened("app.py")
    assert "my pair" in texts(at)
    assert any("mine" in q and "other" in q for _, q in links(at))


def test_a_damaged_own_pair_is_told_and_the_rest_is_there(root):  # noqa: F811
    (stored(root / "broken") / "config.json").write_text('{"model": 3}')
    stored(root / "mine", name="my pair")
    shown = texts(opened("app.py"))
    assert "broken" in shown
    assert "my pair" in shown


def brought(name, content):
    """The page after an upload and a press of Import."""
    at = opened("app.py")
    at.file_uploader(key="bring").set_value((name, content, "application/octet-stream")).run()
    at.button(key="bring it").click().run()
    assert not at.exception
    return at


def test_an_exported_pair_comes_back(root, tmp_path):  # noqa: F811
    at = brought("pair.zip", shelf.export_zip(Run(stored(tmp_path / "pair"))))
    assert "pair" in at.success[0].value
    assert [p.key for p in gallery.own(root)] == ["own:pair"]


@pytest.mark.parametrize("variant", THEIRS)
def test_the_authors_models_are_told_by_their_names(root, variant):  # noqa: F811
    at = brought("model.pt", saved(theirs(variant).state_dict()))
    assert len(at.success) == 1
    (pair,) = gallery.own(root)
    assert pair.config().name == variant


class Evil:
    def __reduce__(self):
        return (exec, ("raise SystemExit",))


BAD = {
    "no zip": ("pair.zip", b"PK\x03\x04 nothing"),
    "no state dict": ("model.pt", b"\x80\x02 nothing"),
    "code": ("model.pt", pickle.dumps(Evil())),
    "another model": ("model.pth", saved({"layer.weight": torch.zeros(2, 2)})),
    "cut short": ("model.pt", saved({"layer.weight": torch.zeros(2, 2)})[:200]),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_upload_is_one_sentence_and_leaves_nothing(root, name):  # noqa: F811
    at = brought(*BAD[name])
    assert len(at.error) == 1
    assert "\n" not in at.error[0].value
    assert "/tmp" not in at.error[0].value  # a person gave a file, not this path
    assert not list(root.glob("*")) + list(root.glob(".import-*"))


def edited(folder, change):
    """A zip of a pair whose folder was changed."""
    change(stored(folder))
    with zipfile.ZipFile(folder.with_suffix(".zip"), "w") as z:
        for f in folder.rglob("*"):
            z.write(f, f"pair/{f.relative_to(folder)}")
    return folder.with_suffix(".zip").read_bytes()


def with_nan(folder):
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    safetensors.torch.save_file({k: v * torch.nan for k, v in tensors.items()}, folder / "model.safetensors")


EDITED = {
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "holds a run without weights"),
    "foreign weights": (
        lambda f: safetensors.torch.save_file({"a": torch.zeros(3)}, f / "model.safetensors"),
        "its model.safetensors does not fit its config.json",
    ),
    "no numbers": (with_nan, "its model.safetensors holds NaN"),
    "no metrics": (lambda f: (f / "metrics.json").write_text('{"content": 3}'), "its metrics.json is damaged"),
    "half a picture": (
        lambda f: (f / "thumbnail.png").write_bytes(b"\x89PNG\r\n\x1a\n"),
        "its thumbnail.png is damaged",
    ),
}


@pytest.mark.parametrize("name", EDITED)
def test_a_zip_that_holds_no_usable_pair_is_one_sentence_and_leaves_nothing(root, tmp_path, name):  # noqa: F811
    change, why = EDITED[name]
    at = brought("pair.zip", edited(tmp_path / "pair", change))
    assert [why in e.value for e in at.error] == [True]
    assert str(root) not in at.error[0].value
    assert not list(root.glob("*")) + list(root.glob(".import-*"))


def test_an_upload_of_any_name_is_found_in_the_gallery(root):  # noqa: F811
    for name in ("....pt", f"{'é' * 300}.pt"):
        assert len(brought(name, saved(theirs(next(iter(THEIRS))).state_dict())).success) == 1
    assert len(gallery.own(root)) == 2


@pytest.mark.parametrize("page", ["app.py", "pages/1_Train.py", "pages/2_Runs.py", "pages/6_Results.py"])
def test_nothing_heavy_is_imported_on_the_way_to_a_first_paint(page, tmp_path):
    code = (
        "import sys\n"
        "from streamlit.testing.v1 import AppTest\n"
        "from symeq_core import supervisor\n"
        "supervisor.ensure = lambda root: None\n"
        "at = AppTest.from_file('app.py', default_timeout=60)\n"
        f"{'' if page == 'app.py' else f'at.switch_page({page!r})'}\n"
        "at.run()\n"
        "assert not at.exception, at.exception\n"
        "print([k for k in ('torch', 'sklearn', 'umap', 'scipy', 'torch_fidelity') if k in sys.modules])\n"
    )
    environment = os.environ | {"SYMEQ_RUNS": str(tmp_path / "runs"), "SYMEQ_CACHE": str(tmp_path / "cache")}
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert out.returncode == 0, out.stderr[-2000:]
    assert out.stdout.splitlines()[-1] == "[]"


def test_a_damaged_shipped_pair_is_told_and_the_rest_is_there(root, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(gallery, "SHIPPED", tmp_path / "shipped")
    (stored(tmp_path / "shipped" / "broken") / "config.json").write_text("{")
    stored(tmp_path / "shipped" / "whole")
    at = opened("app.py")
    assert any("broken" in e.value for e in at.error)
    assert any("a=whole" in query for _, query in links(at))


def test_an_import_that_fails_half_way_says_why_and_leaves_nothing(root, monkeypatch):  # noqa: F811
    def half(file, variant, folder):
        (folder / "model.safetensors").write_bytes(b"half")
        raise SymeqError("The disk is full.")

    monkeypatch.setattr(authors, "import_authors", half)
    assert brought("model.pt", b"x").error[0].value == "The disk is full."
    assert gallery.own(root) == []
    assert not [f for f in root.iterdir() if f.name.startswith("model")]
