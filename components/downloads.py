"""All that can be taken away from one explanation: files, the Python that makes it, its link."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import streamlit as st

from reagent_core.curves import probes_of
from reagent_core.explanation import Explanation, dump


class _File(NamedTuple):
    label: str
    suffix: str
    mime: str
    make: Callable[[Explanation], str | bytes]


def _html(explanation: Explanation) -> str:
    from reagent_core.report import html_report  # Jinja2 is not needed to look at a page

    return html_report(explanation)


def _scores_csv(explanation: Explanation) -> str:
    from reagent_core.export import scores_csv

    return scores_csv(explanation)


def _scores_parquet(explanation: Explanation) -> bytes:
    from reagent_core.export import scores_parquet

    return scores_parquet(explanation)


def _trace_csv(explanation: Explanation) -> str:
    from reagent_core.export_trace import trace_csv

    return trace_csv(explanation)


def _trace_parquet(explanation: Explanation) -> bytes:
    from reagent_core.export_trace import trace_parquet

    return trace_parquet(explanation)


def _notebook(explanation: Explanation, probe: int) -> str:
    from reagent_core.notebook import notebook_json

    return notebook_json(explanation, probe)


_PARQUET = "application/vnd.apache.parquet"
_SECTIONS: dict[str, tuple[_File, ...]] = {
    "Everything. JSON reads back into the library; HTML is one page, to send or to keep.": (
        _File("JSON", ".json", "application/json", dump),
        _File("HTML", ".html", "text/html", _html),
    ),
    "Scores and effects, one row a piece of the prompt.": (
        _File("Scores, CSV", "-scores.csv", "text/csv", _scores_csv),
        _File("Scores, Parquet", "-scores.parquet", _PARQUET, _scores_parquet),
    ),
}
_STEPS: dict[str, tuple[_File, ...]] = {
    "What was tried, one row a step.": (
        _File("Steps, CSV", "-steps.csv", "text/csv", _trace_csv),
        _File("Steps, Parquet", "-steps.parquet", _PARQUET, _trace_parquet),
    ),
}


_NOTEBOOK = "As the published notebook writes it: iterations_data.json, one file a probe."


def _notebooks(explanation: Explanation) -> tuple[_File, ...]:
    probes = probes_of(explanation)
    return tuple(
        _File(
            f"Probe {probe + 1}" if len(probes) > 1 else "Notebook, JSON",
            f"-iterations_data-{probe + 1}.json" if len(probes) > 1 else "-iterations_data.json",
            "application/json",
            partial(_notebook, probe=probe),
        )
        for probe in probes
    )


def downloads(explanation: Explanation, link: str | None = None, *, key: str = "this") -> None:
    """Three small menus: files, "copy as Python", and the link that opens this explanation again,
    if there is one. Files are made when they are asked for. `key` tells it from other ones on the
    page."""
    word = "".join(c if c.isalnum() else "-" for c in explanation.target.text.strip())[:30]
    stem = f"explanation-{word.strip('-').lower() or 'answer'}"
    # Without icons and with small gaps the three stand side by side on a phone.
    with st.container(
        horizontal=True, vertical_alignment="center", width="content", gap="small"
    ):
        with st.popover("Download", key=f"download {key}"):
            sections = dict(_SECTIONS)
            if explanation.trace:
                sections |= {**_STEPS, _NOTEBOOK: _notebooks(explanation)}
            for told, files in sections.items():
                st.caption(told)
                with st.container(horizontal=True):
                    for file in files:
                        st.download_button(
                            file.label,
                            partial(file.make, explanation),
                            f"{stem}{file.suffix}",
                            file.mime,
                            key=f"{file.label} {key}",
                            on_click="ignore",
                        )
        with st.popover("Copy as Python", key=f"python {key}"):
            draw_python(explanation)
        if link:
            with st.popover("Link", key=f"link {key}"):
                st.caption("Opens this explanation again on this server.")
                st.code(link, language=None, wrap_lines=True)


def draw_python(explanation: Explanation) -> None:
    """The script that asks for it again, to copy; or why there is none."""
    from reagent_core.snippet import snippet

    script = snippet(explanation)
    if script is None:
        st.caption("This explanation does not say what was asked for, so no script can ask again.")
        return
    st.caption("Asks for this explanation again with `reagent_core`, seed included.")
    st.code(script, language="python")
