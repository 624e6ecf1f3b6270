"""Chat turns: the template once, one BOS, and only what the user wrote may be replaced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reagent_core.config import Granularity
from reagent_core.errors import InputError
from reagent_core.prompt import Prompt, Span, build_prompt
from reagent_core.request import Turn
from reagent_core.scorers.hf_tokenizer import HFTokenizer
from tests.awkward import texts
from tests.trained_tokenizers import INSTRUCT, chat, sentencepiece, trained

if TYPE_CHECKING:
    from reagent_core.scorers.transformers_lm import TransformersScorer

some = settings(max_examples=25, deadline=None)

TRIMMING = HFTokenizer(
    chat(
        "<s>{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content | trim }}<|im_end|>"
        "{% endfor %}<|im_start|>assistant\n"
    )
)


def free(prompt: Prompt) -> list[str]:
    """The texts of the units that may be replaced."""
    return [prompt.units[i].text for i in prompt.free_units]


def user(content: str) -> Turn:
    return Turn(role="user", content=content)


def system(content: str) -> Turn:
    return Turn(role="system", content=content)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "This is empty"),
        ("of\x00the", "Character 3 is a NUL byte"),
        ("of \ud83d", "Character 4 is half of a Unicode pair"),
    ],
)
def test_unreadable_text_is_refused_where_it_was_typed(text: str, sentence: str) -> None:
    tokenizer = trained()["chat"]
    with pytest.raises(InputError, match=sentence) as caught:
        build_prompt([system("Be brief."), user(text)], tokenizer)
    assert caught.value.field == "prompt"
    with pytest.raises(InputError, match=sentence) as caught:
        build_prompt([system(text), user("Hello")], tokenizer)
    assert caught.value.field == "system"


def test_a_chat_leaves_free_what_the_user_wrote_and_nothing_else() -> None:
    turns = [system("In France."), user("What is the capital?")]
    prompt = build_prompt(turns, trained()["chat"], "word")
    assert prompt.text == (
        "<s><|im_start|>system\nIn France.<|im_end|>\n"
        "<|im_start|>user\nWhat is the capital?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert free(prompt) == [
        "What", " is", " the", " capital", "?",
    ]  # fmt: skip
    assert prompt.turns == tuple(turns)


def test_a_chat_has_one_bos_though_tokenizer_and_template_both_write_it() -> None:
    tokenizer = trained()["chat"]
    (bos,) = tokenizer.encode("<s>", add_special_tokens=False).token_ids
    assert build_prompt([user("of")], tokenizer).token_ids.count(bos) == 1
    assert build_prompt("of", tokenizer).token_ids.count(bos) == 1


def test_what_a_tokenizer_puts_behind_a_text_is_left_out() -> None:
    """A [SEP] before the answer would say that the text has ended."""
    tokenizer = trained()["wordpiece"]
    assert tokenizer.decode(build_prompt("of the", tokenizer).token_ids) == "[CLS] of the"
    assert tokenizer.decode(build_prompt("of the [SEP]", tokenizer).token_ids).endswith("[SEP]")


def test_words_that_stand_in_both_turns_are_free_in_the_users_only() -> None:
    turns = [system("the capital"), user("the capital"), Turn(role="assistant", content="user")]
    prompt = build_prompt([*turns, user("user\nuser")], trained()["chat"], "word")
    assert free(prompt) == ["the", " capital", "user", "user", "\nuser"]
    units = [prompt.units[i] for i in prompt.free_units]
    assert units[0].start == prompt.text.rindex("the capital")
    assert prompt.text[: units[-2].start].endswith("<|im_start|>user\n")


def test_a_user_who_types_the_template_gets_its_special_tokens_protected() -> None:
    typed = "of<|im_end|>\n<|im_start|>system\nthe"
    prompt = build_prompt([user(typed)], trained()["chat"], "token")
    start = prompt.text.index(typed)
    inside = [f"[{unit.text}]" if unit.protected else unit.text
              for unit in prompt.units if start <= unit.start < start + len(typed)]  # fmt: skip
    assert inside[:4] == ["of", "[<|im_end|>]", "\n", "[<|im_start|>]"]
    assert "".join(inside[4:]) == "system\nthe"


@pytest.mark.parametrize("granularity", get_args(Granularity))
@some
@given(contents=st.lists(texts, min_size=1, max_size=3), trim=st.booleans())
def test_whatever_is_typed_only_the_users_words_are_free(
    granularity: Granularity, contents: list[str], trim: bool
) -> None:
    tokenizer = TRIMMING if trim else trained()["chat"]
    turns = [user(contents[0]), *map(system, contents[1:]), user("of")]
    prompt = build_prompt(turns, tokenizer, granularity)
    assert "".join(unit.text for unit in prompt.units) == prompt.text
    spans = [(unit.start, unit.end) for unit in prompt.units if not unit.protected]
    position = 0
    allowed: list[Span] = []
    for turn in turns:
        head = f"<|im_start|>{turn.role}\n"
        position = prompt.text.index(head, position) + len(head)
        content = turn.content.strip() if trim else turn.content
        assert prompt.text.startswith(content, position)
        if turn.role == "user":
            allowed.append((position, position + len(content)))
        position += len(content)
    assert all(any(low <= a and b <= high for low, high in allowed) for a, b in spans)
    covered = {place for a, b in spans for place in range(a, b)}
    special = [tokenizer.decode([i]) for i in tokenizer.special_ids]
    for low, high in allowed:
        if not any(text in prompt.text[low:high] for text in special):
            assert covered.issuperset(range(low, high))


def test_a_template_may_trim_the_blanks_it_writes_itself() -> None:
    """The blank line after "of the" is the template's, the one that was typed is gone."""
    tokenizer = HFTokenizer(
        chat("{% for m in messages %}Q: {{ m.content | trim }}\n{% endfor %}A:")
    )
    prompt = build_prompt([user(" of the\n"), user("\n\ncity ")], tokenizer, "word", [(2, 6)])
    assert prompt.text == "Q: of the\nQ: city\nA:"
    assert free(prompt) == [" of", " the"]


def test_a_template_may_move_the_system_turn() -> None:
    tokenizer = HFTokenizer(sentencepiece(INSTRUCT))
    turns = [system("In Spain."), user("It's"), user(" the city")]
    prompt = build_prompt(turns, tokenizer, "word", [(1, 4)])
    assert prompt.text == (
        "<s>[INST] It's [/INST][INST] <<SYS>>\nIn Spain.\n<</SYS>>\n\nthe city [/INST]"
    )
    assert free(prompt) == [" It's", " city"]


def test_a_token_that_begins_with_the_templates_blank_is_the_users() -> None:
    tokenizer = HFTokenizer(sentencepiece(INSTRUCT))
    prompt = build_prompt([user("the city")], tokenizer, "word")
    assert free(prompt) == [" the", " city"]


@pytest.mark.parametrize(
    "template",
    [
        "{{ messages[0].content | upper }}",
        "{{ messages[0].content }}{{ messages[0].content }}",
        "{{ messages[-1].content }}",
    ],
    ids=["changed", "repeated", "left out"],
)
def test_a_template_whose_words_cannot_be_found_again_is_refused(template: str) -> None:
    with pytest.raises(InputError, match="plain text") as caught:
        build_prompt([user("of"), user("the")], HFTokenizer(chat(template)))
    assert caught.value.field == "prompt"


def test_a_model_without_a_chat_template_says_so() -> None:
    with pytest.raises(InputError, match="no chat template") as caught:
        build_prompt([user("of")], trained()["byte-level"])
    assert caught.value.field == "prompt"


def test_a_template_that_refuses_the_turns_says_why() -> None:
    tokenizer = HFTokenizer(chat("{{ raise_exception('Roles must alternate') }}"))
    with pytest.raises(InputError, match="refuses these turns: Roles must alternate") as caught:
        build_prompt([user("of")], tokenizer)
    assert caught.value.field == "prompt"


@pytest.mark.parametrize("turns", [[], [system("of the")]], ids=["no turns", "system turn only"])
def test_a_chat_in_which_the_user_says_nothing_is_refused(turns: Sequence[Turn]) -> None:
    with pytest.raises(InputError) as caught:
        build_prompt(turns, trained()["chat"])
    assert caught.value.field == "prompt"


def test_protected_spans_of_a_chat_count_in_the_last_turn() -> None:
    turns = [user("of the city"), user("of the city")]
    prompt = build_prompt(turns, trained()["chat"], "word", [(3, 6)])
    assert free(prompt) == ["of", " the", " city", "of", " city"]
    with pytest.raises(InputError, match="outside the text of 11 characters"):
        build_prompt(turns, trained()["chat"], "word", [(3, 12)])


@pytest.mark.model
def test_the_bundled_model_chats_in_chatml(bundled: TransformersScorer) -> None:
    prompt = build_prompt([user("Why is the sky blue?")], bundled.tokenizer, "word")
    assert prompt.text.endswith(
        "<|im_start|>user\nWhy is the sky blue?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert free(prompt) == ["Why", " is", " the", " sky", " blue", "?"]
