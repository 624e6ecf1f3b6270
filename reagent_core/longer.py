"""What to ask for so that a run makes more steps, or why none can be made."""

from __future__ import annotations

from reagent_core.config import MOST_STEPS, is_published
from reagent_core.errors import InputError
from reagent_core.explanation import Explanation
from reagent_core.request import Request

MORE_STEPS = 64


def longer(explanation: Explanation) -> Request:
    """The request of the same run, `MORE_STEPS` steps of every probe longer.

    A run that the stop test ends is let go on to a later step and otherwise stays as it was, so
    that its tests stay where they were made and a probe that has stopped stays so. Where all have
    stopped, every probe makes more steps, and is tested after them: a run of its own. That is no
    longer the published procedure, so under it nothing is left to run.

    Raises:
        InputError: it cannot be gone on with; the sentence says why (field "settings").
    """
    request = explanation.request
    if request is None:
        raise InputError(
            "This explanation does not say what was asked for, so it cannot be gone on with.",
            "settings",
        )
    config = request.config
    last = steps_made(explanation) + MORE_STEPS
    going_on = goes_on_to_its_test(explanation)
    published = is_published(config)
    if published and going_on:  # one that was cancelled has steps left
        last = max(last, config.max_steps)
    if published and all_stopped(explanation):
        raise InputError(
            "All probes have passed the published stop test, so nothing is left to run.",
            "settings",
        )
    if last > MOST_STEPS:
        raise InputError(f"A run makes at most {MOST_STEPS:,} steps.", "settings")
    least = config.min_steps if going_on else last
    config = config.model_copy(update={"min_steps": least, "max_steps": last})
    return request.model_copy(update={"config": config})


def steps_made(explanation: Explanation) -> int:
    """Steps of the probe that made most of them."""
    return max((step.step + 1 for step in explanation.trace), default=0)


def goes_on_to_its_test(explanation: Explanation) -> bool:
    """Whether some probe has not passed the stop test that is to end it."""
    ranked = any(sum(unit.stepped for unit in each.units) > 1 for each in explanation.every())
    tested = explanation.config.until == "stop_test"
    return tested and ranked and not all_stopped(explanation)


def all_stopped(explanation: Explanation) -> bool:
    """Whether the stop test has ended every probe for every target."""
    verdicts = [each.verdict for each in explanation.every()]
    return all(verdict.probes_stopped == verdict.probes for verdict in verdicts)
