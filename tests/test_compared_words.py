"""What a comparison of methods says, and its table."""

from __future__ import annotations

import math

import pytest

from reagent_core.baselines.compared import MethodsCompared
from reagent_core.baselines.compared_table import methods_csv, methods_frame
from reagent_core.baselines.compared_words import (
    agreement_sentence,
    beside_the_best,
    headline,
    judged_by,
    listed,
    places_sentence,
    strongest,
    tells_signs,
)
from reagent_core.check import Estimate, SoftMeasures
from tests.test_methods_compared import compared


@pytest.fixture(scope="module")
def found() -> MethodsCompared:
    return compared(["leave_one_out", "shapley", "random"])


def with_faith(found: MethodsCompared, place: int, **changed: object) -> MethodsCompared:
    """The comparison with another faithfulness of the method at this place."""
    results = list(found.results)
    faithful = results[place].faithful
    update = {"faithful": faithful and faithful.model_copy(update=changed)}
    results[place] = results[place].model_copy(update=update)
    return found.model_copy(update={"results": tuple(results)})


def with_mean(found: MethodsCompared, place: int, low: float, high: float) -> MethodsCompared:
    """The comparison with this interval of its comprehensiveness."""
    faithful = found.results[place].faithful
    assert faithful is not None
    estimate = Estimate(mean=(low + high) / 2, low=low, high=high)
    mean = faithful.mean.model_copy(update={"comprehensiveness": estimate})
    return with_faith(found, place, mean=mean)


def test_the_headline_names_the_most_faithful_and_what_chance_does(found: MethodsCompared) -> None:
    best = with_faith(found, 1, area=0.9)
    assert headline(best) == (
        "Shapley value sampling is the most faithful here: replacing its strongest tokens first "
        "destroys “paris”, and keeping them saves it, better than 20 of 20 random orders do."
    )
    weak = with_faith(best, 1, standing="weak", beaten=17)
    assert headline(weak) == (
        "No method is clearly better than chance here: the order of Shapley value sampling, the "
        "most faithful, is better than 17 of 20 random orders."
    )
    assert headline(with_faith(best, 1, standing="untestable")).startswith(
        "How faithful the methods are cannot be told here"
    )
    lucky = with_faith(best, 2, area=1.0, beaten=20, standing="better")
    assert headline(lucky).startswith("Shapley"), "random numbers are never recommended"


def test_one_unit_has_no_order(found: MethodsCompared) -> None:
    results = tuple(each.model_copy(update={"faithful": None}) for each in found.results)
    alone = found.model_copy(update={"results": results})
    assert headline(alone).startswith("Only one token of this prompt can be replaced")
    assert beside_the_best(alone) is None


def test_what_lies_within_the_noise_is_said(found: MethodsCompared) -> None:
    found = with_faith(found, 0, area=0.9)
    alike = with_mean(with_mean(found, 0, 1.0, 2.0), 1, 1.5, 2.5)
    assert beside_the_best(alike) == (
        "Shapley value sampling is as faithful, as far as can be told."
    )
    apart = with_mean(with_mean(found, 0, 1.0, 2.0), 1, 0.1, 0.9)
    assert beside_the_best(apart) is None
    chance = with_faith(alike, 1, standing="weak")
    assert beside_the_best(chance) == "No other method is clearly better than chance."
    third = found.results[1].model_copy(update={"label": "Third", "method": "surrogate"})
    three = chance.model_copy(update={"results": (*chance.results[:2], third)})
    assert beside_the_best(with_mean(three, 2, 1.5, 2.5)) == (
        "Third is as faithful, as far as can be told. Shapley value sampling is not clearly "
        "better than chance."
    )
    assert beside_the_best(with_faith(found, 0, standing="chance")) is None


def test_what_judged_them_is_named_with_what_it_has_to_do_with_them(
    found: MethodsCompared,
) -> None:
    """Leave-one-out and Shapley values replace by `causal_lm`; random numbers replace nothing."""
    assert judged_by(found) == (
        "Faithfulness: units replaced by causal_lm_reranked, which weighs the proposals that made "
        "the explanations (of the methods that replace) in another way; 3 draws."
    )
    both = found.model_copy(update={"results": found.results[:2], "draws": 1})
    assert judged_by(both).endswith("that made the explanations in another way; 1 draw.")
    noise = found.model_copy(update={"results": found.results[2:]})
    garbage = found.model_copy(update={"replacer": "uniform"})
    for other in (noise, garbage):
        assert "which did not make the explanations; 3 draws." in judged_by(other)


def test_agreement_is_told_without_random_numbers(found: MethodsCompared) -> None:
    two = found.model_copy(update={"agreement": ((1.0, 0.5, 0.9), (0.5, 1.0, 0.9), (0.9, 0.9, 1))})
    assert agreement_sentence(two) == (
        "Leave-one-out and Shapley value sampling agree in part on the order (Kendall's tau 0.50)."
    )
    results = (*found.results[:2], found.results[0].model_copy(update={"label": "Third"}))
    three = two.model_copy(update={"results": results})
    assert agreement_sentence(three) == (
        "On the order, Shapley value sampling and Third agree most (Kendall's tau 0.90), "
        "Leave-one-out and Shapley value sampling least (0.50)."
    )
    undefined = found.model_copy(update={"agreement": ((None,) * 3,) * 3})
    assert agreement_sentence(undefined) is None


def test_the_strongest_and_their_places(found: MethodsCompared) -> None:
    one = found.results[0].explanation
    assert strongest(one) == "“france” 100%", "others have less than a hundredth"
    assert tells_signs(one) and not tells_signs(found.results[2].explanation)
    start = next(unit.start for unit in one.units if unit.text == " france")
    assert places_sentence(found.results[:2], start) == (
        "“france”: place 1 by Leave-one-out and Shapley value sampling."
    )
    assert listed(["A"]) == "A" and listed(["A", "B", "C"]) == "A, B and C"


def test_the_table_has_one_row_a_method(found: MethodsCompared) -> None:
    frame = methods_frame(found)
    assert frame["method"].tolist() == ["leave_one_out", "shapley", "random"]
    assert frame["beaten"][:2].tolist() == [20, 20] and frame["tau_shapley"][1] == 1.0
    assert frame["soft_sufficiency"].isna().all(), "the tiny model has no embeddings"
    assert frame["sequences"].tolist() == [r.explanation.counts.sequences for r in found.results]
    assert frame["soft_sufficiency_log_ratio"].isna().all()
    text = methods_csv(found)
    assert text.splitlines()[0].startswith('"method","label","strongest","area"')
    assert len(text.splitlines()) == 4


def test_soft_measures_are_told_with_their_log_ratios(found: MethodsCompared) -> None:
    soft = SoftMeasures(
        sufficiency=Estimate(mean=0.4, low=0.3, high=0.5), comprehensiveness=Estimate(mean=0.0),
        random_sufficiency=0.1, random_comprehensiveness=0.2,
        log_ratio_sufficiency=math.log(4), log_ratio_comprehensiveness=None, draws=5,
    )  # fmt: skip
    frame = methods_frame(with_faith(found, 0, soft=soft))
    assert frame["soft_sufficiency_log_ratio"][0] == pytest.approx(math.log(4))
    assert frame["soft_comprehensiveness"][0] == 0, "so that there is no log ratio"
    assert frame["soft_comprehensiveness_log_ratio"].isna().all()
    assert frame["soft_sufficiency_log_ratio"][1:].isna().all()
