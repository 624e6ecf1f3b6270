"""The key-value cache of what all sequences of a run begin with, computed once.

Any cache will do that a model takes as `past_key_values` (full attention, sliding windows): it is
copied for each batch. A model that keeps its recurrent states under another name, as Mamba does,
goes without. Whether a model family goes on from a copied cache as it would from the text is not
looked up but tried, once a model.
"""

from __future__ import annotations

import copy
import inspect
import logging
from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedModel

from reagent_core.scorers.memory import is_out_of_memory

log = logging.getLogger(__name__)

# Log-probabilities (nats) that differ by less are the same up to rounding.
_ROUNDING = {torch.float32: 1e-3, torch.float16: 0.05, torch.bfloat16: 0.2}


def run_prefix(model: PreTrainedModel, token_ids: Sequence[int]) -> Any | None:
    """The model's cache after `token_ids` (batch of one), None where it returns none."""
    if "past_key_values" not in inspect.signature(model.forward).parameters:
        return None
    input_ids = torch.tensor([list(token_ids)], device=model.device)
    return model(input_ids=input_ids, use_cache=True, logits_to_keep=1).past_key_values


def croppable(cache: Any) -> bool:
    """Whether the states after fewer tokens can be had from a cache by cutting it.

    A sliding window has dropped what would be needed for it.
    """
    return all(layer.is_croppable and not layer.is_sliding for layer in cache.layers)


def continued(cache: Any, batch: int, length: int) -> Any:
    """A copy of a cache for `batch` sequences that share its first `length` tokens; the forward
    that gets it may write into it."""
    own = copy.deepcopy(cache)
    if (surplus := own.get_seq_length() - length) > 0:
        own.crop(-surplus)
    own.batch_repeat_interleave(batch)
    return own


def goes_on(model: PreTrainedModel, token_ids: Sequence[int]) -> bool:
    """Whether two different sequences that go on from a shared cache get what they get alone.

    Lack of memory says nothing about it, and is raised.
    """
    prefix, tails = list(token_ids), [list(token_ids[:4]), list(token_ids[-4:])]
    try:
        cache = run_prefix(model, prefix)
        if cache is None:
            return False
        alone = model(
            input_ids=torch.tensor([prefix + tail for tail in tails], device=model.device),
            use_cache=False,
            logits_to_keep=2,
        ).logits
        together = model(
            input_ids=torch.tensor(tails, device=model.device),
            past_key_values=continued(cache, len(tails), len(prefix)),
            use_cache=True,
            logits_to_keep=2,
        ).logits
    except (AttributeError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        if is_out_of_memory(error):
            raise
        # What a family that cannot raises; the run goes on without, and slower.
        log.info("No shared prefix with %s: %r", type(model).__name__, error)
        return False
    difference = (alone.float().log_softmax(-1) - together.float().log_softmax(-1)).abs().max()
    return bool(difference < _ROUNDING.get(alone.dtype, 1e-3))
