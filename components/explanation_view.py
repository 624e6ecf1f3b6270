"""One explanation on a page: sentence, strips, charts, what was tried, downloads."""

from __future__ import annotations

from typing import Literal

import streamlit as st

from components.charts import curves_chart, effects_chart
from components.plain import plain_text
from components.token_strip import LEGENDS, token_strip
from components.tried import tried_list
from reagent_core.curves import effect_curves, score_curves
from reagent_core.explanation import Explanation, dump
from reagent_core.export import scores_csv
from reagent_core.sentences import Measure, fact_sentence, main_measure, summary
from reagent_core.strip import answer_strip, answer_words, prompt_strip
from reagent_core.tried import tried


def draw_explanation(explanation: Explanation, name: str, focus: str | None = None) -> None:
    """Draw everything but the downloads. `name` tells one explanation from another;
    `focus` is the word of the answer that is explained until another is clicked."""
    measure = main_measure(explanation)
    head = st.container()
    prompt_place = st.container()
    words = answer_words(explanation)
    with st.container():
        st.markdown("**The model's answer**" + _hint(explanation))
        chosen = token_strip(
            answer_strip(explanation),
            key=f"answer {name}",
            label="The model's answer",
            selected=_start(explanation, focus),
        )
    shown = (words[chosen].explained if chosen is not None else None) or explanation
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
            legend=LEGENDS[measure],
        )
    unit = tokens[picked].unit if picked is not None else None
    if shown.trace:
        _verdict(shown)
        _charts(shown, measure, unit)
        _tried(shown, name)


def downloads(explanation: Explanation, link: str | None = None) -> None:
    """JSON, CSV, HTML, and the link that opens this explanation again, if there is one."""
    kind = "".join(c if c.isalnum() else "-" for c in explanation.target.text.strip())[:30]
    stem = f"explanation-{kind.strip('-').lower() or 'answer'}"
    with st.container(horizontal=True, vertical_alignment="center"):
        st.download_button(
            "JSON", lambda: dump(explanation), f"{stem}.json", "application/json",
            on_click="ignore", help="Everything, trace included; reads back into the library.",
        )  # fmt: skip
        st.download_button(
            "CSV", lambda: scores_csv(explanation), f"{stem}.csv", "text/csv",
            on_click="ignore", help="Scores and effects, one row a unit.",
        )  # fmt: skip
        st.download_button(
            "HTML", lambda: _html(explanation), f"{stem}.html", "text/html",
            on_click="ignore", help="One self-contained page, to send or to keep.",
        )  # fmt: skip
        if link:
            with st.popover("Link"):
                st.caption("Opens this explanation again on this server.")
                st.code(link, language=None, wrap_lines=True)


def _html(explanation: Explanation) -> str:
    from reagent_core.report import html_report  # Jinja2 is not needed to look at a page

    return html_report(explanation)


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
        st.caption(verdict.text)
    for warning in verdict.warnings:
        st.caption(f":material/info: {warning}")


def _charts(explanation: Explanation, measure: Measure, unit: int | None) -> None:
    left, right = st.columns(2, gap="medium")
    with left:
        st.markdown("**How the estimates settled**")
        st.caption(
            "Each line is one piece of the prompt; flat lines to the right mean the run was long "
            "enough."
        )
        values = (effect_curves if measure == "effect" else score_curves)(explanation)
        chart = curves_chart(explanation, values, measure=measure, selected=unit)
        st.vega_lite_chart(chart.rows, chart.spec, width="stretch")
    with right:
        st.markdown("**What each piece is worth**")
        what = "less likely the target gets" if explanation.target.instead_of is None else (
            "lower the odds of the target get"
        )  # fmt: skip
        st.caption(
            f"How many times {what} without it; the whiskers hold the true value 95 times in 100."
        )
        bars = effects_chart(explanation)
        st.vega_lite_chart(bars.rows, bars.spec, width="stretch")


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
