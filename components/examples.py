"""The finished explanations that ship with the app, checks of them, and comparisons of methods.

All are made by scripts/make_examples.py.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from reagent_core.baselines.compared import MethodsCompared
from reagent_core.check import Check
from reagent_core.explanation import Explanation, load

FOLDER = Path(__file__).parent.parent / "assets" / "examples"


class Example(BaseModel):
    """One shipped example: `focus` is the word of the answer it opens on, None for all of it.

    `offered`: listed by itself; the others are there to be compared.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    title: str
    focus: str | None = None
    offered: bool = True


class Comparison(BaseModel):
    """Examples that are worth seeing side by side."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    examples: tuple[str, ...]


class _Index(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    examples: tuple[Example, ...]
    comparisons: tuple[Comparison, ...]
    methods: tuple[MethodsExample, ...]


class MethodsExample(BaseModel):
    """A comparison of methods: on the focus of the example with the same id."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    title: str


@lru_cache(maxsize=1)
def _index() -> _Index:
    return _Index.model_validate_json((FOLDER / "index.json").read_bytes())


def examples() -> tuple[Example, ...]:
    """The examples that are listed, in the order they are offered."""
    return tuple(example for example in _index().examples if example.offered)


def is_example(reference: str) -> bool:
    """Whether there is an example of this id, listed or not."""
    return any(example.id == reference for example in _index().examples)


def comparisons() -> tuple[Comparison, ...]:
    """The comparisons that are offered."""
    return _index().comparisons


@lru_cache(maxsize=16)
def explanation_of(example_id: str) -> Explanation:
    """The explanation of one example, read from disk once."""
    return load((FOLDER / f"{example_id}.json").read_bytes())


def check_file(example_id: str) -> Path:
    """Where the check of an example's focus word is."""
    return FOLDER / "checks" / f"{example_id}.json"


@lru_cache(maxsize=16)
def check_of(example_id: str) -> Check | None:
    """The shipped check of the focus word of an example, None for one that is not listed."""
    file = check_file(example_id)
    return Check.model_validate_json(file.read_bytes()) if file.is_file() else None


def methods_examples() -> tuple[MethodsExample, ...]:
    """The comparisons of methods that are offered."""
    return _index().methods


def methods_file(example_id: str) -> Path:
    """Where the comparison of methods of this id is."""
    return FOLDER / "methods" / f"{example_id}.json"


@lru_cache(maxsize=4)
def methods_compared(example_id: str) -> MethodsCompared:
    """The shipped comparison of methods of this id."""
    return MethodsCompared.model_validate_json(methods_file(example_id).read_bytes())


def found_by_method(key: str) -> Explanation | None:
    """What the shipped comparisons of methods have under this key, None for none."""
    compared = (methods_compared(each.id) for each in methods_examples())
    results = (result for each in compared for result in each.results)
    return next((result.explanation for result in results if result.key == key), None)
