"""From the events of a run to `Explanation` objects, at any moment of the run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from reagent_core.answer import text_behind
from reagent_core.convergence import Evidence, judge
from reagent_core.curves import softmax
from reagent_core.effects import Effects, effects
from reagent_core.explanation import (
    AnswerToken,
    Counts,
    Explanation,
    Fact,
    Step,
    TargetInfo,
    UnitScore,
)
from reagent_core.prompt import Prompt, Unit
from reagent_core.reagent import StepEvent
from reagent_core.request import ModelInfo, Request
from reagent_core.scorers.base import BoolArray, FloatArray, IntArray
from reagent_core.sequential import told_apart
from reagent_core.target import Readings, short


@dataclass
class Run:
    """What is fixed when the steps begin, and the steps so far (only ever appended to).

    `text`: the prompt; `prompt`: all that may be replaced, the answer included where it is
    context; `context` [T, n]: the free units that stand before a target. `coarse`: index of a unit
    that is only looked at as a whole -> [T] what is lost when it is replaced, in nats.
    """

    request: Request
    text: str
    prompt: Prompt
    context: BoolArray
    answer: str
    answer_tokens: tuple[AnswerToken, ...]
    infos: tuple[TargetInfo, ...]
    original: Readings
    model: ModelInfo
    replacer_model: ModelInfo | None
    versions: dict[str, str]
    decode: Callable[[Sequence[int]], str]
    coarse: dict[int, FloatArray] = field(default_factory=dict)
    events: list[StepEvent] = field(default_factory=list)
    traces: list[list[Step]] = field(default_factory=list)

    def add(self, events: list[StepEvent]) -> None:
        """Take in the next events; each becomes one `Step` a target."""
        if not self.traces:
            self.traces = [[] for _ in self.infos]
        self.events += events
        free = self.prompt.free_units
        for event in events:
            texts = self.replacements(event.replaced, event.token_ids)
            for target, trace in enumerate(self.traces):
                own = self.context[target]
                replaced = [column for column in texts if own[column]]
                rank = int(event.ranks[target])
                trace.append(
                    Step(
                        probe=event.probe,
                        step=event.step,
                        replaced=tuple(free[column] for column in replaced),
                        replacements=tuple(texts[column] for column in replaced),
                        probability=short(event.probabilities[target]),
                        value=short(event.values[target]),
                        change=short(event.change[target]),
                        scores=tuple(np.round(event.scores[target, own], 5).tolist()),
                        rank=rank or None,
                        stopped=bool(event.stopped[target]),
                        bounded=bool(event.bounded[target]),
                    )
                )

    def replacements(self, replaced: BoolArray, token_ids: IntArray) -> dict[int, str]:
        """What each replaced unit (its column of `replaced` [n]) became in the prompt [L]."""
        free = self.prompt.free_units
        return {
            column: self._replacement(self.prompt.units[free[column]], token_ids)
            for column in np.flatnonzero(replaced).tolist()
        }

    def _replacement(self, unit: Unit, token_ids: IntArray) -> str:
        """What stands at a unit's places in a replaced prompt [L], as it reads there."""
        begins = unit.start == 0 or (self.prompt.closed and unit.start == len(self.text))
        first = unit.positions[0]
        before = token_ids[first - 1 : first] if first and not begins else token_ids[:0]
        ids = token_ids[list(unit.positions)]
        return text_behind(before.tolist(), ids.tolist(), self.decode)

    def effects(self) -> Effects:
        """Effects of the free units on all targets, NaN before there are enough steps."""
        if not self.events:
            nothing = np.full(self.context.shape, np.nan)
            return Effects(nothing, nothing, nothing)
        return effects(
            np.stack([event.replaced for event in self.events]),
            np.stack([event.values for event in self.events]),
            self.original.values[0],
            self.context,
            anchored=self.request.config.anchored,
            probes=np.array([event.probe for event in self.events]),
        )

    def step(self) -> int:
        """Steps that all probes have made."""
        return self.events[-1].step + 1 if self.events else 0

    def strongest(self) -> list[list[int]]:
        """For each target the free units (their column) with a known effect, largest first."""
        return [
            [i for i in np.argsort(-row, kind="stable").tolist() if not np.isnan(row[i])]
            for row in self.effects().mean
        ]


def assemble(
    run: Run,
    status: str,
    counts: Counts,
    seconds: float,
    facts: tuple[tuple[Fact, ...], ...] = (),
    interruption: str | None = None,
) -> Explanation:
    """One explanation a target; with several, the first holds the others."""
    found = run.effects()
    config = run.request.config
    finished = status == "complete"
    settling = config.until == "settled"
    explanations = []
    for target, info in enumerate(run.infos):
        last = _last_scores(run, target)
        stopped = {e.probe: e.step + 1 for e in run.events if e.stopped[target]}
        using = [s for probe, s in last.items() if probe in stopped] or list(last.values())
        scores = softmax(np.stack(using)).mean(0) if using else None
        own = run.context[target]
        evidence = Evidence(
            replaced=np.array([e.replaced[own] for e in run.events]).reshape(
                len(run.events), int(own.sum())
            ),
            values=np.array([e.values[target] for e in run.events]),
            probes=np.array([e.probe for e in run.events], np.int64),
            stopped=tuple(stopped.values()),
            mean=found.mean[target, own],
            low=found.low[target, own],
            high=found.high[target, own],
            original=float(run.original.values[0, target]),
            told_apart=told_apart(found, target, own, run.step(), config) if settling else 0,
            bounded=sum(bool(e.bounded[target]) for e in run.events),
        )
        turns = run.request.prompt if not isinstance(run.request.prompt, str) else None
        explanations.append(
            Explanation(
                status=status,
                interruption=interruption,
                prompt=run.text,
                messages=turns,
                answer=run.answer,
                answer_tokens=run.answer_tokens,
                target=info,
                units=_units(run, scores, found, target),
                facts=facts[target] if facts else (),
                verdict=judge(evidence, config, finished),
                config=config,
                model=run.model,
                replacer_model=run.replacer_model,
                versions=run.versions,
                counts=counts,
                seconds=round(seconds, 3),
                trace=tuple(run.traces[target]) if run.traces else (),
            )
        )
    outer = explanations[0].model_copy(update={"request": run.request})
    if len(explanations) == 1:
        return outer
    tokens = len(run.answer_tokens)
    return outer.model_copy(
        update={
            "explanations": tuple(explanations[1 : 1 + tokens]),
            "words": tuple(explanations[1 + tokens :]),
        }
    )


def _last_scores(run: Run, target: int) -> dict[int, FloatArray]:
    """The raw scores of each probe as they stand."""
    return {event.probe: event.scores[target] for event in run.events}


def _units(
    run: Run, scores: FloatArray | None, found: Effects, target: int
) -> tuple[UnitScore, ...]:
    column = {unit: i for i, unit in enumerate(run.prompt.free_units)}
    # What was answered after the target is no context of it; it stands last.
    later = int((~run.context[target]).sum())
    # Elsewhere a bound may stand on either side of the difference.
    one_sided = run.request.config.anchored and run.infos[target].instead_of is None
    bounded = [event.replaced for event in run.events if one_sided and event.bounded[target]]
    at_least = np.any(bounded, axis=0) if bounded else np.zeros(run.context.shape[1], bool)
    units = run.prompt.units[: len(run.prompt.units) - later]

    def number(values: FloatArray | None, i: int | None) -> float | None:
        if values is None or i is None or np.isnan(values[i]):
            return None
        return short(values[i])

    made = []
    for index, unit in enumerate(units):
        place = {"text": unit.text, "start": unit.start, "end": unit.end}
        if index in run.coarse:
            loss = short(run.coarse[index][target])
            made.append(UnitScore(**place, protected=False, coarse=True, effect=loss))
            continue
        made.append(
            UnitScore(
                **place,
                protected=unit.protected,
                score=number(scores, column.get(index)),
                effect=number(found.mean[target], column.get(index)),
                effect_low=number(found.low[target], column.get(index)),
                effect_high=number(found.high[target], column.get(index)),
                at_least=index in column and bool(at_least[column[index]]),
            )
        )
    return tuple(made)
