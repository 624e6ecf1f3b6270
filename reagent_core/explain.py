"""From a request to an explanation: the one place where all parts of the core meet."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version

import numpy as np

from reagent_core.answer import answer_of, with_answer
from reagent_core.asked import asked
from reagent_core.assemble import Run, assemble
from reagent_core.coarse import goes_coarse_to_fine, narrow, narrowed_before
from reagent_core.continued import (
    KnownSteps,
    answer_before,
    continues,
    same_targets,
    same_units,
)
from reagent_core.errors import Cancelled, InputError, ModelError
from reagent_core.explanation import AnswerToken, Counts, Explanation, Fact
from reagent_core.facts import FACT_UNITS, facts_of
from reagent_core.meter import Meter
from reagent_core.prompt import Prompt, build_prompt
from reagent_core.reagent import context_units, run
from reagent_core.replacers.choose import check_replacer, make_replacer
from reagent_core.request import GivenText, Request, WholeAnswer
from reagent_core.scorers.base import (
    LEAST_SHARED,
    Capabilities,
    GeneratedToken,
    Prefix,
    Scorer,
    never,
)
from reagent_core.target import Readings, Targets

# Of longer prompts a single forward takes longer on a laptop than a cancel may.
MAX_PROMPT_TOKENS = 2048

# From so many tokens on a cache of the prompt pays even where every token may be replaced.
LONG_PROMPT = 200

_PACKAGES = ("reagent-dashboard", "torch", "transformers", "tokenizers", "numpy", "scipy")


@dataclass(frozen=True)
class Progress:
    """How far a run is, with what is known so far.

    `done` of at most `total` steps of all probes together (a stop test may end a probe earlier).
    `explanation`: status "running" until the last one.
    """

    done: int
    total: int
    explanation: Explanation


def explain(
    request: Request,
    scorer: Scorer,
    cancelled: Callable[[], bool] = never,
    batch_size: int | None = None,
    known: Explanation | None = None,
    answered: Sequence[GeneratedToken] = (),
) -> Iterator[Progress]:
    """Explain; yields after the answer, after every chunk of steps, and at the end.

    `known`: what a run of this request with another number of steps has found, finished or not. It
    is gone on with where `continues` says so, else the run is made from the start. Answer, steps
    and coarse effects are taken over; what is run is the original prompt, the proposals for
    replacements, new steps, the last stop tests and the facts. The outcome is that of the whole
    run asked for at once; a model that rounds in other ways in other batches changes the last
    digits. The first progress holds all known steps; counts and seconds are those of both runs.

    `answered`: what the model answers to this prompt, where somebody has asked it already.

    The last progress holds the explanation with status "complete", or "cancelled" or "interrupted"
    with what was found until then. Equal requests with equal `batch_size` (None: the scorer's own)
    give equal bits; another batch size changes rounding alone.

    Raises:
        InputError: the request cannot be carried out; the sentence says why.
        Cancelled: cancelled before the answer was there, and all that is known.
    """
    started = time.perf_counter()
    config, shared_scorer = request.config, scorer
    scorer = scorer.for_run(cancelled)
    check_capabilities(request, scorer.capabilities)
    prompt = build_prompt(request.prompt, scorer.tokenizer, config.granularity, request.protected)
    check_length(prompt, request, scorer)
    replacer = make_replacer(config, scorer, cancelled)
    if known is not None and not continues(request, known, scorer.info, replacer.model):
        known = None
    before = known.counts if known else Counts(forwards=0, sequences=0, tokens=0)
    generated = answer_before(known) if known else tuple(answered)
    if not generated:
        generated = scorer.generate(prompt.token_ids, request.max_new_tokens, cancelled)
    answer, tokens = answer_of(prompt, generated, scorer.tokenizer)
    targets, infos = asked(request, prompt, scorer, answer, tokens)
    context = prompt
    if request.attribute_answer and not isinstance(request.target, GivenText):
        context, targets = in_context(prompt, tokens, targets)
    meter = Meter(
        scorer, targets, cancelled, batch_size, shared_prefix(context, scorer),
        before.forwards, before.sequences, before.tokens, before.discarded,
    )  # fmt: skip
    original = meter.read(np.asarray([context.token_ids], np.int64))
    check_seen(original)
    infos = tuple(
        info.model_copy(update={"value": float(value)})
        for info, value in zip(infos, original.values[0], strict=True)
    )
    coarse_to_fine = goes_coarse_to_fine(len(context.free_units), config)
    if known is not None and not (
        same_targets(infos, known) and same_units(known, coarse_to_fine=coarse_to_fine)
    ):
        yield from explain(request, shared_scorer, cancelled, batch_size, answered=answered)
        return
    state = Run(
        request=request,
        text=prompt.text,
        prompt=context,
        context=context_units(context, targets),
        answer=answer,
        answer_tokens=tokens,
        infos=infos,
        original=original,
        model=scorer.info,
        replacer_model=replacer.model,
        versions=versions(),
        decode=scorer.tokenizer.decode,
    )
    total = config.probes * (config.max_steps if len(context.free_units) > 1 else config.min_steps)

    def progress(
        status: str,
        facts: tuple[tuple[Fact, ...], ...] = (),
        interruption: str | None = None,
    ) -> Progress:
        seconds = time.perf_counter() - started + (known.seconds if known else 0.0)
        requests = before.requests + scorer.requests
        counts = meter.counts().model_copy(update={"requests": requests})
        explanation = assemble(state, status, counts, seconds, facts, interruption)
        return Progress(len(state.events), total, explanation)

    steps_known = max((step.step + 1 for step in known.trace), default=0) if known else 0

    def catching_up() -> bool:
        return state.step() < steps_known

    if not catching_up():
        yield progress("running")
    try:
        substitute = replacer.prepare(context)
        if coarse_to_fine:
            again = narrowed_before(context, list(known.every())) if known else None
            looks = [again] if again else (
                narrow(context, substitute, meter, original.values[0], config.seed)
            )  # fmt: skip
            for found in looks:
                context = found.prompt
                state = replace(
                    state,
                    prompt=context,
                    context=context_units(context, targets),
                    coarse=found.effects,
                )
                if not catching_up():
                    yield progress("running")
        earlier = KnownSteps.of(known, state) if known else None
        for events in run(context, substitute, meter, config, known=earlier):
            state.add(events)
            if not catching_up():
                yield progress("running")
        facts = facts_of(
            context,
            substitute,
            meter,
            config.seed,
            state.events,
            state.strongest(),
            1 if state.coarse else FACT_UNITS,  # in a long prompt each costs many tokens
        )
    except Cancelled:
        if catching_up():  # what is known is more than was found
            raise
        yield progress("cancelled")
        return
    except ModelError as error:
        if not scorer.requests or catching_up():
            raise
        # Whatever a server did: what it has told before is worth keeping.
        yield progress("interrupted", interruption=str(error))
        return
    yield progress("complete", facts)


def explain_now(
    request: Request, scorer: Scorer, known: Explanation | None = None
) -> Explanation:
    """`explain` to its end, for scripts and notebooks."""
    *_, last = explain(request, scorer, known=known)
    return last.explanation


def in_context(
    prompt: Prompt, tokens: Sequence[AnswerToken], targets: Targets
) -> tuple[Prompt, Targets]:
    """Prompt and targets where the answer before a target is context that may be replaced."""
    last = max(start for start, _ in targets.spans)
    given = tokens[: len(targets.continuation) - 1]
    return with_answer(prompt, given, last), replace(targets, in_context=True)


def shared_prefix(prompt: Prompt, scorer: Scorer) -> Prefix | None:
    """The prompt as a prefix, where enough of it is never replaced, or it is very long."""
    frozen = min(min(prompt.units[unit].positions) for unit in prompt.free_units)
    if frozen < LEAST_SHARED and len(prompt.token_ids) < LONG_PROMPT:
        return None
    return scorer.prefix(prompt.token_ids, frozen)


def check_length(prompt: Prompt, request: Request, scorer: Scorer) -> None:
    """Refuse a prompt (InputError) that is longer than the model or this program reads."""
    length, limit = len(prompt.token_ids), scorer.context_length - request.max_new_tokens
    if length > min(limit, MAX_PROMPT_TOKENS):
        whose = (
            f"this program explains at most {MAX_PROMPT_TOKENS:,}"
            if limit > MAX_PROMPT_TOKENS
            else f"this model reads {scorer.context_length:,}, of which {request.max_new_tokens:,} "
            "are for the answer"
        )
        raise InputError(f"This prompt has {length:,} tokens; {whose}. Shorten it.", "prompt")


def check_capabilities(request: Request, can: Capabilities) -> None:
    """Refuse (InputError) what a scorer cannot tell."""
    target = request.target
    several = (
        request.max_new_tokens > 1
        if isinstance(target, WholeAnswer)
        else isinstance(target, GivenText) or target.stop > 1
    )
    if can.first_only and several:
        raise InputError(
            "This server tells only what the first token of an answer is. Explain that one: set "
            "the length of the answer to 1, and name no text of your own.",
            "target",
        )
    if can.top is not None and request.config.top_k > can.top:
        raise InputError(
            f"This server tells ranks up to {can.top}, and the stop test asks for the top "
            f"{request.config.top_k}. Lower top k.",
            "settings",
        )
    check_replacer(request.config, can)


def check_seen(original: Readings) -> None:
    """A target that is not even listed after the prompt itself cannot be watched."""
    if original.bounded[0].any():
        raise InputError(
            "The server does not list this text among its likeliest tokens, so what makes it less "
            "likely cannot be seen. Explain a likelier one, or ask for more with top in "
            "models.toml.",
            "target",
        )


def versions() -> dict[str, str]:
    """What made a result: Python and the packages that numbers depend on."""
    return {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}
