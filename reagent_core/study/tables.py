"""Readers of tables, one for each kind of file. Nothing in a file is trusted."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pandas as pd

from reagent_core.errors import InputError
from reagent_core.soundness import MAX_CHARACTERS
from reagent_core.wording import quoted

MAX_ROWS = 100_000
MAX_COLUMNS = 256
# A small Parquet file may unpack to anything.
_MAX_UNPACKED_BYTES = 512 * 1024 * 1024

_DELIMITERS = ",;\t"


def _decoded(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError("This file is UTF-16 text. Save it as UTF-8.", "file")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"This file is not UTF-8 text: byte {error.start + 1:,} (in line {line:,}) is part of "
            "no character. Save it as UTF-8.",
            "file",
        ) from None
    if "\x00" in text:
        line = text.count("\n", 0, text.index("\x00")) + 1
        raise InputError(f"This file is no text: line {line:,} holds a NUL character.", "file")
    return text


def check_columns(names: list[str]) -> None:
    """Refuse columns that are too many or have the same name.

    Raises:
        InputError: they are (field "file").
    """
    if len(names) > MAX_COLUMNS:
        raise InputError(
            f"This file has {len(names):,} columns; at most {MAX_COLUMNS} are read.", "file"
        )
    for name, times in Counter(names).items():
        if times > 1:
            raise InputError(
                f"The column {quoted(name)} is there {times} times. Give each a name of its own.",
                "file",
            )


def _check_count(rows: int) -> None:
    if rows > MAX_ROWS:
        raise InputError(
            f"This file has more than {MAX_ROWS:,} rows; larger ones are not read. Cut it into "
            "several.",
            "file",
        )


def _bounded(rows: Iterable[Any]) -> Iterator[Any]:
    """The rows, if they are not too many."""
    for number, row in enumerate(rows, start=1):
        _check_count(number)
        yield row


def _csv(data: bytes) -> pd.DataFrame:
    """Comma, semicolon or tab, whichever the header has most of.

    By Python's own reader, because it can tell the line of what is wrong.
    """
    text = _decoded(data)
    header: list[str] = []
    header_line = text.lstrip("\r\n").split("\n", 1)[0]
    delimiter = max(_DELIMITERS, key=header_line.count)
    csv.field_size_limit(MAX_CHARACTERS + 1)  # longer ones are refused with their place
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)

    def records() -> Iterator[list[str]]:
        for record in reader:
            if not record:  # an empty line
                continue
            if len(record) != len(header):
                raise InputError(
                    f"Line {reader.line_num:,} has {len(record)} cells, the header has "
                    f"{len(header)}. A cell that holds {_SPOKEN[delimiter]} must be in quotes.",
                    "file",
                )
            yield record

    try:
        header = next((record for record in reader if record), [])
        if not header:
            raise InputError("This file is empty.", "file")
        check_columns(header)
        return pd.DataFrame(list(_bounded(records())), columns=header, dtype=object)
    except csv.Error as error:
        raise InputError(
            f"This file is no table: {error} (line {reader.line_num:,}).", "file"
        ) from None


_SPOKEN = {",": "a comma", ";": "a semicolon", "\t": "a tab"}


def _txt(data: bytes) -> pd.DataFrame:
    """One prompt a line; empty lines are none."""
    # Not splitlines: a prompt may hold other ends of lines.
    lines = [line for line in re.split(r"\r\n|\r|\n", _decoded(data)) if line.strip()]
    return pd.DataFrame({"prompt": list(_bounded(lines))}, dtype=object)


def _jsonl(data: bytes) -> pd.DataFrame:
    def records() -> Iterator[Any]:
        # Not splitlines: a text in JSON may hold other ends of lines as they are.
        for number, line in enumerate(_decoded(data).split("\n"), start=1):
            if line.strip():
                yield _object(_json(line, f"Line {number:,}"), f"Line {number:,}")

    return _frame(list(_bounded(records())))


def _json_list(data: bytes) -> pd.DataFrame:
    """A list of objects; some call .json what holds an object a line."""
    text = _decoded(data)
    if text.lstrip().startswith("{"):
        return _jsonl(data)
    parsed = _json(text, "This file")
    if not isinstance(parsed, list):
        raise InputError("This file is not a list of objects, one for each prompt.", "file")
    return _frame(
        [_object(row, f"Row {number:,}") for number, row in enumerate(_bounded(parsed), start=1)]
    )


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, " if "\n" in text.strip() else ""
        reason = error.msg[:1].lower() + error.msg[1:]
        raise InputError(
            f"{where} is not valid JSON: {reason} ({place}column {error.colno}).", "file"
        ) from None
    except (ValueError, RecursionError):
        raise InputError(
            f"{where} is nested too deep, or holds too long a number.", "file"
        ) from None


def _object(row: Any, where: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise InputError(f"{where} is no object: write {{...}} for each prompt.", "file")
    return row


def _frame(records: list[dict[str, Any]]) -> pd.DataFrame:
    """Objects as rows; what one of them lacks is None."""
    names = list(dict.fromkeys(name for record in records for name in record))
    check_columns(names)
    try:
        "".join(names).encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        raise InputError("The name of a column holds what is no text.", "file") from None
    return pd.DataFrame(
        {name: pd.Series([record.get(name) for record in records], dtype=object) for name in names}
    )


def _parquet(data: bytes) -> pd.DataFrame:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
        if sum(group.total_byte_size for group in groups) > _MAX_UNPACKED_BYTES:
            raise InputError(
                f"This file unpacks to more than {_MAX_UNPACKED_BYTES // 2**20} MB; larger ones "
                "are not read. Cut it into several.",
                "file",
            )
        _check_count(file.metadata.num_rows)
        check_columns(file.schema_arrow.names)
        frame: pd.DataFrame = file.read().to_pandas(
            ignore_metadata=True,
            integer_object_nulls=True,  # else 4 is 4.0 where another cell is empty
        )
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise InputError(f"This is no Parquet file that can be read: {reason}.", "file") from None
    return frame.astype(object)


# By the ending of the file's name.
READERS: dict[str, Callable[[bytes], pd.DataFrame]] = {
    ".csv": _csv,
    ".tsv": _csv,
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".json": _json_list,
    ".parquet": _parquet,
    ".txt": _txt,
}
