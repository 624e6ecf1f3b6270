"""Methods that replace units and look what becomes of the target: any model that has a scorer.

Captum has them for tensors: it puts one fixed baseline in place of a feature and runs one forward
for each step. Here replacements are drawn from the replacer (as in ReAGent, with which they are to
be compared), equal prompts are scored once, in batches, and a server will do. So these are loops
over the `Meter`.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace

import numpy as np

from reagent_core.baselines.case import Case, Found
from reagent_core.effects import CONFIDENCE, Effects, effects
from reagent_core.explanation import Explanation
from reagent_core.masks import GOLDEN, Purpose, generator, replacement_draws, unit_mask
from reagent_core.request import ModelInfo
from reagent_core.scorers.base import BoolArray, FloatArray

# Of a single random order nothing tells how far another would lead.
LEAST_ORDERS = 2

# The surrogate needs some in each fold. Values that differ by less than this (nats) only round.
LEAST_MASKS = 16
_EQUAL = 1e-5
_FOLDS = 4
_BOOTSTRAPS = 100
_ITERATIONS = 10_000


def leave_one_out(case: Case) -> Found:
    """effect_i = value of the original - mean value over replacements of unit i alone (nats).

    Li et al. 2016, with replacements in place of erasure. Intervals as those of ReAGent.
    """
    substitute, model = case.make_substitute()
    draws = max(1, case.budget // case.units)
    start = _numbers(case, Purpose.REPLACEMENT)
    alone = np.eye(case.units, dtype=bool)
    readings = [
        case.values(alone, (start + GOLDEN * draw) % 1.0, substitute) for draw in range(draws)
    ]
    bounded = np.stack([reading.bounded[:, 0] for reading in readings])
    found = effects(
        np.tile(alone, (draws, 1)),
        np.concatenate([reading.values for reading in readings]),
        np.array([case.original]),
        anchored=True,
        probes=np.zeros(draws * case.units, np.int64),
    )
    times = f"{draws} replacement{'' if draws == 1 else 's'}"
    told = Found.of_effects(
        found,
        f"Each {case.request.config.granularity} was replaced alone, by {times}.",
        at_least=np.asarray(bounded.any(0)) if case.targets.foil is None else None,
        bounded=int(bounded.sum()),
        replacer_model=model,
    )
    return replace(told, warnings=_over_budget(case, case.units, "replacing each alone"))


def shapley(case: Case) -> Found:
    """effect_i = mean over random orders of v(before i, and i) - v(before i), in nats.

    Castro et al. 2009, algorithm ApproShapley: v(S) is the value with all units but S replaced.
    In one order every place keeps its replacement, so that the gains of an order add up to what
    replacing everything costs. Intervals: Student's, over the orders.
    """
    substitute, model = case.make_substitute()
    n, orders = case.units, max(LEAST_ORDERS, case.budget // case.units)
    gains, bounded = np.zeros((orders, n)), 0
    for number in range(orders):
        order = generator(case.request.config.seed, Purpose.PERMUTATION, number).permutation(n)
        place = np.argsort(order)
        masks = place[None, :] >= np.arange(n)[:, None]  # row k: all but the first k are replaced
        readings = case.values(masks, _numbers(case, Purpose.PERMUTATION, number, 1), substitute)
        gains[number, order] = np.diff(readings.values[:, 0], append=case.original)
        bounded += int(readings.bounded.sum())
    error = gains.std(0, ddof=1) / np.sqrt(orders)
    # A few equal values look like certainty; they only have not varied yet (see `effects`).
    error = np.where((error == 0) & (orders < 5), np.nan, error)
    found = Effects(gains.mean(0)[None], error[None], np.full((1, n), orders - 1.0))
    told = f"{orders} random orders were drawn; the intervals tell how much that is worth."
    what = f"replacing them in {LEAST_ORDERS} random orders"
    return replace(
        Found.of_effects(found, told, bounded=bounded, replacer_model=model),
        warnings=_over_budget(case, LEAST_ORDERS * n, what),
    )


def surrogate(case: Case) -> Found:
    """effect_i = weight (nats) of "unit i is kept" in a LASSO of values on ReAGent's masks.

    After ContextCite (Cohen-Wang et al. 2024), which keeps half of its sources at random, takes
    the logit of the answer's probability and a fixed penalty. Here masks and log-probabilities are
    those of ReAGent's run of the request; with a budget, and where the run does not replace every
    unit, as many masks as the budget allows, drawn and replaced as its steps are. The penalty is
    the one that cross-validation favours. Intervals: percentiles of the bootstrap over masks at
    that penalty; they do not see that a LASSO makes all weights a little too small.

    Under `balanced` every mask replaces equally many units, so that "kept" has no level of its own:
    the line goes through the original prompt.
    """
    from sklearn.linear_model import Lasso, LassoCV
    from sklearn.model_selection import KFold

    run, config = case.find_run(), case.request.config
    if run is not None and len(run.trace) < LEAST_MASKS:
        run = None
    seen = _drawn_masks(case) if run is None else _masks_of(run, case)
    kept: FloatArray = -seen.masks.astype(float)
    values = seen.values - case.original
    count, weights = len(values), np.zeros(case.units)
    whose = "of ReAGent's run, whose cost is told here," if run else "drawn as ReAGent draws them,"
    told = f"The weights are fitted to {count} masks {whose}"
    low = high = weights
    if np.ptp(np.append(values, 0.0) if config.anchored else values) > _EQUAL:
        fitting = {"fit_intercept": not config.anchored, "max_iter": _ITERATIONS}
        chosen = LassoCV(cv=KFold(_FOLDS), **fitting).fit(kept, values)
        weights, penalty = np.asarray(chosen.coef_), float(chosen.alpha_)
        lasso = Lasso(alpha=penalty, **fitting)
        rows = generator(config.seed, Purpose.BOOTSTRAP).integers(count, size=(_BOOTSTRAPS, count))
        samples = np.stack([lasso.fit(kept[row], values[row]).coef_ for row in rows])
        low, high = np.quantile(samples, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
        told += f" and explain {_explained(kept, values, chosen):.0%} of the variance"
    else:
        told += " and are all zero"
    return Found(
        weights, f"{told}.", low, high, bounded=seen.bounded, replacer_model=seen.model, run=run
    )


@dataclass(frozen=True)
class _Seen:
    """`values` [K] (nats) with units `masks` [K, n] replaced, some of which are `bounded`, and the
    model that made the replacements."""

    masks: BoolArray
    values: FloatArray
    bounded: int
    model: ModelInfo | None


def _masks_of(run: Explanation, case: Case) -> _Seen:
    """The steps of a run, which has the units of the case."""
    column = {unit: i for i, unit in enumerate(case.context.free_units)}
    masks = np.zeros((len(run.trace), len(column)), bool)
    for row, step in enumerate(run.trace):
        masks[row, [column[unit] for unit in step.replaced]] = True
    values = np.array([step.value for step in run.trace])
    return _Seen(masks, values, sum(step.bounded for step in run.trace), run.replacer_model)


def _drawn_masks(case: Case) -> _Seen:
    """What ReAGent's first steps would replace, as many of them as the budget allows."""
    substitute, model = case.make_substitute()
    config, n, length = case.request.config, case.units, len(case.context.token_ids)
    places = [divmod(i, config.probes) for i in range(max(LEAST_MASKS, case.budget))]
    masks = np.stack([unit_mask(n, config, probe, step) for step, probe in places])
    draws = np.stack([replacement_draws(n, length, config, probe, step) for step, probe in places])
    readings = case.values(masks, draws, substitute)
    return _Seen(masks, readings.values[:, 0], int(readings.bounded.sum()), model)


def at_random(case: Case) -> Found:
    """U(0, 1) for every unit; other numbers for other prompts, or the random order would be one and
    the same throughout a data set."""
    text = zlib.crc32(case.context.text.encode("utf-8", "surrogatepass"))
    values = generator(case.request.config.seed, Purpose.RANDOM, text).random(case.units)
    return Found(values, "The numbers are random.")


def _over_budget(case: Case, least: int, what: str) -> tuple[str, ...]:
    """The warning that `what` takes more sequences than the budget has."""
    if least <= case.budget:
        return ()
    unit = case.request.config.granularity
    return (
        f"More than the budget of {case.budget:,} sequences was used: there are {case.units:,} "
        f"{unit}s, and {what} takes {least:,}.",
    )


def _numbers(case: Case, purpose: Purpose, *place: int) -> FloatArray:
    """Uniform numbers [L] that choose replacements."""
    return generator(case.request.config.seed, purpose, *place).random(len(case.context.token_ids))


def _explained(kept: FloatArray, values: FloatArray, model: object) -> float:
    return max(0.0, float(model.score(kept, values)))  # type: ignore[attr-defined]
