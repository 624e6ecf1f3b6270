"""A transformers fast tokenizer behind the library's `Tokenizer` protocol."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from reagent_core.errors import InputError, ModelError
from reagent_core.prompt import Encoding
from reagent_core.request import Turn


class HFTokenizer:
    """Wraps a fast tokenizer; slow ones report no offsets.

    `closed`: a prompt keeps what the tokenizer puts behind it, because the text ends there and the
    answer is a text of its own (the source of an encoder-decoder model). Else it is left out: it
    would end the prompt before the answer.

    Raises:
        ModelError: the tokenizer is a slow one.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, closed: bool = False) -> None:
        if not tokenizer.is_fast:
            raise ModelError(
                "This model's tokenizer reports no character offsets. Choose a model with a fast "
                "tokenizer (a tokenizer.json)."
            )
        self._tokenizer = tokenizer
        self._closed = closed

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """The named special tokens and every added token that is marked special.

        The tokenizer's own `special_tokens_mask` marks only those it added itself, not
        "<|im_end|>" typed into a prompt.
        """
        added = self._tokenizer.added_tokens_decoder
        marked = {token_id for token_id, token in added.items() if token.special}
        return frozenset(marked | set(self._tokenizer.all_special_ids))

    @property
    def reference_id(self) -> int | None:
        """The token that stands for nothing known: unknown, or else padding or end of text."""
        own = self._tokenizer
        known = (own.unk_token_id, own.pad_token_id, own.eos_token_id)
        return next((int(token_id) for token_id in known if token_id is not None), None)

    @cached_property
    def ordinary_ids(self) -> tuple[int, ...]:
        """Every id with readable text: no special or added token, no part of a character.

        No control character either: a NUL cannot be shown.
        """
        skip = self.special_ids | self._tokenizer.added_tokens_decoder.keys()
        ids = [i for i in range(len(self._tokenizer)) if i not in skip]
        texts = self._tokenizer.batch_decode([[i] for i in ids])
        return tuple(
            i
            for i, text in zip(ids, map(str.strip, texts), strict=True)
            if text and text.isprintable() and "\ufffd" not in text
        )

    def encode(self, text: str, *, add_special_tokens: bool) -> Encoding:
        """Token ids with offsets in code points of `text`.

        `add_special_tokens` adds those in front of a text (a BOS), and those behind a closed one.
        """
        encoded = self._tokenizer(
            text,
            add_special_tokens=add_special_tokens,
            return_offsets_mapping=True,
            verbose=False,  # over-long prompts are refused with a sentence of ours
        )
        closed = self._closed and add_special_tokens
        length = len(encoded["input_ids"])
        if add_special_tokens and not closed:
            length -= len(self.closing_ids)
        return Encoding(
            tuple(encoded["input_ids"][:length]),
            tuple((int(start), int(end)) for start, end in encoded["offset_mapping"][:length]),
            closed,
        )

    @cached_property
    def closing_ids(self) -> tuple[int, ...]:
        """The special tokens the tokenizer puts behind a text."""
        encoded = self._tokenizer("a", return_special_tokens_mask=True)
        first = len(encoded["input_ids"]) - encoded["special_tokens_mask"][::-1].index(0)
        return tuple(encoded["input_ids"][first:])

    def decode(self, token_ids: Sequence[int]) -> str:
        """Text of the tokens, exactly as the model writes it."""
        text = self._tokenizer.decode(
            list(token_ids), skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return str(text)

    def render_chat(self, turns: Sequence[Turn]) -> str:
        """The chat template with these turns, open for the model's answer."""
        if self._closed:
            raise InputError(
                "This model reads one text and answers with another; it holds no chat. Use the "
                "prompt as plain text.",
                "prompt",
            )
        if not self._tokenizer.chat_template:
            raise InputError(
                "This model has no chat template. Use the prompt as plain text.", "prompt"
            )
        try:
            text = self._tokenizer.apply_chat_template(
                [{"role": turn.role, "content": turn.content} for turn in turns],
                tokenize=False,
                add_generation_prompt=True,
            )
            return str(text)
        except TemplateError as error:
            raise InputError(
                f"This model's chat template refuses these turns: {error}.", "prompt"
            ) from None
