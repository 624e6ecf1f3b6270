"""What may import what: the core knows no Streamlit, and the first page needs no torch."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import streamlit as st

from tests.light import open_without

ROOT = Path(__file__).parent.parent
# What Streamlit draws pictures of numbers with.
CHARTS = {name for name in dir(st) if name.endswith("_chart") or name == "pyplot"}
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


def test_every_chart_can_be_saved_as_a_picture() -> None:
    """All charts are drawn in one place, which puts the menu below them."""
    draws = {
        path.name
        for folder in ("components", "pages")
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in CHARTS
    }
    assert draws == {"pictures.py"}


@pytest.mark.parametrize(
    "name",
    ["reagent", "masks", "meter", "effects", "adjustment", "moderated", "sequential", "erasure",
     "faithfulness", "soft", "rebuild", "trust", "check", "checker"],
)
def test_the_method_knows_no_model_library(name: str) -> None:
    path = ROOT / "reagent_core" / f"{name}.py"
    assert imported(path).isdisjoint({"torch", "transformers"})


def test_first_pages_need_no_torch(tmp_path: Path) -> None:
    slow = ["torch", "transformers", "scipy"]
    light = [*slow, "sqlalchemy"]
    open_without(
        {"explain": light, "methods": light, "method": light, "library": [*slow, "psycopg"]},
        REAGENT_CACHE_DIR=str(tmp_path),
    )
