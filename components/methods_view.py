"""Methods side by side on a page: a sentence, strips on one scale, pictures, a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd
import streamlit as st

from components.methods_charts import agreement_chart
from components.methods_scatter import (
    COSTS,
    MEASURES,
    Cost,
    Which,
    cost_chart,
    left_out,
    measures_known,
)
from components.navigation import address_of, link_to
from components.picked import pick, picked
from components.pictures import draw_chart
from components.plain import plain_text, unformatted
from components.token_strip import WITH_SIGNS, Legend, token_strip, token_strip_of_several
from reagent_core.baselines.compared import (
    MethodResult,
    MethodsCompared,
    full_share,
    shared_strips,
)
from reagent_core.baselines.compared_table import method_row, methods_csv
from reagent_core.baselines.compared_words import (
    agreement_sentence,
    beside_the_best,
    by_faithfulness,
    headline,
    judged_by,
    listed,
    places_sentence,
    strongest,
    tells_signs,
    unit_at,
)
from reagent_core.baselines.methods import METHODS, REAGENT
from reagent_core.explanation import Explanation
from reagent_core.strip import StripToken
from reagent_core.wording import percent

_LINES = {
    REAGENT: "How much less likely the answer gets when the token is replaced, whatever else is "
    "replaced with it.",
    **{method.name: f"{method.line} Source: {method.source}." for method in METHODS},
}
_WITHOUT_SIGNS = Legend(None, "counts more, for or against")
_MOST_TOLD = 3
_TABLE = {
    "label": "Method", "strongest": "Strongest", "area": "Area", "beats": "Beats random",
    "comprehensiveness": "Comprehensiveness", "sufficiency": "Sufficiency",
    "soft_sufficiency": "Soft-NS", "soft_sufficiency_log_ratio": "Soft-NS, log ratio",
    "soft_comprehensiveness": "Soft-NC", "soft_comprehensiveness_log_ratio": "Soft-NC, log ratio",
    "seconds": "Seconds", "sequences": "Prompts read", "forwards": "Forward calls",
    "backwards": "Gradients",
}  # fmt: skip
_SOFT_TITLES = ("Soft-NS", "Soft-NS, log ratio", "Soft-NC", "Soft-NC, log ratio")


def draw_compared(compared: MethodsCompared, name: str, query: dict[str, str]) -> None:
    """Draw everything. `name` tells one comparison from another; `query` is its address."""
    plain_text(headline(compared), key=f"methods headline {name}", size="headline")
    told = [beside_the_best(compared), agreement_sentence(compared)]
    if any(told):
        plain_text(" ".join(filter(None, told)), key=f"methods beside {name}")
    results = by_faithfulness(compared.results)
    draw_strips(results, name)
    for refused in compared.refused:
        reason = unformatted(f"{refused.label} is left out. {refused.reason}")
        st.caption(f":material/block: {reason}")
    for note in compared.notes:
        st.caption(f":material/info: {unformatted(note)}")
    for result in results:
        for warning in result.explanation.verdict.warnings:
            st.caption(f":material/info: {unformatted(f'{result.label}: {warning}')}")
    order = [compared.results.index(result) for result in results]
    left, right = st.columns(2, gap="medium")
    if len(results) > 1:
        with left:
            st.markdown("**Do they agree?**")
            st.caption(
                "Kendall's tau between the orders of each two: 1 the same, 0 unrelated, −1 "
                "reversed. Numbers on top are those on the left; the most faithful comes first."
            )
            draw_chart(
                agreement_chart(compared, order), key=f"methods tau {name}", name="agreement"
            )
    if measures_known(results):
        with right:
            _draw_cost(results, name)
    _draw_table(results, judged_by(compared))
    _draw_downloads(compared, name, query)


def draw_found(results: Sequence[MethodResult], name: str) -> None:
    """Draw what has landed of a comparison that is not over: strips in the order of the methods,
    picture and table of those whose faithfulness is known."""
    draw_strips(results, name)
    judged = by_faithfulness([result for result in results if result.faithful is not None])
    if judged:
        _draw_cost(judged, name)
        _draw_table(judged, f"Faithfulness is known of {len(judged)} of these {len(results)}.")


def draw_strips(results: Sequence[MethodResult], name: str) -> None:
    """The prompt once a method, on one scale. A token that is clicked is marked in all of them."""
    strips = shared_strips([result.explanation for result in results])
    pairs = list(zip(results, strips, strict=True))
    signed = [pair for pair in pairs if tells_signs(pair[0].explanation)]
    others = [pair for pair in pairs if not tells_signs(pair[0].explanation)]
    st.markdown("**What each method finds** · click a token to find it everywhere")
    full = full_share([result.explanation for result in results])
    st.caption(
        "One scale for all: the share of a token in all that the method finds, full colour from "
        f"{percent(full)} on. A method's name opens its explanation."
    )
    for group, legend in ((signed, WITH_SIGNS), (others, _WITHOUT_SIGNS)):
        if not group:
            continue
        token_strip([], key=f"methods legend {legend.low} {name}", label="Colours", legend=legend)
        for result, tokens in group:
            _draw_strip(result, tokens, name)
    for start in picked(_picks(name))[-_MOST_TOLD:]:
        told = places_sentence(results, start)
        plain_text(told, key=f"methods place {start} {name}", size="note")


def _draw_strip(result: MethodResult, tokens: list[StripToken], name: str) -> None:
    place, label = _picks(name), unformatted(result.label)
    left, right = st.columns([1, 3], gap="small", vertical_alignment="center")
    with left:
        link_to("explain", label, {"run": result.key}, help=_LINES.get(result.method))
    with right, st.container(gap=None):
        # By where they begin: of a long prompt not all methods have the same units.
        chosen = {unit_at(result.explanation, start) for start in picked(place)} - {None}
        token_strip_of_several(
            tokens,
            key=f"methods strip {result.method} {name}",
            label=f"The prompt by {result.label}",
            legend=None,
            selected=[i for i, token in enumerate(tokens) if token.unit in chosen],
            on_select=_follow(place, result.explanation, tokens),
        )
        told = strongest(result.explanation)
        if result.faithful is not None:
            told += f" · beats {result.faithful.beaten} of {result.faithful.orders} random orders"
        plain_text(told, key=f"methods top {result.method} {name}", size="note")


def _follow(
    place: str, explanation: Explanation, tokens: list[StripToken]
) -> Callable[[list[int]], None]:
    """Takes over what was clicked in one strip, for all of them."""
    units = explanation.units
    return lambda chosen: pick(
        place, [units[unit].start for i in chosen if (unit := tokens[i].unit) is not None]
    )


def _picks(name: str) -> str:
    return f"methods {name}"


def _draw_cost(results: Sequence[MethodResult], name: str) -> None:
    st.markdown("**What does faithfulness cost?**")
    place = st.container()
    known: list[Which] = measures_known(results)
    # Not all comparisons have all measures: with other options it is another choice.
    which = st.radio(
        "Faithfulness by", known, key=f"methods which {' '.join(known)}", horizontal=True,
        format_func=lambda which: MEASURES[which].name, persist_state="session",
    )  # fmt: skip
    costs: list[Cost] = list(COSTS)
    cost = st.radio(
        "Cost by", costs, key="methods cost", horizontal=True, format_func=COSTS.__getitem__,
        persist_state="session",
    )  # fmt: skip
    which = which or known[0]
    with place:
        told = (
            "Up and to the left is good: faithful and cheap. Bars hold the true value about 95 "
            "times in 100, and are cut at the edge; a dashed line is what chance has: the area of "
            "random orders, or 0, the log ratio of shuffled scores."
        )
        if missing := left_out(results, which):
            told += f" Without a value here: {unformatted(listed(missing))}."
        st.caption(told)
        draw_chart(
            cost_chart(results, which, cost or costs[0]),
            key=f"methods cost chart {name}", name="faithfulness against cost",
        )  # fmt: skip


def table(results: Sequence[MethodResult]) -> pd.DataFrame:
    """What the page's table shows, one row a method."""
    frame = pd.DataFrame([method_row(result) for result in results])
    frame["beats"] = [
        None if pd.isna(beaten) else f"{beaten:.0f} of {orders:.0f}"
        for beaten, orders in zip(frame["beaten"], frame["orders"], strict=True)
    ]
    shown = [name for name in _TABLE if not frame[name].isna().all()]
    return frame[shown].rename(columns=_TABLE)


def _draw_table(results: Sequence[MethodResult], lead: str) -> None:
    st.markdown("**All numbers**")
    shown = table(results)
    told = (
        f"{unformatted(lead)} Area, comprehensiveness and the soft measures: the "
        "higher the better; sufficiency: the lower."
    )
    if any(title in shown for title in _SOFT_TITLES):
        told += (
            " Flat scores, even random ones, raise Soft-NS and Soft-NC as they are: compare by the "
            "log ratio to the same scores shuffled (none where one of the two is 0)."
        )
    st.caption(f"{told} Gradients: prompts that a gradient was taken of, too.")
    numbers = {
        title: st.column_config.NumberColumn(format="%+.2f" if "log" in title else "%.2f")
        for title in (
            "Area", "Comprehensiveness", "Sufficiency", *_SOFT_TITLES, "Seconds"
        )
    }  # fmt: skip
    st.dataframe(
        shown, hide_index=True, width="stretch", height="content",
        column_config=numbers,
        alt="Faithfulness and cost of each method",
    )  # fmt: skip


def _draw_downloads(compared: MethodsCompared, name: str, query: dict[str, str]) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.download_button(
            "JSON", lambda: compared.model_dump_json(indent=1), "methods.json",
            "application/json", key=f"methods json {name}", on_click="ignore",
            help="All explanations with all numbers, as `reagent compare-methods --json` writes it",
        )  # fmt: skip
        st.download_button(
            "CSV", lambda: methods_csv(compared), "methods.csv", "text/csv",
            key=f"methods csv {name}", on_click="ignore", help="One row a method",
        )  # fmt: skip
        with st.popover("Link"):
            st.caption("Opens this comparison again on this server.")
            st.code(address_of("methods", query), language=None, wrap_lines=True)
