"""The plain facts: what becomes of a target when one of its strongest units alone is replaced."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np

from reagent_core.explanation import Fact
from reagent_core.masks import Purpose, generator
from reagent_core.meter import Meter
from reagent_core.prompt import Prompt
from reagent_core.reagent import token_mask
from reagent_core.replacers.base import Substitute
from reagent_core.scorers.base import BoolArray

# How many of the strongest units (one for each word inside a whole answer, where every further one
# costs forwards for all), and over how many replacements each.
FACT_UNITS = 3
FACT_DRAWS = 8


def facts_of(
    prompt: Prompt, substitute: Substitute, meter: Meter, seed: int, strongest: Sequence[list[int]]
) -> tuple[tuple[Fact, ...], ...]:
    """For each target: its mean probability with one of its strongest units alone replaced.

    `strongest`: for each target the columns of its free units, the strongest first. A
    unit's replacements are the same for all targets, so that most are scored once.
    """
    free, length = prompt.free_units, len(prompt.token_ids)
    first, *inner = strongest
    ranked = [first[:FACT_UNITS], *(order[:1] for order in inner)]
    columns = sorted(set(chain.from_iterable(ranked)))
    if not columns:
        return ()
    masks: BoolArray = np.zeros((len(columns), FACT_DRAWS, len(free)), bool)
    masks[np.arange(len(columns)), :, columns] = True
    draws = np.stack(
        [
            generator(seed, Purpose.FACT, column, draw).random(length)
            for column in columns
            for draw in range(FACT_DRAWS)
        ]
    )
    contexts = substitute(token_mask(prompt, masks).reshape(-1, length), draws)
    means = meter.read(contexts).probabilities.reshape(len(columns), FACT_DRAWS, -1).mean(1)
    return tuple(
        tuple(
            Fact(
                unit=free[column],
                draws=FACT_DRAWS,
                probability=float(means[columns.index(column), target]),
            )
            for column in order
        )
        for target, order in enumerate(ranked)
    )
