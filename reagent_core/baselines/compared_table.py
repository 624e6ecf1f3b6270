"""A comparison of methods as a table: what each found, how faithful it is, what it cost."""

from __future__ import annotations

from typing import Any

import pandas as pd

from reagent_core.baselines.compared import Faithful, MethodResult, MethodsCompared
from reagent_core.baselines.compared_words import strongest
from reagent_core.export import csv_text

_ESTIMATES = (
    "comprehensiveness", "sufficiency", "soft_sufficiency", "soft_comprehensiveness"
)  # fmt: skip
_LOG_RATIOS = ("soft_sufficiency_log_ratio", "soft_comprehensiveness_log_ratio")


def methods_frame(compared: MethodsCompared) -> pd.DataFrame:
    """One row a method; what is not known is missing.

    `strongest`: its three strongest units with their shares. `area`, `beaten` of `orders` random
    orders, `standing`: see `Faithful`. `comprehensiveness`, `sufficiency` (nats) and
    `soft_comprehensiveness`, `soft_sufficiency`, each with the ends `_low` and `_high` of its 95%
    interval; of the soft ones also `_log_ratio`, to the same scores dealt out to the units at
    random: flat scores, even random ones, raise the soft measures themselves. `seconds` and the
    counts: see `Counts`. `tau_METHOD`: Kendall's tau with that method. `key`: of its explanation in
    the library.
    """
    rows = [method_row(result) for result in compared.results]
    for row, taus in zip(rows, compared.agreement, strict=True):
        for other, tau in zip(compared.results, taus, strict=True):
            row[f"tau_{other.method}"] = tau
    return pd.DataFrame(rows)


def methods_csv(compared: MethodsCompared) -> str:
    """The table as CSV; no cell is a formula to a spreadsheet."""
    return csv_text(methods_frame(compared), ["label", "strongest"])


def method_row(result: MethodResult) -> dict[str, Any]:
    """What the table says of one method, without its agreement with the others."""
    explanation, faithful = result.explanation, result.faithful
    counts = explanation.counts
    return {
        "method": result.method,
        "label": result.label,
        "strongest": strongest(explanation),
        "area": None if faithful is None else faithful.area,
        "random_area": None if faithful is None else faithful.random_area,
        "beaten": None if faithful is None else faithful.beaten,
        "orders": None if faithful is None else faithful.orders,
        "standing": None if faithful is None else faithful.standing,
        **_intervals(faithful),
        "seconds": explanation.seconds,
        "sequences": counts.sequences,
        "forwards": counts.forwards,
        "backwards": counts.backwards,
        "tokens": counts.tokens,
        "requests": counts.requests,
        "key": result.key,
    }


def _intervals(faithful: Faithful | None) -> dict[str, float | None]:
    known = faithful.estimates() if faithful else {}
    found: dict[str, float | None] = {}
    for name in _ESTIMATES:
        estimate = known.get(name)
        found[name] = estimate.mean if estimate else None
        found[f"{name}_low"] = estimate.low if estimate else None
        found[f"{name}_high"] = estimate.high if estimate else None
    ratios = faithful.log_ratios() if faithful else {}
    return found | {name: ratios.get(name) for name in _LOG_RATIOS}
