"""The advanced settings: a preset, and every option of the method behind it."""

from __future__ import annotations

from typing import Any, Literal, get_args

import streamlit as st

from components.plain import unformatted
from reagent_core.config import PRESETS, Config, PresetName, make_config
from reagent_core.errors import ReagentError
from reagent_core.replacers.masked_models import replacer_model_info
from reagent_core.request import GivenText, TargetChoice, WholeAnswer

PRESET_LABELS: dict[PresetName | Literal["custom"], str] = {
    "quick": "Quick",
    "standard": "Standard",
    "thorough": "Thorough",
    "paper": "As published",
    "custom": "Custom",
}
_COMMON = ("granularity", "seed")
_CHOICES = ("selection", "until", "init", "weights", "replacer")
_NUMBERS = ("ratio", "top_k", "probes", "min_steps", "max_steps")
_OPTIONS = (*_CHOICES, *_NUMBERS)
_LABELS = {
    "selection": "Selection of what is replaced",
    "until": "The run ends",
    "init": "Start of the scores",
    "weights": "Weights of an update",
    "replacer": "Replacer",
    "replacer_model": "Masked model",
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
    common = {name: st.session_state[f"option_{name}"] for name in _COMMON}
    preset = st.session_state["preset"]
    if preset in PRESETS:
        return make_config(**PRESETS[preset].model_dump() | common)
    own = {name: st.session_state[f"custom_{name}"] for name in _OPTIONS}
    if own["replacer"] == "masked_lm":
        own["replacer_model"] = st.session_state["custom_replacer_model"].strip()
    return make_config(**own | common)


def chosen_target() -> TargetChoice:
    """What the form asks to explain: the whole answer, or a text of the user's own."""
    text, foil = st.session_state["target_text"], st.session_state["target_foil"]
    return GivenText(text=text, instead_of=foil or None) if text or foil else WholeAnswer()


def chosen_length() -> int:
    """The length of the answer in tokens."""
    return int(st.session_state["max_new_tokens"])


def attributes_answer() -> bool:
    """Whether what the model has answered so far is replaced and scored, too."""
    return bool(st.session_state["attribute_answer"])


def draw_settings() -> None:
    """Draw the settings; what they say is read with the functions above."""
    preset = st.segmented_control(
        "Preset",
        list(PRESET_LABELS),
        format_func=PRESET_LABELS.__getitem__,
        key="preset",
        default="standard",
        required=True,
        persist_state="session",
        help="More steps take longer and give narrower intervals. “As published” runs the "
        "procedure of the paper and nothing else. “Custom” opens every option.",
    )
    # Only Custom has widgets to write to: setting another widget's value from here would race
    # with what the browser sends.
    custom = preset == "custom"
    shown = PRESETS["standard" if preset == "custom" else preset]
    left, middle, right = st.columns(3)
    with left:
        _choice("granularity", "option_granularity", Config.model_fields["granularity"].default)
        _number("seed", "option_seed", Config.model_fields["seed"].default)
        st.number_input(
            "Length of the answer",
            min_value=1,
            max_value=256,
            value=8,
            key="max_new_tokens",
            persist_state="session",
            help="The model's answer is cut after this many tokens. Longer answers take longer.",
        )
        st.text_input(
            "Explain this text instead of the answer",
            key="target_text",
            persist_state="session",
            help="Why would the model say this? Leave empty to explain its own answer.",
        )
        st.text_input(
            "… rather than",
            key="target_foil",
            persist_state="session",
            help="Why the text above and not this one? Leave empty to explain the text alone.",
        )
        st.checkbox(
            "Earlier words of the answer count, too",
            key="attribute_answer",
            persist_state="session",
            help="A word of the answer also follows from the words before it. Tick this to replace "
            "and score those like the prompt.",
        )
    prefix = "custom" if custom else preset
    for column, names in ((middle, _CHOICES), (right, _NUMBERS)):
        for name in names:
            draw = _choice if name in _CHOICES else _number
            with column:
                draw(name, f"{prefix}_{name}", getattr(shown, name), disabled=not custom)
    if custom:
        with middle:
            _masked_model()


def _masked_model() -> None:
    """Which masked model, and why it cannot be had where that was tried in vain."""
    field = Config.model_fields["replacer_model"]
    st.text_input(
        _LABELS["replacer_model"], field.default, key="custom_replacer_model",
        help=field.description, on_change=_check_masked_model, persist_state="session",
    )  # fmt: skip
    if problem := st.session_state.get("masked_problem"):
        st.warning(unformatted(problem), icon=":material/cloud_off:")


def _check_masked_model() -> None:
    """Stay on the model's own proposals where there is no masked model to be had."""
    state = st.session_state
    state["masked_problem"] = None
    if state["custom_replacer"] == "masked_lm":
        state["masked_problem"] = _problem_with(state["custom_replacer_model"].strip())
        if state["masked_problem"]:
            state["custom_replacer"] = "causal_lm"


@st.cache_data(ttl=60, show_spinner="Looking for the masked model")
def _problem_with(name: str) -> str | None:
    """Why a masked model is not to be had; a run looks again."""
    try:
        replacer_model_info(make_config(replacer="masked_lm", replacer_model=name))
    except ReagentError as error:
        return str(error)
    return None


def _choice(name: str, key: str, value: Any, disabled: bool = False) -> None:
    field = Config.model_fields[name]
    options = get_args(field.annotation)
    st.selectbox(
        _LABELS[name], options, options.index(value), key=key, help=field.description,
        persist_state="session", disabled=disabled,
        on_change=_check_masked_model if key == "custom_replacer" else None,
    )  # fmt: skip


def _number(name: str, key: str, value: Any, disabled: bool = False) -> None:
    st.number_input(
        _LABELS[name], value=value, key=key, help=Config.model_fields[name].description,
        persist_state="session", step=0.05 if isinstance(value, float) else 1, disabled=disabled,
    )  # fmt: skip
