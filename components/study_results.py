"""What a study says as a whole: a sentence, a table with intervals, two charts.

Session state: `study summed`, which state of the study the summary in view is of. While the study
is worked on, a new one is made now and then only: with many prompts it takes seconds.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from components import study_jobs
from components.pictures import draw_chart
from components.plain import plain_text, unformatted
from components.study_charts import cost_chart, measure_chart
from reagent_core.study.plan import Study

if TYPE_CHECKING:
    from reagent_core.study.summary import Measure

_SUMMED = "study summed"
# Between two summaries of a study in work: so many seconds, or times what the last one took.
_PAUSE_S, _PAUSE_TIMES = 3.0, 20.0
_ARROWS = {"high": " ↑", "low": " ↓", None: ""}


@dataclass(frozen=True)
class Summed:
    """`sentences`: what was found, of each model. `table`: see `study.summary.summary`.
    `judged`: what the faithfulness was measured with. `notes`: what to know before comparing.
    `seconds`: what it took to make this."""

    sentences: dict[str, str]
    table: pd.DataFrame
    judged: str
    notes: tuple[str, ...]
    seconds: float


def draw_results(study: Study, *, live: bool) -> None:
    """Sentence, table and charts; `live`: the study is being worked on."""
    summed = _summed(study.id, _state_in_view(study.id, live))
    for model, sentence in summed.sentences.items():
        told = f"{model}: {sentence}" if len(study.models) > 1 else sentence
        plain_text(told, key=f"study found {study.id} {model}", size="headline")
    if summed.table.empty:
        return
    from reagent_core.study.summary import INTERVALS

    for note in summed.notes:
        st.caption(f":material/info: {unformatted(note)}")
    st.caption(
        f"Means with {INTERVALS}, which hold the true mean about 95 times in 100. Where there is "
        "none there are too few prompts to tell. ↑: the higher the better, ↓: the lower."
    )
    st.caption(unformatted(summed.judged))
    st.dataframe(
        summary_table(summed.table), hide_index=True, key=f"study summary {study.id}",
        alt="Means of every method with their intervals",
    )  # fmt: skip
    _charts(study, summed.table, live)


def summary_table(table: pd.DataFrame) -> pd.DataFrame:
    """One row a model and method, one column a measure that is known: "0.42 (0.31 to 0.52)", with
    "over 5 prompts" where not all have it."""
    from reagent_core.study.summary import MEASURES
    from reagent_core.study.words import interval_words, number, over_words

    def told(row: pd.Series, measure: Measure) -> str:
        interval = interval_words(row["low"], row["high"], measure)
        over = over_words(row, table[table["model"] == row["model"]])
        parts = (number(row["mean"], measure), interval and f"({interval})", over)
        return " ".join(filter(None, parts))

    known = table.dropna(subset=["mean"])
    names = ["model", "label"] if known["model"].nunique() > 1 else ["label"]
    order = known[["model", "label"]].drop_duplicates()
    cells = {}
    for measure in MEASURES:
        own = known[known["measure"] == measure.column]
        own = own.set_index(["model", "label"], drop=False)
        if not own.empty:
            cells[measure.label + _ARROWS[measure.better]] = own.apply(
                told, axis=1, measure=measure
            )
    count = known.groupby(["model", "label"])["n"].max().rename("Prompts")
    frame = pd.concat([count, pd.DataFrame(cells)], axis=1).reindex(pd.MultiIndex.from_frame(order))
    spoken = {"model": "Model", "label": "Method"}
    return frame.reset_index()[[*names, "Prompts", *cells]].rename(columns=spoken)


def chart_rows(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """What the charts draw of one measure, one row a model and method (see `study_charts`)."""
    own = table[table["measure"] == column]
    seconds = table[table["measure"] == "seconds"][["model", "method", "mean"]]
    joined = own.merge(seconds.rename(columns={"mean": "seconds"}), on=["model", "method"])
    joined = joined.drop(columns="method").rename(columns={"label": "method", "mean": "value"})
    return joined[["model", "method", "value", "low", "high", "n", "seconds"]]


def _charts(study: Study, table: pd.DataFrame, live: bool) -> None:
    from reagent_core.study.summary import MEASURES

    known = set(table.dropna(subset=["mean"])["measure"])
    measures = {each.column: each for each in MEASURES if each.column in known}
    usual = list(measures).index("area") if "area" in measures else 0
    chosen = st.selectbox(
        "Measure", list(measures), usual, format_func=lambda name: measures[name].label,
        key="study measure", persist_state="session", width=260,
    )  # fmt: skip
    measure = measures[chosen]
    rows = chart_rows(table, chosen)
    st.caption(f"{measure.line}{_good(measure)}")
    left, right = st.columns(2, gap="medium")
    with left:
        st.markdown("**Every method, with its interval**")
        draw_chart(
            measure_chart(rows, measure.label, measure.digits),
            key=f"study means {study.id}", name=f"means of {measure.label.lower()}", live=live,
        )  # fmt: skip
    if chosen == "seconds":
        return
    with right:
        st.markdown("**What it costs**")
        draw_chart(
            cost_chart(rows, measure.label, measure.digits),
            key=f"study cost {study.id}", name=f"cost of {measure.label.lower()}", live=live,
        )  # fmt: skip


def _good(measure: Measure) -> str:
    return {"high": " The higher the better.", "low": " The lower the better.", None: ""}[
        measure.better
    ]


def _state_in_view(study_id: str, live: bool) -> tuple[int, int]:
    """The state of the study (see `study_jobs.state_of`) that is to be summed up now."""
    now = study_jobs.state_of(study_id)
    seen = st.session_state.get(_SUMMED)
    if live and seen is not None and seen[0] == study_id:
        _, state, made = seen
        took = _summed(study_id, state).seconds
        if time.monotonic() - made < max(_PAUSE_S, _PAUSE_TIMES * took):
            return state
    if seen is None or seen[:2] != (study_id, now):
        st.session_state[_SUMMED] = (study_id, now, time.monotonic())
    return now


@st.cache_resource(show_spinner=False, max_entries=16)
def _summed(study_id: str, state: tuple[int, int]) -> Summed:
    from reagent_core.study.export import results_frame
    from reagent_core.study.summary import finding, summary
    from reagent_core.study.words import judged_words, missing_keys_words, note_lines

    started = time.perf_counter()
    study = study_jobs.study_of(study_id)
    results = results_frame(study, study_jobs.outcomes_of(study_id))
    sentences = {model: finding(study, results, model) for model in study.models}
    table = summary(study, results)
    notes = (*note_lines(results), *filter(None, [missing_keys_words(study)]))
    judged = judged_words(study, results)
    return Summed(sentences, table, judged, notes, time.perf_counter() - started)
