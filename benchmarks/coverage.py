"""How often the 95% intervals of effects hold what they promise: `python -m benchmarks.coverage`.

On ten prompts of the dev part, one of each kind: the effects after 20,000 steps are taken for the
truth, and many runs of the default with other seeds are asked how many of their intervals contain
them. Equal prompts are scored once for all runs of a prompt, so nearly all of the time goes into
arithmetic.
A prompt that is done is not done again when the command is run again.
"""

from __future__ import annotations

import argparse
import hashlib

import numpy as np
from pydantic import BaseModel
from scipy.stats import bootstrap

from benchmarks.longra import Example, evenly, examples
from benchmarks.record import Row, save
from benchmarks.resumed import append, lines
from reagent_core import models
from reagent_core.config import PRESETS, Config
from reagent_core.effects import Effects, effects
from reagent_core.explain import shared_prefix
from reagent_core.meter import Meter
from reagent_core.prompt import build_prompt
from reagent_core.reagent import run
from reagent_core.replacers.choose import make_replacer
from reagent_core.request import METHOD_VERSION
from reagent_core.scorers.base import Scorer
from reagent_core.target import Targets

DEFAULT = PRESETS["standard"]
LONG_STEPS = 20_000
PROMPTS, RUNS = 10, 100

# Draws of the long run are none that a run makes.
LONG_RUN = DEFAULT.model_copy(
    update={"probes": 4, "min_steps": LONG_STEPS // 4, "max_steps": LONG_STEPS // 4, "seed": 10**6}
)

# What the share of intervals that contain the effect should be, of 95% ones.
GOAL = (0.93, 0.97)

# A difference (nats) below rounding is none.
ROUNDING = 1e-5


class Covered(BaseModel):
    """What the runs of one prompt came to; lists have a value for each run.

    `inside`: share of its intervals that contain the long-run effect, over the `known` intervals;
    `top`: the same of its three strongest units. `half`: median half-width of those, nats.
    `error`: median distance to the long-run effect of the same, nats.
    """

    key: str
    prompt: str
    kind: str
    tokens: int
    inside: list[float]
    known: list[int]
    units: int
    top: list[float]
    half: list[float]
    error: list[float]
    steps: list[int]
    sequences: int


def covered(example: Example, scorer: Scorer, runs: int, key: str) -> Covered:
    """The long run, then `runs` runs of the default with seeds from 0 on."""
    prompt = build_prompt(example.prompt, scorer.tokenizer)
    whole = scorer.tokenizer.encode(f"{example.prompt} {example.target}", add_special_tokens=True)
    target = whole.token_ids[len(prompt.token_ids) :]
    targets = Targets(target, ((0, len(target)),))
    meter = Meter(scorer, targets, prefix=shared_prefix(prompt, scorer))
    substitute = make_replacer(DEFAULT, scorer).prepare(prompt)
    original = meter.read(np.asarray([prompt.token_ids], np.int64)).values[0]

    def found(config: Config) -> tuple[Effects, int]:
        events = [event for part in run(prompt, substitute, meter, config) for event in part]
        replaced = np.stack([event.replaced for event in events])
        values = np.stack([event.values for event in events])
        probes = np.array([event.probe for event in events])
        found = effects(replaced, values, original, anchored=config.anchored, probes=probes)
        return found, len(events)

    truth = found(LONG_RUN)[0].mean[0]
    strongest = np.argsort(-truth)[:3]
    made = Covered(
        key=key, prompt=example.prompt, kind=example.kind, tokens=len(prompt.token_ids),
        units=len(truth), inside=[], known=[], top=[], half=[], error=[], steps=[], sequences=0,
    )  # fmt: skip
    for seed in range(runs):
        own, steps = found(DEFAULT.model_copy(update={"seed": seed}))
        low, high = own.low[0], own.high[0]
        known = ~np.isnan(low)
        inside = (low <= truth + ROUNDING) & (truth - ROUNDING <= high)
        made.inside.append(float(inside[known].mean()))
        made.known.append(int(known.sum()))
        made.top.append(float(inside[strongest].mean()))
        made.half.append(float(np.median((high - low)[strongest] / 2)))
        made.error.append(float(np.median(np.abs(own.mean[0] - truth)[strongest])))
        made.steps.append(steps)
    return made.model_copy(update={"sequences": meter.sequences})


def chosen(count: int, scorer: Scorer) -> list[Example]:
    """The shortest dev prompt of each kind in turn."""

    def length(example: Example) -> int:
        return len(scorer.tokenizer.encode(example.prompt, add_special_tokens=True).token_ids)

    return evenly(sorted(examples("dev"), key=lambda each: (length(each), each.prompt)), count)


def row(name: str, parts: list[Covered]) -> Row:
    """One prompt, or all."""
    return {
        "prompt": name,
        "tokens": round(np.mean([part.tokens for part in parts])),
        "steps": float(np.mean([steps for part in parts for steps in part.steps])),
        "intervals that contain it": share([part.inside for part in parts]),
        "of the three strongest": share([part.top for part in parts]),
        "half-width (nats)": float(np.median([half for part in parts for half in part.half])),
        "error (nats)": float(np.median([error for part in parts for error in part.error])),
        "intervals unknown": float(1 - np.mean([np.mean(p.known) / p.units for p in parts])),
    }


def share(found: list[list[float]]) -> str:
    """The mean, with its interval over prompts where there are several."""
    means = np.array([np.mean(each) for each in found])
    told = f"{means.mean():.1%}"
    if len(means) < 2 or not np.ptp(means):
        return told
    interval = bootstrap((means,), np.mean, rng=np.random.default_rng(0)).confidence_interval
    return f"{told} ({interval.low:.1%} to {interval.high:.1%})"


def note(parts: list[Covered], runs: int) -> str:
    """How it was measured, and on how many prompts the goal is met."""
    low, high = GOAL
    # As in the table: the words and the numbers must not contradict each other.
    means = [round(float(np.mean(part.inside)), 3) for part in parts]
    below, above = (sum(mean < low for mean in means), sum(mean > high for mean in means))
    return (
        f"{runs} runs of the preset Standard with other seeds on each prompt of the dev part; "
        f"effects of all units after {LONG_STEPS:,} steps are taken for the truth. Of "
        f"{len(parts)} prompts {len(parts) - below - above} lie inside {low:.0%} to {high:.0%}, "
        f"{below} below and {above} above. In the last row, means over prompts with their "
        "bootstrap intervals. Half-width and error are medians, of the three strongest units."
    )


def main() -> None:
    """Measure what is missing, and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=PROMPTS)
    parser.add_argument("--runs", type=int, default=RUNS)
    given = parser.parse_args()
    scorer = models.load("bundled")
    done = {line.key: line for line in lines("coverage", Covered)}
    parts = []
    for example in chosen(given.prompts, scorer):
        told = [METHOD_VERSION, scorer.info, DEFAULT, LONG_RUN, given.runs, example]
        key = hashlib.sha256(repr(told).encode()).hexdigest()
        if key not in done:
            done[key] = covered(example, scorer, given.runs, key)
            append("coverage", done[key])
        parts.append(done[key])
        print(f"{example.prompt} … {share([done[key].inside])}", flush=True)
    rows = [row(part.prompt, [part]) for part in parts]
    save("coverage", [*rows, row("all", parts)], [note(parts, given.runs)])


if __name__ == "__main__":
    main()
