"""The pictures of the page Methods."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.methods_charts import agreement_chart
from components.methods_cost import prompts_read
from components.methods_jobs import Asked
from components.methods_scatter import (
    _NAME_HEIGHT,
    Named,
    cost_chart,
    cost_of,
    left_out,
    measures_known,
    name_places,
)
from components.pictures import picture
from reagent_core.baselines.compared import MethodsCompared
from reagent_core.check import Estimate, SoftMeasures
from tests.test_compared_words import with_faith
from tests.test_methods_compared import asked, compared


@pytest.fixture(scope="module")
def found() -> MethodsCompared:
    return compared(["leave_one_out", "shapley", "random"])


def test_the_matrix_says_tau_in_the_order_asked_for(found: MethodsCompared) -> None:
    taus = ((1.0, 0.805, -0.05), (0.805, 1.0, None), (-0.05, None, 1.0))
    chart = agreement_chart(found.model_copy(update={"agreement": taus}), [1, 0, 2])
    rows = chart.rows
    assert rows["row"].unique().tolist() == [
        "1 Shapley value sampling", "2 Leave-one-out", "3 Random"
    ]  # fmt: skip
    assert rows["text"].tolist() == ["1", ".81", "–", ".81", "1", "−.05", "–", "−.05", "1"]
    assert rows["known"].tolist() == [True, True, False, True, True, True, False, True, True]
    assert "Shapley value sampling and Leave-one-out .81" in chart.spec["description"]
    assert picture(chart.spec, rows, "svg").startswith(b"<svg")
    nine = found.model_copy(
        update={"results": found.results * 3, "agreement": tuple(t * 3 for t in taus * 3)}
    )
    short = agreement_chart(nine, range(9)).rows["text"]
    assert short[:3].tolist() == ["1", ".8", "−.1"], "more would not fit into a cell on a phone"


def test_every_method_has_its_place_between_cost_and_faithfulness(found: MethodsCompared) -> None:
    assert measures_known(found.results) == ["area", "comprehensiveness", "sufficiency"]
    chart = cost_chart(found.results, "sufficiency", "sequences")
    costs = [result.explanation.counts.sequences for result in found.results]
    assert chart.rows["cost"].tolist() == pytest.approx([max(1, cost) for cost in costs])
    values = [result.faithful.mean.sufficiency.mean for result in found.results if result.faithful]
    assert chart.rows["value"].tolist() == pytest.approx(values)
    y = chart.spec["layer"][0]["encoding"]["y"]
    assert y["scale"]["reverse"], "up is good, and little of it is good"
    assert (chart.rows["low"] <= chart.rows["value"]).all()
    area = cost_chart(found.results, "area", "seconds")
    random_area = found.results[0].faithful and found.results[0].faithful.random_area
    assert area.spec["layer"][0]["data"]["values"] == [{"value": random_area}]
    assert "Leave-one-out" in area.spec["description"]
    assert picture(area.spec, area.rows, "svg").startswith(b"<svg")


def test_soft_measures_are_shown_by_their_log_ratio_beside_that_of_chance(
    found: MethodsCompared,
) -> None:
    def soft(log_ratio: float | None) -> SoftMeasures:
        half = Estimate(mean=0.5, low=0.4, high=0.6)
        return SoftMeasures(
            sufficiency=half, comprehensiveness=half, random_sufficiency=0.3,
            random_comprehensiveness=0.3, log_ratio_sufficiency=log_ratio,
            log_ratio_comprehensiveness=None, draws=5,
        )  # fmt: skip

    some = with_faith(with_faith(found, 0, soft=soft(1.5)), 1, soft=soft(None)).results
    assert measures_known(some) == [
        "area", "comprehensiveness", "sufficiency", "soft_sufficiency_log_ratio"
    ]  # fmt: skip
    chart = cost_chart(some, "soft_sufficiency_log_ratio", "sequences")
    assert chart.rows["label"].tolist() == ["Leave-one-out"]
    assert chart.rows[["value", "low", "high"]].to_numpy().tolist() == [[1.5, 1.5, 1.5]]
    assert left_out(some, "soft_sufficiency_log_ratio") == ["Shapley value sampling", "Random"]
    assert chart.spec["layer"][0]["data"]["values"] == [{"value": 0.0}]
    low, high = chart.spec["layer"][0]["encoding"]["y"]["scale"]["domain"]
    assert low < 0 < 1.5 < high
    hover = chart.spec["layer"][3]["encoding"]["tooltip"]
    assert "low" not in [each["field"] for each in hover], "there is no interval"
    assert picture(chart.spec, chart.rows, "svg").startswith(b"<svg")


def test_a_cost_of_nothing_can_be_shown(found: MethodsCompared) -> None:
    result = found.results[2]
    free = result.explanation.model_copy(
        update={"seconds": 0.0, "counts": result.explanation.counts.model_copy(
            update={"sequences": 0, "forwards": 0})}
    )  # fmt: skip
    nothing = result.model_copy(update={"explanation": free})
    assert all(math.log10(cost_of(nothing, cost)) <= 0 for cost in ("seconds", "sequences"))


@given(st.lists(st.tuples(st.floats(0, 0.2), st.floats(0, 1)), max_size=8))
def test_names_beside_each_other_do_not_overlap(points: list[tuple[float, float]]) -> None:
    places = name_places([Named(x, y, 0.4) for x, y in points])
    assert all(side == "right" and 0 <= height <= 1 for side, height in places)
    heights = sorted(height for _, height in places)
    assert all(b - a >= _NAME_HEIGHT - 1e-6 for a, b in pairwise(heights))


def test_names_stand_beside_their_points_where_there_is_room() -> None:
    points = [Named(0.1, 0.2, 0.3), Named(0.1, 0.8, 0.3), Named(0.9, 0.5, 0.3)]
    assert name_places(points) == [("right", 0.2), ("right", 0.8), ("left", 0.5)]
    ((_, height), *_) = name_places(points, lines=[0.2])
    assert abs(height - 0.2) >= _NAME_HEIGHT - 1e-9


def test_the_cost_counts_every_part() -> None:
    def read(methods: tuple[str, ...], budget: int | None, draws: int, units: int = 24,
             soft: bool = False, long: bool = False) -> int:  # fmt: skip
        wanted = Asked(asked(), methods, budget, draws)
        return prompts_read(wanted, 300, 250, units, soft=soft, long=long)

    some = ("reagent", "leave_one_out", "random")
    assert read(some, None, 3) == 300 + 250 + 1 + 3 * 3 * 24 + 160
    assert read(some, None, 3, soft=True) == read(some, None, 3) + 3 * 22
    assert read(("shapley",), 60, 1) == 60 + 24 + 160
    # Each unit once, and all of them in two orders, whatever the budget.
    assert read(("leave_one_out",), 40, 1, units=100) == 100 + 24 + 160
    assert read(("shapley",), 40, 1, units=100) == 200 + 24 + 160
    # The surrogate takes ReAGent's run, unless it has a budget or the prompt is long.
    assert read(("reagent", "surrogate"), None, 1) == 300 + 2 * 24 + 160
    assert read(("surrogate",), None, 1) == 300 + 24 + 160
    assert read(("reagent", "surrogate"), 40, 1) == 300 + 40 + 2 * 24 + 160
    assert read(("surrogate",), None, 1, long=True) == 250 + 24 + 160
