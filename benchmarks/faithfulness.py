"""How faithful the default is beside all other methods: `python -m benchmarks.faithfulness`.

On the test part of the shipped word-pair prompts. Every method explains the target by as many
sequences as the default, ReAGent's preset Standard, scored on that prompt; what a method finds is
then judged by another replacer than that of the explanations, by the same draws for all. As many
prompts at a time as there are cores, a core each. A prompt that is done is not done again when the
command is run again; all of it takes more than an hour on two cores.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache

from benchmarks.faithfulness_tables import HARD, SOFT, Done, Judged, table, work
from benchmarks.longra import Example, evenly, examples
from benchmarks.record import save
from benchmarks.resumed import append, lines
from reagent_core import models
from reagent_core.baselines.attribute import attribute
from reagent_core.baselines.compared import METHODS_VERSION
from reagent_core.baselines.comparison import Faithful, faithful_all
from reagent_core.baselines.methods import METHODS, REAGENT, method_named
from reagent_core.check import DRAWS, another_replacer
from reagent_core.checker import other_replacer
from reagent_core.config import PRESETS
from reagent_core.continued import answer_before
from reagent_core.explain import explain_now
from reagent_core.explanation import Explanation
from reagent_core.faithfulness import key_rank
from reagent_core.request import METHOD_VERSION, GivenText, Request
from reagent_core.scorers.base import Scorer
from reagent_core.sentences import main_measure

DEFAULT = PRESETS["standard"]
NAMES = (REAGENT, *(method.name for method in METHODS))


@cache
def bundled() -> Scorer:
    """The model, once a process; they share the cores, not one another's threads."""
    import torch

    torch.set_num_threads(1)
    return models.load("bundled")


def key_of(example: Example, scorer: Scorer) -> str:
    """What decides the numbers of a prompt."""
    told = [METHOD_VERSION, METHODS_VERSION, scorer.info, DEFAULT, NAMES, DRAWS, example]
    return hashlib.sha256(repr(told).encode()).hexdigest()


def done_on(example: Example) -> Done:
    """Explain a prompt by all methods, and judge them."""
    scorer = bundled()
    target = GivenText(text=f" {example.target}")
    request = Request(prompt=example.prompt, target=target, max_new_tokens=1, config=DEFAULT)
    contrast = target.model_copy(update={"instead_of": f" {example.foil}"})
    rather = explain_now(request.model_copy(update={"target": contrast}), scorer)
    own = explain_now(request, scorer)
    explanations = {REAGENT: own}
    for name in NAMES[1:]:
        explanations[name] = attribute(
            method_named(name), request, scorer, answered=answer_before(own),
            budget=own.counts.sequences,
        )  # fmt: skip
    replacer = other_replacer(own, scorer)
    faithful = faithful_all(list(explanations.values()), scorer, replacer)
    return Done(
        key=key_of(example, scorer),
        example=example,
        units=len([unit for unit in own.units if unit.stepped]),
        found={
            each.method: judged(each, told, example)
            for each, told in zip(explanations.values(), faithful, strict=True)
            if told is not None
        },
        rather_rank=key_rank(rather, example.key),
    )


def judged(explanation: Explanation, faithful: Faithful, example: Example) -> Judged:
    """What the tables are made of."""
    return Judged(
        method=explanation.method,
        counts=explanation.counts,
        key_rank=key_rank(explanation, example.key, main_measure(explanation)),
        mean=faithful.mean,
        soft=faithful.soft,
    )


def main() -> None:
    """Judge what is missing, and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, help="so many, evenly over the kinds; all without")
    parser.add_argument("--split", choices=("test", "dev"), default="test")
    given = parser.parse_args()
    every = examples(given.split)
    wanted = {key_of(example, bundled()): example for example in evenly(every, given.prompts)}
    known = {line.key: line for line in lines("faithfulness", Done)}
    missing = [example for key, example in wanted.items() if key not in known]
    started, cores = time.perf_counter(), os.cpu_count() or 1
    spawned = multiprocessing.get_context("spawn")  # a fork of a process with torch in it can hang
    with ProcessPoolExecutor(cores, mp_context=spawned) as pool:
        running = [pool.submit(done_on, example) for example in missing]
        for number, future in enumerate(as_completed(running), start=1):
            done = future.result()
            known[done.key] = done
            append("faithfulness", done)
            seconds = time.perf_counter() - started
            print(f"{number} of {len(missing)}, {seconds:.0f} s: {done.example.prompt}", flush=True)
    parts = [known[key] for key in wanted]
    suffix = "" if given.split == "test" else f"-{given.split}"
    about = (
        f"{len(parts)} of {len(every)} prompts of the {given.split} part, of which "
        f"{sum(part.example.key_needed for part in parts)} need their key; bundled model, preset "
        "Standard. Means over prompts with 95% bootstrap intervals, then the place among the "
        "methods; = where the interval of the difference to ReAGent, on the same prompts, holds 0."
    )
    judging = (
        f"Units are replaced by {another_replacer(DEFAULT.replacer, plain=False)}, {DRAWS} draws; "
        "means over the strongest 5, 10, 20 and 30% (rounded, at least one unit). Sufficiency: the "
        "lower the better; comprehensiveness: the higher."
    )
    softly = (
        "The higher the better. Importance is the score divided by the largest, 0 where negative; "
        "random is the same importance dealt out to the units at random, so that only its order "
        "counts. As they are, both measures favour flat scores, which keep and zero more, even "
        "random ones."
    )
    equal = (
        "Equal forwards: methods that sample may score as many sequences as ReAGent did on the "
        "prompt, its stop tests and facts included, equal prompts counted once. Integrated "
        "gradients and gradient SHAP take 50 points, with a gradient each (about two forwards "
        "more); other gradients and attention take the one that they are defined by."
    )
    hits = (
        "Key is strongest: how often the word that the prompt is known to hinge on has the largest "
        "effect, where it is needed. The word right before the answer often has a larger one: it "
        "decides what kind of word comes at all. Which one of its kind it is, is what is asked "
        "with this rather than that (the answer of another prompt of the kind). Intervals of the "
        "share: Wilson's, at 95%."
    )
    save(f"faithfulness{suffix}", table(parts, HARD), [about, judging])
    save(f"faithfulness-soft{suffix}", table(parts, SOFT), [about, softly])
    save(f"faithfulness-work{suffix}", [work(parts, name) for name in NAMES], [about, equal, hits])


if __name__ == "__main__":
    main()
