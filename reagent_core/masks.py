"""Which units are replaced at each step, and all other random numbers of a run.

Every number depends on (seed, purpose, probe, step) alone: not on the batch size, on other
probes, or on how many steps were asked for. That is what makes runs reproducible and resumable.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from reagent_core.config import Config
from reagent_core.scorers.base import BoolArray, FloatArray

# Steps in one round of `balanced`.
ROUND = 20


class Purpose(IntEnum):
    """What a stream of random numbers is for."""

    MASK = 1
    REPLACEMENT = 2
    INIT = 3
    STOP_TEST = 4
    FACT = 5


def generator(seed: int, purpose: Purpose, *place: int) -> np.random.Generator:
    """The random numbers of one place in a run."""
    return np.random.default_rng([seed, purpose, *place])


def unit_mask(n: int, config: Config, probe: int, step: int) -> BoolArray:
    """The replaced set R of one step: [n] True where a unit is replaced.

    `bernoulli`: each unit with probability r, as in the original code. `exact`: round(r * n)
    units, at least one, as in the paper (Zhao & Shan 2024, section 3.2). `balanced`: in each
    round of 20 steps every unit is replaced in exactly round(20 * r) of them (one at least, 19 at
    most), drawn for each unit on its own.

    The number of units replaced in one step of `balanced` varies on purpose. Where it is fixed,
    keeping one unit means replacing the others more often, and every effect is off by minus the
    mean of the others: half of the prompt would seem to speak against the target.
    """
    if config.selection == "bernoulli":
        return generator(config.seed, Purpose.MASK, probe, step).random(n) < config.ratio
    if config.selection == "exact":
        order = generator(config.seed, Purpose.MASK, probe, step).permutation(n)
        mask = np.zeros(n, bool)
        mask[order[: max(1, round(config.ratio * n))]] = True
        return mask
    number, place = divmod(step, ROUND)
    times = min(max(1, round(ROUND * config.ratio)), ROUND - 1)
    dealt = np.tile(np.arange(ROUND) < times, (n, 1))
    generator(config.seed, Purpose.MASK, probe, number).permuted(dealt, axis=1, out=dealt)
    return np.asarray(dealt[:, place])


def replacement_draws(length: int, config: Config, probe: int, step: int) -> FloatArray:
    """Uniform numbers [length] in [0, 1) that choose the replacements of one step."""
    return generator(config.seed, Purpose.REPLACEMENT, probe, step).random(length)


def stop_test_draws(length: int, config: Config, probe: int) -> FloatArray:
    """Uniform numbers [length] for a probe's stop tests.

    The same at every step: equal rationales then are equal prompts, and are scored once.
    """
    return generator(config.seed, Purpose.STOP_TEST, probe).random(length)


def initial_scores(n: int, config: Config, probe: int) -> FloatArray:
    """Scores S [n] before the first step: zeros, or U(0, 1) as in the paper."""
    if config.init == "zeros":
        return np.zeros(n)
    return generator(config.seed, Purpose.INIT, probe).random(n)
