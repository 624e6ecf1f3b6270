"""How faithful an order of units is: comprehensiveness, sufficiency, deletion and insertion curves.

Units are replaced the strongest first (deletion), or all but the strongest (insertion), and the
target is read after each. For the two scales, nats and left, see `check`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reagent_core.check import Curve, Erasure, Estimate, ShareErasure
from reagent_core.erasure import SHARES, Erased, share_units
from reagent_core.explanation import Explanation
from reagent_core.keys import key_places
from reagent_core.masks import Purpose, generator
from reagent_core.scorers.base import FloatArray, IntArray
from reagent_core.sentences import Measure, ranking
from reagent_core.target import Targets
from reagent_core.trust import Contest

_CONFIDENCE = 0.95
_BAND = (0.05, 0.95)

# So many equal draws are taken for certain; rounding makes equal ones differ by less than this.
_ENOUGH, _EQUAL = 5, 1e-4


@dataclass(frozen=True)
class Faithfulness:
    """All that replacing in an order told about it, beside random orders."""

    deletion: Curve
    insertion: Curve
    shares: tuple[ShareErasure, ...]
    mean: Erasure
    contest: Contest


def faithfulness(erased: Erased, original: float, targets: Targets) -> Faithfulness:
    """The measures of an order from what was read.

    `erased`: values in nats; `original`: that of the one target under the whole prompt, in nats.
    Comprehensiveness and sufficiency (DeYoung et al. 2020, ERASER) are in nats and as shares lost
    in [0, 1], see `erasures`; the curves (Petsiuk et al. 2018, RISE, deletion and insertion) in
    nats and as left in [0, 1], with areas in [0, 1]. Which of two orders is better is told by the
    area between insertion and deletion curve, in [-1, 1]: it is large where the target is lost soon
    without the strongest units, and there soon with them alone.
    """
    low, high = targets.spans[0]
    values = (erased.deletion, erased.insertion, erased.random_deletion, erased.random_insertion)
    deleted, inserted, *_ = (value - original for value in values)
    deleted_left, inserted_left, random_deleted, random_inserted = (
        left(value, original, tokens=high - low, foil=targets.foil is not None) for value in values
    )
    at = erased.at
    deletion = _curve(deleted, deleted_left, random_deleted, at, erased.random_at)
    insertion = _curve(inserted, inserted_left, random_inserted, at, erased.random_at)
    each, mean = erasures(deleted, inserted, deleted_left, inserted_left, at)
    between = area(random_inserted, erased.random_at) - area(random_deleted, erased.random_at)
    return Faithfulness(
        deletion,
        insertion,
        each,
        mean,
        Contest(
            units=int(at[-1]),
            beaten=int((between < insertion.area - deletion.area).sum()),
            orders=len(between),
            faster=deletion.random_area / deletion.area,
            half=units_to_half(deletion.left, at.tolist()),
            left_at_end=deletion.left[-1],
        ),
    )


def left(values: FloatArray, original: float, *, tokens: int, foil: bool) -> FloatArray:
    """The share [...] of a target's probability that is left, in [0, 1], 1 where it rose: our own
    scale (see `check`), which makes targets of few and of many tokens comparable.

    `values` [...] and `original` in nats; `tokens`: how many the target has, at least 1. With a
    `foil` values are log-odds, and the probability is that of the target among the two; `tokens`
    does not count then.
    """
    if foil:
        ratio = np.logaddexp(0.0, -original) - np.logaddexp(0.0, -values)
    else:
        ratio = (values - original) / tokens
    return np.asarray(np.exp(np.minimum(ratio, 0.0)))


def area(curves: FloatArray, at: IntArray) -> FloatArray:
    """Area [...] in [0, 1] under curves [..., K] in [0, 1], after Petsiuk et al. 2018 (RISE).

    `at` [K]: how many units each point stands for, ascending from 0 to n, at least two points. Over
    the share of units, by the trapezoidal rule, so that a deletion curve, which begins at 1, has at
    least half the share of its first step.
    """
    return np.asarray(np.trapezoid(curves, at / at[-1], axis=-1))


def _curve(
    changes: FloatArray, shares: FloatArray, random_shares: FloatArray, at: IntArray,
    random_at: IntArray,
) -> Curve:  # fmt: skip
    """Changes in nats and left [D, K] over D draws, and left [R, k] of random orders.

    Areas compare like with like: all of them are of the curves at the k points `random_at`.
    """
    low, high = np.quantile(random_shares, _BAND, axis=0)
    areas = area(random_shares, random_at)
    compared = np.searchsorted(at, random_at)
    area_low, area_high = np.quantile(areas, _BAND)
    return Curve(
        left=_floats(shares.mean(0)),
        nats=_floats(changes.mean(0)),
        random_mean=_floats(np.interp(at, random_at, random_shares.mean(0))),
        random_low=_floats(np.interp(at, random_at, low)),
        random_high=_floats(np.interp(at, random_at, high)),
        area=float(area(shares.mean(0)[compared], random_at)),
        random_area=float(areas.mean()),
        random_area_low=float(area_low),
        random_area_high=float(area_high),
    )


def erasures(
    deleted: FloatArray, inserted: FloatArray, deleted_left: FloatArray, inserted_left: FloatArray,
    at: IntArray,
) -> tuple[tuple[ShareErasure, ...], Erasure]:  # fmt: skip
    """Comprehensiveness and sufficiency at the `SHARES`, and their mean over these.

    After DeYoung et al. 2020 (ERASER, section 4), who take p0 - p in place of a difference of
    logarithms, remove tokens in place of replacing them, and call the mean AOPC. `deleted` and
    `inserted` [D, K]: changes in nats over D draws at the points `at` [K], ascending to n units;
    `_left` [D, K] as left, in [0, 1]. Losses in nats have no bounds, and are below 0 where the
    target became likelier; as shares they are in [0, 1].
    """
    n = int(at[-1])
    columns = [int(np.searchsorted(at, share_units(n, share))) for share in SHARES]
    losses = (-deleted, -inserted, 1 - deleted_left, 1 - inserted_left)
    each = tuple(
        ShareErasure(share=share, units=share_units(n, share), **_erasure(losses, [column]))
        for share, column in zip(SHARES, columns, strict=True)
    )
    return each, Erasure(**_erasure(losses, columns))


def _erasure(losses: Sequence[FloatArray], columns: list[int]) -> dict[str, Estimate]:
    """The fields of an `Erasure`: losses [D, K] averaged over these columns."""
    limits = ((-np.inf, np.inf), (-np.inf, np.inf), (0.0, 1.0), (0.0, 1.0))
    return {
        name: estimate(loss[:, columns].mean(1), *limit)
        for name, loss, limit in zip(Erasure.model_fields, losses, limits, strict=True)
    }


def estimate(draws: FloatArray, least: float = -np.inf, most: float = np.inf) -> Estimate:
    """Mean of independent draws [D] with its 95% interval, in the units of the draws, cut to
    [`least`, `most`], where the quantity can be: mean -+ t s / sqrt(D), with the 97.5% point t of
    D - 1 degrees of freedom (Student 1908, "The probable error of a mean").

    A few equal draws look like certainty; they only have not varied yet, and have no interval.
    """
    mean = float(draws.mean())
    if len(draws) < 2 or (len(draws) < _ENOUGH and np.ptp(draws) < _EQUAL):
        return Estimate(mean=mean)
    from scipy.stats import t as student

    error = draws.std(ddof=1) / np.sqrt(len(draws))
    reach = float(error * student.ppf((1 + _CONFIDENCE) / 2, len(draws) - 1))
    return Estimate(mean=mean, low=max(least, mean - reach), high=min(most, mean + reach))


def units_to_half(curve_left: Sequence[float], at: Sequence[int]) -> float | None:
    """How many units, in [0, n], are to be replaced until half is left, between two points by the
    straight line; None where more than half is left throughout.

    `curve_left` [K]: a deletion curve in [0, 1]; `at` [K]: units replaced at its points, ascending.
    Our own measure: the half-life of the target, for a sentence to name.
    """
    for place, value in enumerate(curve_left):
        if value <= 0.5:
            if not place:
                return float(at[0])
            before = curve_left[place - 1]
            step = at[place] - at[place - 1]
            return at[place - 1] + step * (before - 0.5) / (before - value)
    return None


def checked_order(explanation: Explanation, measure: Measure, seed: int = 0) -> list[int]:
    """The ranking that is checked, the strongest first: indices, in [0, n), of the units that are
    ranked. Ties come in a random order, which `seed` decides, equal for all methods; our own rule.

    Some methods find equal numbers for many units, the sparse surrogate zeros. In the order of the
    prompt its first words would be the strongest of them, and win or lose by where they stand.
    """
    ties = generator(seed, Purpose.TIES).permutation(len(explanation.units))
    return ranking(explanation, measure, ties.tolist())


def key_rank(
    explanation: Explanation, key: str, measure: Measure = "effect", seed: int = 0
) -> int | None:
    """The place, from 1 (strongest) to n, of the first of n ranked units that holds some of `key`,
    a text that the prompt is known to hinge on; None where no ranked unit does, as where the key is
    not in the prompt at all (see `key_places`).

    Every place in the text counts. Our own measure.
    """
    places = key_places(explanation.prompt + explanation.answer, key)
    for rank, unit in enumerate(checked_order(explanation, measure, seed), start=1):
        piece = explanation.units[unit]
        if any(piece.start < end and start < piece.end for start, end in places):
            return rank
    return None


def _floats(values: FloatArray) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
