"""The rules of the tree: imports point downward, the library never imports streamlit, pages never a trainer."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
# What a module may import of the library, where that is a rule and not only an order.
MATHEMATICS = {"errors", "estimators", "seeds", "config", "families", "factors", "nets", "priors", "models"}
ALLOWED = {"families": {"errors", "estimators"}, "learners": MATHEMATICS, "chains": MATHEMATICS, "exact": MATHEMATICS}


def imports_of(file):
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            base = node.module or ""
            yield from ([base] if base else [a.name for a in node.names]) if node.level else [base]
        elif isinstance(node, ast.Import):
            yield from (a.name for a in node.names)


def test_imports_point_downward():
    """There is an order of the modules in which each imports only from those before it."""
    names = {file.stem: file for file in (ROOT / "symeq_core").glob("*.py")}
    graph = {name: {k for k in imports_of(file) if k in names} for name, file in names.items() if name != "__init__"}
    assert list(graphlib.TopologicalSorter(graph).static_order())
    for name, allowed in ALLOWED.items():
        assert graph[name] <= allowed


def test_the_library_never_imports_streamlit():
    for file in (ROOT / "symeq_core").glob("*.py"):
        assert not any(name.startswith("streamlit") for name in imports_of(file)), file


def test_pages_never_import_trainer_or_worker():
    for file in [*ROOT.glob("pages/*.py"), *ROOT.glob("app.py"), *ROOT.glob("ui/*.py")]:
        assert not {"trainer", "worker"} & {n.rpartition(".")[2] for n in imports_of(file)}, file


def test_importing_the_package_and_its_run_folders_needs_no_torch():
    code = (
        "import symeq_core, symeq_core.config, symeq_core.presets, symeq_core.runs, sys; print('torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"
