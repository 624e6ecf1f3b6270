"""How effects and scores moved, step by step. NumPy alone, so that a page can draw at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from reagent_core.adjustment import adjusted
from reagent_core.explanation import Explanation

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]


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
    replaced, values = step_arrays(explanation)
    curves = running_effects(
        replaced, values, explanation.target.value, anchored=explanation.config.anchored
    )
    return curves[_last_rows(explanation)]


def score_curves(explanation: Explanation) -> FloatArray:
    """Published ReAGent scores [steps, n] in [0, 1] as they stood after each step: the mean of the
    softmax of S over the probes that the stop test had ended, each with its last scores, or over
    all probes until one had."""
    latest: dict[int, FloatArray] = {}
    means, ended = [], set[int]()
    last = set(_last_rows(explanation))
    for row, step in enumerate(explanation.trace):
        latest[step.probe] = softmax(np.array(step.scores))
        if step.stopped:
            ended.add(step.probe)
        if row in last:
            means.append(np.mean([latest[probe] for probe in ended or latest], axis=0))
    return np.array(means).reshape(len(last), len(_columns(explanation)))


def probe_score_curves(explanation: Explanation, *, raw: bool = False) -> FloatArray:
    """ReAGent scores [probes, steps, n] of each probe after each step: softmax of S in [0, 1], or
    S itself if `raw`.

    A probe that has ended keeps its last scores; NaN before the first step of a probe.
    """
    places = {step: place for place, step in enumerate(_step_numbers(explanation))}
    probes = {probe: row for row, probe in enumerate(probes_of(explanation))}
    curves = np.full((len(probes), len(places), len(_columns(explanation))), np.nan)
    for step in explanation.trace:
        # Later rows of the same probe write over what is carried forward from this one.
        curves[probes[step.probe], places[step.step] :] = step.scores
    return curves if raw else softmax(curves)


def softmax(scores: FloatArray) -> FloatArray:
    """The published scores in [0, 1] of raw scores S: exp(S) / sum exp(S) over the last axis."""
    if not scores.size:
        return scores
    shifted = np.exp(scores - scores.max(-1, keepdims=True))
    shares: FloatArray = shifted / shifted.sum(-1, keepdims=True)
    return shares


def probe_effect_curves(explanation: Explanation) -> FloatArray:
    """Effects [probes, steps, n] in nats of each probe by itself after each step.

    A probe that has ended keeps its last effects; NaN until there is something to compare.
    """
    replaced, values = step_arrays(explanation)
    own_probe = np.array([step.probe for step in explanation.trace], np.int64)
    steps = np.array([step.step for step in explanation.trace], np.int64)
    numbers = np.array(_step_numbers(explanation), np.int64)
    probes = probes_of(explanation)
    curves = np.full((len(probes), len(numbers), replaced.shape[1]), np.nan)
    for row, probe in enumerate(probes):
        own = own_probe == probe
        alone = running_effects(
            replaced[own],
            values[own],
            explanation.target.value,
            anchored=explanation.config.anchored,
        )
        so_far = np.searchsorted(steps[own], numbers, side="right") - 1
        curves[row] = np.where((so_far >= 0)[:, None], alone[np.maximum(so_far, 0)], np.nan)
    return curves


def step_arrays(explanation: Explanation) -> tuple[BoolArray, FloatArray]:
    """Masks [K, n] over the free units and values [K] (nats) of all K steps of all probes."""
    free = _columns(explanation)
    replaced = np.zeros((len(explanation.trace), len(free)), bool)
    for row, step in enumerate(explanation.trace):
        replaced[row, [free[unit] for unit in step.replaced]] = True
    return replaced, np.array([step.value for step in explanation.trace], float)


def free_units(explanation: Explanation) -> list[int]:
    """The columns of all curves, as indices into `explanation.units`."""
    return list(_columns(explanation))


def probes_of(explanation: Explanation) -> list[int]:
    """The probes that have made a step, ascending."""
    return sorted({step.probe for step in explanation.trace})


def rows_after(explanation: Explanation) -> IntArray:
    """How many rows of the trace [steps] had been made after each step."""
    return np.array(_last_rows(explanation), np.int64) + 1


def _step_numbers(explanation: Explanation) -> list[int]:
    return sorted({step.step for step in explanation.trace})


def _columns(explanation: Explanation) -> dict[int, int]:
    free = [i for i, unit in enumerate(explanation.units) if unit.stepped]
    return {unit: column for column, unit in enumerate(free)}


def _last_rows(explanation: Explanation) -> list[int]:
    """The row of `trace` where each step ends, whichever probe was the last to make it."""
    rows = {step.step: row for row, step in enumerate(explanation.trace)}
    return [rows[step] for step in sorted(rows)]
