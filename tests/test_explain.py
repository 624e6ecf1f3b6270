"""From request to explanation, on the tiny model."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from reagent_core import models
from reagent_core.config import Config
from reagent_core.errors import Cancelled, InputError
from reagent_core.explain import MAX_PROMPT_TOKENS, explain, explain_now
from reagent_core.explanation import dump, load
from reagent_core.report import html_report
from reagent_core.request import AnswerTokens, GivenText, Request, Turn, WholeAnswer
from reagent_core.sentences import summary
from tests.tiny import TinyScorer
from tests.tiny_masked import FILLERS, Reader, gpt2_tokenizer, masked_model, masked_tokenizer

QUICK = Config(probes=2, min_steps=20, max_steps=30)
FRANCE = "the capital of france is"


def request(prompt: str = FRANCE, **options: object) -> Request:
    return Request(**{"prompt": prompt, "config": QUICK, "max_new_tokens": 3, **options})


def test_france_made_it_say_paris() -> None:
    explanation = explain_now(request(target=AnswerTokens()), TinyScorer())
    best = max(explanation.units, key=lambda unit: unit.effect or -math.inf)
    assert best.text == " france"
    assert best.effect_low > 0 and best.score == max(u.score for u in explanation.units)
    assert explanation.status == "complete"
    (fact, *_) = explanation.facts
    assert fact.unit == 3 and fact.probability < 0.3  # 0.8 before, 0.1 or the like without


def test_the_whole_answer_holds_one_explanation_a_token() -> None:
    explanation = explain_now(request(target=WholeAnswer()), TinyScorer())
    assert [e.target.text for e in explanation.explanations] == [
        token.text for token in explanation.answer_tokens
    ]
    assert explanation.target.text == explanation.answer
    assert explanation.target.probability == pytest.approx(
        math.prod(token.probability for token in explanation.answer_tokens)
    )
    assert all(len(e.units) == 5 for e in explanation.every())


def test_the_answer_comes_first_and_then_the_steps() -> None:
    first, *others = explain(request(target=AnswerTokens()), TinyScorer())
    assert first.done == 0 and first.explanation.answer.startswith(" paris")
    assert first.explanation.status == "running" and not first.explanation.verdict.settled
    assert [p.done for p in others] == sorted(p.done for p in others)
    assert others[-1].explanation.status == "complete"


def test_the_same_request_gives_the_same_numbers() -> None:
    def numbers(batch_size: int | None) -> dict:
        *_, last = explain(request(), TinyScorer(), batch_size=batch_size)
        return last.explanation.model_dump(exclude={"seconds", "counts", "explanations", "words"})

    assert numbers(None) == numbers(None) == numbers(1) == numbers(3)


def test_this_rather_than_that() -> None:
    choice = GivenText(text="paris", instead_of="madrid")
    explanation = explain_now(request(target=choice), TinyScorer())
    assert explanation.target.text == " paris" and explanation.target.probability == 0.8
    assert explanation.target.instead_of.text == " madrid"
    best = max(explanation.units, key=lambda unit: unit.effect or -math.inf)
    assert best.text == " france"


def test_cancelled_in_the_middle_keeps_what_was_found() -> None:
    scorer = TinyScorer()
    *_, last = explain(request(), scorer, cancelled=lambda: len(scorer.calls) > 5)
    assert last.explanation.status == "cancelled"
    assert 0 < last.done < last.total
    assert len(last.explanation.trace) == last.done


def test_cancelled_before_the_answer_leaves_nothing() -> None:
    with pytest.raises(Cancelled):
        list(explain(request(), TinyScorer(), cancelled=lambda: True))


def test_a_chat_keeps_its_template_and_system_turn() -> None:
    turns = (Turn(role="system", content="big red"), Turn(role="user", content=FRANCE))
    explanation = explain_now(request(prompt=turns, target=AnswerTokens()), TinyScorer())
    free = [unit for unit in explanation.units if not unit.protected]
    assert "".join(unit.text for unit in free).strip() == FRANCE
    assert explanation.messages == turns
    protected = {i for i, unit in enumerate(explanation.units) if unit.protected}
    assert all(protected.isdisjoint(step.replaced) for step in explanation.trace)


@pytest.mark.parametrize(
    ("options", "field", "words"),
    [
        ({"prompt": ""}, "prompt", "empty"),
        ({"prompt": " \n "}, "prompt", "empty"),
        ({"prompt": "a\x00b"}, "prompt", "NUL"),
        ({"prompt": "a\ud800b"}, "prompt", "surrogate"),
        ({"prompt": "big " * 3000}, "prompt", f"3,000 tokens; .* at most {MAX_PROMPT_TOKENS:,}"),
        ({"target": GivenText(text=" ")}, "target", "empty"),
        ({"target": GivenText(text=" big" * 300)}, "target", "300 tokens; at most 256"),
        ({"target": GivenText(text="paris", instead_of="paris")}, "target", "same text"),
        ({"target": AnswerTokens(start=9, stop=10)}, "target", "no token 9"),
        ({"protected": ((0, 24),)}, "prompt", "protected"),
        ({"protected": ((3, 99),)}, "prompt", "outside"),
    ],
)
def test_bad_input_is_a_sentence_next_to_its_field(options: dict, field: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        explain_now(request(**options), TinyScorer())
    assert caught.value.field == field


def test_a_prompt_longer_than_the_model_reads_is_refused() -> None:
    scorer = TinyScorer()
    scorer.context_length = 100
    with pytest.raises(InputError, match="120 tokens; this model reads 100, of which 3"):
        explain_now(request(prompt="big " * 120), scorer)


def test_an_impossible_target_stays_a_number() -> None:
    explanation = explain_now(
        request(target=GivenText(text="madrid")),
        TinyScorer(lambda words: {"madrid": 0.0 if "france" in words else 0.9}),
    )
    assert explanation.target.probability == 0 and math.isfinite(explanation.target.value)
    assert '"units"' in dump(explanation)  # refuses NaN and infinity


def test_noise_is_not_called_important() -> None:
    """A target that follows nothing in the prompt: about one run in twenty may claim it does."""

    def rule(words: Sequence[str]) -> dict[str, float]:
        # Steps are compared with the original prompt, which gets what others get on average.
        if " ".join(words) == prompt:
            return {"paris": 0.394}  # exp of the mean logarithm
        return {"paris": 0.05 + 0.9 * random.Random(" ".join(words)).random()}

    prompt = "a big red green blue one two three"
    claimed = 0
    for seed in range(40):
        config = Config(probes=3, min_steps=30, max_steps=30, selection="balanced", seed=seed)
        choice = GivenText(text="paris")
        explanation = explain_now(
            request(prompt, target=choice, config=config), TinyScorer(rule)
        )
        claimed += explanation.verdict.settled or "mattered most" in summary(explanation)
    assert claimed <= 5  # 5% of 40 is 2; more than 5 has a probability under 2%


def test_an_answer_that_ends_at_once_is_said() -> None:
    silent = TinyScorer(lambda words: {"<end>": 0.9})
    with pytest.raises(InputError, match="ends its answer at once"):
        explain_now(request(), silent)
    given = explain_now(request(target=GivenText(text="paris")), silent)
    assert given.answer == ""


def test_another_model_that_makes_the_replacements_is_named(tmp_path: Path) -> None:
    tokenizer = masked_tokenizer("bert")
    masked_model("bert", tokenizer).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    config = Config(
        probes=2, min_steps=5, max_steps=5, replacer="masked_lm", replacer_model=str(tmp_path)
    )
    scorer = Reader(gpt2_tokenizer())
    scorer.rule, scorer.distribution = None, lambda ids: np.full(600, 1 / 600)
    chosen = request(
        f"{FILLERS[0]} the capital of spain is", target=GivenText(text="madrid"), config=config
    )
    explanation = explain_now(chosen, scorer)
    assert explanation.replacer_model == models.model_info(str(tmp_path))
    assert load(dump(explanation)) == explanation
    assert "Replacer model" in html_report(explanation)
    plain = explain_now(request(target=AnswerTokens()), TinyScorer())
    assert plain.replacer_model is None and "Replacer model" not in html_report(plain)


def test_a_replacer_that_is_not_to_be_had_is_said_before_the_model_answers(tmp_path: Path) -> None:
    config = Config(replacer="masked_lm", replacer_model=str(tmp_path))
    with pytest.raises(InputError, match=r"has no config\.json") as caught:
        next(explain(request(config=config), TinyScorer()))
    assert caught.value.field == "settings"


def test_cancelled_while_proposals_are_weighed_keeps_the_answer() -> None:
    scorer = TinyScorer()
    config = QUICK.model_copy(update={"replacer": "causal_lm_reranked"})
    *_, last = explain(request(config=config), scorer, cancelled=lambda: len(scorer.calls) > 3)
    assert last.explanation.status == "cancelled" and last.done == 0
    assert last.explanation.answer.startswith(" paris")
