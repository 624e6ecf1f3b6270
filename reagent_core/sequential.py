"""When a run knows enough: looks at growing data that do not fool themselves.

Looking again and again at a 95% interval until it says what one hopes for goes wrong far more often
than once in twenty times. So the allowed error is spent over the looks (Lan & DeMets 1983), by the
power family of Kim & DeMets (1987): a share (k / k_max)**2 of it by step k. At each look what is
newly spent is shared by all units (Bonferroni), so much for each end of an interval. As far as each
interval is right by itself, and whatever the dependence between looks and units, this means:

- One end of each unit's interval, which one being fixed beforehand, holds for all units and at all
  looks together with the probability `CONFIDENCE` (95%); both ends of all do with 90%.
- To tell units from the rest takes the lower end of each of them and the upper end of every other.
  For units that are named beforehand a run is wrong once in twenty times at most. They are not: the
  run takes those that look strongest, one to five of them. For that at most once in ten is certain;
  tests/test_sequential.py counts how often runs over equal units tell some apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reagent_core.config import Config
from reagent_core.effects import CONFIDENCE, Effects, effects
from reagent_core.scorers.base import BoolArray, FloatArray

# Steps of every probe between two looks.
LOOK_EVERY = 12

# At most so many units are told from the rest.
MOST = 5


def look_steps(config: Config) -> list[int]:
    """The steps after which a run looks: from `min_steps` on, and at `max_steps`."""
    return [*range(config.min_steps, config.max_steps, LOOK_EVERY), config.max_steps]


def error_at(step: int, config: Config) -> float:
    """The probability that some unit's end of its interval, the one that counts, is wrong, as far
    as the look at `step` may add to it."""
    steps = look_steps(config)
    before = steps[steps.index(step) - 1] if step > steps[0] else 0
    return (1 - CONFIDENCE) * (step**2 - before**2) / config.max_steps**2


def separated(low: FloatArray, mean: FloatArray, high: FloatArray) -> int:
    """How many of the strongest units [n] lie above all others, interval by interval.

    The largest such number, at most five and fewer than n; 0 where none does or an interval is
    unknown (NaN).
    """
    if np.isnan(low).any() or np.isnan(high).any():
        return 0
    order = np.argsort(-mean, kind="stable")
    for m in range(min(MOST, len(mean) - 1), 0, -1):
        if low[order[:m]].min() > high[order[m:]].max():
            return m
    return 0


def told_apart(
    found: Effects, target: int, own: BoolArray, step: int, config: Config
) -> int:
    """How many of its strongest units are told from the rest at a target, at the look at `step`.

    `own` [n]: the units that are context of the target. 0 at a step without a look.
    """
    if step not in look_steps(config) or not own.any():
        return 0
    # Of each interval one end counts here, so each end gets all of a unit's share of the error.
    half = found.half_width(1 - 2 * error_at(step, config) / int(own.sum()))[target, own]
    mean = found.mean[target, own]
    return separated(mean - half, mean, mean + half)


class Looks:
    """The looks of one run at all its targets; a target once settled stays so."""

    def __init__(self, config: Config, original: FloatArray, context: BoolArray) -> None:
        """`original` [T]: the targets' values under the original prompt (nats); `context` [T, n]:
        which units may have brought a target about."""
        self._config, self._original, self._context = config, original, context
        self._masks: list[BoolArray] = []
        self._values: list[FloatArray] = []
        self._probes: list[int] = []
        self._settled = np.zeros(len(context), bool)

    def next_after(self, step: int) -> int:
        """The step of the next look."""
        return next(look for look in look_steps(self._config) if look > step)

    def add(self, masks: BoolArray, values: FloatArray, probes: Sequence[int]) -> None:
        """Take in steps: `masks` [K, n], `values` [K, T], `probes` [K]."""
        self._masks.append(masks)
        self._values.append(values)
        self._probes += probes

    def all_settled(self, step: int) -> bool:
        """Whether by this step, if it is one to look at, every target has settled."""
        if step in look_steps(self._config):
            found = effects(
                np.concatenate(self._masks),
                np.concatenate(self._values),
                self._original,
                self._context,
                anchored=self._config.anchored,
                probes=np.array(self._probes),
            )
            for target in np.flatnonzero(~self._settled).tolist():
                own = self._context[target]
                told = told_apart(found, target, own, step, self._config)
                self._settled[target] = told > 0 or not own.any()
        return bool(self._settled.all())
