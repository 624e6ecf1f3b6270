"""A study in a terminal: what it found, for each model and method, and what failed."""

from __future__ import annotations

from collections import Counter

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from reagent_core.study.plan import Study
from reagent_core.study.summary import INTERVALS, MEASURES, Measure, counts, finding
from reagent_core.study.words import (
    ended_words,
    interval_words,
    judged_words,
    missing_keys_words,
    note_lines,
    number,
    over_words,
)
from reagent_core.terminal import printable

# What fits beside each other in a terminal; all of it is in the files.
# Soft measures beside those of random scores: as they are, they favour flat scores.
_FAITHFUL = (
    "comprehensiveness_relative", "sufficiency_relative", "area", "soft_nc_log_ratio",
    "soft_ns_log_ratio",
)  # fmt: skip
_OTHER = ("key_first", "seconds", "sequences")
_REASONS = 3


def show_study(console: Console, study: Study, results: pd.DataFrame, means: pd.DataFrame) -> None:
    """Print everything a person wants to know about a study, finished or not. `means`: the
    `summary` of its results."""

    def say(text: str, style: str = "") -> None:
        console.print(Text(printable(text), style), soft_wrap=not console.is_terminal)

    for _, ended in counts(study, results).iterrows():
        model = str(ended["model"])
        say("")
        say(f"{model}: {ended_words(ended)}", "bold")
        own = means[means["model"] == model]
        if own.empty:
            continue
        say(finding(study, results, model))
        for columns in (_FAITHFUL, _OTHER):
            say("")
            console.print(_table(own, columns))
    if not means.empty:
        say(f"Means with {INTERVALS}.", "dim")
        if means["measure"].str.endswith("_log_ratio")[means["mean"].notna()].any():
            say("Log ratios: to the same scores dealt out at random; 0 is no better.", "dim")
        say(judged_words(study, results), "dim")
    for line in note_lines(results):
        say(line, "yellow")
    if missing := missing_keys_words(study):
        say(missing, "yellow")
    for status, words in (("failed", "failed"), ("refused", "left out")):
        reasons = Counter(results[results["status"] == status]["reason"])
        for reason, times in reasons.most_common(_REASONS):
            say(f"{times:,} {words}: {reason}", "yellow")


def _table(means: pd.DataFrame, columns: tuple[str, ...]) -> Table:
    """Methods down, measures across; a measure that no method has is left out."""
    table = Table(box=None, pad_edge=False)
    table.add_column("Method", no_wrap=True)
    known = set(means.dropna(subset=["mean"])["measure"])
    measures = [measure for measure in MEASURES if measure.column in columns]
    measures = [measure for measure in measures if measure.column in known]
    for measure in measures:
        arrow = {"high": " ↑", "low": " ↓", None: ""}[measure.better]
        table.add_column(f"{measure.label}{arrow}", justify="right")
    for method in means["method"].unique():
        own = means[means["method"] == method].set_index("measure")
        cells = [_mean(own.loc[measure.column], measure, means) for measure in measures]
        table.add_row(*map(Text, (str(own["label"].iloc[0]), *cells)))
    return table


def _mean(mean: pd.Series, measure: Measure, means: pd.DataFrame) -> str:
    """ "0.52", "0.41 to 0.63" below it, and below that "over 5 prompts" where not all have it."""
    sure = interval_words(mean["low"], mean["high"], measure)
    return "\n".join(
        filter(None, (number(mean["mean"], measure), sure, over_words(mean, means)))
    )
