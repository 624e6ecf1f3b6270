"""T5 and BART behind the scorer protocol: what is source, what is answer, and what each reads."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from reagent_core.answer import answer_of, continuation_of
from reagent_core.config import PRESETS, Config
from reagent_core.cost import estimate, measure_speed
from reagent_core.errors import Cancelled, InputError, ModelError, OutOfMemory
from reagent_core.explain import explain_now
from reagent_core.loading import outline
from reagent_core.meter import Meter
from reagent_core.prompt import build_prompt
from reagent_core.replacers.causal_lm import CausalLMReplacer
from reagent_core.request import AnswerTokens, GivenText, ModelInfo, Request, Turn, WholeAnswer
from reagent_core.scorers.base import GeneratedToken, IntArray
from reagent_core.scorers.encoder_decoder import EncoderDecoderScorer
from reagent_core.scorers.infilling import Mask, Sentinels, apart
from reagent_core.target import Targets
from tests.tiny_models import (
    ENCODER_DECODERS,
    tiny_encoder_decoder,
    tiny_encoder_decoder_scorer,
)
from tests.trained_tokenizers import byte_level, closed

INFO = ModelInfo(id="tiny", revision_or_sha256="0")
FRANCE = "The capital of France is"
some = settings(max_examples=25, deadline=None)
every = pytest.mark.parametrize("family", ENCODER_DECODERS)


@cache
def shared(family: str) -> EncoderDecoderScorer:
    return tiny_encoder_decoder_scorer(family)


def parts(family: str) -> tuple[int, list[int]]:
    """The token that closes a source, and those in front of every answer."""
    return (2, [2, 0]) if family == "bart" else (1, [0])


def rows_of(scorer: EncoderDecoderScorer, family: str, said: int, count: int = 6) -> IntArray:
    """Sequences of 20 random source tokens, the closing one and `said` random decoder tokens; the
    sources of the last two are equal."""
    rng = np.random.default_rng(1)
    rows = rng.choice(np.asarray(scorer.tokenizer.ordinary_ids), (count, 21 + said))
    rows[:, 20] = parts(family)[0]
    rows[-1, :20] = rows[-2, :20]
    return rows


@torch.inference_mode()
def full_logits(scorer: EncoderDecoderScorer, family: str, row: Sequence[int]) -> torch.Tensor:
    """Of one sequence, at every decoder place, by a plain forward of the model."""
    closing, start = parts(family)
    length = len(row) - list(row)[::-1].index(closing)
    source, said = list(row[:length]), [*start, *row[length:]]
    output = scorer._model(input_ids=torch.tensor([source]), decoder_input_ids=torch.tensor([said]))
    return output.logits[0].float()


# --- Scores --------------------------------------------------------------------------------------


@every
@pytest.mark.parametrize("reads", [1, 3])
def test_scores_are_those_of_a_plain_forward(family: str, reads: int) -> None:
    scorer = tiny_encoder_decoder_scorer(family)
    rows, targets = rows_of(scorer, family, said=3), [40, 50, 60][-reads:]
    found = scorer.score(rows, targets)
    for row, logs, ranks in zip(rows, found.log_probabilities, found.ranks, strict=True):
        logits = full_logits(scorer, family, row.tolist())[-reads:]
        assert logs == pytest.approx(
            logits.log_softmax(-1)[range(reads), targets].numpy(), abs=1e-4
        )
        expected = [
            int((place > place[t]).sum()) + 1 for place, t in zip(logits, targets, strict=True)
        ]
        assert ranks.tolist() == expected


@every
def test_only_what_is_read_meets_the_vocabulary(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = tiny_encoder_decoder_scorer(family)
    sizes: list[torch.Size] = []
    head = scorer._model.get_output_embeddings()
    head.register_forward_hook(lambda module, given, made: sizes.append(made.shape))
    rows = rows_of(scorer, family, said=5)
    scorer.score(rows, [40, 50])
    size = len(scorer._model.get_input_embeddings().weight)
    assert sizes == [(6, 2, size)]
    sizes.clear()
    scorer.predict(rows[0].tolist(), 3, np.ones(size, bool))
    assert sum(made[1] for made in sizes) == rows.shape[1]  # each place once


@every
def test_the_encoder_reads_equal_sources_once(family: str) -> None:
    scorer = tiny_encoder_decoder_scorer(family)
    read: list[int] = []
    scorer._model.get_encoder().register_forward_hook(
        lambda module, args, kwargs, made: read.append(len(kwargs["input_ids"])),
        with_kwargs=True,
    )
    scorer.score(rows_of(scorer, family, said=2), [40])
    assert read == [5]  # of six


@every
@some
@given(data=st.data())
def test_the_source_ends_behind_its_last_closing_token(family: str, data: st.DataObject) -> None:
    """Whatever stands in it, the closing token included, as when somebody types it."""
    scorer = shared(family)
    closing, _ = parts(family)
    token = st.integers(0, 80)
    source = data.draw(st.lists(token, min_size=1, max_size=6))
    said = data.draw(st.lists(token.filter(lambda i: i != closing), max_size=4))
    target = data.draw(token)
    row = [*source, closing, *said]
    found = scorer.score(np.array([row]), [target]).log_probabilities[0, 0]
    plain = full_logits(scorer, family, row)[-1].log_softmax(-1)[target]
    assert found == pytest.approx(float(plain), abs=1e-4)


def test_threads_that_read_other_places_do_not_disturb_each_other() -> None:
    scorer = shared("bart")
    rows = rows_of(scorer, "bart", said=5)
    asked = [list(range(40, 41 + i % 5)) for i in range(40)]
    alone = [scorer.score(rows, targets).log_probabilities for targets in asked]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda targets: scorer.score(rows, targets), asked))
    for one, other in zip(alone, together, strict=True):
        assert other.log_probabilities == pytest.approx(one, abs=1e-5)


def test_targets_in_the_source_and_sources_of_unequal_length_are_refused() -> None:
    scorer = shared("t5")
    with pytest.raises(ValueError, match="behind the source"):
        scorer.score(np.array([[5, 6, 1]]), [7, 8])
    with pytest.raises(ValueError, match="behind the source"):
        scorer.score(np.array([[5, 6, 1]]), [])
    with pytest.raises(ValueError, match="equally long"):
        scorer.score(np.array([[5, 1, 6], [5, 6, 1]]), [7])


def test_without_a_closing_token_all_is_source() -> None:
    scorer = shared("t5")
    found = scorer.score(np.array([[5, 6, 7]]), [8]).log_probabilities[0, 0]
    with torch.inference_mode():
        logits = scorer._model(
            input_ids=torch.tensor([[5, 6, 7]]), decoder_input_ids=torch.tensor([[0]])
        ).logits
    assert found == pytest.approx(float(logits[0, -1].log_softmax(-1)[8]), abs=1e-4)


_T5_LIKE: dict[str, Any] = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
_BART_LIKE: dict[str, Any] = {
    "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48,
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("MT5", _T5_LIKE),
        ("UMT5", _T5_LIKE),
        ("LongT5", _T5_LIKE),
        ("Pegasus", _BART_LIKE),
        ("M2M100", _BART_LIKE),
        ("Marian", {**_BART_LIKE, "decoder_vocab_size": 101, "pad_token_id": 0}),
    ],
)
def test_their_relatives_are_read_the_same_way(name: str, arguments: dict[str, Any]) -> None:
    """mT5, NLLB and the others: whatever stands around the encoder, the decoder and the head."""
    tokenizer = tiny_encoder_decoder("t5")[1]
    config = getattr(transformers, f"{name}Config")(**arguments, vocab_size=len(tokenizer))
    torch.manual_seed(0)
    model = transformers.AutoModelForSeq2SeqLM.from_config(config).eval()
    model.generation_config.decoder_start_token_id = 0
    scorer = EncoderDecoderScorer(model, tokenizer, INFO)
    rows = rows_of(scorer, "t5", said=3)
    found = scorer.score(rows, [40, 50, 60]).log_probabilities
    for row, logs in zip(rows, found, strict=True):
        logits = full_logits(scorer, "t5", row.tolist())[-3:]
        assert logs == pytest.approx(logits.log_softmax(-1)[range(3), [40, 50, 60]], abs=1e-4)


# --- The answer ----------------------------------------------------------------------------------


@every
def test_an_answer_is_the_one_generate_gives_and_scores_agree(family: str) -> None:
    model, tokenizer = tiny_encoder_decoder(family)
    source = torch.tensor([tokenizer(FRANCE)["input_ids"]])
    plain = model.generate(source, do_sample=False, num_beams=1, max_new_tokens=30)[0].tolist()
    scorer = EncoderDecoderScorer(model, tokenizer, INFO)
    prompt = build_prompt(FRANCE, scorer.tokenizer)
    assert list(prompt.token_ids) == source[0].tolist()
    start = parts(family)[1]
    tokens = scorer.generate(prompt.token_ids, 9)
    ids = [token.token_id for token in tokens]
    assert plain[: len(start)] == start and plain[len(start) :][: len(ids)] == ids and ids
    found = scorer.score(np.array([[*prompt.token_ids, *ids[:-1]]]), ids)
    assert np.exp(found.log_probabilities[0]) == pytest.approx(
        [token.probability for token in tokens], rel=1e-4
    )
    assert (found.ranks == 1).all()
    assert all(len(token.alternatives) == 5 for token in tokens)


def test_the_settings_a_model_ships_do_not_bend_its_answer() -> None:
    """BART's summaries come with beams, a least length and no n-gram twice."""
    model, tokenizer = tiny_encoder_decoder("bart")
    prompt = closed()["bart"].encode(FRANCE, add_special_tokens=True).token_ids
    plain = EncoderDecoderScorer(model, tokenizer, INFO).generate(prompt, 8)
    model, tokenizer = tiny_encoder_decoder("bart")
    model.generation_config.update(
        num_beams=4, no_repeat_ngram_size=1, min_length=56, repetition_penalty=3.0
    )
    assert EncoderDecoderScorer(model, tokenizer, INFO).generate(prompt, 8) == plain


def test_an_answer_can_be_cancelled() -> None:
    scorer = shared("t5")
    prompt = build_prompt(FRANCE, scorer.tokenizer)
    asked = iter([False, False, True, True, True])
    with pytest.raises(Cancelled, match="before the model had answered"):
        scorer.generate(prompt.token_ids, 50, lambda: next(asked))


def generated(ids: Sequence[int]) -> list[GeneratedToken]:
    return [GeneratedToken(i, 0.5, ()) for i in ids]


@pytest.mark.parametrize("name", ["t5", "bart"])
def test_an_answer_is_a_text_of_its_own(name: str) -> None:
    """It does not go on the prompt: it begins without a blank."""
    tokenizer = closed()[name]
    prompt = build_prompt(FRANCE, tokenizer)
    assert "".join(unit.text for unit in prompt.units) == FRANCE
    assert [unit.text for unit in prompt.units][-2:] == [" France", " is"]
    assert prompt.closed and tokenizer.decode(prompt.token_ids[-1:]) == "</s>"
    ids = tokenizer.encode("Paris, of course", add_special_tokens=False).token_ids
    text, tokens = answer_of(prompt, generated(ids), tokenizer)
    assert text == "Paris, of course"
    assert "".join(token.text for token in tokens) == text


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_a_given_text_is_tokenized_alone(family: str) -> None:
    scorer = shared(family)
    prompt = build_prompt("The capital of France is ", scorer.tokenizer)  # the blank is no matter
    found = continuation_of(prompt, "Paris", scorer)
    ids = scorer.tokenizer.encode(found.text, add_special_tokens=False).token_ids
    assert found.token_ids == ids and found.text.strip() == "Paris"
    with pytest.raises(InputError, match=r"“</s>”, which ends a text") as caught:
        continuation_of(prompt, "Paris</s> of", scorer)
    assert caught.value.field == "target"


def test_a_chat_is_refused() -> None:
    with pytest.raises(InputError, match="holds no chat") as caught:
        build_prompt([Turn(role="user", content=FRANCE)], closed()["t5"])
    assert caught.value.field == "prompt"


# --- Replacements --------------------------------------------------------------------------------


def test_t5_says_what_stood_at_each_sentinel() -> None:
    gaps = Sentinels((90, 91, 92)).gaps([10, 11, 12, 13, 14, 1], [1, 4], [0])
    assert gaps.source == [10, 90, 12, 13, 91, 1]
    assert gaps.decoder == [0, 90, 11, 91]
    assert gaps.read == [1, 3]  # what follows each sentinel


def test_a_sentinel_of_the_prompt_is_left_to_it() -> None:
    sentinels = Sentinels((90, 91, 92))
    source = [10, 90, 12, 1]
    assert sentinels.most(source) == 2
    assert sentinels.gaps(source, [0], [0]).source == [91, 90, 12, 1]


@pytest.mark.parametrize(
    ("source", "opening", "decoder", "read"),
    [
        ([0, 10, 11, 12, 2], [2, 0], [2, 0, 10, 11], [1, 3]),  # begins with the source's own <s>
        ([0, 10, 11, 12, 2], [2], [2, 0, 10, 11], [1, 3]),
        ([9, 10, 11, 12, 2], [2, 0], [2, 0, 9, 10, 11], [2, 4]),
    ],
)  # fmt: skip
def test_bart_says_the_source_again(
    source: list[int], opening: list[int], decoder: list[int], read: list[int]
) -> None:
    gaps = Mask(4).gaps(source, [1, 3], opening)
    assert gaps.source == [source[0], 4, 11, 4, 2]
    assert (gaps.decoder, gaps.read) == (decoder, read)


@given(st.integers(0, 300), st.integers(1, 100))
def test_places_asked_for_together_lie_apart(count: int, most: int) -> None:
    places = list(range(3, 3 + count))
    groups = apart(places, most)
    assert sorted(place for group in groups for place in group) == places
    for group in groups:
        assert 1 <= len(group) <= most
        assert all(b - a >= 8 for a, b in pairwise(group))


@every
def test_predictions_are_those_of_a_plain_forward(family: str) -> None:
    """Each place of a short source alone; the decoder's from what it has said."""
    scorer = shared(family)
    tokenizer = scorer.tokenizer
    source = [*tokenizer.encode("The cit", add_special_tokens=True).token_ids]
    assert len(source) <= 8
    said = [40, 50]
    size = len(scorer._model.get_input_embeddings().weight)
    allowed = np.ones(size, bool)
    allowed[list(tokenizer.special_ids)] = False
    found = scorer.predict([*source, *said], 4, allowed)
    assert found.token_ids.shape == found.probabilities.shape == (len(source) + 2, 4)
    for place, token in enumerate(source):
        if token in tokenizer.special_ids:
            continue
        gap = scorer._infilling.id if family == "bart" else scorer._infilling.ids[0]
        gapped = [*source[:place], gap, *source[place + 1 :]]
        with torch.inference_mode():
            logits = scorer._model(
                input_ids=torch.tensor([gapped]),
                decoder_input_ids=torch.tensor(
                    [[2, *source[:place]] if family == "bart" else [0, gap]]
                ),
            ).logits[0, -1]
        check(found.token_ids[place], found.probabilities[place], logits, allowed)
    for i in range(2):
        logits = full_logits(scorer, family, [*source, *said[:i]])[-1]
        place = len(source) + i
        check(found.token_ids[place], found.probabilities[place], logits, allowed)


def check(
    ids: IntArray, probabilities: np.ndarray, logits: torch.Tensor, allowed: np.ndarray
) -> None:
    expected = logits.float().softmax(-1).numpy()
    best = [i for i in np.argsort(-expected).tolist() if allowed[i]][: len(ids)]
    assert ids.tolist() == best
    assert probabilities == pytest.approx(expected[best], rel=1e-3)


def test_a_long_source_is_asked_about_in_few_forwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight for the text, one for the closing token; more where there are too few sentinels."""
    scorer = tiny_encoder_decoder_scorer("t5")
    calls: list[int] = []
    scorer._model.get_encoder().register_forward_hook(lambda module, given, made: calls.append(1))
    whole = build_prompt("of the city " * 50, scorer.tokenizer)
    ids = whole.token_ids
    assert len(ids) > 150
    replacer = CausalLMReplacer(scorer)
    substitute = replacer.prepare(replace(whole, token_ids=ids[:60] + ids[-1:]))
    assert len(calls) == 9
    calls.clear()
    replacer.prepare(replace(whole, token_ids=ids[:240]))
    assert len(calls) == 12  # of twenty sentinels each
    everything = np.ones((1, 61), bool)
    replaced = substitute(everything, np.full((1, 61), 0.5))
    assert not scorer.tokenizer.special_ids.intersection(replaced[0, :60].tolist())
    assert (replaced[0, :60] != np.array(ids[:60])).all()


def test_a_model_without_gaps_names_the_other_replacer() -> None:
    model, tokenizer = tiny_encoder_decoder("bart")
    tokenizer.mask_token = None
    scorer = EncoderDecoderScorer(model, tokenizer, INFO)
    request = Request(prompt=FRANCE, target=AnswerTokens(), max_new_tokens=2)
    with pytest.raises(ModelError, match="Choose the replacer “uniform”"):
        explain_now(request, scorer)
    config = Config(replacer="uniform", probes=1, min_steps=2, max_steps=2)
    found = explain_now(request.model_copy(update={"config": config}), scorer)
    assert found.status == "complete" and len(found.trace) == 2


def test_a_prompt_that_holds_every_sentinel_is_refused() -> None:
    scorer = shared("t5")
    text = FRANCE + "".join(f"<extra_id_{n}>" for n in range(20))
    prompt = build_prompt(text, scorer.tokenizer)
    with pytest.raises(ModelError, match="every token that this model marks a gap with"):
        CausalLMReplacer(scorer).prepare(prompt)


# --- Long prompts, cost, memory, files -----------------------------------------------------------


def test_a_long_prompt_is_looked_at_from_coarse_to_fine() -> None:
    config = Config(selection="balanced", ratio=0.04, probes=2, min_steps=4, max_steps=4)
    text = "The capital of France is Paris. " * 20
    request = Request(prompt=text, target=AnswerTokens(), max_new_tokens=2, config=config)
    found = explain_now(request, shared("t5"))
    assert any(unit.coarse for unit in found.units) and any(unit.stepped for unit in found.units)
    assert "".join(unit.text for unit in found.units) == text


def test_what_it_costs_can_be_said_before() -> None:
    scorer = shared("t5")
    speed = measure_speed(scorer)
    config = PRESETS["quick"]
    request = Request(prompt=FRANCE, target=WholeAnswer(), max_new_tokens=4, config=config)
    said = estimate(build_prompt(FRANCE, scorer.tokenizer), request, scorer, speed)
    done = explain_now(request, scorer).counts.sequences
    assert said.seconds > 0 and 1 / 2 < said.sequences / done < 2


def test_a_source_longer_than_bart_reads_is_refused() -> None:
    scorer = shared("bart")
    assert scorer.context_length == 128 and shared("t5").context_length > 10**6
    with pytest.raises(InputError, match="this model reads 128, of which 16 are for the answer"):
        explain_now(Request(prompt="of the city " * 60), scorer)


def test_it_halves_its_batches_where_memory_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = tiny_encoder_decoder_scorer("bart")
    rows = rows_of(scorer, "bart", said=0)
    targets = Targets((40, 50), ((0, 1), (1, 2)))
    plain = Meter(scorer, targets).read(rows).values
    forward = scorer._model.forward
    widths: list[int] = []

    def narrow(**given: torch.Tensor) -> object:
        widths.append(len(given["decoder_input_ids"]))
        if widths[-1] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(**given)

    monkeypatch.setattr(scorer._model, "forward", narrow)
    assert Meter(scorer, targets).read(rows).values == pytest.approx(plain, abs=1e-4)
    assert widths == [5, 2, 2, 1]  # two of the six are the same
    with pytest.raises(OutOfMemory, match="not enough memory for this prompt"):
        scorer.score(rows, [40])


@every
def test_its_shape_is_known_without_the_weights(family: str, tmp_path: Path) -> None:
    model, tokenizer = tiny_encoder_decoder(family)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    outlined, whole = outline(tmp_path, INFO), EncoderDecoderScorer(model, tokenizer, INFO)
    assert isinstance(outlined, EncoderDecoderScorer)
    assert outlined.context_length == whole.context_length
    assert outlined.batch_size(20, 2) == whole.batch_size(20, 2)


@every
def test_a_saved_folder_gives_the_same(family: str, tmp_path: Path) -> None:
    model, tokenizer = tiny_encoder_decoder(family)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded = transformers.AutoModelForSeq2SeqLM.from_pretrained(tmp_path)
    own = transformers.AutoTokenizer.from_pretrained(tmp_path)
    request = Request(
        prompt=FRANCE,
        target=GivenText(text="Paris"),
        max_new_tokens=3,
        config=Config(probes=1, min_steps=3, max_steps=3),
    )
    before = explain_now(request, EncoderDecoderScorer(model, tokenizer, INFO))
    after = explain_now(request, EncoderDecoderScorer(loaded.eval(), own, INFO))
    assert after.answer == before.answer
    assert [step.value for step in after.trace] == pytest.approx(
        [step.value for step in before.trace], abs=1e-4
    )


def test_models_that_cannot_be_used_are_refused() -> None:
    model, tokenizer = tiny_encoder_decoder("t5")
    with pytest.raises(ModelError, match="puts no token behind a text"):
        EncoderDecoderScorer(model, byte_level(), INFO)
    model.generation_config.decoder_start_token_id = None
    with pytest.raises(ModelError, match="decoder_start_token_id"):
        EncoderDecoderScorer(model, tokenizer, INFO)
