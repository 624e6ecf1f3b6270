"""The course of one explanation: how its scores and effects moved, computed as it is asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from reagent_core.curves import (
    effect_curves,
    free_units,
    probe_effect_curves,
    probe_score_curves,
    rows_after,
    score_curves,
    step_arrays,
)
from reagent_core.explanation import Explanation
from reagent_core.scorers.base import FloatArray, IntArray
from reagent_core.sentences import main_measure, ranking

if TYPE_CHECKING:  # SciPy takes a second to import; a page shows its first sentence before
    from reagent_core.effects import Effects
    from reagent_core.stability import Agreement

Shown = Literal["effect", "score", "raw"]

# Rank correlations are costly, and a band needs no more points: after so many steps at most.
MOST_SAMPLES = 40


@dataclass(frozen=True)
class Lines:
    """Curves of n units over K steps: effects in nats, or scores.

    `mean` [K, n] of all probes together, softmax scores as they would have been published;
    `probes` [J, K, n] each by itself; `low` and `high` [R, n] after `band_steps` [R] (counted from
    1): the 95% interval of an effect, the lowest and the highest score of a probe. NaN: not known.
    """

    mean: FloatArray
    probes: FloatArray
    band_steps: IntArray
    low: FloatArray
    high: FloatArray


class Course:
    """One explanation with at least one step, and the figures of its pictures.

    Columns are the free units, in the order of the prompt.
    """

    def __init__(self, explanation: Explanation) -> None:
        self.explanation = explanation
        self.units = free_units(explanation)

    @cached_property
    def effects(self) -> Lines:
        """Running effects with their narrowing 95% intervals."""
        found = self.found
        return Lines(
            effect_curves(self.explanation),
            probe_effect_curves(self.explanation),
            self.samples,
            found.low,
            found.high,
        )

    @cached_property
    def scores(self) -> Lines:
        """Softmax scores; the mean is that of `curves.score_curves`."""
        lines = _between(probe_score_curves(self.explanation))
        return replace(lines, mean=score_curves(self.explanation))

    @cached_property
    def raw(self) -> Lines:
        """Raw scores S."""
        return _between(probe_score_curves(self.explanation, raw=True))

    def lines(self, shown: Shown) -> Lines:
        """The curves of one kind."""
        if shown == "effect":
            return self.effects
        return self.scores if shown == "score" else self.raw

    @cached_property
    def samples(self) -> IntArray:
        """Steps (counted from 1), denser at the start, the last one included."""
        steps = len(self._rows)
        places = np.geomspace(1, steps, min(steps, MOST_SAMPLES)).round().astype(np.int64)
        return np.unique(places)

    @cached_property
    def found(self) -> Effects:
        """Effects with intervals [R, n] after each of `samples`."""
        return self.intervals.after(self.samples)

    @cached_property
    def intervals(self) -> Effects:
        """Effects with intervals [K, n] after every step."""
        from reagent_core.effects import running_intervals

        replaced, values = step_arrays(self.explanation)
        return running_intervals(
            replaced,
            values,
            self.explanation.target.value,
            self._rows,
            anchored=self.explanation.config.anchored,
            probes=np.array([step.probe for step in self.explanation.trace]),
        )

    @cached_property
    def agreement(self) -> list[Agreement]:
        """Agreement with the final ranking after each of `samples`, by the main measure."""
        from reagent_core.stability import with_final

        return with_final(self.main.mean[self.samples - 1])

    @cached_property
    def between(self) -> dict[tuple[int, int], Agreement]:
        """Agreement of each two probes at the end, by the main measure."""
        from reagent_core.stability import between_probes

        return between_probes(self.main.probes[:, -1])

    @cached_property
    def half_width(self) -> FloatArray:
        """Half of the widest interval [R] among the units the verdict looks at, in nats."""
        from reagent_core.stability import widest_half_width

        return widest_half_width(self.found, [self.units.index(unit) for unit in self.top])

    @cached_property
    def top(self) -> list[int]:
        """The strongest units, as many as the verdict looks at."""
        return [i for i in ranking(self.explanation) if i in self.units][
            : max(1, self.explanation.verdict.top)
        ]

    @property
    def main(self) -> Lines:
        """The curves of the main measure."""
        return self.effects if main_measure(self.explanation) == "effect" else self.scores

    @cached_property
    def _rows(self) -> IntArray:
        return rows_after(self.explanation)


def _between(probes: FloatArray) -> Lines:
    """Mean and range of the probes [J, K, n] that have begun."""
    begun = ~np.isnan(probes[:, :, 0])  # [J, K]
    count = begun.sum(0)[:, None]
    known = begun[:, :, None]
    return Lines(
        np.where(known, probes, 0.0).sum(0) / count,
        probes,
        np.arange(1, probes.shape[1] + 1),
        np.where(known, probes, np.inf).min(0),
        np.where(known, probes, -np.inf).max(0),
    )
