"""Scores as CSV, for a spreadsheet or a data frame."""

from __future__ import annotations

import csv

import pandas as pd

from reagent_core.explanation import Explanation

COLUMNS = [
    "target_index",
    "target",
    "unit",
    "text",
    "start",
    "end",
    "protected",
    "score",
    "effect",
    "effect_low",
    "effect_high",
]


def scores_csv(explanation: Explanation) -> str:
    """One row a unit; in whole-answer mode one row an answer token and unit.

    `target_index`: the answer token (the first one of a span), empty for a text that is no part
    of the answer. `unit`: index of the unit. Offsets are characters of the prompt, effects nats;
    what is not known is empty. A text that a spreadsheet would run as a formula (it starts with
    = + - @, tab or carriage return and goes on) gets an apostrophe in front; `start` and `end`
    with the prompt of the JSON export give every text exactly.
    """
    rows = [
        {
            "target_index": each.target.answer_start,
            "target": _cell(each.target.text),
            "unit": index,
            "text": _cell(unit.text),
            **unit.model_dump(exclude={"text"}),
        }
        for each in (explanation.explanations or (explanation,))
        for index, unit in enumerate(each.units)
    ]
    frame = pd.DataFrame(rows, columns=COLUMNS).astype({"target_index": "Int64"})
    # Every text is quoted: a lone carriage return would else end its row.
    return frame.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)


def _cell(text: str) -> str:
    return f"'{text}" if len(text) > 1 and text[0] in "=+-@\t\r" else text
