"""Any method on one target of a prompt, with the result in the shape of ReAGent's own."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from importlib.metadata import version

import numpy as np

from reagent_core.answer import answer_of
from reagent_core.asked import asked
from reagent_core.baselines.case import Case, Found, share
from reagent_core.baselines.methods import PUBLISHED, Method
from reagent_core.coarse import goes_coarse_to_fine
from reagent_core.config import PRESETS
from reagent_core.cost import estimate
from reagent_core.errors import Cancelled, InputError, Interrupted
from reagent_core.explain import (
    check_capabilities,
    check_length,
    check_seen,
    explain,
    in_context,
    shared_prefix,
    versions,
)
from reagent_core.explanation import Explanation, UnitScore, Verdict
from reagent_core.meter import Meter
from reagent_core.prompt import Prompt, build_prompt
from reagent_core.replacers.base import Substitute
from reagent_core.replacers.choose import make_replacer
from reagent_core.request import GivenText, ModelInfo, Request
from reagent_core.scorers.base import GeneratedToken, Scorer, never
from reagent_core.target import short

# Sequences; so many take hours on a laptop.
MOST_BUDGET = 100_000


def attribute(
    method: Method,
    request: Request,
    scorer: Scorer,
    cancelled: Callable[[], bool] = never,
    *,
    answered: Sequence[GeneratedToken] = (),
    budget: int | None = None,
    run: Explanation | None = None,
) -> Explanation:
    """Explain one target of a prompt by `method`.

    Units, target, replacements and seed are those of `request`; its steps and stop test are
    ReAGent's own. Of a whole answer the answer is explained as one span. `answered`: what the model
    answers to this prompt, where somebody has asked it already. `budget`: sequences for methods
    that sample (see `default_budget`); they may score fewer. Those that have to replace every unit
    once or twice do so whatever the budget, and a warning of the verdict says that it was exceeded.
    `run`: what `explain` found for this request, if it has been asked, for the method that is
    fitted to its steps; without it the run is made.

    Raises:
        InputError: the request cannot be carried out, or not with this method and model.
        ModelError: the model failed, or there is too little memory.
        Cancelled: `cancelled()` became true.
    """
    shared_scorer, scorer = scorer, scorer.for_run(cancelled)
    if (why := method.can(scorer)) is not None:
        raise InputError(why, "settings")
    if budget is not None and not 1 <= budget <= MOST_BUDGET:
        raise InputError(f"The budget must be from 1 to {MOST_BUDGET:,} sequences.", "settings")
    function = _function(method)
    started = time.perf_counter()
    config = request.config
    check_capabilities(request, scorer.capabilities)
    prompt = build_prompt(request.prompt, scorer.tokenizer, config.granularity, request.protected)
    check_length(prompt, request, scorer)
    generated = tuple(answered) or scorer.generate(
        prompt.token_ids, request.max_new_tokens, cancelled
    )
    answer, tokens = answer_of(prompt, generated, scorer.tokenizer)
    targets, infos = asked(request, prompt, scorer, answer, tokens)
    targets = replace(targets, spans=targets.spans[:1])
    context = prompt
    if request.attribute_answer and not isinstance(request.target, GivenText):
        if prompt.closed and method.needs in ("gradients", "attention"):
            raise InputError(
                f"{method.label} scores the source of an encoder-decoder model, not what it has "
                "answered so far. Leave the answer out of the context.",
                "settings",
            )
        context, targets = in_context(prompt, tokens, targets)
    meter = Meter(scorer, targets, cancelled, None, shared_prefix(context, scorer))
    original = meter.read(np.asarray([context.token_ids], np.int64))
    check_seen(original)
    value = float(original.values[0, 0])

    def make_substitute() -> tuple[Substitute, ModelInfo | None]:
        replacer = make_replacer(config, scorer, cancelled)
        return replacer.prepare(context), replacer.model

    def find_run() -> Explanation | None:
        if budget is not None or goes_coarse_to_fine(len(context.free_units), config):
            return None
        return run or finished_run(request, shared_scorer, cancelled, generated)

    case = Case(
        request=request,
        context=context,
        targets=targets,
        original=value,
        scorer=scorer,
        meter=meter,
        cancelled=cancelled,
        budget=budget or default_budget(prompt, request, scorer),
        make_substitute=make_substitute,
        find_run=find_run,
    )
    found = function(case)
    counts = case.work.added_to(meter.counts()).model_copy(update={"requests": scorer.requests})
    seconds = time.perf_counter() - started
    if found.run is not None:
        counts = found.run.counts
        seconds += found.run.seconds if run is not None else 0.0
    return Explanation(
        method=method.name,
        request=request,
        prompt=prompt.text,
        messages=None if isinstance(request.prompt, str) else request.prompt,
        answer=answer,
        answer_tokens=tokens,
        target=infos[0].model_copy(update={"value": value}),
        units=_units(context, found, nats=method.nats),
        verdict=_verdict(method, found),
        config=found.config or config,
        model=scorer.info,
        replacer_model=found.replacer_model,
        versions=versions() | _libraries(method),
        counts=counts,
        seconds=round(seconds, 3),
        trace=(),
    )


def finished_run(
    request: Request,
    scorer: Scorer,
    cancelled: Callable[[], bool] = never,
    answered: Sequence[GeneratedToken] = (),
) -> Explanation:
    """What `explain` finds at its end.

    Raises:
        InputError, ModelError: as `explain`.
        Cancelled: `cancelled()` became true.
        Interrupted: a server could not be asked any more.
    """
    *_, last = explain(request, scorer, cancelled, answered=answered)
    explanation = last.explanation
    if explanation.status == "cancelled":
        raise Cancelled("Stopped.")
    if explanation.status != "complete":
        raise Interrupted(explanation.interruption or "The run was interrupted.")
    return explanation


def default_budget(prompt: Prompt, request: Request, scorer: Scorer) -> int:
    """As many sequences as ReAGent's preset `standard` takes on this prompt, about."""
    own = request.config
    same = {"granularity": own.granularity, "seed": own.seed, "replacer": own.replacer}
    standard = request.model_copy(update={"config": PRESETS["standard"].model_copy(update=same)})
    return max(1, min(MOST_BUDGET, estimate(prompt, standard, scorer, None).sequences))


def _function(method: Method) -> Callable[[Case], Found]:
    """What computes a method. Torch, Captum and scikit-learn are loaded here, and only for methods
    that they compute: it is no part of a method's time."""
    if method.needs == "gradients":
        from reagent_core.baselines import gradients as module
    elif method.needs == "attention":
        from reagent_core.baselines import attention as module  # type: ignore[no-redef]
    elif method.name == PUBLISHED:
        from reagent_core.baselines import published as module  # type: ignore[no-redef]
    else:
        from reagent_core.baselines import replacing as module  # type: ignore[no-redef]
    if method.name == "surrogate":
        import_module("sklearn.linear_model")
    name = "at_random" if method.name == "random" else method.name
    function: Callable[[Case], Found] = getattr(module, name)
    return function


def _units(context: Prompt, found: Found, *, nats: bool) -> tuple[UnitScore, ...]:
    column = {unit: i for i, unit in enumerate(context.free_units)}
    shares = share(found.values)

    def number(values: np.ndarray | None, i: int) -> float | None:
        return None if values is None or np.isnan(values[i]) else short(float(values[i]))

    made = []
    for index, unit in enumerate(context.units):
        place = {"text": unit.text, "start": unit.start, "end": unit.end}
        if (i := column.get(index)) is None:
            made.append(UnitScore(**place, protected=True))
        elif nats:
            made.append(
                UnitScore(
                    **place,
                    protected=False,
                    score=number(shares, i),
                    effect=number(found.values, i),
                    effect_low=number(found.low, i),
                    effect_high=number(found.high, i),
                    at_least=found.at_least is not None and bool(found.at_least[i]),
                )
            )
        else:
            told = number(found.values, i)
            made.append(
                UnitScore(**place, protected=False, score=number(shares, i), attribution=told)
            )
    return tuple(made)


def _verdict(method: Method, found: Found) -> Verdict:
    warnings = found.warnings
    if found.bounded:
        warnings += (
            f"After {found.bounded} of the replaced prompts the server did not list the target, so "
            "that more may have been lost than is told.",
        )
    takes_none = f"{method.label} takes no steps, so there is nothing that could settle. "
    return Verdict(
        settled=True,
        text=found.told if method.name == PUBLISHED else takes_none + found.told,
        top=min(3, len(found.values)),
        steps=0,
        unchanged_steps=0,
        probes=0,
        probes_agreeing=0,
        probes_stopped=0,
        more_steps=0,
        warnings=warnings,
    )


def _libraries(method: Method) -> dict[str, str]:
    """The further packages that the numbers of a method depend on."""
    names = {"surrogate": ("scikit-learn",)}.get(method.name, ())
    if method.needs == "gradients":
        names = ("captum",)
    return {name: version(name) for name in names}
