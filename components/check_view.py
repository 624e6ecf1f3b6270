"""Whether an explanation can be trusted: asked for with a button, told in a sentence."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import pandas as pd
import streamlit as st

from components import checks, runs
from components.check_charts import Which, erasure_chart
from components.checks import Checked
from components.pictures import draw_chart
from components.plain import plain_text, unformatted
from reagent_core.check import Check, Erasure, Estimate, Kinship, kinship, replacer_of
from reagent_core.check_words import lost, nats, replaced_by, soft_words
from reagent_core.config import ReplacerName
from reagent_core.explanation import Explanation
from reagent_core.trust import Standing


class _Badge(NamedTuple):
    label: str
    icon: str
    color: Literal["green", "orange", "red", "gray"]


_BADGES: dict[Standing, _Badge] = {
    "better": _Badge("Trust it", ":material/verified:", "green"),
    "weak": _Badge("Do not trust it alone", ":material/help:", "orange"),
    "chance": _Badge("Do not trust it", ":material/dangerous:", "red"),
    "untestable": _Badge("Cannot be checked", ":material/do_not_disturb_on:", "gray"),
}
_CAPTIONS: dict[Which, str] = {
    "deletion": "**Strongest replaced first.** An explanation that is right falls sooner than "
    "random orders (dashed; the grey band holds nine of ten).",
    "insertion": "**Strongest kept, all others replaced.** An explanation that is right rises "
    "sooner.",
}

_KINSHIP: dict[Kinship, str] = {
    "same": "made the explanation",
    "proposals": "same proposals, weighed in another way",
    "other": "did not make the explanation",
}


def draw_check(explanation: Explanation, whole: Explanation, reference: str) -> None:
    """Draw what a check of this explanation found, or the button that starts it.

    `explanation` is `whole`, the explanation that `reference` names, or one of its words. Nothing
    is drawn while it grows.
    """
    if explanation.status == "running":
        return
    checked = Checked(explanation, whole, reference)
    st.markdown("**Check this explanation**")
    st.caption(
        "Replaces the strongest pieces first, then pieces in 20 random orders, and looks which "
        "destroys the answer faster. What stands in for them is drawn in another way than for the "
        "explanation, unless you choose that."
    )
    why_not = checks.why_not(checked)
    controls = st.container(horizontal=True, vertical_alignment="bottom")
    with controls:
        replacer = _choose_replacer(checked, disabled=why_not is not None)
    found = checks.found(checked, replacer)
    job = checks.job_of(checked, replacer) if found is None else None
    # One place for what comes and goes: it is emptied at once when another replacer is chosen.
    place = st.empty()
    if found is not None:
        with place.container():
            _draw_found(found, f"{reference} {checked.key(replacer)}")
    elif job is not None and job.state in ("queued", "running"):
        with place.container():
            st.fragment(_live, run_every=1.0)(checked, replacer)
    else:
        with controls:
            pressed = st.button(
                "Check this explanation",
                key=f"check {checked.key(replacer)}",
                icon=":material/fact_check:",
                help="About as much work as a Standard run.",
                disabled=why_not is not None,
                on_click=checks.start,
                args=(checked, replacer),
            )
        if pressed:
            st.rerun()  # the tray lists it
        if why_not:
            place.caption(f":material/info: {unformatted(why_not)}")
        elif job is not None and job.state == "failed":
            place.error(unformatted(job.error or ""), icon=":material/error:")


def _choose_replacer(checked: Checked, *, disabled: bool) -> ReplacerName | None:
    """What replaces; None for what the check chooses."""
    own, usual = replacer_of(checked.explanation), checks.default_replacer(checked)
    names: tuple[ReplacerName, ...] = get_args(ReplacerName)

    def label(name: ReplacerName | None) -> str:
        chosen = name or usual
        return f"{chosen} ({_KINSHIP[kinship(own, chosen)]})"

    options = [None, *(name for name in names if name != usual)]
    return st.selectbox(
        "Check with the replacer",
        options,
        format_func=label,
        # A choice among others is another choice.
        key=f"check replacer {own} {usual}",
        disabled=disabled,
        width=420,
        persist_state="session",
    )


def _live(checked: Checked, replacer: ReplacerName | None) -> None:
    """The check as it is now; redrawn every second until it ends."""
    job = checks.job_of(checked, replacer)
    if job is None or job.state not in ("queued", "running"):
        st.rerun()
    key = checked.key(replacer)
    bar, button = st.columns([6, 1], vertical_alignment="center")
    bar.progress(*checks.progress_words(job))
    if runs.was_cancelled(key):
        button.caption("Stopping …")
    else:
        button.button(
            "Cancel", key="cancel check", on_click=runs.cancel, args=(key,), width="stretch"
        )


def _draw_found(check: Check, name: str) -> None:
    badge = _BADGES[check.standing]
    with st.container(gap="xsmall"):
        st.badge(badge.label, icon=badge.icon, color=badge.color)
        plain_text(check.text, key=f"verdict {name}", size="headline")
        plain_text(f"Checked on {check.model.id}, {replaced_by(check)}.", key=f"by {name}")
    for note in check.notes:
        st.caption(f":material/info: {unformatted(note)}")
    sides: tuple[Which, ...] = ("deletion", "insertion")
    for column, side in zip(st.columns(2, gap="medium"), sides, strict=True):
        with column:
            st.caption(_CAPTIONS[side])
            draw_chart(erasure_chart(check, side), key=f"{side} {name}", name=side)
    st.caption(
        "Comprehensiveness: what is lost when the strongest are replaced (high is good). "
        "Sufficiency: what is lost when all others are (low is good). In nats, and as a share of "
        "the probability; the brackets hold the true value about 95 times in 100."
    )
    st.table(share_table(check), hide_index=True)
    if check.soft is not None:
        st.caption(soft_words(check.soft))
    with st.container(horizontal=True, vertical_alignment="center"):
        st.download_button(
            "Check, JSON",
            check.model_dump_json(indent=1),
            "check.json",
            "application/json",
            key=f"check json {name}",
            on_click="ignore",
        )
        st.caption(
            f"{check.draws} draws, seed {check.seed}, {check.counts.sequences:,} replaced prompts."
        )


def share_table(check: Check) -> pd.DataFrame:
    """Comprehensiveness and sufficiency, in words, at each share of the units and their mean."""
    rows = [_row(f"{each.share:.0%} ({each.units})", each) for each in check.shares]
    return pd.DataFrame([*rows, _row("Mean", check.mean)])


def _row(name: str, erasure: Erasure) -> dict[str, str]:
    return {
        "Strongest": name,
        "Comprehensiveness": _both(erasure.comprehensiveness, erasure.comprehensiveness_relative),
        "Sufficiency": _both(erasure.sufficiency, erasure.sufficiency_relative),
    }


def _both(in_nats: Estimate, relative: Estimate) -> str:
    # Columns of their own would not fit on a phone.
    return f"{nats(in_nats)} nats; {lost(relative)} lost"
