"""Colours of a strip: how a weight looks on a light and on a dark page.

Blue speaks for the target, orange against it: the pair that every common kind of colour
blindness keeps apart. Weights are shown in `LEVELS` steps a side, so the whole palette is a
short style sheet and a change of weight is a change of class.
"""

from __future__ import annotations

from typing import NamedTuple

LEVELS = 10

Rgb = tuple[int, int, int]


class Swatch(NamedTuple):
    """Background and text colour of one token, as `#rrggbb`."""

    background: str
    text: str


# The far ends are as strong as they can be while one text colour stays readable on the whole
# ramp; a text colour that flips half-way would draw the eye to the flip.
_PAPER: dict[bool, Rgb] = {False: (255, 255, 255), True: (14, 17, 23)}
_INK: dict[bool, Rgb] = {False: (17, 20, 26), True: (255, 255, 255)}
_FOR: dict[bool, Rgb] = {False: (74, 144, 226), True: (38, 104, 190)}
_AGAINST: dict[bool, Rgb] = {False: (242, 142, 43), True: (176, 86, 0)}


def level(weight: float) -> int:
    """The step that shows a weight in [-1, 1]: -LEVELS to LEVELS; weights outside are clipped."""
    return round(max(-1.0, min(1.0, weight)) * LEVELS)


def swatch(weight: float, *, dark: bool) -> Swatch:
    """Background and text for a weight in [-1, 1]; their contrast is at least 4.5 to 1."""
    step = level(weight)
    end = _FOR[dark] if step >= 0 else _AGAINST[dark]
    share = abs(step) / LEVELS
    mixed = tuple(round(a + (b - a) * share) for a, b in zip(_PAPER[dark], end, strict=True))
    return Swatch(_hex(mixed), _hex(_INK[dark]))


def contrast(first: str, second: str) -> float:
    """WCAG 2 contrast ratio of two `#rrggbb` colours, 1 to 21."""
    high, low = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def palette_css() -> str:
    """The style sheet of all levels: classes `p1` to `p10` (for) and `n1` to `n10` (against).

    `light-dark()` follows the page's `color-scheme`; the line before it is for browsers that do
    not know it yet.
    """
    rules = []
    for step in (*range(-LEVELS, 0), *range(1, LEVELS + 1)):
        name = f"{'p' if step > 0 else 'n'}{abs(step)}"
        light, dark = (swatch(step / LEVELS, dark=dark) for dark in (False, True))
        rules.append(
            f".strip .{name}{{"
            f"background-color:{light.background};color:{light.text};"
            f"background-color:light-dark({light.background},{dark.background});"
            f"color:light-dark({light.text},{dark.text})}}"
        )
    return "\n".join(rules)


def _hex(colour: tuple[int, ...]) -> str:
    return "#" + "".join(f"{part:02x}" for part in colour)


def _luminance(colour: str) -> float:
    linear = []
    for at in (1, 3, 5):
        part = int(colour[at : at + 2], 16) / 255
        linear.append(part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4)
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
