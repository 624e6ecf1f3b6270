"""Long benchmarks go on where they were interrupted: a line for each part that is done."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

_T = TypeVar("_T", bound=BaseModel)

FOLDER = Path(__file__).parent.parent / ".bench"


def lines(name: str, record: type[_T]) -> list[_T]:
    """What `.bench/NAME.jsonl` holds; a last line that was cut off is left out."""
    file = FOLDER / f"{name}.jsonl"
    found = []
    for line in file.read_text("utf-8").splitlines() if file.exists() else ():
        try:
            found.append(record.model_validate_json(line))
        except ValidationError:
            continue
    return found


def append(name: str, record: BaseModel) -> None:
    """Write one more line, behind a line break if the last one was cut off."""
    FOLDER.mkdir(exist_ok=True)
    file = FOLDER / f"{name}.jsonl"
    whole = not file.exists() or file.read_bytes()[-1:] in (b"", b"\n")
    with file.open("a", encoding="utf-8") as out:
        out.write(f"{'' if whole else chr(10)}{record.model_dump_json()}\n")
