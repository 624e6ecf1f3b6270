"""The trace as a table: one row a step of a probe and target, in the order of the steps.

Columns:

- `target_index`, `target`: as in the table of scores (see `export.scores_csv`).
- `probe`, `step`: counted from 0.
- `replaced`: indices of the replaced units; `replacements`: what each became, in the same order.
- `probability`, `value` (nats), `change`: of the target, see `explanation.Step`.
- `rank`: in the stop test, missing where none was due; `stopped`: the test ended the probe here.
- `bounded`: a server did not list the target, so that the numbers are upper bounds.
- `scores`: the raw scores S after the step, one for each unit of `units`; `units`: their indices.

`replaced`, `replacements`, `scores` and `units` are lists in Parquet and JSON texts in CSV.
"""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

from reagent_core.explanation import Explanation
from reagent_core.export import csv_text, targets_of

if TYPE_CHECKING:
    import pyarrow as pa

LISTS = ("replaced", "replacements", "scores", "units")


def trace_parquet(explanation: Explanation) -> bytes:
    """The trace as a Parquet file, texts as they are."""
    import pyarrow.parquet as pq

    file = io.BytesIO()
    pq.write_table(trace_table(explanation), file)
    return file.getvalue()


def trace_csv(explanation: Explanation) -> str:
    """The trace as CSV, lists as JSON texts. A target that a spreadsheet would run as a formula
    gets an apostrophe in front (see `export.scores_csv`)."""
    frame = trace_table(explanation).to_pandas()
    for name in LISTS:
        frame[name] = [json.dumps(list(cell), ensure_ascii=False) for cell in _lists(frame[name])]
    whole = {"target_index": "Int64", "rank": "Int64"}
    return csv_text(frame.astype(whole), ["target"])


def _lists(column: Any) -> list[list[Any]]:
    """Arrays of NumPy as lists of numbers and texts that JSON knows."""
    return [cell.tolist() for cell in column]


def trace_table(explanation: Explanation) -> pa.Table:
    """The trace as an Arrow table."""
    import pyarrow as pa

    schema = pa.schema(
        [
            ("target_index", pa.int64()),
            ("target", pa.string()),
            ("probe", pa.int32()),
            ("step", pa.int32()),
            ("replaced", pa.list_(pa.int32())),
            ("replacements", pa.list_(pa.string())),
            ("probability", pa.float64()),
            ("value", pa.float64()),
            ("change", pa.float64()),
            ("rank", pa.int64()),
            ("stopped", pa.bool_()),
            ("bounded", pa.bool_()),
            ("scores", pa.list_(pa.float64())),
            ("units", pa.list_(pa.int32())),
        ]
    )
    rows = [
        {
            "target_index": each.target.answer_start,
            "target": each.target.text,
            "units": units,
            **step.model_dump(),
        }
        for each in targets_of(explanation)
        for units in [[i for i, unit in enumerate(each.units) if unit.stepped]]
        for step in each.trace
    ]
    return pa.Table.from_pylist(rows, schema=schema)
