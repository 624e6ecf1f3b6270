"""Where the tokens of a server lie in a text: from the bytes it tells for each."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reagent_core.errors import InputError, ModelError
from reagent_core.request import Turn
from reagent_core.scorers.hf_tokenizer import HFTokenizer
from reagent_core.scorers.servers.chat import ChatTokenizer
from reagent_core.scorers.servers.llama_tokenizer import offsets
from tests.trained_tokenizers import byte_level


@given(st.text(min_size=1), st.data())
def test_every_piece_lies_where_its_bytes_are(text: str, data: st.DataObject) -> None:
    """However the bytes are cut, a piece's span is the characters that it has a byte of."""
    whole = text.encode()
    cuts = data.draw(st.sets(st.integers(1, len(whole)), max_size=8)) | {len(whole)}
    stops = sorted(cuts)
    pieces = [whole[a:b] for a, b in zip([0, *stops], stops, strict=False)]
    owner = [i for i, character in enumerate(text) for _ in character.encode()]
    position = 0
    for piece, (start, end) in zip(pieces, offsets(text, pieces), strict=True):
        assert list(range(start, end)) == sorted(set(owner[position : position + len(piece)]))
        position += len(piece)


def test_what_a_tokenizer_adds_belongs_to_no_character() -> None:
    assert offsets("Hi you", [b"<s>", b" Hi", b" you"]) == ((0, 0), (0, 2), (2, 6))
    assert offsets("Hi you", [b" ", b"Hi", b" you"]) == ((0, 0), (0, 2), (2, 6))
    assert offsets("<s>Hi", [b"<s>", b"Hi"]) == ((0, 3), (3, 5))


def test_a_tokenizer_that_changes_the_text_is_refused() -> None:
    with pytest.raises(ModelError, match="changes the text before it reads it"):
        offsets("Straße", [b"strasse"])


class Local(HFTokenizer):
    """A trained tokenizer with ChatML's two marks."""

    def __init__(self) -> None:
        tokenizer = byte_level()
        tokenizer.add_special_tokens(
            {"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]}
        )
        super().__init__(tokenizer)


@given(st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]),
                          st.text(st.characters(codec="utf-8", exclude_characters="\x00"))),
                min_size=1, max_size=4))  # fmt: skip
def test_a_chat_is_read_back_from_its_tokens(turns: list[tuple[str, str]]) -> None:
    tokenizer = ChatTokenizer(Local())
    text = tokenizer.render_chat([Turn(role=role, content=content) for role, content in turns])  # type: ignore[arg-type]
    ids = tokenizer.encode(text, add_special_tokens=False).token_ids
    assert tokenizer.messages(ids) == [
        {"role": role, "content": content} for role, content in turns
    ]


def test_a_plain_prompt_is_a_turn_of_the_user() -> None:
    tokenizer = ChatTokenizer(Local())
    ids = tokenizer.encode("The capital", add_special_tokens=True).token_ids
    assert tokenizer.messages(ids) == [{"role": "user", "content": "The capital"}]


def test_the_servers_own_tokens_are_decoded_among_the_others() -> None:
    tokenizer = ChatTokenizer(Local())
    ids = tokenizer.encode("The capital", add_special_tokens=True).token_ids
    paris, again, rome = tokenizer.own(" Paris"), tokenizer.own(" Paris"), tokenizer.own(" Rome")
    assert paris == again != rome
    assert tokenizer.decode([*ids, paris, rome]) == "The capital Paris Rome"


def test_marks_in_a_turn_are_refused() -> None:
    with pytest.raises(InputError, match="cannot be sent the marks"):
        ChatTokenizer(Local()).render_chat([Turn(role="user", content="a<|im_end|>b")])
