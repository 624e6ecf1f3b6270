"""The field that picks a model: the catalogue, or any id, path or address that is typed."""

from __future__ import annotations

import streamlit as st

from components import loaded_models
from components.local_mode import local_mode
from components.plain import unformatted
from reagent_core import models
from reagent_core.availability import availability
from reagent_core.catalogue import Entry, ServerEntry, catalogue, shipped
from reagent_core.errors import ModelError, ReagentError
from reagent_core.hardware import place_is_known

_SEPARATOR = " · "


def draw_model_picker(key: str = "model", label: str = "Model") -> None:
    """The field itself; what it says is read with `chosen_model`."""
    labels = _labels()
    st.selectbox(
        label,
        list(labels),
        format_func=lambda model_id: labels.get(model_id, model_id),
        key=key,
        width=360,
        label_visibility="collapsed",
        accept_new_options=True,
        persist_state="session",
        help="Choose one, or type a hub id (owner/name), the path of a local folder or .gguf file, "
        "or the address of a server.",
    )


def draw_models_picker(key: str) -> None:
    """The field for several models; what it says is read with `chosen_models`."""
    labels = _labels()
    st.multiselect(
        "Models",
        list(labels),
        default=["bundled"],
        format_func=lambda model_id: labels.get(model_id, model_id),
        key=key,
        accept_new_options=True,
        persist_state="session",
        help="Choose some, or type hub ids (owner/name), paths of local folders or .gguf files, "
        "or addresses of servers.",
    )


def chosen_model(key: str = "model") -> str:
    """The id of what the field says."""
    return _id_of(str(st.session_state.get(key) or "bundled"))


def chosen_models(key: str) -> tuple[str, ...]:
    """The ids of what the field for several says, each once."""
    return tuple(dict.fromkeys(_id_of(str(value)) for value in st.session_state.get(key, ())))


def _id_of(value: str) -> str:
    value = value.strip()
    if value in _labels():
        return value
    # A browser that outlived the server's memory of it sends a label of then, which may have
    # ended in other words about disk and memory.
    name = value.partition(_SEPARATOR)[0]
    return next((i for i, label in _labels().items() if label.startswith(name + _SEPARATOR)), value)


def draw_model_note(key: str = "model") -> None:
    """What choosing the model means here, and what it is good for."""
    try:
        entry = models.resolve(chosen_model(key), urls_allowed=local_mode())
        told = availability(entry, models.IN_MEMORY.reclaimable())
    except ReagentError as error:
        st.caption(unformatted(str(error)))
        return
    if isinstance(entry, ServerEntry):
        known = loaded_models.get_in_touch(entry.id)
        st.caption(unformatted(f"{told.text} {known or ''} {entry.good_for}"))
        if known is None:
            st.fragment(_wait_for, run_every=1.0)(entry.id)
        return
    st.caption(unformatted(f"{told.text} {entry.good_for}".strip()))


def _wait_for(model_id: str) -> None:
    """Draw the page again once a server has answered."""
    if loaded_models.get_in_touch(model_id) is not None:
        st.rerun()


def _labels() -> dict[str, str]:
    """Id -> name and state of every entry. The same as long as a session lives, for the browser
    sends labels back; but filled once more when it is known where models go, and so whether they
    fit."""
    filled = f"model_labels {_fits_known()}"
    if filled not in st.session_state:
        labels: dict[str, str] = {}
        for entry in _offered():
            told = availability(entry, _reclaimable())
            name = entry.name
            if any(label.startswith(name + _SEPARATOR) for label in labels.values()):
                name = f"{name} ({entry.id})"
            state = f"{told.short}, does not fit" if told.fits is False else told.short
            labels[entry.id] = f"{name}{_SEPARATOR}{state}"
        st.session_state[filled] = labels
    return st.session_state[filled]


def _fits_known() -> bool:
    try:
        return place_is_known()
    except ModelError:  # a setting is wrong; the note says which
        return False


def _reclaimable() -> int:
    try:
        return models.IN_MEMORY.reclaimable()
    except ModelError:  # a setting is wrong; the note says which
        return 0


def _offered() -> tuple[Entry, ...]:
    try:
        return catalogue()
    except ModelError:  # the note says what is wrong with the user's own list
        return shipped()
