"""How effects and scores moved, step by step. NumPy alone, so that a page can draw at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from reagent_core.adjustment import adjusted
from reagent_core.explanation import Explanation

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


def running_effects(
    replaced: BoolArray, values: FloatArray, original: float, *, anchored: bool
) -> FloatArray:
    """Effects [K, n] of one target after each of K steps; NaN until there is something to compare.

    `replaced` [K, n] and `values` [K] (nats) in the order the steps were made; `original` (nats):
    the value under the original prompt, which `anchored` steps are compared with. What the other
    units did is taken out as all K steps tell it, so that the curves end at the effects.
    """
    out = replaced.astype(float)
    columns = adjusted(replaced, values - original, anchored=anchored)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_out = np.cumsum(columns * out, 0) / np.cumsum(out, 0)
        mean_kept = np.cumsum(columns * (1.0 - out), 0) / np.cumsum(1.0 - out, 0)
    return (0.0 if anchored else mean_kept) - mean_out


def effect_curves(explanation: Explanation) -> FloatArray:
    """Effects [steps, n] in nats after each step, all probes so far together; n free units."""
    free = _columns(explanation)
    replaced = np.zeros((len(explanation.trace), len(free)), bool)
    for row, step in enumerate(explanation.trace):
        replaced[row, [free[unit] for unit in step.replaced]] = True
    values = np.array([step.value for step in explanation.trace], float)
    curves = running_effects(
        replaced, values, explanation.target.value, anchored=explanation.config.anchored
    )
    return curves[_last_rows(explanation)]


def score_curves(explanation: Explanation) -> FloatArray:
    """Published ReAGent scores [steps, n] in [0, 1] after each step: the mean over the probes of
    the softmax of S; a probe that has ended counts with its last scores."""
    latest: dict[int, FloatArray] = {}
    means = []
    last = set(_last_rows(explanation))
    for row, step in enumerate(explanation.trace):
        raw = np.array(step.scores)
        shifted = np.exp(raw - raw.max())
        latest[step.probe] = shifted / shifted.sum()
        if row in last:
            means.append(np.mean(list(latest.values()), axis=0))
    return np.array(means).reshape(len(last), len(_columns(explanation)))


def _columns(explanation: Explanation) -> dict[int, int]:
    free = [i for i, unit in enumerate(explanation.units) if unit.stepped]
    return {unit: column for column, unit in enumerate(free)}


def _last_rows(explanation: Explanation) -> list[int]:
    """The row of `trace` where each step ends, whichever probe was the last to make it."""
    rows = {step.step: row for row, step in enumerate(explanation.trace)}
    return [rows[step] for step in sorted(rows)]
