"""The launcher: `streamlit run app.py`.

The entry script lives elsewhere (components/shell.py) on purpose: beside a folder named `pages` it
would put a fresh server into Streamlit's legacy mode when the first request is a deep link.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import streamlit as st

from components.loaded_models import warm_up
from components.runs import job_queue


@asynccontextmanager
async def lifespan(_: st.App) -> AsyncIterator[None]:
    """Load the model behind the first page; stop running jobs when the server stops."""
    warm_up()
    yield
    job_queue().shutdown()


app = st.App("components/shell.py", lifespan=lifespan)
