"""Has the result settled? From the steps of a run to figures and a verdict in words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reagent_core.config import Config, is_published
from reagent_core.curves import running_effects
from reagent_core.explanation import Verdict
from reagent_core.longer import MORE_STEPS
from reagent_core.scorers.base import BoolArray, FloatArray, IntArray
from reagent_core.significance import stands_out

# From this share of steps on it is said that a server did not list the target.
A_FEW = 0.05

NUMBERS = ("no", "one", "two", "three", "four", "five")


@dataclass(frozen=True)
class Evidence:
    """All steps of one target in the order they were made: K steps, n free units.

    `replaced` [K, n], `values` [K] nats, `probes` [K]; `stopped`: the steps made by each probe that
    the stop test ended;
    `mean`, `low`, `high` [n]: the effects with their intervals, nats, NaN unknown. `original`: the
    target's value under the original prompt (nats). `told_apart`: how many of the strongest units
    the intervals tell from all others (see `sequential`), 0 where they do not. `bounded`: steps in
    which a server did not list the target.
    """

    replaced: BoolArray
    values: FloatArray
    probes: IntArray
    stopped: tuple[int, ...]
    mean: FloatArray
    low: FloatArray
    high: FloatArray
    original: float
    told_apart: int = 0
    bounded: int = 0


def strongest(effects: FloatArray, count: int) -> IntArray:
    """The `count` largest of effects [..., n] as ascending indices [..., count]; NaN comes last."""
    known = np.where(np.isnan(effects), -np.inf, effects)
    return np.sort(np.argsort(-known, axis=-1, kind="stable")[..., :count], axis=-1)


def clear_cut(mean: FloatArray, half_width: FloatArray) -> int:
    """How many units stand out from those after them: at most five, at most half, at least one.

    The largest m for which the m-th and the next effect differ by more than their intervals allow
    (half-widths added as independent errors). A fixed number would make the verdict hang on ties.
    """
    order = np.argsort(-np.where(np.isnan(mean), -np.inf, mean), kind="stable")
    for m in range(min(5, len(mean) // 2), 1, -1):
        here, after = order[m - 1], order[m]
        if mean[here] - mean[after] > np.hypot(half_width[here], half_width[after]):
            return m
    return 1


def judge(
    evidence: Evidence, config: Config, finished: bool = True, can_go_on: bool = True
) -> Verdict:
    """The verdict on one target.

    Settled means that the intervals tell the strongest units from all others, at a level that
    allows for having looked before. Where they do not (yet), it means three things: the set of the
    most important units (see `clear_cut`) has been the same for the last quarter of the steps, and
    for eight at least; two thirds of the probes, each on its own, share three fifths of it; and the
    strongest effect stands out from chance (`stands_out`).
    Under the `paper` preset the published criterion decides: every probe passed the stop test.
    More steps are advised only if the run `can_go_on`.
    """
    steps, n = evidence.replaced.shape
    per_probe = steps // config.probes
    top = evidence.told_apart or clear_cut(evidence.mean, (evidence.high - evidence.low) / 2)
    unchanged = agreeing = 0
    if steps:
        sets = strongest(_running(evidence, config), top)
        final = sets[-1]
        other = np.flatnonzero((sets != final).any(1))
        unchanged = (steps - 1 - int(other[-1] if len(other) else -1)) // config.probes
        for probe in range(config.probes):
            own = evidence.probes == probe
            if own.any():
                alone = _running(evidence, config, own)[-1]
                agreeing += bool(np.isin(strongest(alone, top), final).sum() >= 0.6 * top)
    known = ~np.isnan(evidence.mean)
    clear = False
    if known.any():
        best = int(np.nanargmax(evidence.mean))
        clear = stands_out(evidence.mean[best], evidence.low[best], int(known.sum()))

    if n == 1:
        settled = finished  # more steps would not rank it either
        reason = "only one part of this prompt may be replaced, so there is nothing to rank"
    elif is_published(config):
        settled = len(evidence.stopped) == config.probes
        reason = _published(evidence.stopped, config)
    elif evidence.told_apart:
        settled = True
        reason = f"{_things(config, top)} {'is' if top == 1 else 'are'} told apart from all others"
    else:
        settled = (
            unchanged >= max(8, per_probe // 4) and agreeing * 3 >= config.probes * 2 and clear
        )
        reason = _reason(config, top, unchanged, agreeing, clear)
    more = 0 if settled or not can_go_on else MORE_STEPS
    to_do = f"; run {more} more steps" if more else ""
    warnings: tuple[str, ...] = ()
    if evidence.bounded > A_FEW * steps:
        warnings = (
            f"In {evidence.bounded} of {steps} steps the server did not list the target. There its "
            "probability is taken to be the smallest one listed, so effects may be larger than "
            "shown.",
        )
    if finished and not evidence.stopped and n > 1 and config.until == "stop_test":
        warnings += (
            f"No probe passed the stop test within {config.max_steps} steps; the ReAGent scores "
            "are the mean over all probes.",
        )
    return Verdict(
        settled=settled,
        text=f"Settled: {reason}." if settled else f"Not settled: {reason}{to_do}.",
        top=top,
        steps=per_probe,
        unchanged_steps=unchanged,
        probes=config.probes,
        probes_agreeing=agreeing,
        probes_stopped=len(evidence.stopped),
        more_steps=more,
        warnings=warnings,
    )


def _running(
    evidence: Evidence, config: Config, rows: BoolArray | slice = slice(None)
) -> FloatArray:
    """Effects [K, n] after each of the chosen steps."""
    return running_effects(
        evidence.replaced[rows],
        evidence.values[rows],
        evidence.original,
        anchored=config.anchored,
    )


def _reason(config: Config, top: int, unchanged: int, agreeing: int, clear: bool) -> str:
    things = f"{_things(config, top)} {'has' if top == 1 else 'have'}"
    steps = f"{unchanged} step{'s' if unchanged != 1 else ''}"
    reason = f"{things} not changed for {steps} and {agreeing} of {config.probes} probes agree"
    return reason if clear else f"{reason}, and no effect stands out from chance"


def _things(config: Config, top: int) -> str:
    name = config.granularity
    return f"the most important {name}" if top == 1 else (
        f"the {NUMBERS[top]} most important {name}s"
    )  # fmt: skip


def _published(stopped: tuple[int, ...], config: Config) -> str:
    passed = f"{len(stopped)} of {config.probes} probes passed the published stop test"
    if not stopped:
        return f"{passed} within {config.max_steps} steps"
    mean = round(sum(stopped) / len(stopped))
    return f"{passed}, after {mean} step{'s' if mean != 1 else ''} on average"
