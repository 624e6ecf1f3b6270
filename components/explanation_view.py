"""One explanation on a page: sentence, strips, charts, its check, what was tried."""

from __future__ import annotations

from typing import Literal

import streamlit as st

from components.charts import (
    MOST_BARS,
    MOST_GREY,
    TOP,
    curves_chart,
    effects_chart,
    left_out,
)
from components.check_view import draw_check
from components.pictures import draw_chart
from components.plain import plain_text, unformatted
from components.token_strip import legend_of, token_strip
from components.tried import tried_list
from reagent_core.baselines.methods import REAGENT
from reagent_core.curves import effect_curves, score_curves
from reagent_core.explanation import Explanation
from reagent_core.sentences import (
    Measure,
    fact_sentence,
    main_measure,
    ranking,
    summary,
)
from reagent_core.strip import answer_strip, answer_words, prompt_strip
from reagent_core.tried import tried


def draw_explanation(explanation: Explanation, name: str, focus: str | None = None) -> None:
    """Draw everything but the downloads. `name` tells one explanation from another;
    `focus` is the word of the answer that is explained until another is clicked."""
    measure = main_measure(explanation)
    head = st.container()
    prompt_place = st.container()
    with st.container():
        shown = choose_word(explanation, name, focus)
    span = f"{shown.target.answer_start}-{shown.target.answer_stop}"
    with head:
        plain_text(summary(shown), key=f"summary {name}", size="headline")
        for place in range(len(shown.facts)):
            told = fact_sentence(shown, place)
            if told:
                size: Literal["body", "note"] = "note" if place else "body"
                plain_text(told, key=f"fact {place} {name}", size=size)
    with prompt_place:
        tokens = prompt_strip(shown, measure)
        picked = token_strip(
            tokens,
            key=f"prompt {name} {span}",
            label="The prompt, coloured by importance",
            legend=legend_of(shown),
        )
    unit = tokens[picked].unit if picked is not None else None
    if shown.trace:
        _verdict(shown)
        _charts(shown, name, measure, unit)
        draw_check(shown, explanation, name)
        _tried(shown, name)
    elif shown.method != REAGENT:
        _without_steps(shown, name)
        draw_check(shown, explanation, name)


def choose_word(explanation: Explanation, name: str, focus: str | None = None) -> Explanation:
    """Draw the answer; of a whole answer a word can be clicked. Returns what explains that word,
    or all of the answer."""
    words = answer_words(explanation)
    st.markdown("**The model's answer**" + _hint(explanation))
    chosen = token_strip(
        answer_strip(explanation),
        key=f"answer {name}",
        label="The model's answer",
        selected=_start(explanation, focus),
    )
    return (words[chosen].explained if chosen is not None else None) or explanation


def _hint(explanation: Explanation) -> str:
    if explanation.explanations:
        return " · click a word to see what made the model say it"
    if explanation.target.answer_start is None:
        return " · explained is a text of yours"
    return ""


def _start(explanation: Explanation, focus: str | None) -> int | None:
    """The word that is selected at first."""
    for index, word in enumerate(answer_words(explanation)):
        single = explanation.explanations is None and word.explained is not None
        if word.explained is not None and (single or word.text.strip() == focus):
            return index
    return None


def _verdict(explanation: Explanation) -> None:
    verdict = explanation.verdict
    if explanation.status == "running":
        return
    icon = ":material/check_circle:" if verdict.settled else ":material/hourglass_empty:"
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.badge(
            "Settled" if verdict.settled else "Not settled yet",
            icon=icon,
            color="green" if verdict.settled else "orange",
        )
        st.caption(unformatted(verdict.text))
    for warning in verdict.warnings:
        st.caption(f":material/info: {unformatted(warning)}")
    counts = explanation.counts
    if counts.requests:
        st.caption(
            f"{counts.requests:,} requests were sent to the server; the prompts scored had "
            f"{counts.tokens:,} tokens."
        )


def _without_steps(explanation: Explanation, name: str) -> None:
    """How another method came to it, and its effects if it tells any."""
    st.caption(unformatted(explanation.verdict.text))
    for warning in explanation.verdict.warnings:
        st.caption(f":material/info: {unformatted(warning)}")
    if main_measure(explanation) == "effect":
        st.markdown("**What each piece is worth**")
        _effects(explanation, name)


def _charts(explanation: Explanation, name: str, measure: Measure, unit: int | None) -> None:
    live = explanation.status == "running"
    left, right = st.columns(2, gap="medium")
    with left:
        st.markdown("**How the estimates settled**")
        st.caption(
            "Each line is one piece of the prompt; flat lines to the right mean the run was long "
            "enough."
        )
        values = (effect_curves if measure == "effect" else score_curves)(explanation)
        chart = curves_chart(explanation, values, measure=measure, selected=unit)
        draw_chart(chart, key=f"curves {name}", name="curves", live=live)
        told = left_out(values.shape[1], TOP + MOST_GREY, explanation.config.granularity)
        if told:
            st.caption(f"{told} What is clicked is always drawn.")
    with right:
        st.markdown("**What each piece is worth**")
        what = "less likely the target gets" if explanation.target.instead_of is None else (
            "lower the odds of the target get"
        )  # fmt: skip
        st.caption(
            f"How many times {what} without it; the whiskers hold the true value about 95 times "
            "in 100."
        )
        _effects(explanation, name)


def _effects(explanation: Explanation, name: str) -> None:
    live = explanation.status == "running"
    draw_chart(effects_chart(explanation), key=f"effects {name}", name="effects", live=live)
    known = sum(explanation.units[i].effect is not None for i in ranking(explanation))
    told = left_out(known, MOST_BARS, explanation.config.granularity)
    if told:
        st.caption(told)


def _tried(explanation: Explanation, name: str) -> None:
    st.markdown("**What was tried**")
    st.caption(
        "Replaced versions of the prompt, the largest drop first; replaced words are marked."
    )
    tried_list(
        tried(explanation),
        key=f"tried {name}",
        label="Replaced versions of the prompt",
        odds=explanation.target.instead_of is not None,
    )
