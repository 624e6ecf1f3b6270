"""Every input says whether it is kept when a person leaves the page (components/keep.py)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import streamlit as st

ROOT = Path(__file__).parent.parent.parent
INPUTS = {
    "checkbox", "color_picker", "date_input", "datetime_input", "feedback", "multiselect",
    "number_input", "pills", "radio", "segmented_control", "select_slider", "selectbox", "slider",
    "text_area", "text_input", "time_input", "toggle",
}  # fmt: skip
# The form of Compare keeps its inputs itself, for they move from column to column.
ELSEWHERE = {"compare_form.py"}
SOURCES = sorted(
    file
    for folder in ("pages", "components")
    for file in (ROOT / folder).glob("*.py")
    if file.name not in ELSEWHERE
)


def silent_inputs(source: str) -> list[str]:
    """Inputs that say nothing about it, as "line: widget"."""
    return [
        f"{call.lineno}: {call.func.attr}"
        for call in ast.walk(ast.parse(source))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in INPUTS
        and not any(keyword.arg in ("persist_state", None) for keyword in call.keywords)
    ]


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: file.stem)
def test_every_input_says_whether_it_is_kept(file: Path) -> None:
    assert silent_inputs(file.read_text("utf-8")) == []


def test_an_input_that_does_not_say_is_found() -> None:
    assert silent_inputs("left.slider('Step', 0, 9)\n") == ["1: slider"]
    assert silent_inputs("st.slider('Step', 0, 9, key='s', persist_state=None)\n") == []
    assert all(hasattr(st, name) for name in INPUTS)
