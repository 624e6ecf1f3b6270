"""All that can be taken away from a study: tables and a report, made when they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import pandas as pd
import streamlit as st

from components import study_jobs
from components.navigation import address_of
from reagent_core.study.plan import Study


class _File(NamedTuple):
    label: str
    suffix: str
    mime: str
    make: Callable[[str], str | bytes]


def _results(study_id: str) -> pd.DataFrame:
    from reagent_core.study.export import results_frame

    return results_frame(study_jobs.study_of(study_id), study_jobs.outcomes_of(study_id))


def _parquet(study_id: str) -> bytes:
    from reagent_core.study.export import results_parquet

    return results_parquet(_results(study_id))


def _csv(study_id: str) -> str:
    from reagent_core.study.export import results_csv

    return results_csv(_results(study_id))


def _report(study_id: str) -> str:
    from reagent_core.study.report import study_report
    from reagent_core.study.summary import summary

    folder, results = study_jobs.folder_of(study_id), _results(study_id)
    return study_report(folder, results, summary(folder.study, results))


_FILES = (
    _File("Parquet", ".parquet", "application/vnd.apache.parquet", _parquet),
    _File("CSV", ".csv", "text/csv", _csv),
    _File("Report, HTML", ".html", "text/html", _report),
)


def draw_downloads(study: Study) -> None:
    """Files with what is known by the time they are asked for, and the link to this study."""
    word = "".join(c if c.isalnum() else "-" for c in study.name)[:40].strip("-").lower()
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        for file in _FILES:
            st.download_button(
                file.label,
                partial(file.make, study.id),
                f"study-{word or study.id}{file.suffix}",
                file.mime,
                key=f"study file {file.suffix}",
                on_click="ignore",
                icon=":material/download:",
            )
        with st.popover("Link", key="study link"):
            st.caption("Opens this study again on this server.")
            st.code(address_of("study", {"study": study.id}), language=None, wrap_lines=True)
    st.caption(
        "The tables have one row a prompt, model and method; the report is one page, to send or "
        "to keep."
    )
