"""What each picture of an explanation's steps shows here, in a sentence from its own data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reagent_core.curves import free_units, probes_of
from reagent_core.explanation import Explanation, Step
from reagent_core.scorers.base import FloatArray, IntArray
from reagent_core.sentences import is_whole_answer, unit_names
from reagent_core.stepping import original_probability
from reagent_core.wording import interval, percent, quoted, times_sign

if TYPE_CHECKING:  # SciPy takes a second to import
    from reagent_core.effects import Effects
    from reagent_core.stability import Agreement

# A mean is said to stay where it is within one percentage point.
STILL = 0.01


def effect_sentence(explanation: Explanation, found: Effects, unit: int) -> str:
    """When the effect of a unit stood out, and how its interval narrowed.

    `found` [K, n]: effects after every step; `unit`: index into `units`.
    """
    column = free_units(explanation).index(unit)
    name = quoted(explanation.units[unit].text)
    own = found.of(column)
    low, mean, high = (each[:, 0] for each in (own.low, own.mean, own.high))
    known = np.flatnonzero(~np.isnan(low))
    if not len(known):
        return f"{name} was replaced too few times to say how sure its effect is."
    odds = explanation.target.instead_of is not None
    first, last = (interval(low[at], high[at], odds=odds) for at in (known[0], known[-1]))
    sure = f"95% sure: {first} after step {known[0] + 1}, {last} after step {known[-1] + 1}"
    if len(known) == 1 or first == last:
        sure = f"95% sure: {last}"
    clear = low > 0 if mean[-1] > 0 else high < 0
    if not clear[-1]:
        return f"The effect of {name} cannot be told from chance ({sure})."
    unclear = np.flatnonzero(~clear)
    since = unclear[-1] + 2 if len(unclear) else 1
    way = "for" if mean[-1] > 0 else "against"
    return f"{name} has clearly spoken {way} the target since step {since} ({sure})."


def score_sentence(
    explanation: Explanation, mean: FloatArray, probes: FloatArray, unit: int, *, raw: bool
) -> str:
    """Where a unit's score stands, and how far the probes are apart in it.

    `mean` [steps, n] and `probes` [probes, steps, n]: softmax scores, or raw ones (see
    `course.Lines`).
    """
    column = free_units(explanation).index(unit)
    name, last = quoted(explanation.units[unit].text), probes[:, -1, column]
    end, lowest, highest = (f"{x:.2f}" for x in (mean[-1, column], last.min(), last.max()))
    between = f", {lowest} to {highest} in the {len(last)} probes" if lowest != highest else ""
    what = "raw score" if raw else "ReAGent score"
    told = f"The {what} of {name} ends at {end}{between}"
    if raw:
        return f"{told}; raw scores add up over the steps, so only their order counts."
    stopped = len({step.probe for step in explanation.trace if step.stopped})
    if 0 < stopped < len(last):
        whose = "that of the one" if stopped == 1 else f"the mean of the {stopped}"
        told += f", as {whose} that passed the stop test"
    order = mean.argmax(1)
    if order[-1] != column:
        leader = quoted(explanation.units[free_units(explanation)[int(order[-1])]].text)
        return f"{told}; the highest is that of {leader}."
    others = np.flatnonzero(order != column)
    since = int(others[-1]) + 2 if len(others) else 1
    return f"{told}; it has been the highest since step {since}."


def change_sentence(explanation: Explanation) -> str:
    """What a step took from the target's probability, and since when its mean has stayed there."""
    d = np.array([step.change for step in explanation.trace])
    running = running_mean(d)
    moved = np.flatnonzero(abs(running - running[-1]) > STILL)
    rows = int(moved[-1]) + 1 if len(moved) else 0
    since = explanation.trace[min(rows, len(d) - 1)].step - explanation.trace[0].step + 1
    target, mean = _target(explanation), float(running[-1])
    foil = explanation.target.instead_of
    if foil is not None:
        target += f" against {quoted(foil.text)}"
    before = percent(original_probability(explanation))
    points = f"{abs(mean) * 100:.1f}".removesuffix(".0")
    does = "takes" if mean >= 0 else "adds"
    one = "point" if points == "1" else "points"
    return (
        f"On average a step {does} {points} percentage {one} {'from' if mean >= 0 else 'to'} the "
        f"chance of {target} ({before}); the mean has moved by less than a point "
        f"since step {since}."
    )


def running_mean(values: FloatArray) -> FloatArray:
    """Mean [K] of the values [K] so far."""
    mean: FloatArray = np.cumsum(values) / np.arange(1, len(values) + 1)
    return mean


def passing_rank(explanation: Explanation) -> int:
    """The worst rank with which the stop test is passed; a target must beat its foil."""
    return 1 if explanation.target.instead_of is not None else explanation.config.top_k


def last_ranks(explanation: Explanation) -> list[Step]:
    """Of each probe the last step that made a stop test, in the order of the probes."""
    last = {step.probe: step for step in explanation.trace if step.rank is not None}
    return [last[probe] for probe in sorted(last)]


def stop_sentence(explanation: Explanation) -> str:
    """What the stop test found: with most of the prompt replaced, is the target still there?"""
    if explanation.source == "notebook":
        return "The file does not say what a stop test found, so no rank is known."
    tests, target = last_ranks(explanation), _target(explanation)
    if not tests:
        return "No stop test was made (yet), so no rank is known."
    best = passing_rank(explanation)
    passed = sum(step.rank is not None and step.rank <= best for step in tests)
    place = "the first" if best == 1 else f"among the model's first {best}"
    where = f"in {passed or 'none'} of {len(tests)} probes"
    ranks = sorted(step.rank for step in tests if step.rank is not None)
    told = f"rank {ranks[0]:,}" if ranks[0] == ranks[-1] else f"ranks {ranks[0]:,} to {ranks[-1]:,}"
    lead = f"With only the strongest 30% of the prompt kept, {target} was {place} {where}"
    if len(tests) == 1:
        lead = lead.replace(f" was {place} {where}", f" was {'' if passed else 'not '}{place}")
    when = "" if explanation.config.until == "stop_test" else "; the test was made once, at the end"
    return f"{lead.rstrip()} ({told}){when}."


def heatmap_sentence(explanation: Explanation, last: FloatArray) -> str:
    """Which rows end dark, and how many stay pale. `last` [n]: what the rows end with."""
    names, free = unit_names(explanation.units), free_units(explanation)
    size = np.abs(np.nan_to_num(last))
    if not size.any():
        return "No row has a colour yet."
    order = np.argsort(-size, kind="stable")
    dark = [free[i] for i in order if size[i] >= size[order[0]] / 2]
    pale = int((size < size[order[0]] / 10).sum())
    named = " and ".join(f"“{names[i]}”" for i in dark[:2])
    more = f" and {len(dark) - 2} more" if len(dark) > 2 else ""
    ends = "row ends" if len(dark) == 1 else "rows end"
    return (
        f"{len(dark)} of {len(free)} {ends} in a strong colour: "
        f"{named.replace(' and ', ', ') if more else named}{more}; {pale} "
        f"{'stays' if pale == 1 else 'stay'} under a tenth of the strongest."
    )


def stability_sentence(
    explanation: Explanation, mean: FloatArray, between: Agreement
) -> str:
    """Since when the top 30% are the final ones, and how far the probes agree about them.

    `mean` [K, n]: what the order goes by, after every step; `between`: the mean over pairs of
    probes.
    """
    from reagent_core.stability import top_since

    since, last = top_since(mean), len(mean)
    lead = f"The top 30% have been the same since step {since} of {last}"
    if last == 1:
        lead = "Only 1 step was made, so the top 30% cannot have changed"
    elif since == last:
        lead = "The top 30% still changed at the last step"
    if len(probes_of(explanation)) < 2:
        return f"{lead}; there is one probe only, so none to compare it with."
    shared = "is not defined" if between.overlap is None else f"is {between.overlap:.0%}"
    tau = "not defined" if between.tau is None else f"{between.tau:.2f}"
    return f"{lead}; what two probes share of them {shared} on average (Kendall's tau {tau})."


def width_sentence(half: FloatArray, steps: IntArray, count: int) -> str:
    """How the widest interval among the strongest units narrowed; `half` [R] in nats."""
    known = np.flatnonzero(~np.isnan(half))
    among = "of the strongest" if count == 1 else f"among the {count} strongest"
    if not len(known):
        return f"Not every interval {among} is known yet."
    first, last = (times_sign(float(half[at])) for at in (known[0], known[-1]))
    if len(known) == 1:
        return f"The widest interval {among} reaches {last} either way."
    return (
        f"The widest interval {among} reached {first} either way at step {steps[known[0]]} and "
        f"reaches {last} at step {steps[known[-1]]}."
    )


def step_sentence(explanation: Explanation, raw: FloatArray, shares: FloatArray) -> str:
    """The highest score of one step of one probe, before and after softmax, both [n]."""
    best = int(np.argmax(raw))
    name = quoted(explanation.units[free_units(explanation)[best]].text)
    return (
        f"{name} stands highest: a raw score of {raw[best]:.2f}, which softmax makes "
        f"{percent(float(shares[best]))} of all."
    )


def _target(explanation: Explanation) -> str:
    return "this answer" if is_whole_answer(explanation) else quoted(explanation.target.text)
