"""The rules of the tree: imports point downward, the library never imports streamlit, pages never a trainer."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# Lower layers first; a module imports only from layers before its own.
LAYERS = [
    {"errors", "estimators", "seeds"},
    {"config", "files", "images", "sheets", "strokes", "verdict"},
    {"families", "presets"},
    {"factors", "nets", "priors", "runs"},
    {"follow", "shelf", "supervisor", "gallery", "store"},
    {"models", "exact"},
    {"learners", "checkpoints", "chains"},
    {"trainer", "datasets", "metrics", "figures", "authors"},
    {"snapshots", "sources", "projection", "likelihood", "filmstrip"},
    {"extractors", "latents"},
    {"consistency", "quality", "compare", "trips"},
    {"evaluation"},
    {"worker"},
    {"ship"},
    {"cli"},
    {"__main__", "__init__"},
]


def imports_of(file):
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            base = node.module or ""
            yield from ([base] if base else [a.name for a in node.names]) if node.level else [base]
        elif isinstance(node, ast.Import):
            yield from (a.name for a in node.names)


@pytest.mark.parametrize("file", sorted((ROOT / "symeq_core").glob("*.py")), ids=lambda f: f.stem)
def test_imports_point_downward(file):
    level = {name: i for i, layer in enumerate(LAYERS) for name in layer}
    assert file.stem in level, f"{file.stem} has no layer yet"
    for name in imports_of(file):
        assert not name.startswith("streamlit")
        if name in level:
            assert level[name] < level[file.stem], f"{file.stem} imports {name}"


def test_pages_never_import_trainer_or_worker():
    for file in [*ROOT.glob("pages/*.py"), *ROOT.glob("app.py"), *ROOT.glob("ui/*.py")]:
        assert not {"trainer", "worker"} & {n.rpartition(".")[2] for n in imports_of(file)}, file


def test_importing_the_package_and_its_run_folders_needs_no_torch():
    code = (
        "import symeq_core, symeq_core.config, symeq_core.presets, symeq_core.runs, sys; print('torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"
