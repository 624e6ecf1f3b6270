"""Data sets from files: a table of prompts, with what is wrong in a file told by row and column.

A file is a table with a header (CSV, TSV), one JSON object a line (JSONL), a list of objects
(JSON), a Parquet file, or a text with one prompt a line (TXT). Rows are counted from 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Number
from pathlib import Path
from typing import Any

import pandas as pd

from reagent_core.errors import InputError
from reagent_core.soundness import MAX_CHARACTERS
from reagent_core.study.plan import Row
from reagent_core.study.tables import READERS, check_columns
from reagent_core.wording import quoted

MAX_BYTES = 64 * 1024 * 1024
ENDINGS = tuple(READERS)

# What columns are called in data sets, the likeliest first.
_PROMPT_NAMES = ("prompt", "text", "input", "question", "context", "sentence", "query")
_TARGET_NAMES = ("target", "target_text", "completion", "answer")
_KEY_NAMES = ("key", "clue", "evidence")


@dataclass(frozen=True)
class Columns:
    """Which columns of a table are what; None for a column there is none of."""

    prompt: str
    target: str | None = None
    key: str | None = None


def read_table(name: str, content: bytes | Path) -> pd.DataFrame:
    """The table in a file; cells are as they are in it, and empty cells of CSV are empty texts.

    `name`: the file's; its ending says what it is (.csv, .tsv, .jsonl, .ndjson, .json, .parquet,
    .txt). `content`: its bytes, or where it lies.

    Raises:
        InputError: it is none of these, damaged, too large, or empty; the sentence says where and
            why (field "file").
    """
    ending = Path(name).suffix.lower()
    if ending not in READERS:
        raise InputError(
            f"{quoted(name)} does not end in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}. Save the "
            "data set as one of these.",
            "file",
        )
    try:
        data = content if isinstance(content, bytes) else _bytes_of(content)
        if len(data) > MAX_BYTES:
            raise InputError(
                f"This file has more than {MAX_BYTES // 2**20} MB; larger ones are not read. Cut "
                "it into several.",
                "file",
            )
        frame = READERS[ending](data)
        check_columns([str(column) for column in frame.columns])
        if frame.empty:
            raise InputError("This file has no rows.", "file")
    except InputError as error:
        raise InputError(f"{quoted(name)}: {error}", "file") from None
    return frame


def columns_of(frame: pd.DataFrame) -> Columns:
    """Prompt, target and key columns, guessed by their names.

    A table in which no name tells has its prompts in the first column that holds texts, else in the
    first.
    """
    named = {str(column).strip().casefold(): str(column) for column in reversed(frame.columns)}

    def first_of(names: tuple[str, ...]) -> str | None:
        return next((named[name] for name in names if name in named), None)

    texts = (
        str(c) for c in frame.columns if frame[c].map(lambda cell: isinstance(cell, str)).any()
    )
    prompt = first_of(_PROMPT_NAMES) or next(texts, str(frame.columns[0]))
    return Columns(prompt, first_of(_TARGET_NAMES), first_of(_KEY_NAMES))


def rows_of(frame: pd.DataFrame, columns: Columns, limit: int | None = None) -> tuple[Row, ...]:
    """The first `limit` rows of a table, all without it.

    A prompt that is missing is an empty text: the row is kept, and fails with that reason. A target
    or key that is missing or empty is None. A number is the text that Python writes for it. A cell
    that is no text, or none that can be kept, is the `problem` of its row.

    Raises:
        InputError: there is no such column, or no row without a problem; the sentence says which
            (field "file").
    """
    for name in (columns.prompt, columns.target, columns.key):
        if name is not None and name not in frame.columns:
            known = ", ".join(quoted(str(column)) for column in frame.columns[:20])
            raise InputError(
                f"There is no column {quoted(name)}. The columns are: {known}.", "file"
            )
    if limit is not None and limit < 1:
        raise InputError("At least one row is needed.", "file")
    kept = frame if limit is None else frame.head(limit)

    def cells(name: str | None) -> list[Any]:
        return [None] * len(kept) if name is None else kept[name].tolist()

    names = (columns.prompt, columns.target, columns.key)
    together = zip(*map(cells, names), strict=True)
    rows = tuple(_row(index, names, row) for index, row in enumerate(together))
    if rows and all(row.problem for row in rows):
        raise InputError(f"No row can be read. {rows[0].problem}", "file")
    return rows


def _row(index: int, names: Sequence[str | None], cells: Sequence[Any]) -> Row:
    """A row from its three cells."""
    texts: list[str] = []
    problems = []
    for name, cell in zip(names, cells, strict=True):
        try:
            texts.append(_text(cell))
        except InputError as error:
            texts.append("")
            problems.append(f"Row {index + 1:,}, column {quoted(name or '')}: {error}")
    prompt, target, key = texts
    return Row(
        index=index,
        prompt=prompt,
        target=target or None,
        key=key.strip() or None,
        problem=problems[0] if problems else None,
    )


def _text(cell: Any) -> str:
    """A cell as a text; nothing in it is an empty one.

    Raises:
        InputError: it is none, or none that can be kept.
    """
    if cell is None or cell is pd.NA or (isinstance(cell, float) and cell != cell):
        return ""
    if not isinstance(cell, bool) and isinstance(cell, Number):
        return str(cell)
    if not isinstance(cell, str):
        raise InputError(
            f"this is no text but {_kind(cell)}. Choose another column, or write it in quotes.",
            "file",
        )
    if len(cell) > MAX_CHARACTERS:
        raise InputError(f"more than {MAX_CHARACTERS:,} characters.", "file")
    try:
        cell.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"character {error.start + 1} is half of a Unicode pair (a lone surrogate). Remove it.",
            "file",
        ) from None
    return cell


def _kind(cell: Any) -> str:
    if isinstance(cell, bytes):
        return "bytes"
    if isinstance(cell, dict):
        return "an object"
    if hasattr(cell, "__len__"):
        return "a list"
    return quoted(str(cell), 30)


def _bytes_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"This file cannot be read: {reason}.", "file") from None
