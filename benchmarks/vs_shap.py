"""Ours beside SHAP: `python -m benchmarks.vs_shap`.

PartitionExplainer with its own text masker on the answer's log-probability, by the measures of
the comparison with Captum.
"""

from __future__ import annotations

import argparse

from benchmarks.prompts import PROMPTS
from benchmarks.record import save
from benchmarks.venvs import Tool, job_for
from benchmarks.vs_captum import (
    CHOSEN,
    alternating,
    measure,
    our_methods,
    rank_notes,
    rank_rows,
)
from reagent_core import models

PACKAGES = ("shap==0.51.0",)


def main() -> None:
    """A table of all prompts together, and one of each prompt."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--prompts", type=int, default=len(CHOSEN), help="the first N of three")
    options = parser.parse_args()
    scorer = models.load("bundled")
    jobs = [job_for(PROMPTS[index], 1, scorer) for index in CHOSEN[: options.prompts]]
    with Tool("shap", PACKAGES) as tool:
        methods = alternating(our_methods(scorer), {"SHAP, PartitionExplainer": tool.run})
        measure(methods, [job_for(PROMPTS[0], 1, scorer)], 1)  # compiles, and warms both up
        outcomes = measure(methods, jobs, options.runs)
    notes = [
        *rank_notes(options.runs),
        f"{PACKAGES[0]} with max_evals=500, its default, and its text masker, which puts ... in "
        "place of what it masks; texts go to the model in the batches that SHAP makes of them, "
        "padded, and only the place that is read meets the vocabulary.",
    ]
    together, each = rank_rows(scorer, jobs, outcomes)
    save("shap", together, notes)
    save("shap-prompts", each, notes)


if __name__ == "__main__":
    main()
