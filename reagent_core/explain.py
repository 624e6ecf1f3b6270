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
from reagent_core.coarse import MOST_UNITS, narrow
from reagent_core.errors import Cancelled, InputError
from reagent_core.explanation import AnswerToken, Explanation, Fact
from reagent_core.facts import FACT_UNITS, facts_of
from reagent_core.meter import Meter
from reagent_core.prompt import Prompt, build_prompt
from reagent_core.reagent import context_units, run
from reagent_core.replacers.base import Replacer
from reagent_core.replacers.causal_lm import CausalLMReplacer
from reagent_core.replacers.uniform import UniformReplacer
from reagent_core.request import GivenText, Request
from reagent_core.scorers.base import LEAST_SHARED, Prefix, Scorer, never
from reagent_core.target import Targets

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
) -> Iterator[Progress]:
    """Explain; yields after the answer, after every chunk of steps, and at the end.

    The last progress holds the explanation with status "complete", or "cancelled" with what was
    found until then. Equal requests with equal `batch_size` (None: the scorer's own) give equal
    bits; another batch size changes rounding alone.

    Raises:
        InputError: the request cannot be carried out; the sentence says why.
        Cancelled: cancelled before the answer was there.
    """
    started = time.perf_counter()
    config = request.config
    prompt = build_prompt(request.prompt, scorer.tokenizer, config.granularity, request.protected)
    _check_length(prompt, request, scorer)
    generated = scorer.generate(prompt.token_ids, request.max_new_tokens, cancelled)
    answer, tokens = answer_of(prompt, generated, scorer.tokenizer)
    targets, infos = asked(request, prompt, scorer, answer, tokens)
    context = prompt
    if request.attribute_answer and not isinstance(request.target, GivenText):
        context, targets = _with_answer(prompt, tokens, targets)
    meter = Meter(scorer, targets, cancelled, batch_size, _shared(context, scorer))
    original = meter.read(np.asarray([context.token_ids], np.int64))
    infos = tuple(
        info.model_copy(update={"value": float(value)})
        for info, value in zip(infos, original.values[0], strict=True)
    )
    replacer: Replacer = (
        CausalLMReplacer(scorer) if config.replacer == "causal_lm"
        else UniformReplacer(scorer.tokenizer)
    )  # fmt: skip
    substitute = replacer.prepare(context.token_ids)
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
        versions=_versions(),
        decode=scorer.tokenizer.decode,
    )
    total = config.probes * (config.max_steps if len(context.free_units) > 1 else config.min_steps)

    def progress(status: str, facts: tuple[tuple[Fact, ...], ...] = ()) -> Progress:
        seconds = time.perf_counter() - started
        explanation = assemble(state, status, meter.counts(), seconds, facts)
        return Progress(len(state.events), total, explanation)

    yield progress("running")
    try:
        if len(context.free_units) > MOST_UNITS:
            for found in narrow(context, substitute, meter, original.values[0], config.seed):
                context = found.prompt
                state = replace(
                    state,
                    prompt=context,
                    context=context_units(context, targets),
                    coarse=found.effects,
                )
                yield progress("running")
        for events in run(context, substitute, meter, config):
            state.add(events)
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
        yield progress("cancelled")
        return
    yield progress("complete", facts)


def explain_now(request: Request, scorer: Scorer) -> Explanation:
    """`explain` to its end, for scripts and notebooks."""
    *_, last = explain(request, scorer)
    return last.explanation


def _with_answer(
    prompt: Prompt, tokens: Sequence[AnswerToken], targets: Targets
) -> tuple[Prompt, Targets]:
    """Prompt and targets where the answer before a target is context that may be replaced."""
    last = max(start for start, _ in targets.spans)
    given = tokens[: len(targets.continuation) - 1]
    return with_answer(prompt, given, last), replace(targets, in_context=True)


def _shared(prompt: Prompt, scorer: Scorer) -> Prefix | None:
    """The prompt as a prefix, where enough of it is never replaced, or it is very long."""
    frozen = min(min(prompt.units[unit].positions) for unit in prompt.free_units)
    if frozen < LEAST_SHARED and len(prompt.token_ids) < LONG_PROMPT:
        return None
    return scorer.prefix(prompt.token_ids, frozen)


def _check_length(prompt: Prompt, request: Request, scorer: Scorer) -> None:
    length, limit = len(prompt.token_ids), scorer.context_length - request.max_new_tokens
    if length > min(limit, MAX_PROMPT_TOKENS):
        whose = (
            f"this program explains at most {MAX_PROMPT_TOKENS:,}"
            if limit > MAX_PROMPT_TOKENS
            else f"this model reads {scorer.context_length:,}, of which {request.max_new_tokens:,} "
            "are for the answer"
        )
        raise InputError(f"This prompt has {length:,} tokens; {whose}. Shorten it.", "prompt")


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}
