"""Exports: CSV and the self-contained HTML report, with hostile texts."""

from __future__ import annotations

import io
import json
import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from reagent_core.config import PRESETS
from reagent_core.export import COLUMNS, scores_csv, scores_parquet
from reagent_core.report import html_report
from tests.examples import (
    UnitSpec,
    make_chat,
    make_explanation,
    make_whole_answer,
    with_scores,
    without_intervals,
)

HOSTILE = ["<img src=x onerror=alert(1)>", "</script>", "**bold**", "\u2028", "{{ 7 * 7 }}", "<!--"]
HOSTILE_UNITS: list[UnitSpec] = [
    (text, (i + 1.0, i + 0.5, i + 1.5)) for i, text in enumerate(HOSTILE)
]


def read(csv: str) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(csv), keep_default_na=False, dtype=str)


def test_one_row_a_unit() -> None:
    explanation = make_explanation()
    frame = read(scores_csv(explanation))
    assert list(frame.columns) == COLUMNS
    assert len(frame) == len(explanation.units)
    row = frame.iloc[5]
    assert (row["target_index"], row["target"], row["text"]) == ("0", " Bangkok", " Thailand")
    assert explanation.prompt[int(row["start"]) : int(row["end"])] == " Thailand"
    assert float(row["effect"]) == explanation.units[5].effect
    assert row["protected"] == "False"


def test_a_row_for_every_answer_token_of_a_whole_answer() -> None:
    explanation = make_whole_answer()
    frame = read(scores_csv(explanation))
    assert len(frame) == 6 * len(explanation.units)
    assert frame["target_index"].unique().tolist() == ["0", "1", "2", "3", "4", "5"]
    assert frame["target"].unique().tolist() == [" Bang", "kok", ",", " of", " course", "."]


def test_protected_units_have_empty_numbers() -> None:
    row = read(scores_csv(make_chat())).iloc[0]
    assert row["protected"] == "True"
    assert [row[name] for name in ("score", "effect", "effect_low", "effect_high")] == [""] * 4


def test_a_target_outside_the_answer_has_no_index() -> None:
    explanation = make_explanation()
    target = explanation.target.model_copy(update={"answer_start": None, "answer_stop": None})
    frame = read(scores_csv(explanation.model_copy(update={"target": target})))
    assert set(frame["target_index"]) == {""}


def test_hostile_and_odd_texts_survive_the_csv() -> None:
    texts = [*HOSTILE, 'a "quoted", text', "two\nlines", "=", "-", "مرحبا"]
    frame = read(scores_csv(make_explanation([(text, (1, 0, 2)) for text in texts])))
    assert frame["text"].tolist() == texts


@pytest.mark.parametrize("text", ["=1+1", "+1", "-2+3", "@SUM(A1)", "\tx", "\r="])
def test_formulas_are_disarmed(text: str) -> None:
    (cell,) = read(scores_csv(make_explanation([(text, (1, 0, 2))])))["text"]
    assert cell == f"'{text}"


class Page(HTMLParser):
    """Tags, attributes, visible text and script bodies of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.scripts: list[str] = []
        self._inside: str | None = None
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag in ("script", "style"):
            self._inside = tag
            if tag == "script":
                self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == self._inside:
            self._inside = None

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside is None:
            self.text += data


def test_report_says_what_the_explanation_says() -> None:
    page = Page(html_report(make_explanation()))
    assert "“Thailand” mattered most for “Bangkok”" in page.text
    assert "“Bangkok” falls from 42% to 0.4%" in page.text
    assert "Settled: the five most important tokens" in page.text
    assert "causal_lm" in page.text and "bundled" in page.text and "1,200" in page.text


def test_report_fetches_nothing() -> None:
    html = html_report(make_whole_answer())
    page = Page(html)
    assert not {"link", "img", "iframe", "object", "embed", "base"} & set(page.tags)
    assert not {"src", "href", "srcset"} & {name for name, _ in page.attributes}
    assert "default-src 'none'" in html
    assert not re.search(r"https?://|@import|url\(", html)


def test_report_holds_a_view_for_every_word() -> None:
    data = json.loads(Page(html_report(make_whole_answer())).scripts[0])
    assert data["view_of_word"] == [1, 2, 3, 4, 5]
    assert [token["text"] for token in data["answer"]] == [" Bangkok", ",", " of", " course", "."]
    assert data["explained_word"] is None
    assert "“Bangkok, of course.”" in data["views"][0]["sentence"]
    assert data["views"][1]["sentence"].startswith("“Thailand” mattered most for “Bangkok”")
    assert data["views"][0]["bars"][0]["name"] == "Thailand"


def test_report_of_a_single_target_marks_its_word() -> None:
    explanation = make_explanation(answer=(" It", " is", " hot"), target=(2, 3))
    data = json.loads(Page(html_report(explanation)).scripts[0])
    assert data["view_of_word"] == [None, None, 0] and data["explained_word"] == 2


def test_hostile_texts_stay_text_in_the_report() -> None:
    page = Page(html_report(make_whole_answer(HOSTILE_UNITS, answer=HOSTILE, words=())))
    harmless = Page(html_report(make_whole_answer([("a", (1, 0, 2))], answer=["a", "b"], words=())))
    assert page.tags == harmless.tags
    assert "onerror" not in {name for name, _ in page.attributes}
    data = json.loads(page.scripts[0])
    assert [token["text"] for token in data["views"][0]["tokens"]] == HOSTILE
    assert "{{ 7 * 7 }}" in "".join(token["text"] for token in data["answer"])
    assert "\u2028" not in page.scripts[0]


def test_report_of_a_run_that_has_told_nothing_yet() -> None:
    explanation = make_explanation([("a", (1, 0, 2))], fact=None, status="running")
    nothing = {"effect": None, "effect_low": None, "effect_high": None, "score": None}
    units = tuple(unit.model_copy(update=nothing) for unit in explanation.units)
    page = Page(html_report(explanation.model_copy(update={"units": units})))
    assert "cannot be told yet" in page.text
    assert json.loads(page.scripts[0])["views"][0]["bars"] == []


def test_report_under_the_paper_preset_goes_by_score() -> None:
    specs: list[UnitSpec] = [("a", (4, 3, 5)), (" b", (2, 1, 3))]
    paper = with_scores(make_explanation(specs, config=PRESETS["paper"]), (0.2, 0.8))
    data = json.loads(Page(html_report(paper)).scripts[0])
    (view,) = data["views"]
    assert data["measure"] == "score"
    assert view["sentence"].startswith("“b” has the highest ReAGent score")
    assert [row["name"] for row in view["rows"]] == ["b", "a"]
    assert [token["weight"] for token in view["tokens"]] == [0.25, 1.0]


def test_report_against_a_foil_speaks_of_odds() -> None:
    text = " ".join(Page(html_report(make_explanation(instead_of=" Paris"))).text.split())
    assert "How many times lower the odds of the target against the other text become" in text
    assert "Orange bars: higher odds." in text
    plain = " ".join(Page(html_report(make_explanation())).text.split())
    assert "How many times less likely the target becomes when" in plain


def test_report_of_effects_without_intervals() -> None:
    data = json.loads(Page(html_report(without_intervals(make_explanation()))).scripts[0])
    bar = data["views"][0]["bars"][0]
    assert (bar["low"], bar["high"]) == (None, None)
    assert bar["words"] == "Without it about 50 times less likely"


def test_scores_as_parquet_are_those_of_the_csv_with_texts_as_they_are() -> None:
    explanation = make_explanation([("=1+1", (1, 0, 2)), ("<s>", None), (" 🙂", (2, 1, 3))])
    frame = pd.read_parquet(io.BytesIO(scores_parquet(explanation)))
    assert list(frame.columns) == COLUMNS
    assert frame["text"].tolist() == ["=1+1", "<s>", " 🙂"]
    assert frame["effect"].tolist()[::2] == [1, 2] and frame["effect"].isna()[1]
    assert scores_parquet(explanation) == scores_parquet(explanation)


def test_what_is_not_known_has_the_type_of_what_is() -> None:
    """So that the tables of several runs can be put under each other."""
    nothing = make_chat().model_copy(update={"units": make_chat().units[:1]})
    for one, other in ((make_explanation(), nothing), (make_whole_answer(), nothing)):
        files = [pd.read_parquet(io.BytesIO(scores_parquet(each))) for each in (one, other)]
        assert (files[0].dtypes == files[1].dtypes).all()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"status": "cancelled"}, "cancelled"),
        ({"status": "interrupted", "interruption": "The server <b>left</b>."}, "server &lt;b&gt;"),
        ({"source": "notebook", "versions": {}, "answer_tokens": ()}, "notebook"),
        ({"facts": (), "trace": ()}, "mattered most"),
    ],
)
def test_report_of_every_kind_of_explanation(changes: dict[str, object], said: str) -> None:
    page = html_report(make_explanation().model_copy(update=changes))
    assert said in page and "<b>left" not in page
