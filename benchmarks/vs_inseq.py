"""Ours beside Inseq's ReAGent: `python -m benchmarks.vs_inseq`.

The same method with the same numbers of probes and steps, each tool's own defaults on a whole
answer, and whether the same question twice gets the same ranking.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from itertools import combinations
from statistics import fmean, median, median_low

import numpy as np
from pydantic import BaseModel, Field
from scipy.stats import spearmanr

from benchmarks.prompts import PROMPTS
from benchmarks.record import save
from benchmarks.tools.worker import TOLERANCE, Job, Outcome
from benchmarks.venvs import Tool, job_for, ours
from reagent_core import models
from reagent_core.config import PRESETS

# Inseq asks NLTK for a tagger whose data no package index has; textblob-aptagger has its origin.
PACKAGES = ("inseq==0.7.1", "nltk==3.9.2")
TAGGER = ("textblob-aptagger==0.2.0",)

PROMPT = PROMPTS[12]
ANSWER_TOKENS = 10
PROBES = 16  # Inseq's default
FULL_CAP = 40
TOP = 5

Run = Callable[[Job], Outcome]


class Row(BaseModel):
    """One tool. Times and work: medians over the runs; steps: those of all probes together."""

    tool: str
    seconds: float = Field(serialization_alias="seconds")
    spread: str = Field(serialization_alias="fastest to slowest")
    ratio: float = Field(serialization_alias="time / ours")
    steps: int = Field(serialization_alias="steps of all probes")
    stopped: int | None = Field(None, serialization_alias="probes that stopped")
    milliseconds: float = Field(serialization_alias="ms a step")
    tokens: int = Field(serialization_alias="tokens through the model")
    speed: float = Field(serialization_alias="tokens/s")
    at_full_cap: float | None = Field(
        None, serialization_alias=f"seconds if every token took {FULL_CAP} steps"
    )


class Repeatability(BaseModel):
    """How alike the rankings of one tool are under different seeds: means over pairs of seeds."""

    tool: str
    overlap: float = Field(serialization_alias=f"top-{TOP} overlap")
    spearman: float = Field(serialization_alias="Spearman")
    smallest: float = Field(serialization_alias=f"smallest top-{TOP} overlap")


def alternate(runs: int, job: Job, mine: Run, theirs: Run) -> tuple[list[Outcome], list[Outcome]]:
    """Ours, theirs, ours, theirs; run i with seed i."""
    own: list[Outcome] = []
    other: list[Outcome] = []
    for seed in range(runs):
        seeded = dataclasses.replace(job, seed=seed)
        for side, run in ((own, mine), (other, theirs)):
            side.append(run(seeded))
            print(f"{'ours' if side is own else 'Inseq'}: {side[-1].seconds:.1f} s", flush=True)
    return own, other


def row(tool: str, outcomes: Sequence[Outcome], ours_seconds: float) -> Row:
    """The medians of one tool's runs."""
    times = [outcome.seconds for outcome in outcomes]
    return Row(
        tool=tool,
        seconds=median(times),
        spread=f"{min(times):.1f} to {max(times):.1f}",
        ratio=median(times) / ours_seconds,
        steps=median_low(outcome.finding.steps for outcome in outcomes),
        milliseconds=median(1000 * o.seconds / o.finding.steps for o in outcomes),
        tokens=median_low(outcome.tokens for outcome in outcomes),
        speed=median(outcome.tokens / outcome.seconds for outcome in outcomes),
    )


def at_full_cap(outcome: Outcome) -> float:
    """Seconds Inseq would take for `FULL_CAP` steps at each answer token.

    Two forward passes a step; those that a token begins with do not grow with the steps.
    """
    missing = FULL_CAP * ANSWER_TOKENS - outcome.finding.steps / PROBES
    return outcome.seconds / outcome.forwards * (outcome.forwards + 2 * missing)


def repeatability(tool: str, outcomes: Sequence[Outcome]) -> Repeatability:
    """Over all pairs of `outcomes`, which differ by their seed alone."""
    scores = [np.asarray(outcome.finding.scores) for outcome in outcomes]
    tops = [set(np.argsort(-values, kind="stable")[:TOP].tolist()) for values in scores]
    pairs = list(combinations(range(len(scores)), 2))
    overlaps = [len(tops[i] & tops[j]) / TOP for i, j in pairs]
    return Repeatability(
        tool=tool,
        overlap=fmean(overlaps),
        spearman=fmean(float(spearmanr(scores[i], scores[j]).statistic) for i, j in pairs),
        smallest=min(overlaps),
    )


def main() -> None:
    """Three tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--cap", type=int, default=20, help="steps of a probe, one answer token")
    parser.add_argument(
        "--answer-cap", type=int, default=10, help="Inseq's steps of a probe, each answer token"
    )
    parser.add_argument(
        "--full", action="store_true", help=f"--answer-cap {FULL_CAP}, as measured before"
    )
    options = parser.parse_args()
    answer_cap = FULL_CAP if options.full else options.answer_cap
    scorer = models.load("bundled")
    one, answer = (job_for(PROMPT, tokens, scorer) for tokens in (1, ANSWER_TOKENS))
    length = len(one.prompt_ids)
    published = PRESETS["paper"].model_copy(update={"probes": PROBES, "max_steps": options.cap})
    standard = PRESETS["standard"]
    with Tool("inseq", PACKAGES, TAGGER) as tool:

        def theirs(cap: int) -> Run:
            def run(job: Job) -> Outcome:
                outcome = tool.run(dataclasses.replace(job, max_steps=cap))
                # Inseq counts the steps that its probes make together.
                steps = outcome.finding.steps * PROBES
                finding = dataclasses.replace(outcome.finding, steps=steps)
                return dataclasses.replace(outcome, finding=finding)

            return run

        warm = job_for(PROMPTS[0], 1, scorer)
        ours(warm, standard, scorer)
        theirs(1)(warm)
        same, inseq = alternate(
            options.runs, one, lambda job: ours(job, published, scorer), theirs(options.cap)
        )
        defaults, inseq_answer = alternate(
            options.runs, answer, lambda job: ours(job, standard, scorer), theirs(answer_cap)
        )

    seeds = f"runs: {options.runs}, ours and theirs in turns, run i with seed i, medians"
    about = [
        f"{PACKAGES[0]} with its defaults but for the cap: {PROBES} probes, 30% replaced, the "
        "strongest 5 kept in the stop test, which passes at the top 3. Its own limit is 3,000 "
        "steps. Its part-of-speech tagger is made from the package textblob-aptagger, whose "
        "tables NLTK's tagger was ported from, because NLTK downloads its data at run time.",
        "Tokens of ours are those of the attribution; the seconds hold the generation of the "
        "answer and the prediction of replacements too. Both sides read the same weights: the "
        f"answer's log-probability was checked to be the same within {TOLERANCE} nats.",
    ]
    base = median(outcome.seconds for outcome in same)
    stopped = {
        name: median_low(outcome.finding.probes_stopped for outcome in outcomes)
        for name, outcomes in (("ours", same), ("Inseq", inseq))
    }
    save(
        "inseq-same-work",
        [
            row(f"ours, paper, {PROBES} probes", same, base).model_copy(
                update={"stopped": stopped["ours"]}
            ),
            row("Inseq ReAGent", inseq, base).model_copy(update={"stopped": stopped["Inseq"]}),
        ],
        [
            f"One answer token after {length} tokens, {PROBES} probes, at most {options.cap} steps "
            f"each; {seeds}.",
            "Inseq goes on with all probes until the last has stopped; ours drops those that have.",
            *about,
        ],
    )
    base = median(outcome.seconds for outcome in defaults)
    rest = row("Inseq ReAGent", inseq_answer, base)
    full = median(at_full_cap(outcome) for outcome in inseq_answer)
    save(
        "inseq-defaults",
        [
            row("ours, Standard", defaults, base),
            rest.model_copy(update={"at_full_cap": full}),
        ],
        [
            f"An answer of {ANSWER_TOKENS} tokens after {length}, every token of it explained; "
            f"{seeds}.",
            f"Inseq was stopped after {answer_cap} of its 3,000 steps for each answer token, so "
            "that its time is a lower bound. One of our steps serves all answer tokens.",
            *about,
        ],
    )
    if options.runs > 1:
        seeded = [dataclasses.replace(one, seed=seed) for seed in range(options.runs)]
        settled = [ours(job, standard, scorer) for job in seeded]
        save(
            "inseq-repeatability",
            [
                repeatability("ours, Standard", settled),
                repeatability(f"ours, paper, {PROBES} probes, {options.cap} steps", same),
                repeatability(f"Inseq ReAGent, {options.cap} steps", inseq),
            ],
            [
                f"One answer token after {length} tokens, seeds 0 to {options.runs - 1}, means "
                f"over the pairs of seeds. Chance gives an overlap of {TOP / length:.2f} and a "
                "Spearman correlation of 0.",
                "Inseq's score is the mean over the probes that stopped, or over all where none "
                "did, when Inseq itself gives no number.",
                *about[:1],
            ],
        )


if __name__ == "__main__":
    main()
