"""What an explanation says, in sentences a person can read aloud."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from reagent_core.baselines.methods import REAGENT
from reagent_core.config import is_published
from reagent_core.explanation import Explanation, UnitScore
from reagent_core.method_words import finding, strength
from reagent_core.significance import stands_out
from reagent_core.wording import change, factor, interval, percent, quoted, visible

# A unit is named beside the strongest only if it has at least this share of its effect (or score).
WORTH_NAMING = 0.25
# `percent` gives no figures below this probability.
TOO_SMALL_FOR_PERCENT = 1e-4

Measure = Literal["effect", "score"]


def main_measure(explanation: Explanation) -> Measure:
    """What colours, order and sentence go by: the score of the published procedure, with any
    replacer, the share of a method that tells no effect, else the effect."""
    if explanation.method != REAGENT:
        told = any(unit.effect is not None for unit in explanation.units)
        return "effect" if told else "score"
    return "score" if is_published(explanation.config) else "effect"


def ranking(
    explanation: Explanation, measure: Measure = "effect", ties: Sequence[int] | None = None
) -> list[int]:
    """Indices of the units that were replaced, largest effect (or score) first.

    By score (or attribution, see `strength`) where no effect is known; else units whose effect is
    not known are left out. The coarse units of a long prompt are ranked only while there are no
    others. `ties`: the place of each unit among those with equal numbers, by default that in the
    prompt.
    """
    units = explanation.units
    free = [i for i, unit in enumerate(units) if unit.stepped] or [
        i for i, unit in enumerate(units) if unit.coarse
    ]
    known = [(units[i].effect, i) for i in free]
    if measure == "score" or all(effect is None for effect, _ in known):
        known = [(strength(units[i]), i) for i in free]
    ranked = [(value, i) for value, i in known if value is not None]
    places = range(len(units)) if ties is None else ties
    return [i for _, i in sorted(ranked, key=lambda pair: (-pair[0], places[pair[1]]))]


def unit_names(units: Sequence[UnitScore]) -> list[str]:
    """A label for every unit, no two alike: equal texts get their number ("city (2)")."""
    shown = [visible(unit.text) for unit in units]
    total, seen, used = Counter(shown), Counter[str](), set(shown)
    names = []
    for name in shown:
        if total[name] > 1:
            seen[name] += 1
            numbered = f"{name} ({seen[name]})"
            while numbered in used:
                numbered += "'"
            used.add(numbered)
            name = numbered
        names.append(name)
    return names


def target_name(explanation: Explanation) -> str:
    """“Bangkok”, the answer “Bangkok, of course” or “Bangkok” rather than “Paris”."""
    name = quoted(explanation.target.text)
    foil = explanation.target.instead_of
    if foil is not None:
        return f"{name} rather than {quoted(foil.text)}"
    return f"the answer {name}" if is_whole_answer(explanation) else name


def is_whole_answer(explanation: Explanation) -> bool:
    """Whether the target is the whole of an answer of several tokens."""
    target, count = explanation.target, len(explanation.answer_tokens)
    return count > 1 and (target.answer_start, target.answer_stop) == (0, count)


def effect_words(unit: UnitScore, *, odds: bool = False) -> str | None:
    """ "Without it about 50 times less likely (95% sure: 20 to 120 times)"; None if not known."""
    if unit.effect is None:
        return None
    sure = _sure(unit, odds=odds)
    told = change(unit.effect, odds=odds, at_least=unit.at_least)
    return f"Without it {told}{f' {sure}' if sure else ''}"


def interval_words(unit: UnitScore, *, odds: bool = False) -> str | None:
    """The 95% interval of a unit's effect as "20 to 120 times"; None if not known."""
    if unit.effect_low is None or unit.effect_high is None:
        return None
    return interval(unit.effect_low, unit.effect_high, odds=odds, at_least=unit.at_least)


def summary(explanation: Explanation) -> str:
    """One sentence, or two or three short ones: what mattered most, how much, how sure that is.

    By the published score, then by effect, where the published procedure was run.
    """
    target, running = target_name(explanation), _running(explanation)
    by_score = ranking(explanation, "score")
    if explanation.method != REAGENT and main_measure(explanation) == "score" and by_score:
        return finding(explanation, by_score, _spoken_names(explanation), target)
    if main_measure(explanation) == "score" and len(by_score) > 1:
        return _by_score(explanation, by_score)
    order, units = ranking(explanation), explanation.units
    if not order or units[order[0]].effect is None:
        if running:
            return f"Still trying replacements: what matters for {target} cannot be told yet."
        return f"Too few steps were run to tell what mattered for {target}."
    names, clear = _spoken_names(explanation), _clearly_for(explanation, order)
    if not clear:
        return _nothing_speaks_for(explanation, names, order)
    top, verb = clear[0], "matters" if running else "mattered"
    lead = f"{names[top]} {verb} most for {target}"
    if top != order[0]:
        lead = f"{names[top]} clearly {verb} for {target}"
    if len(order) == 1:
        lead = f"{names[top]} is the only part of the prompt that was replaced for {target}"
    first = f"{'So far, ' if running else ''}{lead}: {_what_replacing_does(explanation, top)}."
    return " ".join(filter(None, (first, _also(explanation, names, order, clear))))


def fact_sentence(explanation: Explanation, place: int = 0) -> str | None:
    """The plain fact about the unit at `place` (0 for the strongest): what happened when it alone
    was replaced.

    None while no such replacement has been tried.
    """
    if not 0 <= place < len(explanation.facts):
        return None
    fact, target = explanation.facts[place], explanation.target
    name, chance = quoted(target.text), f"the chance of {quoted(target.text)}"
    original = target.value  # logarithm of the probability that the fact is compared with
    if is_whole_answer(explanation):
        name, chance = "this answer", "the chance of this answer"
    if target.instead_of is not None:
        name = f"{name} against {quoted(target.instead_of.text)}"
        chance = f"the chance of {name}"
        # Of the two texts alone; written so that exp() cannot overflow.
        original = min(original, 0.0) - math.log1p(math.exp(-abs(original)))
    spoken = name if name == quoted(target.text) else chance
    before, after = math.exp(original), fact.probability
    if max(before, after) >= TOO_SMALL_FOR_PERCENT:
        happens = f"{spoken} {_moves(before, after, at_most=fact.at_most)}"
    elif after > 0:
        # Too small for percentages, as the probability of a whole answer often is.
        told = change(original - math.log(after))
        happens = f"{name} {'stays' if told.startswith('about as') else 'becomes'} {told}"
    else:
        happens = f"{chance} stays too small to tell by how much it changes"
    times = "replacement" if fact.draws == 1 else "replacements"
    unit = _spoken_names(explanation)[fact.unit]
    return f"With only {unit} replaced, {happens} (mean over {fact.draws} {times})."


def _moves(before: float, after: float, *, at_most: bool = False) -> str:
    """ "falls from 42% to 0.4%" for two probabilities, the second perhaps only a bound."""
    # Probabilities of a model are never 0, only too small for a float.
    old, new = (percent(max(value, sys.float_info.min)) for value in (before, after))
    if old != new:
        to = "at most " if at_most else ""
        return f"{'falls' if after < before else 'rises'} from {old} to {to}{new}"
    return f"stays {old}" if old.startswith("over") else f"stays at {old}"


def _by_score(explanation: Explanation, by_score: list[int]) -> str:
    """The published score's finding; then that of the effects, where they tell one."""
    units, names = explanation.units, _spoken_names(explanation)
    top, second = by_score[:2]
    highest, next_score = units[top].score or 0.0, units[second].score or 0.0
    first = (
        f"{'So far, ' if _running(explanation) else ''}{names[top]} has the highest ReAGent score "
        f"for {target_name(explanation)} ({_score(highest)})"
    )
    if next_score >= WORTH_NAMING * highest:
        first += f", then {names[second]} ({_score(next_score)})"
    order = ranking(explanation)
    if order[0] not in _clearly_for(explanation, order):
        return f"{first}."
    told = _what_replacing_does(explanation, order[0])
    if order[0] == top:
        return f"{first}. By effect too: {told}."
    verb = "matters" if _running(explanation) else "mattered"
    return f"{first}. By effect, {names[order[0]]} {verb} most: {told}."


def _score(score: float) -> str:
    """Two digits, but no score short of all is rounded to 1."""
    return "over 0.99" if 0.995 <= score < 1 else f"{score:.2g}"


def _spoken_names(explanation: Explanation) -> list[str]:
    """Quoted texts; of equal ones it is said which is meant: “city” (the 2nd of 3)."""
    shown = [quoted(unit.text) for unit in explanation.units]
    total, seen = Counter(shown), Counter[str]()
    names = []
    for name in shown:
        seen[name] += 1
        many = total[name] > 1
        names.append(f"{name} (the {_ordinal(seen[name])} of {total[name]})" if many else name)
    return names


def _ordinal(number: int) -> str:
    teen = number % 100 in (11, 12, 13)
    return f"{number}{'th' if teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"


def _clearly_for(explanation: Explanation, order: Sequence[int]) -> list[int]:
    """Those of the ranked units `order` that speak for the target more than chance explains."""
    units, count = explanation.units, len(order)
    return [
        i
        for i in order
        if (effect := units[i].effect) is not None
        and effect > 0
        and (low := units[i].effect_low) is not None
        and stands_out(effect, low, count)
    ]


def _clear_opponent(explanation: Explanation, order: Sequence[int]) -> int | None:
    """The unit that speaks most against the target, if chance does not explain it."""
    opponent = min(order, key=lambda i: (explanation.units[i].effect or 0.0, i))
    effect, high = explanation.units[opponent].effect, explanation.units[opponent].effect_high
    if effect is None or effect >= 0 or high is None:
        return None
    return opponent if stands_out(effect, high, len(order)) else None


def _sure(unit: UnitScore, *, odds: bool) -> str:
    told = interval_words(unit, odds=odds)
    return f"(95% sure: {told})" if told else ""


def _what_replacing_does(explanation: Explanation, index: int) -> str:
    unit, target = explanation.units[index], explanation.target
    effect, foil = unit.effect or 0.0, target.instead_of
    if foil is not None:
        verb = "lowers" if effect > 0 else "raises"
        odds = f"the odds of {quoted(target.text)} over {quoted(foil.text)}"
        told = f"replacing it {verb} {odds} {factor(effect, at_least=unit.at_least)}"
    else:
        name = "this answer" if is_whole_answer(explanation) else quoted(target.text)
        told = f"replacing it makes {name} {change(effect, at_least=unit.at_least)}"
    return f"{told} {_sure(unit, odds=foil is not None)}".rstrip()


def _nothing_speaks_for(explanation: Explanation, names: list[str], order: list[int]) -> str:
    target, top = target_name(explanation), explanation.units[order[0]]
    so_far, nothing = ("So far, ", "nothing") if _running(explanation) else ("", "Nothing")
    opponent = _clear_opponent(explanation, order)
    if opponent is not None:
        told = _what_replacing_does(explanation, opponent)
        return (
            f"{so_far}{nothing} in the prompt clearly speaks for {target}. "
            f"{names[opponent]} speaks against it: {told}."
        )
    if (top.effect or 0.0) <= 0:
        return f"{so_far}{nothing} in the prompt clearly speaks for or against {target}."
    lead = f"{so_far}{nothing} stands out for {target}"
    if top.effect_low is not None and top.effect_low > 0:
        told = _what_replacing_does(explanation, order[0]).removeprefix("replacing it ")
        return (
            f"{lead}: replacing {names[order[0]]}, the strongest, {told}, but the strongest of "
            f"{len(order)} can come out like that by chance."
        )
    sure = _sure(top, odds=explanation.target.instead_of is not None)
    told = f"what replacing {names[order[0]]}, the strongest, does cannot be told from chance"
    return f"{lead}: {told} {sure}".rstrip() + "."


def _also(
    explanation: Explanation, names: list[str], order: list[int], clear: list[int]
) -> str | None:
    units, running = explanation.units, _running(explanation)
    if clear[0] != order[0]:
        return f"{names[order[0]]} may matter more, but that cannot be told from chance."
    least = WORTH_NAMING * (units[order[0]].effect or 0.0)
    following = [names[i] for i in order[1:3] if i in clear and (units[i].effect or 0.0) >= least]
    if following:
        verb = ("comes" if len(following) == 1 else "come") if running else "came"
        return f"Next {verb} {' and '.join(following)}."
    opponent = _clear_opponent(explanation, order)
    if opponent is not None and -(units[opponent].effect or 0.0) >= least:
        foil = explanation.target.instead_of
        whom = f"for {quoted(foil.text)}" if foil is not None else "against it"
        return f"{names[opponent]} {'speaks' if running else 'spoke'} {whom}."
    return None


def _running(explanation: Explanation) -> bool:
    return explanation.status == "running"
