"""Several methods on one target of one prompt: their agreement, their faithfulness, their cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import kendalltau

from reagent_core.baselines.attribute import attribute, finished_run
from reagent_core.baselines.compared import (
    Faithful,
    MethodResult,
    MethodsCompared,
    Refused,
    numbers,
    on_same_units,
    result_key,
)
from reagent_core.baselines.methods import REAGENT, label_of, method_named
from reagent_core.check import DRAWS
from reagent_core.checker import order_of, other_replacer, soft_if_it_fits
from reagent_core.config import ReplacerName
from reagent_core.continued import answer_before
from reagent_core.erasure import erased, plan, read
from reagent_core.errors import InputError, OutOfMemory, ReagentError
from reagent_core.explain import shared_prefix
from reagent_core.explanation import Explanation
from reagent_core.faithfulness import faithfulness
from reagent_core.meter import Meter
from reagent_core.rebuild import rebuilt
from reagent_core.replacers.choose import make_replacer
from reagent_core.request import Request, WholeAnswer
from reagent_core.scorers.base import FloatArray, GeneratedToken, Scorer, never
from reagent_core.sentences import main_measure
from reagent_core.trust import standing


@dataclass(frozen=True)
class CompareProgress:
    """What is being done: `done` of `total` parts; the last one has the result.

    `found`: the methods that have explained the target; how faithful they are lands after that,
    one method after the other, for it is judged on the units that all of them rank.
    """

    doing: str
    done: int
    total: int
    found: tuple[MethodResult, ...] = ()
    compared: MethodsCompared | None = None


def compare_methods(
    names: Sequence[str],
    request: Request,
    scorer: Scorer,
    *,
    budget: int | None = None,
    draws: int = DRAWS,
    cancelled: Callable[[], bool] = never,
    answered: Sequence[GeneratedToken] = (),
) -> Iterator[CompareProgress]:
    """Run methods on the target of `request`, which must be one; yields before each, then before
    each is judged, and at last the comparison.

    `names`: of `METHODS`, or "reagent"; all explain the same answer, which is `answered` where
    somebody has asked the model already. `budget`: see `attribute`. `draws`: replacements of each
    order of the faithfulness. Methods that the model does not allow, or for which there is too
    little memory, are `refused`: the others go on.

    Raises:
        InputError: no such method, the target is a whole answer, the request cannot be carried out,
            or not by any of these methods.
        ModelError: the model failed.
        Cancelled: `cancelled()` became true.
    """
    if isinstance(request.target, WholeAnswer):
        raise InputError("Methods are compared on one target. Choose a part of it.", "target")
    wanted = list(dict.fromkeys(names))
    refused = []
    for name in [name for name in wanted if name != REAGENT]:
        method = method_named(name)
        if (reason := method.can(scorer)) is not None:
            refused.append(Refused(method=name, label=method.label, reason=reason))
            wanted.remove(name)
    if not wanted:
        raise InputError(f"None of these methods can be used. {refused[0].reason}", "settings")
    made: list[MethodResult] = []
    total = 2 * len(wanted)
    failed: list[ReagentError] = []
    run: Explanation | None = None
    for number, name in enumerate(wanted):
        yield CompareProgress(label_of(name), number, total, tuple(made))
        try:
            if name == REAGENT:
                explanation = run = finished_run(request, scorer, cancelled, answered)
            else:
                explanation = attribute(
                    method_named(name), request, scorer, cancelled, answered=answered,
                    budget=budget, run=run,
                )  # fmt: skip
        except (InputError, OutOfMemory) as error:
            if isinstance(error, InputError) and error.field != "settings":
                raise  # about prompt or target: no other method can do better
            failed.append(error)
            refused.append(Refused(method=name, label=label_of(name), reason=str(error)))
            continue
        answered = answered or answer_before(explanation)
        key = result_key(name, explanation, request, budget)
        made.append(
            MethodResult(method=name, label=label_of(name), key=key, explanation=explanation)
        )
    if not made:
        raise failed[0]
    explanations = [result.explanation for result in made]
    replacer = other_replacer(explanations[0], scorer)
    judged = faithful_all(explanations, scorer, replacer, draws, cancelled)
    faithful: list[Faithful | None] = []
    for place, result in enumerate(made):
        doing = f"Faithfulness of {result.label}"
        yield CompareProgress(doing, total - len(made) + place, total, tuple(made))
        faithful.append(next(judged))
        made[place] = result.model_copy(update={"faithful": faithful[-1]})
    compared = MethodsCompared(
        results=tuple(made),
        refused=tuple(refused),
        agreement=agreement(explanations),
        replacer=replacer,
        draws=draws,
        budget=budget,
        notes=(*_long_prompt(explanations), *_notes(faithful)),
    )
    yield CompareProgress("Done", total, total, tuple(made), compared)


def _long_prompt(explanations: Sequence[Explanation]) -> tuple[str, ...]:
    """What is not compared of a long prompt."""
    fewest = min(explanations, key=lambda each: len(each.units))
    most = max(explanations, key=lambda each: len(each.units))
    if len(fewest.units) == len(most.units):
        return ()
    unit, some, every = (
        fewest.config.granularity,
        *(sum(unit.stepped for unit in each.units) for each in (fewest, most)),
    )
    return (
        f"This prompt is long: ReAGent chose {some} of its {every} {unit}s to look at one by one. "
        f"Faithfulness and agreement of all methods are about these {some}; all else stayed as it "
        "is.",
    )


def _notes(faithful: Sequence[Faithful | None]) -> tuple[str, ...]:
    """What to know before comparing, each sentence once."""
    known = [each for each in faithful if each is not None]
    return tuple(dict.fromkeys(note for each in known for note in each.notes))


def agreement(explanations: Sequence[Explanation]) -> tuple[tuple[float | None, ...], ...]:
    """Kendall's tau-b (Kendall 1945) between explanations of one context, each with each, over the
    units that all of them rank."""
    all_numbers = [numbers(each) for each in on_same_units(explanations)]
    common = [
        i for i in range(len(all_numbers[0])) if all(each[i] is not None for each in all_numbers)
    ]
    columns = [np.array([each[i] for i in common], float) for each in all_numbers]
    return tuple(tuple(_tau(one, other) for other in columns) for one in columns)


def _tau(one: FloatArray, other: FloatArray) -> float | None:
    if len(one) < 2 or not np.ptp(one) or not np.ptp(other):
        return None
    return float(kendalltau(one, other).statistic)


def faithful_all(
    explanations: Sequence[Explanation],
    scorer: Scorer,
    replacer: ReplacerName,
    draws: int = DRAWS,
    cancelled: Callable[[], bool] = never,
) -> Iterator[Faithful | None]:
    """The faithfulness of each of several explanations of one context, as in `check`: yields each
    as soon as it is judged, in the given order; None for each where all rank fewer than two units.

    All are replaced by the same draws and compared with the same random orders, which are read
    once. Of a long prompt the units are ordered that all of them rank (see `on_same_units`).
    """
    scorer = scorer.for_run(cancelled)
    explanations = on_same_units(explanations)
    orders = [order_of(each, main_measure(each)) for each in explanations]
    common = set(orders[0]).intersection(*orders)
    if len(common) < 2:
        yield from [None] * len(orders)
        return
    prompt, targets = rebuilt(explanations[0], scorer, common)
    config = explanations[0].config.model_copy(update={"replacer": replacer})
    substitute = make_replacer(config, scorer, cancelled).prepare(prompt)
    meter = Meter(scorer, targets, cancelled, None, shared_prefix(prompt, scorer))
    original = float(meter.read(np.asarray([prompt.token_ids], np.int64)).values[0, 0])
    column = {unit: i for i, unit in enumerate(prompt.free_units)}
    for explanation, order in zip(explanations, orders, strict=True):
        planned = plan(np.array([column[i] for i in order if i in common], np.int64), draws, 0)
        parts = list(read(prompt, planned, substitute, meter, 0))
        values = np.concatenate([part.values[:, 0] for part in parts])
        found = faithfulness(erased(planned, values), original, targets)
        soft = soft_if_it_fits(explanation, prompt, targets, scorer, cancelled=cancelled)
        deletion, insertion, contest = found.deletion, found.insertion, found.contest
        yield Faithful(
            area=insertion.area - deletion.area,
            deletion_area=deletion.area,
            insertion_area=insertion.area,
            random_area=insertion.random_area - deletion.random_area,
            beaten=contest.beaten,
            orders=contest.orders,
            standing=standing(contest),
            mean=found.mean,
            soft=soft.measures,
            soft_missing=soft.missing,
            notes=soft.notes,
        )
