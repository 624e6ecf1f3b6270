"""The trace as a table: every step, exactly, in both formats."""

from __future__ import annotations

import io
import json

import pandas as pd
import pyarrow.parquet as pq
import pytest

from reagent_core.config import Config
from reagent_core.explain import explain_now
from reagent_core.explanation import Explanation
from reagent_core.export_trace import LISTS, trace_csv, trace_parquet
from reagent_core.request import AnswerTokens, GivenText, Request, TargetChoice, WholeAnswer
from tests.tiny import TinyScorer


def made(target: TargetChoice, **options: object) -> Explanation:
    config = Config(probes=2, min_steps=4, max_steps=6, seed=3)
    prompt = "the capital of france is"
    request = Request(prompt=prompt, target=target, max_new_tokens=2, config=config, **options)
    return explain_now(request, TinyScorer())


@pytest.mark.parametrize("target", [AnswerTokens(), WholeAnswer()], ids=["token", "answer"])
def test_a_row_is_a_step_of_a_target(target: TargetChoice) -> None:
    explanation = made(target, attribute_answer=True)
    rows = pq.read_table(io.BytesIO(trace_parquet(explanation))).to_pylist()
    targets = explanation.explanations or (explanation,)
    steps = [(each, step) for each in targets for step in each.trace]
    assert len(rows) == len(steps)
    for row, (each, step) in zip(rows, steps, strict=True):
        assert (row["target_index"], row["target"]) == (
            each.target.answer_start,
            each.target.text,
        )
        own = step.model_dump()
        assert {name: row[name] for name in own} == {
            name: list(value) if isinstance(value, tuple) else value for name, value in own.items()
        }
        assert len(row["units"]) == len(row["scores"])


def test_csv_holds_what_parquet_holds() -> None:
    explanation = made(GivenText(text="paris", instead_of="madrid"), protected=((0, 3),))
    rows = pq.read_table(io.BytesIO(trace_parquet(explanation))).to_pylist()
    frame = pd.read_csv(io.StringIO(trace_csv(explanation)))
    assert list(frame.columns) == list(rows[0])
    for row, (_, told) in zip(rows, frame.iterrows(), strict=True):
        assert {name: json.loads(told[name]) for name in LISTS} == {n: row[n] for n in LISTS}
        assert (told["value"], told["stopped"]) == (row["value"], row["stopped"])
        assert pd.isna(told["target_index"])  # no part of the answer
        assert (None if pd.isna(told["rank"]) else told["rank"]) == row["rank"]
    assert 0 not in rows[0]["units"]  # protected


def test_no_cell_is_a_formula() -> None:
    explanation = made(AnswerTokens())
    target = explanation.target.model_copy(update={"text": "=1+1"})
    hostile = tuple(
        step.model_copy(update={"replacements": tuple("=1+1" for _ in step.replaced)})
        for step in explanation.trace
    )
    changed = explanation.model_copy(update={"target": target, "trace": hostile})
    frame = pd.read_csv(io.StringIO(trace_csv(changed)), dtype=str, keep_default_na=False)
    assert set(frame["target"]) == {"'=1+1"}
    for name in frame.columns:
        assert not [cell for cell in frame[name] if cell[:1] in ("=", "+", "@", "\t", "\r")]
    assert pq.read_table(io.BytesIO(trace_parquet(changed)))["target"][0].as_py() == "=1+1"


def test_a_run_without_steps_is_an_empty_table_of_the_same_columns() -> None:
    explanation = made(AnswerTokens())
    none = explanation.model_copy(update={"trace": ()})
    whole, empty = (
        pq.read_table(io.BytesIO(trace_parquet(each))) for each in (explanation, none)
    )
    assert empty.num_rows == 0 and empty.schema.equals(whole.schema)
    assert trace_csv(none).count("\n") == 1
    assert trace_parquet(explanation) == trace_parquet(explanation)
