"""The finished explanations that ship with the app (made by scripts/make_examples.py)."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter

from reagent_core.explanation import Explanation, load

FOLDER = Path(__file__).parent.parent / "assets" / "examples"


class Example(BaseModel):
    """One shipped example: `focus` is the word of the answer it opens on, None for all of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    title: str
    focus: str | None = None


@lru_cache(maxsize=1)
def examples() -> tuple[Example, ...]:
    """All examples, in the order they are offered."""
    index = (FOLDER / "index.json").read_bytes()
    return TypeAdapter(tuple[Example, ...]).validate_json(index)


@lru_cache(maxsize=16)
def explanation_of(example_id: str) -> Explanation:
    """The explanation of one example, read from disk once."""
    return load((FOLDER / f"{example_id}.json").read_bytes())
