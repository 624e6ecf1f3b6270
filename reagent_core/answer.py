"""The model's answer as text with token offsets, and given texts as continuations of a prompt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from reagent_core.errors import InputError
from reagent_core.explanation import AnswerToken
from reagent_core.prompt import Prompt, Tokenizer, Unit, check_text
from reagent_core.scorers.base import GeneratedToken, Scorer

# Longer targets would need gigabytes for their vocabulary-wide logits.
MAX_TARGET_TOKENS = 256

# Enough of the prompt for a decoder that treats the first token of a text in its own way.
ANSWER_CONTEXT = 8


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
    context = () if prompt.closed else prompt.token_ids[-ANSWER_CONTEXT:]
    ids = [token.token_id for token in generated]
    texts = [text_behind(context, ids[: i + 1], tokenizer.decode) for i in range(len(ids))]
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


def text_behind(
    context: Sequence[int], token_ids: Sequence[int], decode: Callable[[Sequence[int]], str]
) -> str:
    """The text of tokens as it stands behind `context`.

    Alone it may be another: SentencePiece drops the blank a text begins with, and WordPiece marks
    a token that goes on a word.
    """
    base = decode(context) if context else ""
    if base.endswith("\ufffd"):  # its last character may still be completed
        context, base = (), ""
    return decode([*context, *token_ids])[len(base) :]


def continuation_of(prompt: Prompt, text: str, scorer: Scorer) -> Continuation:
    """`text` as tokens after the prompt.

    A text without a space in front is also tried with one, as in "The capital of France is" and
    "Paris"; the likelier of the two is taken.

    Raises:
        InputError: empty, unreadable, longer than the model reads, or no continuation: the
            tokenizer would join it to the prompt's last token, or it would end before its end
            (field "target").
    """
    check_text(text, "target")
    spaced = text[0].isspace() or (prompt.text[-1:].isspace() and not prompt.closed)
    found = []
    for candidate in (text,) if spaced else (text, " " + text):
        ids = _tokens_after(prompt, candidate, scorer.tokenizer)
        if not ids:
            continue
        if len(ids) > MAX_TARGET_TOKENS:
            raise InputError(
                f"The target has {len(ids):,} tokens; at most {MAX_TARGET_TOKENS} can be "
                "explained. Shorten it.",
                "target",
            )
        length = len(prompt.token_ids) + len(ids)
        if length > scorer.context_length:
            raise InputError(
                f"Prompt and target have {length:,} tokens; this model reads "
                f"{scorer.context_length:,}. Shorten the target.",
                "target",
            )
        inputs = np.asarray([[*prompt.token_ids, *ids[:-1]]], np.int64)
        scores = scorer.score(inputs, ids)
        found.append(Continuation(candidate, ids, float(scores.log_probabilities.sum())))
    if not found and prompt.closed:
        raise InputError(
            f"The model's tokenizer finds no token in “{text}”. Type other characters.", "target"
        )
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


def _tokens_after(prompt: Prompt, text: str, tokenizer: Tokenizer) -> tuple[int, ...]:
    """`text` as tokens that follow those of the prompt; none where it would be joined to them."""
    if prompt.closed:
        ids = tokenizer.encode(text, add_special_tokens=False).token_ids
        if (end := prompt.token_ids[-1]) in ids:
            raise InputError(
                f"The target holds “{tokenizer.decode([end])}”, which ends a text for this model. "
                "Delete it.",
                "target",
            )
        return ids
    both = tokenizer.encode(prompt.text + text, add_special_tokens=prompt.turns is None).token_ids
    count = len(prompt.token_ids)
    return both[count:] if both[:count] == prompt.token_ids else ()


def with_answer(prompt: Prompt, tokens: Sequence[AnswerToken], attributed: int) -> Prompt:
    """The prompt and what was answered so far, as one context.

    The text goes on with all `tokens`; the first `attributed` of them are units, one a token, but
    tokens that make one character together are one unit.
    """
    base, length = len(prompt.text), len(prompt.token_ids)
    units: list[Unit] = []
    stops: list[int] = []
    offsets = list(prompt.offsets)
    start = 0
    for stop, token in enumerate(tokens[:attributed], start=1):
        if token.end > token.start:
            places = tuple(range(length + start, length + stop))
            units.append(Unit(token.text, base + token.start, base + token.end, False, places))
            stops.append(stop)
            offsets += [(units[-1].start, units[-1].end)] * len(places)
            start = stop
    text = prompt.text + "".join(unit.text for unit in units)
    return Prompt(
        text,
        (*prompt.token_ids, *(token.token_id for token in tokens)),
        (*prompt.units, *units),
        prompt.turns,
        tuple(stops),
        prompt.closed,
        (*offsets, *[(len(text), len(text))] * (len(tokens) - start)),
    )
