"""The advanced settings: a preset, and every option of the method behind it."""

from __future__ import annotations

from typing import get_args

import streamlit as st

from reagent_core.config import PRESETS, Config, PresetName, make_config
from reagent_core.request import GivenText, TargetChoice, WholeAnswer

PRESET_LABELS: dict[PresetName, str] = {
    "quick": "Quick",
    "standard": "Standard",
    "thorough": "Thorough",
    "paper": "As published",
}
_OPTIONS = tuple(name for name in Config.model_fields if name not in ("granularity", "seed"))
_LABELS = {
    "selection": "Selection of what is replaced",
    "init": "Start of the scores",
    "weights": "Weights of an update",
    "replacer": "Replacer",
    "granularity": "Granularity",
    "ratio": "Share replaced (r)",
    "top_k": "Stop test: top k",
    "probes": "Probes",
    "min_steps": "Fewest steps",
    "max_steps": "Most steps",
    "seed": "Seed",
}


def chosen_config() -> Config:
    """The options as they stand in the form.

    Raises:
        InputError: one is out of range (field "settings").
    """
    return make_config(**{name: st.session_state[f"option_{name}"] for name in Config.model_fields})


def chosen_target() -> TargetChoice:
    """What the form asks to explain: the whole answer, or a text of the user's own."""
    text, foil = st.session_state["target_text"], st.session_state["target_foil"]
    return GivenText(text=text, instead_of=foil or None) if text or foil else WholeAnswer()


def chosen_length() -> int:
    """The length of the answer in tokens."""
    return int(st.session_state["max_new_tokens"])


def draw_settings() -> None:
    """Draw the settings; what they say is read with the functions above."""
    if "option_probes" not in st.session_state:
        st.session_state["preset"] = "standard"
        _take_preset()
    st.segmented_control(
        "Preset",
        list(PRESET_LABELS),
        format_func=PRESET_LABELS.__getitem__,
        key="preset",
        on_change=_take_preset,
        help="More steps take longer and give narrower intervals. “As published” runs the "
        "procedure of the paper and nothing else.",
    )
    left, middle, right = st.columns(3)
    with left:
        _choice("granularity")
        _number("seed", step=1)
        st.number_input(
            "Length of the answer",
            min_value=1,
            max_value=256,
            value=8,
            key="max_new_tokens",
            help="The model's answer is cut after this many tokens. Longer answers take longer.",
        )
        st.text_input(
            "Explain this text instead of the answer",
            key="target_text",
            help="Why would the model say this? Leave empty to explain its own answer.",
        )
        st.text_input(
            "… rather than",
            key="target_foil",
            help="Why the text above and not this one? Leave empty to explain the text alone.",
        )
    with middle:
        for name in ("selection", "init", "weights", "replacer"):
            _choice(name)
    with right:
        _number("ratio", step=0.05)
        for name in ("top_k", "probes", "min_steps", "max_steps"):
            _number(name, step=1)


def _take_preset() -> None:
    name: PresetName | None = st.session_state["preset"]
    if name is not None:
        for option in _OPTIONS:
            st.session_state[f"option_{option}"] = getattr(PRESETS[name], option)


def _leave_preset() -> None:
    """An option changed by hand belongs to no preset."""
    st.session_state["preset"] = None


def _choice(name: str) -> None:
    field = Config.model_fields[name]
    st.selectbox(
        _LABELS[name],
        get_args(field.annotation),
        key=f"option_{name}",
        help=field.description,
        on_change=_leave_preset if name in _OPTIONS else None,
    )


def _number(name: str, step: float) -> None:
    field = Config.model_fields[name]
    if f"option_{name}" not in st.session_state:
        st.session_state[f"option_{name}"] = field.default
    st.number_input(
        _LABELS[name],
        step=step,
        key=f"option_{name}",
        help=field.description,
        on_change=_leave_preset if name in _OPTIONS else None,
    )
