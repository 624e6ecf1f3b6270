"""What a study says as a whole: means over its prompts, with intervals, for each model and method.

Intervals are at 95%, over prompts (see `intervals`): by the bootstrap, of the hit rate Wilson's, of
differences always by the bootstrap (`INTERVALS` says so to readers). Of fewer than `ENOUGH` prompts
a bootstrap is too narrow, and nothing is concluded from it.

The log ratios are those of the mean over the prompts to the mean of random scores over the same
prompts, not means of the prompts' own log ratios: where one of the two is 0 a prompt has none, and
to leave out just these would make a method look better. They are not known where a mean is 0. For
the same reason a prompt in which no unit speaks for the target counts as 0 in the soft measures.

A method is compared with the first of the study over the prompts that both have, by the mean
difference, or that of the log ratios, with an interval of the same kind: prompts differ far more
than methods do, and in a difference that cancels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from reagent_core.baselines.methods import label_of
from reagent_core.scorers.base import FloatArray, IntArray
from reagent_core.study.intervals import CONFIDENCE, EQUAL, bootstrap_ends, share_ends
from reagent_core.study.plan import Study

ENOUGH = 10
INTERVALS = "95% intervals over the prompts (bootstrap; of “Key first” Wilson's)"


@dataclass(frozen=True)
class Measure:
    """A number of each prompt: its column in `export.results_frame`. `better`: which end is good,
    None for neither. `line`: what it means, for a reader."""

    column: str
    label: str
    better: Literal["high", "low"] | None
    line: str
    digits: int = 2


MEASURES = (
    Measure(
        "comprehensiveness_relative", "Comprehensiveness", "high",
        "Share of the target's probability lost when the strongest tokens are replaced.",
    ),
    Measure(
        "sufficiency_relative", "Sufficiency", "low",
        "Share of it lost when only the strongest are kept.",
    ),
    Measure(
        "comprehensiveness", "Comprehensiveness (nats)", "high",
        "Log-probability lost when the strongest are replaced.",
    ),
    Measure(
        "sufficiency", "Sufficiency (nats)", "low",
        "Log-probability lost when only the strongest are kept.",
    ),
    Measure(
        "area", "Area", "high",
        "Area between insertion and deletion curve, from -1 to 1.",
    ),
    Measure(
        "soft_nc", "Soft-NC", "high",
        "Soft normalised comprehensiveness; random scores: see the log ratio.",
    ),
    Measure("soft_ns", "Soft-NS", "high", "Soft normalised sufficiency."),
    Measure(
        "soft_nc_log_ratio", "Soft-NC, log ratio", "high",
        "Logarithm of the mean Soft-NC over that of the same scores dealt out at random.",
    ),
    Measure(
        "soft_ns_log_ratio", "Soft-NS, log ratio", "high",
        "Logarithm of the mean Soft-NS over that of the same scores dealt out at random.",
    ),
    Measure(
        "key_first", "Key first", "high",
        "Share of the prompts with a known key in which the key is ranked first.",
    ),
    Measure("seconds", "Seconds", "low", "Time of the method, mean over the prompts."),
    Measure(
        "sequences", "Sequences", "low", "Prompts that went through the model, mean.", 0
    ),
)  # fmt: skip

_COLUMNS = [measure.column for measure in MEASURES]
# What is the logarithm of the ratio of two means.
_LOG_RATIOS = {
    "soft_nc_log_ratio": ("soft_nc", "soft_nc_random"),
    "soft_ns_log_ratio": ("soft_ns", "soft_ns_random"),
}
# A method, a measure, and "mean" or "difference".
_Name = tuple[str, str, str]
_RANDOM = [random for _, random in _LOG_RATIOS.values()]

SUMMARY_COLUMNS = [
    "model", "method", "label", "measure", "n", "mean", "low", "high",
    "difference", "difference_low", "difference_high", "pairs",
]  # fmt: skip


def summary(study: Study, results: pd.DataFrame) -> pd.DataFrame:
    """Means of `results` (see `export.results_frame`): one row a model, method and measure.

    `measure`: a column of `MEASURES`; `n` prompts have it. `mean`, with `low` and `high`, the 95%
    interval over prompts; `difference` to the study's first method over `pairs` prompts, with its
    own. What is not known is NaN. Models, methods and measures are in the order of the study.
    """
    done = results[results["status"] == "done"]
    records = []
    for model in study.models:
        own = done[done["model"] == model]
        tables = {
            name: table.set_index("row").sort_index()[_COLUMNS + _RANDOM].astype("float64")
            for name in study.methods
            if not (table := own[own["method"] == name]).empty
        }
        first = tables.get(study.methods[0])
        numbers = {}
        for name, table in tables.items():
            for column in _COLUMNS:
                numbers[name, column, "mean"] = _number(table, column)
                if first is not None and name != study.methods[0]:
                    numbers[name, column, "difference"] = _difference(table, first, column)
        means = _means(numbers)
        for name, table in tables.items():
            for column in _COLUMNS:
                mean = means[name, column, "mean"]
                apart = means.get((name, column, "difference"), _Mean())
                if column == "key_first":
                    mean = _share(table[column].dropna())
                records.append(
                    (model, name, label_of(name), column, mean.n, mean.mean, mean.low, mean.high,
                     apart.mean, apart.low, apart.high, apart.n)
                )  # fmt: skip
    return pd.DataFrame(records, columns=SUMMARY_COLUMNS)


def counts(study: Study, results: pd.DataFrame) -> pd.DataFrame:
    """For each model its prompts: `done`, `failed`, and `waiting` that have not ended."""
    rows = len(study.rows)
    records = []
    for model in study.models:
        own = results[results["model"] == model]
        failed = int((own["status"] == "failed").sum())
        ended = own["row"].nunique()
        records.append((model, ended - failed, failed, rows - ended))
    return pd.DataFrame(records, columns=["model", "done", "failed", "waiting"])


def finding(study: Study, results: pd.DataFrame, model: str) -> str:
    """One sentence: whose orders are the most faithful with a model, by the area between the
    curves, over the prompts that all methods have.

    A method is told apart from the best where the mean difference is above 0 by Student's t, at a
    confidence that allows for the comparisons of all methods with each other (Bonferroni): the same
    prompts say which is the best.
    """
    table = _areas(results, model)
    if table.empty:
        return "Nothing is known of the faithfulness yet."
    best, *others = (str(name) for name in table.columns)
    prompts = f"{len(table):,} prompt{'' if len(table) == 1 else 's'}"
    if not others:
        return f"{label_of(best)} has a mean area of {table[best].mean():.2f} on {prompts}."
    if len(table) < ENOUGH:
        return (
            f"{label_of(best)} has the largest area on {prompts}: too few to tell it from the "
            "others."
        )
    level = [name for name in others if not _ahead(table, best, name)]
    if len(level) == len(others):
        return f"On {prompts} no method is clearly ahead; {label_of(best)} has the largest area."
    lead = f"{label_of(best)} orders the tokens most faithfully on {prompts}"
    if not level:
        return f"{lead}, ahead of every other method beyond chance."
    return f"{lead}; {_listed([label_of(name) for name in level])} cannot be told from it."


def _ahead(table: pd.DataFrame, best: str, other: str) -> bool:
    """Whether the areas of one method are larger than those of another beyond chance."""
    from scipy.stats import t as student

    apart = (table[best] - table[other]).to_numpy()
    pairs = math.comb(len(table.columns), 2)
    reach = student.ppf(1 - (1 - CONFIDENCE) / (2 * pairs), len(apart) - 1)
    error = apart.std(ddof=1) / np.sqrt(len(apart))
    # Equal differences look like certainty; they only have not varied yet.
    return bool(np.ptp(apart) >= EQUAL and apart.mean() > reach * error)


def best_method(results: pd.DataFrame, model: str) -> str | None:
    """The method with the largest mean area over the prompts that all have; None without any."""
    table = _areas(results, model)
    return None if table.empty else str(table.columns[0])


def _areas(results: pd.DataFrame, model: str) -> pd.DataFrame:
    """Areas by prompt (row) and method (column), the largest mean first."""
    own = results[(results["status"] == "done") & (results["model"] == model)]
    table: pd.DataFrame = own.pivot(index="row", columns="method", values="area").dropna()
    return table[table.mean().sort_values(ascending=False, kind="stable").index]


def _listed(names: Sequence[str]) -> str:
    """ "a, b and c"."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


@dataclass(frozen=True)
class _Mean:
    """The mean of `n` values with its interval; NaN where there is none."""

    n: int = 0
    mean: float = np.nan
    low: float = np.nan
    high: float = np.nan


@dataclass(frozen=True)
class _Number:
    """A number that many prompts give together: `of` makes it [B] of the means [B, C] of `columns`
    [n, C] over the prompts that have all of them."""

    columns: pd.DataFrame
    of: Callable[[FloatArray], FloatArray]


def _number(table: pd.DataFrame, column: str) -> _Number:
    """The mean of a measure over prompts, or a log ratio of means."""
    if column in _LOG_RATIOS:
        return _Number(table[[*_LOG_RATIOS[column]]], _log_ratio)
    return _Number(table[[column]], lambda means: means[:, 0])


def _difference(table: pd.DataFrame, first: pd.DataFrame, column: str) -> _Number:
    """The same of `table` minus that of `first`, over the prompts that both have."""
    if column in _LOG_RATIOS:
        names = [*_LOG_RATIOS[column]]
        both = pd.concat([table[names], first[names]], axis=1, join="inner")
        return _Number(both, lambda means: _log_ratio(means[:, :2]) - _log_ratio(means[:, 2:]))
    return _Number((table[[column]] - first[[column]]).dropna(), lambda means: means[:, 0])


def _log_ratio(means: FloatArray) -> FloatArray:
    return np.asarray(np.log(means[:, 0] / means[:, 1]))


def _means(numbers: Mapping[_Name, _Number]) -> dict[_Name, _Mean]:
    """Each number with its interval. Those of the same prompts are resampled together, which is as
    good and much faster."""
    made: dict[_Name, _Mean] = {}
    together: dict[bytes, dict[_Name, _Number]] = {}
    for name, number in numbers.items():
        known = number.columns.dropna()
        prompts = known.index.to_numpy(np.int64).tobytes()
        together.setdefault(prompts, {})[name] = _Number(known, number.of)
    for prompts, alike in together.items():
        if not prompts:
            made |= dict.fromkeys(alike, _Mean())
            continue
        ends = np.cumsum([len(number.columns.columns) for number in alike.values()])
        values = np.concatenate([number.columns.to_numpy() for number in alike.values()], axis=1)

        def told(
            means: FloatArray, alike: Mapping[_Name, _Number] = alike, ends: IntArray = ends
        ) -> FloatArray:
            """[B, M] of the means [B, C]."""
            parts = zip(alike.values(), np.split(means, ends[:-1], axis=1), strict=True)
            return np.stack([number.of(part) for number, part in parts], axis=1)

        with np.errstate(divide="ignore", invalid="ignore"):  # the logarithm of 0
            points = told(values.mean(0)[None])[0]
        low, high = bootstrap_ends(values, told)
        for i, name in enumerate(alike):
            point = float(points[i]) if np.isfinite(points[i]) else np.nan
            made[name] = _Mean(len(values), point, float(low[i]), float(high[i]))
    return made


def _share(hits: pd.Series) -> _Mean:
    """The share of hits with its Wilson interval."""
    if hits.empty:
        return _Mean()
    return _Mean(len(hits), float(hits.mean()), *share_ends(int(hits.sum()), len(hits)))
