"""Only the places that are read meet the vocabulary projection, in any encoder-decoder family.

Causal models take `logits_to_keep`; these do not, and what stands around the projection differs
(T5 scales the hidden states before it, BART adds a bias after it). So the places are picked at its
door, by a hook that every thread sets for its own forward.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import PreTrainedModel

from reagent_core.errors import ModelError


class ReadPlaces:
    """Watches the projection of one model; forwards outside of `only` are left alone.

    Raises:
        ModelError: the model has no such projection.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        head = model.get_output_embeddings()
        if head is None:
            raise ModelError(
                "This model cannot write text: it has no projection to its vocabulary. Choose one "
                "that was made to generate."
            )
        self._thread = threading.local()
        head.register_forward_pre_hook(self._pick)

    @contextmanager
    def only(self, places: torch.Tensor) -> Iterator[None]:
        """Forwards of this thread give logits of `places` [B or 1, P] of each sequence alone."""
        self._thread.places = places
        try:
            yield
        finally:
            del self._thread.places

    def _pick(self, head: torch.nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...] | None:
        places = getattr(self._thread, "places", None)
        if places is None:
            return None
        hidden, *rest = given
        return (torch.take_along_dim(hidden, places.unsqueeze(2), 1), *rest)
