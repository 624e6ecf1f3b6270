"""The request that was put into the form of Methods, of which the form does not show everything.

Session state: `methods base`, that request.
"""

from __future__ import annotations

import streamlit as st

from reagent_core.config import PRESETS, Config, PresetName, preset_of
from reagent_core.request import Request

_BASE = "methods base"
# What belongs to a prompt, and is not asked with another one.
_WITH_THE_PROMPT = ("prompt", "protected", "attribute_answer")


def keep_base(request: Request) -> None:
    """Remember what was put into the form."""
    st.session_state[_BASE] = request


def config_of(preset: PresetName | None) -> Config:
    """The settings that the form's preset stands for; None: those of the request."""
    base = _base()
    if preset is None and base is not None:
        return base.config
    return PRESETS[preset or "standard"]


def presets() -> list[PresetName | None]:
    """What the form offers: None, first, where the request has settings of its own."""
    base = _base()
    own = base is not None and preset_shown(base.config) is None
    return [None, *PRESETS] if own else [*PRESETS]


def preset_shown(config: Config) -> PresetName | None:
    """The preset, whatever the replacer, which has a field of its own; None for other settings."""
    return preset_of(config.model_copy(update={"replacer": PRESETS["standard"].replacer}))


def shown_prompt(request: Request) -> tuple[str, str, str]:
    """Mode, system turn and prompt, as the form shows a request."""
    if isinstance(request.prompt, str):
        return "Plain text", "", request.prompt
    system = next((turn.content for turn in request.prompt if turn.role == "system"), "")
    return "Chat", system.strip(), request.prompt[-1].content


def with_what_is_not_shown(request: Request) -> Request:
    """What the form says, with the rest of the prompt it was filled with, while that stands in it
    unchanged."""
    base = _base()
    if base is None or shown_prompt(request) != shown_prompt(base):
        return request
    return request.model_copy(update={name: getattr(base, name) for name in _WITH_THE_PROMPT})


def say_what_is_not_shown(now: tuple[str, str, str]) -> None:
    """What is asked for with the prompt, or not any more with another. `now`: see `shown_prompt`,
    as the form stands."""
    base = _base()
    hidden = [] if base is None else _hidden(base)
    if base is None or not hidden:
        return
    lead = (
        "Taken over with the prompt, though not shown here"
        if now == shown_prompt(base)
        else "Left out, because this is another prompt than the one that was taken over"
    )
    st.caption(f":material/more_horiz: {lead}: {', '.join(hidden)}.")


def _hidden(base: Request) -> list[str]:
    told = []
    if not isinstance(base.prompt, str):
        earlier = len(base.prompt) - 1 - bool(shown_prompt(base)[1])
        told += [f"{earlier} earlier turn{'' if earlier == 1 else 's'}"] if earlier else []
    if spans := len(base.protected):
        told.append(f"{spans} protected part{'' if spans == 1 else 's'}")
    if base.attribute_answer:
        told.append("the answer before the target, which is scored, too")
    return told


def _base() -> Request | None:
    base: Request | None = st.session_state.get(_BASE)
    return base
