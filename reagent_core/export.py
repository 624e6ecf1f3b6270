"""Scores as a table, for a spreadsheet or a data frame."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any

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
    "coarse",
    "at_least",
    "attribution",
]
_NUMBERS = ["score", "effect", "effect_low", "effect_high", "attribution"]


def scores_csv(explanation: Explanation) -> str:
    """One row a unit; in whole-answer mode one row an answer token and unit.

    `target_index`: the answer token (the first one of a span), empty for a text that is no part
    of the answer. `unit`: index of the unit. Offsets are characters of the prompt, effects nats;
    what is not known is empty. `coarse`, `at_least`, `attribution`: see `UnitScore`. A text that a
    spreadsheet would run as a formula (it starts with = + - @, tab or carriage return and goes on)
    gets an apostrophe in front; `start` and `end` with the prompt of the JSON export give every
    text exactly.
    """
    return csv_text(scores_frame(explanation), ["target", "text"])


def scores_parquet(explanation: Explanation) -> bytes:
    """The columns of `scores_csv` as a Parquet file; texts are what they are."""
    file = io.BytesIO()
    scores_frame(explanation).to_parquet(file, index=False, engine="pyarrow")
    return file.getvalue()


def scores_frame(explanation: Explanation) -> pd.DataFrame:
    """The columns of `scores_csv` with texts as they are; what is not known is missing."""
    rows = [
        {
            "target_index": each.target.answer_start,
            "target": each.target.text,
            "unit": index,
            **unit.model_dump(),
        }
        for each in targets_of(explanation)
        for index, unit in enumerate(each.units)
    ]
    frame = pd.DataFrame(rows, columns=COLUMNS)
    return frame.astype({"target_index": "Int64", **dict.fromkeys(_NUMBERS, "float64")})


def targets_of(explanation: Explanation) -> Iterable[Explanation]:
    """What tables have rows for: every token of a whole answer, or the one target."""
    return explanation.explanations or (explanation,)


def csv_text(frame: pd.DataFrame, texts: Iterable[str]) -> str:
    """A frame as CSV; of the columns `texts` no cell is a formula."""
    safe: dict[str, Any] = {name: frame[name].map(_cell) for name in texts}
    # Every text is quoted: a lone carriage return would else end its row.
    return frame.assign(**safe).to_csv(
        index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC
    )


def _cell(text: str) -> str:
    return f"'{text}" if len(text) > 1 and text[0] in "=+-@\t\r" else text
