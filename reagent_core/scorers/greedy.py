"""A transformers model's greedy answer, with each token's probability and its rivals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import (
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    StoppingCriteria,
    StoppingCriteriaList,
)

from reagent_core.errors import Cancelled
from reagent_core.explanation import Alternative
from reagent_core.scorers.base import GeneratedToken
from reagent_core.scorers.memory import lack_of_memory_told


def end_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """The tokens that end an answer, ascending: those the model names, and the tokenizer's."""
    eos = model.generation_config.eos_token_id if model.generation_config else None
    named = eos if isinstance(eos, list) else [eos]
    return tuple(sorted({i for i in (*named, tokenizer.eos_token_id) if i is not None}))


@lack_of_memory_told()
def greedy_answer(
    model: PreTrainedModel,
    inputs: dict[str, torch.Tensor],
    max_new_tokens: int,
    ends: Sequence[int],
    decode: Callable[[Sequence[int]], str],
    cancelled: Callable[[], bool],
) -> tuple[GeneratedToken, ...]:
    """Greedy decoding with each token's probability and its five strongest rivals.

    `inputs`: what `generate` reads, a batch of one. `ends`: tokens that end the answer and are no
    part of it.

    Raises:
        Cancelled: `cancelled()` became true meanwhile.
        OutOfMemory: there is no room for the prompt.
    """

    class StopWhenCancelled(StoppingCriteria):
        def __call__(self, input_ids: torch.Tensor, scores: object, **_: object) -> torch.Tensor:
            return torch.full((len(input_ids),), cancelled(), device=input_ids.device)

    begun = inputs.get("decoder_input_ids")  # else generate puts a start token in front of it
    generate: Any = model.generate  # a mixin's, of which PreTrainedModel's type knows nothing
    output = generate(
        **inputs,
        generation_config=GenerationConfig(
            do_sample=False,
            max_new_tokens=max_new_tokens,
            decoder_start_token_id=None if begun is None else int(begun[0, 0]),
            eos_token_id=list(ends) or None,
            pad_token_id=ends[0] if ends else 0,
            output_logits=True,
            return_dict_in_generate=True,
        ),
        stopping_criteria=StoppingCriteriaList([StopWhenCancelled()]),
    )
    if cancelled():
        raise Cancelled("Stopped before the model had answered.")
    tokens = []
    new_ids = output.sequences[0, -len(output.logits) :].tolist()
    for token_id, logits in zip(new_ids, output.logits, strict=True):
        if token_id in ends:
            break
        probabilities = logits[0].float().softmax(-1)
        top = probabilities.topk(6)
        rivals = [
            Alternative(text=decode([i]), probability=p)
            for i, p in zip(top.indices.tolist(), top.values.tolist(), strict=True)
            if i != token_id
        ]
        tokens.append(GeneratedToken(token_id, float(probabilities[token_id]), tuple(rivals[:5])))
    return tuple(tokens)
