"""The result of a comparison of methods: its data model, its keys, and its strips on one scale.

Importing this takes no time: what compares them is in `comparison`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from statistics import median_high

from pydantic import BaseModel, ConfigDict

from reagent_core.baselines.methods import REAGENT
from reagent_core.check import Erasure, Estimate, SoftMeasures, SoftMissing
from reagent_core.config import ReplacerName
from reagent_core.explanation import Explanation
from reagent_core.method_words import strength
from reagent_core.request import ModelInfo, Request
from reagent_core.sentences import main_measure
from reagent_core.strip import StripToken, prompt_strip
from reagent_core.trust import Standing

# Raise it when the same request would give other numbers by another method than ReAGent, or
# another faithfulness.
METHODS_VERSION = 3


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Faithful(_Record):
    """What replacing units in the order of a method did (see `faithfulness`).

    `area`: between insertion and deletion curve, in [-1, 1], the larger the better; `random_area`:
    the mean of that of random orders; `beaten` of `orders` random ones it was better than.
    `mean`: comprehensiveness and sufficiency over the shares. `soft`: see `Check`; `soft_missing`:
    why there is none (None also in what was stored by older versions); `notes`: what to know about
    it.
    """

    area: float
    deletion_area: float
    insertion_area: float
    random_area: float
    beaten: int
    orders: int
    standing: Standing
    mean: Erasure
    soft: SoftMeasures | None
    soft_missing: SoftMissing | None = None
    notes: tuple[str, ...] = ()

    def estimates(self) -> dict[str, Estimate | None]:
        """The measures that have intervals, by name; None for one that is not known."""
        soft = self.soft
        return {
            "comprehensiveness": self.mean.comprehensiveness,
            "sufficiency": self.mean.sufficiency,
            "soft_sufficiency": soft.sufficiency if soft else None,
            "soft_comprehensiveness": soft.comprehensiveness if soft else None,
        }

    def log_ratios(self) -> dict[str, float | None]:
        """Of the soft measures log(own / that of the same scores dealt out at random), by name;
        None where it is not known, or one of the two is 0."""
        soft = self.soft
        return {
            "soft_sufficiency_log_ratio": soft.log_ratio_sufficiency if soft else None,
            "soft_comprehensiveness_log_ratio": soft.log_ratio_comprehensiveness if soft else None,
        }


class MethodResult(_Record):
    """What one method found, and how faithful it is; `faithful` is None for a single unit.

    `key`: under which a library keeps the explanation, SHA-256 (hex).
    """

    method: str
    label: str
    key: str
    explanation: Explanation
    faithful: Faithful | None = None


class Refused(_Record):
    """A method that the model does not allow, or that there was too little memory for, and why."""

    method: str
    label: str
    reason: str


class MethodsCompared(_Record):
    """Methods side by side.

    `agreement` [M][M]: Kendall's tau-b between the units' numbers, in [-1, 1]; None where one
    method has the same number for all units. `replacer`, `draws`: of the faithfulness, the same
    for all methods. `budget`: as it was asked for (see `attribute`). `notes`: what to know before
    comparing.
    """

    results: tuple[MethodResult, ...]
    refused: tuple[Refused, ...]
    agreement: tuple[tuple[float | None, ...], ...]
    replacer: ReplacerName
    draws: int
    budget: int | None = None
    notes: tuple[str, ...] = ()


def result_key(method: str, explanation: Explanation, request: Request, budget: int | None) -> str:
    """The key of what `method` found: of ReAGent that of the request, so that it is the same
    explanation as one asked for by itself."""
    own = request.key(explanation.model, explanation.replacer_model)
    return own if method == REAGENT else _sha256([METHODS_VERSION, method, budget, own])


def comparison_key(
    methods: Sequence[str],
    request: Request,
    budget: int | None,
    draws: int,
    model: ModelInfo,
    replacer_model: ModelInfo | None = None,
) -> str:
    """SHA-256 (hex) over everything that decides a comparison; see `Request.key`."""
    own = request.key(model, replacer_model)
    return _sha256([METHODS_VERSION, list(methods), budget, draws, own])


def _sha256(parts: list[object]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def on_same_units(explanations: Sequence[Explanation]) -> list[Explanation]:
    """Explanations of one context with one and the same units, those of the one that has fewest.

    Of a long prompt ReAGent looks at most parts as a whole (see `coarse`), other methods at every
    unit. What they say of units inside such a part is left out: there is nothing to compare it to.
    """
    frame = min(explanations, key=lambda each: len(each.units)).units
    made = []
    for each in explanations:
        known = {(unit.start, unit.end): unit for unit in each.units}
        units = tuple(known[u.start, u.end] if u.stepped else u for u in frame)
        made.append(each.model_copy(update={"units": units}))
    return made


def numbers(explanation: Explanation) -> list[float | None]:
    """What each unit is ranked by; None for units without."""
    by_effect = main_measure(explanation) == "effect"
    return [
        (unit.effect if by_effect else strength(unit)) if unit.stepped else None
        for unit in explanation.units
    ]


def signed_shares(explanation: Explanation) -> list[float | None]:
    """For each unit its share of all absolute numbers, in [-1, 1], with the sign of its own; 0
    where all are 0.

    The one scale on which methods can be seen side by side: their own units are different ones.
    """
    ranked = numbers(explanation)
    total = sum(abs(number) for number in ranked if number is not None)
    return [number / total if number is not None and total else number for number in ranked]


def full_share(explanations: Sequence[Explanation]) -> float:
    """The share that gets full colour in strips on one scale, in (0, 1]: the median of what each
    method gives its strongest unit (of two the larger). The largest of all would not do: attention
    often gives one token nearly everything, and beside it all others look pale."""
    tops = [
        max((abs(s) for s in signed_shares(each) if s is not None), default=0.0)
        for each in explanations
    ]
    return median_high(tops) or 1.0


def shared_strips(explanations: Sequence[Explanation]) -> list[list[StripToken]]:
    """The prompt once for each explanation, all coloured on one scale: shares of the absolute
    numbers, see `full_share`. Weights beyond 1 are as 1."""
    shares, full = [signed_shares(each) for each in explanations], full_share(explanations)
    return [
        [
            piece
            if piece.unit is None
            else replace(piece, weight=None if (s := own[piece.unit]) is None else s / full)
            for piece in prompt_strip(each, main_measure(each))
        ]
        for each, own in zip(explanations, shares, strict=True)
    ]
