"""Earlier tokens of the answer as context that is replaced and scored, too."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from reagent_core.config import Config
from reagent_core.explain import explain_now
from reagent_core.explanation import dump, load
from reagent_core.request import AnswerTokens, Request, WholeAnswer
from reagent_core.sentences import ranking
from reagent_core.strip import prompt_strip
from tests.tiny import TinyScorer

CONFIG = Config(probes=3, min_steps=40, max_steps=40, selection="balanced", ratio=0.04)


def rule(words: Sequence[str]) -> dict[str, float]:
    """France makes it Paris, Paris makes it big, and after two words it ends."""
    if words[-1] == "big":
        return {"<end>": 0.9}
    if words[-1] == "paris":
        return {"big": 0.8}
    return {"paris": 0.8} if "france" in words else {"big": 0.3, "paris": 0.1}


def explained(**options: object) -> object:
    given = {"target": WholeAnswer(), "attribute_answer": True, "config": CONFIG, **options}
    return explain_now(Request(prompt="the capital of france is", **given), TinyScorer(rule))


def test_a_word_of_the_answer_follows_from_the_word_before_it() -> None:
    whole = explained()
    assert whole.answer == " paris big"
    paris, big = whole.explanations
    assert paris.units[ranking(paris)[0]].text.strip() == "france"
    assert [unit.text.strip() for unit in big.units][-1] == "paris"
    assert big.units[ranking(big)[0]].text == " paris"
    assert big.units[-1].start == len(whole.prompt)


def test_each_target_knows_only_what_stands_before_it() -> None:
    whole = explained()
    counts = [len(each.units) for each in (whole, *whole.explanations)]
    assert counts == [5, 5, 6]
    for each in (whole, *whole.explanations):
        assert all(len(step.scores) == len(each.units) for step in each.trace)
        assert all(max(step.replaced, default=0) < len(each.units) for step in each.trace)
        assert sum(unit.score for unit in each.units) == pytest.approx(1)


def test_without_it_the_answer_before_a_word_stays_as_it_is() -> None:
    _, big = explained(attribute_answer=False).explanations
    assert len(big.units) == 5
    assert max(abs(unit.effect) for unit in big.units) < 0.01  # "paris" alone decides


def test_one_answer_token_gets_what_it_gets_in_the_whole_answer() -> None:
    single = explained(target=AnswerTokens(start=1, stop=2))
    _, big = explained().explanations
    assert [unit.text for unit in single.units] == [unit.text for unit in big.units]
    assert single.units[ranking(single)[0]].text == " paris"
    assert single.target.value == pytest.approx(big.target.value)


def test_it_survives_the_file_and_shows_in_the_strip() -> None:
    _, big = explained().explanations
    assert load(dump(big)) == big
    assert [token.text for token in prompt_strip(big)][-1] == " paris"
