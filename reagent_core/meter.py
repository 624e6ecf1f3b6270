"""Scores the prompts of one run: each distinct one once, in batches that fit, counting the work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from reagent_core.errors import Cancelled, OutOfMemory
from reagent_core.explanation import Counts
from reagent_core.scorers.base import BoolArray, FloatArray, IntArray, Prefix, Scorer, never
from reagent_core.target import Readings, Targets, measure

# Values, probabilities, ranks and bounds of one prompt, each [T].
_Reading = tuple[FloatArray, FloatArray, IntArray, BoolArray]


@dataclass
class Meter:
    """What a run reads, and what that cost.

    `prefix`: what all its prompts begin with. `batch_size`: sequences in one forward, the
    scorer's own choice if None. `discarded`: sequences that were scored in vain, because a probe
    had stopped before them.
    """

    scorer: Scorer
    targets: Targets
    cancelled: Callable[[], bool] = never
    batch_size: int | None = None
    prefix: Prefix | None = None
    forwards: int = 0
    sequences: int = 0
    tokens: int = 0
    discarded: int = 0
    _seen: dict[bytes, _Reading] = field(default_factory=dict)

    def remember(self, contexts: IntArray, readings: Readings) -> None:
        """Take prompts [B, L] for read, with what a run before this one read there.

        A rank of 0 is one that is not known.
        """
        for row, context in enumerate(contexts):
            reading = (
                readings.values[row], readings.probabilities[row], readings.ranks[row],
                readings.bounded[row],
            )  # fmt: skip
            self._seen.setdefault(context.tobytes(), reading)

    def read(self, contexts: IntArray, *, ranked: bool = False) -> Readings:
        """Readings of prompts [B, L], equal ones (of now or before) scored once.

        `ranked`: what is remembered without its ranks is scored again. A batch that does not fit
        into memory is halved, and all later ones are as small.

        Raises:
            Cancelled: `cancelled()` became true between two forwards.
            OutOfMemory: not even one sequence fits.
        """
        keys = [context.tobytes() for context in contexts]
        rows = {key: row for row, key in enumerate(keys) if self._is_missing(key, ranked)}
        # Prompts that share much of the prefix go together: a batch shares what all of it shares.
        shared = self._shared(contexts[list(rows.values())])
        fresh = sorted(zip(shared, rows.items(), strict=True), key=lambda item: -item[0])
        while fresh:
            if self.cancelled():
                raise Cancelled("Stopped.")
            length = contexts.shape[1]
            size = min(len(fresh), self.sequences_at_once(length, fresh[0][0]))
            while size > (fit := self.sequences_at_once(length, fresh[size - 1][0])):
                size = max(fit, size // 2)
            part = fresh[:size]
            try:
                readings = measure(
                    self.scorer, contexts[[row for _, (_, row) in part]], self.targets, self.prefix
                )
            except OutOfMemory:
                if size == 1:
                    raise
                self.batch_size = size // 2
                continue
            for i, (_, (key, _)) in enumerate(part):
                self._seen[key] = (
                    readings.values[i], readings.probabilities[i], readings.ranks[i],
                    readings.bounded[i],
                )  # fmt: skip
            self._count(size, length, part[-1][0])
            fresh = fresh[size:]
        columns = zip(*(self._seen[key] for key in keys), strict=True)
        return Readings(*map(np.stack, columns))

    def _is_missing(self, key: bytes, ranked: bool) -> bool:
        return key not in self._seen or (ranked and not self._seen[key][2].all())

    def sequences_at_once(self, length: int, shared: int = 0) -> int:
        """Prompts of `length` tokens, `shared` of them with the prefix, read in one forward."""
        if self.batch_size:
            return self.batch_size
        reads = max(self.targets.reads(part) for part in self.targets.parts())
        width = self.targets.width(length)
        return self.scorer.batch_size(width, reads, self._usable(shared, width - reads))

    def _shared(self, contexts: IntArray) -> list[int]:
        if self.prefix is None or not len(contexts):
            return [0] * len(contexts)
        return self.prefix.shared_with(contexts).tolist()

    def _usable(self, shared: int, places: int) -> int:
        return self.prefix.usable(shared, places) if self.prefix else 0

    def counts(self) -> Counts:
        """The work so far."""
        return Counts(
            forwards=self.forwards,
            sequences=self.sequences,
            tokens=self.tokens,
            discarded=self.discarded,
        )

    def _count(self, sequences: int, length: int, shared: int) -> None:
        for part in self.targets.parts():
            width = self.targets.width(length, part)
            skipped = self._usable(shared, width - self.targets.reads(part))
            self.forwards += 1
            self.sequences += sequences
            self.tokens += sequences * (width - skipped)
