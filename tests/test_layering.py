"""What may import what: the core knows no Streamlit, and the first page needs no torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CORE = sorted((ROOT / "reagent_core").rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Top-level names of everything a file imports, at its top or inside."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.name)
def test_the_core_knows_nothing_of_the_app(path: Path) -> None:
    assert imported(path).isdisjoint({"streamlit", "components", "pages"})


@pytest.mark.parametrize(
    "name",
    ["reagent", "masks", "meter", "effects", "adjustment", "moderated", "sequential"],
)
def test_the_method_knows_no_model_library(name: str) -> None:
    path = ROOT / "reagent_core" / f"{name}.py"
    assert imported(path).isdisjoint({"torch", "transformers"})


def test_the_first_page_needs_no_torch() -> None:
    code = (
        "import sys, app\n"
        "from streamlit.testing.v1 import AppTest\n"
        "page = AppTest.from_file('pages/explain.py', default_timeout=60).run()\n"
        "assert not page.exception, page.exception\n"
        "heavy = {'torch', 'transformers', 'scipy', 'sqlalchemy'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
