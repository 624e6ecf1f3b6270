"""What is done to the kept explanations that are selected."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import streamlit as st

from components import runs
from components.navigation import link_to
from components.plain import plain_text, unformatted
from reagent_core.errors import InputError, ReagentError
from reagent_core.wording import quoted

if TYPE_CHECKING:
    from reagent_core.explanation import Explanation
    from reagent_core.library import Entry
    from reagent_core.store import Store

# More do not fit beside each other.
_MOST_COMPARED = 4


def draw_undo() -> None:
    """The sentence about the last deletion, with the button that undoes it."""
    keys: tuple[str, ...] = st.session_state.get("library deleted", ())
    if keys:
        with st.container(border=True, horizontal=True, vertical_alignment="center"):
            st.markdown(
                f":material/delete: Deleted {_counted(len(keys))}. This can be undone for a week; "
                "after that it is final."
            )
            st.button("Undo", on_click=_restore, args=(keys,), icon=":material/undo:")
    _complain("general")


def draw_actions(selected: list[Entry], store: Store) -> None:
    """What can be done to the selected entries, which were not deleted."""
    with st.container(border=True):
        if not selected:
            st.caption(
                "Select rows (Shift+Space in the table) to open, compare, name, tag, export or "
                "delete them."
            )
            return
        readable = [entry for entry in selected if entry.readable]
        if len(selected) == 1:
            (entry,) = selected
            title = entry.name or quoted(entry.prompt, 100)
            plain_text(title, key=f"library selected {entry.key}")
        else:
            st.markdown(f"**{_counted(len(selected))} selected**")
        if len(readable) < len(selected):
            st.caption(
                "What was written by a newer version of this program can be opened after an update."
            )
        problems = store.cannot_open([entry.key for entry in readable])
        with st.container(horizontal=True, vertical_alignment="center"):
            _links(readable, alone=len(selected) == 1)
            if readable:
                _export(readable, store, disabled=bool(problems))
            st.button(
                "Delete", on_click=_delete, args=([entry.key for entry in selected],),
                icon=":material/delete:",
            )  # fmt: skip
        with st.container():
            for entry in readable:
                if entry.key in problems:
                    _say_why_not(entry, problems[entry.key])
        left, right = st.columns(2)
        if len(selected) == 1:
            with left:
                _name(selected[0])
        with right if len(selected) == 1 else left:
            _tags(selected, store)


def draw_restore(selected: list[Entry]) -> None:
    """What can be done to the selected entries, which were deleted."""
    keys = tuple(entry.key for entry in selected)
    what = _counted(len(keys)) if keys else "what is selected"
    st.button(
        f"Bring back {what}", on_click=_restore, args=(keys,), disabled=not keys,
        icon=":material/restore_from_trash:",
    )  # fmt: skip


def _links(entries: list[Entry], *, alone: bool) -> None:
    if alone and entries:
        link_to("explain", "Open", {"run": entries[0].key})
        link_to("convergence", "See how it settled", {"run": entries[0].key})
    if not 2 <= len(entries) <= _MOST_COMPARED:
        return
    if len({entry.other_method for entry in entries}) > 1:
        st.caption("What different methods say is compared on the page Methods.")
        link_to("methods", "Compare methods", {"of": entries[0].key})
    else:
        link_to("compare", "Compare", {"runs": ",".join(entry.key for entry in entries)})


def _export(entries: list[Entry], store: Store, *, disabled: bool) -> None:
    # Made when it is asked for. One that is lost until then makes it fail, never come short.
    def made() -> bytes:
        from reagent_core.bundle import bundle

        return bundle(_whole(entry.key, store) for entry in entries)

    st.download_button(
        "Export", made, "explanations.zip", "application/zip", on_click="ignore",
        icon=":material/folder_zip:", help="One ZIP file: JSON and scores (CSV) of each.",
        disabled=disabled,
    )  # fmt: skip


def _whole(key: str, store: Store) -> tuple[Entry, Explanation]:
    """An entry with all of its texts, which are cut in the list, and what it is of."""
    explanation = store.open(key)  # says best why it cannot be had
    return store.entry(key), explanation


def _say_why_not(entry: Entry, problem: str) -> None:
    title = entry.name or quoted(entry.prompt, 60)
    st.error(
        unformatted(f"Cannot be opened or exported: {title}. {problem}"), icon=":material/error:"
    )


def _name(entry: Entry) -> None:
    key = f"library name {entry.key}"
    st.text_input(
        "Name", entry.name or "", key=key, placeholder="A name of your own",
        persist_state=None,  # the library keeps it
        on_change=_try, args=("name", lambda: _store().rename(entry.key, st.session_state[key])),
    )  # fmt: skip
    _complain("name")


def _tags(entries: list[Entry], store: Store) -> None:
    keys = [entry.key for entry in entries]
    common = set.intersection(*(set(entry.tags) for entry in entries))
    key = f"library tags {hash(tuple(keys))}"

    def save() -> None:
        chosen = {" ".join(tag.split()) for tag in st.session_state[key]}
        _store().tag(keys, add=chosen - common, remove=common - chosen)

    st.multiselect(
        "Tags" if len(entries) == 1 else "Tags they all have",
        sorted({*store.tags(), *common}), sorted(common), key=key, accept_new_options=True,
        placeholder="Choose, or type a new one", on_change=_try, args=("tags", save),
        persist_state=None,
    )  # fmt: skip
    _complain("tags")


def _delete(keys: list[str]) -> None:
    def delete() -> None:
        _store().delete(keys)
        st.session_state["library deleted"] = tuple(keys)
        for key in keys:
            runs.forget(key)

    _try("general", delete)


def _restore(keys: tuple[str, ...]) -> None:
    def restore() -> None:
        _store().restore(keys)
        st.session_state["library deleted"] = ()

    _try("general", restore)


def _store() -> Store:
    return runs.explanation_store()


def _try(field: str, change: Callable[[], None]) -> None:
    """Make the change, or remember the sentence why not for this field."""
    st.session_state["library problem"] = None
    try:
        change()
    except ReagentError as error:
        place = field if isinstance(error, InputError) else "general"
        st.session_state["library problem"] = (place, str(error))


def _complain(field: str) -> None:
    problem = st.session_state.get("library problem")
    if problem and problem[0] == field:
        st.error(unformatted(problem[1]), icon=":material/error:")


def _counted(count: int) -> str:
    return "1 explanation" if count == 1 else f"{count} explanations"
