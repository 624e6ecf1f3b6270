"""The charts of Convergence: rows and specifications that Vega-Lite draws, thinned and linked."""

from __future__ import annotations

import json
import math

import altair as alt
import numpy as np
import pytest
import vl_convert

from components.chart_parts import COLOURS, MOST_PICKED, Highlight, highlighted
from components.charts import GREY, Chart
from components.convergence_charts import (
    AXIS_HEIGHT,
    LABEL_HEIGHT,
    MOST_CELLS,
    MOST_LINES,
    MOST_MEAN,
    MOST_OTHER,
    MOST_ROWS,
    curves_chart,
    heatmap_chart,
)
from components.stability_charts import FIGURES, agreement_chart, probe_table, width_chart
from components.step_charts import (
    change_chart,
    probability_chart,
    rank_chart,
    scores_charts,
    stopped_chart,
)
from reagent_core.config import Config
from reagent_core.course import Course
from reagent_core.curves import softmax
from reagent_core.explanation import Explanation
from reagent_core.wording import times_sign
from tests.examples import UnitSpec, make_explanation

WORDS: list[UnitSpec] = [(" of", (0.1, -1, 1)), (" Thailand", (4, 3, 5)), (" city", (1, 0, 2))]
HOSTILE: list[UnitSpec] = [("<img/>", (2, 1, 3)), ("datum.x'\"]", (1, 0, 2)), (" a", (0, -1, 1))]


def drawn(chart: Chart) -> str:
    """The chart as SVG text, drawn by Vega itself."""
    spec = {**chart.spec, "data": {"values": json.loads(chart.rows.to_json(orient="records"))}}
    alt.LayerChart.from_dict(spec)
    return vl_convert.vegalite_to_svg(spec)


def explained(specs: list[UnitSpec] = WORDS, steps: int = 60, **config: object) -> Explanation:
    """Two probes whose raw scores grow to the effects."""
    explanation = make_explanation(specs, steps=steps, config=Config(probes=2, **config))
    effects = [unit.effect or 0.0 for unit in explanation.units]
    trace = tuple(
        step.model_copy(
            update={"scores": tuple(e * step.step / steps + 0.1 * step.probe for e in effects)}
        )
        for step in explanation.trace
    )
    return explanation.model_copy(update={"trace": trace})


def many(count: int) -> list[UnitSpec]:
    return [(f" w{i}", (i / count, i / count - 1, i / count + 1)) for i in range(count)]


def test_the_strongest_stand_out_until_some_are_picked() -> None:
    assert highlighted([], [3, 1, 2, 0, 5, 4]) == Highlight((3, 1, 2, 0, 5))
    some = highlighted([7, 2], [3, 1])
    assert some.picked and (some.role(7), some.role(2), some.role(3)) == ("1", "2", "other")
    assert len(highlighted(range(20), []).units) == MOST_PICKED
    assert some.followed == {7: COLOURS[0], 2: COLOURS[1]}
    assert highlighted([], [3, 1]).followed == {}
    assert some.first_of([3, 2]) == "2" and some.first_of([3]) == "other"


def test_a_picked_token_has_its_own_colour_everywhere() -> None:
    explanation = explained()
    course, chosen = Course(explanation), highlighted([2], [1, 0])
    raw = course.raw.probes[0, -1]
    for chart in (
        curves_chart(course, "effect", chosen),
        heatmap_chart(course, "effect", chosen),
        *scores_charts(course, raw, softmax(raw), chosen),
    ):
        roles = chart.rows.groupby("name")["role"].unique()
        assert roles["city"].tolist() == ["1"] and roles["Thailand"].tolist() == ["other"]
        assert COLOURS[0] in drawn(chart)
    dots = change_chart(explanation, chosen).rows
    dots = dots[dots["kind"] == "step"]
    assert set(dots.loc[dots["role"] == "1", "replaced"].str.contains("city")) == {True}
    assert not dots.loc[dots["role"] == "other", "replaced"].str.contains("city").any()


def test_a_picked_curve_has_its_band_and_a_line_a_probe() -> None:
    course = Course(explained())
    rows = curves_chart(course, "effect", highlighted([2, 0], [1])).rows
    assert set(rows.loc[rows["kind"] == "probe", "line"]) == {
        "2 of 0",
        "2 of 1",
        "0 of 0",
        "0 of 1",
    }
    assert set(rows.loc[rows["kind"] == "band", "unit"]) == {0, 2}
    assert set(rows.loc[rows["kind"] == "other", "unit"]) == {1}
    band = rows[(rows["kind"] == "band") & (rows["unit"] == 2)]
    assert band["low"].iloc[-1] == course.found.low[-1, 2]
    # Nothing picked: only the strongest, whatever the number of those that are coloured.
    alone = curves_chart(course, "effect", highlighted([], [1, 2, 0])).rows
    assert set(alone.loc[alone["kind"] == "band", "unit"]) == {1}


@pytest.mark.parametrize("shown", ["effect", "score", "raw"])
def test_curves_end_where_the_explanation_stands_and_carry_their_names(shown: str) -> None:
    course = Course(explained())
    chart = curves_chart(course, shown, highlighted([], [1, 2]))
    ends = chart.rows[chart.rows["label"].notna()]
    assert ends["label"].tolist() == ["Thailand", "city"] and set(ends["step"]) == {30}
    last = course.lines(shown).mean[-1]
    assert ends["value"].tolist() == [last[1], last[2]]
    assert ">Thailand<" in drawn(chart)


@pytest.mark.parametrize("tokens", [50, 100])
def test_long_runs_of_many_tokens_are_thinned_but_keep_extremes(tokens: int) -> None:
    course = Course(explained(many(tokens), steps=1000))
    chart = curves_chart(course, "effect", highlighted([], list(range(49, 40, -1))))
    assert chart.rows["unit"].nunique() == tokens
    counts = chart.rows.groupby(["kind", "line"]).size()
    assert counts["mean"].max() <= MOST_MEAN and counts["other"].max() <= MOST_OTHER
    assert len(chart.rows) < 5000
    for unit in (0, 49):
        own = chart.rows[(chart.rows["unit"] == unit) & chart.rows["kind"].isin(["mean", "other"])]
        curve = course.effects.mean[:, unit]
        assert own["value"].max() == np.nanmax(curve) and own["value"].min() == np.nanmin(curve)


def test_the_heatmap_is_in_the_order_of_the_prompt() -> None:
    course = Course(explained())
    chart = heatmap_chart(course, "score", highlighted([], [1]))
    assert len(chart.rows) == 3 * 30
    first = chart.rows.iloc[:3]
    assert first["name"].tolist() == first["label"].tolist() == ["of", "Thailand", "city"]
    assert (first["from"].unique(), first["to"].unique()) == ([0.5], [1.5])
    last = chart.rows.iloc[-3:]
    assert last["value"].tolist() == course.scores.mean[-1].tolist()
    assert last["strength"].max() == 1
    svg = drawn(chart)
    places = [svg.index(f">{name}<") for name in ("of", "Thailand", "city")]
    assert places == sorted(places)


def test_what_is_not_picked_is_grey_in_the_heatmap() -> None:
    chart = heatmap_chart(Course(explained()), "effect", highlighted([1], [2]))
    tones = chart.rows.groupby("name")["tone"].unique()
    assert tones["Thailand"].tolist() == ["for"] and tones["city"].tolist() == ["other"]
    assert GREY in drawn(chart)


def test_a_large_heatmap_has_a_bound_and_readable_labels() -> None:
    course = Course(explained(many(130), steps=400))
    chart = heatmap_chart(course, "score", highlighted([0], []))
    assert chart.rows["row"].nunique() == MOST_ROWS + 1  # what is picked is never left out
    assert len(chart.rows) <= MOST_CELLS
    assert "w0" in set(chart.rows["label"].dropna())
    rows = np.sort(chart.rows.loc[chart.rows["label"].notna(), "row"].to_numpy())
    pixels = (chart.spec["height"] - AXIS_HEIGHT) / chart.rows["row"].nunique()
    assert (np.diff(rows) * pixels).min() >= LABEL_HEIGHT - pixels


def test_raw_scores_have_no_heatmap() -> None:
    with pytest.raises(ValueError, match="no common scale"):
        heatmap_chart(Course(explained()), "raw", highlighted([], []))


def test_changes_end_at_their_mean() -> None:
    explanation = explained()
    rows = change_chart(explanation, highlighted([], [1])).rows
    mean = rows.loc[rows["kind"] == "mean", "value"].iloc[-1]
    assert mean == pytest.approx(np.mean([step.change for step in explanation.trace]))
    assert (rows["kind"] == "step").sum() == 60


def test_probabilities_stand_beside_the_original_on_a_log_scale() -> None:
    explanation = explained()
    chart = probability_chart(explanation, highlighted([], [1]))
    (original,) = chart.rows.loc[chart.rows["kind"] == "original", "value"]
    assert original == pytest.approx(0.42)
    assert chart.rows["value"].min() > 0 and ">100%<" in drawn(chart)


def test_the_original_is_the_targets_where_the_first_step_tells_a_bound_alone() -> None:
    """The notebook takes the probability for 0 there: d is all of the original."""
    explanation = explained()
    first = explanation.trace[0].model_copy(
        update={"probability": 0.3, "value": math.log(0.3), "change": 0.42, "bounded": True}
    )
    bounded = explanation.model_copy(update={"trace": (first, *explanation.trace[1:])})
    rows = probability_chart(bounded, highlighted([], [1])).rows
    assert rows.loc[rows["kind"] == "original", "value"].tolist() == [0.42]


def test_the_original_is_that_of_this_against_that() -> None:
    explanation = make_explanation(WORDS, instead_of=" Paris")  # 42% against 8%
    rows = probability_chart(explanation, highlighted([], [1])).rows
    assert rows.loc[rows["kind"] == "original", "value"].tolist() == [pytest.approx(0.84)]


def test_ranks_and_the_share_of_probes_that_stopped() -> None:
    explanation = explained(steps=8)
    assert rank_chart(explanation).rows.empty
    trace = list(explanation.trace)
    trace[4] = trace[4].model_copy(update={"rank": 17})
    trace[6] = trace[6].model_copy(update={"rank": 2, "stopped": True})
    tested = explanation.model_copy(update={"trace": tuple(trace)})
    ranks = rank_chart(tested)
    assert ranks.rows.loc[ranks.rows["kind"] == "rank", "value"].tolist() == [17, 2]
    assert ranks.rows.loc[ranks.rows["kind"] == "line", "value"].tolist() == [3.5]
    assert "<svg" in drawn(ranks)
    share = stopped_chart(tested)
    assert share.rows.to_numpy().tolist() == [[1, 0], [4, 0.5], [4, 0.5]]
    assert "<svg" in drawn(share)


def test_one_step_of_many_tokens_shows_the_highest() -> None:
    course = Course(explained(many(40)))
    raw = course.raw.probes[0, -1]
    before, after = scores_charts(course, raw, softmax(raw), highlighted([], [39]))
    assert before.rows["name"].tolist() == [f"w{i}" for i in range(10, 40)]
    assert after.rows["softmax"].sum() < 1
    assert ">w39<" in drawn(before) and "<svg" in drawn(after)


def test_one_step_of_many_tokens_shows_what_is_picked() -> None:
    course = Course(explained(many(40)))
    raw = course.raw.probes[0, -1]
    before, _ = scores_charts(course, raw, softmax(raw), highlighted([3], [39]))
    assert before.rows["unit"].tolist() == [3, *range(10, 40)]
    assert before.rows["name"].tolist() == ["w3", *(f"w{i}" for i in range(10, 40))]


def test_of_many_curves_the_strongest_against_the_target_is_drawn() -> None:
    weak: list[UnitSpec] = [(f" w{i}", (0.01, -1, 1)) for i in range(MOST_LINES + 10)]
    course = Course(explained([*weak, (" not", (-4, -5, -3))]))
    against = len(weak)
    rows = curves_chart(course, "effect", highlighted([], [0])).rows
    assert against in set(rows["unit"]) and rows["unit"].nunique() <= MOST_LINES + 1
    # Raw scores only have an order, in which it is last.
    rows = curves_chart(course, "raw", highlighted([], [0])).rows
    assert against not in set(rows["unit"])
    assert against in set(curves_chart(course, "raw", highlighted([against], [])).rows["unit"])


def every_chart(explanation: Explanation, chosen: Highlight) -> dict[str, Chart]:
    course = Course(explanation)
    raw = course.raw.probes[0, -1]
    before, after = scores_charts(course, raw, softmax(raw), chosen)
    return {
        "curves": curves_chart(course, "effect", chosen),
        "heatmap": heatmap_chart(course, "score", chosen),
        "changes": change_chart(explanation, chosen),
        "probabilities": probability_chart(explanation, chosen),
        "ranks": rank_chart(explanation),
        "stopped": stopped_chart(explanation),
        "raw": before,
        "softmax": after,
        "agreement": agreement_chart(course),
        "widths": width_chart(course),
    }


def test_every_chart_says_in_words_what_it_shows() -> None:
    explanation = explained(many(70), steps=8)
    changes = (0.4, 0.1, -0.02, 0.2, 0.1, 0.1, 0.1, 0.1)
    trace = [
        step.model_copy(update={"change": change, "probability": 0.42 - change})
        for step, change in zip(explanation.trace, changes, strict=True)
    ]
    trace[4] = trace[4].model_copy(update={"rank": 1700})
    trace[6] = trace[6].model_copy(update={"rank": 2, "stopped": True})
    tested = explanation.model_copy(update={"trace": tuple(trace)})
    charts = every_chart(tested, highlighted([], [69, 68]))
    told = {name: chart.spec["description"] for name, chart in charts.items()}
    scores = Course(tested).raw.probes[0, -1]
    shares = np.sort(softmax(scores))[-30:]
    # Six tokens were replaced in none of these few steps.
    assert told == {
        "curves": "Line chart: the effect of 64 tokens after each of 4 steps; 2 in colour.",
        "heatmap": "Heatmap: the ReAGent score of 70 tokens, from top to bottom, after each of 4 "
        "steps, from left to right.",
        "changes": "Dot chart: the probability that the target lost in each of 8 steps, -2.0% to "
        "40.0%, and a line for the mean so far, which ends at 13.5%.",
        "probabilities": "Dot chart: the target's probability in each of 8 steps, 2% to 44%; "
        "before anything was replaced it was 42%.",
        "ranks": "Dot chart: the target's rank in 2 stop tests, 2 to 1,700; 1 test passed, with at "
        "most rank 3.",
        "stopped": "Line chart: the share of 2 probes that the stop test has ended, 50% after 4 "
        "steps.",
        "raw": f"Bar chart: the raw score of 30 tokens, {np.sort(scores)[-30]:.2f} to "
        f"{scores.max():.2f}.",
        "softmax": f"Bar chart: the score after softmax of 30 tokens, {shares[0]:.2f} to "
        f"{shares[-1]:.2f}.",
        "agreement": "Line chart: agreement with the order at the end, by the shared top 30%, "
        "Kendall's tau and Spearman's rho, over 4 steps.",
        "widths": "Line chart: the widest 95% interval of the 5 strongest tokens over 4 steps, as "
        "a factor either way: not known.",
    }


def test_stability() -> None:
    course = Course(explained())
    agreement = agreement_chart(course)
    ends = agreement.rows.groupby("figure")["value"].last()
    assert ends.to_dict() == pytest.approx(dict.fromkeys(FIGURES.values(), 1.0))
    assert "Kendall" in drawn(agreement)
    width = width_chart(course)
    assert width.rows["value"].iloc[-1] == course.half_width[-1]
    at_the_end = times_sign(course.half_width[-1])
    assert width.spec["description"].endswith(f"either way: {at_the_end} at the end.")
    assert "<svg" in drawn(width)
    table = probe_table(course)
    assert table["probes"].tolist() == ["1 and 2"] and len(table.columns) == 4


def test_one_unit_alone_can_be_drawn() -> None:
    course = Course(explained([("a", (1, 0, 2))]))
    for chart in (agreement_chart(course), width_chart(course),
                  curves_chart(course, "effect", highlighted([], [0])),
                  heatmap_chart(course, "score", highlighted([], [0]))):  # fmt: skip
        assert "<svg" in drawn(chart)


def test_a_single_step_can_be_drawn() -> None:
    course = Course(explained(steps=1))
    chosen = highlighted([], [1])
    for chart in (curves_chart(course, "effect", chosen), curves_chart(course, "raw", chosen),
                  heatmap_chart(course, "effect", chosen), agreement_chart(course),
                  width_chart(course), change_chart(course.explanation, chosen),
                  probability_chart(course.explanation, chosen)):  # fmt: skip
        assert "<svg" in drawn(chart)


def test_hostile_names_are_drawn_as_text() -> None:
    chosen = highlighted([0, 1], [])
    charts = every_chart(explained(HOSTILE), chosen)
    assert charts.pop("ranks").spec == {}  # no stop test was made
    for chart in charts.values():
        assert "datum.x'" not in json.dumps(chart.spec)
    for name in ("curves", "heatmap", "raw", "softmax"):
        svg = drawn(charts[name])
        assert "&lt;img/&gt;" in svg and "<img" not in svg


def test_an_effect_without_end_does_not_flatten_the_others() -> None:
    course = Course(explained())
    course.__dict__["found"] = type(course.found)(
        course.found.mean, np.where(course.samples[:, None] < 9, 700.0, course.found.error),
        course.found.freedom,
    )  # fmt: skip
    chart = curves_chart(course, "effect", highlighted([1], []))
    low, high = chart.spec["layer"][0]["encoding"]["y"]["scale"]["domain"]
    assert high - low < math.log(1e9)
