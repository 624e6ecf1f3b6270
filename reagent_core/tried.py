"""What was tried: the replaced versions of the prompt and what became of the target."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from reagent_core.explanation import Explanation, Step


@dataclass(frozen=True)
class Segment:
    """A piece of a tried prompt. `original`: what stood there before, None if it was kept."""

    text: str
    original: str | None = None


@dataclass(frozen=True)
class TriedPrompt:
    """One replaced prompt: its pieces, and the target's probability under it.

    Against a foil that is the probability of this rather than that. `drop`: how much of the
    target's log-probability (log-odds against a foil; nats) was lost, negative if it gained.
    `replaced`: number of units replaced.
    """

    segments: tuple[Segment, ...]
    probability: float
    drop: float
    replaced: int


def tried(explanation: Explanation, limit: int = 30) -> list[TriedPrompt]:
    """The `limit` replaced prompts that hurt the target most, the largest drop first.

    The drop is counted on the log scale, where it stays visible when all probabilities are near
    zero. Equal prompts of several probes are shown once, steps that replaced nothing never. Of a
    chat only the part between the first and the last replaceable unit is shown.
    """
    steps: dict[tuple[tuple[int, ...], tuple[str, ...]], Step] = {}
    for step in explanation.trace:
        if step.replaced:
            steps.setdefault((step.replaced, step.replacements), step)
    ordered = sorted(steps.values(), key=lambda step: (step.value, len(step.replaced)))
    return [
        TriedPrompt(
            segments=_segments(explanation, step),
            probability=step.probability,
            drop=explanation.target.value - step.value,
            replaced=len(step.replaced),
        )
        for step in ordered[:limit]
    ]


def _segments(explanation: Explanation, step: Step) -> tuple[Segment, ...]:
    new = dict(zip(step.replaced, step.replacements, strict=True))
    units = explanation.units
    free = [i for i, unit in enumerate(units) if not unit.protected]
    shown = range(free[0], free[-1] + 1) if explanation.messages is not None else range(len(units))
    segments: list[Segment] = []
    for was_replaced, group in groupby(shown, key=lambda i: i in new):
        if was_replaced:
            segments.extend(Segment(new[i], units[i].text) for i in group)
        else:
            segments.append(Segment("".join(units[i].text for i in group)))
    return tuple(segments)
