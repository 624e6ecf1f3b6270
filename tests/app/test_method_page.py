"""The logic of the page Method: it needs no model, no store and no network."""

from __future__ import annotations

import json
from pathlib import Path

from streamlit.testing.v1 import AppTest

from components.examples import explanation_of

ROOT = Path(__file__).parent.parent.parent
PAGE = str(ROOT / "pages" / "method.py")


def page() -> AppTest:
    return AppTest.from_file(PAGE, default_timeout=30).run()


def test_it_says_what_a_score_is_not() -> None:
    test = page()
    assert not test.exception
    text = "\n".join(block.value for block in test.markdown)
    assert "What a score is not" in text and "Not the model's reasoning" in text
    assert r"\operatorname{logit}" in text
    assert "arxiv.org/abs/2402.00794" in test.caption[-1].value


def test_it_plays_the_word_of_the_shipped_example() -> None:
    test = page()
    drawn = [element.proto for element in test.get("bidi_component")]
    (player,) = [json.loads(each.json) for each in drawn if "step_player" in each.component_name]
    assert player["target"] == "“Bangkok”"
    assert len(player["frames"]) == len(explanation_of("travel").trace)
