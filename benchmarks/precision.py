"""How narrow the intervals get: `python -m benchmarks.precision`.

Half-width of the 95% intervals of the five largest effects, median over them and twenty prompts,
against the forwards spent, for each design and replacer.
"""

from __future__ import annotations

import argparse

import numpy as np

from benchmarks.design import first
from benchmarks.prompts import PROMPTS
from benchmarks.record import Row, save
from benchmarks.samples import DESIGNS, SEEDS, Design, sample
from reagent_core.effects import CONFIDENCE, effects

BUDGETS = (24, 48, 72, 96)


def half_width(place: int, design: Design, seed: int, steps: int) -> float:
    """Median half-width (nats) of the five largest effects; infinite where one is not known."""
    drawn = first(sample(place, design, seed), steps)
    original = np.array([drawn.original])
    found = effects(drawn.masks, drawn.values[:, None], original, anchored=design.anchored)
    half = np.nan_to_num(found.half_width(CONFIDENCE)[0], nan=np.inf)
    top = np.argsort(-np.nan_to_num(found.mean[0], nan=-np.inf))[:5]
    return float(np.median(half[top]))


def main() -> None:
    """Measure and save."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    rows: list[Row] = []
    for design in DESIGNS:
        row: Row = {
            "design": design.name,
            "replacer": "uniform" if design.uniform else "own model",
        }
        for budget in BUDGETS:
            if budget <= design.steps:
                widths = [half_width(place, design, seed, budget)
                          for place in range(len(PROMPTS)) for seed in SEEDS]  # fmt: skip
                value = float(np.median(widths))
                row[f"{budget} forwards"] = round(value, 2) if np.isfinite(value) else "unknown"
            else:
                row[f"{budget} forwards"] = ""
        rows.append(row)
    save("precision", rows, ["Nats; median over the top five and over 20 prompts and 2 seeds."])


if __name__ == "__main__":
    main()
