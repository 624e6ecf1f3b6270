"""Numbers and token texts in words: factors, intervals, percentages, visible tokens."""

from __future__ import annotations

import math
import unicodedata

CAP = 1000
# Below this factor a change is not worth a number.
SAME = 1.05

_JOINERS = "\u200c\u200d"  # part of ordinary spelling and of emoji: invisible, but wanted


def visible(text: str) -> str:
    """A token as a label: one leading and trailing blanks trimmed, the rest made visible.

    Newline becomes ↵, tab ⇥, a lone blank ␣, other invisible characters their code point; a
    text with nothing to show (empty, or an incomplete UTF-8 character) becomes ∅.
    """
    if not text.replace("\ufffd", ""):
        return "∅"
    trimmed = text.strip(" ")
    if not trimmed:
        return "␣" * len(text)
    return "".join(_visible_character(character) for character in trimmed)


def quoted(text: str, limit: int = 60) -> str:
    """“text”, made visible and cut to `limit` characters.

    Right-to-left text is wrapped in isolates, so that it does not reorder the sentence around it.
    """
    shown = visible(text)
    if len(shown) > limit:
        shown = shown[: limit - 1].rstrip() + "…"
    if any(unicodedata.bidirectional(character) in ("R", "AL") for character in shown):
        shown = f"\u2068{shown}\u2069"
    return f"“{shown}”"


def percent(probability: float) -> str:
    """A probability in [0, 1] as "42%", "4.2%", "0.4%", "0.04%" or "under 0.01%"."""
    value = 100 * probability
    if value >= 100:
        return "100%"
    if value > 99.99:
        return "over 99.99%"
    if value < 0.01:
        return "under 0.01%" if value > 0 else "0%"
    digits = 2 if value < 0.095 or value >= 99.95 else 1 if value < 9.95 or value > 99 else 0
    return f"{value:.{digits}f}".removesuffix(".0") + "%"


def factor(effect: float, *, at_least: bool = False) -> str:
    """An effect in nats as "about 50 times"; the sign is left to the sentence around it."""
    times = _times(effect)
    if times > CAP:
        return f"over {CAP:,} times"
    if at_least and effect > 0:
        return f"at least {_number(times)} times"
    return f"about {_number(times)} times" if times >= SAME else f"less than {SAME} times"


def times_sign(effect: float) -> str:
    """The factor of `factor` for where there is little room: "×50", "over ×1,000"."""
    times = _times(effect)
    return f"over ×{CAP:,}" if times > CAP else f"×{_number(times)}"


def change(effect: float, *, odds: bool = False, at_least: bool = False) -> str:
    """What replacing does to the target: "about 50 times less likely", or "more likely" for a
    negative effect; for `odds` (against a foil) "about 50 times lower odds"."""
    less, more = ("lower odds", "higher odds") if odds else ("less likely", "more likely")
    if _times(effect) < SAME:
        return "about the same odds" if odds else "about as likely as before"
    return f"{factor(effect, at_least=at_least)} {less if effect > 0 else more}"


def interval(low: float, high: float, *, odds: bool = False, at_least: bool = False) -> str:
    """A 95% interval in nats as "20 to 120 times".

    Both bounds on one side of 0 are given without direction (the sentence has said it); an
    interval that contains 0 names both directions, of the odds if `odds` (against a foil). Of an
    effect that is `at_least` so large only the lower bound is known.
    """
    if at_least and low > 0:
        told = _bound(_times(low))
        return f"{told if told.startswith('over') else f'at least {told}'} times"
    if low > 0 or high < 0:
        near, far = sorted((_times(low), _times(high)))
        if near > CAP:
            return f"over {CAP:,} times"
        return f"{_bound(near)} to {_bound(far)} times"
    more, less = _times(low), _times(high)
    up, down, what = ("higher", "lower", "odds") if odds else ("more", "less", "likely")
    if max(more, less) < SAME:
        return "about the same odds" if odds else "about as likely"
    if more < SAME:
        return f"up to {_bound(less)} times {down} {what}"
    if less < SAME:
        return f"up to {_bound(more)} times {up} {what}"
    return f"from {_bound(more)} times {up} to {_bound(less)} times {down} {what}"


def _visible_character(character: str) -> str:
    if character == "\n":
        return "↵"
    if character == "\t":
        return "⇥"
    if character in _JOINERS or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co"):
        return character
    return f"U+{ord(character):04X}"


def _times(effect: float) -> float:
    # Far above CAP nothing but the cap is shown; the limit keeps exp() from overflowing.
    return math.exp(min(abs(effect), 700.0))


def _number(times: float) -> str:
    """Two significant digits, no exponent: 1.3, 5, 52, 350."""
    return f"{float(f'{times:.2g}'):,g}"


def _bound(times: float) -> str:
    if times > CAP:
        return f"over {CAP:,}"
    return _number(times) if times >= SAME else "1"
