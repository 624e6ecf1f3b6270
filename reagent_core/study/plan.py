"""What a study is, its tasks, and what each task leaves behind.

A task is one prompt with one model: all methods explain the same answer there, and are compared
with the same random orders. Importing this takes no time.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from reagent_core.baselines.compared import METHODS_VERSION
from reagent_core.baselines.methods import REAGENT
from reagent_core.check import DRAWS, Erasure, SoftMeasures, SoftMissing
from reagent_core.config import PRESETS, Config, ReplacerName
from reagent_core.keys import key_places
from reagent_core.request import METHOD_VERSION
from reagent_core.trust import Standing


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Row(_Record):
    """One prompt of a data set.

    `index`: its place in the file, 0 is the first. `target`: what is explained; None for the
    model's own answer. `key`: a text that the prompt is known to hinge on. `problem`: what is wrong
    with its cells, in a sentence; its tasks fail with it.
    """

    index: int = Field(ge=0)
    prompt: str
    target: str | None = None
    key: str | None = None
    # Left out where there is none: studies of before it have the ids that they had.
    problem: str | None = Field(None, exclude_if=lambda problem: problem is None)

    @property
    def lacks_its_key(self) -> bool:
        """Whether there is a key, and the prompt does not hold it (see `key_places`)."""
        return self.key is not None and not key_places(self.prompt, self.key)


class Study(_Record):
    """Prompts in the order of their `index`, and what is done with each.

    `methods`: of `METHODS`, and "reagent". `config`: of ReAGent; granularity, replacer and seed
    serve all methods. `chat`: prompts are sent as a chat turn. `budget`: see `attribute`. `draws`:
    replacements of each order of the faithfulness.
    """

    schema_version: Literal[1] = 1
    name: str
    rows: tuple[Row, ...] = Field(min_length=1)
    models: tuple[str, ...] = Field(("bundled",), min_length=1)
    methods: tuple[str, ...] = Field((REAGENT,), min_length=1)
    config: Config = PRESETS["standard"]
    chat: bool = False
    max_new_tokens: int = Field(16, ge=1, le=256)
    budget: int | None = Field(None, ge=1, le=100_000)
    draws: int = Field(DRAWS, ge=1, le=100)

    @model_validator(mode="after")
    def _nothing_is_there_twice(self) -> Study:
        """A task is told by its model and row."""
        for name, values in (("model", self.models), ("method", self.methods)):
            if len(set(values)) < len(values):
                raise ValueError(f"a {name} is there twice")
        if any(first.index >= second.index for first, second in pairwise(self.rows)):
            raise ValueError("the rows are not in the order of their index")
        return self

    @cached_property
    def id(self) -> str:
        """16 hex digits that tell it from every other study, whatever it is called."""
        canonical = self.model_dump_json(exclude={"name"})
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As that of every model; the copy may be another study, so it gets an id of its own."""
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop("id", None)
        return copied

    @property
    def tasks(self) -> tuple[Task, ...]:
        """All that is to be done; one model after the other, so that each is loaded once."""
        return tuple(Task(model=model, row=row.index) for model in self.models for row in self.rows)

    def row(self, task: Task) -> Row:
        """The row that a task is about.

        Raises:
            LookupError: it is a task of another study.
        """
        place = bisect_left(self.rows, task.row, key=lambda row: row.index)
        if place == len(self.rows) or self.rows[place].index != task.row:
            raise LookupError(f"this study has no row {task.row}")
        return self.rows[place]


class Task(_Record):
    """One prompt, by its `Row.index`, with one model."""

    model: str
    row: int


class MethodFound(_Record):
    """What one method found in a task.

    `explanation`: the key of the explanation, which is kept beside the results. `area` to `mean`
    and `soft`, `soft_missing`: see `Faithful`; None where there is a single unit. `key_rank`: place
    of the key among `units` ranked units, 1 is the strongest; None where it is not among them or
    not known.
    `tokens`, `sequences`, `forwards`, `backwards`: see `Counts`. `seconds`: of the method alone.
    """

    method: str
    explanation: str
    units: int
    top: tuple[str, ...]
    key_rank: int | None = None
    area: float | None = None
    random_area: float | None = None
    standing: Standing | None = None
    mean: Erasure | None = None
    soft: SoftMeasures | None = None
    soft_missing: SoftMissing | None = None
    tokens: int
    sequences: int
    forwards: int
    backwards: int
    seconds: float


class Maker(_Record):
    """What made an outcome: what two have made does not go together.

    `method`, `comparison`: see `METHOD_VERSION` and `METHODS_VERSION`. `model`, `replacer_model`:
    what pins the weights (see `ModelInfo`); None where the model was not loaded, and where it makes
    its own replacements.
    """

    method: int
    comparison: int
    model: str | None = None
    replacer_model: str | None = None

    @classmethod
    def now(cls, model: str | None = None, replacer_model: str | None = None) -> Maker:
        """This program, with these weights."""
        return cls(
            method=METHOD_VERSION,
            comparison=METHODS_VERSION,
            model=model,
            replacer_model=replacer_model,
        )

    @property
    def is_this_program(self) -> bool:
        """Whether the same request gives the same numbers today, with the same weights."""
        return (self.method, self.comparison) == (METHOD_VERSION, METHODS_VERSION)

    def has_other_weights(self, other: Maker) -> bool:
        """Whether both know a model's weights, and not the same ones."""
        pairs = ((self.model, other.model), (self.replacer_model, other.replacer_model))
        return any(None not in pair and pair[0] != pair[1] for pair in pairs)


class Outcome(_Record):
    """What a task left: of a failed one the `reason`, in a sentence.

    `answer`: what the model answered. `target`: what was explained of it, with its log-probability
    `value` in nats. `refused`: methods that the model does not allow, with the reason. `replacer`:
    of the faithfulness; `notes`: what to know before comparing methods, and what single methods
    warn of. `seconds`: of all of it, the faithfulness included. `made_by`: None where an earlier
    version of this program does not say.
    """

    task: Task
    status: Literal["done", "failed"]
    reason: str | None = None
    answer: str = ""
    target: str = ""
    value: float | None = None
    found: tuple[MethodFound, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()
    replacer: ReplacerName | None = None
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    made_by: Maker | None = None


def made_before(study: Study, outcomes: Sequence[Outcome]) -> set[Task]:
    """The tasks that another version of this program did, and that have to be done again with
    those yet to be done: their numbers do not go together. None while no task is left, and one
    version did them all."""
    old = {
        outcome.task
        for outcome in outcomes
        if outcome.made_by is None or not outcome.made_by.is_this_program
    }
    left = len(study.rows) * len(study.models) - len(outcomes)
    return old if left or len(old) < len(outcomes) else set()
