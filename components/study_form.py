"""The form of a study: prompts, models, methods, settings; what it would cost; the start.

Session state: `study problem`, what is wrong with the form, as field and sentence.
"""

from __future__ import annotations

from typing import get_args

import streamlit as st

from components import study_jobs
from components.keep import show
from components.methods_jobs import refusals
from components.model_picker import chosen_models, draw_models_picker
from components.plain import unformatted
from components.settings import PRESET_LABELS
from components.study_cost import draw_cost
from components.study_data import chosen_rows, data_name, draw_data
from components.study_view import PAUSING, WANTED_NAME
from reagent_core.baselines.methods import METHODS, REAGENT, label_of
from reagent_core.check import DRAWS
from reagent_core.config import PRESETS, Config, Granularity, ReplacerName, make_config
from reagent_core.errors import InputError, ReagentError
from reagent_core.study.plan import Study

_PROBLEM = "study problem"
# Cheap ones beside it: one that looks inside, and what any method must beat.
_USUAL_METHODS = [REAGENT, "input_x_gradient", "random"]
_FIELDS = ("file", "model", "methods", "settings")


def asked() -> Study:
    """The study that the form asks for.

    Raises:
        InputError: something chosen cannot be used.
    """
    state = st.session_state
    rows = chosen_rows()
    chosen = chosen_models("study models")
    if not chosen:
        raise InputError("Choose at least one model.", "model")
    methods = tuple(state["study methods"])
    if not methods:
        raise InputError("Choose at least one method.", "methods")
    options = {name: state[f"study {name}"] for name in ("granularity", "replacer", "seed")}
    return Study(
        name=" ".join(state["study name"].split()) or data_name(),
        rows=rows,
        models=chosen,
        methods=methods,
        config=make_config(**PRESETS[state["study preset"]].model_dump() | options),
        chat=bool(state["study chat"]),
        max_new_tokens=int(state["study length"]),
        budget=state["study budget"],
        draws=int(state["study draws"]),
    )


def draw_form() -> None:
    """The whole form; its button starts the study and puts it into the address."""
    with st.container(border=True):
        draw_data()
        with st.container():
            _complain("file")
        left, right = st.columns(2)
        with left:
            draw_models_picker("study models")
            _complain("model")
        with right:
            st.multiselect(
                "Methods", [REAGENT, *(method.name for method in METHODS)],
                default=_USUAL_METHODS, format_func=label_of, key="study methods",
                persist_state="session",
                help="All explain the same answer of the same model. One that a model does not "
                "allow is left out there, with the reason.",
            )  # fmt: skip
            _complain("methods")
            _say_what_is_left_out()
        with st.container(horizontal=True, vertical_alignment="bottom"):
            st.text_input(
                "Name", key="study name", placeholder=data_name() or "My study", max_chars=200,
                persist_state="session", width=260,
            )  # fmt: skip
            st.segmented_control(
                "Preset", list(PRESETS), format_func=PRESET_LABELS.__getitem__,
                default="standard", key="study preset", required=True, persist_state="session",
            )  # fmt: skip
        problem = st.session_state.get(_PROBLEM)
        with st.expander(
            "Advanced", icon=":material/tune:", expanded=bool(problem and problem[0] == "settings")
        ):
            _complain("settings")
            _advanced()
        with st.container(horizontal=True, vertical_alignment="center"):
            st.button("Start the study", type="primary", on_click=_start)
            with st.container(width="content"):
                draw_cost(asked)


def _say_what_is_left_out() -> None:
    """Which of the methods each model does not allow, as far as it is known before it is loaded."""
    for model in chosen_models("study models"):
        refused = refusals(model)
        chosen = [name for name in st.session_state["study methods"] if name in refused]
        if chosen:
            names = ", ".join(label_of(name) for name in chosen)
            reasons = " ".join(dict.fromkeys(refused[name] for name in chosen))
            told = unformatted(f"{model} leaves out {names}. {reasons}")
            st.caption(f":material/block: {told}")


def _advanced() -> None:
    left, middle, right = st.columns(3)
    fields = Config.model_fields
    with left:
        st.selectbox(
            "Granularity", get_args(Granularity), key="study granularity",
            help=fields["granularity"].description, persist_state="session",
        )  # fmt: skip
        st.number_input(
            "Seed", min_value=0, step=1, key="study seed", help=fields["seed"].description,
            persist_state="session",
        )  # fmt: skip
    with middle:
        st.selectbox(
            "Replacer", get_args(ReplacerName), key="study replacer",
            help=fields["replacer"].description, persist_state="session",
        )  # fmt: skip
        st.number_input(
            "Length of the answer", 1, 256, 16, key="study length", persist_state="session",
            help="The model's answer is cut after this many tokens.",
        )  # fmt: skip
    with right:
        st.number_input(
            "Budget of a sampling method", 1, 100_000, None, key="study budget",
            placeholder="about as many as Standard", persist_state="session",
            help="How many replaced prompts each method that samples may read.",
        )  # fmt: skip
        st.number_input(
            "Draws of the faithfulness", 1, 100, DRAWS, key="study draws",
            help="Replacements of each order whose faithfulness is measured.",
            persist_state="session",
        )  # fmt: skip
        st.checkbox(
            "Send each prompt as a chat turn", key="study chat", persist_state="session",
            help="With the model's own chat template, which is never replaced.",
        )  # fmt: skip


def _start() -> None:
    """Start the study, or remember what is wrong and where."""
    st.session_state[_PROBLEM] = None
    st.session_state[PAUSING] = None  # it may be the one that was paused, nobody saw it end
    try:
        study = asked()
        show({"study": study_jobs.start(study)})
        st.session_state[WANTED_NAME] = (study.id, study.name)
    except ReagentError as error:
        field = error.field if isinstance(error, InputError) else "model"
        st.session_state[_PROBLEM] = (field if field in _FIELDS else "file", str(error))


def _complain(field: str) -> None:
    """The sentence about this field, if it is the one in the way."""
    problem = st.session_state.get(_PROBLEM)
    if problem and problem[0] == field:
        st.error(unformatted(problem[1]), icon=":material/error:")
