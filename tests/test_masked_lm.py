"""Replacements by masked language models, on tiny ones that know which capital is whose."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reagent_core.errors import Cancelled, OutOfMemory
from reagent_core.prompt import Prompt, build_prompt
from reagent_core.replacers.base import Substitute
from reagent_core.replacers.mask_filler import MaskFiller
from reagent_core.replacers.masked_lm import MaskedLMReplacer
from reagent_core.replacers.masked_text import MaskableText, Masked, windows
from reagent_core.replacers.vocabulary import dictionary
from reagent_core.request import Turn
from reagent_core.scorers.hf_tokenizer import HFTokenizer
from tests import tiny_masked
from tests.awkward import texts
from tests.tiny_masked import CAPITALS, FILLERS, Reader, gpt2_tokenizer, llama_tokenizer
from tests.trained_tokenizers import byte_level
from tests.trained_tokenizers import trained as tokenizers

# The explained model's tokenizer, and the masked model.
SAME = (gpt2_tokenizer, "roberta")
OTHER = (llama_tokenizer, "bert")
PAIRS = pytest.mark.parametrize(("explained", "family"), [SAME, OTHER], ids=["same", "other"])

WRONG = f"{FILLERS[0]} the capital of spain is paris. {FILLERS[1]}"


def prepared(prompt: Prompt, tokenizer: HFTokenizer, family: str) -> Substitute:
    return MaskedLMReplacer(tiny_masked.trained(family), Reader(tokenizer)).prepare(prompt)


def mask_of(prompt: Prompt, *words: str) -> np.ndarray:
    """The positions [L] of the units with these words."""
    mask = np.zeros(len(prompt.token_ids), bool)
    found = [unit for unit in prompt.units if unit.text.strip() in words]
    assert len(found) == len(words)
    for unit in found:
        mask[list(unit.positions)] = True
    return mask


def fills(
    substitute: Substitute, prompt: Prompt, tokenizer: HFTokenizer, mask: np.ndarray
) -> list[Counter[str]]:
    """How often in 200 evenly spread draws each masked position becomes what."""
    uniforms = np.tile((np.arange(200)[:, None] + 0.5) / 200, (1, len(mask)))
    replaced = substitute(np.tile(mask, (200, 1)), uniforms)
    assert (replaced[:, ~mask] == np.array(prompt.token_ids)[~mask]).all()
    return [
        Counter(tokenizer.decode([i]).strip() for i in replaced[:, position].tolist())
        for position in np.flatnonzero(mask)
    ]


@PAIRS
def test_what_stands_right_of_a_word_tells_what_belongs_there(explained, family: str) -> None:
    tokenizer = explained()
    prompt = build_prompt(WRONG, tokenizer, "word")
    (found,) = fills(
        prepared(prompt, tokenizer, family), prompt, tokenizer, mask_of(prompt, "spain")
    )
    assert found.most_common(1)[0][0] == "france" and found["france"] > 100
    assert found["spain"] == 0


@PAIRS
def test_all_that_is_replaced_is_masked_together(explained, family: str) -> None:
    """With the capital gone as well, nothing tells the country any more."""
    tokenizer = explained()
    prompt = build_prompt(WRONG, tokenizer, "word")
    substitute = prepared(prompt, tokenizer, family)
    (alone,) = fills(substitute, prompt, tokenizer, mask_of(prompt, "spain"))
    together, capital = fills(substitute, prompt, tokenizer, mask_of(prompt, "spain", "paris"))
    assert together["france"] < alone["france"] / 2
    assert len(together) > len(alone)
    assert set(capital) & set(CAPITALS.values())


@PAIRS
def test_the_original_is_no_proposal_though_it_fits_best(explained, family: str) -> None:
    tokenizer = explained()
    prompt = build_prompt(f"{FILLERS[0]} the capital of peru is lima.", tokenizer, "word")
    (found,) = fills(
        prepared(prompt, tokenizer, family), prompt, tokenizer, mask_of(prompt, "lima")
    )
    assert found["lima"] == 0
    assert set(found) & set(CAPITALS.values())


@PAIRS
def test_what_is_no_single_token_of_the_explained_model_is_skipped(explained, family: str) -> None:
    class Without(HFTokenizer):
        """The same tokenizer, to which " france" is no word of its own."""

        def __init__(self) -> None:
            super().__init__(explained()._tokenizer)
            self.ordinary_ids = tuple(
                i for i in explained().ordinary_ids if explained().decode([i]).strip() != "france"
            )

    tokenizer = Without()
    prompt = build_prompt(WRONG, tokenizer, "word")
    (found,) = fills(
        prepared(prompt, tokenizer, family), prompt, tokenizer, mask_of(prompt, "spain")
    )
    assert found["france"] == 0
    assert set(found) & set(CAPITALS)  # the next best are other countries


def test_the_dictionary_keeps_the_blank_that_each_tokenizer_has() -> None:
    bert, llama = tiny_masked.trained("bert").tokenizer, llama_tokenizer()
    words = dictionary(bert, llama)
    (word,) = bert.encode("france", add_special_tokens=False).token_ids
    assert words.spaced[word]  # in a text BERT writes a blank in front
    spaced = llama.encode("in france", add_special_tokens=False).token_ids[-1]
    assert words.targets[1, word] == spaced
    # Letters inside a word are other tokens, for both.
    inside = next(i for i in bert.ordinary_ids if bert.decode([word, i]) == "francee")
    assert not words.spaced[inside]
    assert llama.decode([spaced, words.targets[0, inside]]).strip() == "francee"


def test_the_dictionary_of_two_tokenizers_is_made_once() -> None:
    asked = 0

    class Counting(HFTokenizer):
        def decode(self, token_ids) -> str:
            nonlocal asked
            asked += 1
            return super().decode(token_ids)

    tokenizer, masked = Counting(gpt2_tokenizer()._tokenizer), tiny_masked.trained("roberta")
    replacer = MaskedLMReplacer(masked, Reader(tokenizer))
    replacer.prepare(build_prompt(WRONG, tokenizer))
    first = asked
    replacer.prepare(build_prompt(WRONG, tokenizer))
    MaskedLMReplacer(masked, Reader(tokenizer)).prepare(build_prompt(WRONG, tokenizer))
    assert first > len(tokenizer.ordinary_ids)
    assert asked - first < 200  # the prompt's own tokens


# --- Whatever the text and the tokenizers ---------------------------------------------------------

awkward = settings(max_examples=12, deadline=None)


@pytest.mark.parametrize("family", ["roberta", "bert"])
@pytest.mark.parametrize("name", sorted(tokenizers()))
@awkward
@given(text=texts, data=st.data())
def test_every_replaced_token_becomes_one_other_ordinary_token(
    name: str, family: str, text: str, data: st.DataObject
) -> None:
    tokenizer = tokenizers()[name]
    prompt = build_prompt(text, tokenizer)
    free = np.zeros(len(prompt.token_ids), bool)
    free[list(prompt.free_positions)] = True
    seed = data.draw(st.integers(0, 99))
    random = np.random.default_rng(seed)
    units = random.random((3, len(prompt.units))) < 0.4
    masks = np.zeros((3, len(prompt.token_ids)), bool)
    for column, unit in enumerate(prompt.units):
        masks[:, list(unit.positions)] = units[:, column, None]
    masks &= free
    uniforms = random.random(masks.shape)
    substitute = prepared(prompt, tokenizer, family)
    together = substitute(masks, uniforms)
    assert ((together != np.array(prompt.token_ids)) == masks).all()
    assert not tokenizer.special_ids.intersection(together[masks].tolist())
    # A fresh one, asked for one after the other, says the same.
    again = prepared(prompt, tokenizer, family)
    for row in range(len(masks)):
        assert (again(masks[row : row + 1], uniforms[row : row + 1])[0] == together[row]).all()


def kept_and_masked(text: str, explained: HFTokenizer, family: str, *words: str) -> list[str]:
    """The tokens of the masked model's input, without the marks of byte-level tokens."""
    masked = tiny_masked.trained(family)
    prompt = build_prompt(text, explained)
    made = MaskableText(prompt, explained, masked.tokenizer, masked.mask_id).masked(
        np.flatnonzero(mask_of(prompt, *words)).tolist()
    )
    assert [made.token_ids[place] for place in made.places] == [masked.mask_id] * len(made.places)
    return [masked.tokenizer.decode([i]) for i in made.token_ids]


def test_one_mask_for_each_token_where_the_tokenizers_cut_differently() -> None:
    """Here "kenya" is several tokens, for the masked models it is one."""
    explained = tokenizers()["byte-level"]
    _, *inner, _ = (unit.text.strip() for unit in build_prompt("of kenya.", explained).units)
    assert len(inner) > 1
    whole = kept_and_masked("of kenya.", explained, "bert", *inner)
    assert whole == ["of", *["[MASK]"] * len(inner), "."]
    # Of a word that is kept in part, the rest is tokenized anew.
    part = kept_and_masked("of kenya.", explained, "bert", inner[0])
    assert part[:2] == ["of", "[MASK]"]
    assert "".join(part[2:]).replace("##", "") == "kenya.".removeprefix(inner[0])


def test_special_tokens_of_the_explained_model_are_not_fed_as_text() -> None:
    explained = tokenizers()["chat"]
    turns = (Turn(role="user", content="the capital of france is"),)
    prompt = build_prompt(turns, explained)
    assert "<|im_start|>" in prompt.text
    masked = tiny_masked.trained("roberta")
    text = MaskableText(prompt, explained, masked.tokenizer, masked.mask_id).masked([])
    read = masked.tokenizer.decode(text.token_ids)
    assert "im_start" not in read and "im_end" not in read
    assert "user" in read and "the capital of france is" in read


def test_a_special_token_typed_into_a_prompt_is_text() -> None:
    explained = gpt2_tokenizer()
    made = kept_and_masked("the </s> of <mask> is france", explained, "roberta", "france")
    assert made.count("<mask>") == 1 and made[-1] == "<mask>"
    assert "".join(made[:-1]) == "the </s> of <mask> is"


# --- Longer than the masked model reads -----------------------------------------------------------


@PAIRS
@pytest.mark.parametrize(("before", "after"), [(0, 30), (30, 0), (20, 20)])
def test_a_long_prompt_is_read_through_a_window_around_the_mask(
    explained, family: str, before: int, after: int
) -> None:
    tokenizer = explained()
    filler = " ".join([FILLERS[1]] * 40).split()
    text = " ".join([*filler[: 5 * before], "the capital of spain is paris.", *filler[: 5 * after]])
    prompt = build_prompt(text, tokenizer, "word")
    assert len(prompt.token_ids) > 4 * tiny_masked.POSITIONS
    (found,) = fills(
        prepared(prompt, tokenizer, family), prompt, tokenizer, mask_of(prompt, "spain")
    )
    assert found.most_common(1)[0][0] == "france"


@given(st.integers(1, 200), st.integers(4, 40), st.data())
def test_every_mask_is_in_the_middle_of_one_window(
    length: int, most: int, data: st.DataObject
) -> None:
    places = sorted(data.draw(st.sets(st.integers(0, length - 1))))
    ids = tuple(range(1000, 1000 + length))
    found = windows(Masked(ids, tuple(places), tuple(place + 7 for place in places)), most)
    assert all(len(window.token_ids) == min(most, length) for window in found)
    seen = []
    for window in found:
        assert all(right - left == 1 for left, right in pairwise(window.token_ids))
        for place, position in zip(window.places, window.positions, strict=True):
            seen.append(position)
            assert window.token_ids[place] == 1000 + position - 7
            begin, end = window.token_ids[0] - 1000, window.token_ids[-1] - 1000 + 1
            assert place >= most // 4 or begin == 0
            assert len(window.token_ids) - 1 - place >= most // 4 - 1 or end == length
    assert seen == [place + 7 for place in places]


# --- What it costs, and what may go wrong ---------------------------------------------------------


class Watched:
    """Counts the forwards of a trained model, and the sequences in them."""

    def __init__(self, family: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.batches: list[int] = []
        original = MaskFiller.logits

        def logits(filler, texts, places) -> torch.Tensor:
            self.batches.append(len(texts))
            return original(filler, texts, places)

        monkeypatch.setattr(MaskFiller, "logits", logits)


def masks_of(prompt: Prompt, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    shape = (count, len(prompt.token_ids))
    masks = random.random(shape) < 0.3
    masks[:, 0] = True
    return masks, random.random(shape)


def test_many_masks_go_together_and_equal_ones_once(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched("roberta", monkeypatch)
    tokenizer = gpt2_tokenizer()
    prompt = build_prompt(WRONG, tokenizer)
    substitute = prepared(prompt, tokenizer, "roberta")
    masks, uniforms = masks_of(prompt, 12)
    substitute(np.concatenate([masks, masks]), np.concatenate([uniforms, uniforms]))
    assert sum(watched.batches) == 12 and len(watched.batches) == 1
    substitute(masks[:5], uniforms[:5])
    assert sum(watched.batches) == 12


def test_too_little_memory_halves_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = gpt2_tokenizer()
    prompt = build_prompt(WRONG, tokenizer)
    masks, uniforms = masks_of(prompt, 12)
    expected = prepared(prompt, tokenizer, "roberta")(masks, uniforms)
    original = MaskFiller.logits
    batches: list[int] = []

    def small(filler, texts, places) -> torch.Tensor:
        batches.append(len(texts))
        if len(texts) > 3:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
        return original(filler, texts, places)

    monkeypatch.setattr(MaskFiller, "logits", small)
    found = prepared(prompt, tokenizer, "roberta")(masks, uniforms)
    assert (found == expected).all()
    assert batches == [12, 6, 3, 3, 3, 3]

    def none(filler, texts, places) -> torch.Tensor:
        raise MemoryError

    monkeypatch.setattr(MaskFiller, "logits", none)
    with pytest.raises(OutOfMemory, match="not enough memory for the masked model"):
        prepared(prompt, tokenizer, "roberta")(masks, uniforms)


def test_it_stops_when_nobody_waits() -> None:
    tokenizer = gpt2_tokenizer()
    prompt = build_prompt(WRONG, tokenizer)
    stop = False
    replacer = MaskedLMReplacer(
        tiny_masked.trained("roberta"), Reader(tokenizer), cancelled=lambda: stop
    )
    substitute = replacer.prepare(prompt)
    substitute(*masks_of(prompt, 2))
    stop = True
    with pytest.raises(Cancelled):
        substitute(*masks_of(prompt, 2, seed=1))


@pytest.mark.parametrize("text", ["the food was\n\nfine.", "\n\nof\n\n"])
def test_what_the_masked_model_does_not_see_the_explained_one_replaces(text: str) -> None:
    """BERT drops line ends, so that it cannot say what belongs in their place."""
    tokenizer = gpt2_tokenizer()
    prompt = build_prompt(text, tokenizer)
    substitute = prepared(prompt, tokenizer, "bert")
    ends = np.array([not tokenizer.decode([i]).strip() for i in prompt.token_ids])
    assert ends.any() and not ends.all()
    shape = (50, len(ends))
    uniforms = np.random.default_rng(0).random(shape)
    replaced = substitute(np.ones(shape, bool), uniforms)
    # The stand-in proposes the first tokens of the vocabulary, the original's neighbours.
    allowed = [i for i in range(30) if i not in tokenizer.special_ids][:11]
    assert set(replaced[:, ends].ravel().tolist()) <= set(allowed)
    assert not set(replaced[:, ~ends].ravel().tolist()) <= set(allowed)


def test_vocabularies_without_a_word_in_common_leave_it_to_the_explained_model(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    foreign = HFTokenizer(byte_level(corpus=["яблоко груша"] * 3, size=300))
    foreign.ordinary_ids = tuple(i for i in foreign.ordinary_ids if i > 257)
    prompt = build_prompt("яблоко груша яблоко", foreign)
    substitute = prepared(prompt, foreign, "bert")
    masks, uniforms = masks_of(prompt, 5)
    replaced = substitute(masks, uniforms)
    assert ((replaced != np.array(prompt.token_ids)) == masks).all()
    count = len(prompt.free_positions)
    assert f"{count} of {count} tokens have no counterpart in tiny bert" in caplog.text
