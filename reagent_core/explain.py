"""From a request to an explanation: the one place where all parts of the core meet."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from itertools import chain

import numpy as np

from reagent_core.answer import answer_of, continuation_of
from reagent_core.assemble import Run, assemble
from reagent_core.errors import Cancelled, InputError
from reagent_core.explanation import AnswerToken, Explanation, Fact, Foil, TargetInfo
from reagent_core.masks import Purpose, generator
from reagent_core.prompt import Prompt, build_prompt
from reagent_core.reagent import Meter, run, token_mask
from reagent_core.replacers.base import Replacer, Substitute
from reagent_core.replacers.causal_lm import CausalLMReplacer
from reagent_core.replacers.uniform import UniformReplacer
from reagent_core.request import AnswerTokens, GivenText, Request, WholeAnswer
from reagent_core.scorers.base import BoolArray, Scorer, never
from reagent_core.strip import word_spans
from reagent_core.target import Targets, answer_targets, whole_answer_targets

# Longer prompts take many minutes on a laptop, and a single forward longer than a cancel may.
MAX_PROMPT_TOKENS = 1024

# The plain facts: how many of the strongest units (one for each word inside a whole answer, where
# every further one costs forwards for all), and over how many replacements each.
FACT_UNITS = 3
FACT_DRAWS = 8

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
    targets, infos = _targets(request, prompt, scorer, answer, tokens)
    meter = Meter(scorer, targets, cancelled, batch_size)
    original = meter.read(np.asarray([prompt.token_ids], np.int64))
    infos = tuple(
        info.model_copy(update={"value": float(value)})
        for info, value in zip(infos, original.values[0], strict=True)
    )
    replacer: Replacer = (
        CausalLMReplacer(scorer) if config.replacer == "causal_lm"
        else UniformReplacer(scorer.tokenizer)
    )  # fmt: skip
    substitute = replacer.prepare(prompt.token_ids)
    state = Run(
        request=request,
        prompt=prompt,
        answer=answer,
        answer_tokens=tokens,
        targets=targets,
        infos=infos,
        original=original,
        model=scorer.info,
        versions=_versions(),
        decode=scorer.tokenizer.decode,
    )
    total = config.probes * (config.max_steps if len(prompt.free_units) > 1 else config.min_steps)

    def progress(status: str, facts: tuple[tuple[Fact, ...], ...] = ()) -> Progress:
        seconds = time.perf_counter() - started
        explanation = assemble(state, status, meter.counts(), seconds, facts)
        return Progress(len(state.events), total, explanation)

    yield progress("running")
    try:
        for events in run(prompt, substitute, meter, config):
            state.add(events)
            yield progress("running")
        facts = _facts(prompt, substitute, meter, config.seed, state)
    except Cancelled:
        yield progress("cancelled")
        return
    yield progress("complete", facts)


def explain_now(request: Request, scorer: Scorer) -> Explanation:
    """`explain` to its end, for scripts and notebooks."""
    *_, last = explain(request, scorer)
    return last.explanation


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


def _targets(
    request: Request,
    prompt: Prompt,
    scorer: Scorer,
    answer: str,
    tokens: tuple[AnswerToken, ...],
) -> tuple[Targets, tuple[TargetInfo, ...]]:
    """What is explained, for the engine and for the reader, in the same order."""
    choice = request.target
    if isinstance(choice, GivenText):
        this = continuation_of(prompt, choice.text, scorer)
        foil = None
        if choice.instead_of is not None:
            that = continuation_of(prompt, choice.instead_of, scorer)
            if that.token_ids == this.token_ids:
                raise InputError(
                    "The target and what it is compared with are the same text. Change one.",
                    "target",
                )
            foil = Foil(
                text=that.text,
                token_ids=that.token_ids,
                probability=float(np.exp(that.log_probability)),
            )
        info = TargetInfo(
            text=this.text,
            token_ids=this.token_ids,
            probability=float(np.exp(this.log_probability)),
            value=0.0,  # set once it is measured
            instead_of=foil,
        )
        span = (0, len(this.token_ids))
        return Targets(this.token_ids, (span,), foil.token_ids if foil else None), (info,)
    if not tokens:
        raise InputError(
            "The model ends its answer at once, so there is nothing to explain. Change the prompt, "
            "or name a target text of your own.",
            "prompt",
        )
    if isinstance(choice, WholeAnswer):
        targets = whole_answer_targets(tokens, word_spans(answer, tokens))
    else:
        targets = answer_targets(tokens, *_range(choice, tokens))
    infos = tuple(
        TargetInfo(
            text=answer[tokens[start].start : tokens[stop - 1].end],
            token_ids=tuple(token.token_id for token in tokens[start:stop]),
            probability=float(np.prod([token.probability for token in tokens[start:stop]])),
            value=0.0,  # set once it is measured
            answer_start=start,
            answer_stop=stop,
        )
        for start, stop in targets.spans
    )
    return targets, infos


def _range(choice: AnswerTokens, tokens: tuple[AnswerToken, ...]) -> tuple[int, int]:
    if not choice.start < choice.stop <= len(tokens):
        have = f"{len(tokens)} token{'s' if len(tokens) > 1 else ''}"
        raise InputError(
            f"The answer has {have}, counted from 0; there is no token {choice.stop - 1}. Choose "
            f"one from 0 to {len(tokens) - 1}, or ask for a longer answer.",
            "target",
        )
    return choice.start, choice.stop


def _facts(
    prompt: Prompt, substitute: Substitute, meter: Meter, seed: int, state: Run
) -> tuple[tuple[Fact, ...], ...]:
    """For each target: its mean probability with one of its strongest units alone replaced.

    A unit's replacements are the same for all targets, so that most are scored once.
    """
    free, length = prompt.free_units, len(prompt.token_ids)
    first, *inner = state.strongest()
    ranked = [first[:FACT_UNITS], *(order[:1] for order in inner)]
    columns = sorted(set(chain.from_iterable(ranked)))
    if not columns:
        return ()
    masks: BoolArray = np.zeros((len(columns), FACT_DRAWS, len(free)), bool)
    masks[np.arange(len(columns)), :, columns] = True
    draws = np.stack(
        [
            generator(seed, Purpose.FACT, column, draw).random(length)
            for column in columns
            for draw in range(FACT_DRAWS)
        ]
    )
    contexts = substitute(token_mask(prompt, masks).reshape(-1, length), draws)
    means = meter.read(contexts).probabilities.reshape(len(columns), FACT_DRAWS, -1).mean(1)
    return tuple(
        tuple(
            Fact(
                unit=free[column],
                draws=FACT_DRAWS,
                probability=float(means[columns.index(column), target]),
            )
            for column in order
        )
        for target, order in enumerate(ranked)
    )


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}
