"""What an explanation says, in sentences a person can read aloud."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from reagent_core.explanation import Explanation, UnitScore
from reagent_core.wording import change, factor, interval, percent, quoted, visible

# A unit is named beside the strongest only if it has at least this share of its effect.
WORTH_NAMING = 0.25


def ranking(explanation: Explanation) -> list[int]:
    """Indices of the unprotected units, largest effect first; by score where no effect is known.

    Units whose effect is not known are left out as long as any is.
    """
    units = explanation.units
    free = [i for i, unit in enumerate(units) if not unit.protected]
    known = [(units[i].effect, i) for i in free]
    if all(effect is None for effect, _ in known):
        known = [(units[i].score, i) for i in free]
    ranked = [(value, i) for value, i in known if value is not None]
    return [i for _, i in sorted(ranked, key=lambda pair: (-pair[0], pair[1]))]


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
    sure = _sure(unit)
    return f"Without it {change(unit.effect, odds=odds)}{f' {sure}' if sure else ''}"


def summary(explanation: Explanation) -> str:
    """One sentence, or two short ones: what mattered most, how much, and how sure that is."""
    target = target_name(explanation)
    order = ranking(explanation)
    units = explanation.units
    running = _running(explanation)
    if not order or units[order[0]].effect is None:
        if running:
            return f"Still trying replacements: what matters for {target} cannot be told yet."
        return f"Too few steps were run to tell what mattered for {target}."
    names = _spoken_names(explanation)
    top = units[order[0]]
    opponent = min(order, key=lambda i: (units[i].effect or 0.0, i))
    if not _clearly_for(top):
        return _nothing_speaks_for(explanation, names, order[0], opponent)
    verb = "matters" if running else "mattered"
    lead = f"{names[order[0]]} {verb} most for {target}"
    if len(order) == 1:
        lead = f"{names[order[0]]} is the only part of the prompt that was replaced for {target}"
    first = f"{'So far, ' if running else ''}{lead}: {_what_replacing_does(explanation, top)}."
    return " ".join(filter(None, (first, _also(explanation, names, order, opponent))))


def fact_sentence(explanation: Explanation) -> str | None:
    """The plain fact about the strongest unit: what happened when it alone was replaced.

    None while no such replacement has been tried.
    """
    if not explanation.facts:
        return None
    fact, target = explanation.facts[0], explanation.target
    name = quoted(target.text)
    if is_whole_answer(explanation):
        name = "the chance of this answer"
    original = target.probability
    if target.instead_of is not None:
        name = f"the chance of {name} against {quoted(target.instead_of.text)}"
        both = original + target.instead_of.probability
        original = original / both if both else 0.5
    before, after = percent(original), percent(fact.probability)
    if before != after:
        verb = "falls" if fact.probability < original else "rises"
        happens = f"{verb} from {before} to {after}"
    elif before.startswith("under") and original > 0 and fact.probability > 0:
        # Too small for percentages, as the probability of a whole answer often is.
        name = name.removeprefix("the chance of ")
        happens = f"becomes {change(math.log(original / fact.probability))}"
    else:
        happens = (
            f"stays {before}" if before.startswith(("under", "over")) else (f"stays at {before}")
        )
    times = "replacement" if fact.draws == 1 else "replacements"
    unit = _spoken_names(explanation)[fact.unit]
    return f"With only {unit} replaced, {name} {happens} (mean over {fact.draws} {times})."


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


def _clearly_for(unit: UnitScore) -> bool:
    return unit.effect_low is not None and unit.effect_low > 0


def _clearly_against(unit: UnitScore) -> bool:
    return unit.effect_high is not None and unit.effect_high < 0


def _sure(unit: UnitScore) -> str:
    if unit.effect_low is None or unit.effect_high is None:
        return ""
    return f"(95% sure: {interval(unit.effect_low, unit.effect_high)})"


def _what_replacing_does(explanation: Explanation, unit: UnitScore) -> str:
    assert unit.effect is not None
    target, foil = explanation.target, explanation.target.instead_of
    if foil is not None:
        verb = "lowers" if unit.effect > 0 else "raises"
        odds = f"the odds of {quoted(target.text)} over {quoted(foil.text)}"
        told = f"replacing it {verb} {odds} {factor(unit.effect)}"
    else:
        name = "this answer" if is_whole_answer(explanation) else quoted(target.text)
        told = f"replacing it makes {name} {change(unit.effect)}"
    return f"{told} {_sure(unit)}".rstrip()


def _nothing_speaks_for(explanation: Explanation, names: list[str], top: int, opponent: int) -> str:
    units, target = explanation.units, target_name(explanation)
    so_far, nothing = ("So far, ", "nothing") if _running(explanation) else ("", "Nothing")
    if _clearly_against(units[opponent]):
        told = _what_replacing_does(explanation, units[opponent])
        return (
            f"{so_far}{nothing} in the prompt clearly speaks for {target}. "
            f"{names[opponent]} speaks against it: {told}."
        )
    if (units[top].effect or 0.0) <= 0:
        return f"{so_far}{nothing} in the prompt clearly speaks for or against {target}."
    return (
        f"{so_far}{nothing} stands out for {target}: what replacing {names[top]}, the strongest, "
        f"does cannot be told from chance {_sure(units[top])}".rstrip()
        + "."
    )


def _also(
    explanation: Explanation, names: list[str], order: list[int], opponent: int
) -> str | None:
    units = explanation.units
    least = WORTH_NAMING * (units[order[0]].effect or 0.0)
    following = [
        names[i] for i in order[1:3] if _clearly_for(units[i]) and (units[i].effect or 0.0) >= least
    ]
    if following:
        verb = ("comes" if len(following) == 1 else "come") if _running(explanation) else "came"
        return f"Next {verb} {' and '.join(following)}."
    if _clearly_against(units[opponent]) and -(units[opponent].effect or 0.0) >= least:
        foil = explanation.target.instead_of
        whom = f"for {quoted(foil.text)}" if foil is not None else "against it"
        return f"{names[opponent]} {'speaks' if _running(explanation) else 'spoke'} {whom}."
    return None


def _running(explanation: Explanation) -> bool:
    return explanation.status == "running"
