"""From the published notebook's file to an `Explanation`, with effects and a verdict.

Every complaint names the place ("iteration 17, replaced_indices[3]"); nothing is half imported.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from reagent_core.config import Config
from reagent_core.curves import softmax
from reagent_core.errors import InputError
from reagent_core.explanation import Counts, Explanation, Step, TargetInfo, UnitScore
from reagent_core.notebook import Iteration, read_rows
from reagent_core.notebook_checks import (
    BoolArray,
    FloatArray,
    check_count,
    check_modified,
    gaps,
    masks_of,
    numbers_of,
    prompt_of,
    scores_of,
    share,
)
from reagent_core.notebook_replacements import replacements
from reagent_core.notebook_settings import settings_of
from reagent_core.notebook_target import Target, Tried, target_of, tried_of
from reagent_core.notebook_tokens import Tokens, rebuilt_tokens
from reagent_core.request import ModelInfo

MOST_ITERATIONS = 10_000

UNKNOWN = ModelInfo(id="unknown", revision_or_sha256="unknown")


def import_notebook(data: list[Any]) -> Explanation:
    """The explanation that the file's parsed JSON `data` holds.

    Its tokens are not in the file: the first sentence of `verdict.warnings` says how they were
    rebuilt. Steps keep the notebook's d and scores; effects (nats) and their 95% intervals are
    computed from the probabilities.

    Raises:
        InputError: the file cannot be used; the sentence says where and why (field "file").
    """
    if not data:
        raise InputError("This notebook file holds no iterations: its list is empty.", "file")
    if len(data) > MOST_ITERATIONS:
        raise InputError(
            f"This notebook file holds {len(data):,} iterations; at most {MOST_ITERATIONS:,} can "
            "be imported.",
            "file",
        )
    rows = read_rows(data)
    numbers = numbers_of(rows)
    places = [f"iteration {number}" for number in numbers]
    prompt = prompt_of(rows, places)
    scores, notes = scores_of(rows, places)
    replaced = masks_of(rows, places, scores.shape[1])
    check_count(prompt, scores.shape[1], places[0])
    check_modified(rows, places, prompt)
    target = target_of(rows, places)
    tried = tried_of(rows, places, target)
    tokens = rebuilt_tokens(prompt, scores.shape[1])
    trace, about_texts = _trace(rows, prompt, tokens, replaced, tried, scores)
    warnings = (tokens.told, *gaps(numbers), *notes, *tried.warnings, *about_texts)
    config = settings_of(rows, replaced, tried.changes)
    return _explanation(prompt, tokens, target, tried, replaced, scores, config, trace, warnings)


def _trace(
    rows: Sequence[Iteration],
    prompt: str,
    tokens: Tokens,
    replaced: BoolArray,
    tried: Tried,
    scores: FloatArray,
) -> tuple[tuple[Step, ...], tuple[str, ...]]:
    """The steps, and what to say about their replacements."""
    indices = [np.flatnonzero(mask).tolist() for mask in replaced]
    texts = [prompt[start:end] for start, end in tokens.spans]
    became = replacements(texts, indices, [row.modified_input for row in rows], tokens.tokenizer)
    trace = tuple(
        Step(
            probe=0,
            step=k,
            replaced=tuple(indices[k]),
            replacements=became.texts[k],
            probability=float(tried.probabilities[k]),
            value=math.log(tried.probabilities[k]),
            change=float(tried.changes[k]),
            scores=tuple(scores[k].tolist()),
            bounded=bool(tried.bounded[k]),
        )
        for k in range(len(rows))
    )
    warnings = []
    if became.uncertain:
        warnings.append(
            f"In {share(became.uncertain, len(rows))} it cannot be told which of the replaced "
            "tokens became which part of the text; it is shared out in order."
        )
    if became.unknown:
        warnings.append(
            f"In {share(became.unknown, len(rows))} it cannot be told what the replaced tokens "
            "became; their replacements are left empty."
        )
    return trace, tuple(warnings)


def _explanation(
    prompt: str,
    tokens: Tokens,
    target: Target,
    tried: Tried,
    replaced: BoolArray,
    scores: FloatArray,
    config: Config,
    trace: tuple[Step, ...],
    warnings: tuple[str, ...],
) -> Explanation:
    from reagent_core.convergence import Evidence, judge
    from reagent_core.effects import effects  # SciPy

    values, original = np.log(tried.probabilities), math.log(target.probability)
    found = effects(
        replaced,
        values[:, None],
        np.array([original]),
        anchored=config.anchored,
        probes=np.zeros(len(values), np.int64),
    )
    evidence = Evidence(
        replaced=replaced,
        values=values,
        probes=np.zeros(len(values), np.int64),
        stopped=(),
        mean=found.mean[0],
        low=found.low[0],
        high=found.high[0],
        original=original,
        bounded=0,  # told in the notebook's own words
    )
    # The file does not say whether a stop test passed; `finished` would complain that none did.
    verdict = judge(evidence, config, finished=len(tokens.spans) == 1, can_go_on=False)
    final = softmax(scores[-1])
    bounded = tried.bounded[:, None]
    at_least = np.any(replaced & bounded, axis=0)
    if not config.anchored:  # a bound in a step that kept a unit pulls its effect the other way
        at_least &= ~np.any(~replaced & bounded, axis=0)

    def number(value: float) -> float | None:
        return None if math.isnan(value) else float(f"{value:.7g}")

    return Explanation(
        source="notebook",
        prompt=prompt,
        answer="".join(token.text for token in target.answer),
        answer_tokens=target.answer,
        target=TargetInfo(
            text=target.text,
            token_ids=(),
            probability=target.probability,
            value=original,
            answer_start=0,
            answer_stop=1,
        ),
        units=tuple(
            UnitScore(
                text=prompt[start:end],
                start=start,
                end=end,
                protected=False,
                score=float(final[i]),
                effect=number(found.mean[0, i]),
                effect_low=number(found.low[0, i]),
                effect_high=number(found.high[0, i]),
                at_least=bool(at_least[i]),
            )
            for i, (start, end) in enumerate(tokens.spans)
        ),
        verdict=verdict.model_copy(update={"warnings": (*warnings, *verdict.warnings)}),
        config=config,
        model=UNKNOWN,
        replacer_model=UNKNOWN,
        versions={},
        counts=Counts(forwards=0, sequences=0, tokens=0),
        seconds=0.0,
        trace=trace,
    )
