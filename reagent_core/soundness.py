"""Whether an explanation from elsewhere says only what can be.

Its types are right already (`explanation.from_data`). Here its numbers are compared with each
other, so that no page meets an index that is not there, a probability of 7, or a value whose
exponential overflows.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from reagent_core.errors import InputError
from reagent_core.explanation import Explanation, Step
from reagent_core.request import GivenText, Request

MAX_CHARACTERS = 1_000_000  # of prompt and answer
MAX_SENTENCE = 10_000  # characters of any text about them, of a token or a target (256 tokens)
MAX_SCORES = 10_000_000  # of all steps of one target
_MAX_INTEGER = 10**9
# Nats; a raw score grows by 14 a step at most.
_MAX_VALUE = 1e6
_ROUNDING = 1e-3


def check_sound(explanation: Explanation) -> None:
    """Accept an explanation that can be shown.

    Raises:
        InputError: it cannot be true; the sentence says where and why (field "file").
    """
    if explanation.status == "running":
        raise InputError(
            "This file holds a run that had not ended. Export it again when it has.", "file"
        )
    for path, each in _every(explanation):
        for problem in _problems(each):
            raise InputError(f"This file is not a valid explanation: {path}{problem}.", "file")
        if each is not explanation and (each.explanations or each.words):
            raise InputError(
                f"This file is not a valid explanation: {path}explanations: they are nested.",
                "file",
            )


def _every(explanation: Explanation) -> Iterator[tuple[str, Explanation]]:
    """The explanation and its inner ones, each with where it stands in the file."""
    yield "", explanation
    for name in ("explanations", "words"):
        for i, each in enumerate(getattr(explanation, name) or ()):
            yield f"{name}[{i}].", each


def _problems(explanation: Explanation) -> Iterator[str]:
    """What is wrong, place first; the caller takes the first and no more is looked for."""
    yield from _about_texts(explanation)
    yield from _about_answer(explanation)
    yield from _about_units(explanation)
    yield from _about_steps(explanation)
    for i, fact in enumerate(explanation.facts):
        if not (1 <= fact.draws <= _MAX_INTEGER and _is_probability(fact.probability)):
            yield f"facts[{i}]: these are no draws with a probability"
    figures = {**explanation.counts.model_dump(), "seconds": explanation.seconds}
    figures |= explanation.verdict.model_dump(exclude={"settled", "text", "warnings"})
    for name, figure in figures.items():
        if not 0 <= figure <= _MAX_INTEGER:
            yield f"{name}: it is out of range"


def _about_texts(explanation: Explanation) -> Iterator[str]:
    length = len(explanation.prompt) + len(explanation.answer)
    if length > MAX_CHARACTERS:
        yield f"prompt: it has {length:,} characters with its answer; {MAX_CHARACTERS:,} are read"
    verdict, models = explanation.verdict, {"model": explanation.model}
    if explanation.replacer_model is not None:
        models["replacer_model"] = explanation.replacer_model
    texts = {
        "verdict.text": verdict.text,
        "interruption": explanation.interruption or "",
        **{f"{name}.id": model.id for name, model in models.items()},
        **{f"{name}.revision": model.revision_or_sha256 for name, model in models.items()},
        "config.replacer_model": explanation.config.replacer_model,
        **{f"verdict.warnings[{i}]": text for i, text in enumerate(verdict.warnings)},
        **{f"versions.{key}": key + text for key, text in explanation.versions.items()},
    }
    for name, text in texts.items():
        if len(text) > MAX_SENTENCE:
            yield f"{name[:60]}: it is longer than {MAX_SENTENCE:,} characters"
        if "\x00" in text:
            yield f"{name[:60]}: it holds a NUL character"
    target = explanation.target
    foil = target.instead_of
    for name, text in (("text", target.text), ("instead_of.text", foil.text if foil else "")):
        if len(text) > MAX_SENTENCE:
            yield f"target.{name}: it is longer than {MAX_SENTENCE:,} characters"
    typed = sum(len(turn.content) for turn in explanation.messages or ())
    if typed > MAX_CHARACTERS:
        yield f"messages: they are longer than {MAX_CHARACTERS:,} characters"
    if explanation.request is not None:
        yield from _about_request(explanation.request)


def _about_request(request: Request) -> Iterator[str]:
    prompt, target = request.prompt, request.target
    typed = [prompt] if isinstance(prompt, str) else [turn.content for turn in prompt]
    given = [target.text, target.instead_of or ""] if isinstance(target, GivenText) else []
    for name, texts, most in (
        ("prompt", ["".join(typed)], MAX_CHARACTERS),
        ("target", given, MAX_SENTENCE),
        ("model", [request.model, request.config.replacer_model], MAX_SENTENCE),
    ):
        if max(map(len, texts), default=0) > most:
            yield f"request.{name}: it is longer than {most:,} characters"


def _about_answer(explanation: Explanation) -> Iterator[str]:
    at, length = 0, len(explanation.answer)
    for i, token in enumerate(explanation.answer_tokens):
        if not at <= token.start <= token.end <= length:
            yield f"answer_tokens[{i}]: its characters are not the next of the answer"
        at = token.end
        listed = (token.text, *(other.text for other in token.alternatives))
        if max(map(len, listed)) > MAX_SENTENCE:
            yield f"answer_tokens[{i}]: a token is longer than {MAX_SENTENCE:,} characters"
        if not _is_probability(token.probability) or not all(
            _is_probability(other.probability) for other in token.alternatives
        ):
            yield f"answer_tokens[{i}]: a probability is not between 0 and 1"
        if not abs(token.token_id) <= _MAX_INTEGER:
            yield f"answer_tokens[{i}].token_id: it is out of range"
    target = explanation.target
    start, stop = target.answer_start, target.answer_stop
    if (start is None) != (stop is None):
        yield "target: one of answer_start and answer_stop is missing"
    if (
        start is not None
        and stop is not None
        and (not 0 <= start < stop <= len(explanation.answer_tokens))
    ):
        yield "target: there are no answer tokens from answer_start to answer_stop"
    if not _is_probability(target.probability):
        yield f"target.probability: {target.probability:g} is not between 0 and 1"
    if target.instead_of is not None and not _is_probability(target.instead_of.probability):
        yield "target.instead_of.probability: it is not between 0 and 1"
    if not _is_value(target.value, explanation):
        yield f"target.value: {target.value:g} is no such logarithm"


def _about_units(explanation: Explanation) -> Iterator[str]:
    at, length = 0, len(explanation.prompt) + len(explanation.answer)
    for i, unit in enumerate(explanation.units):
        if not at <= unit.start <= unit.end <= length:
            yield f"units[{i}]: its characters are not the next of the text"
        at = unit.end
        if unit.score is not None and not _is_probability(unit.score):
            yield f"units[{i}].score: {unit.score:g} is not between 0 and 1"
        low, high = unit.effect_low, unit.effect_high
        for name, nats in (("effect", unit.effect), ("effect_low", low), ("effect_high", high)):
            if nats is not None and abs(nats) > _MAX_VALUE:
                yield f"units[{i}].{name}: {nats:g} is out of range"
        if low is not None and high is not None and low > high:
            yield f"units[{i}]: its interval from {low:g} to {high:g} is upside down"


def _about_steps(explanation: Explanation) -> Iterator[str]:
    free = {i for i, unit in enumerate(explanation.units) if unit.stepped}
    trace = explanation.trace
    # A token of one character may become a word, and every unit something from a vocabulary.
    most = [10 * len(unit.text) + 1_000 for unit in explanation.units]
    if len(trace) * len(free) > MAX_SCORES:
        yield f"trace: {len(trace):,} steps of {len(free):,} scores are more than are read"
    for i, step in enumerate(trace):
        where = f"trace[{i}]"
        if not (0 <= step.probe < explanation.config.probes and 0 <= step.step <= 1_000_000):
            yield f"{where}: there is no such step, or no such probe"
        if not free.issuperset(step.replaced) or len(set(step.replaced)) < len(step.replaced):
            yield f"{where}.replaced: a unit is protected, or named twice"
        for j, (unit, text) in enumerate(zip(step.replaced, step.replacements, strict=True)):
            if len(text) > most[unit]:
                yield f"{where}.replacements[{j}]: it is longer than {most[unit]:,} characters"
        if len(step.scores) != len(free):
            yield f"{where}.scores: there are {len(step.scores)}, and {len(free)} units to score"
        yield from (f"{where}.{problem}" for problem in _about_numbers(step, explanation))
    made = {(step.probe, step.step) for step in trace}
    if len(made) < len(trace) or any(after.step < step.step for step, after in pairwise(trace)):
        yield "trace: its steps are not in order, or one is there twice"


def _about_numbers(step: Step, explanation: Explanation) -> Iterator[str]:
    if not _is_probability(step.probability):
        yield f"probability: {step.probability:g} is not between 0 and 1"
    if not -1 - _ROUNDING <= step.change <= 1 + _ROUNDING:
        yield f"change: {step.change:g} is not between -1 and 1"
    if not _is_value(step.value, explanation):
        yield f"value: {step.value:g} is no such logarithm"
    if step.scores and not max(max(step.scores), -min(step.scores)) <= _MAX_VALUE * 1000:
        yield "scores: one is out of range"
    if step.rank is not None and not 1 <= step.rank <= _MAX_INTEGER:
        yield "rank: it is out of range"


def _is_probability(number: float) -> bool:
    return 0 <= number <= 1 + _ROUNDING


def _is_value(nats: float, explanation: Explanation) -> bool:
    """Whether it can be a log-probability, or the log-odds against a foil."""
    highest = _MAX_VALUE if explanation.target.instead_of is not None else _ROUNDING
    return -_MAX_VALUE <= nats <= highest
