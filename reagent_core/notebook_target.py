"""What the published notebook explained, and what became of it at each iteration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reagent_core.explanation import Alternative, AnswerToken
from reagent_core.notebook import Iteration, TokenProbability, refused
from reagent_core.notebook_checks import ROUNDING, BoolArray, FloatArray, check_unicode, share


@dataclass(frozen=True)
class Target:
    """What was explained. `answer`: the likeliest token of each position; the first is it."""

    text: str
    probability: float
    answer: tuple[AnswerToken, ...]


@dataclass(frozen=True)
class Tried:
    """The target under the replaced prompts, [K] each: its probability, whether that is only an
    upper bound, and d. `warnings`: what a reader must know about them."""

    probabilities: FloatArray
    bounded: BoolArray
    changes: FloatArray
    warnings: tuple[str, ...]


def target_of(rows: Sequence[Iteration], places: Sequence[str]) -> Target:
    """The likeliest token of the first generated position under the original prompt."""
    listed = rows[0].original_probs
    field = f"{places[0]}, original_probs"
    if not listed:
        raise refused(field, "it is missing, and with it which token the scores are about")
    tokens: list[AnswerToken] = []
    at = 0
    for position, candidates in enumerate(listed):
        if not candidates:
            raise refused(f"{field}[{position}]", "no token is listed")
        for j, each in enumerate(candidates):
            check_unicode(each.token, f"{field}[{position}][{j}].token")
        best = max(candidates, key=lambda each: each.prob)
        if best.prob <= 0:
            raise refused(f"{field}[{position}]", "all probabilities are 0")
        others = sorted((c for c in candidates if c is not best), key=lambda each: -each.prob)
        tokens.append(
            AnswerToken(
                text=best.token,
                start=at,
                end=at + len(best.token),
                token_id=-1,  # the file has none
                probability=min(best.prob, 1.0),
                alternatives=tuple(
                    Alternative(text=each.token, probability=min(each.prob, 1.0)) for each in others
                ),
            )
        )
        at += len(best.token)
    return Target(tokens[0].text, tokens[0].probability, tuple(tokens))


def tried_of(rows: Sequence[Iteration], places: Sequence[str], target: Target) -> Tried:
    """The target's probability at each iteration, from modified_probs or else prob_diff."""
    probabilities, bounded, changes = [], [], []
    off = inferred = 0
    for row, place in zip(rows, places, strict=True):
        diff = _difference(row, place)
        if row.modified_probs:
            probability, bound = _under(row.modified_probs[0], target, place)
        elif diff is not None:
            inferred += 1
            probability, bound = _from_difference(diff, row, target, place)
        else:
            raise refused(place, "it has neither modified_probs nor prob_diff")
        change = target.probability - probability if diff is None else diff
        taken = 0.0 if bound else probability  # by the notebook
        off += abs(target.probability - taken - change) > ROUNDING and (
            abs(target.probability - probability - change) > ROUNDING
        )
        probabilities.append(probability)
        bounded.append(bound)
        changes.append(change)
    count = len(rows)
    warnings = []
    if len(target.answer) > 1:
        warnings.append(
            f"The file holds {len(target.answer)} generated positions; the first one is explained."
        )
    if any(bounded):
        warnings.append(
            f"In {share(sum(bounded), count)} the target is not listed under the replaced prompt. "
            "The notebook's d and scores take its probability for 0 there; effects take it for "
            "the largest it can be."
        )
    if inferred:
        warnings.append(
            f"In {share(inferred, count)} there is no modified_probs; the target's probability was "
            "computed from prob_diff."
        )
    if off:
        warnings.append(
            f"In {share(off, count)} prob_diff is not the difference of the target's probabilities "
            "in the file; d is shown as the file has it, effects come from the probabilities."
        )
    others = sum(_another(row, target) for row in rows)
    if others:
        warnings.append(
            f"In {share(others, count)} the original prompt gave other probabilities than in the "
            "first iteration; the target and its probability are those of the first."
        )
    return Tried(np.array(probabilities), np.array(bounded), np.array(changes), tuple(warnings))


def _difference(row: Iteration, place: str) -> float | None:
    """d of the first generated position."""
    if row.prob_diff is None:
        return None
    if not row.prob_diff:
        raise refused(f"{place}, prob_diff", "it is empty")
    diff = row.prob_diff[0]
    if not -1 <= diff <= 1:
        raise refused(f"{place}, prob_diff", f"{diff:g} is not between -1 and 1")
    return diff


def _under(listed: Sequence[TokenProbability], target: Target, place: str) -> tuple[float, bool]:
    """The target's probability where these tokens are listed, and whether it is only a bound."""
    field = f"{place}, modified_probs[0]"
    if not listed:
        raise refused(field, "no token is listed")
    own = max((each.prob for each in listed if each.token == target.text), default=0.0)
    if own > 0:
        return min(own, 1.0), False
    # Not listed, or rounded to 0: less likely than any that is listed.
    least = min((each.prob for each in listed if each.prob > 0), default=0.0)
    if least <= 0:
        raise refused(field, "all probabilities are 0")
    return min(least, 1.0), True


def _from_difference(diff: float, row: Iteration, target: Target, place: str) -> tuple[float, bool]:
    probability = target.probability - diff
    if probability > 1 + ROUNDING:
        raise refused(
            f"{place}, prob_diff", f"with it the probability would be {probability:.4g}, above 1"
        )
    # What is a difference of rounded numbers is not told from 0 below their last digits.
    if probability > 1e-9:
        return min(probability, 1.0), False
    # Not among N listed tokens: those and the target are N + 1, and it is the least likely.
    listed = len((row.original_probs or [[]])[0]) or 1
    return 1 / (listed + 1), True


def _another(row: Iteration, target: Target) -> bool:
    if not row.original_probs or not row.original_probs[0]:
        return False
    best = max(row.original_probs[0], key=lambda each: each.prob)
    return best.token != target.text or abs(best.prob - target.probability) > ROUNDING
