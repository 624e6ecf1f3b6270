"""A transformers masked language model that says what may stand in the place of its masks."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from reagent_core.errors import ModelError
from reagent_core.request import ModelInfo
from reagent_core.scorers.hf_tokenizer import HFTokenizer

# A mask needs its surroundings, not a whole book, and attention grows with the square.
_LONGEST_WINDOW = 512


@dataclass(frozen=True, eq=False)
class MaskFiller:
    """A masked language model in eval mode. Safe to share between threads.

    `before`, `after`: the special tokens around a text; `window`: how many tokens fit between
    them; `vocabulary_size`: of the logits.
    """

    model: PreTrainedModel
    tokenizer: HFTokenizer
    info: ModelInfo
    mask_id: int
    pad_id: int
    before: tuple[int, ...]
    after: tuple[int, ...]
    window: int
    vocabulary_size: int
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def of(
        cls, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, info: ModelInfo
    ) -> MaskFiller:
        """A model with its fast tokenizer, ready to be asked.

        Raises:
            ModelError: the tokenizer is a slow one, or knows no mask.
        """
        wrapped = HFTokenizer(tokenizer)
        mask_id, pad_id = tokenizer.mask_token_id, tokenizer.pad_token_id
        if mask_id is None:
            raise ModelError(
                f"The tokenizer of {info.id} has no mask token, so it is no masked language "
                "model's. Choose one, as RoBERTa or BERT."
            )
        tokenizer.split_special_tokens = True  # "</s>" in a prompt is text
        framed = tokenizer("a", return_special_tokens_mask=True)
        ids, special = framed["input_ids"], framed["special_tokens_mask"]
        before, after = special.index(0), special[::-1].index(0)
        longest = min(_LONGEST_WINDOW, _positions(model), tokenizer.model_max_length)
        return cls(
            model=model.eval(),
            tokenizer=wrapped,
            info=info,
            mask_id=mask_id,
            pad_id=mask_id if pad_id is None else pad_id,
            before=tuple(ids[:before]),
            after=tuple(ids[len(ids) - after :]),
            window=longest - before - after,
            vocabulary_size=model.config.vocab_size,
        )

    @property
    def framing(self) -> int:
        """How many tokens a text gets around it."""
        return len(self.before) + len(self.after)

    @torch.inference_mode()
    def logits(
        self, texts: Sequence[Sequence[int]], places: Sequence[Sequence[int]]
    ) -> torch.Tensor:
        """Logits [P, V] in fp32 at the given places of each text, from one forward.

        Only these places meet the vocabulary: a hook on the last layer picks them, whatever the
        family.
        """
        length = max(map(len, texts)) + self.framing
        inputs = torch.full((len(texts), length), self.pad_id)
        attended = torch.zeros_like(inputs)
        for row, text in enumerate(texts):
            framed = torch.tensor([*self.before, *text, *self.after])
            inputs[row, : len(framed)] = framed
            attended[row, : len(framed)] = 1
        rows = [row for row, own in enumerate(places) for _ in own]
        columns = [place + len(self.before) for own in places for place in own]

        def pick(_: object, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
            return (given[0][rows, columns],)

        device = self.model.device
        head: Any = self.model.get_output_embeddings()
        with self._lock:
            hook = head.register_forward_pre_hook(pick)
            try:
                output = self.model(input_ids=inputs.to(device), attention_mask=attended.to(device))
            finally:
                hook.remove()
        logits: torch.Tensor = output.logits.float()
        return logits


def _positions(model: PreTrainedModel) -> int:
    """The longest sequence the model takes, by its table of positions where it has one.

    RoBERTa's begins after the row of the padding.
    """
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, torch.nn.Embedding):
            unused = 0 if module.padding_idx is None else module.padding_idx + 1
            return module.num_embeddings - unused
    return int(getattr(model.config, "max_position_embeddings", None) or _LONGEST_WINDOW)
