"""Bringing in an explanation from a file: the same uploader on every page that offers it.

Session state: how many files were imported (each gets an uploader of its own, so that the last one
is not imported again), and why the one that lies there could not be.
"""

from __future__ import annotations

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from components import runs
from components.navigation import page
from components.plain import unformatted
from reagent_core.errors import ReagentError

_HELP = (
    "An export of this app (JSON), or the iterations_data.json of the published ReAGent notebook."
)
_COUNT, _REFUSED = "imported files", "refused file"


def draw_import() -> None:
    """An uploader that puts a file into the library and opens it on the page Convergence.

    What cannot be used is refused with the reason beside it, and nothing is kept of it.
    """
    from reagent_core.importing import MAX_BYTES  # NumPy and no more, but not for the first page

    count = st.session_state.setdefault(_COUNT, 0)
    file = st.file_uploader(
        "Import a file",
        key=f"import {count}",
        help=_HELP,
        max_upload_size=MAX_BYTES // 2**20,
    )
    if file is None:
        return
    refused = st.session_state.get(_REFUSED)
    if refused is None or refused[0] != file.file_id:
        try:
            key = _imported(file)
        except ReagentError as error:
            refused = (file.file_id, str(error))
            st.session_state[_REFUSED] = refused
        else:
            st.session_state[_COUNT] = count + 1
            st.switch_page(page("convergence"), query_params={"run": key})
    st.error(unformatted(refused[1]), icon=":material/upload_file:")


def _imported(file: UploadedFile) -> str:
    """The key under which the library has it now."""
    from reagent_core.importing import read_explanation

    with st.spinner("Reading the file"):
        explanation = read_explanation(file.getvalue(), file.name)
        return runs.explanation_store().add(explanation)
