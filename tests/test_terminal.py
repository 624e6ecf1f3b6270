"""What a terminal shows: colours by effect, hostile token text, pipes and NO_COLOR."""

from __future__ import annotations

import io
import math

import pytest
from rich.console import Console
from rich.text import Text

from reagent_core.colours import swatch
from reagent_core.config import PRESETS
from reagent_core.explanation import Explanation
from reagent_core.report import html_report
from reagent_core.terminal import dark_background, printable, prompt_text, show, unit_table
from tests.examples import (
    BANGKOK,
    UnitSpec,
    make_chat,
    make_explanation,
    make_whole_answer,
    with_scores,
    without_intervals,
)


def backgrounds(explanation: Explanation) -> dict[str, str | None]:
    """Piece of the prompt to background colour."""
    text = prompt_text(explanation, dark=True)
    return {
        text.plain[span.start : span.end]: span.style.bgcolor and span.style.bgcolor.name
        for span in text.spans
    }


def screen(explanation: Explanation, *, terminal: bool = True, width: int = 100) -> str:
    """Everything a terminal of true colours (or a pipe) receives."""
    received = io.StringIO()
    console = Console(
        file=received,
        force_terminal=terminal,
        color_system="truecolor" if terminal else "auto",
        width=width,
        highlight=False,
    )
    show(console, explanation, dark=True, stored=False)
    return received.getvalue()


def test_the_strongest_token_has_the_strongest_colour() -> None:
    colours = backgrounds(make_explanation())
    assert colours[" Thailand"] == swatch(1.0, dark=True).background
    assert colours[" capital"] == swatch(2.0 / math.log(50), dark=True).background
    assert colours[","] == swatch(-0.4 / math.log(50), dark=True).background
    assert " I" not in colours, "no effect, no colour"


def test_under_the_paper_preset_scores_are_the_main_thing() -> None:
    paper = make_explanation(config=PRESETS["paper"])
    colours = backgrounds(paper)
    scores = {unit.text: unit.score or 0.0 for unit in paper.units}
    expected = scores[" capital"] / scores[" Thailand"]
    assert colours[" capital"] == swatch(expected, dark=True).background


def test_under_the_paper_preset_the_table_is_by_score() -> None:
    specs: list[UnitSpec] = [("a", (4, 3, 5)), (" b", (2, 1, 3)), (" c", None)]
    paper = make_explanation(specs, config=PRESETS["paper"])
    paper = with_scores(paper, (0.2, 0.8, None))
    assert [str(cell) for cell in unit_table(paper).columns[1].cells] == ["b", "a"]
    assert "Stronger colour, higher ReAGent score." in screen(paper)


def test_the_table_has_no_interval_where_none_is_known_and_odds_against_a_foil() -> None:
    unknown = unit_table(without_intervals(make_explanation()))
    assert {str(cell) for cell in unknown.columns[4].cells} == {""}
    foil = unit_table(make_explanation([("a", (0.1, -1.1, 1.1))], instead_of=" Paris"))
    assert str(next(iter(foil.columns[4].cells))) == "from 3 times higher to 3 times lower odds"


def test_hostile_token_text_stays_text() -> None:
    hostile = ("[bold red]", "\x1b[31mred", "\u202eback", "\a", "[/]", ":smile:", "a\nb")
    specs = [(text, (1.0, 0.5, 1.5)) for text in hostile]
    shown = screen(make_explanation(specs, answer=("\x1b]0;title\a", "[link=x]y")), terminal=False)
    assert "\x1b" not in shown and "\a" not in shown and "\u202e" not in shown
    for literal in ("[bold red]", "U+001B[31mred", "U+202Eback", "[/]", ":smile:", "[link=x]y"):
        assert literal in shown
    assert "a↵\nb" in shown


def test_a_terminal_gets_colours_and_a_pipe_none() -> None:
    red, green, blue = bytes.fromhex(swatch(1.0, dark=True).background.removeprefix("#"))
    explanation = make_explanation()
    assert f"48;2;{red};{green};{blue}m Thailand" in screen(explanation)
    piped = screen(explanation, terminal=False)
    assert "\x1b" not in piped and "".join(text for text, _ in BANGKOK) in piped


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    shown = screen(make_explanation())
    assert "48;2;" not in shown and "38;2;" not in shown and "Blue speaks" not in shown


def test_sentences_are_broken_for_a_terminal_and_not_for_a_pipe() -> None:
    narrow = Text.from_ansi(screen(make_explanation(), width=40)).plain
    assert all(len(line) <= 40 for line in narrow.splitlines())
    sentence = "“Thailand” mattered most for “Bangkok”: replacing it makes “Bangkok” about 50 times"
    assert sentence in screen(make_explanation(), terminal=False, width=40)


def test_the_table_holds_the_ten_strongest_with_factor_and_interval() -> None:
    table = unit_table(make_explanation())
    tokens, effects, intervals = ([str(cell) for cell in table.columns[i].cells] for i in (1, 3, 4))
    assert len(tokens) == 10
    assert tokens[:3] == ["Thailand", "capital", "city"]
    assert (effects[0], intervals[0]) == ("about 50 times less likely", "20 to 120 times")


def test_each_word_of_the_whole_answer_has_its_three_strongest() -> None:
    shown = screen(make_whole_answer(), terminal=False, width=200)
    assert "mattered most for the answer “Bangkok, of course.”" in shown
    lines = [line for line in shown.splitlines() if line.startswith("“course”")]
    assert len(lines) == 1 and lines[0].count("times)") == 3


def test_a_chat_names_its_template_instead_of_showing_it() -> None:
    shown = screen(make_chat(), terminal=False)
    assert "‹system turn›" in shown and "<|im_start|>" not in shown


def test_a_cancelled_result_and_warnings_are_said() -> None:
    found = make_explanation(status="cancelled", steps=2)
    warned = found.verdict.model_copy(update={"warnings": ("No probe passed the stop test.",)})
    shown = screen(found.model_copy(update={"verdict": warned}), terminal=False)
    assert shown.startswith("Cancelled: ")
    assert "Warning: No probe passed the stop test." in shown


def test_what_was_computed_in_vain_is_told() -> None:
    found = make_explanation()
    counts = found.counts.model_copy(update={"sequences": 200, "discarded": 18})
    wasted = found.model_copy(update={"counts": counts})
    line = "200 sequences in 3.2 s, 9% of them for probes that had stopped"
    assert line in " ".join(screen(wasted, terminal=False, width=300).split())
    assert "had stopped" not in screen(found, terminal=False)
    rows = '<th>For probes that had stopped</th><td dir="auto">9%'
    assert rows in html_report(wasted) and "had stopped" not in html_report(found)


def test_printable_keeps_ordinary_text() -> None:
    assert printable("naïve 日本 👩‍💻\n") == "naïve 日本 👩‍💻\n"
    assert printable("\t\r") == "⇥U+000D"


def test_the_background_is_dark_unless_the_terminal_says_otherwise() -> None:
    assert dark_background({}) and dark_background({"COLORFGBG": "15;0"})
    assert not dark_background({"COLORFGBG": "0;15"})
    assert not dark_background({"COLORFGBG": "0;default;7"})
