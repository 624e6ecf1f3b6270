"""From the events of a run to `Explanation` objects, at any moment of the run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.special import softmax

from reagent_core.convergence import Evidence, judge
from reagent_core.effects import Effects, effects
from reagent_core.explanation import (
    AnswerToken,
    Counts,
    Explanation,
    Fact,
    ModelInfo,
    Step,
    TargetInfo,
    UnitScore,
)
from reagent_core.prompt import Prompt
from reagent_core.reagent import StepEvent
from reagent_core.request import Request
from reagent_core.scorers.base import BoolArray, FloatArray
from reagent_core.sequential import told_apart
from reagent_core.target import Readings


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
        units = [self.prompt.units[i] for i in free]
        for event in events:
            texts = {
                column: self.decode(event.token_ids[list(units[column].positions)].tolist())
                for column in np.flatnonzero(event.replaced).tolist()
            }
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
                        probability=_short(event.probabilities[target]),
                        value=_short(event.values[target]),
                        change=_short(event.change[target]),
                        scores=tuple(np.round(event.scores[target, own], 5).tolist()),
                        rank=rank or None,
                        stopped=bool(event.stopped[target]),
                    )
                )

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


def _short(number: float) -> float:
    """Seven significant digits: what fp32 gives, and a file of half the size."""
    return float(f"{number:.7g}")


def assemble(
    run: Run,
    status: str,
    counts: Counts,
    seconds: float,
    facts: tuple[tuple[Fact, ...], ...] = (),
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
        scores = softmax(np.stack(using), axis=1).mean(0) if using else None
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
        )
        turns = run.request.prompt if not isinstance(run.request.prompt, str) else None
        explanations.append(
            Explanation(
                status=status,
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
                versions=run.versions,
                counts=counts,
                seconds=round(seconds, 3),
                trace=tuple(run.traces[target]) if run.traces else (),
            )
        )
    if len(explanations) == 1:
        return explanations[0]
    tokens = len(run.answer_tokens)
    return explanations[0].model_copy(
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
    units = run.prompt.units[: len(run.prompt.units) - later]

    def number(values: FloatArray | None, i: int | None) -> float | None:
        if values is None or i is None or np.isnan(values[i]):
            return None
        return _short(values[i])

    made = []
    for index, unit in enumerate(units):
        place = {"text": unit.text, "start": unit.start, "end": unit.end}
        if index in run.coarse:
            loss = _short(run.coarse[index][target])
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
            )
        )
    return tuple(made)
