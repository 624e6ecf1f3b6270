"""Which units are replaced at each step, and all other random numbers of a run.

Every number depends on (seed, purpose, probe, step) alone: not on the batch size, on other
probes, or on how many steps were asked for. That is what makes runs reproducible and resumable.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from reagent_core.config import Config
from reagent_core.scorers.base import BoolArray, FloatArray

# A Weyl sequence: the fractional parts of multiples of the golden ratio fill [0, 1) evenly from the
# first on.
GOLDEN = 0.6180339887498949


class Purpose(IntEnum):
    """What a stream of random numbers is for."""

    MASK = 1
    REPLACEMENT = 2
    INIT = 3
    STOP_TEST = 4
    FACT = 5
    COARSE = 6
    CHECK_DRAW = 7
    CHECK_ORDER = 8
    SOFT = 9
    SOFT_ORDER = 10
    PERMUTATION = 11
    GRADIENT = 12
    BOOTSTRAP = 13
    RANDOM = 14
    ROUND = 15
    TIES = 16


def generator(seed: int, purpose: Purpose, *place: int) -> np.random.Generator:
    """The random numbers of one place in a run."""
    return np.random.default_rng([seed, purpose, *place])


def unit_mask(n: int, config: Config, probe: int, step: int) -> BoolArray:
    """The replaced set R of one step: [n] True where a unit is replaced.

    `bernoulli`: each unit with probability r, as in the original code. `exact`: round(r * n)
    units, at least one, as in the paper (Zhao & Shan 2024, section 3.2). `balanced`: a random
    partition into sets of about that size, replaced one after the other, then another partition:
    every unit is replaced once in each round.
    """
    mask = np.zeros(n, bool)
    if config.selection == "bernoulli":
        drawn = generator(config.seed, Purpose.MASK, probe, step).random(n)
        mask[drawn < config.ratio] = True
    elif config.selection == "exact":
        order = generator(config.seed, Purpose.MASK, probe, step).permutation(n)
        mask[order[: max(1, round(config.ratio * n))]] = True
    else:
        number, place = divmod(step, round_steps(n, config))
        order = generator(config.seed, Purpose.MASK, probe, number).permutation(n)
        mask[np.array_split(order, round_steps(n, config))[place]] = True
    return mask


def round_steps(n: int, config: Config) -> int:
    """Steps in which `balanced` replaces each of n units once."""
    return -(-n // max(1, round(config.ratio * n)))


def replacement_draws(n: int, length: int, config: Config, probe: int, step: int) -> FloatArray:
    """Uniform numbers [length] in [0, 1) that choose the replacements of one step.

    Under `balanced` the numbers that a place gets in its rounds, those of all probes together,
    are spread evenly from a random start: its few replacements then are as different as they can
    be, and stand for all.
    """
    if config.selection != "balanced":
        return generator(config.seed, Purpose.REPLACEMENT, probe, step).random(length)
    start = generator(config.seed, Purpose.REPLACEMENT).random(length)
    number = step // round_steps(n, config)
    return np.asarray((start + GOLDEN * (number * config.probes + probe)) % 1.0)


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
