"""What a study found as a table: one row a prompt, model and method, in the order of the study.

Columns:

- `row` (counted from 1), `prompt`, `asked_target`, `key`: of the data set. `model`, and what pins
  its weights, `model_revision`; `method`.
- `status`: done, failed (`reason` says why; there is no method then), or refused (the model does
  not allow the method; `reason` says why).
- `answer`; `target`: what was explained, with its log-probability `value` in nats.
- `top`: the strongest units, a list in Parquet and a JSON text in CSV. `key_rank` of `units`: the
  place of the key, 1 is the strongest. `key_first`: whether that is 1; missing where no key is
  known, or the prompt does not hold it (see `Row.lacks_its_key`).
- The faithfulness (see `check`): `comprehensiveness`, `sufficiency` in nats, `_relative` as the
  share of the probability that is lost; `area` and `random_area` between the curves; `standing`;
  `soft_nc`, `soft_ns` with those of random scores, `_random`, and the logarithms of their ratios,
  `_log_ratio`, missing where one of the two is 0. Where no unit speaks for the target all four are
  0: nothing is kept, and nothing zeroed, by these scores in any order. `replacer`: what replaced.
  `notes`: what to know before comparing methods, and what single methods warn of, one a line; the
  same for all methods of a prompt.
- `sequences`, `tokens`, `forwards`, `backwards`, `seconds`: of the method alone.
- `explanation`: its key in the library of the study's folder.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

import pandas as pd

from reagent_core.export import csv_text
from reagent_core.study.plan import MethodFound, Outcome, Row, Study

_TEXTS = ["prompt", "asked_target", "key", "model", "model_revision", "method", "status", "reason",
          "answer", "target", "standing", "replacer", "notes", "explanation"]  # fmt: skip
_NUMBERS = ["value", "comprehensiveness", "sufficiency", "comprehensiveness_relative",
            "sufficiency_relative", "area", "random_area", "soft_nc", "soft_ns",
            "soft_nc_random", "soft_ns_random", "soft_nc_log_ratio", "soft_ns_log_ratio",
            "seconds"]  # fmt: skip
_COUNTS = ["row", "units", "key_rank", "sequences", "tokens", "forwards", "backwards"]
COLUMNS = [
    "row", "prompt", "asked_target", "key", "model", "model_revision", "method", "status", "reason",
    "answer", "target", "value", "top", "units", "key_rank", "key_first", "comprehensiveness",
    "sufficiency", "comprehensiveness_relative", "sufficiency_relative", "area", "random_area",
    "standing", "soft_nc", "soft_ns", "soft_nc_random", "soft_ns_random", "soft_nc_log_ratio",
    "soft_ns_log_ratio", "replacer", "notes", "sequences", "tokens", "forwards", "backwards",
    "seconds", "explanation",
]  # fmt: skip


def results_frame(study: Study, outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """The table, texts as they are; what is not known is missing. Tasks that have not ended have no
    rows."""
    known = {outcome.task: outcome for outcome in outcomes}
    records = [
        record
        for task in study.tasks
        if (outcome := known.get(task)) is not None
        for record in _records(study, outcome)
    ]
    frame = pd.DataFrame(records, columns=COLUMNS)
    types = {
        **dict.fromkeys(_TEXTS, "string"),
        **dict.fromkeys(_NUMBERS, "float64"),
        **dict.fromkeys(_COUNTS, "Int64"),
    }
    return frame.astype({**types, "key_first": "boolean"})


def results_parquet(frame: pd.DataFrame) -> bytes:
    """The table as a Parquet file."""
    file = io.BytesIO()
    frame.to_parquet(file, index=False, engine="pyarrow")
    return file.getvalue()


def results_csv(frame: pd.DataFrame) -> str:
    """The table as CSV. A text that a spreadsheet would run as a formula gets an apostrophe in
    front (see `export.scores_csv`)."""
    plain = frame.assign(top=[json.dumps(list(top), ensure_ascii=False) for top in frame["top"]])
    texts = {name: plain[name].fillna("").astype(object) for name in _TEXTS}
    return csv_text(plain.assign(**texts), [*_TEXTS])


def _records(study: Study, outcome: Outcome) -> list[dict[str, Any]]:
    row = study.row(outcome.task)
    common = {
        "row": row.index + 1,
        "prompt": row.prompt,
        "asked_target": row.target,
        "key": row.key,
        "model": outcome.task.model,
        "model_revision": None if outcome.made_by is None else outcome.made_by.model,
        "top": [],
    }
    if outcome.status == "failed":
        return [{**common, "status": "failed", "reason": outcome.reason}]
    common |= {"answer": outcome.answer, "target": outcome.target, "value": outcome.value}
    found = {each.method: each for each in outcome.found}
    refused = dict(outcome.refused)
    records = []
    for method in study.methods:
        if method in found:
            own = _record(found[method], row)
            told = {"replacer": outcome.replacer, "notes": "\n".join(outcome.notes) or None}
            records.append({**common, "status": "done", **own, **told})
        elif method in refused:
            reason = refused[method]
            records.append({**common, "method": method, "status": "refused", "reason": reason})
    return records


def _record(found: MethodFound, row: Row) -> dict[str, Any]:
    mean = found.mean
    erasure = {} if mean is None else {name: getattr(mean, name).mean for name in _ERASURE}
    return {
        "method": found.method,
        "top": list(found.top),
        "units": found.units,
        "key_rank": found.key_rank,
        "key_first": None if row.key is None or row.lacks_its_key else found.key_rank == 1,
        "area": found.area,
        "random_area": found.random_area,
        "standing": found.standing,
        **erasure,
        **_soft(found),
        "sequences": found.sequences,
        "tokens": found.tokens,
        "forwards": found.forwards,
        "backwards": found.backwards,
        "seconds": found.seconds,
        "explanation": found.explanation,
    }


def _soft(found: MethodFound) -> dict[str, float | None]:
    soft = found.soft
    if soft is None:
        nothing = found.soft_missing == "nothing_important"
        return dict.fromkeys(_SOFT, 0.0) if nothing else {}
    return {
        "soft_nc": soft.comprehensiveness.mean,
        "soft_ns": soft.sufficiency.mean,
        "soft_nc_random": soft.random_comprehensiveness,
        "soft_ns_random": soft.random_sufficiency,
        "soft_nc_log_ratio": soft.log_ratio_comprehensiveness,
        "soft_ns_log_ratio": soft.log_ratio_sufficiency,
    }


_SOFT = ("soft_nc", "soft_ns", "soft_nc_random", "soft_ns_random")
_ERASURE = ("comprehensiveness", "sufficiency", "comprehensiveness_relative",
            "sufficiency_relative")  # fmt: skip
