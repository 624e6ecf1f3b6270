"""Words of several prompts: grouped from tokens, and aligned by a text diff."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reagent_core.alignment import Pair, align, align_all, pieces
from tests.examples import make_units
from tests.examples import make_whole_answer as make


def words_of(tokens: list[str], protected: tuple[int, ...] = ()) -> list[str]:
    specs = [(t, None if i in protected else (0.0, -1.0, 1.0)) for i, t in enumerate(tokens)]
    return [piece.text for piece in pieces("".join(tokens), make_units(specs))]


def kinds(base: str, other: str) -> dict[str, list[str]]:
    """Kind -> the words of `other` (of `base` where missing), but for those that are the same."""
    left, right = base.split(), other.split()
    found: dict[str, list[str]] = {}
    for pair in sorted(align(left, right), key=lambda pair: (pair.other or 0, pair.base or 0)):
        if pair.kind != "same":
            word = left[pair.base] if pair.other is None else right[pair.other]
            found.setdefault(pair.kind, []).append(word)
    return found


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        (["The", " re", "staurant", ",", " is"], ["The", " restaurant", ",", " is"]),
        (["▁"], ["▁"]),
        (["Don", "'t", " go"], ["Don't", " go"]),
        (["a", " ", "b"], ["a", " b"]),  # a lone blank goes with what follows
        (["a", "\n", "\n", "b", " "], ["a", "\n\nb "]),  # and at the end with what stands before
        ([" ", " "], ["  "]),
        (["北京", "是"], ["北京", "是"]),
        (["one two. ", "Three four."], ["one two. ", "Three four."]),  # sentences do not split
    ],
)
def test_tokens_are_grouped_to_words(tokens: list[str], words: list[str]) -> None:
    assert words_of(tokens) == words


def test_protected_and_free_never_mix() -> None:
    assert words_of(["capital", "ism", " ", " is"], protected=(0,)) == ["capital", "ism", "  is"]


def test_an_answer_that_is_context_counts_on_behind_the_prompt() -> None:
    explanation = make()
    found = pieces(explanation.prompt + explanation.answer, explanation.units)
    assert "".join(piece.text for piece in found) == explanation.prompt


@given(st.lists(st.sampled_from(["a", " b", " ", "\n", "ing", ",", "é", " é́", "👍🏽", "", "."])),
       st.sets(st.integers(0, 9)))  # fmt: skip
def test_every_unit_is_in_one_piece_and_the_pieces_are_the_prompt(
    tokens: list[str], protected: set[int]
) -> None:
    specs = [(t, None if i in protected else (0.0, -1.0, 1.0)) for i, t in enumerate(tokens)]
    units, text = make_units(specs), "".join(tokens)
    found = pieces(text, units)
    assert [unit for piece in found for unit in piece.units] == list(range(len(units)))
    assert "".join(piece.text for piece in found) == text
    assert all(text[piece.start : piece.end] == piece.text for piece in found)
    for piece in found:
        assert {units[i].protected for i in piece.units} == {piece.protected}


def test_the_same_text_is_the_same() -> None:
    assert align(["The", " cat"], ["the", "cat "]) == [Pair("same", 0, 0), Pair("same", 1, 1)]


@pytest.mark.parametrize(
    ("base", "other", "expected"),
    [
        ("the cat sat", "the big cat sat", {"added": ["big"]}),
        ("the big cat sat", "the cat sat", {"missing": ["big"]}),
        ("the cat sat", "the dog sat", {"changed": ["dog"]}),
        ("the cat sat", "the old dog sat", {"changed": ["old"], "added": ["dog"]}),
        ("two plus three", "three plus two", {"moved": ["three", "plus"]}),
        ("please say hello to him", "say hello to him please", {"moved": ["please"]}),
        # Punctuation does not move.
        (", a b c", "a b c ,", {"missing": [","], "added": [","]}),
        ("", "hello", {"added": ["hello"]}),
        ("hello", "", {"missing": ["hello"]}),
    ],
)
def test_what_became_of_the_words(base: str, other: str, expected: dict[str, list[str]]) -> None:
    assert kinds(base, other) == expected


def test_a_word_that_moved_is_not_also_changed() -> None:
    found = kinds("the food was cold and we left", "we left and the soup was cold")
    assert found["changed"] == ["soup"]
    assert "missing" not in found and "added" not in found


words = st.lists(st.sampled_from(["the", "The", "cat", "dog", ",", "big", "red"]), max_size=12)


@given(words, words)
def test_every_word_is_in_one_pair(base: list[str], other: list[str]) -> None:
    pairs = align(base, other)
    assert sorted(p.base for p in pairs if p.base is not None) == list(range(len(base)))
    assert sorted(p.other for p in pairs if p.other is not None) == list(range(len(other)))
    for pair in pairs:
        assert (pair.base is None) == (pair.kind == "added")
        assert (pair.other is None) == (pair.kind == "missing")
        if pair.kind in ("same", "moved"):
            assert base[pair.base].lower() == other[pair.other].lower()


@given(st.lists(words, max_size=4))
def test_every_word_of_every_text_is_in_one_row(texts: list[list[str]]) -> None:
    rows = align_all(texts)
    for column, text in enumerate(texts):
        places = [cell.piece for row in rows if (cell := row.cells[column]) is not None]
        assert sorted(places) == list(range(len(text)))
    assert all(any(row.cells) for row in rows)


def test_words_that_several_texts_add_share_a_row_where_they_stand() -> None:
    texts = [re.findall(r"\S+", text) for text in ("a b c", "a new b c", "a b c new new")]
    rows = [
        [None if cell is None else texts[i][cell.piece] for i, cell in enumerate(row.cells)]
        for row in align_all(texts)
    ]
    assert rows == [
        ["a", "a", "a"],
        [None, "new", "new"],
        ["b", "b", "b"],
        ["c", "c", "c"],
        [None, None, "new"],
    ]
