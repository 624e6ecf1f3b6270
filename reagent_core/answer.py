"""The model's answer as text with token offsets, and given texts as continuations of a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reagent_core.errors import InputError
from reagent_core.explanation import AnswerToken
from reagent_core.prompt import Prompt, Tokenizer, Unit, check_text
from reagent_core.scorers.base import GeneratedToken, Scorer

# Longer targets would need gigabytes for their vocabulary-wide logits.
MAX_TARGET_TOKENS = 256

# Enough of the prompt for a decoder that treats the first token of a text in its own way.
_CONTEXT = 8


@dataclass(frozen=True)
class Continuation:
    """A text that follows the prompt, with its tokens and their joint log-probability (nats)."""

    text: str
    token_ids: tuple[int, ...]
    log_probability: float


def answer_of(
    prompt: Prompt, generated: Sequence[GeneratedToken], tokenizer: Tokenizer
) -> tuple[str, tuple[AnswerToken, ...]]:
    """The answer's text and its tokens with their characters in it.

    Several tokens may make one character: the last of them gets it, the others an empty span.
    """
    context = list(prompt.token_ids[-_CONTEXT:])
    base = tokenizer.decode(context)
    if base.endswith("\ufffd"):
        context, base = [], ""
    ids = [token.token_id for token in generated]
    texts = [tokenizer.decode([*context, *ids[: i + 1]])[len(base) :] for i in range(len(ids))]
    tokens, position = [], 0
    for i, (token, text) in enumerate(zip(generated, texts, strict=True)):
        complete = i == len(ids) - 1 or not text.endswith("\ufffd")
        end = max(position, len(text)) if complete else position
        tokens.append(
            AnswerToken(
                text=texts[-1][position:end],
                start=position,
                end=end,
                token_id=token.token_id,
                probability=token.probability,
                alternatives=token.alternatives,
            )
        )
        position = end
    return texts[-1] if texts else "", tuple(tokens)


def continuation_of(prompt: Prompt, text: str, scorer: Scorer) -> Continuation:
    """`text` as tokens after the prompt.

    A text without a space in front is also tried with one, as in "The capital of France is" and
    "Paris"; the likelier of the two is taken.

    Raises:
        InputError: empty, unreadable, longer than the model reads, or no continuation: the
            tokenizer would join it to the prompt's last token (field "target").
    """
    check_text(text, "target")
    spaced = text[0].isspace() or prompt.text[-1:].isspace()
    found = []
    for candidate in (text,) if spaced else (text, " " + text):
        encoding = scorer.tokenizer.encode(
            prompt.text + candidate, add_special_tokens=prompt.turns is None
        )
        count = len(prompt.token_ids)
        ids = encoding.token_ids[count:]
        if encoding.token_ids[:count] != prompt.token_ids or not ids:
            continue
        if len(ids) > MAX_TARGET_TOKENS:
            raise InputError(
                f"The target has {len(ids):,} tokens; at most {MAX_TARGET_TOKENS} can be "
                "explained. Shorten it.",
                "target",
            )
        if len(encoding.token_ids) > scorer.context_length:
            raise InputError(
                f"Prompt and target have {len(encoding.token_ids):,} tokens; this model reads "
                f"{scorer.context_length:,}. Shorten the target.",
                "target",
            )
        inputs = np.asarray([[*prompt.token_ids, *ids[:-1]]], np.int64)
        scores = scorer.score(inputs, ids)
        found.append(Continuation(candidate, ids, float(scores.log_probabilities.sum())))
    if not found:
        advice = (
            "Delete the blank at the end of the prompt."
            if prompt.turns is None and prompt.text[-1:].isspace()
            else "Begin the target with a space or a new word."
        )
        raise InputError(
            f"“{text}” is no continuation of this prompt: the tokenizer would join it to the "
            f"prompt's last token. {advice}",
            "target",
        )
    return max(found, key=lambda continuation: continuation.log_probability)


def with_answer(prompt: Prompt, tokens: Sequence[AnswerToken], attributed: int) -> Prompt:
    """The prompt and what was answered so far, as one context.

    The text goes on with all `tokens`; the first `attributed` of them are units, one a token, but
    tokens that make one character together are one unit.
    """
    base, length = len(prompt.text), len(prompt.token_ids)
    units: list[Unit] = []
    stops: list[int] = []
    start = 0
    for stop, token in enumerate(tokens[:attributed], start=1):
        if token.end > token.start:
            places = tuple(range(length + start, length + stop))
            units.append(Unit(token.text, base + token.start, base + token.end, False, places))
            stops.append(stop)
            start = stop
    return Prompt(
        prompt.text + "".join(unit.text for unit in units),
        (*prompt.token_ids, *(token.token_id for token in tokens)),
        (*prompt.units, *units),
        prompt.turns,
        tuple(stops),
    )
