"""A rendered chat template, and where in it the words of each turn stand."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from reagent_core.errors import InputError
from reagent_core.request import Turn


def render(
    turns: Sequence[Turn], render_chat: Callable[[Sequence[Turn]], str]
) -> tuple[str, list[tuple[int, int]]]:
    """The rendered chat and the characters `text[start:end]` of each turn's content.

    The template is rendered a second time with placeholders in place of the contents: what
    surrounds the placeholders is template, whatever the contents look like. The template may
    trim a content and may move a turn.

    Raises:
        InputError: the template changes, repeats or leaves out a content.
    """
    text = render_chat(turns)
    marked = [
        turn.model_copy(update={"content": f"\ue000{i}\ue001"}) for i, turn in enumerate(turns)
    ]
    opening, *rest = re.split("\ue000([0-9]+)\ue001", render_chat(marked))
    order = [int(mark) for mark in rest[::2]]
    match = None
    if sorted(order) == list(range(len(turns))):
        expression = re.escape(opening)
        for i, after in zip(order, rest[1::2], strict=True):
            expression += f"(?P<turn{i}>{_perhaps_trimmed(turns[i].content)}){re.escape(after)}"
        match = re.fullmatch(expression, text)
    if match is None:
        raise InputError(
            "This model's chat template changes, repeats or leaves out the text of a turn, so "
            "its words cannot be found again. Use the prompt as plain text.",
            "prompt",
        )
    return text, [match.span(f"turn{i}") for i in range(len(turns))]


def _perhaps_trimmed(content: str) -> str:
    """A regular expression for `content` with or without the blanks around it."""
    core = content.strip()
    lead, _, trail = content.partition(core)
    return f"(?:{re.escape(lead)})?{re.escape(core)}(?:{re.escape(trail)})?"
