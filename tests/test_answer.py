"""The model's answer with token offsets, and given texts as continuations of a prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reagent_core.answer import answer_of, continuation_of
from reagent_core.errors import InputError
from reagent_core.explanation import Alternative, AnswerToken
from reagent_core.prompt import Prompt, build_prompt
from reagent_core.request import ModelInfo, Turn
from reagent_core.scorers.base import GeneratedToken, IntArray, Prefix, TokenScores
from reagent_core.scorers.hf_tokenizer import HFTokenizer
from tests.tiny import TinyScorer
from tests.trained_tokenizers import trained

if TYPE_CHECKING:
    from reagent_core.scorers.transformers_lm import TransformersScorer

NAMES = sorted(trained())
some = settings(max_examples=60, deadline=None)
words = [
    "of",
    " of",
    "日本",
    "🙂",
    "👨‍👩‍👧",
    "🇫🇷",
    "é",
    "e\u0301",
    "\n\n",
    " ",
    "  ",
    "مرحبا",
    "!",
    "\ufffd",
    "▁",
]
characters = st.characters(exclude_characters="\x00", exclude_categories=["Cs"])
texts = st.lists(st.sampled_from(words) | characters, min_size=1, max_size=8).map("".join)


def generated(ids: Sequence[int]) -> list[GeneratedToken]:
    """Tokens as a model returns them, each with a probability that tells its place."""
    return [GeneratedToken(token_id, 1 / (i + 2), (Alternative(text=str(i), probability=0.1),))
            for i, token_id in enumerate(ids)]  # fmt: skip


def answered(tokenizer: HFTokenizer, question: str, answer: str) -> tuple[str, list[AnswerToken]]:
    """The answer a model gives whose tokens are those of `answer` written behind `question`."""
    prompt = build_prompt(question, tokenizer)
    ids = tokenizer.encode(question + answer, add_special_tokens=True).token_ids
    assert ids[: len(prompt.token_ids)] == prompt.token_ids
    text, tokens = answer_of(prompt, generated(ids[len(prompt.token_ids) :]), tokenizer)
    return text, list(tokens)


# --- The answer ----------------------------------------------------------------------------------


def test_an_answer_is_its_tokens_one_after_the_other() -> None:
    text, tokens = answered(
        trained()["byte-level"], "The capital of France is", " Paris, of course"
    )
    assert text == " Paris, of course"
    assert [token.text for token in tokens][:3] == [" Paris", ",", " of"]
    assert [(token.start, token.end) for token in tokens][:3] == [(0, 6), (6, 7), (7, 10)]
    assert [token.probability for token in tokens][:3] == [1 / 2, 1 / 3, 1 / 4]
    assert [token.alternatives[0].text for token in tokens][:3] == ["0", "1", "2"]


def test_the_last_token_of_an_emoji_gets_it_and_the_others_nothing() -> None:
    text, tokens = answered(trained()["byte-level"], "The capital of", "😀 of")
    assert text == "😀 of"
    assert [(token.text, token.start, token.end) for token in tokens] == [
        ("", 0, 0), ("", 0, 0), ("😀", 0, 1), (" of", 1, 4),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["byte-level", "sentencepiece"])
def test_letters_of_several_code_points_keep_all_of_them(name: str) -> None:
    text, tokens = answered(trained()[name], "The city", " 👨‍👩‍👧🇩🇪e\u0301")
    assert text == " 👨‍👩‍👧🇩🇪e\u0301"
    assert "".join(token.text for token in tokens) == text
    assert not any("\ufffd" in token.text for token in tokens)


def test_sentencepiece_keeps_the_blank_before_the_first_word() -> None:
    """Its decoder drops the blank at the start of a text; an answer does not start one."""
    tokenizer = trained()["sentencepiece"]
    text, tokens = answered(tokenizer, "The capital of France is", " Paris")
    assert text == " Paris"
    assert tokenizer.decode([token.token_id for token in tokens]) == "Paris"


def test_an_answer_that_ends_inside_a_character_shows_that() -> None:
    tokenizer = trained()["byte-level"]
    prompt = build_prompt("The city", tokenizer)
    ids = tokenizer.encode(" of😀", add_special_tokens=False).token_ids[:-1]
    text, tokens = answer_of(prompt, generated(ids), tokenizer)
    assert text == " of\ufffd"
    assert [token.text for token in tokens] == [" of", "", "\ufffd"]


def test_no_tokens_are_an_empty_answer() -> None:
    tokenizer = trained()["byte-level"]
    assert answer_of(build_prompt("of", tokenizer), [], tokenizer) == ("", ())


def check_offsets(text: str, tokens: Sequence[AnswerToken]) -> None:
    assert "".join(token.text for token in tokens) == text
    assert [token.start for token in tokens] == [0, *(token.end for token in tokens)][:-1]
    assert all(token.text == text[token.start : token.end] for token in tokens)


@pytest.mark.parametrize("name", NAMES)
@some
@given(data=st.data())
def test_offsets_tile_the_answer_whatever_tokens_the_model_picks(
    name: str, data: st.DataObject
) -> None:
    """Models may well write bytes that are no text."""
    tokenizer = trained()[name]
    ordinary = st.integers(0, len(tokenizer.ordinary_ids) + len(tokenizer.special_ids) - 1)
    ids = data.draw(st.lists(ordinary, min_size=1, max_size=12))
    prompt = build_prompt("The capital of France is", tokenizer)
    text, tokens = answer_of(prompt, generated(ids), tokenizer)
    check_offsets(text, tokens)
    assert [token.token_id for token in tokens] == ids
    whole = tokenizer.decode([*prompt.token_ids, *ids])
    assert whole == tokenizer.decode(prompt.token_ids) + text


@pytest.mark.parametrize("name", ["byte-level", "byte-level, trimmed offsets", "chat"])
@pytest.mark.parametrize("question", ["The capital of", "日本", "of 🙂"])
@some
@given(answer=texts)
def test_a_written_answer_comes_back_as_it_was_written(
    name: str, question: str, answer: str
) -> None:
    tokenizer = trained()[name]
    ids = tokenizer.encode(answer, add_special_tokens=False).token_ids
    prompt = build_prompt(question, tokenizer)
    text, tokens = answer_of(prompt, generated(ids), tokenizer)
    assert text == answer
    check_offsets(text, tokens)
    if "\ufffd" not in answer:
        assert not any("\ufffd" in token.text for token in tokens)


# --- Given texts ---------------------------------------------------------------------------------


class Prefers(TinyScorer):
    """Gives each token its own log-probability, and -5 to those that are not named."""

    def __init__(self, tokenizer: HFTokenizer, log_probabilities: Mapping[int, float]) -> None:
        super().__init__()
        self.tokenizer = tokenizer  # type: ignore[assignment]
        self.log_probabilities = log_probabilities

    def score(
        self, inputs: IntArray, targets: Sequence[int], prefix: Prefix | None = None
    ) -> TokenScores:
        logs = [self.log_probabilities.get(i, -5.0) for i in targets]
        return TokenScores(np.array([logs] * len(inputs)), np.ones((1, len(logs)), np.int64))


def single(tokenizer: HFTokenizer, text: str) -> int:
    (token_id,) = tokenizer.encode(text, add_special_tokens=False).token_ids
    return token_id


def test_a_word_is_also_looked_for_with_a_blank_before_it() -> None:
    tokenizer = trained()["byte-level"]
    prompt = build_prompt("The capital of", tokenizer)
    paris = single(tokenizer, " Paris")
    found = continuation_of(prompt, "Paris", Prefers(tokenizer, {paris: -0.5}))
    assert (found.text, found.token_ids, found.log_probability) == (" Paris", (paris,), -0.5)
    assert continuation_of(prompt, " Paris", Prefers(tokenizer, {paris: -0.5})) == found


def test_a_text_stays_as_typed_where_that_is_likelier() -> None:
    tokenizer = trained()["byte-level"]
    prompt = build_prompt("What is the capital", tokenizer)
    question = single(tokenizer, "?")
    found = continuation_of(prompt, "?", Prefers(tokenizer, {question: -0.1}))
    assert (found.text, found.token_ids) == ("?", (question,))


def test_the_log_probability_is_that_of_all_tokens_together() -> None:
    tokenizer = trained()["byte-level"]
    prompt = build_prompt("The capital of", tokenizer)
    ids = {single(tokenizer, " Paris"): -0.5, single(tokenizer, " is"): -0.25}
    found = continuation_of(prompt, " Paris is", Prefers(tokenizer, ids))
    assert found.token_ids == tuple(ids)
    assert found.log_probability == -0.75


def test_a_text_the_tokenizer_joins_to_the_prompt_is_tried_with_a_blank() -> None:
    """Behind "Fr" no model would write "ance": " France" is a token of its own."""
    tokenizer = trained()["byte-level"]
    prompt = build_prompt("The capital of Fr", tokenizer)
    assert continuation_of(prompt, "ance", Prefers(tokenizer, {})).text == " ance"


def test_a_text_that_fits_neither_way_is_refused() -> None:
    """Behind a blank at the end of a prompt a word is another token."""
    tokenizer = trained()["byte-level"]
    prompt = build_prompt("The capital of ", tokenizer)
    with pytest.raises(InputError, match=r"“Paris” is no continuation.*blank") as caught:
        continuation_of(prompt, "Paris", Prefers(tokenizer, {}))
    assert caught.value.field == "target"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("", "empty"), (" \n", "empty"), ("of\x00", "NUL"), ("\udc80", "lone surrogate")],
)
def test_an_unreadable_target_is_refused(text: str, sentence: str) -> None:
    tokenizer = trained()["byte-level"]
    with pytest.raises(InputError, match=sentence) as caught:
        continuation_of(build_prompt("of", tokenizer), text, Prefers(tokenizer, {}))
    assert caught.value.field == "target"


def test_a_target_longer_than_the_model_reads_is_refused_with_both_lengths() -> None:
    tokenizer = trained()["byte-level"]
    scorer = Prefers(tokenizer, {})
    scorer.context_length = 5
    prompt = build_prompt("The capital of", tokenizer)
    assert len(continuation_of(prompt, " of of", scorer).token_ids) == 2
    with pytest.raises(InputError, match="have 6 tokens; this model reads 5") as caught:
        continuation_of(prompt, " of of of", scorer)
    assert caught.value.field == "target"


@pytest.mark.parametrize("name", ["chat", "wordpiece", "sentencepiece"])
def test_special_tokens_around_the_prompt_stay_out_of_the_target(name: str) -> None:
    tokenizer = trained()[name]
    prompt = build_prompt("The capital of", tokenizer)
    found = continuation_of(prompt, " the", Prefers(tokenizer, {}))
    assert not tokenizer.special_ids.intersection(found.token_ids)
    assert tokenizer.decode(found.token_ids).strip() == "the"


def test_in_a_chat_the_target_is_how_the_reply_begins() -> None:
    tokenizer = trained()["chat"]
    prompt: Prompt = build_prompt([Turn(role="user", content="In France?")], tokenizer)
    found = continuation_of(prompt, "In Paris", Prefers(tokenizer, {}))
    assert found.text == "In Paris"
    assert tokenizer.decode(found.token_ids) == "In Paris"


@pytest.mark.model
def test_the_bundled_model_reads_paris_as_the_next_word(bundled: TransformersScorer) -> None:
    assert isinstance(bundled.info, ModelInfo)
    prompt = build_prompt("The capital of France is", bundled.tokenizer)
    found = continuation_of(prompt, "Paris", bundled)
    assert found.text == " Paris"
    assert found == continuation_of(prompt, " Paris", bundled)
    generated_tokens = bundled.generate(prompt.token_ids, 1)
    assert generated_tokens[0].token_id == found.token_ids[0]
    assert np.exp(found.log_probability) == pytest.approx(generated_tokens[0].probability, rel=1e-4)
