"""Check an explanation on its own model: does replacing its strongest units destroy the answer?"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from reagent_core.baselines.methods import label_of
from reagent_core.check import (
    DRAWS,
    Check,
    KeyFound,
    SoftMeasures,
    SoftMissing,
    another_replacer,
    kinship,
    replacer_of,
)
from reagent_core.config import ReplacerName
from reagent_core.erasure import erased, plan, read
from reagent_core.errors import InputError, OutOfMemory
from reagent_core.explain import shared_prefix
from reagent_core.explanation import Explanation
from reagent_core.faithfulness import checked_order, faithfulness, key_rank
from reagent_core.keys import key_places
from reagent_core.masks import Purpose, generator
from reagent_core.meter import Meter
from reagent_core.method_words import spoken, strength
from reagent_core.prompt import Prompt
from reagent_core.rebuild import rebuilt
from reagent_core.replacers.choose import make_replacer
from reagent_core.scorers.base import Scorer, never
from reagent_core.sentences import Measure, main_measure, target_name
from reagent_core.soft import EmbeddingScorer, NoSoft, soft_measures
from reagent_core.target import Readings, Targets, measure
from reagent_core.trust import sentence, standing
from reagent_core.wording import quoted

MOST_DRAWS = 100

# The target's value may differ so much (nats) before it is said that this is another model.
_SAME_VALUE = 0.05

# The same for every target and all scores, so that a study can count the prompts.
_WHY_NO_SOFT: dict[NoSoft, str] = {
    "other_from_embeddings": "There are no soft measures: they zero parts of token embeddings, and "
    "from embeddings this model computes another probability of the target than from token ids.",
    "same_when_zeroed": "There are no soft measures: the model predicts the same when the token "
    "embeddings of the whole prompt are zeroed.",
    "nothing_important": "By {method}, nothing in the prompt speaks for the target, so it has no "
    "soft measures.",
}


@dataclass(frozen=True)
class CheckProgress:
    """How many of `total` prompts are read; the last one has the `check`."""

    done: int
    total: int
    check: Check | None = None


def other_replacer(explanation: Explanation, scorer: Scorer) -> ReplacerName:
    """What a check on this model replaces with unless told otherwise: see `another_replacer`. Of a
    method that replaces nothing it goes by its request, as of those it is compared with."""
    closed = scorer.tokenizer.encode("a", add_special_tokens=True).closed
    plain = closed or bool(scorer.requests_for(1, 1))
    return another_replacer(explanation.config.replacer, plain=plain)


def check(
    explanation: Explanation,
    scorer: Scorer,
    *,
    replacer: ReplacerName | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    key: str | None = None,
    cancelled: Callable[[], bool] = never,
) -> Iterator[CheckProgress]:
    """Check an explanation; yields after every few forwards, and at last the check.

    `replacer`: see `other_replacer`. `key`: a text the prompt is known to hinge on. In a long
    prompt the units that the steps replaced are checked; the parts looked at as a whole stay. Equal
    arguments give equal numbers, but for the rounding of another batch size.

    Raises:
        InputError: the explanation cannot be checked with this model, or a number is out of range.
        ModelError: the model or the replacer failed.
        Cancelled: `cancelled()` became true.
    """
    started = time.perf_counter()
    if not 1 <= draws <= MOST_DRAWS:
        raise InputError(f"The number of draws must be from 1 to {MOST_DRAWS}.", "settings")
    scorer = scorer.for_run(cancelled)
    kind = main_measure(explanation)
    order = order_of(explanation, kind, seed)
    prompt, targets = rebuilt(explanation, scorer, set(order))
    name = replacer or other_replacer(explanation, scorer)
    config = explanation.config.model_copy(update={"replacer": name})
    chosen = make_replacer(config, scorer, cancelled)
    meter = Meter(scorer, targets, cancelled, None, shared_prefix(prompt, scorer))
    original = float(meter.read(np.asarray([prompt.token_ids], np.int64)).values[0, 0])
    column = {unit: i for i, unit in enumerate(prompt.free_units)}
    planned = plan(np.array([column[unit] for unit in order], np.int64), draws, seed)
    yield CheckProgress(0, len(planned))
    substitute = chosen.prepare(prompt)
    readings: list[Readings] = []
    done = 0
    for part in read(prompt, planned, substitute, meter, seed):
        readings.append(part)
        done += len(part.values)
        yield CheckProgress(done, len(planned))
    values = np.concatenate([part.values[:, 0] for part in readings])
    found = faithfulness(erased(planned, values), original, targets)
    bounded = sum(int(part.bounded.sum()) for part in readings)
    contest = found.contest
    kin = kinship(replacer_of(explanation), name)
    soft = soft_if_it_fits(explanation, prompt, targets, scorer, seed, cancelled)
    unit = "part" if explanation.units[order[0]].coarse else explanation.config.granularity
    yield CheckProgress(
        done,
        done,
        Check(
            text=sentence(contest, target_name(explanation), unit),
            standing=standing(contest),
            target=explanation.target,
            measure=kind,
            order=order,
            points=tuple(planned.at.tolist()),
            deletion=found.deletion,
            insertion=found.insertion,
            beaten=contest.beaten,
            orders=contest.orders,
            faster=contest.faster,
            half=contest.half,
            shares=found.shares,
            mean=found.mean,
            soft=soft.measures,
            key=None if key is None else _key(explanation, key, kind, seed),
            replacer=name,
            replacer_model=chosen.model,
            same_replacer=kin == "same",
            same_proposals=kin == "proposals",
            model=scorer.info,
            draws=draws,
            seed=seed,
            notes=(*_notes(explanation, scorer, original, bounded, key), *soft.notes),
            counts=meter.counts().model_copy(update={"requests": scorer.requests}),
            seconds=round(time.perf_counter() - started, 3),
        ),
    )


def check_now(
    explanation: Explanation,
    scorer: Scorer,
    *,
    replacer: ReplacerName | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    key: str | None = None,
) -> Check:
    """`check` to its end, for scripts and notebooks."""
    steps = check(explanation, scorer, replacer=replacer, draws=draws, seed=seed, key=key)
    (found,) = (step.check for step in steps if step.check is not None)
    return found


def order_of(explanation: Explanation, kind: Measure, seed: int = 0) -> tuple[int, ...]:
    """Units that were ranked, strongest first and ties at random (see `checked_order`); then, at
    random, those too few steps tell about."""
    ranked = checked_order(explanation, kind, seed)
    if not ranked:
        raise InputError(
            "Too few steps were run to rank anything, so there is no order to check. Explain the "
            "prompt with more steps.",
            "file",
        )
    coarse = explanation.units[ranked[0]].coarse
    alike = [
        i
        for i, unit in enumerate(explanation.units)
        if (unit.coarse if coarse else unit.stepped) and i not in ranked
    ]
    shuffled = generator(seed, Purpose.TIES).permutation(alike).tolist()
    return (*ranked, *shuffled)


def _key(explanation: Explanation, key: str, kind: Measure, seed: int) -> KeyFound:
    ranked = checked_order(explanation, kind, seed)
    rank = key_rank(explanation, key, kind, seed)
    return KeyFound(text=key, rank=rank, units=len(ranked))


@dataclass(frozen=True)
class SoftFound:
    """Soft measures, or why they are `missing`; `notes`: what to know about them."""

    measures: SoftMeasures | None
    missing: SoftMissing | None = None
    notes: tuple[str, ...] = ()


def soft_if_it_fits(
    explanation: Explanation,
    prompt: Prompt,
    targets: Targets,
    scorer: Scorer,
    seed: int = 0,
    cancelled: Callable[[], bool] = never,
) -> SoftFound:
    """`soft_of`, with what to know about it. For lack of memory there are none: all that was
    measured before is kept. Nothing is noted of models that have no embeddings to change, as those
    behind servers."""
    try:
        found = soft_of(explanation, prompt, targets, scorer, seed, cancelled)
    except OutOfMemory:
        told = "There is too little memory for the soft measures of this prompt; they are left out."
        return SoftFound(None, "not_measurable", (told,))
    if found is None:
        return SoftFound(None, "not_measurable")
    if not isinstance(found, SoftMeasures):
        missing: SoftMissing = found if found == "nothing_important" else "not_measurable"
        told = _WHY_NO_SOFT[found].format(method=spoken(label_of(explanation.method)))
        return SoftFound(None, missing, (told,))
    target = explanation.target
    if target.instead_of is None:
        return SoftFound(found)
    alone, foil = quoted(target.text), quoted(target.instead_of.text)
    told = f"The soft measures are of {alone} alone, not of it rather than {foil}."
    return SoftFound(found, notes=(told,))


def soft_of(
    explanation: Explanation,
    prompt: Prompt,
    targets: Targets,
    scorer: Scorer,
    seed: int = 0,
    cancelled: Callable[[], bool] = never,
) -> SoftMeasures | NoSoft | None:
    """The soft measures of what an explanation ranks its units by (see `soft_measures`); None where
    the model's embeddings cannot be changed.

    `prompt`, `targets`: those of the explanation (see `rebuilt`), on its one target. Against a foil
    they are of the target alone: distances between distributions know no other token.

    Raises:
        Cancelled: `cancelled()` became true.
        OutOfMemory: not even one prompt fits.
    """
    if not isinstance(scorer, EmbeddingScorer):
        return None
    by_score = main_measure(explanation) == "score"
    units = [explanation.units[i] for i in prompt.free_units]
    known = [strength(unit) if by_score else unit.effect for unit in units]
    scores = np.array([value or 0.0 for value in known])
    plain = replace(targets, foil=None)
    value = measure(scorer, np.asarray([prompt.token_ids], np.int64), plain).values[0, 0]
    return soft_measures(prompt, plain, scores, scorer, float(value), seed, cancelled=cancelled)


def _notes(
    explanation: Explanation, scorer: Scorer, original: float, bounded: int, key: str | None
) -> tuple[str, ...]:
    notes = []
    if key is not None and not key_places(explanation.prompt + explanation.answer, key):
        notes.append(
            f"The key {quoted(key)} is not in the prompt as a whole word, capitals as they are."
        )
    if scorer.info != explanation.model or abs(original - explanation.target.value) > _SAME_VALUE:
        notes.append(
            f"The explanation was made with {explanation.model.id}; this check used "
            f"{scorer.info.id}, which is another model or another version of it."
        )
    if any(unit.coarse for unit in explanation.units) and any(u.stepped for u in explanation.units):
        notes.append("Parts of the prompt that were looked at as a whole stayed as they are.")
    if explanation.status != "complete":
        notes.append("The explanation is not finished.")
    if bounded:
        notes.append(
            f"After {bounded} of the replaced prompts the server did not list the target: "
            "at least as much is lost as is told here."
        )
    return tuple(notes)
