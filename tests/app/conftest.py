"""The app on a tiny model."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st

from components import loaded_models, runs
from reagent_core import models
from reagent_core.jobs import JobQueue
from reagent_core.store import Store
from tests.tiny import Homely, TinyScorer


@pytest.fixture(autouse=True)
def _main_module() -> Iterator[None]:
    """AppTest puts the page in place of the main module, which processes started later import."""
    main = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = main


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Store]:
    """The store of an app with a queue and a store of its own."""
    queue, store = JobQueue(), Store(tmp_path / "store.sqlite3")
    monkeypatch.setattr(runs, "job_queue", lambda: queue)
    monkeypatch.setattr(runs, "explanation_store", lambda: store)
    st.cache_resource.clear()
    yield store
    queue.shutdown()
    store.close()


@pytest.fixture
def scorer(store: Store, monkeypatch: pytest.MonkeyPatch) -> TinyScorer:
    """The model of such an app: the tiny one."""
    tiny = TinyScorer()
    monkeypatch.setattr(loaded_models, "load_model", lambda _: tiny)
    monkeypatch.setattr(loaded_models, "_speeds", {})
    monkeypatch.setattr(models, "model_info", lambda _: tiny.info)
    return tiny


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """The homely model can be had once this is set, as it is at first."""
    opened = threading.Event()
    opened.set()
    yield opened
    opened.set()


@pytest.fixture
def homely(store: Store, gate: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model of such an app: the homely one."""

    def load(model_id: str) -> Homely:
        gate.wait(30)
        return Homely()

    monkeypatch.setattr(loaded_models, "load_model", load)
    monkeypatch.setattr(models, "model_info", lambda _: Homely.info)
