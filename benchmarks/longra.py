"""The word-pair prompts that ship, for benchmarks (made by `scripts/make_longra.py`)."""

from __future__ import annotations

from itertools import zip_longest
from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel

FOLDER = Path(__file__).parents[1] / "assets" / "studies"

Split = Literal["dev", "test"]


class Example(BaseModel):
    """One prompt; see `scripts/make_longra.py` for the columns."""

    prompt: str
    target: str
    key: str
    foil: str
    kind: str
    distracted: bool
    split: Split
    key_needed: bool


def examples(split: Split | None = None) -> list[Example]:
    """All of one split, or of both, in the order of the files."""
    splits = get_args(Split) if split is None else (split,)
    texts = [(FOLDER / f"longra-{each}.jsonl").read_text("utf-8") for each in splits]
    return [Example.model_validate_json(line) for text in texts for line in text.splitlines()]


def evenly(every: list[Example], count: int | None) -> list[Example]:
    """`count` of them, evenly over the kinds: one of each kind in turn."""
    kinds = dict.fromkeys(each.kind for each in every)
    columns = [[each for each in every if each.kind == kind] for kind in kinds]
    turns = zip_longest(*columns)
    return [each for turn in turns for each in turn if each is not None][:count]
