"""What a comparison says, in sentences and in the cells of its table."""

from __future__ import annotations

from collections.abc import Sequence

from reagent_core.alignment import Kind
from reagent_core.baselines.methods import label_of
from reagent_core.comparison import (
    ComparedWord,
    Comparison,
    Difference,
    Word,
    by_several_methods,
    what_differs,
)
from reagent_core.explanation import Alternative, AnswerToken, Explanation
from reagent_core.sentences import TOO_SMALL_FOR_PERCENT, target_name
from reagent_core.wording import change, factor, interval, percent, quoted

# More words than these are not spelled out in a sentence.
MOST_NAMED = 2

WITHIN_NOISE = "within the noise"
KINDS: dict[Kind, str] = {
    "same": "",
    "changed": "changed",
    "moved": "moved",
    "added": "added",
    "missing": "missing",
}


def answers_sentence(comparison: Comparison) -> str:
    """Who answers what, and how sure each model is of it: "The answers differ: “good” in A (73%)
    and B (49%), “bad” in C (19%)."."""
    explanations, letters = comparison.explanations, comparison.letters
    groups: dict[str, list[int]] = {}
    for i, each in enumerate(explanations):
        groups.setdefault(_plain(each), []).append(i)
    chances = [percent(each.target.probability) for each in explanations]
    if len(groups) == 1:
        told = _listed([f"{chance} in {letters[i]}" for i, chance in enumerate(chances)])
        if len(set(chances)) == 1:
            told = f"{chances[0]} in {'both' if len(explanations) == 2 else 'all'}"
        return f"The chance of {target_name(explanations[0])} is {told}."
    answers = [
        f"{_said(explanations[group[0]])} in "
        + _listed([f"{letters[i]} ({chances[i]})" for i in group])
        for group in groups.values()
    ]
    lead = "The answers differ" if all(map(_opens, explanations)) else "What is shown differs"
    return f"{lead}: {', '.join(answers)}."


def answer_change(comparison: Comparison, column: int) -> str:
    """What became of the answer between the first prompt (or model, or run) and this one: "Adding
    “politely” makes the model answer “Paris” with 84% instead of 41%."."""
    first, other = comparison.explanations[0], comparison.explanations[column]
    what = what_differs((first, other))
    if what == "prompts":
        return _prompt_change(comparison, column)
    if what == "models":
        return _model_change(comparison, column)
    if _plain(first) != _plain(other):
        return _shown_differ(comparison, column)
    chance = f"the chance of {target_name(other)} is {percent(other.target.probability)} as before"
    if what == "settings":
        return f"The same with other settings: {chance}; only how it is explained may differ."
    if what == "methods":
        return (
            f"The same, explained by {label_of(other.method)} in place of "
            f"{label_of(first.method)}: {chance}; only how it is explained differs."
        )
    if what == "seeds":
        return f"The same with another seed: {chance}; what differs is the noise of the method."
    return f"The same run as {comparison.letters[0]}: {chance}."


def differences_sentence(comparison: Comparison) -> str:
    """Which word differs most beyond the noise, or that none does."""
    compared = [row for row in comparison.rows if any(each is not None for each in row.differences)]
    if by_several_methods(comparison.explanations):
        told = [
            f"{letter} by {label_of(each.method)}"
            for letter, each in zip(comparison.letters, comparison.explanations, strict=False)
        ]
        return f"Words are not compared: the methods differ, {_listed(told)}."
    if not compared:
        return (
            f"No word of {comparison.letters[0]} can be compared: the others lack it, or how sure "
            "its effects are is not known."
        )
    clear = [row for row in comparison.sorted_rows if row.clear]
    if not clear:
        return (
            f"No word matters clearly more or less than in {comparison.letters[0]}: all "
            "differences lie within the noise."
        )
    count = f"{len(clear)} of {len(compared)} words differ beyond the noise"
    if len(clear) == 1:
        count = f"One of {len(compared)} words differs beyond the noise"
    row = clear[0]
    column = max(
        (i for i, each in enumerate(row.differences) if each is not None and each.clear),
        key=lambda i: abs(row.differences[i].value),  # type: ignore[union-attr]
    )
    difference = row.differences[column]
    assert difference is not None
    base, where, name = comparison.letters[0], comparison.letters[column], row_name(row, column)
    sides = {
        "for": f"in {where} it speaks {_ratio(difference)} for the answer",
        "against": f"in {where} it speaks {_ratio(difference)} against the answer",
        "turned_for": f"in {where} it speaks for the answer, in {base} against it",
        "turned_against": f"in {where} it speaks against the answer, in {base} for it",
    }
    return f"{count}. Most of all {name}: {sides[difference.side]}."


def row_name(row: ComparedWord, column: int | None = None) -> str:
    """The word of a row, as the first prompt has it; for a `column` that has another in its place
    both words (“cold” in place of “warm”)."""
    first = next(word for word in row.words if word is not None)
    other = row.words[column] if column is not None else None
    if other is None or other.kind != "changed":
        return quoted(first.text)
    return f"{quoted(other.text)} in place of {quoted(first.text)}"


def effect_cell(word: Word, *, odds: bool = False) -> tuple[str, str]:
    """The effect as a factor, and its interval: ("50 times less likely", "20 to 120 times")."""
    if word.effect is None:
        return "not known", ""
    told = change(word.effect, odds=odds, at_least=word.at_least).removeprefix("about ")
    if word.low is None or word.high is None:
        return told, ""
    return told, interval(word.low, word.high, odds=odds, at_least=word.at_least)


def difference_cell(difference: Difference, base: str) -> str:
    """ "5 times more than in A (2 to 12 times)", "5 times more against than in A (...)", that it
    is the other way round in A, or that it is within the noise."""
    if not difference.clear:
        return WITHIN_NOISE
    if difference.side == "turned_for":
        return f"for the answer, in {base} against it"
    if difference.side == "turned_against":
        return f"against the answer, in {base} for it"
    sure = interval(difference.low, difference.high)
    against = " against" if difference.side == "against" else ""
    return f"{_ratio(difference).removeprefix('about ')}{against} than in {base} ({sure})"


def elsewhere(first: Explanation, other: Explanation) -> float | None:
    """How likely the other prompt makes the first's target, in [0, 1], where both open their
    answers and it is the other's first token or among its alternatives; else None.

    Only a target of one token is found: of a longer one a token tells the beginning alone. The
    other's own target may be longer, and begin with it.
    """
    single = len(first.target.token_ids) == 1 and first.target.answer_start == 0
    wanted = first.target.text.strip().casefold()
    if not (single and wanted and other.answer_tokens) or _plain(first) == _plain(other):
        return None
    opening = other.answer_tokens[0]
    tokens: list[AnswerToken | Alternative] = [opening, *opening.alternatives]
    for token in tokens:
        if token.text.strip().casefold() == wanted:
            return token.probability
    return None


def _prompt_change(comparison: Comparison, column: int) -> str:
    first, other = comparison.explanations[0], comparison.explanations[column]
    lead, many = _what_was_done(comparison, column)
    make = "make" if many else "makes"
    if _plain(first) == _plain(other):
        told = _chances(first, other)
        if told is None:
            leave = "leave" if many else "leaves"
            return f"{lead} {leave} {_said(first)} at {percent(first.target.probability)}."
        if first.target.answer_start is None:
            return f"{lead} {make} {_said(first)} {told}."
        verb = "answer" if _opens(first) and _opens(other) else "say"
        return f"{lead} {make} the model {verb} {_said(other)} {told}."
    if not (_opens(first) and _opens(other)):
        return _shown_differ(comparison, column)
    sentence = (
        f"{lead} {make} the model answer {_said(other)} ({percent(other.target.probability)}) "
        f"instead of {_said(first)} ({percent(first.target.probability)})."
    )
    return f"{sentence} {_the_other_way(comparison, column)}"


def _the_other_way(comparison: Comparison, column: int) -> str:
    """How likely each of two answers is where the other one was given, as far as that is known."""
    first, other = comparison.explanations[0], comparison.explanations[column]
    here, there = comparison.letters[column], comparison.letters[0]
    still, before = elsewhere(first, other), elsewhere(other, first)
    if still is None and before is None:
        return (
            f"How likely {_said(first)} is in {here} and {_said(other)} in {there} is not known: "
            "explain the same target in both to learn it."
        )
    told = [
        f"how likely {_said(answer)} is in {letter} is not known"
        if chance is None
        else f"{_said(answer)} has {percent(chance)} in {letter}"
        for answer, letter, chance in ((first, here, still), (other, there, before))
    ]
    sentence = "; ".join(sorted(told, key=lambda each: each.startswith("how likely")))
    return f"{sentence}."


def _shown_differ(comparison: Comparison, column: int) -> str:
    first, other = comparison.explanations[0], comparison.explanations[column]
    return f"Shown here is {_said(other)}, but {_said(first)} in {comparison.letters[0]}."


def _model_change(comparison: Comparison, column: int) -> str:
    first, other = comparison.explanations[0], comparison.explanations[column]
    name, base = quoted(other.model.id), quoted(first.model.id)
    if name == base:
        name, base = "This version of the model", "the other"
    if _plain(first) != _plain(other):
        sentence = (
            f"{name} answers {_said(other)} ({percent(other.target.probability)}), {base} "
            f"{_said(first)} ({percent(first.target.probability)})."
        )
        opens = _opens(first) and _opens(other)
        return f"{sentence} {_the_other_way(comparison, column)}" if opens else sentence
    before, after = percent(first.target.probability), percent(other.target.probability)
    if before == after:
        return f"{name} gives {_said(other)} {after}, as {base} does."
    return f"{name} gives {_said(other)} {after}, {base} {before}."


def _chances(first: Explanation, other: Explanation) -> str | None:
    """ "with 84% instead of 41%"; a factor where percentages tell nothing, None where they are
    the same."""
    before, after = first.target.probability, other.target.probability
    given = first.target.answer_start is None
    if max(before, after) < TOO_SMALL_FOR_PERCENT:
        told = change(first.target.value - other.target.value)
        return None if told.startswith("about as") else told
    if percent(before) == percent(after):
        return None
    if given:
        return f"{percent(after)} likely instead of {percent(before)}"
    return f"with {percent(after)} instead of {percent(before)}"


def _what_was_done(comparison: Comparison, column: int) -> tuple[str, bool]:
    """ "Adding “politely”" or "Replacing “hot” by “cold”", and whether that is a plural."""
    added, moved, changed, missing = [], [], [], []
    for row in comparison.rows:
        word, first = row.words[column], row.words[0]
        if word is None:
            missing += [quoted(first.text)] if first is not None else []
        elif word.kind == "added":
            added.append(quoted(word.text))
        elif word.kind == "moved":
            moved.append(quoted(word.text))
        elif word.kind == "changed" and first is not None:
            changed.append(f"{quoted(first.text)} by {quoted(word.text)}")
    lists = {"replacing": changed, "leaving out": missing, "adding": added, "moving": moved}
    parts = [
        f"{verb} {_listed(words) if len(words) <= MOST_NAMED else f'{len(words)} words'}"
        for verb, words in lists.items()
        if words
    ]
    if not 1 <= len(parts) <= MOST_NAMED:
        return f"The changes in {comparison.letters[column]}", True
    lead = " and ".join(parts)
    return lead[0].upper() + lead[1:], len(parts) > 1


def _ratio(difference: Difference) -> str:
    more = (difference.value > 0) == (difference.side != "against")
    return f"{factor(difference.value)} {'more' if more else 'less'}"


def _said(explanation: Explanation) -> str:
    """The target as something that is said: the answer, too, is only quoted."""
    foil = explanation.target.instead_of
    name = quoted(explanation.target.text)
    return name if foil is None else f"{name} rather than {quoted(foil.text)}"


def _plain(explanation: Explanation) -> str:
    foil = explanation.target.instead_of
    texts = [explanation.target.text, *([] if foil is None else [foil.text])]
    return "\0".join(text.strip().casefold() for text in texts)


def _opens(explanation: Explanation) -> bool:
    """Whether the target is how the answer begins."""
    return explanation.target.answer_start == 0


def _listed(parts: Sequence[str]) -> str:
    """ "a, b and c"."""
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))
