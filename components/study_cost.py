"""What a study would cost, beside the button that starts it."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import add
from typing import TYPE_CHECKING

import streamlit as st

from components import loaded_models
from components.local_mode import local_mode
from components.methods_jobs import refused_by
from components.plain import unformatted
from reagent_core import hub, models
from reagent_core.catalogue import HubEntry
from reagent_core.errors import ReagentError
from reagent_core.study.plan import Study

if TYPE_CHECKING:
    from reagent_core.study.cost import StudyCost

# Models that this session has asked to load for an estimate, each with why it could not be had.
_ASKED = "study models asked"
# What is known, by the study's id and the model: a model may have to leave the memory for another.
_COSTS = "study costs"
_ABSENT = "not on this machine yet, so what it takes is not known. The study downloads it first."


def draw_cost(asked: Callable[[], Study]) -> None:
    """One line: "About 12 min: 40 tasks, 5,200 sequences, 210,000 tokens". Of models that are not
    in memory nothing is known; a button loads them, in the background. None is downloaded for it:
    that may take an hour, and belongs to the work on the study."""
    try:
        study = asked()
    except ReagentError:
        return  # what is wrong is said when the button is pressed
    _note(study)
    waiting = _waiting(_missing(study))
    st.fragment(_draw, run_every=1.0 if waiting else None)(study, waiting)


def _draw(study: Study, was_waiting: bool) -> None:
    _note(study)
    for model in _loading(_missing(study))[:1]:  # there may be room for one
        problem = loaded_models.get_in_touch(model)
        if problem is not None and loaded_models.measured(model) is None:
            _asked()[model] = problem
    missing = _missing(study)
    if was_waiting != _waiting(missing):
        st.rerun()  # polling stops, or starts
    costs = [_costs()[study.id, model] for model in study.models if model not in missing]
    if costs:
        st.caption(cost_line(study, reduce(add, costs), len(missing)))
    absent = [model for model in missing if _must_be_downloaded(model)]
    for model in missing:
        if problem := _ABSENT if model in absent else _asked().get(model):
            st.caption(unformatted(f"{model}: {problem}"))
    loadable = [model for model in missing if model not in absent]
    if loading := _loading(missing):
        st.caption(f"Loading {unformatted(loading[0])}")
    elif loadable and not loaded_models.warming_up():
        st.button(
            "Load to estimate", icon=":material/timer:", type="tertiary", key="study estimate",
            help="What it takes is known once a model is in memory. It is loaded in the "
            "background.",
            on_click=_ask_for, args=(loadable,),
        )  # fmt: skip


def cost_line(study: Study, cost: StudyCost, missing: int) -> str:
    """The cost, and how many models it does not count."""
    from reagent_core.study.words import cost_sentence

    told = cost_sentence(cost)
    return f"{told} {missing} of {len(study.models)} models not counted." if missing else told


def _note(study: Study) -> None:
    """Remember what the study costs with the models in memory. A model that was had is not asked
    for again when it leaves: two that do not fit beside each other would be loaded for ever."""
    for model in {*study.models, *_asked()}:
        found = loaded_models.measured(model)
        if found is None:
            continue
        _asked().pop(model, None)
        if model in study.models and (study.id, model) not in _costs():
            from reagent_core.study.cost import study_cost

            refused = refused_by(found[0])
            _costs()[study.id, model] = study_cost(study, model, *found, refused=refused)


def _must_be_downloaded(model: str) -> bool:
    try:
        entry = models.resolve(model, urls_allowed=local_mode())
    except ReagentError:
        return False  # what is wrong is said when it is asked for
    return isinstance(entry, HubEntry) and hub.on_disk(entry.repo, entry.revision) is None


def _missing(study: Study) -> list[str]:
    return [model for model in study.models if (study.id, model) not in _costs()]


def _loading(missing: list[str]) -> list[str]:
    return [model for model in missing if _asked().get(model, "") is None]


def _waiting(missing: list[str]) -> bool:
    """Whether more will be known of these without anybody doing anything."""
    return bool(_loading(missing)) or ("bundled" in missing and loaded_models.warming_up())


def _asked() -> dict[str, str | None]:
    asked: dict[str, str | None] = st.session_state.setdefault(_ASKED, {})
    return asked


def _costs() -> dict[tuple[str, str], StudyCost]:
    costs: dict[tuple[str, str], StudyCost] = st.session_state.setdefault(_COSTS, {})
    return costs


def _ask_for(missing: list[str]) -> None:
    for model in missing:
        try:
            models.resolve(model, urls_allowed=local_mode())
        except ReagentError as error:
            _asked()[model] = str(error)
        else:
            _asked()[model] = None  # loaded by `_draw`, one after the other
