"""What stands in for a replaced token."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reagent_core.errors import ModelError
from reagent_core.prompt import Prompt, build_prompt
from reagent_core.replacers.base import Substitute
from reagent_core.replacers.candidates import CANDIDATES
from reagent_core.replacers.causal_lm import CausalLMReplacer
from reagent_core.replacers.uniform import UniformReplacer
from reagent_core.scorers.base import BoolArray, FloatArray, IntArray, Predictions
from tests.tiny import TinyScorer, TinyTokenizer
from tests.trained_tokenizers import trained

if TYPE_CHECKING:
    from reagent_core.scorers.transformers_lm import TransformersScorer

ORDINARY = TinyTokenizer.ordinary_ids
some = settings(max_examples=100, deadline=None)


class Ranked(TinyScorer):
    """Predicts the words of `ranking`, most likely first, at every place."""

    def __init__(self, ranking: Sequence[int], probabilities: Sequence[float]) -> None:
        super().__init__()
        self.ranking, self.probabilities = ranking, probabilities

    def predict(self, token_ids: Sequence[int], k: int, allowed: BoolArray) -> Predictions:
        chosen = [(i, p) for i, p in zip(self.ranking, self.probabilities, strict=True)
                  if allowed[i]][:k]  # fmt: skip
        ids, probabilities = zip(*chosen, strict=True)
        rows = len(token_ids)
        return Predictions(np.tile(np.array(ids), (rows, 1)), np.tile(probabilities, (rows, 1)))


def prompt_of(*token_ids: int) -> Prompt:
    """A prompt of these tokens, whatever its text."""
    return Prompt("", token_ids, ())


def place(substitute: Substitute, uniforms: Sequence[float] | FloatArray) -> list[int]:
    """The replacements of a prompt of one token, one for each uniform number."""
    column = np.array(uniforms)[:, None]
    return substitute(np.ones_like(column, bool), column)[:, 0].tolist()


# --- The model's own predictions -----------------------------------------------------------------

# Special tokens (0 and 1) are the likeliest, but never allowed.
RANKING = (1, 0, *range(2, 14))
HALVES = [0.5**i for i in range(1, 15)]


def test_a_replacement_is_drawn_from_ten_candidates_by_their_probabilities() -> None:
    substitute = CausalLMReplacer(Ranked(RANKING, HALVES)).prepare(prompt_of(20))
    # Candidates 2, 3, ..., 11 with weights 512, 256, ..., 1 of 1023.
    edges = np.cumsum([512, 256, 128, 64, 32, 16, 8, 4, 2, 1]) / 1023
    assert place(substitute, [0.0, *edges[:-1] + 1e-9]) == list(range(2, 12))
    assert place(substitute, edges[:-1] - 1e-9) == list(range(2, 11))
    assert place(substitute, [1 - 2**-53]) == [11]


def test_the_original_is_no_candidate_and_the_eleventh_takes_its_place() -> None:
    substitute = CausalLMReplacer(Ranked(RANKING, HALVES)).prepare(prompt_of(3))
    # Without 3: 1024 for 2, then 256, 128, ..., 1 for 4 to 12.
    weights = np.array([1024, *(2 ** np.arange(8, -1, -1))])
    edges = np.cumsum(weights) / weights.sum()
    assert place(substitute, [0.0, *edges[:-1] + 1e-9]) == [2, *range(4, 13)]


def test_predictions_without_any_probability_are_drawn_evenly() -> None:
    substitute = CausalLMReplacer(Ranked(RANKING, [0.0] * 14)).prepare(prompt_of(20))
    drawn = place(substitute, (np.arange(CANDIDATES) + 0.5) / CANDIDATES)
    assert drawn == list(range(2, 12))


def test_a_vocabulary_too_small_for_ten_candidates_is_refused() -> None:
    class Small(TinyTokenizer):
        ordinary_ids = tuple(range(2, 12))

    scorer = TinyScorer()
    scorer.tokenizer = Small()
    with pytest.raises(ModelError, match="too small"):
        CausalLMReplacer(scorer).prepare(prompt_of(3))


def test_the_prompt_is_predicted_once_whatever_is_replaced_later() -> None:
    class Counting(Ranked):
        predictions = 0

        def predict(self, token_ids: Sequence[int], k: int, allowed: BoolArray) -> Predictions:
            self.predictions += 1
            return super().predict(token_ids, k, allowed)

    scorer = Counting(RANKING, HALVES)
    substitute = CausalLMReplacer(scorer).prepare(prompt_of(3, 4))
    for _ in range(5):
        substitute(np.ones((2, 2), bool), np.zeros((2, 2)))
    assert scorer.predictions == 1


# --- Any word of the vocabulary ------------------------------------------------------------------


@pytest.mark.parametrize("original", [2, 9, ORDINARY[-1], 0])
def test_every_other_ordinary_token_is_as_likely(original: int) -> None:
    """The middles of equal parts of [0, 1) meet each of the other tokens just once."""
    substitute = UniformReplacer(TinyTokenizer()).prepare(prompt_of(original))
    others = [i for i in ORDINARY if i != original]
    drawn = place(substitute, (np.arange(len(others)) + 0.5) / len(others))
    assert drawn == others
    thousand = Counter(
        place(substitute, (np.arange(1000 * len(others)) + 0.5) / 1000 / len(others))
    )
    assert thousand == dict.fromkeys(others, 1000)
    assert place(substitute, [0.0, 1 - 2**-53]) == [others[0], others[-1]]


def test_ordinary_tokens_need_not_stand_side_by_side() -> None:
    class Gaps(TinyTokenizer):
        ordinary_ids = (3, 7, 12)

    replacer = UniformReplacer(Gaps())
    uniforms = np.linspace(0, 0.999, 50)
    assert set(place(replacer.prepare(prompt_of(7)), uniforms)) == {3, 12}
    assert set(place(replacer.prepare(prompt_of(5)), uniforms)) == {3, 7, 12}
    assert set(place(replacer.prepare(prompt_of(15)), uniforms)) == {3, 7, 12}


def test_a_vocabulary_without_another_word_is_refused() -> None:
    class One(TinyTokenizer):
        ordinary_ids = (3,)

    with pytest.raises(ModelError, match="too small"):
        UniformReplacer(One()).prepare(prompt_of(3))


# --- Both ----------------------------------------------------------------------------------------


def tables(draw: st.DrawFn) -> tuple[list[int], BoolArray, FloatArray]:
    """A prompt of ordinary tokens, which of them to replace in each of B versions, uniforms."""
    length, batch = draw(st.integers(1, 6)), draw(st.integers(1, 5))
    tokens = draw(st.lists(st.sampled_from(ORDINARY), min_size=length, max_size=length))
    size = length * batch
    replaced = draw(st.lists(st.booleans(), min_size=size, max_size=size))
    unit = st.floats(0, 1, exclude_max=True)
    uniforms = draw(st.lists(unit, min_size=size, max_size=size))
    shape = (batch, length)
    return tokens, np.array(replaced).reshape(shape), np.array(uniforms).reshape(shape)


def both(tokens: Sequence[int]) -> list[Substitute]:
    ranked, prompt = Ranked(RANKING, HALVES), prompt_of(*tokens)
    return [CausalLMReplacer(ranked).prepare(prompt),
            CausalLMReplacer(TinyScorer()).prepare(prompt),
            UniformReplacer(TinyTokenizer()).prepare(prompt)]  # fmt: skip


@some
@given(table=st.composite(tables)())
def test_only_what_is_masked_changes_and_it_always_changes(
    table: tuple[list[int], BoolArray, FloatArray],
) -> None:
    tokens, replaced, uniforms = table
    for substitute in both(tokens):
        result = substitute(replaced, uniforms)
        assert result.shape == replaced.shape
        assert result.dtype == np.int64
        assert ((result != np.array(tokens)) == replaced).all()
        assert set(result.ravel().tolist()) <= set(ORDINARY)


@some
@given(table=st.composite(tables)(), data=st.data())
def test_a_replacement_does_not_depend_on_what_else_is_in_the_batch(
    table: tuple[list[int], BoolArray, FloatArray], data: st.DataObject
) -> None:
    tokens, replaced, uniforms = table
    order = data.draw(st.permutations(range(len(replaced))))
    for substitute in both(tokens):
        together = substitute(replaced, uniforms)
        assert (substitute(replaced[order], uniforms[order]) == together[order]).all()
        for row in range(len(replaced)):
            alone = substitute(replaced[row : row + 1], uniforms[row : row + 1])
            assert (alone[0] == together[row]).all()
        # Nor on what else is replaced in the same prompt.
        all_of_it = substitute(np.ones_like(replaced), uniforms)
        assert (all_of_it[replaced] == together[replaced]).all()


@pytest.mark.parametrize("name", sorted(trained()))
def test_uniform_replacements_from_real_tokenizers(name: str) -> None:
    tokenizer = trained()[name]
    prompt = build_prompt("The capital of France 🙂", tokenizer)
    substitute = UniformReplacer(tokenizer).prepare(prompt)
    shape = (200, len(prompt.token_ids))
    replaced: IntArray = substitute(np.ones(shape, bool), np.random.default_rng(0).random(shape))
    assert (replaced != np.array(prompt.token_ids)).all()
    assert not tokenizer.special_ids.intersection(replaced.ravel().tolist())


@pytest.mark.model
def test_the_bundled_model_proposes_fluent_replacements(bundled: TransformersScorer) -> None:
    """Other countries in the place of a country, and a special token nowhere."""
    prompt = build_prompt("The capital of France is", bundled.tokenizer, "word")
    substitute = CausalLMReplacer(bundled).prepare(prompt)
    shape = (300, len(prompt.token_ids))
    replaced = substitute(np.ones(shape, bool), np.random.default_rng(0).random(shape))
    assert (replaced != np.array(prompt.token_ids)).all()
    assert not bundled.tokenizer.special_ids.intersection(replaced.ravel().tolist())
    assert all(len(set(column)) <= CANDIDATES for column in replaced.T.tolist())
    countries = {bundled.tokenizer.decode([i]) for i in replaced[:, 3].tolist()}
    assert len(countries & {" Canada", " India", " China", " Australia", " Germany", " Italy"}) >= 2
