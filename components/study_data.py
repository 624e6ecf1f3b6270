"""The data set of a study to be: uploaded or picked, looked at, its columns chosen.

Session state: `study data`, the table that is looked at; it outlives the look at another page,
which an uploader does not. `study refused`: why the file that was uploaded last cannot be used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from components.plain import plain_text, unformatted
from reagent_core.errors import InputError, ReagentError
from reagent_core.wording import visible

if TYPE_CHECKING:
    import pandas as pd

    from reagent_core.study.plan import Row

_DATA, _REFUSED, _NEW = "study data", "study refused", "study file is new"
_SOURCES = {"upload": "Upload a file", "shipped": "Ready-made set"}
# The data sets of the paper, by the columns of their files (see `loaders`).
_FORMS = {
    "tellmewhy": ("TellMeWhy", {"narrative", "question"}),
    "wikibio": ("WikiBio", {"input_text", "target_text"}),
    "wikibio text": ("WikiBio", {"wiki_bio_text"}),
}
_USUAL_LIMIT = 50
_PREVIEW = 5
# What a cell can show is shorter; the whole text need not travel.
_LONGEST = 300


@dataclass(frozen=True)
class Data:
    """A table of prompts. `id` tells it from those before."""

    id: str
    name: str
    frame: pd.DataFrame


def draw_data() -> None:
    """The fields; what they say is read with `chosen_rows` and `data_name`."""
    source = st.segmented_control(
        "Prompts from", list(_SOURCES), format_func=_SOURCES.__getitem__, default="upload",
        key="study source", required=True, label_visibility="collapsed", persist_state="session",
    )  # fmt: skip
    if source == "upload":
        _upload()
    else:
        _pick()
    data = _data()
    if data is not None:
        with st.container():
            _look(data)


def data_name() -> str:
    """What the table is called; empty where there is none."""
    data = _data()
    return "" if data is None else data.name


def chosen_rows() -> tuple[Row, ...]:
    """The prompts that the fields say.

    Raises:
        InputError: there is no table, or no row of it can be read (field "file").
    """
    from reagent_core.study.data import Columns, columns_of, rows_of
    from reagent_core.study.loaders import biography_rows, tellmewhy_rows

    data = _data()
    if data is None:
        raise InputError("Upload a file with prompts, or pick a ready-made set.", "file")
    state = st.session_state
    # A field is missing where the one that brings it was changed in the same moment.
    limit = int(state.get(_key("limit", data), _usual_limit(data)))
    form = state.get(_key("form", data), "table")
    if form != "table":
        return (tellmewhy_rows if form == "tellmewhy" else biography_rows)(data.frame, limit)
    guess = columns_of(data.frame)
    columns = Columns(
        state.get(_key("prompt", data), guess.prompt),
        state.get(_key("target", data), guess.target),
        state.get(_key("key", data), guess.key),
    )
    return rows_of(data.frame, columns, limit)


def _data() -> Data | None:
    """The table of the source that is chosen."""
    tables: dict[str, Data] = st.session_state.setdefault(_DATA, {})
    return tables.get(str(st.session_state.get("study source", "upload")))


def _keep(source: str, data: Data | None) -> None:
    tables: dict[str, Data] = st.session_state.setdefault(_DATA, {})
    tables.pop(source, None)
    if data is not None:
        tables[source] = data


def _upload() -> None:
    from reagent_core.study.data import MAX_BYTES

    st.file_uploader(
        "A table of prompts: CSV, JSONL or Parquet",
        key="study file",
        max_upload_size=MAX_BYTES // 2**20,
        on_change=_mark_new,
        help="A column of prompts; if there are such, a column of targets (what is explained in "
        "place of the model's own answer) and one of keys (the text that the prompt hinges on).",
    )
    if st.session_state.get(_NEW):
        _read()
        st.session_state[_NEW] = False  # only now: another run of the page may have ended this one
    with st.container():
        if refused := st.session_state.get(_REFUSED):
            st.error(unformatted(refused), icon=":material/upload_file:")


def _mark_new() -> None:
    st.session_state[_NEW] = True


def _read() -> None:
    """Take what the uploader holds. A file that cannot be used leaves what was there before."""
    from reagent_core.study.data import read_table

    st.session_state[_REFUSED] = None
    file = st.session_state.get("study file")
    if file is None:
        _keep("upload", None)
        return
    try:
        with st.spinner("Reading the file"):
            frame = read_table(file.name, file.getvalue())
            name = file.name.rpartition(".")[0] or file.name
            _keep("upload", Data(file.file_id, name, frame))
    except ReagentError as error:
        st.session_state[_REFUSED] = str(error)


def _pick() -> None:
    from reagent_core.study.data import read_table
    from reagent_core.study.loaders import shipped_sets

    sets = shipped_sets()
    chosen = st.selectbox(
        "Ready-made set", list(sets), format_func=_spoken, key="study set",
        persist_state="session", width=360,
    )  # fmt: skip
    data = _data()
    if chosen is not None and (data is None or data.id != chosen):
        frame = read_table(sets[chosen].name, sets[chosen])
        _keep("shipped", Data(chosen, _spoken(chosen), frame))


def _spoken(name: str) -> str:
    """The name of a set from that of its file."""
    return name.replace("-", " ").replace("_", " ").capitalize()


def _look(data: Data) -> None:
    """The first rows, and which columns are meant."""
    count = len(data.frame)
    plain_text(f"{data.name}: {count:,} rows", key="study data name", size="note")
    st.dataframe(_preview(data.frame), hide_index=True, alt=f"The first {_PREVIEW} rows")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if _form(data) == "table":
            _columns(data)
        st.number_input(
            "Prompts, from the first", 1, count, _usual_limit(data),
            key=_key("limit", data), persist_state="session", width=170,
        )  # fmt: skip


def _usual_limit(data: Data) -> int:
    return min(len(data.frame), _USUAL_LIMIT)


def _form(data: Data) -> str:
    """How the rows are read; there is a choice where the file looks like one of the paper's."""
    names = {str(name) for name in data.frame.columns}
    own = next((form for form, needed in _FORMS.items() if names >= needed[1]), None)
    if own is None:
        return "table"
    chosen = st.segmented_control(
        "Read as", [own, "table"], format_func=lambda form: _FORMS[form][0] if form in _FORMS
        else "Any table", default=own, key=_key("form", data), required=True,
        persist_state="session",
    )  # fmt: skip
    return str(chosen)


def _columns(data: Data) -> None:
    from reagent_core.study.data import columns_of

    guess = columns_of(data.frame)
    names = [str(name) for name in data.frame.columns]
    _column("Prompt column", "prompt", guess.prompt, list(names), data)
    _column("Target column", "target", guess.target, [None, *names], data, "The model's answer")
    _column("Key column", "key", guess.key, [None, *names], data, "No keys")


def _column(
    label: str, name: str, guess: str | None, names: list[str | None], data: Data, none: str = ""
) -> None:
    st.selectbox(
        label, names, names.index(guess), key=_key(name, data), persist_state="session", width=210,
        format_func=lambda column: none if column is None else column,
    )  # fmt: skip


def _key(name: str, data: Data) -> str:
    # Another table has other columns.
    return f"study {name} of {data.id}"


def _preview(frame: pd.DataFrame) -> pd.DataFrame:
    def shown(cell: object) -> str | None:
        missing = cell is None or (isinstance(cell, float) and math.isnan(cell))
        text = "" if missing else str(cell)[:_LONGEST]
        return visible(text) if text else None

    return frame.head(_PREVIEW).map(shown)
