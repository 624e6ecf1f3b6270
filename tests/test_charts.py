"""The charts: rows and specifications that Vega-Lite accepts, readable on both themes."""

from __future__ import annotations

import json
import math

import altair as alt
import numpy as np
import pytest
import vl_convert

from components.charts import (
    AGAINST_COLOUR,
    FOR_COLOUR,
    MOST_BARS,
    MOST_GREY,
    MOST_POINTS,
    SELECTED_COLOUR,
    TOP,
    TOP_COLOURS,
    Chart,
    curves_chart,
    effects_chart,
    left_out,
)
from components.factor_axis import ticks
from reagent_core.colours import contrast
from tests.examples import UnitSpec, make_explanation, without_intervals


def drawn(chart: Chart) -> str:
    """The chart as SVG text, drawn by Vega itself."""
    spec = {**chart.spec, "data": {"values": json.loads(chart.rows.to_json(orient="records"))}}
    return vl_convert.vegalite_to_svg(spec)


def many(count: int) -> list[UnitSpec]:
    return [(f" w{i}", (i / 10, i / 10 - 1, i / 10 + 1)) for i in range(count)]


def test_bars_are_the_largest_effects_strongest_first() -> None:
    chart = effects_chart(make_explanation([*many(20), (" not", (-5, -6, -4))]))
    assert len(chart.rows) == MOST_BARS
    assert chart.rows["name"].tolist() == [*(f"w{i}" for i in range(19, 8, -1)), "not"]
    assert chart.rows["direction"].tolist() == ["for"] * 11 + ["against"]


def test_bars_are_drawn_in_order_with_factors_on_the_axis() -> None:
    svg = drawn(effects_chart(make_explanation()))
    places = [svg.index(f">{name}<") for name in ("Thailand", "capital", "city")]
    assert places == sorted(places)
    assert ">×100<" in svg and ">same<" in svg


def test_axes_against_a_foil_speak_of_odds() -> None:
    specs: list[UnitSpec] = [("a", (2, 1, 3)), (" not", (-2, -3, -1))]
    explanation = make_explanation(specs, instead_of=" Paris")
    bars = drawn(effects_chart(explanation))
    assert "times higher odds" in bars and "times lower odds without it" in bars
    curves = drawn(curves_chart(explanation, np.tile([2.0, -2.0], (4, 1))))
    assert "times lower odds without it" in curves
    assert "likely" not in bars + curves
    assert "lower odds" not in drawn(effects_chart(make_explanation(specs)))


def test_an_unknown_interval_is_no_whisker() -> None:
    chart = effects_chart(without_intervals(make_explanation()))
    assert chart.rows["low"].tolist() == chart.rows["high"].tolist()
    assert chart.rows["low"].tolist() == chart.rows["effect"].tolist()
    assert set(chart.rows["sure"]) == {"not known"}
    assert ">Thailand<" in drawn(chart)


def test_no_effects_no_bars() -> None:
    explanation = make_explanation([("a", (1, 0, 2))])
    units = tuple(unit.model_copy(update={"effect": None}) for unit in explanation.units)
    assert effects_chart(explanation.model_copy(update={"units": units})).rows.empty


def test_curves_name_the_five_strongest_at_the_end() -> None:
    explanation = make_explanation(many(10))
    values = np.outer(np.linspace(0, 1, 30), np.arange(10.0))
    rows = curves_chart(explanation, values).rows
    named = rows[rows["label"].notna()]
    assert named["name"].tolist() == ["w9", "w8", "w7", "w6", "w5"]
    assert set(named["step"]) == {30}
    assert set(rows.loc[rows["role"] == "other", "name"]) == {"w0", "w1", "w2", "w3", "w4"}


def test_labels_do_not_cover_each_other() -> None:
    values = np.tile([1.0, 1.001, 1.002, 5.0, 0.0], (10, 1))
    rows = curves_chart(make_explanation(many(5)), values).rows
    heights = sorted(rows["label_y"].dropna())
    assert len(heights) == 5
    assert min(np.diff(heights)) >= 5.0 * 0.07


def test_the_selected_unit_stands_out_whatever_its_place() -> None:
    explanation = make_explanation([("<s>", None), *many(100)])
    values = np.tile(np.arange(100.0), (5, 1))
    rows = curves_chart(explanation, values, selected=1).rows
    assert set(rows.loc[rows["role"] == "selected", "name"]) == {"w0"}


def test_many_steps_and_units_are_thinned() -> None:
    values = np.random.default_rng(0).normal(size=(1000, 200))
    rows = curves_chart(make_explanation(many(200), steps=0), values).rows
    assert rows["unit"].nunique() == TOP + MOST_GREY
    assert rows.groupby("unit").size().max() <= MOST_POINTS
    assert {1, 1000} <= set(rows["step"])


def test_of_many_curves_the_strongest_against_the_target_is_drawn() -> None:
    """Coloured are the highest; of the others the largest are drawn, whichever way they point."""
    ends = np.concatenate([[9.0, 8, 7, 6, 5], np.linspace(0.1, 1, MOST_GREY + 5), [-4.0]])
    rows = curves_chart(make_explanation(many(len(ends))), np.tile(ends, (3, 1))).rows
    assert rows["unit"].nunique() == TOP + MOST_GREY
    (role,) = rows.loc[rows["unit"] == len(ends) - 1, "role"].unique()
    assert role == "other"
    assert set(rows.loc[rows["role"].str.startswith("top"), "unit"]) == {0, 1, 2, 3, 4}
    assert not rows["unit"].isin(range(5, 11)).any()


def test_what_is_not_drawn_is_said() -> None:
    assert left_out(12, 12, "token") is None
    assert left_out(13, 12, "word") == "The weakest of 13 words is left out."
    assert left_out(70, 60, "token", "lowest") == "The 10 lowest of 70 tokens are left out."


def test_unknown_values_are_left_out() -> None:
    values = np.array([[np.nan, np.nan], [np.nan, 1.0]])
    rows = curves_chart(make_explanation(many(2)), values).rows
    assert rows["step"].tolist() == [2]
    assert curves_chart(make_explanation(many(2)), values[:1]).rows.empty
    assert curves_chart(make_explanation(many(2)), values[:0]).rows.empty


def test_columns_must_be_the_free_units() -> None:
    with pytest.raises(ValueError, match="2 columns are expected"):
        curves_chart(make_explanation(many(2)), np.zeros((3, 5)))


@pytest.mark.parametrize("measure", ["effect", "score"])
def test_hostile_names_are_drawn_as_text(measure: str) -> None:
    hostile: list[UnitSpec] = [("<img/>", (2, 1, 3)), ("datum.x'\"]", (1, 0, 2))]
    explanation = make_explanation(hostile)
    curves = curves_chart(explanation, np.tile([0.7, 0.3], (4, 1)), measure=measure)
    for chart in (effects_chart(explanation), curves):
        svg = drawn(chart)
        assert "&lt;img/&gt;" in svg and "<img" not in svg
        assert "datum.x" in chart.spec.pop("description")  # text, as an attribute of the page
        assert "datum.x" not in json.dumps(chart.spec)


def test_specifications_are_valid_and_differ_in_ticks_and_description_alone() -> None:
    weak, strong = make_explanation([("a", (0.5, 0, 1))]), make_explanation([("a", (5, 4, 6))])
    first, second = effects_chart(weak).spec, effects_chart(strong).spec
    alt.LayerChart.from_dict({**first, "data": {"values": []}})
    axes = [spec["layer"][0]["encoding"]["x"]["axis"] for spec in (first, second)]
    assert axes[0].pop("values") != axes[1].pop("values")
    assert first.pop("description") != second.pop("description")
    assert first == second


@pytest.mark.parametrize("colour", [*TOP_COLOURS, SELECTED_COLOUR, FOR_COLOUR, AGAINST_COLOUR])
@pytest.mark.parametrize("page", ["#ffffff", "#0e1117"])
def test_lines_and_bars_are_seen_on_both_themes(colour: str, page: str) -> None:
    assert contrast(colour, page) >= 3


@pytest.mark.parametrize(
    ("low", "high", "factors"),
    [
        (0.0, 0.3, [1, 1.1, 1.2]),
        (0.0, math.log(120), [1, 2, 5, 10, 30, 100]),
        (-math.log(10), math.log(10), [-10, -5, -2, 1, 2, 5, 10]),
        (0.0, 30.0, [1, 100, 1e4, 1e6, 1e9, 1e12]),
    ],
)
def test_ticks_are_round_factors(low: float, high: float, factors: list[float]) -> None:
    found = [math.copysign(math.exp(abs(place)), place or 1) for place in ticks(low, high, most=6)]
    assert found == pytest.approx(factors)


def test_a_chart_says_in_words_what_it_shows() -> None:
    explanation = make_explanation([("Anna", (2.0, 1.5, 2.5)), (" ate", (0.1, 0.0, 0.2))])
    bars = effects_chart(explanation)
    assert bars.spec["description"] == (
        "Bar chart, the strongest first. “Anna” about 7.4 times less likely without it; "
        "“ate” about 1.1 times less likely without it."
    )
    curves = curves_chart(explanation, np.tile([0.1, 2.0], (4, 1)))
    assert curves.spec["description"] == (
        "Line chart: the effect of each piece of the prompt after each of 4 steps. "
        "Highest at the end: “ate”, “Anna”."
    )
    nothing = curves_chart(explanation, np.full((0, 2), np.nan), measure="score")
    assert nothing.spec["description"].endswith("after each of 0 steps.")
