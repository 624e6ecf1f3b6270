"""A model that tells its attention, beside the one that does not: fast kernels keep none."""

from __future__ import annotations

import copy

import torch
from transformers import PreTrainedModel

from reagent_core.errors import InputError, OutOfMemory
from reagent_core.scorers.memory import free_bytes


def eager_copy(model: PreTrainedModel, *shared: object) -> PreTrainedModel:
    """The same weights in memory behind modules of their own, which compute attention eagerly.

    The model itself is left alone: other threads may be using it. `shared`: what its modules hold
    that is not to be copied.
    """
    kept = (*model.parameters(), *model.buffers(), *shared)
    copied = copy.deepcopy(model, {id(each): each for each in kept})
    copied.set_attn_implementation("eager")
    return copied


def check_room(model: PreTrainedModel, length: int) -> None:
    """Refuse (OutOfMemory) sequences whose attention of all layers would not fit."""
    config = model.config.get_text_config()
    layers = int(getattr(config, "num_hidden_layers", None) or 1)
    heads = int(getattr(config, "num_attention_heads", None) or 1)
    if 8 * layers * heads * length**2 > free_bytes(model.device) // 2:
        raise OutOfMemory(
            f"There is not enough memory for the attention of all {layers} layers over {length:,} "
            "tokens. Shorten the prompt, or choose a method that does not read attention."
        )


def mean_over_heads(attentions: object) -> torch.Tensor:
    """Attention of all layers [layers, D, S] of one sequence, the mean over heads, in fp32.

    Raises:
        InputError: some layer has none (field "settings").
    """
    layers = attentions if isinstance(attentions, tuple) else ()
    if not layers or any(layer is None or layer.dim() != 4 for layer in layers):
        raise InputError(
            "This model has layers without attention, so there is nothing to read.", "settings"
        )
    return torch.stack([layer[0].float().mean(0) for layer in layers])
