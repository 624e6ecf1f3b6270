"""The methods that any scorer allows, on the tiny model, where every number is known."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from sklearn.linear_model import LassoCV

from reagent_core.baselines.attribute import attribute, default_budget
from reagent_core.baselines.methods import METHODS, PUBLISHED, method_named
from reagent_core.coarse import MOST_UNITS
from reagent_core.config import PRESETS, Config, Granularity, Selection
from reagent_core.continued import answer_before
from reagent_core.cost import _PROPOSALS, estimate
from reagent_core.errors import Cancelled, InputError
from reagent_core.explain import explain_now
from reagent_core.explanation import Explanation, dump, load
from reagent_core.importing import read_explanation
from reagent_core.prompt import build_prompt
from reagent_core.request import AnswerTokens, GivenText, Request, Turn, WholeAnswer
from reagent_core.scorers.base import (
    BoolArray,
    GeneratedToken,
    IntArray,
    Predictions,
    TokenScores,
)
from tests.test_checker import FRANCE, LONG, Homely
from tests.tiny import TinyScorer

ANY = [method.name for method in METHODS if method.needs in ("forwards", "nothing")]
NATS = [method.name for method in METHODS if method.nats]
# Without france Paris has 0.1 for 0.8.
LOSS = math.log(8)


def both(words: Sequence[str]) -> Mapping[str, float]:
    """A country or a city will do: only without both of them Paris is lost."""
    return {"paris": 0.8 if {"france", "city"} & set(words) else 0.1}


class TwoWords(Homely):
    """Neither word is ever proposed."""

    def predict(self, token_ids, k, allowed):  # type: ignore[no-untyped-def]
        allowed = allowed.copy()
        allowed[[self.tokenizer.encode(word, add_special_tokens=False).token_ids[0]
                 for word in ("france", "city")]] = False  # fmt: skip
        return TinyScorer.predict(self, token_ids, k, allowed)


def by(
    method: str, prompt: str | tuple[Turn, ...] = FRANCE, scorer: TinyScorer | None = None,
    budget: int | None = None, answered: Sequence[GeneratedToken] = (), **options: object,
) -> Explanation:  # fmt: skip
    given = {"max_new_tokens": 3, "target": AnswerTokens(), **options}
    request = Request(prompt=prompt, **given)
    scorer = scorer or Homely()
    return attribute(method_named(method), request, scorer, answered=answered, budget=budget)


def effects(explanation: Explanation) -> list[float]:
    return [unit.effect for unit in explanation.units if unit.effect is not None]


# --- What they find -------------------------------------------------------------------------------


def test_leave_one_out_is_what_is_lost_without_each_word() -> None:
    found = by("leave_one_out", budget=40)
    assert effects(found) == pytest.approx([0, 0, 0, LOSS, 0], abs=1e-6)
    assert [unit.score for unit in found.units] == pytest.approx([0, 0, 0, 1, 0], abs=1e-6)
    france = found.units[3]
    assert (france.effect_low, france.effect_high) == pytest.approx((LOSS, LOSS))
    assert found.verdict.text.endswith("Each token was replaced alone, by 8 replacements.")
    assert by("leave_one_out", budget=10).verdict.text.endswith("alone, by 2 replacements.")


def test_shapley_shares_what_either_word_alone_would_keep() -> None:
    """Leave-one-out sees nothing here: the other word is always still there."""
    prompt, scorer = "the city of france is", TwoWords(both)
    assert effects(by("leave_one_out", prompt, scorer)) == pytest.approx([0] * 5, abs=1e-6)
    found = by("shapley", prompt, TwoWords(both), budget=500)
    assert found.verdict.text.endswith(
        "100 random orders were drawn; the intervals tell how much that is worth."
    )
    city, france = found.units[1], found.units[3]
    assert sum(effects(found)) == pytest.approx(LOSS, abs=1e-5), "the gains of an order add up"
    assert city.effect == pytest.approx(LOSS / 2, abs=0.3)
    for unit in (city, france):
        assert unit.effect_low < LOSS / 2 < unit.effect_high
    assert effects(found)[::2] == pytest.approx([0, 0, 0], abs=1e-6)


def test_two_orders_have_no_interval_where_they_agree() -> None:
    found = by("shapley", budget=1)
    assert effects(found) == pytest.approx([0, 0, 0, LOSS, 0], abs=1e-6)
    assert found.units[3].effect_low is None


@pytest.mark.parametrize("selection", ["balanced", "bernoulli"])
def test_the_surrogate_of_a_linear_model_is_that_model(selection: Selection) -> None:
    config = Config(selection=selection)
    found = by("surrogate", budget=200, config=config)
    assert effects(found) == pytest.approx([0, 0, 0, LOSS, 0], abs=0.02)
    france = found.units[3]
    assert france.effect_low == pytest.approx(LOSS, abs=0.03)
    assert "fitted to 200 masks drawn as ReAGent draws them" in found.verdict.text
    assert found.verdict.text.endswith("explain 100% of the variance.")


@pytest.mark.parametrize("selection", ["balanced", "bernoulli"])
def test_the_surrogate_is_fitted_to_reagents_own_steps(selection: Selection) -> None:
    """It costs what the run costs, is the same whether somebody has made the run before, and is the
    LASSO of what the trace tells."""
    config = Config(probes=2, min_steps=20, max_steps=30, selection=selection)
    request = Request(prompt=LONG, target=AnswerTokens(), max_new_tokens=3, config=config)
    scorer = TwoWords(both)
    run = explain_now(request, scorer)
    scorer.calls.clear()
    found = attribute(method_named("surrogate"), request, scorer, run=run)
    assert sum(scorer.calls) == 1, "nothing but the prompt itself is read"
    assert found.counts == run.counts and found.seconds >= run.seconds
    assert f"fitted to {len(run.trace)} masks of ReAGent's run" in found.verdict.text
    alone = attribute(method_named("surrogate"), request, TwoWords(both))
    assert (alone.units, alone.counts) == (found.units, found.counts)
    replaced = np.zeros((len(run.trace), len(run.units)))
    for row, step in enumerate(run.trace):
        replaced[row, list(step.replaced)] = 1
    lost = run.target.value - np.array([step.value for step in run.trace])
    level = selection == "bernoulli"
    fitted = LassoCV(cv=4, fit_intercept=level, max_iter=10_000).fit(replaced, lost)
    assert effects(found) == pytest.approx(fitted.coef_, abs=1e-4)


def test_a_run_of_a_few_steps_is_not_enough_for_the_surrogate() -> None:
    found = by("surrogate", config=PRESETS["paper"])
    assert "masks drawn as ReAGent draws them" in found.verdict.text
    assert effects(found) == pytest.approx([0, 0, 0, LOSS, 0], abs=0.05)


def test_the_surrogate_takes_the_published_run_of_a_long_prompt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("reagent_core.baselines.replacing.LEAST_MASKS", 5)
    text = " ".join(["a big red green city in one"] * 30)
    sure = Homely(lambda words: {"paris": 0.5})
    request = Request(prompt=text, target=GivenText(text="paris"), config=PRESETS["paper"])
    run = explain_now(request, sure)
    assert len(run.units) > MOST_UNITS and len(run.trace) == 5
    found = attribute(method_named("surrogate"), request, sure, run=run)
    assert "fitted to 5 masks of ReAGent's run" in found.verdict.text


def test_with_a_budget_of_its_own_the_surrogate_reads_its_own_masks() -> None:
    config = PRESETS["quick"]
    run = explain_now(Request(prompt=FRANCE, target=AnswerTokens(), config=config), Homely())
    request = Request(prompt=FRANCE, target=AnswerTokens(), config=config)
    found = attribute(method_named("surrogate"), request, Homely(), run=run, budget=20)
    assert "fitted to 20 masks drawn" in found.verdict.text
    assert found.counts.sequences <= 21 and found.counts != run.counts


def test_the_surrogate_of_a_model_that_does_not_read() -> None:
    for budget in (20, None):
        found = by("surrogate", scorer=Homely(lambda words: {"paris": 0.5}), budget=budget)
        assert effects(found) == [0] * 5
        assert [unit.score for unit in found.units] == pytest.approx([0.2] * 5)
        assert found.verdict.text.endswith("are all zero.")


def test_random_is_random_but_equal() -> None:
    found = by("random")
    numbers = [unit.attribution for unit in found.units]
    assert numbers == [unit.attribution for unit in by("random").units]
    other = by("random", config=Config(seed=1))
    assert numbers != [unit.attribution for unit in other.units]
    assert sum(unit.score for unit in found.units) == pytest.approx(1)
    assert all(unit.effect is None for unit in found.units)


@pytest.mark.parametrize("method", NATS)
def test_equal_seeds_give_equal_numbers_whatever_the_batch(method: str) -> None:
    class Narrow(Homely):
        def batch_size(self, length: int, reads: int, shared: int = 0) -> int:
            return 3

    one, other = by(method, scorer=Homely(), budget=30), by(method, scorer=Narrow(), budget=30)
    assert one.units == other.units and one.counts.sequences == other.counts.sequences
    assert one.counts.forwards < other.counts.forwards


# --- What is explained ----------------------------------------------------------------------------


@pytest.mark.parametrize("method", ANY)
def test_the_result_has_the_shape_of_an_explanation(method: str) -> None:
    found = by(method, budget=20)
    assert load(dump(found)) == found
    assert read_explanation(dump(found).encode(), "a file") == found
    assert (found.method, found.status, found.trace) == (method, "complete", ())
    assert ("takes no steps" in found.verdict.text) is (method != PUBLISHED)
    assert found.counts.backwards == 0 < found.counts.sequences


@pytest.mark.parametrize("method", NATS)
def test_the_answer_of_another_method_is_taken_over(method: str) -> None:
    class Silent(Homely):
        def generate(self, token_ids, max_new_tokens, cancelled=None):  # type: ignore
            raise AssertionError("the answer is known")

    request = Request(prompt=FRANCE, target=AnswerTokens(), max_new_tokens=3,
                      config=Config(probes=2, min_steps=20, max_steps=30))  # fmt: skip
    known = explain_now(request, Homely())
    found = by(method, scorer=Silent(), answered=answer_before(known), budget=20,
               config=request.config)  # fmt: skip
    assert (found.answer, found.target) == (known.answer, known.target)


@pytest.mark.parametrize("method", NATS)
def test_a_whole_answer_is_one_target(method: str) -> None:
    found = by(method, target=WholeAnswer(), budget=40)
    assert found.target.text == found.answer and found.explanations is None
    # Whatever else the model goes on to say does not depend on the prompt's other words.
    assert found.target.value == pytest.approx(by(method, target=WholeAnswer()).target.value)
    assert max(found.units, key=lambda unit: unit.effect).text == " france"


def test_this_rather_than_that() -> None:
    found = by("leave_one_out", target=GivenText(text="paris", instead_of="madrid"))
    rest = (1 - 0.8 - 0.01) / 21  # of every word that the rule does not name
    lost = math.log(0.8 / rest) - math.log(0.1 / 0.2)
    assert effects(found) == pytest.approx([0, 0, 0, lost, 0], abs=1e-5)


@pytest.mark.parametrize(("granularity", "index"), [("word", 3), ("sentence", 0)])
def test_units_are_replaced_as_wholes(granularity: Granularity, index: int) -> None:
    config = Config(granularity=granularity)
    found = by("leave_one_out", config=config, budget=40)
    assert found.units[index].effect == pytest.approx(LOSS)


def test_what_is_protected_has_no_number() -> None:
    turns = (Turn(role="system", content="big red"), Turn(role="user", content=FRANCE))
    for method in ANY:
        found = by(method, turns, budget=20)
        told = [(unit.score, unit.effect, unit.attribution) for unit in found.units
                if unit.protected]  # fmt: skip
        assert told and set(told) == {(None, None, None)}
        assert sum(unit.score or 0 for unit in found.units) == pytest.approx(1)


def test_what_was_answered_before_is_context_if_one_asks() -> None:
    options = {"target": AnswerTokens(start=1, stop=2), "attribute_answer": True}
    found = by("leave_one_out", **options)
    assert [unit.text for unit in found.units][-1] == " paris"


# --- Work and limits ------------------------------------------------------------------------------


def test_every_prompt_is_scored_once_and_counted() -> None:
    scorer = Homely()
    found = by("leave_one_out", scorer=scorer, budget=40)
    assert found.counts.sequences == sum(scorer.calls) <= 41
    assert found.counts.forwards == len(scorer.calls)


class Proposing(Homely):
    """Some of its proposals are likelier than others, as much as the bundled model's are."""

    def predict(self, token_ids: Sequence[int], k: int, allowed: BoolArray) -> Predictions:
        words = super().predict(token_ids, k, allowed).token_ids
        # One more than are drawn from: a word is no proposal for itself.
        return Predictions(words, np.tile([*_PROPOSALS, 0.02][:k], (len(words), 1)))


@pytest.mark.parametrize("prompt", [FRANCE, LONG, f"{LONG} {LONG} {LONG}"])
def test_the_budget_is_that_of_the_standard_preset(prompt: str) -> None:
    """A run that ends neither early nor late takes as much, about; others lie on both sides."""
    standard = PRESETS["standard"]
    fewest, most = standard.min_steps, standard.max_steps

    def taken(steps: int) -> int:
        config = standard.model_copy(update={"min_steps": steps, "max_steps": steps})
        asked = request.model_copy(update={"config": config})
        return explain_now(asked, Proposing()).counts.sequences

    # Whatever the request is for.
    request = Request(prompt=prompt, target=AnswerTokens(), config=PRESETS["quick"])
    own = build_prompt(prompt, Proposing().tokenizer)
    budget = default_budget(own, request, Proposing())
    asked = request.model_copy(update={"config": standard})
    assert budget == estimate(own, asked, Proposing(), None).sequences
    assert taken(round(math.sqrt(fewest * most))) == pytest.approx(budget, rel=0.15)
    assert taken(fewest) < budget < taken(most)


def test_the_budget_is_spent_on_replacements() -> None:
    request, scorer = Request(prompt=FRANCE, target=AnswerTokens()), Homely()
    draws = default_budget(build_prompt(FRANCE, scorer.tokenizer), request, scorer) // 5
    assert by("leave_one_out").verdict.text.endswith(f"by {draws} replacements.")


@pytest.mark.parametrize(("method", "least"), [("leave_one_out", 5), ("shapley", 10)])
def test_more_than_the_budget_is_told(method: str, least: int) -> None:
    assert not by(method, budget=least).verdict.warnings
    (warning,) = by(method, budget=least - 1).verdict.warnings
    assert warning.startswith(f"More than the budget of {least - 1} sequences was used: there are ")
    assert warning.endswith(f"takes {least}.")


@pytest.mark.parametrize("budget", [0, 100_001])
def test_budgets_have_limits(budget: int) -> None:
    with pytest.raises(InputError, match="budget must be from 1"):
        by("shapley", budget=budget)


@pytest.mark.parametrize("method", NATS)
def test_it_stops_when_nobody_waits(method: str) -> None:
    scorer, request = Homely(), Request(prompt=FRANCE, target=AnswerTokens(), max_new_tokens=3)
    with pytest.raises(Cancelled):
        attribute(method_named(method), request, scorer, lambda: len(scorer.calls) > 0)


def test_a_method_that_is_none() -> None:
    with pytest.raises(InputError, match=r"no method “magic”.*leave_one_out"):
        method_named("magic")


def test_a_model_that_cannot_be_looked_into_says_so() -> None:
    why = {method.name: method.can(TinyScorer()) for method in METHODS}
    assert {name for name, reason in why.items() if reason is None} == set(ANY)
    with pytest.raises(InputError, match="Gradient norm looks inside a model"):
        by("gradient_norm")


def test_a_bound_is_said_to_be_one() -> None:
    class Bounded(Homely):
        def score(
            self, inputs: IntArray, targets: Sequence[int], prefix: object = None
        ) -> TokenScores:
            scores = super().score(inputs, targets)
            return TokenScores(scores.log_probabilities, scores.ranks, scores.ranks > 1)

    found = by("leave_one_out", scorer=Bounded())
    assert [unit.at_least for unit in found.units] == [False, False, False, True, False]
    assert "the server did not list the target" in found.verdict.warnings[0]
    assert np.isfinite(effects(found)).all()
