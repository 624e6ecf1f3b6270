"""Going on with a run: what its steps have read is not read again.

Masks and replacements of a step depend on the seed and its place alone, so the steps of a shorter
run are the first ones of a longer run. The trace says what each target was there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reagent_core.assemble import Run
from reagent_core.explanation import Explanation, Step, TargetInfo
from reagent_core.reagent import Place
from reagent_core.request import ModelInfo, Request
from reagent_core.scorers.base import BoolArray, FloatArray, GeneratedToken, IntArray
from reagent_core.target import Readings

# What may be another number of steps, and the condition that ends them.
STEPS = frozenset({"min_steps", "max_steps", "until"})

# The same weights give values (nats) as near as this wherever they run in full precision.
_SAME_VALUE = 1e-3

# Raw scores as near as this come from the same steps: the trace keeps five decimals.
_SAME_SCORES = 1e-4


def continues(
    request: Request, known: Explanation, model: ModelInfo, replacer_model: ModelInfo | None
) -> bool:
    """Whether the steps of `known` are steps of this request, too.

    The request must be the same but for the number of steps and what ends them, and asked of the
    same model with the same masked model. Of a prompt that was asked for in another way (an import)
    nothing is known.
    """
    if known.request is None or known.source != "reagent":
        return False
    return (
        _but_for_steps(request) == _but_for_steps(known.request)
        and (known.model, known.replacer_model) == (model, replacer_model)
        and len({tuple(map(_place, each.trace)) for each in known.every()}) == 1
    )


def _but_for_steps(request: Request) -> Request:
    """The request with a number of steps that says nothing; which name the model goes by is no
    matter either, nor a masked model that is not used."""
    left_out = {"min_steps": 1, "max_steps": 1, "until": "stop_test"}
    if request.config.replacer != "masked_lm":
        left_out["replacer_model"] = "none"
    config = request.config.model_copy(update=left_out)
    return request.model_copy(update={"model": "", "config": config})


def _place(step: Step) -> Place:
    return step.probe, step.step


def answer_before(known: Explanation) -> tuple[GeneratedToken, ...]:
    """The model's answer as it was generated; empty where there was none."""
    return tuple(
        GeneratedToken(token.token_id, token.probability, token.alternatives)
        for token in known.answer_tokens
    )


def same_targets(infos: Sequence[TargetInfo], known: Explanation) -> bool:
    """Whether the targets, measured anew under the original prompt, are those of `known`.

    Values may differ by rounding. By more they differ where the weights run in another precision;
    then nothing that was read before may stand beside what is read now.
    """
    before = [each.target for each in known.every()]
    return len(before) == len(infos) and all(
        now.token_ids == then.token_ids
        and (now.instead_of and now.instead_of.token_ids)
        == (then.instead_of and then.instead_of.token_ids)
        and abs(now.value - then.value) <= _SAME_VALUE
        for now, then in zip(infos, before, strict=True)
    )


def same_units(known: Explanation, *, coarse_to_fine: bool) -> bool:
    """Whether the steps of `known` replaced the units that a run replaces which goes from coarse
    to fine, or does not. The published procedure replaces all units of a long prompt; the same
    options with fewer steps are another procedure."""
    return not known.trace or any(unit.coarse for unit in known.units) == coarse_to_fine


@dataclass(frozen=True)
class KnownSteps:
    """The steps of an earlier run by their places, one `Step` a target (see `reagent.Known`).

    A step counts as known where it replaced the same units by the same texts as the run at hand
    does, so that no reading is taken for one of another prompt.
    """

    steps: dict[Place, tuple[Step, ...]]
    run: Run

    @classmethod
    def of(cls, known: Explanation, run: Run) -> KnownSteps:
        """`run` has its units, free and coarse, but no steps yet."""
        traces = zip(*(each.trace for each in known.every()), strict=True)
        return cls({_place(steps[0]): steps for steps in traces}, run)

    def readings(
        self, places: Sequence[Place], masks: BoolArray, contexts: IntArray
    ) -> tuple[list[int], Readings]:
        """See `reagent.Known`."""
        rows = [
            row
            for row, place in enumerate(places)
            if place in self.steps and self._same(self.steps[place], masks[row], contexts[row])
        ]
        found = [self.steps[places[row]] for row in rows]
        shape = (len(rows), len(self.run.infos))
        return rows, Readings(
            values=np.array([[s.value for s in steps] for steps in found]).reshape(shape),
            probabilities=np.array([[s.probability for s in steps] for steps in found]).reshape(
                shape
            ),
            ranks=np.zeros(shape, np.int64),
            bounded=np.array([[s.bounded for s in steps] for steps in found], bool).reshape(shape),
        )

    def _same(self, steps: tuple[Step, ...], mask: BoolArray, context: IntArray) -> bool:
        free = self.run.prompt.free_units
        texts = self.run.replacements(mask, context)
        for target, step in enumerate(steps):
            own = [column for column in texts if self.run.context[target, column]]
            if step.replaced != tuple(free[column] for column in own):
                return False
            if step.replacements != tuple(texts[column] for column in own):
                return False
        return True

    def rank(self, place: Place, target: int, scores: FloatArray) -> int:
        """See `reagent.Known`."""
        step = self.steps[place][target] if place in self.steps else None
        if step is None or step.rank is None:
            return 0
        own = scores[self.run.context[target]]
        if len(own) != len(step.scores):
            return 0
        return step.rank if np.allclose(own, step.scores, rtol=0, atol=_SAME_SCORES) else 0
