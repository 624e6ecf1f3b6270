"""Made-up, valid explanations for tests of the views: a few short prompts with chosen effects."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Sequence

from reagent_core.config import Config
from reagent_core.explanation import (
    Alternative,
    AnswerToken,
    Counts,
    Explanation,
    Fact,
    Foil,
    Step,
    TargetInfo,
    UnitScore,
    Verdict,
)
from reagent_core.request import ModelInfo, Turn

# A unit is its text, or its text with (effect, low, high) in nats; None: protected.
UnitSpec = tuple[str, tuple[float, float, float] | None]

BANGKOK: tuple[UnitSpec, ...] = (
    ("When", (0.1, -0.3, 0.5)),
    (" my", (0.0, -0.4, 0.4)),
    (" flight", (0.3, -0.1, 0.7)),
    (" landed", (0.2, -0.2, 0.6)),
    (" in", (0.1, -0.3, 0.5)),
    (" Thailand", (math.log(50), math.log(20), math.log(120))),
    (",", (-0.4, -0.9, 0.1)),
    (" I", (0.0, -0.3, 0.3)),
    (" was", (0.05, -0.3, 0.4)),
    (" in", (0.2, -0.2, 0.6)),
    (" the", (-0.1, -0.5, 0.3)),
    (" capital", (2.0, 1.2, 2.8)),
    (" city", (1.2, 0.5, 1.9)),
    (" of", (0.6, 0.1, 1.1)),
)


def answer_tokens(texts: Sequence[str], probability: float = 0.42) -> tuple[AnswerToken, ...]:
    """One token a text; offsets are those of the texts joined."""
    tokens, at = [], 0
    for number, text in enumerate(texts):
        tokens.append(
            AnswerToken(
                text=text,
                start=at,
                end=at + len(text),
                token_id=100 + number,
                probability=probability,
                alternatives=(
                    Alternative(text=" Paris", probability=0.12),
                    Alternative(text=" Phuket", probability=0.03),
                ),
            )
        )
        at += len(text)
    return tuple(tokens)


def make_units(specs: Sequence[UnitSpec]) -> tuple[UnitScore, ...]:
    """Units that tile their joined text; scores are the softmax of the effects."""
    total = sum(math.exp(numbers[0]) for _, numbers in specs if numbers)
    units, at = [], 0
    for text, numbers in specs:
        effect, low, high = numbers or (None, None, None)
        units.append(
            UnitScore(
                text=text,
                start=at,
                end=at + len(text),
                protected=numbers is None,
                score=None if effect is None else math.exp(effect) / total,
                effect=effect,
                effect_low=low,
                effect_high=high,
            )
        )
        at += len(text)
    return tuple(units)


def make_trace(
    units: Sequence[UnitScore], value: float, steps: int, *, odds: bool = False
) -> tuple[Step, ...]:
    """Steps whose values follow the effects, with a little seeded noise.

    `value`: of the target under the original prompt (nats), log-odds with `odds`.
    """
    draw = random.Random(7)
    free = [i for i, unit in enumerate(units) if not unit.protected]

    def probability(value: float) -> float:
        return math.exp(value) / (1 + math.exp(value)) if odds else math.exp(value)

    trace = []
    for number in range(steps):
        replaced = tuple(i for i in free if draw.random() < 0.3) or (free[0],)
        loss = sum(units[i].effect or 0.0 for i in replaced)
        tried = value - loss + draw.gauss(0, 0.2)
        if not odds:
            tried = min(tried, -1e-6)
        trace.append(
            Step(
                probe=number % 2,
                step=number // 2 + 1,
                replaced=replaced,
                replacements=tuple(" Greece" if i == 5 else " other" for i in replaced),
                probability=probability(tried),
                value=tried,
                change=probability(value) - probability(tried),
                scores=tuple(0.0 for _ in free),
            )
        )
    return tuple(trace)


def make_explanation(
    specs: Sequence[UnitSpec] = BANGKOK,
    answer: Sequence[str] = (" Bangkok",),
    target: tuple[int, int] = (0, 1),
    *,
    instead_of: str | None = None,
    messages: tuple[Turn, ...] | None = None,
    status: str = "complete",
    steps: int = 40,
    probability: float = 0.42,
    fact: float | None = 0.004,
    config: Config | None = None,
) -> Explanation:
    """One explanation of answer tokens `target` (start, stop)."""
    tokens = answer_tokens(answer, probability)
    units = make_units(specs)
    chosen = tokens[slice(*target)]
    free = [i for i, unit in enumerate(units) if unit.effect is not None]
    strongest = max(free, key=lambda i: units[i].effect or 0.0, default=None)
    joint = math.prod(token.probability for token in chosen)
    value = sum(math.log(token.probability) for token in chosen)
    foil = None
    if instead_of is not None:
        foil = Foil(text=instead_of, token_ids=(9,), probability=0.08)
        value -= math.log(foil.probability)
    facts = (
        ()
        if fact is None or strongest is None
        else (Fact(unit=strongest, draws=8, probability=fact),)
    )
    return Explanation(
        status=status,
        prompt="".join(text for text, _ in specs),
        messages=messages,
        answer="".join(answer),
        answer_tokens=tokens,
        target=TargetInfo(
            text="".join(token.text for token in chosen),
            token_ids=tuple(token.token_id for token in chosen),
            probability=joint,
            value=value,
            answer_start=target[0],
            answer_stop=target[1],
            instead_of=foil,
        ),
        units=units,
        facts=facts,
        verdict=Verdict(
            settled=True,
            text="Settled: the five most important tokens have not changed for 31 steps and "
            "2 of 2 probes agree.",
            top=5,
            steps=steps // 2,
            unchanged_steps=31,
            probes=2,
            probes_agreeing=2,
            probes_stopped=2,
            more_steps=0,
        ),
        config=config or Config(probes=2),
        model=ModelInfo(id="bundled", revision_or_sha256="0" * 64),
        versions={"python": "3.11"},
        counts=Counts(forwards=12, sequences=80, tokens=1200),
        seconds=3.2,
        trace=make_trace(units, value, steps, odds=foil is not None) if free else (),
    )


def without_intervals(explanation: Explanation) -> Explanation:
    """The same effects, but how sure they are is not known."""
    unknown = {"effect_low": None, "effect_high": None}
    units = tuple(unit.model_copy(update=unknown) for unit in explanation.units)
    return explanation.model_copy(update={"units": units})


def with_scores(explanation: Explanation, scores: Sequence[float | None]) -> Explanation:
    """The same effects, other ReAGent scores, one a unit."""
    units = tuple(
        unit.model_copy(update={"score": score})
        for unit, score in zip(explanation.units, scores, strict=True)
    )
    return explanation.model_copy(update={"units": units})


def make_whole_answer(
    specs: Sequence[UnitSpec] = BANGKOK,
    answer: Sequence[str] = (" Bang", "kok", ",", " of", " course", "."),
    words: Sequence[tuple[int, int]] = ((0, 2),),
    messages: tuple[Turn, ...] | None = None,
) -> Explanation:
    """Every token of the answer, and its words of several tokens; each has its own effects."""

    def inner(start: int, stop: int) -> Explanation:
        # A later token leans on other units: the effects are those of the outer, turned around.
        free = [i for i, (_, numbers) in enumerate(specs) if numbers]
        turned = free[start:] + free[:start]
        by_unit = dict(zip(free, (specs[i][1] for i in turned), strict=True))
        moved = [(text, by_unit.get(i)) for i, (text, _) in enumerate(specs)]
        return make_explanation(moved, answer, (start, stop), messages=messages)

    outer = make_explanation(specs, answer, (0, len(answer)), messages=messages)
    return outer.model_copy(
        update={
            "explanations": tuple(inner(i, i + 1) for i in range(len(answer))),
            "words": tuple(inner(*span) for span in words),
        }
    )


def make_chat() -> Explanation:
    """A whole-answer chat: protected template and system turn around a free user turn."""
    system, user = "You answer in one word.", "What is the capital of Thailand?"
    before = f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n"
    after = "<|im_end|>\n<|im_start|>assistant\n"
    free = re.findall(r"\s?\w+|[^\w\s]", user)
    effects = [(0.3 * i, 0.3 * i - 0.2, 0.3 * i + 0.2) for i in range(len(free))]
    specs: list[UnitSpec] = [(piece, None) for piece in re.findall(r"\s?\S+|\s", before)]
    specs += list(zip(free, effects, strict=True))
    specs += [(piece, None) for piece in re.findall(r"\s?\S+|\s", after)]
    turns = (Turn(role="system", content=system), Turn(role="user", content=user))
    return make_whole_answer(specs, messages=turns)
