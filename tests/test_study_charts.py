"""The charts and the table of a study's summary."""

from __future__ import annotations

import json
import math

import pandas as pd
import pytest
import vl_convert

from components.study_charts import cost_chart, measure_chart
from components.study_results import chart_rows, summary_table
from reagent_core.study.cost_plot import cost_plot
from reagent_core.study.summary import MEASURES

NAN = math.nan


def summed(*records: tuple[object, ...]) -> pd.DataFrame:
    columns = ["model", "method", "label", "measure", "n", "mean", "low", "high"]
    return pd.DataFrame(records, columns=columns)


MEANS = summed(
    ("m", "random", "Random", "area", 8, -0.001, -0.1, 0.1),
    ("m", "random", "Random", "key_first", 0, NAN, NAN, NAN),
    ("m", "random", "Random", "seconds", 8, 0.0, NAN, NAN),
    ("m", "reagent", "ReAGent", "area", 8, 0.5, 0.4, 0.6),
    ("m", "reagent", "ReAGent", "key_first", 0, NAN, NAN, NAN),
    ("m", "reagent", "ReAGent", "seconds", 8, 2.0, 1.0, 3.0),
)


def test_the_table_tells_means_with_their_intervals_and_leaves_out_what_is_not_known() -> None:
    table = summary_table(MEANS)
    assert list(table.columns) == ["Method", "Prompts", "Area ↑", "Seconds ↓"]
    assert list(table["Method"]) == ["Random", "ReAGent"]
    assert table["Area ↑"][1] == "0.50 (0.40 to 0.60)"
    assert table["Seconds ↓"][0] == "0.00"  # no interval


def test_the_table_says_how_many_prompts_where_not_all_have_a_measure() -> None:
    keys = (MEANS["measure"] == "key_first") & (MEANS["method"] == "reagent")
    some = MEANS.mask(keys, MEANS.assign(n=5, mean=0.8, low=0.4, high=0.9))
    assert summary_table(some)["Key first ↑"][1] == "0.80 (0.40 to 0.90) over 5 prompts"


def test_the_table_of_several_models_names_them() -> None:
    both = pd.concat([MEANS, MEANS.assign(model="n")])
    table = summary_table(both)
    assert list(table["Model"]) == ["m", "m", "n", "n"]
    assert list(table["Method"]) == ["Random", "ReAGent"] * 2


def test_the_charts_draw_every_method_and_say_so() -> None:
    rows = chart_rows(MEANS, "area")
    assert list(rows["method"]) == ["Random", "ReAGent"] and list(rows["seconds"]) == [0.0, 2.0]
    means, cost = measure_chart(rows, "Area", 2), cost_chart(rows, "Area", 2)
    assert list(means.rows.sort_values("rank")["method"]) == ["ReAGent", "Random"]
    assert "ReAGent 0.50; Random -0.00." in means.spec["description"]
    assert "Random -0.00 in 0.001 s; ReAGent 0.50 in 2 s." in cost.spec["description"]
    for chart in (means, cost):
        values = json.loads(chart.rows.to_json(orient="records"))
        svg = vl_convert.vegalite_to_svg({**chart.spec, "width": 300, "data": {"values": values}})
        assert "ReAGent" in svg and "NaN" not in svg


def test_the_picture_of_a_report_says_where_everything_stands() -> None:
    (area,) = (measure for measure in MEASURES if measure.column == "area")
    plot = cost_plot(MEANS, area)
    assert plot is not None
    random, reagent = plot.dots
    assert (random.label, reagent.label) == ("Random", "ReAGent"), "the fastest first"
    assert random.x < 50 < reagent.x and reagent.y < random.y, "down is less"
    assert reagent.high_y is not None and reagent.low_y is not None
    assert reagent.high_y < reagent.y < reagent.low_y
    assert [told for _, told in plot.across] == ["0.001", "0.01", "0.1", "1"]
    assert [told for _, told in plot.down] == ["0.00", "0.20", "0.40", "0.60"]
    (zero, half) = (y for y, told in plot.down if told in ("0.00", "0.60"))
    assert random.y == pytest.approx(zero + (zero - half) * 0.001 / 0.6, abs=0.1)
    assert "ReAGent 0.50 (0.40 to 0.60) in 2 s" in plot.told
    assert cost_plot(MEANS.assign(mean=NAN), area) is None
    alone = cost_plot(MEANS[MEANS["method"] == "reagent"], area)
    assert alone is not None and len(alone.dots) == 1 and alone.across and alone.down


def test_names_of_methods_that_are_alike_stand_above_each_other() -> None:
    rows = chart_rows(
        summed(
            *[
                ("m", name, name, measure, 8, value, value, value)
                for name, area in (("a", 0.5), ("b", 0.5), ("c", 0.0))
                for measure, value in (("area", area), ("seconds", 1.0 if name != "c" else 9.0))
            ]
        ),
        "area",
    )
    heights = dict(zip("abc", cost_chart(rows, "Area", 2).rows["label_y"], strict=True))
    assert abs(heights["a"] - heights["b"]) >= 0.04 and heights["c"] == 0.0


def test_with_nothing_known_there_is_nothing_to_draw() -> None:
    rows = chart_rows(MEANS, "key_first")
    assert measure_chart(rows, "Key first", 2).rows.empty
    assert cost_chart(rows, "Key first", 2).rows.empty
