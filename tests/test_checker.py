"""From an explanation to its check, on the tiny model."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from reagent_core.baselines.methods import METHODS, method_named
from reagent_core.check import Check, replacer_of
from reagent_core.check_words import replaced_by, soft_words
from reagent_core.checker import check, check_now, order_of, other_replacer
from reagent_core.config import PRESETS, Config
from reagent_core.errors import Cancelled, InputError
from reagent_core.explain import explain, explain_now
from reagent_core.explanation import Explanation, UnitScore, dump, load
from reagent_core.rebuild import rebuilt
from reagent_core.request import AnswerTokens, GivenText, ModelInfo, Request, Turn, WholeAnswer
from reagent_core.scorers.base import IntArray, TokenScores
from reagent_core.sentences import ranking
from tests.examples import make_explanation
from tests.tiny import WORDS, Homely, TinyScorer
from tests.tiny_models import tiny_encoder_decoder_scorer, tiny_scorer

QUICK = Config(probes=2, min_steps=20, max_steps=30)
FRANCE = "the capital of france is"
LONG = "a big red city in a green city is one capital of france in a blue city"


def explained(
    prompt: str | tuple[Turn, ...] = LONG, scorer: TinyScorer | None = None, **options: object
) -> Explanation:
    given = {"config": QUICK, "max_new_tokens": 3, "target": AnswerTokens(), **options}
    return explain_now(Request(prompt=prompt, **given), scorer or Homely())


def sure_of(explanation: Explanation, text: str, others: float | None = 0.0) -> Explanation:
    """Only this word has an effect; that of the others is 0, or not known."""
    units = [
        unit.model_copy(update={"effect": 2.0 if unit.text == text else others})
        for unit in explanation.units
    ]
    return explanation.model_copy(update={"units": tuple(units)})


def turned_round(explanation: Explanation) -> Explanation:
    """What mattered least comes first."""

    def turned(unit: UnitScore) -> UnitScore:
        return unit.model_copy(update={"effect": None if unit.effect is None else -unit.effect})

    return explanation.model_copy(update={"units": tuple(map(turned, explanation.units))})


def test_an_order_that_puts_france_first_is_better_than_chance() -> None:
    """Without france Paris has 0.1 for 0.8: an eighth, whatever else is there."""
    explanation = explained()
    found = check_now(explanation, Homely())
    assert explanation.units[found.order[0]].text == " france"
    assert found.points == (0, 1, 2, 3, 5, 8, 9, 12, 14, 15, 16, 17)
    assert found.deletion.left == pytest.approx((1, *[1 / 8] * 11))
    assert found.insertion.left == pytest.approx((1 / 8, *[1] * 11))
    assert found.mean.comprehensiveness.mean == pytest.approx(math.log(8))
    assert found.mean.sufficiency.mean == pytest.approx(0)
    assert found.standing == "better" and found.beaten == found.orders == 20
    assert found.text.startswith("Replacing its top token first destroys “paris” about")
    assert found.text.endswith("(better than 20 of 20 random orders): trust it.")
    assert found.faster == pytest.approx(found.deletion.random_area / found.deletion.area)
    assert found.soft is None, "the tiny model has no embeddings"
    assert not found.notes


def test_no_place_in_the_prompt_is_favoured_among_equals() -> None:
    """One word is worth something, sixteen nothing: these are not read in the prompt's order."""
    explanation = sure_of(explained(), " france")
    orders = [order_of(explanation, "effect", seed) for seed in range(40)]
    france = [i for i, unit in enumerate(explanation.units) if unit.text == " france"]
    assert all(order[0] in france and len(set(order)) == 17 for order in orders)
    assert order_of(explanation, "effect", 7) == orders[7]
    assert np.mean([order[1:] for order in orders], axis=0) == pytest.approx([7.8] * 16, abs=3)
    assert ranking(explanation)[1:3] == [0, 1], "where they are shown they are"
    # Nor among those too few steps tell about.
    unknown = sure_of(explanation, " france", others=None)
    assert order_of(unknown, "effect")[1:] != tuple(sorted(order_of(unknown, "effect")[1:]))
    found = check_now(explanation, Homely(), replacer="uniform", draws=1, seed=7)
    assert found.order == orders[7]


def test_the_same_turned_round_is_no_better() -> None:
    found = check_now(turned_round(explained()), Homely())
    assert (found.standing, found.beaten) == ("chance", 0)
    assert "no better than chance (better than 0 of 20 random orders): do not trust it." in (
        found.text
    )


def test_equal_checks_are_equal_whatever_the_batch() -> None:
    class Narrow(Homely):
        def batch_size(self, length: int, reads: int, shared: int = 0) -> int:
            return 3

    def numbers(scorer: TinyScorer, seed: int = 0) -> dict:
        return check_now(explained(), scorer, replacer="uniform", seed=seed).model_dump(
            exclude={"seconds", "counts"}
        )

    assert numbers(Homely()) == numbers(Narrow())
    assert numbers(Homely()) != numbers(Homely(), seed=1)


def test_every_prompt_is_scored_once() -> None:
    scorer = Homely()
    found = check_now(explained(), scorer)
    assert found.counts.sequences < found.draws * 22 + found.orders * 11
    assert found.counts.sequences <= sum(scorer.calls)


def test_a_check_as_json() -> None:
    found = check_now(explained(), Homely(), draws=1, key="france")
    assert Check.model_validate_json(found.model_dump_json()) == found
    assert found.mean.sufficiency.low is None, "one draw has no interval"
    assert found.key is not None and (found.key.rank, found.key.units) == (1, 17)


def test_a_key_that_is_not_there_is_told() -> None:
    for key in ("franc", "France"):
        found = check_now(explained(), Homely(), replacer="uniform", draws=1, key=key)
        assert found.key is not None and found.key.rank is None
        assert found.notes == (
            f"The key “{key}” is not in the prompt as a whole word, capitals as they are.",
        )


# --- What stands in for what is replaced ----------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "expected"),
    [("causal_lm", "causal_lm_reranked"), ("causal_lm_reranked", "causal_lm"),
     ("uniform", "causal_lm_reranked"), ("masked_lm", "causal_lm_reranked")],
)  # fmt: skip
def test_another_replacer_checks_than_made_the_explanation(made: str, expected: str) -> None:
    explanation = explained(config=QUICK.model_copy(update={"replacer": "uniform"}))
    config = explanation.config.model_copy(update={"replacer": made})
    assert other_replacer(explanation.model_copy(update={"config": config}), Homely()) == expected


def test_a_server_and_an_encoder_are_checked_with_any_token() -> None:
    class Asked(Homely):
        def requests_for(self, sequences: int, reads: int) -> int:
            return sequences

    explanation = explained()
    assert other_replacer(explanation, Asked()) == "uniform"
    assert other_replacer(explanation, tiny_encoder_decoder_scorer("t5")) == "uniform"
    by_uniform = explained(config=QUICK.model_copy(update={"replacer": "uniform"}))
    assert other_replacer(by_uniform, Asked()) == "causal_lm"


def test_the_same_replacer_if_one_asks_for_it() -> None:
    found = check_now(explained(), Homely(), replacer="causal_lm")
    assert (found.replacer, found.same_replacer) == ("causal_lm", True)
    assert replaced_by(found) == "replaced by causal_lm, which made the explanation, too"
    akin = check_now(explained(), Homely(), draws=1)
    assert (akin.replacer, akin.same_replacer, akin.same_proposals) == (
        "causal_lm_reranked", False, True,
    )  # fmt: skip
    assert "weighs the proposals that made the explanation in another way" in replaced_by(akin)
    other = check_now(explained(), Homely(), replacer="uniform", draws=1)
    assert (other.same_replacer, other.same_proposals) == (False, False)
    assert replaced_by(other) == "replaced by uniform, which did not make the explanation"


@pytest.mark.parametrize("method", [method.name for method in METHODS])
def test_a_method_that_replaces_nothing_was_made_by_no_replacer(method: str) -> None:
    explanation = make_explanation(config=Config(replacer="uniform"))
    by_method = explanation.model_copy(update={"method": method})
    needs = method_named(method).needs
    assert replacer_of(explanation) == "uniform"
    assert replacer_of(by_method) == ("uniform" if needs == "forwards" else None)
    if method == "random":
        found = check_now(explained().model_copy(update={"method": method}), Homely(),
                          replacer="causal_lm", draws=1)  # fmt: skip
        assert not found.same_replacer and not found.same_proposals


# --- What is checked ------------------------------------------------------------------------------


def all_in_one(**options: object) -> Explanation:
    return explained(target=WholeAnswer(), **options)


def test_a_token_inside_a_whole_answer() -> None:
    outer = all_in_one()
    inner = (outer.explanations or ())[1]
    assert check_now(inner, Homely()).target == inner.target
    assert check_now(outer, Homely()).target == outer.target


@pytest.mark.parametrize("target", [0, 1, 2, None])
def test_the_target_is_measured_as_it_was(target: int | None) -> None:
    """Whatever a request asks for, under the whole prompt the value is that of the explanation."""
    for options in ({}, {"attribute_answer": True}):
        outer = all_in_one(**options)
        one = outer if target is None else (outer.explanations or ())[target]
        order = ranking(one)
        prompt, _ = rebuilt(one, Homely(), set(order))
        assert [prompt.units[i].text for i in order] == [one.units[i].text for i in order]
        assert [unit.text for unit in prompt.units] == [unit.text for unit in one.units]
        assert not check_now(one, Homely()).notes, "no other value than the explanation's"


@pytest.mark.parametrize("granularity", ["token", "word", "sentence"])
def test_what_was_asked_for_need_not_be_known(granularity: str) -> None:
    """Files of version 1 and imported ones do not say it; protected spans show in the units."""
    config = QUICK.model_copy(update={"granularity": granularity})
    explanation = explained(LONG.replace(" is", " . is"), config=config, protected=((0, 9),))
    unknown = load(dump(explanation.model_copy(update={"request": None})))
    before, after = (check_now(each, Homely()) for each in (explanation, unknown))
    assert before == after.model_copy(update={"seconds": before.seconds})
    prompt, _ = rebuilt(unknown, Homely(), set(after.order))
    assert [unit.protected for unit in prompt.units] == [u.protected for u in unknown.units]
    assert prompt.units[0].protected


def test_this_rather_than_that() -> None:
    explanation = explained(FRANCE, target=GivenText(text="paris", instead_of="madrid"))
    found = check_now(explanation, Homely())
    # 0.8 to 0.01 with france (the rest is shared evenly), 0.1 to 0.2 without.
    rest = (1 - 0.8 - 0.01) / (len(WORDS) - 2)
    before, after = 0.8 / (0.8 + rest), 0.1 / (0.1 + 0.2)
    assert found.deletion.left[-1] == pytest.approx(after / before)
    assert found.deletion.nats[-1] == pytest.approx(math.log(0.1 / 0.2) - math.log(0.8 / rest))


def test_soft_measures_know_no_foil_and_say_so() -> None:
    scorer = tiny_scorer("gpt2")
    target = GivenText(text=" dog", instead_of=" cat")
    config = QUICK.model_copy(update={"replacer": "uniform", "max_steps": 20})
    request = Request(prompt="the quick brown fox jumps", target=target, config=config)
    found = check_now(explain_now(request, scorer), scorer, draws=1)
    assert found.soft is not None
    assert found.notes == (
        "The soft measures are of “dog” alone, not of it rather than “cat”.",
    )
    assert "log ratio to the same scores shuffled" in soft_words(found.soft)


def test_a_chat_keeps_its_template() -> None:
    turns = (Turn(role="system", content="big red"), Turn(role="user", content=LONG))
    explanation = explained(turns)
    found = check_now(explanation, Homely())
    assert all(not explanation.units[i].protected for i in found.order)
    assert found.standing == "better"


def test_of_a_long_prompt_the_parts_looked_at_as_a_whole_stay() -> None:
    filler = "the big red city is in a green one ! "
    prompt = f"{filler * 17}{FRANCE} blue two ! {filler * 9}".strip()
    explanation = explained(prompt, config=PRESETS["quick"])
    found = check_now(explanation, Homely())
    assert explanation.units[found.order[0]].text == " france"
    assert any(unit.coarse for unit in explanation.units)
    assert all(explanation.units[i].stepped for i in found.order)
    assert found.notes == (
        "Parts of the prompt that were looked at as a whole stayed as they are.",
    )
    assert found.deletion.left[1] == pytest.approx(1 / 8)


@pytest.mark.parametrize("family", ["gpt2", "t5"])
def test_models_with_embeddings_have_soft_measures(family: str) -> None:
    scorer = tiny_scorer(family) if family == "gpt2" else tiny_encoder_decoder_scorer(family)
    options = {"config": QUICK.model_copy(update={"replacer": "uniform"}), "max_new_tokens": 2}
    request = Request(prompt="the quick brown fox jumps", target=WholeAnswer(), **options)
    explanation = explain_now(request, scorer)
    found = check_now(explanation, scorer, replacer="uniform", draws=1)
    assert found.soft is not None and not found.notes
    assert 0 <= found.soft.sufficiency.mean <= 1


# --- What may go wrong ----------------------------------------------------------------------------


def test_another_model_is_named() -> None:
    class Other(Homely):
        info = ModelInfo(id="other", revision_or_sha256="1")

    (note,) = check_now(explained(), Other()).notes
    assert "made with tiny" in note and "used other" in note


def test_another_version_of_the_model_is_seen_by_what_it_says() -> None:
    explanation = explained()
    (note,) = check_now(explanation, Homely(lambda words: {"paris": 0.5})).notes
    assert "another version" in note


def test_other_tokens_are_refused() -> None:
    with pytest.raises(InputError, match="in other pieces") as caught:
        check_now(explained(), tiny_scorer("gpt2"))
    assert caught.value.field == "file"


def test_too_few_steps_are_refused() -> None:
    first = next(explain(Request(prompt=FRANCE, config=QUICK), Homely()))
    with pytest.raises(InputError, match="no order to check"):
        check_now(first.explanation, Homely())


def test_draws_have_limits() -> None:
    for draws in (0, 101):
        with pytest.raises(InputError, match="from 1 to 100"):
            check_now(explained(), Homely(), draws=draws)


def test_it_stops_when_nobody_waits() -> None:
    scorer = Homely()
    explanation = explained()
    steps = check(explanation, scorer, replacer="uniform", cancelled=lambda: len(scorer.calls) > 2)
    first = next(steps)
    assert (first.done, first.check) == (0, None) and first.total > 100
    with pytest.raises(Cancelled):
        list(steps)


def test_it_tells_how_far_it_is() -> None:
    *middle, last = check(explained(), Homely(), draws=2)
    assert last.check is not None and last.done == last.total
    assert all(step.check is None and step.total == last.total for step in middle)
    assert [step.done for step in middle] == sorted(step.done for step in middle)


def test_a_bound_is_said_to_be_one() -> None:
    class Bounded(Homely):
        def score(
            self, inputs: IntArray, targets: Sequence[int], prefix: object = None
        ) -> TokenScores:
            scores = super().score(inputs, targets)
            return TokenScores(scores.log_probabilities, scores.ranks, scores.ranks > 1)

    (note,) = check_now(explained(), Bounded()).notes
    assert note.startswith("After ") and "at least as much is lost" in note
