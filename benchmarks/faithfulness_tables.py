"""The tables of `faithfulness`: means over prompts, their intervals, places and differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel
from scipy.stats import bootstrap

from benchmarks.longra import Example
from benchmarks.record import Row
from reagent_core.baselines.methods import REAGENT, label_of
from reagent_core.check import Erasure, SoftMeasures
from reagent_core.explanation import Counts
from reagent_core.scorers.base import FloatArray
from reagent_core.study.intervals import share_ends


class Judged(BaseModel):
    """One method on one prompt; `soft` is None where nothing speaks for the target."""

    method: str
    counts: Counts
    key_rank: int | None
    mean: Erasure
    soft: SoftMeasures | None


class Done(BaseModel):
    """One prompt by all methods. `rather_rank`: place of the key where ReAGent explains the target
    rather than the foil."""

    key: str
    example: Example
    units: int
    found: dict[str, Judged]
    rather_rank: int | None


RATHER = "key is strongest, this rather than that"

Number = Callable[[Judged], float]
Mean = Callable[..., FloatArray]


def mean(values: FloatArray, axis: int = -1) -> FloatArray:
    """Mean over prompts."""
    return np.asarray(values.mean(axis))


def log_ratio(own: FloatArray, random: FloatArray, axis: int = -1) -> FloatArray:
    """Logarithm of the ratio of means over prompts: single ratios may have a zero in them."""
    return np.asarray(np.log(own.mean(axis) / random.mean(axis)))


@dataclass(frozen=True)
class Measure:
    """A column: its `heading`, the numbers of a method on a prompt, how they are averaged, and
    whether the highest is best."""

    heading: str
    numbers: tuple[Number, ...]
    over_prompts: Mean = mean
    highest: bool = True


def soft(field: str) -> Number:
    """A number of the soft measures; where nothing speaks for the target nothing is kept, and
    nothing zeroed."""
    return lambda each: 0.0 if each.soft is None else _number(getattr(each.soft, field))


def _number(value: object) -> float:
    return float(getattr(value, "mean", value))  # type: ignore[arg-type]


def hard(field: str) -> Number:
    """A number of the hard measures."""
    return lambda each: float(getattr(each.mean, field).mean)


HARD = (
    Measure("comprehensiveness (nats)", (hard("comprehensiveness"),)),
    Measure("sufficiency (nats)", (hard("sufficiency"),), highest=False),
    Measure("comprehensiveness (share)", (hard("comprehensiveness_relative"),)),
    Measure("sufficiency (share)", (hard("sufficiency_relative"),), highest=False),
)
SOFT = (
    Measure(
        "Soft-NS, log ratio to random",
        (soft("sufficiency"), soft("random_sufficiency")),
        log_ratio,
    ),
    Measure(
        "Soft-NC, log ratio to random",
        (soft("comprehensiveness"), soft("random_comprehensiveness")),
        log_ratio,
    ),
    Measure("Soft-NS", (soft("sufficiency"),)),
    Measure("Soft-NC", (soft("comprehensiveness"),)),
)


def values(parts: Sequence[Done], method: str, measure: Measure) -> tuple[FloatArray, ...]:
    """The numbers [P] of a method on all prompts."""
    return tuple(
        np.array([number(part.found[method]) for part in parts]) for number in measure.numbers
    )


def interval(samples: tuple[FloatArray, ...], statistic: Mean) -> tuple[float, float]:
    """95% by the bootstrap over prompts, the same prompts for all samples (percentiles)."""
    if len(samples[0]) < 2:
        return float("nan"), float("nan")
    found = bootstrap(
        samples, statistic, paired=True, vectorized=True, method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    return float(found.low), float(found.high)


def cells(parts: Sequence[Done], method: str, measure: Measure) -> str:
    """The mean with its interval; then its place among the methods, `=` where the difference to
    the default's has an interval that holds zero."""
    own = values(parts, method, measure)
    told = float(measure.over_prompts(*own))
    low, high = interval(own, measure.over_prompts)
    sign = 1 if measure.highest else -1
    others = [
        float(measure.over_prompts(*values(parts, name, measure))) * sign for name in parts[0].found
    ]
    place = 1 + sum(other > told * sign for other in others)
    alike = ""
    if method != REAGENT:
        count = len(own)

        def difference(*both: FloatArray, axis: int = -1) -> FloatArray:
            first = measure.over_prompts(*both[:count], axis=axis)
            return np.asarray(first - measure.over_prompts(*both[count:], axis=axis))

        worst, best = interval((*own, *values(parts, REAGENT, measure)), difference)
        alike = "=" if worst <= 0 <= best else ""
    return f"{told:.3g} ({low:.3g} to {high:.3g}), {place}{alike}"


def hit_rate(ranks: Sequence[int | None]) -> str:
    """How often the key is the strongest unit, with Wilson's interval (95%)."""
    if not ranks:
        return ""
    hits = sum(rank == 1 for rank in ranks)
    low, high = share_ends(hits, len(ranks))
    return f"{hits / len(ranks):.2f} ({low:.2f} to {high:.2f})"


def table(parts: Sequence[Done], measures: Sequence[Measure]) -> list[Row]:
    """A row a method, the best by the first measure first."""

    def order(method: str) -> float:
        first = measures[0]
        told = float(first.over_prompts(*values(parts, method, first)))
        return -told if first.highest else told

    return [
        {
            "method": label_of(method),
            **{each.heading: cells(parts, method, each) for each in measures},
        }
        for method in sorted(parts[0].found, key=order)
    ]


def work(parts: Sequence[Done], method: str) -> Row:
    """What a method cost, means over prompts; how often it finds the key where that is needed."""
    found = [part.found[method] for part in parts]
    needed = [part for part in parts if part.example.key_needed]
    rather = {RATHER: hit_rate([part.rather_rank for part in needed])}
    return {
        "method": label_of(method),
        "sequences": round(float(np.mean([each.counts.sequences for each in found]))),
        "backwards": round(float(np.mean([each.counts.backwards for each in found]))),
        "key is strongest": hit_rate([part.found[method].key_rank for part in needed]),
        **(rather if method == REAGENT else {}),
    }
