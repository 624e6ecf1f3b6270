"""Replacements predicted by a masked language model, as published (Zhao & Shan 2024, section 3.2).

All replaced tokens of a prompt are masked together, so what the model proposes for one of them
depends on which others are gone. Its proposals are taken over by their text: only those count that
are single tokens of the explained model, with the blank in front that the original has.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from reagent_core.errors import Cancelled, OutOfMemory
from reagent_core.prompt import Prompt
from reagent_core.replacers.base import Substitute
from reagent_core.replacers.candidates import CANDIDATES, cumulative, drawn, surplus
from reagent_core.replacers.causal_lm import CausalLMReplacer
from reagent_core.replacers.mask_filler import MaskFiller
from reagent_core.replacers.masked_text import MaskableText, Masked, windows
from reagent_core.replacers.vocabulary import dictionary, is_spaced, surfaces
from reagent_core.request import ModelInfo
from reagent_core.scorers.base import BoolArray, FloatArray, IntArray, Scorer, never
from reagent_core.scorers.memory import is_out_of_memory, sequences_at_once

log = logging.getLogger(__name__)

# Masks whose proposals are kept: the same ones come again, and each takes some kilobytes.
KEPT = 512


@dataclass(frozen=True)
class Proposals:
    """What may stand at P positions of one masked prompt: `positions` [P], `token_ids` [P, K] of
    the explained model, `cumulative` [P, K] their weights summed up."""

    positions: IntArray
    token_ids: IntArray
    cumulative: FloatArray


class MaskedLMReplacer:
    """Samples from the ten likeliest proposals of a masked model, the original one excluded."""

    def __init__(
        self, masked: MaskFiller, scorer: Scorer, cancelled: Callable[[], bool] = never
    ) -> None:
        self._masked, self._scorer, self._cancelled = masked, scorer, cancelled

    @property
    def model(self) -> ModelInfo:
        """The masked model."""
        return self._masked.info

    def prepare(self, prompt: Prompt) -> Substitute:
        """Lay the two tokenizations over each other; masks are predicted as they come."""
        text = MaskableText(
            prompt, self._scorer.tokenizer, self._masked.tokenizer, self._masked.mask_id
        )
        kinds = _Kinds.between(self._masked, self._scorer)
        own = surfaces(self._scorer.tokenizer, prompt.token_ids)
        kind = kinds.of(text.spaced, np.array([is_spaced(surface) for surface in own]))
        kind[~text.seen] = -1
        left_out = [position for position in prompt.free_positions if kind[position] < 0]
        by_causal = None
        if left_out:
            log.info(
                "%d of %d tokens have no counterpart in %s, or it has no token for their place "
                "that is one of the explained model: the explained model replaces them itself.",
                len(left_out), len(prompt.free_positions), self._masked.info.id,
            )  # fmt: skip
            by_causal = CausalLMReplacer(self._scorer).prepare(prompt)
        return _MaskedSubstitute(
            prompt, self._masked, self._cancelled, text, kinds, kind, by_causal
        )


@dataclass(frozen=True)
class _Kinds:
    """Which tokens of the masked model may be proposed, for each kind of place.

    `allowed` [6, V]: kind = 2 * (what the masked model has there is glued, has a blank in front,
    or either) + (the explained token has a blank in front). `targets` [2, V]: see `Dictionary`.
    """

    allowed: BoolArray
    targets: IntArray

    @classmethod
    def between(cls, masked: MaskFiller, scorer: Scorer) -> _Kinds:
        words = dictionary(masked.tokenizer, scorer.tokenizer)
        size = masked.vocabulary_size
        known = min(size, len(words.spaced))  # a padded head, or tokens without weights
        targets = np.full((2, size), -1, np.int64)
        targets[:, :known] = words.targets[:, :known]
        spaced = np.zeros(size, bool)
        spaced[:known] = words.spaced[:known]
        glued, blank = ~spaced & (targets >= 0), spaced & (targets >= 0)  # [2, V]
        # Either: a word that is there with and without a blank is proposed once.
        again = np.stack([np.isin(own, own[way]) for own, way in zip(targets, blank, strict=True)])
        allowed = np.stack([glued, blank, blank | (glued & ~again)])
        return cls(allowed.reshape(6, size), targets)

    def of(self, spaced: BoolArray, own_spaced: BoolArray) -> IntArray:
        """The kind [L] of places; -1 where nothing could be proposed, not even with another blank.

        `spaced`, `own_spaced` [L]: whether a blank stands in front for the masked model, and for
        the explained one.
        """
        enough = self.allowed.sum(1) > 1  # one may be the original
        exact = 2 * spaced + own_spaced
        either = 4 + own_spaced.astype(np.int64)
        return np.where(enough[exact], exact, np.where(enough[either], either, -1))


class _MaskedSubstitute:
    """Replaces tokens of one prompt by what the masked model proposes for that very mask."""

    def __init__(
        self,
        prompt: Prompt,
        masked: MaskFiller,
        cancelled: Callable[[], bool],
        text: MaskableText,
        kinds: _Kinds,
        kind: IntArray,
        by_causal: Substitute | None,
    ) -> None:
        self._original = np.asarray(prompt.token_ids, np.int64)
        self._masked, self._cancelled, self._text = masked, cancelled, text
        self._kinds, self._kind, self._by_causal = kinds, kind, by_causal
        self._allowed = torch.from_numpy(kinds.allowed).to(masked.model.device)
        self._known: dict[bytes, Proposals] = {}

    def __call__(self, replaced: BoolArray, uniforms: FloatArray) -> IntArray:
        """Token ids [B, L]; each distinct mask goes through the masked model once."""
        answered = self._kind >= 0
        result = np.tile(self._original, (len(replaced), 1))
        if self._by_causal is not None:
            result = self._by_causal(replaced & ~answered, uniforms)
        masks = replaced & self._text.seen  # hidden together, also where nothing can be proposed
        rows = {mask.tobytes(): mask for mask in masks if (mask & answered).any()}
        missing = {key: mask for key, mask in rows.items() if key not in self._known}
        found = {key: self._known[key] for key in rows if key in self._known}
        found |= self._predict(missing)
        for row, mask in enumerate(masks):
            if (proposals := found.get(mask.tobytes())) is not None:
                at = proposals.positions
                choice = drawn(proposals.cumulative, uniforms[row, at])
                result[row, at] = proposals.token_ids[np.arange(len(at)), choice]
        self._known = dict([*self._known.items(), *found.items()][-KEPT:])
        return result

    def _predict(self, masks: dict[bytes, BoolArray]) -> dict[bytes, Proposals]:
        """Proposals for each mask [L], where the model can make any."""
        parts: list[tuple[bytes, Masked]] = []
        for key, mask in masks.items():
            text = self._text.masked(np.flatnonzero(mask).tolist()).asking(self._kind >= 0)
            parts += [(key, window) for window in windows(text, self._masked.window)]
        # Windows of like length go together, so that little is padded.
        parts.sort(key=lambda part: len(part[1].token_ids))
        pieces: dict[bytes, list[Proposals]] = {key: [] for key in masks}
        most = len(parts)
        while parts:
            if self._cancelled():
                raise Cancelled("Stopped.")
            size = min(most, len(parts))
            while size > (fit := self._fits([window for _, window in parts[:size]])):
                size = max(fit, size // 2)
            try:
                made = self._propose([window for _, window in parts[:size]])
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                if size == 1:
                    raise OutOfMemory(
                        "There is not enough memory for the masked model. Close other programs, "
                        "or choose another replacer."
                    ) from None
                most = size // 2
                continue
            for (key, _), proposals in zip(parts, made, strict=False):
                pieces[key].append(proposals)
            parts = parts[size:]
        return {key: _joined(own) for key, own in pieces.items()}

    def _fits(self, batch: Sequence[Masked]) -> int:
        """How many sequences like those of `batch` one forward takes."""
        length = max(len(window.token_ids) for window in batch) + self._masked.framing
        reads = max(len(window.places) for window in batch)
        return sequences_at_once(self._masked.model, length, reads, 0)

    def _propose(self, batch: Sequence[Masked]) -> list[Proposals]:
        """Proposals at the masks of each window, from one forward."""
        positions = np.concatenate([window.positions for window in batch]).astype(np.int64)
        kind = self._kind[positions]
        logits = self._masked.logits(
            [window.token_ids for window in batch], [window.places for window in batch]
        )
        allowed = self._allowed[torch.from_numpy(kind).to(logits.device)]
        count = min(CANDIDATES + 1, logits.shape[1])
        top = logits.masked_fill(~allowed, -torch.inf).topk(count, dim=1)
        scores = top.values.cpu().double().numpy()
        ids = self._kinds.targets[(kind % 2)[:, None], top.indices.cpu().numpy()]
        ids[np.isneginf(scores)] = -1  # fewer are allowed than were asked for
        own = surplus(ids, self._original[positions])
        ids = ids[~own].reshape(len(ids), count - 1)
        scores = scores[~own].reshape(ids.shape)
        ids = np.where(ids >= 0, ids, ids[:, :1])  # no rounding may choose what is not allowed
        weights = np.exp(scores - scores[:, :1])
        ends = np.cumsum([len(window.positions) for window in batch])[:-1]
        return [
            Proposals(*part)
            for part in zip(
                np.split(positions, ends), np.split(ids, ends),
                np.split(cumulative(weights), ends), strict=True,
            )
        ]  # fmt: skip


def _joined(parts: Sequence[Proposals]) -> Proposals:
    return Proposals(
        np.concatenate([part.positions for part in parts]),
        np.concatenate([part.token_ids for part in parts]),
        np.concatenate([part.cumulative for part in parts]),
    )
