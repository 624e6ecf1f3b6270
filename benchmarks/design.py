"""Which replaced sets, which ratio, which estimate: `python -m benchmarks.design`.

Twenty prompts; for a number of forwards, how faithful the ranking is and whether another seed
confirms it. Faithful: the log-probability lost when the top 5, 10, 20, 30% are replaced, and what
is lost when only they are kept, means over those shares and over replacements that are not the
model's own (ordinary tokens of the vocabulary, and tokens of the other prompts). The rankings were
made with the model's own ones, but for the design "uniform replacer": it was made with ordinary
tokens, half of what it is judged by, and its row is no fair comparison.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from scipy.special import logit

from benchmarks.prompts import PROMPTS
from benchmarks.record import Row, save
from benchmarks.samples import DESIGNS, SEEDS, Design, Sample, case, sample
from reagent_core import models
from reagent_core.adjustment import ridge
from reagent_core.effects import effects
from reagent_core.meter import Meter
from reagent_core.reagent import CLAMP
from reagent_core.scorers.base import FloatArray, IntArray
from reagent_core.target import Targets

BUDGETS = (48, 96)
SHARES = (0.05, 0.1, 0.2, 0.3)
DRAWS = 2  # of each of the two kinds of replacement

Estimate = Callable[[Sample, Design], FloatArray]


def mean_difference(drawn: Sample, design: Design) -> FloatArray:
    """Kept minus replaced, or the original minus replaced."""
    out = drawn.masks.astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        kept = drawn.values @ (1 - out) / (1 - out).sum(0)
        found = (drawn.original if design.anchored else kept) - drawn.values @ out / out.sum(0)
    return np.nan_to_num(found)


def adjusted_difference(drawn: Sample, design: Design) -> FloatArray:
    """What the engine reports."""
    original = np.array([drawn.original])
    found = effects(drawn.masks, drawn.values[:, None], original, anchored=design.anchored)
    return np.nan_to_num(found.mean[0])


def slopes(drawn: Sample, design: Design) -> FloatArray:
    """Ridge regression of the log-probability on the masks."""
    masks, values = drawn.masks.astype(float), drawn.values - drawn.original
    if design.anchored:
        return -ridge(masks, values, 0)
    return -ridge(masks - masks.mean(0), values - values.mean(), 1)


def published_score(drawn: Sample, design: Design) -> FloatArray:
    """Raw ReAGent scores S."""
    change = np.exp(drawn.original) - np.exp(drawn.values)
    signed = np.where(drawn.masks, change[:, None], -change[:, None])
    return np.asarray(logit(np.clip((signed + 1) / 2, CLAMP, 1 - CLAMP)).sum(0))


ESTIMATES: dict[str, Estimate] = {
    "difference of means": mean_difference,
    "the same, others taken out": adjusted_difference,
    "ridge slopes": slopes,
    "published score": published_score,
}


def first(drawn: Sample, steps: int) -> Sample:
    """The first steps of a sample."""
    return Sample(drawn.masks[:steps], drawn.values[:steps], drawn.original)


def judge(place: int, rankings: list[FloatArray]) -> list[tuple[float, float]]:
    """(drop, kept) of each ranking on one prompt, in nats; equal prompts are scored once."""
    scorer, this = models.load("bundled"), case(place)
    ids, length = np.array(this.token_ids, np.int64), len(this.token_ids)
    rng = np.random.default_rng([5, place])
    ordinary = np.asarray(scorer.tokenizer.ordinary_ids, np.int64)
    others = np.concatenate([case(i).token_ids for i in range(len(PROMPTS)) if i != place])
    new: list[IntArray] = [
        rng.choice(pool, length) for pool in (ordinary, others) for _ in range(DRAWS)
    ]
    contexts = []
    for ranking in rankings:
        order = np.argsort(-ranking, kind="stable")
        for share in SHARES:
            top = np.zeros(length, bool)
            top[order[: max(1, round(share * length))]] = True
            contexts += [np.where(mask, tokens, ids) for tokens in new for mask in (top, ~top)]
    meter = Meter(scorer, Targets((this.target,), ((0, 1),)))
    original = meter.read(ids[None]).values[0, 0]
    values = meter.read(np.stack(contexts)).values[:, 0]
    lost = original - values.reshape(len(rankings), -1, 2).mean(1)
    return [(float(drop), float(kept)) for drop, kept in lost]


def main() -> None:
    """Measure and save."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    ways = [
        (design, name, budget)
        for budget in BUDGETS
        for design in DESIGNS
        if design.steps >= budget
        for name in ESTIMATES
        if (name == "published score") == (design.name.startswith("exact") and budget == 48)
        or (name != "published score" and not (design.anchored and name.startswith("difference")))
    ]
    figures = np.zeros((len(ways) + 1, 3))  # drop, kept, overlap; the last row is a random order
    for place in range(len(PROMPTS)):
        found = [
            [ESTIMATES[name](first(sample(place, design, seed), budget), design) for seed in SEEDS]
            for design, name, budget in ways
        ]
        length = len(case(place).token_ids)
        found.append([np.random.default_rng([seed, place]).random(length) for seed in SEEDS])
        judged = judge(place, [one for one, _ in found])
        overlap = [len({*np.argsort(-a)[:5]} & {*np.argsort(-b)[:5]}) / 5 for a, b in found]
        figures += np.column_stack([judged, overlap]) / len(PROMPTS)
        print(f"prompt {place} of {length} tokens done", flush=True)
    names = [(budget, design.name, name) for design, name, budget in ways]
    names.append((0, "random order", ""))
    rows: list[Row] = [
        {
            "forwards": budget,
            "design": design,
            "estimate": estimate,
            "lost when the top is replaced": round(drop, 2),
            "lost when only it is kept": round(kept, 2),
            "difference": round(drop - kept, 2),
            "top-5 overlap of two seeds": round(overlap, 2),
        }
        for (budget, design, estimate), (drop, kept, overlap) in zip(names, figures, strict=True)
    ]
    rows.sort(key=lambda row: (-int(row["forwards"] or 0), -float(row["difference"] or 0)))
    notes = [
        "20 prompts of 5 to 80 tokens, one answer token, nats; see the file.",
        "The uniform replacer draws from ordinary tokens, and so does half of the judging: its row "
        "is no fair comparison.",
    ]
    save("design", rows, notes)


if __name__ == "__main__":
    main()
