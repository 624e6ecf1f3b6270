"""The prompts of a study: a table of what became of each, and what every method found in one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from components import runs, study_jobs
from components.navigation import page
from components.plain import plain_text, unformatted
from components.token_strip import legend_of, token_strip
from reagent_core.baselines.methods import label_of
from reagent_core.errors import ReagentError
from reagent_core.explanation import Explanation
from reagent_core.sentences import main_measure
from reagent_core.strip import prompt_strip
from reagent_core.study.plan import MethodFound, Outcome, Row, Study
from reagent_core.wording import quoted, visible

_ROW, _MOST_ROWS = 35, 12
# What a cell can show is shorter; the whole text need not travel.
_LONGEST = 300
_SHOWN = {"all": "All", "done": "Done", "failed": "Failed"}


def draw_rows(study: Study, outcomes: Sequence[Outcome]) -> Outcome | None:
    """The table, in the order in which its rows were done; returns the row that is selected."""
    shown = st.segmented_control(
        "Rows", list(_SHOWN), format_func=_SHOWN.__getitem__, default="all", required=True,
        key="study rows shown", label_visibility="collapsed", persist_state="session",
    )  # fmt: skip
    kept = [each for each in outcomes if shown in ("all", each.status)]
    if not kept:
        st.caption("No row is like that." if outcomes else "Nothing is done yet.")
        return None
    event = st.dataframe(
        rows_table(study, kept),
        # Selected rows are numbers: with other rows the table is another one.
        key=f"study rows {study.id} {shown}",
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        height=_ROW * (min(len(kept), _MOST_ROWS) + 1) + 3,
        placeholder="",
        alt="The prompts of the study, one a row",
        column_config={
            "Row": st.column_config.NumberColumn(width=50),
            "Prompt": st.column_config.TextColumn(width=280),
            "Target": st.column_config.TextColumn(width=90),
            "Why it failed": st.column_config.TextColumn(width=260),
        },
    )
    chosen = event["selection"]["rows"]
    return kept[chosen[0]] if chosen and chosen[0] < len(kept) else None


def rows_table(study: Study, outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """One row a prompt and model: what was explained, and the area and the place of the key by
    every method. Columns that would be empty are left out."""
    columns: dict[str, list[Any]] = {
        # Counted as people count the rows of a file.
        "Row": [each.task.row + 1 for each in outcomes],
        "Prompt": [visible(study.row(each.task).prompt[:_LONGEST]) for each in outcomes],
        "Model": [each.task.model for each in outcomes],
        "Target": [visible(each.target) if each.target else None for each in outcomes],
        "Status": [each.status for each in outcomes],
    }
    if len(study.models) == 1:
        del columns["Model"]
    for method in study.methods:
        found = [_found_by(method, each) for each in outcomes]
        columns[f"Area, {label_of(method)}"] = [each and each.area for each in found]
    for method in study.methods:
        found = [_found_by(method, each) for each in outcomes]
        columns[f"Key's place, {label_of(method)}"] = [each and each.key_rank for each in found]
    columns["Why it failed"] = [each.reason for each in outcomes]
    empty = [name for name, cells in columns.items() if all(cell is None for cell in cells)]
    return pd.DataFrame(columns).drop(columns=empty).round(3)


def draw_row(study: Study, outcome: Outcome) -> None:
    """Everything that is known of one prompt with one model."""
    row = study.row(outcome.task)
    name = f"{study.id} {outcome.task.model} {outcome.task.row}"
    with st.container(border=True):
        if outcome.status == "failed":
            plain_text(quoted(row.prompt, 400), key=f"study prompt {name}")
            st.error(unformatted(outcome.reason or ""), icon=":material/error:")
            return
        plain_text(_asked(row, outcome), key=f"study asked {name}")
        for found in outcome.found:
            _method(study, outcome, found, name)
        for note in outcome.notes:
            st.caption(f":material/info: {unformatted(note)}")
        for method, reason in outcome.refused:
            st.caption(f"**{label_of(method)}** was left out. {unformatted(reason)}")


def _asked(row: Row, outcome: Outcome) -> str:
    told = f"{outcome.task.model} answers {quoted(outcome.answer, 200)}. "
    if row.target is not None:
        told = ""
    told += f"Explained is {quoted(outcome.target)}."
    if row.key is None:
        return told
    told += f" The prompt is known to hinge on {quoted(row.key)}"
    return f"{told}, but does not hold it as it is written." if row.lacks_its_key else f"{told}."


def _method(study: Study, outcome: Outcome, found: MethodFound, name: str) -> None:
    """What one method found: its numbers, the prompt in its colours, the way to Explain."""
    key = f"study {found.method} {name}"
    explanation, problem = None, ""
    try:
        explanation = study_jobs.explanation_of(study.id, found.explanation)
    except ReagentError as error:
        problem = str(error)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{label_of(found.method)}**", width="content")
        st.caption(_numbers(found), width="content")
        if explanation is not None and st.button(
            "Open in Explain", key=f"open {key}", icon=":material/travel_explore:"
        ):
            _open(found.explanation, explanation)
    if explanation is None:
        st.caption(unformatted(problem))
        return
    token_strip(
        prompt_strip(explanation, main_measure(explanation)), key=f"strip {key}",
        label=f"The prompt, coloured by {label_of(found.method)}",
        legend=legend_of(explanation),
    )  # fmt: skip


def _numbers(found: MethodFound) -> str:
    told = []
    if found.area is not None:
        told.append(f"area {_area(found.area)}")
        if found.random_area is not None:
            told.append(f"random orders {_area(found.random_area)}")
    if found.key_rank is not None:
        told.append(f"key at place {found.key_rank} of {found.units}")
    told.append(f"{found.seconds:.1f} s")
    return " · ".join(told)


def _area(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}"  # no minus before a zero


def _open(key: str, explanation: Explanation) -> None:
    """Put the explanation into the library, where Explain finds it, and go there."""
    store = runs.explanation_store()
    store.revive(key)
    if runs.stored(key) is None:
        store.put(key, explanation)
    st.switch_page(page("explain"), query_params={"run": key})


def _found_by(method: str, outcome: Outcome) -> MethodFound | None:
    return next((found for found in outcome.found if found.method == method), None)
