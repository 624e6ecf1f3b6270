"""The ReAGent method (Zhao & Shan 2024, arXiv 2402.00794, section 3), in batched chunks.

Knows the `Scorer` and the `Substitute` and nothing behind them. Masks do not depend on scores,
so many steps are scored in one forward and folded one after the other: the outcome is that of
the one-at-a-time loop, whatever the chunk or batch size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.special import logit

from reagent_core.config import Config
from reagent_core.masks import (
    initial_scores,
    replacement_draws,
    stop_test_draws,
    unit_mask,
)
from reagent_core.meter import Meter
from reagent_core.prompt import Prompt
from reagent_core.replacers.base import Substitute
from reagent_core.scorers.base import FORWARD_TOKENS, BoolArray, FloatArray, IntArray, Scorer
from reagent_core.sequential import Looks
from reagent_core.target import Readings, Targets

Place = tuple[int, int]  # probe and step

# (d + 1) / 2 is kept this far from 0 and 1, so that logit stays finite at d = -1 and d = 1
# (about 13.8). The published code has no clamp and ends in NaN there.
CLAMP = 1e-6

# The share of units with the highest scores that the stop test keeps.
KEPT_SHARE = 0.3


@dataclass(frozen=True)
class StepEvent:
    """One step of one probe, as all T targets see it; n free units, L tokens.

    `replaced` [n]; `token_ids` [L] the replaced prompt; `values`, `probabilities` [T] the targets
    after it (see `Readings`); `change` [T] = p_o - p_r; `scores` [T, n] the raw scores S after the
    step, -inf for a unit that is no context of the target; `ranks` [T] in the stop test, 0 where
    none was due; `stopped` [T]; `bounded` [T]: the value is an upper bound (see `Readings`).
    """

    probe: int
    step: int
    replaced: BoolArray
    token_ids: IntArray
    values: FloatArray
    probabilities: FloatArray
    change: FloatArray
    scores: FloatArray
    ranks: IntArray
    stopped: BoolArray
    bounded: BoolArray


class Known(Protocol):
    """Steps that were made before: what need not be read again."""

    def readings(
        self, places: Sequence[Place], masks: BoolArray, contexts: IntArray
    ) -> tuple[list[int], Readings]:
        """The rows of `masks` [K, n] and `contexts` [K, L] that were read before, with what was
        read there; ranks are 0, for not known."""

    def rank(self, place: Place, target: int, scores: FloatArray) -> int:
        """The rank in the stop test at this step, 0 where none is known for these raw scores
        [n]."""


def token_mask(prompt: Prompt, replaced: BoolArray) -> BoolArray:
    """Masks over free units [..., n] as masks over token positions [..., L]."""
    mask = np.zeros((*replaced.shape[:-1], len(prompt.token_ids)), bool)
    for column, unit in enumerate(prompt.free_units):
        mask[..., list(prompt.units[unit].positions)] = replaced[..., column, None]
    return mask


def update(change: FloatArray, replaced: BoolArray, config: Config) -> FloatArray:
    """The addition to S [T, n] of one step: w_i * logit((change_i + 1) / 2).

    `change` [T] is d = p_o - p_r; change_i is +d for a replaced unit and -d for a kept one
    (Zhao & Shan 2024, equation 4 and algorithm 1; a README of the method writes log for logit).
    """
    signed = np.where(replaced, change[:, None], -change[:, None])
    raise_by: FloatArray = logit(np.clip((signed + 1) / 2, CLAMP, 1 - CLAMP))
    if config.weights == "centered":
        raise_by = raise_by * np.where(replaced, 1 - config.ratio, config.ratio)
    return raise_by


def rationale_complement(scores: FloatArray) -> BoolArray:
    """What the stop test replaces: [n] True for all but the highest 30% of the finite scores.

    At least one unit is kept; ties keep the earlier unit.
    """
    kept = max(1, round(KEPT_SHARE * int(np.isfinite(scores).sum())))
    replaced = np.ones(len(scores), bool)
    replaced[np.argsort(-scores, kind="stable")[:kept]] = False
    return replaced


def context_units(prompt: Prompt, targets: Targets) -> BoolArray:
    """[T, n] True where a free unit stands before the target and may have brought it about.

    All of the prompt does; of the answer (where its tokens are units, too) what precedes the span.
    """
    context = np.ones((len(targets.spans), len(prompt.free_units)), bool)
    stops = np.array(prompt.answer_stops, np.int64)
    for target, (start, _) in enumerate(targets.spans):
        context[target, context.shape[1] - len(stops) :] = stops <= start
    return context


@dataclass
class _State:
    """What the next step needs to know: raw scores [J, T, n], and who has stopped [J, T]."""

    scores: FloatArray
    done: BoolArray


@dataclass(frozen=True)
class _Chunk:
    """Steps scored together, a row each: (probe, step), masks [K, n], prompts and readings."""

    places: list[Place]
    masks: BoolArray
    contexts: IntArray
    readings: Readings


def run(
    prompt: Prompt,
    substitute: Substitute,
    meter: Meter,
    config: Config,
    chunk: int | None = None,
    known: Known | None = None,
) -> Iterator[list[StepEvent]]:
    """Run all probes; yields the events of one chunk of steps at a time, in order of steps.

    `chunk`: steps in one chunk; by default chunks grow, and end where the run may end. `known`:
    steps that a shorter run has made. They are folded like all others, but not read again.

    Until "stop_test", a probe ends for a target when the published stop test passes. With T
    targets each is tested at every T-th step from `min_steps` on, so that stop tests never cost
    more than the steps themselves. Until "settled", all probes end together, at the first look
    (see `Looks`) by which every target has settled, or at `max_steps`; the stop test is made
    once, there. Where a single unit is free there is nothing to rank: every probe ends at
    `min_steps`, not stopped.

    Raises:
        Cancelled: the meter was cancelled; events yielded before stay valid.
    """
    n, length = len(prompt.free_units), len(prompt.token_ids)
    context = context_units(prompt, meter.targets)
    original = meter.read(np.asarray([prompt.token_ids], np.int64))
    begin = np.stack([np.tile(initial_scores(n, config, j), (len(context), 1))
                      for j in range(config.probes)])  # fmt: skip
    state = _State(np.where(context, begin, -np.inf), np.zeros(begin.shape[:2], bool))
    looks = None
    if config.until == "settled" and n > 1:
        looks = Looks(config, original.values[0], context)
    last_step = config.max_steps if n > 1 else config.min_steps
    start = 0
    while start < last_step and not state.done.all():
        probes = [j for j in range(config.probes) if not state.done[j].all()]
        # At most two forwards' worth, so that a long prompt, too, shows a picture soon; but some
        # steps, so that those that share much of the prompt can go together.
        at_once = meter.sequences_at_once(length)
        most = max(4, 2 * at_once // len(probes))
        larger = times_larger(meter.scorer, at_once, meter.targets.width(length))
        stop = min(start + (chunk or min(chunk_size(start, config, larger), most)), last_step)
        if looks is not None:
            stop = min(stop, looks.next_after(start))
        places = [(j, k) for k in range(start, stop) for j in probes]
        masks = np.stack([unit_mask(n, config, j, k) for j, k in places])
        draws = np.stack([replacement_draws(n, length, config, j, k) for j, k in places])
        contexts = substitute(token_mask(prompt, masks), draws)
        if known is not None:
            rows, before = known.readings(places, masks, contexts)
            meter.remember(contexts[rows], before)
        part = _Chunk(places, masks, contexts, meter.read(contexts))
        if looks is not None:
            looks.add(masks, part.readings.values, [probe for probe, _ in places])
            last_step = stop if looks.all_settled(stop) else last_step
        change = original.probabilities[0] - part.readings.probabilities
        folded = _fold(part, change, state, config)
        due = _due(part, context, state, config, last_step)
        ranks = _stop_tests(prompt, substitute, meter, config, part, folded, due, known)
        yield _events(part, change, folded, ranks, state, meter, config)
        start = stop


def times_larger(scorer: Scorer, at_once: int, width: int) -> int:
    """How many times what a processor takes in one forward `at_once` sequences of `width` tokens
    are. 1 for a server, each of whose waves of requests takes its time."""
    if at_once == 1 or scorer.requests_for(1, 1):
        return 1
    return max(1, at_once * width // FORWARD_TOKENS)


def chunk_size(start: int, config: Config, larger: int = 1) -> int:
    """Steps of the chunk that begins at `start`: from 1 up to 16, `larger` times as many where a
    forward takes so many more sequences at once.

    Where each probe stops on its own, none is in vain before `min_steps`, and at most a fifth
    after it.
    """
    grown = min(max(1, start), 16) * larger
    if config.until == "settled":
        return grown
    if start < config.min_steps - 1:
        return min(grown, config.min_steps - 1 - start)
    return min(max(1, start // 4), 16 * larger)


def _fold(part: _Chunk, change: FloatArray, state: _State, config: Config) -> list[FloatArray]:
    """Raw scores [T, n] after each row, as if nobody stopped inside the chunk."""
    latest = dict(enumerate(state.scores))
    folded = []
    for row, (j, _) in enumerate(part.places):
        addition = update(change[row], part.masks[row], config)
        latest[j] = latest[j] + np.where(state.done[j][:, None], 0.0, addition)
        folded.append(latest[j])
    return folded


def _due(
    part: _Chunk, context: BoolArray, state: _State, config: Config, last_step: int
) -> list[tuple[int, int]]:
    """(row, target) of the stop tests to be made; none where there is only one unit to keep."""
    count = len(context)
    # No more tests than steps: of very many targets those that stand last go without.
    tested = range(min(count, last_step) if config.until == "settled" else count)

    def is_due(step: int) -> bool:
        if config.until == "settled":
            return step == last_step
        return step >= config.min_steps and (step - config.min_steps) % count == 0

    return [
        (row, target)
        for row, (j, k) in enumerate(part.places)
        if is_due(k + 1)
        for target in tested
        if not state.done[j, target] and context[target].sum() > 1
    ]


def _stop_tests(
    prompt: Prompt,
    substitute: Substitute,
    meter: Meter,
    config: Config,
    part: _Chunk,
    folded: list[FloatArray],
    due: list[tuple[int, int]],
    known: Known | None,
) -> IntArray:
    """Ranks [rows, T] of the targets with all but their rationale replaced; 0: no test due."""
    ranks = np.zeros((len(part.places), len(meter.targets.spans)), np.int64)
    if known is not None:
        for row, target in due:
            ranks[row, target] = known.rank(part.places[row], target, folded[row][target])
        due = [(row, target) for row, target in due if not ranks[row, target]]
    if not due:
        return ranks
    length = part.contexts.shape[1]
    masks = np.stack([rationale_complement(folded[row][target]) for row, target in due])
    draws = np.stack([stop_test_draws(length, config, part.places[row][0]) for row, _ in due])
    readings = meter.read(substitute(token_mask(prompt, masks), draws), ranked=True)
    for i, (row, target) in enumerate(due):
        ranks[row, target] = readings.ranks[i, target]
    return ranks


def _events(
    part: _Chunk,
    change: FloatArray,
    folded: list[FloatArray],
    ranks: IntArray,
    state: _State,
    meter: Meter,
    config: Config,
) -> list[StepEvent]:
    """The rows the one-at-a-time loop would have come to; moves `state` past them."""
    passing = meter.targets.passing_rank(config.top_k)
    events: list[StepEvent] = []
    for row, (j, k) in enumerate(part.places):
        if state.done[j].all():  # the probe stopped inside the chunk: this was in vain
            meter.discarded += 1 + int((ranks[row] > 0).sum())
            continue
        stopped = ~state.done[j] & (ranks[row] > 0) & (ranks[row] <= passing)
        if config.until == "settled":
            stopped[:] = False  # the test is made to be looked at, and ends nothing
        for later in range(row + 1, len(part.places)):  # a stopped target's scores stay
            if part.places[later][0] == j:
                folded[later][stopped] = folded[row][stopped]
        events.append(
            StepEvent(
                j, k, part.masks[row], part.contexts[row], part.readings.values[row],
                part.readings.probabilities[row], change[row], folded[row],
                np.where(state.done[j], 0, ranks[row]), stopped, part.readings.bounded[row],
            )
        )  # fmt: skip
        state.done[j] |= stopped
        state.scores[j] = folded[row]
    return events
