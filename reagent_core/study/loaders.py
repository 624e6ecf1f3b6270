"""The prompts of the ReAGent paper's data sets, from the files these are published in, and the
sets that come with this program.

Zhao & Shan 2024 (arXiv 2402.00794) explain what models answer to prompts of TellMeWhy and how they
go on with biographies of Wikipedia. Their repository (casszhao/ReAGent) has both as texts with one
prompt a line, data/benchmark/tellmewhy2.txt and wikitext.txt, made by hand; `read_table` reads
these as they are. The data sets themselves are read here. No target is named: the model's own
answer is explained, of at most 10 tokens in the paper.
"""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path
from typing import Literal

import pandas as pd
from uniseg.sentencebreak import sentences

from reagent_core.errors import InputError
from reagent_core.study.data import MAX_BYTES, Columns, columns_of, read_table, rows_of
from reagent_core.study.plan import Row
from reagent_core.wording import quoted

Format = Literal["table", "tellmewhy", "wikibio"]

SHIPPED_FOLDER = Path(__file__).parents[2] / "assets" / "studies"

# Of a biography these are the prompt.
_SENTENCES = 2

# How CoreNLP, which cut the texts into tokens, writes brackets and quotes.
_SIGNS = {
    "-lrb-": "(", "-rrb-": ")", "-lsb-": "[", "-rsb-": "]", "-lcb-": "{", "-rcb-": "}",
    "``": '"', "''": '"', "`": "'",
}  # fmt: skip


def shipped_sets() -> dict[str, Path]:
    """The data sets that come with this program, by name."""
    return {file.stem: file for file in sorted(SHIPPED_FOLDER.glob("*.jsonl"))}


def read_rows(
    path: Path,
    form: Format = "table",
    columns: Columns | None = None,
    limit: int | None = None,
) -> tuple[Row, ...]:
    """The first `limit` prompts of a data set on disk.

    `columns`: of a table, those that are not guessed by name (see `columns_of`).

    Raises:
        InputError: the file cannot be used, or is of another form (field "file").
    """
    if form == "wikibio" and path.suffix not in _TABLES:
        return wikibio_rows(path, limit)
    frame = read_table(path.name, path)
    if form == "wikibio":
        return biography_rows(frame, limit)
    if form == "tellmewhy":
        return tellmewhy_rows(frame, limit)
    return rows_of(frame, columns or columns_of(frame), limit)


_TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")


def tellmewhy_rows(frame: pd.DataFrame, limit: int | None = None) -> tuple[Row, ...]:
    """The prompts of TellMeWhy (Lal et al. 2021, arXiv 2106.06132; StonyBrookNLP/tellmewhy), from
    its CSV or JSON files or those on the hub.

    A prompt is the `narrative`, a blank and the `question`, as in the paper's own file. In the data
    set a question has a row for each of three people's answers; here it is one prompt, at the place
    of the first. Their answers are free texts that no model would give word for word: they are no
    targets.

    Raises:
        InputError: a column is missing, or no cell of it is a text (field "file").
    """
    stories = rows_of(frame, Columns(_needed(frame, "narrative", "TellMeWhy")))
    questions = rows_of(frame, Columns(_needed(frame, "question", "TellMeWhy")))
    rows: dict[str, Row] = {}
    for story, question in zip(stories, questions, strict=True):
        prompt = f"{story.prompt.strip()} {question.prompt.strip()}".strip()
        problem = story.problem or question.problem
        rows.setdefault(problem or prompt, Row(index=story.index, prompt=prompt, problem=problem))
    return tuple(rows.values())[:limit]


def wikibio_rows(path: Path, limit: int | None = None) -> tuple[Row, ...]:
    """The prompts of WikiBio (Lebret et al. 2016, arXiv 1603.07771;
    DavidGrangier/wikipedia-biography-dataset), from its files SET.sent and SET.nb.

    `path`: a file of the set (test/test.sent, .nb or .box), or the folder that holds one set. The
    .sent file has a sentence a line, the .nb file the number of sentences of each article. A prompt
    is the first two sentences of an article, which the model is to go on with. They are printed in
    tokens (lower case, "born april 1 , 1954 -rrb-"); brackets, quotes and blanks are put back, so
    that the model reads a text, and the lower case stays. The table of facts (.box) is no part of
    the prompt.

    Raises:
        InputError: a file is missing or the two do not fit together (field "file").
    """
    counts_file, sentences_file = _wikibio_files(path)
    counts = _lines(counts_file)
    lines = _lines(sentences_file)
    rows: list[Row] = []
    at = 0
    for index, line in enumerate(counts[:limit]):
        if not re.fullmatch(r"\s*\d{1,9}\s*", line):
            raise InputError(
                f"{quoted(counts_file.name)}: line {index + 1:,} is no number of sentences.", "file"
            )
        count = int(line)
        if at + count > len(lines):
            raise InputError(
                f"{quoted(sentences_file.name)} ends in article {index + 1:,}: it has "
                f"{len(lines):,} sentences. It is cut off, or of another set than "
                f"{quoted(counts_file.name)}.",
                "file",
            )
        first = lines[at : at + count]
        rows.append(Row(index=index, prompt=_of_tokens("\n".join(first))))
        at += count
    if not rows:
        raise InputError(f"{quoted(counts_file.name)} is empty.", "file")
    return tuple(rows)


def biography_rows(frame: pd.DataFrame, limit: int | None = None) -> tuple[Row, ...]:
    """The same from a table: `target_text`, as the hub's wiki_bio has it (the .sent lines of an
    article), or `wiki_bio_text`, as the set of Manakul et al. 2023 (arXiv 2303.08896) has it.

    Raises:
        InputError: there is neither column (field "file").
    """
    name = next((name for name in ("target_text", "wiki_bio_text") if name in frame.columns), None)
    if name is None:
        raise InputError(
            "This is no file of WikiBio: it has no column “target_text” or “wiki_bio_text”.", "file"
        )
    beginning = _of_tokens if name == "target_text" else _of_text
    return tuple(
        row.model_copy(update={"prompt": beginning(row.prompt)})
        for row in rows_of(frame, Columns(name), limit)
    )


def _of_tokens(article: str) -> str:
    return " ".join(map(text_of_tokens, article.strip().split("\n")[:_SENTENCES]))


def _of_text(article: str) -> str:
    return "".join(islice(sentences(article), _SENTENCES)).strip()


def text_of_tokens(line: str) -> str:
    """A sentence of tokens with blanks between them as one would write it."""
    signs = (_SIGNS.get(token, token) for token in line.split())
    text = re.sub(r" ([,.;:!?%)\]}]|'s\b|n't\b)", r"\1", " ".join(signs))
    text = re.sub(r"([(\[{$]) ", r"\1", text)
    return re.sub(r'" ([^"]*?) "', r'"\1"', text)


def _needed(frame: pd.DataFrame, name: str, data_set: str) -> str:
    if name not in frame.columns:
        known = ", ".join(quoted(str(column)) for column in frame.columns[:20])
        raise InputError(
            f"This is no file of {data_set}: it has no column {quoted(name)}. Its columns are: "
            f"{known}.",
            "file",
        )
    return name


def _wikibio_files(path: Path) -> tuple[Path, Path]:
    """The .nb and the .sent file of the set that `path` belongs to."""
    if path.is_dir():
        sets = sorted(path.glob("*.nb"))
        if len(sets) != 1:
            raise InputError(
                f"{path} holds {len(sets)} files that end in .nb; name one of them.", "file"
            )
        path = sets[0]
    files = path.with_suffix(".nb"), path.with_suffix(".sent")
    for file in files:
        if not file.is_file():
            raise InputError(
                f"There is no file {file}. WikiBio has its sentences in SET.sent and their numbers "
                "in SET.nb; both are needed.",
                "file",
            )
    return files


def _lines(path: Path) -> list[str]:
    # The largest of these files (train.sent) has 350 MB.
    try:
        with path.open("rb") as file:
            data = file.read(8 * MAX_BYTES + 1)
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror or error}. Correct the path.", "file"
        ) from None
    if len(data) > 8 * MAX_BYTES:
        raise InputError(f"{path} has more than {8 * MAX_BYTES // 2**20} MB.", "file")
    try:
        lines = data.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not UTF-8 text: byte {error.start + 1:,} is part of no character.", "file"
        ) from None
    return lines[:-1] if lines and not lines[-1] else lines
