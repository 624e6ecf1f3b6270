"""The plain facts: what becomes of a target when one of its strongest units alone is replaced."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from reagent_core.explanation import Fact
from reagent_core.masks import Purpose, generator
from reagent_core.meter import Meter
from reagent_core.prompt import Prompt
from reagent_core.reagent import StepEvent, token_mask
from reagent_core.replacers.base import Substitute

# How many of the strongest units, and over how many replacements each at least. Inside a whole
# answer it is one for each word, and replacements are made for the units that lead most often.
FACT_UNITS = 3
FACT_DRAWS = 8
INNER_UNITS = 5
# So many replacements that the steps made anyway are a fact of their own.
ENOUGH = 4


def facts_of(
    prompt: Prompt,
    substitute: Substitute,
    meter: Meter,
    seed: int,
    events: Sequence[StepEvent],
    strongest: Sequence[list[int]],
    units: int = FACT_UNITS,
) -> tuple[tuple[Fact, ...], ...]:
    """For each target: its mean probability with one of its strongest units alone replaced.

    `strongest`: for each target the columns of its free units, the strongest first; `units`:
    how many of the first target. Steps that replaced a unit alone count; where they are too few,
    others are made.
    """
    first, *inner = strongest
    leading = Counter(order[0] for order in inner if order)
    asked = {*first[:units], *(column for column, _ in leading.most_common(INNER_UNITS))}
    ranked = [first[:units], *(order[:1] for order in inner)]
    found = {
        column: [e.token_ids for e in events if e.replaced[column] and e.replaced.sum() == 1]
        for column in sorted(asked | leading.keys())
    }
    length = len(prompt.token_ids)
    for column in asked:
        missing = range(len(found[column]), FACT_DRAWS)
        if missing:
            mask = np.zeros((len(missing), len(prompt.free_units)), bool)
            mask[:, column] = True
            draws = [generator(seed, Purpose.FACT, column, k).random(length) for k in missing]
            found[column] += list(substitute(token_mask(prompt, mask), np.stack(draws)))
    found = {column: contexts for column, contexts in found.items() if len(contexts) >= ENOUGH}
    # All in one call: what many of them share with the prefix is then shared by the batch.
    rows = [(column, context) for column, contexts in found.items() for context in contexts]
    if not rows:
        return ()
    readings = meter.read(np.stack([context for _, context in rows]))
    owner = np.array([column for column, _ in rows])
    means = {column: readings.probabilities[owner == column].mean(0) for column in found}
    bounded = {column: readings.bounded[owner == column].any(0) for column in found}
    return tuple(
        tuple(
            Fact(
                unit=prompt.free_units[column],
                draws=len(found[column]),
                probability=float(means[column][target]),
                at_most=bool(bounded[column][target]),
            )
            for column in order
            if column in found
        )
        for target, order in enumerate(ranked)
    )
