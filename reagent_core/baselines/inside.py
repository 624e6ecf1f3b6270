"""What gradient and attention methods ask of a model beyond `Scorer`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from reagent_core.errors import InputError
from reagent_core.scorers.base import FloatArray, Scorer

if TYPE_CHECKING:
    import torch


@runtime_checkable
class Inside(Protocol):
    """A model in memory that can be looked into."""

    @property
    def reference_id(self) -> int | None:
        """The token that stands for nothing known."""

    def embedded(self, token_ids: Sequence[int]) -> torch.Tensor:
        """Embeddings [1, S, E] of S tokens of a context."""

    def log_probabilities(
        self, embedded: torch.Tensor, said: Sequence[int], targets: Sequence[int]
    ) -> torch.Tensor:
        """Log-probabilities [B, M] (nats) of M tokens read at the last places, with gradient.

        `embedded` [B, S, E]: the context; the tokens `said` follow it.

        Raises:
            OutOfMemory: there is no room for so many at once.
        """

    def attentions(self, token_ids: Sequence[int], said: Sequence[int]) -> FloatArray:
        """Attention [layers, D, S], the mean over heads, in [0, 1].

        Of a causal model D = S are all tokens, those `said` behind the context; of an
        encoder-decoder D are the decoder's tokens and S those of the context.

        Raises:
            InputError: some layer has none.
            OutOfMemory: there is no room for all.
        """


def inside(scorer: Scorer) -> Inside:
    """The scorer as `Inside`; the caller has asked `Method.can` before."""
    if not isinstance(scorer, Inside):
        raise InputError("Only a model in memory can be looked into.", "settings")
    return scorer


def why_no_attention(scorer: Inside) -> str | None:
    """None where every layer of the model tells its attention (tried on one token)."""
    try:
        scorer.attentions([scorer.reference_id or 0], ())
    except InputError as error:
        return str(error)
    return None
