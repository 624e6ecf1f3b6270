"""A study as one HTML file that needs nothing else: no server, no network.

Texts of the data set and of models enter it escaped, or as JSON through `textContent`; the page
forbids itself every network access by its content security policy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import pandas as pd

from reagent_core.baselines.methods import label_of
from reagent_core.colours import palette_css
from reagent_core.config import preset_of
from reagent_core.database import LibraryError
from reagent_core.explanation import Explanation
from reagent_core.method_words import has_signs
from reagent_core.report import asset, template
from reagent_core.sentences import main_measure
from reagent_core.strip import prompt_strip
from reagent_core.study.cost_plot import cost_plot
from reagent_core.study.folder import StudyFolder
from reagent_core.study.plan import MethodFound, Outcome, Row, Study
from reagent_core.study.summary import (
    ENOUGH,
    INTERVALS,
    MEASURES,
    Measure,
    best_method,
    counts,
    finding,
)
from reagent_core.study.words import (
    ended_words,
    interval_words,
    judged_words,
    missing_keys_words,
    note_lines,
    number,
    over_words,
)
from reagent_core.wording import quoted

# Prompts that are shown with their strips: each takes tens of kilobytes. One that failed has none.
MOST_PROMPTS = 100

_TITLE = 90


def study_report(folder: StudyFolder, results: pd.DataFrame, means: pd.DataFrame) -> str:
    """The report of a study, finished or not: what it says as a whole, with intervals and plots,
    then its prompts, each with the strip of the method that is most faithful there.

    `results`: see `export.results_frame`. `means`: their `summary`.

    Raises:
        InputError: the folder's file of outcomes is damaged.
    """
    study, outcomes = folder.study, folder.outcomes()
    prompts = shown_prompts(study, outcomes)
    strips: list[dict[str, Any] | None] = []
    rows = []
    best = {model: best_method(results, model) for model in study.models}
    for outcome in prompts:
        rows.append(_row(study, outcome, len(strips)))
        strips.append(_strip(folder, outcome, best[outcome.task.model]))
    ended, total = len(outcomes), len(study.tasks)
    return template("study_report.html.jinja").render(
        name=study.name,
        lead=f"{ended:,} of {total:,} tasks have ended."
        if ended < total
        else f"{len(study.rows):,} prompts by {_counted(len(study.models), 'model')} and "
        f"{_counted(len(study.methods), 'method')}.",
        models=[
            _model(study, results, means, ended) for _, ended in counts(study, results).iterrows()
        ],
        rows=rows,
        shown=_shown(prompts, outcomes),
        settings=_settings(study, results),
        strips=strips,
        missing_keys=missing_keys_words(study),
        enough=ENOUGH,
        intervals=INTERVALS,
        css="".join(
            (
                asset("token_strip.css"),
                palette_css(),
                asset("report.css"),
                asset("study_report.css"),
            )
        ),
        script=asset("token_strip.js") + asset("study_report.js"),
    )


def shown_prompts(study: Study, outcomes: Sequence[Outcome]) -> list[Outcome]:
    """What the report lists, by row: all that failed, and of what was done the first rows, which
    are the same of each model."""
    place = {model: i for i, model in enumerate(study.models)}
    in_order = sorted(outcomes, key=lambda each: (each.task.row, place[each.task.model]))
    done = [each for each in in_order if each.status == "done"][:MOST_PROMPTS]
    kept = {each.task for each in done}
    return [each for each in in_order if each.status == "failed" or each.task in kept]


def _counted(count: int, name: str) -> str:
    return f"{count:,} {name}{'' if count == 1 else 's'}"


def _shown(prompts: Sequence[Outcome], outcomes: Sequence[Outcome]) -> str:
    told = "Open one to see what mattered in it, by the method that is most faithful over all."
    if len(prompts) == len(outcomes):
        return told
    first, done = (sum(each.status == "done" for each in some) for some in (prompts, outcomes))
    failed = ", and all that failed" if len(prompts) > first else ""
    return f"The first {first:,} of {done:,}{failed}; the others are in the tables. {told}"


def _model(
    study: Study, results: pd.DataFrame, means: pd.DataFrame, ended: pd.Series
) -> dict[str, Any]:
    """What the page says of one model."""
    name = str(ended["model"])
    own = means[means["model"] == name]
    known = set(own.dropna(subset=["mean"])["measure"])
    measures = [measure for measure in MEASURES if measure.column in known]
    return {
        "name": name,
        "finding": finding(study, results, name),
        "ended": ended_words(ended),
        "notes": [
            *note_lines(results[results["model"] == name]),
            *_left_out(results[results["model"] == name]),
        ],
        "measures": [{"label": m.label, "line": m.line, "arrow": _ARROWS[m.better]}
                     for m in measures],
        "methods": [_method(own, str(method), measures) for method in own["method"].unique()],
        "costs": [cost_plot(own, each) for each in measures if each.column == "area"],
        "plots": [_plot(own[own["measure"] == measure.column], measure) for measure in measures],
    }  # fmt: skip


def _left_out(results: pd.DataFrame) -> list[str]:
    """A line for each method that was refused and each reason."""
    refused = results[results["status"] == "refused"]
    prompts = results[results["status"] != "failed"]["row"].nunique()
    lines = []
    for (method, reason), count in refused.groupby(["method", "reason"], sort=False).size().items():
        some = "" if count == prompts else f" for {_counted(count, 'prompt')}"
        lines.append(f"{label_of(method)} was left out{some}: {reason}")
    return lines


_ARROWS = {"high": "\u00a0↑", "low": "\u00a0↓", None: ""}


def _method(means: pd.DataFrame, method: str, measures: list[Measure]) -> dict[str, Any]:
    """A row of the table of means."""
    own = means[means["method"] == method].set_index("measure")
    cells = []
    for measure in measures:
        mean = own.loc[measure.column]
        others = means[means["measure"] == measure.column]["mean"]
        top = others.max() if measure.better == "high" else others.min()
        known = pd.notna(mean["difference"])
        low, high = mean["difference_low"], mean["difference_high"]
        cells.append(
            {
                "mean": number(mean["mean"], measure),
                "interval": interval_words(mean["low"], mean["high"], measure),
                "over": over_words(mean, means),
                "best": len(others.dropna()) > 1 and mean["mean"] == top,
                "difference": number(mean["difference"], measure, sign=True) if known else "",
                "apart": bool(mean["pairs"] >= ENOUGH and (low > 0 or high < 0)),
            }
        )
    return {"label": str(own["label"].iloc[0]), "cells": cells}


@dataclass(frozen=True)
class _Dot:
    """Places in percent of the track; `left` None without an interval."""

    label: str
    words: str
    place: float
    left: float | None
    width: float


def _plot(means: pd.DataFrame, measure: Measure) -> dict[str, Any]:
    """A dot a method, with its interval, on one scale that holds 0."""
    means = means.dropna(subset=["mean"])
    ends = means[["mean", "low", "high"]].to_numpy(float)
    low, high = min(0.0, float(pd.Series(ends.ravel()).min())), float(pd.Series(ends.ravel()).max())
    high = max(high, low + 1e-9, 0.0)

    def place(value: float) -> float:
        return round(100 * (value - low) / (high - low), 2)

    dots = []
    for _, mean in means.iterrows():
        sure = pd.notna(mean["low"])
        words = f"{number(mean['mean'], measure)} " + interval_words(
            mean["low"], mean["high"], measure
        )
        dots.append(
            _Dot(
                label=str(mean["label"]),
                words=words.strip(),
                place=place(mean["mean"]),
                left=place(mean["low"]) if sure else None,
                width=place(mean["high"]) - place(mean["low"]) if sure else 0.0,
            )
        )
    return {
        "label": measure.label,
        "arrow": _ARROWS[measure.better],
        "line": measure.line,
        "low": number(low, measure),
        "high": number(high, measure),
        "dots": dots,
    }


def _row(study: Study, outcome: Outcome, strip: int) -> dict[str, Any]:
    row = study.row(outcome.task)
    return {
        "number": row.index + 1,
        "model": outcome.task.model,
        "title": quoted(row.prompt, _TITLE),
        "prompt": row.prompt,
        "reason": outcome.reason,
        "target": quoted(outcome.target),
        "notes": outcome.notes,
        "key": quoted(row.key) if row.key is not None else None,
        "strip": strip,
        "methods": [
            {
                "label": label_of(found.method),
                "top": ", ".join(map(quoted, found.top)),
                "numbers": _numbers(found, row),
            }
            for found in outcome.found
        ],
    }


def _numbers(found: MethodFound, row: Row) -> list[str]:
    mean = found.mean
    rank = f"{found.key_rank} of {found.units}" if found.key_rank else "not among them"
    if row.lacks_its_key:
        rank = "not in the prompt"
    return [
        "" if found.area is None else f"{found.area:.2f}",
        "" if mean is None else f"{mean.comprehensiveness_relative.mean:.2f}",
        "" if mean is None else f"{mean.sufficiency_relative.mean:.2f}",
        *([rank] if row.key is not None else []),
        f"{found.seconds:.1f}",
    ]


def _strip(folder: StudyFolder, outcome: Outcome, best: str | None) -> dict[str, Any] | None:
    """The prompt with the colours of the method that is most faithful over all, else of the first;
    None where nothing was found, or it is lost."""
    found = {each.method: each.explanation for each in outcome.found}
    if not found:
        return None
    method = best if best in found else next(iter(found))
    try:
        explanation = folder.explanation(found[method])
    except LibraryError:
        return None
    return {
        "label": f"Prompt, by {label_of(method)}",
        "tokens": [
            asdict(replace(token, clickable=False))
            for token in prompt_strip(explanation, main_measure(explanation))
        ],
        "legend": _legend(explanation, label_of(method)),
    }


def _legend(explanation: Explanation, label: str) -> dict[str, Any]:
    signs = main_measure(explanation) == "effect" or has_signs(explanation)
    return {"low": "against" if signs else None, "high": f"for the target, by {label}"}


def _settings(study: Study, results: pd.DataFrame) -> list[tuple[str, str]]:
    rows = [
        ("Prompts", f"{len(study.rows):,}"),
        ("Models", ", ".join(study.models)),
        ("Methods", ", ".join(map(label_of, study.methods))),
        ("Sent as", "a chat turn" if study.chat else "plain text"),
        ("Longest answer", f"{study.max_new_tokens} tokens"),
        ("Budget of sampling methods", "about as many as Standard" if study.budget is None
         else f"{study.budget:,} sequences"),
        ("Draws of the faithfulness", str(study.draws)),
        ("Preset", preset_of(study.config) or "none: own settings"),
    ]  # fmt: skip
    rows += [(name.replace("_", " "), str(value)) for name, value in study.config]
    if judged := judged_words(study, results):
        rows.append(("Faithfulness", judged))
    return [*rows, ("Study", study.id)]
