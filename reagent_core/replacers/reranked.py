"""Replacements predicted by the explained model from both sides.

A causal model proposes from the left context alone, so that what follows a replacement may not
fit it. Here the likeliest proposals are weighed again by how well the next tokens of the prompt
follow them. By Bayes' rule that is the model's own belief about a place, given what stands left
of it and the next few tokens:

    p(c | left, next) is proportional to p(c | left) * p(next | left, c)
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import softmax

from reagent_core.errors import Cancelled
from reagent_core.prompt import Prompt
from reagent_core.replacers.base import Substitute
from reagent_core.replacers.candidates import CANDIDATES, Candidates, drawing_from, left_context
from reagent_core.replacers.causal_lm import CausalLMReplacer
from reagent_core.scorers.base import FloatArray, IntArray, Prefix, Scorer, never

# Proposals weighed at each place, and how many of the tokens that follow weigh them.
LOOKED_AT = 20
FOLLOWING = 4

# Where the model cannot go on from a cache, no more of the left context than this is read again.
LEFT = 64


class RerankedCausalLMReplacer:
    """Samples from the ten proposals that fit best between left and right, as likely as they fit.

    A place costs `LOOKED_AT` sequences of `FOLLOWING` tokens after a cached left context.
    """

    model = None

    def __init__(self, scorer: Scorer, cancelled: Callable[[], bool] = never) -> None:
        self._scorer = scorer
        self._cancelled = cancelled

    def prepare(self, prompt: Prompt) -> Substitute:
        """Predict every place once, then weigh the proposals of those that may be replaced.

        Raises:
            ModelError: the vocabulary is too small.
            Cancelled: `cancelled()` became true between two places.
        """
        if prompt.closed:  # an encoder reads both sides anyway
            return CausalLMReplacer(self._scorer).prepare(prompt)
        found = left_context(self._scorer, prompt.token_ids, LOOKED_AT)
        prefix = self._scorer.prefix(prompt.token_ids, 0)
        scores = np.log(np.maximum(found.weights, np.finfo(float).tiny))
        for position in prompt.free_positions:
            if self._cancelled():
                raise Cancelled("Stopped.")
            scores[position] += self._fit(prompt, position, found.token_ids[position], prefix)
        best = np.argsort(-scores, axis=1, kind="stable")[:, :CANDIDATES]
        chosen = Candidates(
            np.take_along_axis(found.token_ids, best, 1),
            softmax(np.take_along_axis(scores, best, 1), axis=1),
        )
        return drawing_from(chosen, prompt.token_ids)

    def _fit(
        self, prompt: Prompt, position: int, proposals: IntArray, prefix: Prefix | None
    ) -> FloatArray:
        """Log-probability (nats) of the next tokens after each of the proposals [K]: [K]."""
        ids = prompt.token_ids
        following = ids[position + 1 : position + 1 + FOLLOWING]
        if not following:
            return np.zeros(len(proposals))
        shared = prefix.usable(position, position) if prefix else 0
        left = ids[:position] if shared else ids[max(0, position - LEFT) : position]
        inputs = np.empty((len(proposals), len(left) + len(following)), np.int64)
        inputs[:] = [*left, 0, *following[:-1]]
        inputs[:, len(left)] = proposals
        size = self._scorer.batch_size(inputs.shape[1], len(following), shared)
        fits = [
            self._scorer.score(inputs[low : low + size], following, prefix if shared else None)
            for low in range(0, len(inputs), size)
        ]
        return np.concatenate([fit.log_probabilities.sum(1) for fit in fits])
