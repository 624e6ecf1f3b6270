"""Text to tokens with character offsets, tokens to units, and what of it may be replaced."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from uniseg import wordbreak

from reagent_core.config import Granularity
from reagent_core.errors import InputError, ModelError
from reagent_core.prompt import Prompt, Span, build_prompt
from reagent_core.scorers.hf_tokenizer import HFTokenizer
from tests.awkward import texts
from tests.trained_tokenizers import trained

NAMES = sorted(trained())
LOSSLESS = ("byte-level", "byte-level, trimmed offsets", "sentencepiece")

some = settings(max_examples=25, deadline=None)


def shown(prompt: Prompt) -> list[str]:
    """The texts of the units, protected ones in square brackets."""
    return [f"[{unit.text}]" if unit.protected else unit.text for unit in prompt.units]


def bounds(prompt: Prompt) -> set[int]:
    """Where one unit ends and the next begins."""
    return {unit.start for unit in prompt.units[1:]}


# --- Units of plain text -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("granularity", "units"),
    [
        ("token", ["He", " isn", "'t", " in", " the", " city", ".", " It", "'s", " Paris", "!"]),
        ("word", ["He", " isn't", " in", " the", " city", ".", " It's", " Paris", "!"]),
        ("sentence", ["He isn't in the city.", " It's Paris!"]),
    ],
)
def test_a_text_is_cut_into_tokens_words_or_sentences(
    granularity: Granularity, units: list[str]
) -> None:
    text = "He isn't in the city. It's Paris!"
    assert shown(build_prompt(text, trained()["byte-level"], granularity)) == units


@pytest.mark.parametrize("name", [name for name in NAMES if name != "byte-level, across words"])
def test_every_tokenizer_gives_the_same_words(name: str) -> None:
    prompt = build_prompt("What is the  capital,\n\nof France?", trained()[name], "word")
    assert shown(prompt) == ["What", " is", " the", "  capital", ",", "\n\nof", " France", "?"]


@pytest.mark.parametrize("granularity", get_args(Granularity))
@pytest.mark.parametrize("name", NAMES)
@some
@given(text=texts)
def test_units_tile_the_text_and_hold_every_token_once(
    name: str, granularity: Granularity, text: str
) -> None:
    tokenizer = trained()[name]
    prompt = build_prompt(text, tokenizer, granularity)

    assert prompt.text == text
    assert "".join(unit.text for unit in prompt.units) == text
    assert all(unit.text == text[unit.start : unit.end] != "" for unit in prompt.units)
    assert all(a.end == b.start for a, b in zip(prompt.units, prompt.units[1:], strict=False))
    assert all(unit.positions for unit in prompt.units)

    positions = [position for unit in prompt.units for position in unit.positions]
    assert positions == sorted(set(positions))
    outside = set(range(len(prompt.token_ids))) - set(positions)
    assert {prompt.token_ids[position] for position in outside} <= tokenizer.special_ids
    for unit in prompt.units:
        special = tokenizer.special_ids.intersection(prompt.token_ids[p] for p in unit.positions)
        assert unit.protected == bool(special)


@pytest.mark.parametrize("name", LOSSLESS)
@some
@given(text=texts)
def test_the_tokens_of_a_unit_say_its_text(name: str, text: str) -> None:
    """Up to the blanks at its start: decoders drop one, and SentencePiece puts one in front."""
    text = text.replace("▁", "")  # SentencePiece reads it as a blank
    tokenizer = trained()[name]
    for unit in build_prompt(text, tokenizer, "word").units:
        decoded = tokenizer.decode([tokenizer.encode(text, add_special_tokens=True).token_ids[p]
                                    for p in unit.positions])  # fmt: skip
        assert decoded.lstrip() == unit.text.lstrip()


@pytest.mark.parametrize("granularity", ["word", "sentence"])
@pytest.mark.parametrize("name", NAMES)
@some
@given(text=texts)
def test_larger_units_are_made_of_whole_smaller_ones(
    name: str, granularity: Granularity, text: str
) -> None:
    tokenizer = trained()[name]
    small = build_prompt(text, tokenizer, "token")
    large = build_prompt(text, tokenizer, granularity)
    assert bounds(large) <= bounds(small)


@pytest.mark.parametrize("name", NAMES)
@some
@given(text=texts)
def test_no_word_is_split_and_none_is_joined_without_need(name: str, text: str) -> None:
    tokenizer = trained()[name]
    tokens = build_prompt(text, tokenizer, "token")
    words = build_prompt(text, tokenizer, "word")
    starts, position = [], 0
    for segment in wordbreak.words(text):
        starts.append(position)
        position += len(segment)

    at_protected = {b.start for a, b in zip(words.units, words.units[1:], strict=False)
                    if a.protected != b.protected}  # fmt: skip
    for boundary in bounds(words) - at_protected - set(starts):
        inside = text[max(start for start in starts if start <= boundary)]
        assert inside.isspace(), "split inside a word"

    if not any(unit.protected for unit in words.units):
        for boundary in bounds(tokens) & set(starts):
            if not text[boundary - 1].isspace() and text[boundary:].strip():
                assert boundary in bounds(words), "joined without need"


def test_a_token_across_two_words_joins_them() -> None:
    tokenizer = trained()["byte-level, across words"]
    tokens = shown(build_prompt("in the city of", tokenizer))
    assert any(" " in token.strip() for token in tokens), tokens
    words = shown(build_prompt("in the city of", tokenizer, "word"))
    assert words != ["in", " the", " city", " of"]
    assert "".join(words) == "in the city of"


@pytest.mark.parametrize("name", ["byte-level", "sentencepiece", "chat"])
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("of 👨‍👩‍👧 👍🏽", ["of", " 👨‍👩‍👧", " 👍🏽"]),
        ("of 🇫🇷🇩🇪", ["of", " 🇫🇷", "🇩🇪"]),
        ("of naïve cafe\u0301 of", ["of", " naïve", " cafe\u0301", " of"]),
        ("of مرحبا بالعالم", ["of", " مرحبا", " بالعالم"]),
        ("of 1\u202f000", ["of", " 1\u202f000"]),
    ],
)
def test_words_of_many_scripts(name: str, text: str, words: list[str]) -> None:
    prompt = build_prompt(text, trained()[name], "word")
    assert [unit.text for unit in prompt.units] == words


def test_tokens_that_are_no_text_alone_make_one_unit() -> None:
    """Byte-level tokens hold bytes: one here even holds parts of two characters."""
    tokenizer = trained()["byte-level"]
    assert "\ufffd" in tokenizer.decode(
        tokenizer.encode("本", add_special_tokens=True).token_ids[:1]
    )
    prompt = build_prompt("of 日本 of", tokenizer)
    assert [unit.text for unit in prompt.units][-1] == " of"
    assert all("\ufffd" not in tokenizer.decode([prompt.token_ids[p] for p in unit.positions])
               for unit in prompt.units)  # fmt: skip


def test_an_accent_that_the_tokenizer_drops_stays_with_its_letter() -> None:
    prompt = build_prompt("of cafe\u0301 of", trained()["wordpiece"])
    assert [unit.text for unit in prompt.units] == ["of", " cafe\u0301", " of"]


def test_blanks_keep_their_own_token_where_offsets_are_trimmed() -> None:
    trimmed = build_prompt("of    the", trained()["byte-level, trimmed offsets"])
    assert trimmed.units == build_prompt("of    the", trained()["byte-level"]).units


# --- What is protected ---------------------------------------------------------------------------


def test_special_tokens_typed_into_a_prompt_are_protected() -> None:
    prompt = build_prompt("of the<|endoftext|> city", trained()["byte-level"])
    assert shown(prompt) == ["of", " the", "[<|endoftext|>]", " city"]


def test_a_span_the_caller_names_is_protected_with_every_token_it_touches() -> None:
    text = "The capital of France is"
    start = text.index("apit")
    prompt = build_prompt(text, trained()["byte-level"], "word", [(start, start + 4), (12, 14)])
    assert shown(prompt) == ["The", "[ capital]", "[ of]", " France", " is"]
    assert prompt.free_units == (0, 3, 4)


@some
@given(text=texts, data=st.data())
def test_no_character_of_a_protected_span_is_free(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    before, after = "The ", " France"
    spans = [(start + len(before), end + len(before))]
    prompt = build_prompt(before + text + after, trained()["byte-level"], "word", spans)
    for unit in prompt.units:
        if not unit.protected:
            assert unit.end <= spans[0][0] or spans[0][1] <= unit.start


@pytest.mark.parametrize("span", [(-1, 3), (3, 3), (4, 2), (0, 7)])
def test_a_span_outside_the_prompt_is_refused(span: Span) -> None:
    with pytest.raises(InputError, match="protected span") as caught:
        build_prompt("of the", trained()["byte-level"], "token", [span])
    assert caught.value.field == "prompt"


def test_a_prompt_with_nothing_to_replace_is_refused() -> None:
    with pytest.raises(InputError, match="Nothing in this prompt may be replaced") as caught:
        build_prompt("of the", trained()["byte-level"], "token", [(0, 6)])
    assert caught.value.field == "prompt"
    with pytest.raises(InputError, match="Nothing in this prompt may be replaced"):
        build_prompt("<|endoftext|>", trained()["byte-level"])


# --- Text that cannot be read --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "This is empty"),
        (" \n\t\u3000", "This is empty"),
        ("of\x00the", "Character 3 is a NUL byte"),
        ("of \ud83d", "Character 4 is half of a Unicode pair"),
    ],
)
def test_unreadable_text_is_refused_where_it_was_typed(text: str, sentence: str) -> None:
    tokenizer = trained()["chat"]
    with pytest.raises(InputError, match=sentence) as caught:
        build_prompt(text, tokenizer)
    assert caught.value.field == "prompt"


def test_text_the_tokenizer_sees_nothing_in_is_refused() -> None:
    with pytest.raises(InputError, match="finds no token") as caught:
        build_prompt("\u200d", trained()["wordpiece"])
    assert caught.value.field == "prompt"


# --- The tokenizer behind the protocol -----------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_ordinary_ids_are_readable_text_and_never_special(name: str) -> None:
    tokenizer = trained()[name]
    ids = tokenizer.ordinary_ids
    assert list(ids) == sorted(set(ids))
    assert not tokenizer.special_ids.intersection(ids)
    texts = [tokenizer.decode([i]) for i in ids]
    assert all(text.strip() and "\ufffd" not in text for text in texts)
    assert all(text.strip().isprintable() for text in texts), "a control character"
    assert {"o", "of", "the"}.intersection(text.strip() for text in texts)


def test_a_slow_tokenizer_is_refused() -> None:
    slow = type("Slow", (), {"is_fast": False})()
    with pytest.raises(ModelError, match="no character offsets"):
        HFTokenizer(slow)
