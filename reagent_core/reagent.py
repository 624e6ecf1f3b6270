"""The ReAGent method (Zhao & Shan 2024, arXiv 2402.00794, section 3), in batched chunks.

Knows the `Scorer` and the `Substitute` and nothing behind them. Masks do not depend on scores,
so many steps are scored in one forward and folded one after the other: the outcome is that of
the one-at-a-time loop, whatever the chunk or batch size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from scipy.special import logit

from reagent_core.config import Config
from reagent_core.errors import Cancelled
from reagent_core.explanation import Counts
from reagent_core.masks import (
    initial_scores,
    replacement_draws,
    stop_test_draws,
    unit_mask,
)
from reagent_core.prompt import Prompt
from reagent_core.replacers.base import Substitute
from reagent_core.scorers.base import BoolArray, FloatArray, IntArray, Scorer, never
from reagent_core.target import Readings, Targets, measure

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
    step; `ranks` [T] in the stop test, 0 where none was due; `stopped` [T].
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


@dataclass
class Meter:
    """Scores prompts for one run: each distinct one once, in batches, counting the work."""

    scorer: Scorer
    targets: Targets
    cancelled: Callable[[], bool] = never
    batch_size: int | None = None
    forwards: int = 0
    sequences: int = 0
    tokens: int = 0
    discarded: int = 0
    _seen: dict[bytes, tuple[FloatArray, FloatArray, IntArray]] = field(default_factory=dict)

    def read(self, contexts: IntArray) -> Readings:
        """Readings of prompts [B, L], equal ones (of now or before) scored once.

        Raises:
            Cancelled: `cancelled()` became true between two forwards.
        """
        keys = [context.tobytes() for context in contexts]
        rows = {key: row for row, key in enumerate(keys) if key not in self._seen}
        fresh = list(rows.items())
        continuations = [c for c in (self.targets.continuation, self.targets.foil) if c]
        length = contexts.shape[1] + max(map(len, continuations)) - 1
        size = self.batch_size or self.scorer.batch_size(length)
        for low in range(0, len(fresh), size):
            if self.cancelled():
                raise Cancelled("Stopped.")
            part = fresh[low : low + size]
            readings = measure(self.scorer, contexts[[row for _, row in part]], self.targets)
            for i, (key, _) in enumerate(part):
                self._seen[key] = (
                    readings.values[i], readings.probabilities[i], readings.ranks[i]
                )  # fmt: skip
            for continuation in continuations:
                self.forwards += 1
                self.sequences += len(part)
                self.tokens += len(part) * (contexts.shape[1] + len(continuation) - 1)
        values, probabilities, ranks = zip(*(self._seen[key] for key in keys), strict=True)
        return Readings(np.stack(values), np.stack(probabilities), np.stack(ranks))

    def counts(self) -> Counts:
        """The work so far."""
        return Counts(
            forwards=self.forwards,
            sequences=self.sequences,
            tokens=self.tokens,
            discarded=self.discarded,
        )


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
    """What the stop test replaces: [n] True for all but the highest 30% of the scores.

    At least one unit is kept; ties keep the earlier unit.
    """
    n = scores.shape[-1]
    kept = max(1, round(KEPT_SHARE * n))
    replaced = np.ones(n, bool)
    replaced[np.argsort(-scores, kind="stable")[:kept]] = False
    return replaced


def run(
    prompt: Prompt,
    substitute: Substitute,
    meter: Meter,
    config: Config,
    chunk: int | None = None,
) -> Iterator[list[StepEvent]]:
    """Run all probes; yields the events of one chunk of steps at a time, in order of steps.

    `chunk`: steps in one chunk; by default chunks grow, and end where stopping may begin.

    With T targets each is tested at every T-th step from `min_steps` on, so that stop tests
    never cost more than the steps themselves. Where a single unit is free there is nothing to
    test: every probe ends at `min_steps`, not stopped.

    Raises:
        Cancelled: the meter was cancelled; events yielded before stay valid.
    """
    n, length = len(prompt.free_units), len(prompt.token_ids)
    count = len(meter.targets.spans)
    passing = meter.targets.passing_rank(config.top_k)
    original = np.asarray(prompt.token_ids, np.int64)
    p_original = meter.read(original[None]).probabilities[0]
    last_step = config.max_steps if n > 1 else config.min_steps
    scores = [np.tile(initial_scores(n, config, j), (count, 1)) for j in range(config.probes)]
    stop_draws = [stop_test_draws(length, config, j) for j in range(config.probes)]
    done = np.zeros((config.probes, count), bool)
    start = 0
    while start < last_step and not done.all():
        probes = [j for j in range(config.probes) if not done[j].all()]
        # At most two forwards' worth, so that a long prompt, too, shows a picture soon.
        most = max(1, 2 * meter.scorer.batch_size(length) // len(probes))
        size = chunk or min(_chunk_size(start, config), most)
        steps = range(start, min(start + size, last_step))
        places = [(j, k) for k in steps for j in probes]
        masks = np.stack([unit_mask(n, config, j, k) for j, k in places])
        draws = np.stack([replacement_draws(length, config, j, k) for j, k in places])
        contexts = substitute(token_mask(prompt, masks), draws)
        readings = meter.read(contexts)
        change = p_original - readings.probabilities

        # Fold as if nothing stopped, then test all rationales of the chunk at once.
        folded: list[FloatArray] = []
        for row, (j, _) in enumerate(places):
            addition = update(change[row], masks[row], config)
            scores[j] = scores[j] + np.where(done[j][:, None], 0.0, addition)
            folded.append(scores[j])
        ranks = _stop_tests(prompt, substitute, meter, config, places, folded, stop_draws, done)

        events: list[StepEvent] = []
        for row, (j, k) in enumerate(places):
            if done[j].all():  # computed, but the one-at-a-time loop would not have come here
                meter.discarded += 1
                continue
            stopped = ~done[j] & (ranks[row] > 0) & (ranks[row] <= passing)
            for later in range(row + 1, len(places)):  # a stopped target's scores stay
                if places[later][0] == j:
                    folded[later][stopped] = folded[row][stopped]
            events.append(
                StepEvent(
                    j, k, masks[row], contexts[row], readings.values[row],
                    readings.probabilities[row], change[row], folded[row],
                    np.where(done[j], 0, ranks[row]), stopped,
                )
            )  # fmt: skip
            done[j] |= stopped
            scores[j] = folded[row]
        yield events
        start = steps.stop


def _chunk_size(start: int, config: Config) -> int:
    """Grow from 1 to 16 steps; none is wasted before `min_steps`, at most a fifth after it."""
    if start < config.min_steps - 1:
        return min(max(1, start), 16, config.min_steps - 1 - start)
    return min(max(1, start // 4), 16)


def _stop_tests(
    prompt: Prompt,
    substitute: Substitute,
    meter: Meter,
    config: Config,
    places: list[tuple[int, int]],
    folded: list[FloatArray],
    stop_draws: list[FloatArray],
    done: BoolArray,
) -> IntArray:
    """Ranks [rows, T] of the targets with all but their rationale replaced; 0: no test due."""
    count = done.shape[1]
    ranks = np.zeros((len(places), count), np.int64)
    n = folded[0].shape[1]
    due = [
        (row, target)
        for row, (j, k) in enumerate(places)
        if n > 1 and k + 1 >= config.min_steps and (k + 1 - config.min_steps) % count == 0
        for target in range(count)
        if not done[j, target]
    ]
    if not due:
        return ranks
    masks = np.stack([rationale_complement(folded[row][target]) for row, target in due])
    draws = np.stack([stop_draws[places[row][0]] for row, _ in due])
    readings = meter.read(substitute(token_mask(prompt, masks), draws))
    for i, (row, target) in enumerate(due):
        ranks[row, target] = readings.ranks[i, target]
    return ranks
