"""Data sets from files: what is read, what is guessed, and what is wrong told by its place."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reagent_core.errors import InputError
from reagent_core.study.data import Columns, columns_of, read_table, rows_of
from reagent_core.study.plan import Row

LINES = [
    {"prompt": "the capital of france is", "target": "paris", "key": "france"},
    {"prompt": "a, “quoted”\nred city", "target": None},
    {"prompt": "", "target": "madrid", "key": " "},
]
ROWS = (
    Row(index=0, prompt="the capital of france is", target="paris", key="france"),
    Row(index=1, prompt="a, “quoted”\nred city"),
    Row(index=2, prompt="", target="madrid"),
)


def frame_of(text: str | bytes, name: str = "a.csv") -> pd.DataFrame:
    return read_table(name, text.encode() if isinstance(text, str) else text)


def refused(text: str | bytes, name: str = "a.csv") -> str:
    with pytest.raises(InputError) as told:
        frame_of(text, name)
    assert told.value.field == "file"
    return str(told.value)


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "json", "parquet"])
def test_a_table_is_the_same_in_every_form(tmp_path: Path, ending: str) -> None:
    frame, file = pd.DataFrame(LINES), tmp_path / f"data.{ending}"
    match ending:
        case "csv":
            frame.to_csv(file, index=False)
        case "tsv":
            frame.to_csv(file, index=False, sep="\t")
        case "jsonl":
            frame.to_json(file, orient="records", lines=True)
        case "json":
            frame.to_json(file, orient="records")
        case _:
            frame.to_parquet(file)
    read = read_table(file.name, file)
    assert rows_of(read, columns_of(read)) == ROWS


def test_a_text_file_is_a_prompt_a_line() -> None:
    frame = frame_of("one red city\r\n\n two\n", "tellmewhy2.txt")
    assert [row.prompt for row in rows_of(frame, columns_of(frame))] == ["one red city", " two"]


def test_excel_writes_semicolons_and_a_mark() -> None:
    frame = frame_of("\ufeffPrompt;Key\r\n1,5 red;red\r\n")
    assert columns_of(frame) == Columns("Prompt", None, "Key")
    assert frame.loc[0, "Prompt"] == "1,5 red"


@pytest.mark.parametrize(
    ("names", "columns"),
    [
        (["id", "text", "answer"], Columns("text", "answer", None)),
        (["question", "prompt", "clue"], Columns("prompt", None, "clue")),
        (["TARGET", "Prompt"], Columns("Prompt", "TARGET", None)),
        (["story"], Columns("story", None, None)),
    ],
)
def test_columns_are_guessed_by_their_names(names: list[str], columns: Columns) -> None:
    assert columns_of(pd.DataFrame([["x"] * len(names)], columns=names)) == columns


def test_without_a_telling_name_the_first_column_of_texts_holds_the_prompts() -> None:
    frame = pd.DataFrame({"number": [1, 2], "story": ["a", "b"]})
    assert columns_of(frame).prompt == "story"


def test_only_the_first_rows() -> None:
    frame = frame_of("prompt\na\nb\nc\n")
    assert [row.index for row in rows_of(frame, columns_of(frame), limit=2)] == [0, 1]


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        ("prompt\nx\n", "a.xlsx", "does not end in .csv"),
        ("", "a.csv", "This file is empty"),
        ("prompt\n", "a.csv", "no rows"),
        ("", "a.jsonl", "no rows"),
        ("prompt,key\na,b\nc\n", "a.csv", "Line 3 has 1 cells, the header has 2"),
        ("prompt,key\na,b,c\n", "a.csv", "Line 2 has 3 cells, the header has 2. A cell that holds"),
        ('prompt\n"a"b\n', "a.csv", "line 2"),
        ('prompt\n"a\nb\n', "a.csv", "no table: unexpected end of data"),
        ("prompt,prompt\na,b\n", "a.csv", "The column “prompt” is there 2 times"),
        (b"prompt\ncaf\xe9\n", "a.csv", "byte 11 (in line 2) is part of no character"),
        ("prompt\na".encode("utf-16"), "a.csv", "UTF-16"),
        ("prompt\na\x00b\n", "a.csv", "line 2 holds a NUL character"),
        ('{"prompt": "a"}\n{"prompt": \n', "a.jsonl", "Line 2 is not valid JSON: expecting value"),
        ('{"prompt": "a"}\n["b"]\n', "a.jsonl", "Line 2 is no object"),
        ('["a"]', "a.json", "Row 1 is no object"),
        ('"a"', "a.json", "not a list of objects"),
        ("[" * 100_000, "a.json", "nested too deep"),
        (b"PAR1nonsense", "a.parquet", "no Parquet file that can be read"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str | bytes, name: str, said: str) -> None:
    sentence = refused(text, name)
    assert said in sentence and sentence.startswith(f"“{name}”")


def test_too_much_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("reagent_core.study.tables.MAX_ROWS", 2)
    lines = pd.DataFrame({"prompt": ["a", "b", "c"]})
    lines.to_parquet(tmp_path / "a.parquet")
    for name, text in (
        ("a.csv", b"prompt\na\nb\nc\n"),
        ("a.jsonl", b'{"prompt": "a"}\n' * 3),
        ("a.txt", b"a\nb\nc"),
        ("a.parquet", (tmp_path / "a.parquet").read_bytes()),
    ):
        assert "more than 2 rows" in refused(text, name)
    monkeypatch.setattr("reagent_core.study.data.MAX_BYTES", 1024 * 1024)
    assert "more than 1 MB" in refused(b"a" * (1024 * 1024 + 1))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"“none.csv”: This file cannot be read: No such file"):
        read_table("none.csv", tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.jsonl", '{"prompt": "2+2=", "answer": 4, "key": 2.5}\n{"prompt": 7}\n'),
        ("a.csv", "prompt,answer,key\n2+2=,4,2.5\n7,,\n"),
    ],
)
def test_a_number_is_the_text_it_is_written_as(name: str, text: str) -> None:
    frame = frame_of(text, name)
    expected = (Row(index=0, prompt="2+2=", target="4", key="2.5"), Row(index=1, prompt="7"))
    assert rows_of(frame, columns_of(frame)) == expected
    if name.endswith("csv"):
        return
    file = io.BytesIO()
    typed = frame.astype({"prompt": str, "answer": "Int64", "key": float})
    typed.to_parquet(file)  # where an empty cell is beside it, a number is easily another one
    assert rows_of(read_table("a.parquet", file.getvalue()), columns_of(frame)) == expected


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        (True, "this is no text but “True”"),
        ([1], "a list"),
        ({"a": 1}, "an object"),
        (b"a", "bytes"),
        ("half \ud83d", "character 6 is half of a Unicode pair"),
        ("a" * 1_000_001, "more than 1,000,000 characters"),
    ],
)
def test_a_cell_that_is_no_text_costs_its_own_row_alone(cell: object, said: str) -> None:
    cells = pd.Series(["fine", cell], dtype=object)
    frame = pd.DataFrame({"prompt": ["a", "b"], "target": cells})
    first, second = rows_of(frame, Columns("prompt", "target"))
    assert first == Row(index=0, prompt="a", target="fine")
    assert (second.prompt, second.target) == ("b", None)
    assert (second.problem or "").startswith("Row 2, column “target”: ")
    assert said in (second.problem or "")
    assert rows_of(frame, Columns("target"))[1].prompt == ""
    with pytest.raises(InputError, match=r"^No row can be read. Row 1, column “target”: "):
        rows_of(frame[1:], Columns("target"))


def test_a_column_that_is_not_there() -> None:
    with pytest.raises(InputError, match=r"no column “x”. The columns are: “prompt”"):
        rows_of(frame_of("prompt\na\n"), Columns("prompt", target="x"))


@settings(deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"),
                        min_size=1), min_size=1, max_size=5))  # fmt: skip
def test_csv_and_parquet_give_back_any_text(texts: list[str]) -> None:
    frame, file = pd.DataFrame({"prompt": texts}), io.BytesIO()
    frame.to_parquet(file)
    written = frame.to_csv(index=False, lineterminator="\n", quoting=1).encode()
    for read in (read_table("a.csv", written), read_table("a.parquet", file.getvalue())):
        assert [row.prompt for row in rows_of(read, Columns("prompt"))] == texts
