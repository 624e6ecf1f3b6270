"""The form of Compare: 2 to 4 columns that differ in prompt, model, settings or seed."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import get_args

import streamlit as st

from components import compare_fields as fields
from components import loaded_models, runs
from components.compare_requests import asked, keeps_options, keeps_targets, notes
from components.cost import cost_words
from components.keep import show
from components.model_picker import draw_model_note, draw_model_picker
from components.plain import unformatted
from components.settings import PRESET_LABELS
from reagent_core.comparison import LETTERS, MOST
from reagent_core.config import Granularity
from reagent_core.errors import InputError, ReagentError
from reagent_core.request import Request

_WHAT = {"prompts": "Prompts", "models": "Models", "settings": "Settings", "seeds": "Seeds"}
_MODES = {"Plain text": "Plain text", "Chat": "Chat"}
_TARGETS = {"own": "Each its own answer", "same": "Same target for all"}
_KEPT_TARGETS = {"kept": "As in these runs"}
# The input that each column has of its own, as `InputError.field` calls it.
_OWN_FIELD = {"prompts": "prompt", "models": "model", "settings": "settings", "seeds": "settings"}
# Where problems are kept that belong to no column, beside those of the columns 0 to 3.
_SHARED = -1


def draw_form() -> None:
    """The whole form; its button starts the runs and puts them into the address."""
    fields.keep_all()
    with st.container(border=True):
        with st.container(horizontal=True):
            what = _segmented("what", "What differs", _WHAT)
            targets = _TARGETS | (_KEPT_TARGETS if keeps_targets() else {})
            same = _segmented("target", "Explained is", targets, on_change=_suggest) == "same"
            chat = _segmented("mode", "Prompt is", _MODES) == "Chat"
        # What comes and goes stays in here: settings that move down the page would close.
        with st.container():
            if same:
                _text("target_text", "Target", "What is explained in every column.")
            if chat:
                _text("system", "System turn (never replaced)")
            if what != "prompts":
                _prompt_box(0, "Your prompt")
        count = int(fields.get("count"))
        for i, place in enumerate(st.columns(count)):
            with place:
                _column(what, i, count)
        with st.container(horizontal=True, vertical_alignment="bottom"):
            if what != "models":
                draw_model_picker(fields.restored("model"))
            if count < MOST:
                st.button("Add a column", icon=":material/add:", on_click=_add)
            st.button("Compare", type="primary", on_click=start)
            with st.container(width="content"):
                _draw_cost(count)
        with st.container():
            if what != "models":
                draw_model_note(fields.key_of("model"))
            _complain(_SHARED)
            for note in notes():
                st.caption(f":material/info: {note}")
        with st.expander("Advanced", icon=":material/tune:"):
            _advanced(what)


def start() -> None:
    """Start the runs from what the form says now, or remember what is wrong at which column."""
    columns = range(int(fields.get("count")))
    problems: dict[int, str] = {}
    requests: dict[int, Request] = {}
    for i in columns:
        try:
            request = asked(i)
        except ReagentError as error:
            problems.setdefault(_place(error, i), str(error))
            continue
        equal = next((j for j, other in requests.items() if other == request), None)
        if equal is not None:
            problems[i] = f"This asks for the same as {LETTERS[equal]}. Change one of the two."
        requests[i] = request
    keys: list[str] = []
    waited_for = {job.key for job in runs.of_session() if job.state not in ("cancelled", "failed")}
    for i, request in requests.items() if not problems else ():
        try:
            keys.append(runs.start(request))
        except ReagentError as error:
            problems.setdefault(_place(error, i), str(error))
            _give_up({*keys} - waited_for)
            break
    st.session_state["compare_problems"] = problems
    if not problems:
        open_comparison(",".join(keys))
        # The form has made these runs: nothing is to be put into it.
        st.session_state["compare_seen"] = st.query_params["runs"]
        st.session_state["compare_lost"], st.session_state["compare_empty"] = [], ""


def _give_up(keys: Collection[str]) -> None:
    """Stop the runs that no address would name."""
    for job in runs.unfinished():
        if job.key in keys:
            runs.cancel(job.key)


def open_comparison(references: str) -> None:
    """Put these into the address, and nothing else."""
    show({"runs": references})
    st.session_state["compare_example"] = None


def _place(error: ReagentError, column: int) -> int:
    field = error.field if isinstance(error, InputError) else "model"
    return column if field == _OWN_FIELD[fields.get("what")] else _SHARED


def _complain(place: int) -> None:
    problem = st.session_state.get("compare_problems", {}).get(place)
    if problem:
        st.error(unformatted(problem), icon=":material/error:")


def _column(what: str, column: int, count: int) -> None:
    letter = LETTERS[column]
    if what == "prompts":
        _prompt_box(column, f"Prompt {letter}")
    elif what == "models":
        key = fields.restored("model", column)
        draw_model_picker(key, f"Model {letter}")
        draw_model_note(key)
    elif what == "settings":
        _preset(f"Preset {letter}", column)
    else:
        _seed(f"Seed {letter}", column)
    with st.container():
        _complain(column)
    if count > fields.FEWEST:
        st.button(
            "Remove", key=f"compare_remove_{column}", type="tertiary", icon=":material/close:",
            help=f"Remove column {letter}", on_click=_remove, args=(column,),
        )  # fmt: skip


def _prompt_box(column: int, label: str) -> None:
    key = fields.restored("prompt", column)
    st.text_area(label, key=key, height=96, placeholder="The capital of France is")


def _preset(label: str, column: int | None = None) -> None:
    key, options = fields.restored("preset", column), list(PRESET_LABELS)
    if not keeps_options() and st.session_state[key] != "custom":
        options.remove("custom")
    help = "Custom: the options of the run that was opened." if "custom" in options else None
    st.selectbox(label, options, key=key, format_func=PRESET_LABELS.__getitem__, help=help)


def _seed(label: str, column: int | None = None) -> None:
    st.number_input(label, min_value=0, step=1, key=fields.restored("seed", column))


def _advanced(what: str) -> None:
    left, middle, right = st.columns(3)
    with left:
        if what != "settings":
            _preset("Preset")
        key = fields.restored("granularity")
        st.selectbox("Granularity", get_args(Granularity), key=key)
    with middle:
        st.number_input("Length of the answer", 1, 256, key=fields.restored("length"))
    with right:
        if what != "seeds":
            _seed("Seed")


def _draw_cost(count: int) -> None:
    """The seconds of all runs together, where they are known."""
    if not loaded_models.models_ready():
        return
    try:
        costs = [loaded_models.cost_of(asked(i)) for i in range(count)]
    except ReagentError:
        return  # what is wrong is said when the button is pressed
    seconds = [cost.seconds for cost in costs if cost is not None and cost.seconds is not None]
    if len(seconds) == count:
        st.caption(cost_words(sum(seconds)))


def _suggest() -> None:
    """The first answer on the page is the likeliest target for all."""
    if fields.get("target") == "same" and not fields.get("target_text"):
        fields.put("target_text", st.session_state.get("compare_answer", ""))


def _add() -> None:
    fields.put("count", min(MOST, int(fields.get("count")) + 1))


def _remove(column: int) -> None:
    fields.remove(column)
    st.session_state["compare_problems"] = {}


def _segmented(
    name: str, label: str, options: dict[str, str], on_change: Callable[[], None] | None = None
) -> str:
    chosen = st.segmented_control(
        label, list(options), format_func=options.__getitem__, key=fields.restored(name),
        required=True, label_visibility="collapsed", on_change=on_change,
    )  # fmt: skip
    return str(chosen)


def _text(name: str, label: str, help: str | None = None) -> None:
    st.text_input(label, key=fields.restored(name), help=help)
