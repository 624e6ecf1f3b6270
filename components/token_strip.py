"""The token strip as a Streamlit widget: coloured tokens, one of which can be selected."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import streamlit as st

from reagent_core.baselines.methods import REAGENT
from reagent_core.colours import palette_css
from reagent_core.explanation import Explanation
from reagent_core.method_words import has_signs, score_name
from reagent_core.sentences import main_measure
from reagent_core.strip import StripToken

_ASSETS = Path(__file__).parent.parent / "assets"

_strip = st.components.v2.component(
    "reagent_token_strip",
    js=(_ASSETS / "token_strip.js").read_text("utf-8"),
    css=(_ASSETS / "token_strip.css").read_text("utf-8") + palette_css(),
)


@dataclass(frozen=True)
class Legend:
    """Words at the two ends of the colour scale; without `low` the scale has one side.

    `marks`: the marks of `StripToken` that are explained, too, with what they mean.
    """

    low: str | None
    high: str
    marks: tuple[tuple[str, str], ...] = ()


WITH_SIGNS = Legend("speaks against", "speaks for")


def legend_of(explanation: Explanation) -> Legend:
    """What the colours of its prompt mean."""
    if main_measure(explanation) == "effect" or has_signs(explanation):
        return WITH_SIGNS
    name = score_name(explanation)
    return Legend(
        None, f"higher {name if explanation.method == REAGENT else name[0].lower() + name[1:]}"
    )


def token_strip(
    tokens: Sequence[StripToken],
    *,
    key: str,
    label: str,
    legend: Legend | None = None,
    selected: int | None = None,
    on_select: Callable[[], None] | None = None,
) -> int | None:
    """Draw the tokens and return the index of the selected one, None for none.

    A click (or Enter) selects a clickable token, a second one unselects it. `selected` is the
    choice before the first click. `label` names the strip for screen readers. Drawing again under
    the same key only changes colours and tooltips, so focus, hover and scroll survive; give
    another explanation another key. The choice outlives a look at another page.
    """
    choices = st.session_state.setdefault("chosen tokens", {})
    selected = choices.get(key, selected)
    chosen = _in_range(st.session_state.get(key, {}).get("selected", selected), len(tokens))
    result = _strip(
        key=key,
        data={
            "label": label,
            "tokens": [asdict(token) for token in tokens],
            "selected": chosen,
            "legend": asdict(legend) if legend else None,
        },
        default={"selected": selected},
        on_selected_change=on_select or _nothing,
    )
    choices[key] = result.selected
    return _in_range(result.selected, len(tokens))


def chosen_token(key: str) -> int | None:
    """The index of the token that is selected in the strip of this key, drawn here or on another
    page; None for none."""
    chosen = st.session_state.get("chosen tokens", {}).get(key)
    return chosen if isinstance(chosen, int) else None


def token_strip_of_several(
    tokens: Sequence[StripToken],
    *,
    key: str,
    label: str,
    legend: Legend | None,
    selected: Sequence[int],
    on_select: Callable[[list[int]], None],
) -> None:
    """Draw the tokens, `selected` of which are selected; a click selects one more or lets it go.

    The choice is the caller's to keep: `on_select` gets it as it is after a click, in the order of
    the clicks.
    """

    def changed() -> None:
        chosen = st.session_state[key]["selected"]["tokens"]
        known = [_in_range(index, len(tokens)) for index in chosen]
        on_select([index for index in known if index is not None])

    _strip(
        key=key,
        data={
            "label": label,
            "tokens": [asdict(token) for token in tokens],
            "selected": list(selected),
            "legend": asdict(legend) if legend else None,
        },
        default={"selected": None},
        on_selected_change=changed,
    )


def _in_range(index: object, count: int) -> int | None:
    """The state comes from the browser: anything that is no index of a token selects nothing."""
    if isinstance(index, int) and not isinstance(index, bool) and 0 <= index < count:
        return index
    return None


def _nothing() -> None:
    """Streamlit keeps a state value only if it has a callback."""
