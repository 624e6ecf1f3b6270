"""What a study will cost, said before it starts: some of its prompts are looked at, none is run."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from reagent_core.baselines.attribute import default_budget
from reagent_core.baselines.methods import REAGENT, Method, method_named
from reagent_core.baselines.replacing import LEAST_ORDERS
from reagent_core.check import another_replacer
from reagent_core.coarse import goes_coarse_to_fine
from reagent_core.cost import Speed, estimate
from reagent_core.erasure import PAIRS, points, random_points
from reagent_core.errors import InputError
from reagent_core.explain import check_length
from reagent_core.prompt import Prompt, build_prompt
from reagent_core.replacers.reranked import FOLLOWING, LOOKED_AT
from reagent_core.request import AnswerTokens, GivenText, Request, Turn
from reagent_core.scorers.base import Scorer
from reagent_core.soft import DRAWS as SOFT_DRAWS
from reagent_core.soft import EmbeddingScorer
from reagent_core.study.plan import Row, Study
from reagent_core.study.work import check_row

# Rows that are looked at, evenly over the study; the others are taken to be like them.
SAMPLE = 12

# Sequences of the methods that do the same work whatever they are given: of integrated gradients
# and gradient SHAP see `baselines.gradients`.
_SEQUENCES = {"integrated_gradients": 50, "gradient_shap": 50, "random": 0}
# Times that these go over all units of a prompt, whatever the budget.
_LEAST_PASSES = {"leave_one_out": 1, "shapley": LEAST_ORDERS}
# A backward costs about as much as two forwards.
_WITH_BACKWARD = 3


@dataclass(frozen=True)
class StudyCost:
    """`tasks`: so many prompts with a model. `sequences`, `tokens` through it, backwards counted as
    two forwards more. `seconds`: None where the speed of the model is not known. `requests`: to a
    server, 0 for a local model. `unread`: of the rows that were looked at, those that will fail."""

    tasks: int
    sequences: int
    tokens: int
    requests: int
    seconds: float | None
    unread: int = 0

    def __add__(self, other: StudyCost) -> StudyCost:
        known = self.seconds is not None and other.seconds is not None
        return StudyCost(
            self.tasks + other.tasks,
            self.sequences + other.sequences,
            self.tokens + other.tokens,
            self.requests + other.requests,
            (self.seconds or 0.0) + (other.seconds or 0.0) if known else None,
            self.unread + other.unread,
        )


_NOTHING = StudyCost(tasks=0, sequences=0, tokens=0, requests=0, seconds=0.0)


def study_cost(
    study: Study,
    model: str,
    scorer: Scorer,
    speed: Speed | None,
    tasks: int | None = None,
    refused: Collection[str] | None = None,
) -> StudyCost:
    """What `tasks` rows of the study cost with one of its models, all rows without it.

    `speed`: see `cost.measure_speed`; None for a server. `refused`: the methods that the model does
    not allow, if that is known; to find it out a small part of the model is run. Else this takes
    milliseconds: prompts are cut into tokens, and nothing is asked of the model.
    """
    methods = [method_named(name) for name in study.methods if name != REAGENT]
    if refused is None:
        allowed = [method for method in methods if method.can(scorer) is None]
    else:
        allowed = [method for method in methods if method.name not in refused]
    count = len(study.rows) if tasks is None else tasks
    places = np.linspace(0, len(study.rows) - 1, min(SAMPLE, len(study.rows))).round()
    looked_at = [study.rows[int(place)] for place in places]
    whole = _NOTHING if speed is not None else replace(_NOTHING, seconds=None)
    for row in looked_at:
        try:
            check_row(row)
            request = _request(row, model, study)
            prompt = build_prompt(request.prompt, scorer.tokenizer, study.config.granularity)
            check_length(prompt, request, scorer)
        except InputError:
            whole += replace(_NOTHING, unread=1)
            continue
        whole += _row(prompt, request, study, scorer, speed, allowed)
    times = count / len(looked_at)
    return StudyCost(
        tasks=count,
        sequences=round(whole.sequences * times),
        tokens=round(whole.tokens * times),
        requests=round(whole.requests * times),
        seconds=None if whole.seconds is None else whole.seconds * times,
        unread=whole.unread,
    )


def _request(row: Row, model: str, study: Study) -> Request:
    """As `work.request_of`, with an answer as long as it may be."""
    own = AnswerTokens(start=0, stop=study.max_new_tokens)
    return Request(
        model=model,
        prompt=(Turn(role="user", content=row.prompt),) if study.chat else row.prompt,
        target=own if row.target is None else GivenText(text=row.target),
        max_new_tokens=study.max_new_tokens,
        config=study.config,
    )


def _row(
    prompt: Prompt,
    request: Request,
    study: Study,
    scorer: Scorer,
    speed: Speed | None,
    allowed: Sequence[Method],
) -> StudyCost:
    """One task: all methods, `allowed` and ReAGent, then the faithfulness of each."""
    target = request.target
    reads = target.stop if isinstance(target, AnswerTokens) else 1
    width = len(prompt.token_ids) + reads - 1
    n = len(prompt.free_units)
    own = estimate(prompt, request, scorer, speed)
    budget = study.budget or default_budget(prompt, request, scorer)
    fitted = study.budget is None and not goes_coarse_to_fine(n, study.config)
    sequences = extra = 0
    for method in allowed:
        count = _SEQUENCES.get(method.name, 1)
        if method.budgeted:
            count = max(budget, _LEAST_PASSES.get(method.name, 0) * n)
        if method.name == "surrogate" and fitted:
            # Fitted to ReAGent's run, which is made for it where there is none yet.
            count = 0 if _follows_reagent(method, study) else own.sequences
        sequences += count * (_WITH_BACKWARD if method.needs == "gradients" else 1)
    if n > 1:
        orders = len(allowed) + (REAGENT in study.methods)
        inside = isinstance(scorer, EmbeddingScorer)
        sequences += orders * 2 * len(points(n)) * study.draws + PAIRS * 2 * len(random_points(n))
        sequences += orders * (4 * SOFT_DRAWS + 2) if inside else 0
        plain = prompt.closed or bool(scorer.requests_for(1, 1))
        if another_replacer(study.config.replacer, plain=plain) == "causal_lm_reranked":
            extra = len(prompt.free_positions)
    tokens = sequences * width + extra * LOOKED_AT * FOLLOWING
    forwards = sequences / scorer.batch_size(width, reads) + 2 * len(study.methods) + extra
    cost = StudyCost(
        tasks=1,
        sequences=sequences,
        tokens=tokens,
        requests=scorer.requests_for(sequences, reads),
        seconds=None
        if speed is None
        else forwards * speed.forward_seconds + tokens / speed.tokens_per_second,
    )
    if REAGENT not in study.methods:
        return cost
    return cost + StudyCost(0, own.sequences, own.tokens, own.requests, own.seconds)


def _follows_reagent(method: Method, study: Study) -> bool:
    names = study.methods
    return REAGENT in names and names.index(REAGENT) < names.index(method.name)
