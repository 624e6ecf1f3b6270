"""Ours beside Captum: `python -m benchmarks.vs_captum`.

Time, work, and how well each ranking says which tokens the answer hangs on: how far the answer's
log-probability falls when the tokens ranked first are replaced by ones that no method has seen.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from statistics import fmean, median, median_low

import numpy as np
from pydantic import BaseModel, Field

from benchmarks.prompts import PROMPTS
from benchmarks.record import save
from benchmarks.tools.worker import TOLERANCE, Job, Outcome
from benchmarks.venvs import Tool, job_for, ours
from reagent_core import models
from reagent_core.config import PRESETS
from reagent_core.prompt import Prompt
from reagent_core.replacers.uniform import UniformReplacer
from reagent_core.scorers.base import BoolArray, FloatArray, IntArray, Scorer

PACKAGES = ("captum==0.9.0",)

# Prompts of about 25, 30 and 90 tokens.
CHOSEN = (12, 13, 19)
ANSWER_TOKENS = 10

# What a ranking is judged by: these shares of the prompt replaced, the mean over so many draws.
SHARES = (0.1, 0.2)
DRAWS = 8
RANDOM_ORDERS = 8

# Sequences in one forward of the judging, which is not timed.
_BATCH = 16

Method = Callable[[Job], Outcome]


class Row(BaseModel):
    """One method: on one prompt, or on all of them together.

    Seconds and work: medians over the runs, added up over prompts. Drops: means.
    """

    prompt: str
    method: str
    seconds: float | None = None
    ratio: float | None = Field(None, serialization_alias="time / our Standard")
    forwards: int | None = Field(None, serialization_alias="forward passes")
    sequences: int | None = None
    tokens: int | None = None
    drop_10: float | None = Field(None, serialization_alias="drop, top 10% replaced (nats)")
    drop_20: float | None = Field(None, serialization_alias="drop, top 20% replaced (nats)")


STANDARD = "ours, Standard"


def our_methods(scorer: Scorer) -> dict[str, Method]:
    """Quick and Standard, by the name of their rows."""
    return {
        "ours, Quick": lambda job: ours(job, PRESETS["quick"], scorer),
        STANDARD: lambda job: ours(job, PRESETS["standard"], scorer),
    }


def alternating(first: dict[str, Method], second: dict[str, Method]) -> dict[str, Method]:
    """The methods of both sides in turns: ours, theirs, ours, theirs."""
    rest = [list(first.items()), list(second.items())]
    mixed = []
    while any(rest):
        mixed += [side.pop(0) for side in rest if side]
    return dict(mixed)


def measure(
    methods: dict[str, Method], jobs: Sequence[Job], runs: int
) -> list[dict[str, list[Outcome]]]:
    """For each job, the outcomes of every method: one a run, run i with seed i."""
    outcomes: list[dict[str, list[Outcome]]] = [{name: [] for name in methods} for _ in jobs]
    for run in range(runs):
        for job, mine in zip(jobs, outcomes, strict=True):
            for name, method in methods.items():
                mine[name].append(method(dataclasses.replace(job, seed=run)))
                print(f"run {run + 1}: {name}: {mine[name][-1].seconds:.1f} s", flush=True)
    return outcomes


def log_probabilities(scorer: Scorer, contexts: IntArray, answer_ids: Sequence[int]) -> FloatArray:
    """Log-probability of the answer after each of the prompts [B, L] (nats), [B]."""
    given = np.tile(np.asarray(answer_ids[:-1], np.int64), (len(contexts), 1))
    inputs = np.concatenate([contexts, given], axis=1)
    parts = [
        scorer.score(inputs[low : low + _BATCH], answer_ids).log_probabilities.sum(1)
        for low in range(0, len(inputs), _BATCH)
    ]
    return np.concatenate(parts)


def drops(scorer: Scorer, job: Job, orders: FloatArray) -> FloatArray:
    """How far the answer falls (nats) for each of R rankings and each share, [R, shares].

    `orders` [R, L]: scores of the prompt's tokens. A token that two rankings name is replaced
    by the same eight random tokens of the vocabulary in both.
    """
    length = len(job.prompt_ids)
    substitute = UniformReplacer(scorer.tokenizer).prepare(Prompt("", tuple(job.prompt_ids), ()))
    draws = np.random.default_rng(0).random((DRAWS, length))
    prompt = np.asarray([job.prompt_ids], np.int64)
    whole = log_probabilities(scorer, prompt, job.answer_ids)[0]
    known: dict[bytes, float] = {}  # rankings often agree

    def drop(scores: FloatArray, share: float) -> float:
        mask: BoolArray = np.zeros(length, bool)
        mask[np.argsort(-scores, kind="stable")[: max(1, round(share * length))]] = True
        if (key := mask.tobytes()) not in known:
            contexts = substitute(np.tile(mask, (DRAWS, 1)), draws)
            known[key] = whole - log_probabilities(scorer, contexts, job.answer_ids).mean()
        return known[key]

    return np.array([[drop(scores, share) for share in SHARES] for scores in orders])


def work_row(job: Job, name: str, outcomes: Sequence[Outcome], standard: float) -> Row:
    """Seconds and work of one method on one prompt; `standard`: seconds of our Standard."""
    seconds = median(outcome.seconds for outcome in outcomes)
    return Row(
        prompt=f"{len(job.prompt_ids)} tokens",
        method=name,
        seconds=seconds,
        ratio=seconds / standard,
        forwards=median_low(outcome.forwards for outcome in outcomes),
        sequences=median_low(outcome.sequences for outcome in outcomes),
        tokens=median_low(outcome.tokens for outcome in outcomes),
    )


def rank_rows(
    scorer: Scorer, jobs: Sequence[Job], outcomes: Sequence[dict[str, list[Outcome]]]
) -> tuple[list[Row], list[Row]]:
    """Rows of all prompts together, and of each prompt; last a random order, for scale."""
    each: list[Row] = []
    for job, mine in zip(jobs, outcomes, strict=True):
        standard = median(outcome.seconds for outcome in mine[STANDARD])
        rows = [work_row(job, name, found, standard) for name, found in mine.items()]
        orders = [np.array([run.finding.scores for run in found]) for found in mine.values()]
        rows.append(Row(prompt=rows[0].prompt, method="random order"))
        orders.append(np.random.default_rng(1).random((RANDOM_ORDERS, len(job.prompt_ids))))
        for row, of_runs in zip(rows, orders, strict=True):
            drop_10, drop_20 = drops(scorer, job, of_runs).mean(0)
            each.append(row.model_copy(update={"drop_10": drop_10, "drop_20": drop_20}))
    names = list(dict.fromkeys(row.method for row in each))
    groups = {name: [row for row in each if row.method == name] for name in names}
    standard = sum(row.seconds or 0 for row in groups[STANDARD])
    together = [
        Row(
            prompt=f"all {len(jobs)}",
            method=name,
            seconds=sum(row.seconds or 0 for row in rows) or None,
            ratio=sum(row.seconds or 0 for row in rows) / standard or None,
            forwards=sum(row.forwards or 0 for row in rows) or None,
            sequences=sum(row.sequences or 0 for row in rows) or None,
            tokens=sum(row.tokens or 0 for row in rows) or None,
            drop_10=fmean(row.drop_10 or 0 for row in rows),
            drop_20=fmean(row.drop_20 or 0 for row in rows),
        )
        for name, rows in groups.items()
    ]
    return together, each


def rank_notes(runs: int) -> list[str]:
    """What a reader of the rankings' table has to know."""
    return [
        f"One answer token; runs: {runs}, ours and theirs in turns, run i with seed i; medians of "
        "the times and of the work, means of the drops.",
        "Drop: by how much the answer's log-probability falls when the tokens ranked first (at "
        f"least one) are replaced by random tokens of the vocabulary, mean of {DRAWS} draws, the "
        "same for all methods; no method was given these replacements. Higher is better.",
        "Our seconds hold the generation of the answer and the prediction of replacements; our "
        "counts do not hold those few passes. Both sides read the same weights: the answer's "
        f"log-probability was checked to be the same within {TOLERANCE} nats.",
    ]


def ablation_error(scorer: Scorer, job: Job, scores: Sequence[float]) -> float:
    """How far FeatureAblation's scores are from what it should compute (nats, largest).

    Its default baseline is token 0 of the vocabulary.
    """
    prompt = np.asarray(job.prompt_ids, np.int64)
    contexts = np.tile(prompt, (len(prompt) + 1, 1))
    contexts[np.arange(len(prompt)), np.arange(len(prompt))] = 0
    found = log_probabilities(scorer, contexts, job.answer_ids)
    return float(np.abs(found[-1] - found[:-1] - np.asarray(scores)).max())


def main() -> None:
    """Two tables for one answer token, one for a whole answer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--prompts", type=int, default=len(CHOSEN), help="the first N of three")
    options = parser.parse_args()
    scorer = models.load("bundled")
    jobs = [job_for(PROMPTS[index], 1, scorer) for index in CHOSEN[: options.prompts]]
    answer = job_for(PROMPTS[CHOSEN[0]], ANSWER_TOKENS, scorer)
    warm = job_for(PROMPTS[0], 1, scorer)
    with Tool("captum", PACKAGES) as tool:

        def theirs(method: str) -> Method:
            return lambda job: tool.run(dataclasses.replace(job, method=method))

        def methods(names: Sequence[str]) -> dict[str, Method]:
            return alternating(
                our_methods(scorer), {f"Captum, {name}": theirs(name) for name in names}
            )

        single = methods(["FeatureAblation", "ShapleyValueSampling"])
        measure(single, [warm], 1)
        outcomes = measure(single, jobs, options.runs)
        passes = [f"FeatureAblation{mode}" for mode in ("", ", one pass")]
        several = methods([*passes, "ShapleyValueSampling, one pass"])
        (whole,) = measure(several, [answer], options.runs)
    wrong = max(
        ablation_error(scorer, job, mine["Captum, FeatureAblation"][0].finding.scores)
        for job, mine in zip([*jobs, answer], [*outcomes, whole], strict=True)
    )
    notes = [
        f"{PACKAGES[0]}: ShapleyValueSampling with 25 samples, one sequence a forward pass, which "
        "is all that LLMAttribution takes; use_cached_outputs=False. FeatureAblation's scores "
        f"were checked against a direct computation: {wrong:.1e} nats off at most.",
    ]
    together, each = rank_rows(scorer, jobs, outcomes)
    save("captum", together, [*rank_notes(options.runs), *notes])
    save("captum-prompts", each, [*rank_notes(options.runs), *notes])
    standard = median(outcome.seconds for outcome in whole[STANDARD])
    save(
        "captum-answer",
        [work_row(answer, name, runs, standard) for name, runs in whole.items()],
        [
            f"An answer of {ANSWER_TOKENS} tokens, every token of it explained; runs: "
            f"{options.runs}, ours and theirs in turns, medians. Captum reads the answer token by "
            "token by default, or in one pass; ShapleyValueSampling token by token makes "
            f"{ANSWER_TOKENS} times the passes shown.",
            *notes,
        ],
    )


if __name__ == "__main__":
    main()
