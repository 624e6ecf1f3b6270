"""What can be taken away from a comparison: its table, its columns' files, Python, its link."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from components.downloads import draw_python
from reagent_core.comparison import Comparison, comparison_csv
from reagent_core.explanation import Explanation

Whole = tuple[str, Explanation]


def draw_downloads(comparison: Comparison, wholes: Sequence[Whole], link: str) -> None:
    """`wholes`: the reference of each column that is compared, and what it is of, with all words
    of the answer. `link`: opens the comparison again."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.download_button(
            "CSV", lambda: comparison_csv(comparison), "comparison.csv", "text/csv",
            on_click="ignore", help="The table: effects and differences, one row a word and prompt",
        )  # fmt: skip
        st.download_button(
            "All files", lambda: _bundle(wholes), "comparison.zip", "application/zip",
            on_click="ignore", help="One ZIP file: JSON and scores (CSV) of each column",
        )  # fmt: skip
        with st.popover("Copy as Python"):
            for letter, (_, explanation) in zip(comparison.letters, wholes, strict=False):
                st.markdown(f"**{letter}**")
                draw_python(explanation)
        with st.popover("Link"):
            st.caption("Opens this comparison again on this server.")
            st.code(link, language=None, wrap_lines=True)


def _bundle(wholes: Sequence[Whole]) -> bytes:
    """What the library's export has of several; not all that is compared is kept there."""
    from reagent_core.bundle import bundle
    from reagent_core.library import entry_about

    return bundle((entry_about(key, explanation), explanation) for key, explanation in wholes)
