"""The form of Methods: prompt, model, target, the methods to compare, and their options."""

from __future__ import annotations

from typing import Any, get_args

import streamlit as st

from components import methods_jobs as jobs
from components.keep import show
from components.methods_base import (
    config_of,
    keep_base,
    preset_shown,
    presets,
    say_what_is_not_shown,
    shown_prompt,
    with_what_is_not_shown,
)
from components.methods_cost import draw_cost
from components.methods_jobs import ALL, Asked
from components.model_picker import chosen_model, draw_model_note, draw_model_picker
from components.plain import unformatted
from components.settings import PRESET_LABELS
from reagent_core.baselines.methods import METHODS, REAGENT, label_of
from reagent_core.check import DRAWS
from reagent_core.config import (
    PRESETS,
    Granularity,
    ReplacerName,
    make_config,
)
from reagent_core.errors import InputError, ReagentError
from reagent_core.prompt import check_text
from reagent_core.request import AnswerTokens, GivenText, Request, TargetChoice, Turn

_TARGETS = ("Tokens of the answer", "A text of mine")
_GROUPS = {
    "forwards": "Replace words",
    "gradients": "Gradients",
    "attention": "Attention",
    "nothing": "To compare with",
}
_REAGENT_LINE = (
    "What the log-probability loses when the token is replaced, among random replacements of "
    "others: the method of this app."
)
# Session state: the prompt that was put into the form last, and the field and the sentence of what
# is wrong with it.
_FILLED = "methods filled"
PROBLEM = "methods problem"
_FIELDS = ("prompt", "model", "system", "target", "methods", "settings")


def asked() -> Asked:
    """The comparison that the form asks for.

    Raises:
        ReagentError: something typed cannot be used.
    """
    prompt, chat = _get("prompt"), _get("mode") == "Chat"
    check_text(prompt, "prompt")
    system = (_get("system") or "").strip() if chat else ""
    turns = [Turn(role="system", content=system)] if system else []
    options: dict[str, Any] = {"granularity": _get("granularity"), "seed": _get("seed")}
    if _get("replacer") is not None:
        options["replacer"] = _get("replacer")
    request = Request(
        model=chosen_model("methods_model"),
        prompt=(*turns, Turn(role="user", content=prompt)) if chat else prompt,
        target=_target(),
        max_new_tokens=int(_get("length")),
        config=make_config(**config_of(_get("preset")).model_dump() | options),
    )
    request = with_what_is_not_shown(request)
    refused = jobs.refusals(request.model)
    names = tuple(name for name in ALL if _get(f"use_{name}", True) and name not in refused)
    return Asked(request, names, _get("budget"), int(_get("draws")))


def start() -> None:
    """Start what the form says now and put it into the address, or remember what is wrong."""
    st.session_state[PROBLEM] = None
    try:
        show({"run": jobs.start(asked())})
        st.session_state[_FILLED] = _get("prompt")
    except ReagentError as error:
        field = error.field if isinstance(error, InputError) else "model"
        st.session_state[PROBLEM] = (field, str(error))


def fill(request: Request, wanted: Asked | None = None) -> None:
    """Put what was asked for into the form, unless somebody has typed another prompt into it.
    What the form does not show stays as it was asked for (see `methods_base`). Call it before the
    form is drawn."""
    typed = _get("prompt", "")
    if typed and typed != st.session_state.get(_FILLED):
        return
    mode, system, prompt = shown_prompt(request)
    given = request.target if isinstance(request.target, GivenText) else None
    own = request.target if isinstance(request.target, AnswerTokens) else AnswerTokens()
    config = request.config
    values: dict[str, Any] = {
        "prompt": prompt,
        "mode": mode,
        "system": system,
        "model": request.model,
        "target": _TARGETS[given is not None],
        "first": own.start + 1,
        "last": own.stop,
        "text": given.text if given else "",
        "foil": (given.instead_of or "") if given else "",
        "preset": preset_shown(config),
        "granularity": config.granularity,
        "seed": config.seed,
        "replacer": None if config.replacer == PRESETS["standard"].replacer else config.replacer,
        "length": request.max_new_tokens,
    }
    if wanted is not None:
        values |= {"budget": wanted.budget, "draws": wanted.draws}
        values |= {f"use_{name}": name in wanted.methods for name in ALL}
    # Streamlit may break off here, when something is clicked meanwhile: a form that is half filled
    # is filled again.
    st.session_state[_FILLED] = prompt
    keep_base(request)
    for name, value in values.items():
        st.session_state[f"methods_{name}"] = value


def draw_form(failure: tuple[str, str] | None) -> None:
    """The whole form; its button starts the comparison. `failure`: field and sentence of the
    comparison that the address names, where it failed."""
    problem = st.session_state.get(PROBLEM) or failure
    if problem and problem[0] not in _FIELDS:
        problem = ("prompt", problem[1])
    with st.container(border=True):
        st.text_area(
            "Your prompt", key="methods_prompt", height=80, persist_state="session",
            placeholder="The capital of France is",
        )  # fmt: skip
        with st.container():
            _complain(problem, "prompt")
        with st.container(horizontal=True, vertical_alignment="bottom"):
            chat = _segmented("mode", "Prompt is", ("Plain text", "Chat")) == "Chat"
            draw_model_picker("methods_model")
            button = st.container(width="content")
            cost = st.container(width="content")
        # What comes and goes stays in here: settings that move down the page would close.
        with st.container():
            draw_model_note("methods_model")
            _complain(problem, "model")
            if chat:
                _text("system", "System turn (never replaced)")
                _complain(problem, "system")
            system = (_get("system") or "").strip() if chat else ""
            say_what_is_not_shown((_get("mode"), system, _get("prompt")))
        refused = jobs.refusals(chosen_model("methods_model"))
        with st.container():
            _draw_target()
            _complain(problem, "target")
        with st.expander("Methods", icon=":material/balance:", expanded=_is(problem, "methods")):
            _complain(problem, "methods")
            _draw_methods(refused)
        with st.expander("Advanced", icon=":material/tune:", expanded=_is(problem, "settings")):
            _complain(problem, "settings")
            _draw_advanced()
        button.button("Compare", key="methods_compare", type="primary", on_click=start)
        with cost:
            draw_cost(asked)


def _draw_target() -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if _segmented("target", "Explained", _TARGETS) == _TARGETS[0]:
            _number("first", "From token", 1, 256, 1, "1 is the first token of the answer.")
            _number("last", "to token", 1, 256, 1, "The same as on the left for one token alone.")
        else:
            _text("text", "Why would the model say this", width=280)
            _text("foil", "… rather than this", width=280)


def _draw_methods(refused: dict[str, str]) -> None:
    """A box for each method; what the model does not allow cannot be ticked, and says why."""
    needs = {REAGENT: "forwards", **{method.name: method.needs for method in METHODS}}
    lines = {REAGENT: _REAGENT_LINE, **{method.name: method.line for method in METHODS}}
    for place, (group, title) in zip(st.columns(len(_GROUPS)), _GROUPS.items(), strict=True):
        with place:
            st.markdown(f"**{title}**")
            reasons = {}
            for name in (name for name in ALL if needs[name] == group):
                if name in refused:
                    reasons[name] = refused[name]
                    # With a key of its own: the choice is there again with another model.
                    st.checkbox(
                        label_of(name), value=False, disabled=True, key=f"methods_without_{name}",
                        help=unformatted(refused[name]), persist_state=None,
                    )  # fmt: skip
                    continue
                st.checkbox(
                    label_of(name), value=True, key=f"methods_use_{name}", help=lines[name],
                    persist_state="session",
                )  # fmt: skip
            for reason in dict.fromkeys(reasons.values()):
                st.caption(f":material/block: {unformatted(reason)}")


def _draw_advanced() -> None:
    left, middle, right = st.columns(3)
    with left:
        offered = presets()
        st.selectbox(
            "Preset of ReAGent", offered, offered.index("standard"),
            format_func=lambda name: PRESET_LABELS[name] if name else "As in the explanation",
            key="methods_preset", persist_state="session",
        )  # fmt: skip
        st.selectbox(
            "Granularity", get_args(Granularity), key="methods_granularity",
            help="What gets one number.", persist_state="session",
        )  # fmt: skip
        _number("seed", "Seed", 0, None, 0, "Equal seeds give equal results.", width="stretch")
    with middle:
        _number(
            "length", "Length of the answer", 1, 256, 8,
            "The model's answer is cut after this many tokens.", width="stretch",
        )  # fmt: skip
        st.selectbox(
            "Replacer", (None, *get_args(ReplacerName)), key="methods_replacer",
            format_func=lambda name: name or "as the preset says",
            help="What stands in for a replaced token. Faithfulness is measured with another one.",
            persist_state="session",
        )  # fmt: skip
    with right:
        st.number_input(
            "Budget of a sampling method", 1, 100_000, None, key="methods_budget",
            placeholder="about as many as Standard", persist_state="session",
            help="How many replaced prompts each method that samples may read.",
        )  # fmt: skip
        _number(
            "draws", "Draws of a faithfulness curve", 1, 100, DRAWS,
            "More replacements give narrower intervals and take longer.", width="stretch",
        )  # fmt: skip


def _target() -> TargetChoice:
    if _get("target") == _TARGETS[0]:
        first, last = int(_get("first")), int(_get("last"))
        if last < first:
            raise InputError("The last token comes before the first. Change one of them.", "target")
        return AnswerTokens(start=first - 1, stop=last)
    check_text(_get("text") or "", "target")
    return GivenText(text=_get("text"), instead_of=_get("foil") or None)


def _get(name: str, default: Any = None) -> Any:
    return st.session_state.get(f"methods_{name}", default)


def _is(problem: tuple[str, str] | None, field: str) -> bool:
    return problem is not None and problem[0] == field


def _complain(problem: tuple[str, str] | None, field: str) -> None:
    if problem and problem[0] == field:
        st.error(unformatted(problem[1]), icon=":material/error:")


def _segmented(name: str, label: str, options: tuple[str, ...]) -> str:
    chosen = st.segmented_control(
        label, options, default=options[0], key=f"methods_{name}", required=True,
        label_visibility="collapsed", persist_state="session",
    )  # fmt: skip
    return str(chosen)


def _text(name: str, label: str, width: Any = "stretch") -> None:
    st.text_input(label, key=f"methods_{name}", width=width, persist_state="session")


def _number(
    name: str, label: str, low: int, high: int | None, value: int, help: str, width: Any = 150
) -> None:
    st.number_input(
        label, low, high, value, step=1, key=f"methods_{name}", help=help, width=width,
        persist_state="session",
    )  # fmt: skip
