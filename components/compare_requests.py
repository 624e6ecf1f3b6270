"""The runs that the form of Compare asks for, and how those of a link get into it.

The form has fields for what people change between columns. What else made the runs of a link,
such as a chat's earlier turns or options of their own, is kept beside it (`fields.bases`): the
fields are written over these requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from components import compare_fields as fields
from components.model_picker import chosen_model
from reagent_core.baselines.methods import REAGENT
from reagent_core.comparison import LETTERS, MOST, What, what_differs
from reagent_core.config import PRESETS, Config, make_config, preset_of
from reagent_core.errors import ReagentError
from reagent_core.explanation import Explanation
from reagent_core.prompt import check_text
from reagent_core.request import GivenText, Request, TargetChoice, Turn, WholeAnswer

# What fields say, by name and column.
_Values = dict[tuple[str, int | None], Any]
_SHOWN = ("model", "preset", "seed")
_OF_RUNS = (("target", "kept"), ("preset", "custom"))

# What a request is made of, in words.
_PARTS = {
    "model": "model",
    "prompt": "prompt",
    "target": "target",
    "max_new_tokens": "length of the answer",
    "attribute_answer": "choice whether earlier words of the answer count",
    "protected": "protected parts",
    "config": "settings",
}


def asked(column: int) -> Request:
    """The run that the form asks for in this column.

    Raises:
        ReagentError: something typed cannot be used.
    """
    what = fields.get("what")
    place = column if what == "prompts" else 0
    text, base = fields.get("prompt", place), fields.base(place)
    check_text(text, "prompt")
    first = fields.base(0)
    return Request(
        model=chosen_model(fields.key_of("model", column if what == "models" else None)),
        prompt=_turns(text, base) if fields.get("mode") == "Chat" else text,
        target=_target(column),
        max_new_tokens=int(fields.get("length")),
        attribute_answer=first is not None and first.attribute_answer,
        # The places are those of the text that it was.
        protected=base.protected if base is not None and text == _typed(base) else (),
        config=_config(column, what),
    )


def fill(columns: Sequence[Explanation | None]) -> None:
    """Put what made these explanations into the form, unless somebody has typed into it. Where
    they do not say it, or there is none (yet), what the link before has put into it is taken out:
    it would be asked for beside what it has not made."""
    st.session_state["compare_empty"] = ""
    filled: _Values = st.session_state.get("compare_filled", {})
    typed = {("prompt", i): fields.get("prompt", i) for i in range(MOST)}
    if any(typed.values()) and any(text != filled.get(at) for at, text in typed.items()):
        return
    explanations = [each for each in columns if each is not None]
    requests = [each.request for each in explanations if each.request and each.method == REAGENT]
    if len(requests) < max(fields.FEWEST, len(columns)):
        _clear(filled)
        st.session_state["compare_empty"] = _why_empty(columns)
        return
    values = _values(requests, what_differs(explanations))
    for (name, column), value in values.items():
        fields.put(name, value, column)
    fields.put_bases(requests)
    st.session_state["compare_filled"] = values
    st.session_state["compare_lost"] = [_lost(i, each) for i, each in enumerate(requests)]


def keeps_targets() -> bool:
    """Whether the form offers the targets of the runs it was filled with, which it cannot say
    otherwise."""
    return _kind_of_target(fields.bases())[0] == "kept" or fields.get("target") == "kept"


def keeps_options() -> bool:
    """Whether one of these runs had options that belong to no preset."""
    return any(preset_of(each.config) is None for each in fields.bases())


def notes() -> list[str]:
    """What the form takes over from these runs without a field for it, and what it cannot."""
    bases, told = fields.bases(), []
    if fields.get("target") == "kept":
        told.append("What is explained in each column stays as in the runs that were opened.")
    turns = [each.prompt for each in bases if not isinstance(each.prompt, str)]
    if any(len(_without_system(each)) > 1 for each in turns) and fields.get("mode") == "Chat":
        told.append("The earlier turns of the chat stay; the prompt is its last one.")
    if any(each.protected for each in bases):
        told.append("Protected parts stay protected while their prompt is not changed.")
    if bases and bases[0].attribute_answer:
        told.append("Earlier words of the answer count, too.")
    lost = [
        f"the {' and the '.join(parts)} of {letter}"
        for letter, parts in zip(LETTERS, st.session_state.get("compare_lost", ()), strict=False)
        if parts
    ]
    if lost:
        told.append(f"The form does not ask for all of this again: {'; '.join(lost)}.")
    if st.session_state.get("compare_empty"):
        told.append(st.session_state["compare_empty"])
    return told


def _values(requests: Sequence[Request], what: What) -> _Values:
    """What the fields say of these requests, which differ in `what`."""
    first, values = requests[0], _Values()
    values["what", None] = "prompts" if what == "nothing" else what
    values["count", None] = len(requests)
    for i in range(MOST):
        request = requests[i] if i < len(requests) else None
        values["prompt", i] = _typed(request) if request else ""
        for name in _SHOWN:
            values[name, i] = fields.default(name, i) if request is None else _shown(name, request)
    values |= {(name, None): _shown(name, first) for name in _SHOWN}
    values["granularity", None] = first.config.granularity
    values["length", None] = first.max_new_tokens
    turns = () if isinstance(first.prompt, str) else first.prompt
    values["mode", None] = "Chat" if turns else "Plain text"
    values["system", None] = next((turn.content for turn in turns if turn.role == "system"), "")
    values["target", None], values["target_text", None] = _kind_of_target(requests)
    return values


def _why_empty(columns: Sequence[Explanation | None]) -> str:
    """Why nothing of these can be put into the form, as far as the page does not say it anyway."""
    known = [(letter, each) for letter, each in zip(LETTERS, columns, strict=False) if each]
    silent = [letter for letter, each in known if each.request is None]
    others = [letter for letter, each in known if each.method != REAGENT]
    reasons = []
    if silent:
        do = "does" if len(silent) == 1 else "do"
        reasons.append(f"{' and '.join(silent)} {do} not say what was asked for")
    if others:
        was = "was" if len(others) == 1 else "were"
        found = f"{' and '.join(others)} {was} found by another method"
        reasons.append(f"it asks for ReAGent alone, and {found}")
    return f"The form is left empty: {'; '.join(reasons)}." if reasons else ""


def _clear(filled: _Values) -> None:
    """Take out of the form what was filled in. What was changed since is somebody's own; but
    what is "as in these runs" needs those runs."""
    for (name, column), value in filled.items():
        said = fields.get(name, column)
        if said == value or (name, said) in _OF_RUNS:
            fields.put(name, fields.default(name, column), column)
    fields.put_bases([])
    st.session_state["compare_filled"] = {}
    st.session_state["compare_lost"] = []


def _lost(column: int, request: Request) -> list[str]:
    """In what the form asks for something else than this request, just after it was filled."""
    try:
        made = asked(column)
    except ReagentError:
        return list(_PARTS.values())
    return [told for name, told in _PARTS.items() if getattr(made, name) != getattr(request, name)]


def _shown(name: str, request: Request) -> str | int:
    """What a field of this name says of a request."""
    if name == "model":
        return request.model
    return request.config.seed if name == "seed" else preset_of(request.config) or "custom"


def _config(column: int, what: str) -> Config:
    place = column if what == "settings" else None
    preset, base = fields.get("preset", place), fields.base(place or 0)
    own = {
        "granularity": fields.get("granularity"),
        "seed": fields.get("seed", column if what == "seeds" else None),
    }
    options = PRESETS.get(preset) or (base.config if base is not None else Config())
    return make_config(**options.model_dump() | own)


def _turns(text: str, base: Request | None) -> tuple[Turn, ...]:
    """The chat with this text in its last turn, and the system turn that was typed."""
    before = () if base is None or isinstance(base.prompt, str) else _without_system(base.prompt)
    last = before[-1].role if before else "user"
    system = fields.get("system").strip()
    opening = (Turn(role="system", content=system),) if system else ()
    return (*opening, *before[:-1], Turn(role=last, content=text))


def _without_system(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    return tuple(turn for turn in turns if turn.role != "system")


def _target(column: int) -> TargetChoice:
    kind, base = fields.get("target"), fields.base(column)
    if kind == "kept" and base is not None:
        return base.target
    if kind != "same":
        return WholeAnswer()
    text = fields.get("target_text")
    check_text(text, "target")
    return GivenText(text=text)


def _kind_of_target(requests: Sequence[Request]) -> tuple[str, str]:
    """The choice that says these targets, and the text that goes with "same"."""
    targets = {each.target for each in requests}
    if targets <= {WholeAnswer()}:
        return "own", ""
    (first, *others) = targets
    if not others and isinstance(first, GivenText) and first.instead_of is None:
        return "same", first.text
    return "kept", ""


def _typed(request: Request) -> str:
    return request.prompt if isinstance(request.prompt, str) else request.prompt[-1].content
