"""How one explanation settled: a sentence, the prompt to pick tokens from, and linked pictures."""

from __future__ import annotations

from functools import partial

import numpy as np
import streamlit as st

from components.chart_parts import Highlight, highlighted
from components.charts import Chart, left_out
from components.convergence_charts import MOST_LINES, MOST_ROWS, curves_chart, heatmap_chart
from components.explanation_view import choose_word
from components.picked import follow_chart, pick, picked
from components.pictures import draw_chart
from components.plain import plain_text
from components.stability_charts import agreement_chart, probe_table, width_chart
from components.step_charts import (
    MOST_BARS,
    change_chart,
    probability_chart,
    rank_chart,
    scores_charts,
    stopped_chart,
)
from components.step_player import step_player
from components.token_strip import legend_of, token_strip_of_several
from reagent_core.course import Course, Shown
from reagent_core.curves import free_units, probes_of, softmax
from reagent_core.explanation import Explanation
from reagent_core.headline import advice, headline
from reagent_core.sentences import main_measure, ranking
from reagent_core.settling import (
    change_sentence,
    effect_sentence,
    heatmap_sentence,
    last_ranks,
    score_sentence,
    stability_sentence,
    step_sentence,
    stop_sentence,
    width_sentence,
)
from reagent_core.strip import prompt_strip

CURVES: dict[Shown, str] = {"effect": "Effect", "score": "ReAGent score", "raw": "Raw score"}


def draw_convergence(explanation: Explanation, name: str, focus: str | None = None) -> None:
    """Draw everything. `name` tells one explanation from another; `focus` is the word of the
    answer that is looked at until another is clicked."""
    head, prompt = st.container(), st.container()
    with st.container():
        shown = choose_word(explanation, name, focus)
    with head:
        plain_text(headline(shown), key=f"settled {name}", size="headline")
        told = advice(shown, explanation)
        if told:
            plain_text(told, key=f"advice {name}")
        if shown.status != "running":  # what must be known before a picture is believed
            for place, warning in enumerate(shown.verdict.warnings):
                plain_text(f"Note: {warning}", key=f"note {place} {name}", size="note")
    with prompt:
        _prompt(shown, name)
    free = free_units(shown)
    if not shown.trace or not free:
        return
    target = f"{name} {shown.target.answer_start}-{shown.target.answer_stop}"
    running = shown.status == "running"
    made = f"{target} {shown.status} {len(shown.trace)}"
    course = Course(shown) if running else _course(made, shown)
    ranked = [unit for unit in ranking(shown, main_measure(shown)) if unit in free]
    chosen = [unit for unit in picked(name) if unit in free]
    highlight = highlighted(chosen, ranked)
    _curves(course, highlight, name)
    st.markdown("**Step by step**")
    step_player(shown, key=f"player {target}", followed=highlight.followed)
    _changes(shown, highlight, target)
    _heatmap(course, highlight, name)
    _stability(course, target)
    if running:  # what is drawn anew each second takes no more time than it must
        st.caption("The pictures of both, and the scores of single steps, follow at the end.")
        return
    # What moves under a slider need not draw the rest again.
    st.fragment(_one_step)(course, highlight, target, name)


@st.cache_resource(show_spinner=False, max_entries=16)
def _course(key: str, _explanation: Explanation) -> Course:
    """The figures of a finished explanation, computed once."""
    return Course(_explanation)


def _prompt(explanation: Explanation, name: str) -> None:
    """The coloured prompt; what is clicked is picked, and stands out in all pictures."""
    measure = main_measure(explanation)
    tokens = prompt_strip(explanation, measure)
    st.markdown("**The prompt** · click tokens to follow them in every picture")
    token_strip_of_several(
        tokens,
        key=f"tokens {name}",
        label="The prompt: tokens to follow",
        legend=legend_of(explanation),
        selected=[i for i, token in enumerate(tokens) if token.unit in set(picked(name))],
        on_select=lambda chosen: pick(
            name, [unit for i in chosen if (unit := tokens[i].unit) is not None]
        ),
    )


def _section(title: str, sentence: str, key: str) -> None:
    st.markdown(f"**{title}**")
    plain_text(sentence, key=key, size="note")


def _curves(course: Course, highlight: Highlight, name: str) -> None:
    explanation, measure = course.explanation, main_measure(course.explanation)
    place = st.container()
    shown = st.segmented_control(
        "Curves show", list(CURVES), default=measure, format_func=CURVES.__getitem__,
        key=f"curves by {measure}", required=True, persist_state="session",
    )  # fmt: skip
    lines = course.lines(shown)
    with place:
        st.markdown("**Every token over the steps**")
        for unit in highlight.units[: 3 if highlight.picked else 1]:
            told = (
                effect_sentence(explanation, course.intervals, unit)
                if shown == "effect"
                else score_sentence(
                    explanation, lines.mean, lines.probes, unit, raw=shown == "raw"
                )
            )
            plain_text(told, key=f"curve of {unit} {name}", size="note")
    key = f"{shown} curves {name}"
    draw_chart(
        curves_chart(course, shown, highlight), key=key, name="curves",
        live=explanation.status == "running", on_select=partial(follow_chart, name, key),
    )  # fmt: skip
    band = "its 95% interval" if shown == "effect" else "the range between the probes"
    whose = "a picked token" if highlight.picked else "the strongest token"
    thick = "all probes together"
    if shown == "score" and any(step.stopped for step in explanation.trace):
        thick = "the probes that had passed the stop test, or all until one had"
    st.caption(
        f"Thick line: {thick}; around {whose} {band}, and thin lines for each probe by itself. "
        "Click a line to follow its token."
    )
    if shown == "effect" and any(len(step.replaced) > 1 for step in explanation.trace):
        st.caption(
            "Steps replaced several tokens at once; what the others did is taken out as all steps "
            "so far tell it, from early points, too. So the start of a line may still move while "
            "a run goes on."
        )
    _left_out(course, MOST_LINES, "lowest" if shown == "raw" else "weakest")


def _left_out(course: Course, most: int, which: str) -> None:
    """Say so where there are more units than a picture draws."""
    told = left_out(len(course.units), most, course.explanation.config.granularity, which)
    if told:
        st.caption(f"{told} What is picked is always drawn.")


def _draw(chart: Chart, name: str, target: str, live: bool = False) -> None:
    draw_chart(chart, key=f"{name} {target}", name=name, live=live)


def _changes(explanation: Explanation, highlight: Highlight, target: str) -> None:
    live = explanation.status == "running"
    left, right = st.columns(2, gap="medium")
    with left:
        _section("What each step changed", change_sentence(explanation), f"change {target}")
        _draw(change_chart(explanation, highlight), "changes", target, live)
    with right:
        _section("Is the target still there?", stop_sentence(explanation), f"stop {target}")
        _draw(probability_chart(explanation, highlight), "probabilities", target, live)
    st.caption(
        "Each dot is a step, in the colour of a token it replaced. Blue line: the mean so far; "
        "dashed: the chance before anything was replaced."
    )
    if explanation.source == "notebook":  # its file holds no stop tests
        return
    left, right = st.columns(2, gap="medium")
    with left:
        if last_ranks(explanation):
            st.caption("Rank of the target in each stop test; above the dashed line it passes.")
            _draw(rank_chart(explanation), "ranks", target, live)
    with right:
        if explanation.config.until == "stop_test":
            st.caption("Share of the probes that the stop test has ended.")
            _draw(stopped_chart(explanation), "probes that stopped", target, live)
        else:
            st.caption(
                "This run ends when its intervals say so, not by the stop test, so there is no "
                "share of probes that stopped."
            )


def _heatmap(course: Course, highlight: Highlight, name: str) -> None:
    explanation, measure = course.explanation, main_measure(course.explanation)
    last = course.lines(measure).mean[-1]
    _section(
        "Tokens from top to bottom, steps from left to right",
        heatmap_sentence(explanation, last),
        f"map {name}",
    )
    key = f"heatmap {name}"
    draw_chart(
        heatmap_chart(course, measure, highlight), key=key, name="heatmap",
        live=explanation.status == "running", on_select=partial(follow_chart, name, key),
    )  # fmt: skip
    _left_out(course, MOST_ROWS, "weakest")


def _stability(course: Course, target: str) -> None:
    """While a run goes on, the sentences alone."""
    from reagent_core.stability import mean_agreement  # with SciPy

    explanation = course.explanation
    running = explanation.status == "running"
    between = mean_agreement(list(course.between.values()))
    left, right = st.columns(2, gap="medium")
    with left:
        told = stability_sentence(explanation, course.main.mean, between)
        _section("Is the order stable?", told, f"stable {target}")
        if not running:
            _draw(agreement_chart(course), "agreement", target)
    with right:
        told = width_sentence(course.half_width, course.samples, len(course.top))
        _section("How sure are the strongest?", told, f"width {target}")
        if not running:
            _draw(width_chart(course), "interval widths", target)
    if course.between and not running:
        with st.expander("Agreement of each two probes", icon=":material/compare_arrows:"):
            st.caption("What each probe found by itself; empty: not defined.")
            st.dataframe(probe_table(course).round(2), hide_index=True, width="stretch")


def _one_step(course: Course, highlight: Highlight, target: str, name: str) -> None:
    if [unit for unit in picked(name) if unit in course.units] != list(highlight.followed):
        st.rerun()  # a bar was clicked, and all pictures follow
    probes, curves = probes_of(course.explanation), course.raw.probes
    steps = curves.shape[1]
    place = st.container()
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    step = 1
    if steps > 1:
        step = left.slider(
            "After step", 1, steps, steps, key=f"step {target}", persist_state=None
        )
    probe = right.selectbox(
        "Probe", range(len(probes)), format_func=lambda row: str(row + 1), key=f"probe {target}",
        persist_state=None,
    )  # fmt: skip
    raw = curves[probe or 0, step - 1]
    if np.isnan(raw).any():
        plain_text("This probe has not made this step yet.", key=f"one {target}", size="note")
        return
    shares = softmax(raw)
    with place:
        _section(
            "Scores of one step, before and after softmax",
            step_sentence(course.explanation, raw, shares),
            f"one {target}",
        )
    before, after = scores_charts(course, raw, shares, highlight)
    left, right = st.columns(2, gap="medium")
    for side, chart, what in ((left, before, "raw scores"), (right, after, "softmax scores")):
        key = f"{what} {target}"
        with side:
            draw_chart(chart, key=key, name=what, on_select=partial(follow_chart, name, key))
    _left_out(course, MOST_BARS, "lowest")
