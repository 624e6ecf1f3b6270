"""The token strip as a Streamlit widget: coloured tokens, one of which can be selected."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import streamlit as st

from reagent_core.colours import palette_css
from reagent_core.strip import Measure, StripToken

_ASSETS = Path(__file__).parent.parent / "assets"

_strip = st.components.v2.component(
    "reagent_token_strip",
    js=(_ASSETS / "token_strip.js").read_text("utf-8"),
    css=(_ASSETS / "token_strip.css").read_text("utf-8") + palette_css(),
)


@dataclass(frozen=True)
class Legend:
    """Words at the two ends of the colour scale; without `low` the scale has one side."""

    low: str | None
    high: str


LEGENDS: dict[Measure, Legend] = {
    "effect": Legend("speaks against", "speaks for"),
    "score": Legend(None, "higher ReAGent score"),
}


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
    another explanation another key.
    """
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
    return _in_range(result.selected, len(tokens))


def _in_range(index: object, count: int) -> int | None:
    """The state comes from the browser: anything that is no index of a token selects nothing."""
    if isinstance(index, int) and not isinstance(index, bool) and 0 <= index < count:
        return index
    return None


def _nothing() -> None:
    """Streamlit keeps a state value only if it has a callback."""
