"""The method step by step, for watching it: what was replaced, what that did to the target's
probability, and how the scores moved. NumPy alone, so that a page can draw at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reagent_core.curves import softmax
from reagent_core.explanation import Explanation, Step
from reagent_core.wording import percent, quoted

FloatArray = npt.NDArray[np.float64]

# As in `reagent_core.reagent.CLAMP`, which would bring SciPy along.
_CLAMP = 1e-6
# A change of the probability below this moves the scores so little that a sentence says so.
_LITTLE = 0.05
# Scores this far apart are not the same number rounded.
_APART = 0.005
_NAME_LENGTH = 30


@dataclass(frozen=True)
class Frame:
    """One step of one probe.

    `replaced`: indices of units; `replacements`: what each became. `probability`: the target's
    after it (of this rather than that against a foil), an upper bound if `bounded`. `change`:
    p_o - p_r, in [-1, 1]. `sentence` says all that; `note` what else happened here, if anything.
    """

    probe: int
    step: int
    replaced: tuple[int, ...]
    replacements: tuple[str, ...]
    probability: float
    change: float
    bounded: bool
    sentence: str
    note: str | None = None


@dataclass(frozen=True, eq=False)
class StepThrough:
    """All steps in the order they were made; the probes take turns.

    `original`: the target's probability under the original prompt. `units`: indices of the n
    units that are scored. `scores` [K + 1, n]: the ReAGent score before the first and after each
    of the K steps, in [0, 1], every row sums to 1: the mean over all `probes`, of which one moves
    at a time. (The final score may leave out probes that did not pass their stop test.)
    `opening`: the sentence that belongs to row 0.
    """

    target: str
    original: float
    units: tuple[int, ...]
    scores: FloatArray
    probes: int
    opening: str
    frames: tuple[Frame, ...]


def step_through(explanation: Explanation) -> StepThrough | None:
    """The steps of an explanation, finished or still growing; None where there is none to show."""
    trace = explanation.trace
    units = tuple(i for i, unit in enumerate(explanation.units) if unit.stepped)
    if not trace or not units:
        return None
    raw = np.array([step.scores for step in trace], float)
    before, start = _scores_before(explanation, raw, units)
    moves = softmax(raw) - softmax(before)
    scores = start + np.vstack([np.zeros(len(units)), np.cumsum(moves, axis=0)]) / _probes(trace)
    telling = _Telling(explanation, units, scores[-1])
    frames, ended = [], set[int]()
    for row, step in enumerate(trace):
        frames.append(
            Frame(
                probe=step.probe,
                step=step.step,
                replaced=step.replaced,
                replacements=step.replacements,
                probability=step.probability,
                change=step.change,
                bounded=step.bounded,
                sentence=telling.sentence(step, ended=step.probe in ended),
                note=telling.note(step, last=row == len(trace) - 1),
            )
        )
        if step.stopped:
            ended.add(step.probe)
    return StepThrough(
        target=telling.target,
        original=telling.original,
        units=units,
        scores=scores,
        probes=_probes(trace),
        opening=telling.opening(),
        frames=tuple(frames),
    )


def original_probability(explanation: Explanation) -> float:
    """The target's probability under the original prompt, in [0, 1], as `Step.probability` counts
    it: against the foil alone for "this rather than that"."""
    target = explanation.target
    if target.instead_of is None:
        return target.probability
    return float(1 / (1 + np.exp(-target.value)))  # `value` is the log-odds


def points(change: float, *, at_least: bool = False) -> str:
    """p_o - p_r in words: "down 32 points", "up 0.4 points", "about the same". Points are
    percentage points; `at_least`: the probability is only known to be below a bound."""
    size = abs(100 * change)
    if size < 0.05:
        return "about the same"
    shown = f"{size:.1f}".removesuffix(".0") if size < 9.95 else f"{size:.0f}"
    noun = "point" if shown == "1" else "points"
    if at_least:
        return f"down at least {shown} {noun}" if change > 0 else f"at most {shown} {noun} up"
    return f"{'down' if change > 0 else 'up'} {shown} {noun}"


def _probes(trace: Sequence[Step]) -> int:
    return len({step.probe for step in trace})


def _scores_before(
    explanation: Explanation, raw: FloatArray, units: Sequence[int]
) -> tuple[FloatArray, FloatArray]:
    """Raw scores S [K, n] of each step's probe before the step, and the mean softmax [n] over the
    probes before any step.

    Where a probe began is what its first step leaves when its update is taken off again (Zhao &
    Shan 2024, equation 4), so that a random start is seen as it was.
    """
    column = {unit: place for place, unit in enumerate(units)}
    latest: dict[int, FloatArray] = {}
    begins, rows = [], []
    for step, scores in zip(explanation.trace, raw, strict=True):
        if step.probe not in latest:
            replaced = np.zeros(len(units), bool)
            replaced[[column[unit] for unit in step.replaced]] = True
            latest[step.probe] = scores - _update(explanation, step.change, replaced)
            begins.append(latest[step.probe])
        rows.append(latest[step.probe])
        latest[step.probe] = scores
    return np.array(rows), softmax(np.array(begins)).mean(0)


def _update(explanation: Explanation, change: float, replaced: npt.NDArray[np.bool_]) -> FloatArray:
    config = explanation.config
    share = np.clip((np.where(replaced, change, -change) + 1) / 2, _CLAMP, 1 - _CLAMP)
    added: FloatArray = np.log(share / (1 - share))
    if config.weights == "centered":
        added = added * np.where(replaced, 1 - config.ratio, config.ratio)
    return added

class _Telling:
    """Sentences about the steps of one explanation."""

    def __init__(self, explanation: Explanation, units: Sequence[int], final: FloatArray) -> None:
        target, foil = explanation.target, explanation.target.instead_of
        self.explanation = explanation
        self.units = units
        self.names = [quoted(unit.text, _NAME_LENGTH) for unit in explanation.units]
        self.final = dict(zip(units, final.tolist(), strict=True))
        self.noun = "sentence" if explanation.config.granularity == "sentence" else "word"
        self.target = quoted(target.text, _NAME_LENGTH)
        self.original = original_probability(explanation)
        if foil is not None:
            self.target += f" against {quoted(foil.text, _NAME_LENGTH)}"

    def opening(self) -> str:
        start = (
            f"every {self.noun} has the same score"
            if self.explanation.config.init == "zeros"
            else f"every {self.noun} has a score drawn by chance"
        )
        chance = percent(self.original)
        return f"Before the first step the model gives {self.target} {chance}, and {start}."

    def sentence(self, step: Step, *, ended: bool) -> str:
        """“Thailand” became “Japan”: “Bangkok” fell from 42% to 0.4%. So “Thailand” gains and the
        other words lose. `ended`: the step did not move its probe's scores any more."""
        if not step.replaced:
            return f"No {self.noun} before {self.target} was replaced, so the scores stay."
        return f"{self._replaced(step)}: {self._moves(step)}. {self._so(step, ended)}"

    def note(self, step: Step, *, last: bool) -> str | None:
        """The stop test, where it ended the probe; after the `last` step the highest scores."""
        said = []
        if step.stopped:
            said.append(
                f"Repetition {step.probe + 1} passed its stop test here: the highest scoring "
                f"{self.noun}s alone are enough for {self.target}."
            )
        if last and len(self.units) > 1 and self.explanation.status != "running":
            said += self._closing()
        return " ".join(said) or None

    def _replaced(self, step: Step) -> str:
        if len(step.replaced) == 1:
            old, new = self.names[step.replaced[0]], quoted(step.replacements[0], _NAME_LENGTH)
            return f"{old} became {new}" if old != new else f"{old} was replaced by itself"
        if len(step.replaced) == 2:
            return f"{' and '.join(self.names[unit] for unit in step.replaced)} were replaced"
        # Of many, the one named is the one that will have the highest score.
        first = max(step.replaced, key=lambda unit: self.final[unit])
        others = len(step.replaced) - 1
        return f"{self.names[first]} and {others} other {self.noun}s were replaced"

    def _moves(self, step: Step) -> str:
        before, after = percent(self.original), percent(step.probability)
        if step.bounded:
            if step.change > 0 and before != after:
                return f"{self.target} fell from {before} to at most {after}"
            return f"{self.target} is at most {after} now, the server did not say more"
        if before == after:
            plain = before.startswith(("over", "under"))
            return f"{self.target} stayed {'' if plain else 'at '}{before}"
        verb = "fell" if step.change > 0 else "rose"
        return f"{self.target} {verb} from {before} to {after}"

    def _so(self, step: Step, ended: bool) -> str:
        if len(self.units) == 1:
            return f"It is the only {self.noun}, so its score stays 1."
        if ended:
            return "This repetition had ended before, so the scores stay."
        if len(step.replaced) == len(self.units):
            return f"Every {self.noun} was replaced, so none gains on another."
        if percent(self.original) == percent(step.probability):
            return "So the scores hardly move."
        one = len(step.replaced) == 1
        who = self.names[step.replaced[0]] if one else f"the replaced {self.noun}s"
        rest = "the others"
        if one:
            rest = "the other " + (f"{self.noun}s" if len(self.units) > 2 else self.noun)
        does, do = ("gain", "lose") if step.change > 0 else ("lose", "gain")
        who_does = f"{who} {does}{'s' if one else ''}"
        rest_do = f"{rest} {do}{'s' if rest == f'the other {self.noun}' else ''}"
        if abs(step.change) < _LITTLE:
            return f"So {who_does} a little and {rest_do} a little."
        return f"So {who_does} and {rest_do}."

    def _closing(self) -> list[str]:
        even = 1 / len(self.units)
        above = [unit for unit in self.units if self.final[unit] > even + 1e-6]
        top = [self.names[unit] for unit in sorted(above, key=lambda unit: -self.final[unit])[:3]]
        count = len(self.explanation.trace)
        lead = f"After {count} step{'s' if count > 1 else ''}"
        if not top:
            return [f"{lead} no {self.noun} scores higher than another."]
        listed = " and ".join(filter(None, (", ".join(top[:-1]), top[-1])))
        said = [f"{lead} {listed} score{'s' if len(top) == 1 else ''} highest."]
        published = {unit: self.explanation.units[unit].score for unit in self.units}
        if any(
            score is not None and abs(score - self.final[unit]) > _APART
            for unit, score in published.items()
        ):
            said.append("The final score counts only the repetitions that passed their stop test.")
        return said
