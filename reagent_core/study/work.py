"""One task of a study: a prompt is answered, explained by every method, and all are compared."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from reagent_core.baselines.compared import MethodResult, MethodsCompared
from reagent_core.baselines.comparison import CompareProgress, compare_methods
from reagent_core.errors import Cancelled, InputError, Interrupted, ReagentError
from reagent_core.explain import check_length
from reagent_core.explanation import dump
from reagent_core.faithfulness import key_rank
from reagent_core.prompt import build_prompt, check_text
from reagent_core.request import AnswerTokens, GivenText, Request, Turn
from reagent_core.scorers.base import GeneratedToken, Scorer, never
from reagent_core.sentences import main_measure, ranking, unit_names
from reagent_core.study.plan import Maker, MethodFound, Outcome, Row, Study, Task

log = logging.getLogger(__name__)

# Units of an explanation that an outcome names.
_TOP = 3


@dataclass(frozen=True)
class Doing:
    """What is being done: `what` in a few words; `task` None while a model is loaded."""

    what: str
    task: Task | None = None


@dataclass(frozen=True)
class Worked:
    """A task that ended: its outcome, and the explanations that belong to it, each with its key
    (see `MethodFound.explanation`) and as JSON (see `explanation.dump`)."""

    outcome: Outcome
    explanations: tuple[tuple[str, str], ...] = ()


# What runs tasks somewhere: it yields what it is doing, and every task as it ends, in any order. It
# raises Cancelled soon after `cancelled()` became true, and Interrupted where a model cannot be
# asked any more, so that what it has not yielded can be done later.
Engine = Callable[[Iterable[Task], Study, Callable[[], bool]], Iterator[Worked | Doing]]


class OwnTime:
    """The clock of a generator. It is stopped while a value is out: whoever takes that may do
    something else before the next one (see `gives_way` of `jobs.JobQueue.submit`)."""

    def __init__(self) -> None:
        self._started = time.perf_counter()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._started

    @contextmanager
    def stopped(self) -> Iterator[None]:
        left = time.perf_counter()
        yield
        self._started += time.perf_counter() - left


def work_on(
    task: Task, study: Study, scorer: Scorer, cancelled: Callable[[], bool] = never
) -> Worked:
    """Do a task with its model behind `scorer`. What the prompt or the model is to blame for is a
    failed outcome with the reason.

    Raises:
        Interrupted: the server behind the model cannot be asked any more.
        Cancelled: `cancelled()` became true.
    """
    *_, last = steps_on(task, study, scorer, cancelled)
    if not isinstance(last, Worked):
        raise AssertionError("a task ends with its outcome")
    return last


def steps_on(
    task: Task, study: Study, scorer: Scorer, cancelled: Callable[[], bool] = never
) -> Iterator[Worked | Doing]:
    """`work_on`, with a word on what is being done before each part of it."""
    clock = OwnTime()
    try:
        row = study.row(task)
        with clock.stopped():
            yield Doing("Answer", task)
        request, answered = request_of(row, task, study, scorer, cancelled)
        for step in compare_methods(
            study.methods, request, scorer, budget=study.budget, draws=study.draws,
            cancelled=cancelled, answered=answered,
        ):  # fmt: skip
            if step.compared is None:
                with clock.stopped():
                    yield Doing(step.doing, task)
        yield _worked(task, row, step, clock.seconds)
    except (Cancelled, Interrupted):
        raise
    except ReagentError as error:
        yield failed(task, str(error), clock.seconds, scorer)
    except Exception as error:  # whatever a model's own code raises: the other rows go on
        log.exception("Row %d of the study failed on %s.", task.row, task.model)
        reason = f"{type(error).__name__}: {error}".rstrip(": .")
        yield failed(task, f"The program failed ({reason}).", clock.seconds, scorer)


def failed(task: Task, reason: str, seconds: float = 0.0, scorer: Scorer | None = None) -> Worked:
    """A task that came to nothing; `scorer`: its model, where it was loaded."""
    made_by = Maker.now(None if scorer is None else scorer.info.revision_or_sha256)
    return Worked(
        Outcome(
            task=task, status="failed", reason=reason, seconds=round(seconds, 3), made_by=made_by
        )
    )


def check_row(row: Row) -> None:
    """Refuse a row that no model can explain.

    Raises:
        InputError: a cell of it is no text, or the prompt is empty.
    """
    if row.problem is not None:
        raise InputError(row.problem, "file")
    check_text(row.prompt, "prompt")


def request_of(
    row: Row, task: Task, study: Study, scorer: Scorer, cancelled: Callable[[], bool] = never
) -> tuple[Request, tuple[GeneratedToken, ...]]:
    """What is asked of a row: its target, or else the whole answer as one span, for which the model
    answers here; its answer comes with it, so that nobody asks for it again.

    Raises:
        InputError: the row or its target cannot be read, or the model answers nothing.
        ModelError: the model failed.
        Cancelled: `cancelled()` became true.
    """
    check_row(row)
    asked = Request(
        model=task.model,
        prompt=(Turn(role="user", content=row.prompt),) if study.chat else row.prompt,
        target=AnswerTokens() if row.target is None else GivenText(text=row.target),
        max_new_tokens=study.max_new_tokens,
        config=study.config,
    )
    if row.target is not None:
        return asked, ()
    scorer = scorer.for_run(cancelled)
    prompt = build_prompt(asked.prompt, scorer.tokenizer, asked.config.granularity)
    check_length(prompt, asked, scorer)
    generated = scorer.generate(prompt.token_ids, asked.max_new_tokens, cancelled)
    if not generated:
        raise InputError(
            "The model ends its answer at once, so there is nothing to explain. Name a target.",
            "prompt",
        )
    # Methods are compared on one target: all tokens together.
    whole = AnswerTokens(start=0, stop=len(generated))
    return asked.model_copy(update={"target": whole}), generated


def _worked(task: Task, row: Row, last: CompareProgress, seconds: float) -> Worked:
    compared = last.compared
    if compared is None:
        raise AssertionError("a comparison ends with its result")
    first = compared.results[0].explanation
    outcome = Outcome(
        task=task,
        status="done",
        answer=first.answer,
        target=first.target.text,
        value=first.target.value,
        found=tuple(_found(result, row.key) for result in compared.results),
        refused=tuple((each.method, each.reason) for each in compared.refused),
        replacer=compared.replacer,
        notes=(*compared.notes, *_warnings(compared)),
        seconds=round(seconds, 3),
        made_by=_maker(compared),
    )
    return Worked(outcome, _explanations(compared))


def _warnings(compared: MethodsCompared) -> tuple[str, ...]:
    """Why not to trust what single methods found, each sentence with its method's label."""
    return tuple(
        f"{result.label}: {warning}"
        for result in compared.results
        for warning in result.explanation.verdict.warnings
    )


def _maker(compared: MethodsCompared) -> Maker:
    found = [result.explanation for result in compared.results]
    replacers = [each.replacer_model for each in found if each.replacer_model is not None]
    return Maker.now(
        found[0].model.revision_or_sha256,
        replacers[0].revision_or_sha256 if replacers else None,
    )


def _explanations(compared: MethodsCompared) -> tuple[tuple[str, str], ...]:
    return tuple((result.key, dump(result.explanation)) for result in compared.results)


def _found(result: MethodResult, key: str | None) -> MethodFound:
    explanation, faithful = result.explanation, result.faithful
    measure = main_measure(explanation)
    order = ranking(explanation, measure)
    names, counts = unit_names(explanation.units), explanation.counts
    return MethodFound(
        method=result.method,
        explanation=result.key,
        units=len(order),
        top=tuple(names[i] for i in order[:_TOP]),
        key_rank=None if key is None else key_rank(explanation, key, measure),
        area=None if faithful is None else faithful.area,
        random_area=None if faithful is None else faithful.random_area,
        standing=None if faithful is None else faithful.standing,
        mean=None if faithful is None else faithful.mean,
        soft=None if faithful is None else faithful.soft,
        soft_missing=None if faithful is None else faithful.soft_missing,
        tokens=counts.tokens,
        sequences=counts.sequences,
        forwards=counts.forwards,
        backwards=counts.backwards,
        seconds=explanation.seconds,
    )
