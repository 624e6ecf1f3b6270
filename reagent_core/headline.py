"""Has an explanation settled, and what to do if not: for people who have never seen a curve."""

from __future__ import annotations

from reagent_core.baselines.methods import REAGENT
from reagent_core.config import is_published
from reagent_core.convergence import NUMBERS
from reagent_core.errors import InputError
from reagent_core.explanation import Explanation
from reagent_core.longer import MORE_STEPS, longer


def headline(explanation: Explanation) -> str:
    """Has it settled, and by what: one sentence."""
    verdict = explanation.verdict
    if explanation.method != REAGENT:
        return verdict.text
    free = [unit for unit in explanation.units if unit.stepped]
    if not explanation.trace and explanation.status == "running":
        return "Still running: no step has been made yet."
    if not explanation.trace:
        return "No steps are known here, so nothing can be said about how it settled."
    if len(free) == 1:
        return "Only one part of this prompt was replaced, so there is no order that could change."
    if explanation.status == "running":
        return f"Still running: so far, {_found(explanation)}."
    if explanation.status != "complete":
        return f"Stopped after {_steps(verdict.steps)} before it was done: {_found(explanation)}."
    if is_published(explanation.config):
        passed = f"{verdict.probes_stopped} of {verdict.probes} probes passed the published test"
        return f"{'Settled' if verdict.settled else 'Not settled'}: {passed}."
    if not verdict.settled:
        return f"Not settled yet: {_missing(explanation)}."
    if not _by_rule(explanation):
        are = "is" if verdict.top == 1 else "are"
        return (
            f"Settled: after {_steps(verdict.steps)}, {_strongest(explanation)} {are} clearly "
            "ahead of all others."
        )
    return f"Settled: {_found(explanation)}."


def advice(explanation: Explanation, whole: Explanation) -> str | None:
    """What to do where it has not settled; None where it has, or is still running.

    `whole`: what the explanation is part of, or itself; a run is gone on with as a whole.
    """
    verdict = explanation.verdict
    if explanation.status == "running" or verdict.settled or not explanation.trace:
        return None
    if explanation.status != "complete":
        return "Explain the same prompt again to let it finish; until then, trust the order little."
    trusted = "Trust the strongest colours, not the exact order"
    try:
        longer(whole)
    except InputError:  # its button says why
        return f"{trusted}."
    return (
        f"{trusted}, and run {MORE_STEPS} more steps. If that "
        "changes nothing, no single part of the prompt may matter much for this answer."
    )


def _found(explanation: Explanation) -> str:
    verdict = explanation.verdict
    has = "has" if verdict.top == 1 else "have"
    agree = (
        f"all {verdict.probes} probes agree"
        if 1 < verdict.probes == verdict.probes_agreeing
        else f"{verdict.probes_agreeing} of {verdict.probes} "
        f"{'probe agrees' if verdict.probes == 1 else 'probes agree'}"
    )
    return (
        f"{_strongest(explanation)} {has} been the same for the last {verdict.unchanged_steps} "
        f"of {_steps(verdict.steps)}, and {agree}"
    )


def _missing(explanation: Explanation) -> str:
    """Why the verdict is what it is, the weightiest reason first."""
    verdict = explanation.verdict
    if verdict.unchanged_steps < _enough(explanation):
        changed = verdict.steps - verdict.unchanged_steps
        if not changed:
            were = "was" if verdict.steps == 1 else "were"
            return f"only {_steps(verdict.steps)} {were} made, too few to tell"
        return f"{_strongest(explanation)} still changed at step {changed} of {verdict.steps}"
    if verdict.probes_agreeing * 3 < verdict.probes * 2:
        return (
            f"the {verdict.probes} probes, which each looked for themselves, do not find the same "
            f"{explanation.config.granularity}s strongest"
        )
    return "no effect is large enough to be told from chance"


def _by_rule(explanation: Explanation) -> bool:
    """Whether an unchanged order on which the probes agree is what settled it."""
    verdict = explanation.verdict
    alike = verdict.probes_agreeing * 3 >= verdict.probes * 2
    return verdict.unchanged_steps >= _enough(explanation) and alike


def _enough(explanation: Explanation) -> int:
    return max(8, explanation.verdict.steps // 4)


def _strongest(explanation: Explanation) -> str:
    top, name = explanation.verdict.top, explanation.config.granularity
    if top == 1:
        return f"the strongest {name}"
    return f"the {NUMBERS[top] if top < len(NUMBERS) else top} strongest {name}s"


def _steps(count: int) -> str:
    return f"{count} step{'s' if count != 1 else ''}"
