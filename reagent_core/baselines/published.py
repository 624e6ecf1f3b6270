"""ReAGent as it was published (Zhao & Shan 2024, arXiv 2402.00794), with as much work as others.

The preset `paper`: random starts, random subsets, a stop test after every step, and the softmax
score. Only its replacer may be another one: the request's, as for all methods that are compared.
The published procedure stops as soon as its test passes, often after a few steps. So that it does
not lose for lack of work, more probes are run while the budget lasts; their mean is taken as the
paper takes that of its own.
"""

from __future__ import annotations

import numpy as np
from scipy.special import softmax

from reagent_core.baselines.case import Case, Found
from reagent_core.config import PRESETS, Config
from reagent_core.masks import Purpose, generator
from reagent_core.reagent import run
from reagent_core.scorers.base import FloatArray


def paper_config(own: Config) -> Config:
    """The preset `paper` with the granularity, replacer and seed of `own`."""
    same = {"granularity", "replacer", "replacer_model", "seed"}
    return PRESETS["paper"].model_copy(update=own.model_dump(include=same))


def reagent_paper(case: Case) -> Found:
    """score_i = softmax of the raw scores S, the mean over the probes that passed the stop test.

    Over all probes, with a warning, where none did within the budget. The first five probes are
    those of the preset.
    """
    config = paper_config(case.request.config)
    substitute, model = case.make_substitute()
    before, steps, rounds = case.meter.sequences, 0, 0

    def used_up() -> bool:
        # Of a short prompt few versions exist, and equal ones are scored once: then steps count.
        return max(case.meter.sequences - before, steps) >= case.budget

    stopped: list[FloatArray] = []
    cut_off: list[FloatArray] = []
    while not used_up():
        again = config.model_copy(update={"seed": _seed(config.seed, rounds)})
        latest: dict[int, FloatArray] = {}
        passed: set[int] = set()
        # One step of every probe at a time, so that the budget is exceeded by one step at most.
        for events in run(case.context, substitute, case.meter, again, chunk=1):
            steps += len(events)
            latest |= {event.probe: event.scores[0] for event in events}
            passed |= {event.probe for event in events if event.stopped[0]}
            if used_up():
                break
        stopped += [latest[probe] for probe in sorted(passed)]
        cut_off += [scores for probe, scores in sorted(latest.items()) if probe not in passed]
        rounds += 1
    using = stopped or cut_off
    probes = len(stopped) + len(cut_off)
    told = (
        f"{probes} probes made {steps} steps within a budget of {case.budget} sequences, with "
        f"replacements by {config.replacer}; {len(stopped)} of them passed the stop test."
    )
    warning = "No probe passed the published stop test; the scores are the mean over all probes."
    return Found(
        softmax(np.stack(using), axis=1).mean(0),
        told,
        replacer_model=model,
        warnings=() if stopped else (warning,),
        config=config,
    )


def _seed(seed: int, number: int) -> int:
    """The seed of a round of probes; that of the first is the request's own."""
    if not number:
        return seed
    return int(generator(seed, Purpose.ROUND, number).integers(2**63))
