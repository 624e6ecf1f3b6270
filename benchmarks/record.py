"""What a benchmark leaves behind: a JSON file with the figures, and the table a person reads."""

from __future__ import annotations

import datetime
import os
import platform
import shlex
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from pydantic import BaseModel

from reagent_core.hardware import place

RESULTS = Path(__file__).parent / "results"

Value = str | int | float | None
Row = dict[str, Value]

_PACKAGES = ("torch", "transformers")


class Machine(BaseModel):
    """Where it ran. `memory_gib`: of the whole machine. `device`: what the models are run on where
    it is not the processor."""

    cpu: str
    cores: int
    memory_gib: float
    system: str
    versions: dict[str, str]
    device: str | None = None


class Result(BaseModel):
    """One table. `rows`: a value for each column heading; headings name the units."""

    name: str
    command: str
    date: str
    machine: Machine
    rows: list[Row]
    notes: list[str]


def save(name: str, rows: Sequence[BaseModel | Row], notes: Sequence[str] = ()) -> Result:
    """Write `benchmarks/results/NAME.json` and print the table.

    The headings are the keys of a row, or the serialization aliases of its fields; a column that
    has no value in any row is left out.
    """
    result = Result(
        name=name,
        command=shlex.join(["python", *sys.orig_argv[1:]]),
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        machine=machine(),
        rows=[
            row.model_dump(by_alias=True, exclude_none=True) if isinstance(row, BaseModel) else row
            for row in rows
        ],
        notes=list(notes),
    )
    RESULTS.mkdir(exist_ok=True)
    text = result.model_dump_json(indent=1) + "\n"
    (RESULTS / f"{name}.json").write_text(text, "utf-8")
    print(f"\n## {name}\n\n{markdown(result)}", flush=True)
    return result


def read(name: str) -> Result:
    """The result saved under this name."""
    return Result.model_validate_json((RESULTS / f"{name}.json").read_text("utf-8"))


def markdown(result: Result) -> str:
    """The rows as a Markdown table, then the notes, then how and where it was measured."""
    columns = list(dict.fromkeys(column for row in result.rows for column in row))
    lines = [_line(columns), "|" + "---|" * len(columns)]
    lines += [_line([_shown(row.get(column)) for column in columns]) for row in result.rows]
    where = result.machine
    versions = ", ".join(f"{name} {number}" for name, number in where.versions.items())
    measured = (
        f"`{result.command}`, {result.date}: {where.cpu}, {where.cores} cores, "
        f"{where.memory_gib:.0f} GiB{f', {where.device}' if where.device else ''}; {versions}."
    )
    return "\n".join([*lines, "", *(f"- {note}" for note in [*result.notes, measured])])


def machine() -> Machine:
    """This machine."""
    return Machine(
        cpu=_cpu(),
        cores=os.cpu_count() or 1,
        memory_gib=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30,
        system=f"{platform.system()} {platform.machine()}",
        versions={
            "Python": platform.python_version(),
            **{package: version(package) for package in _PACKAGES},
        },
        device=_device(),
    )


def _device() -> str | None:
    name = place().device
    if name == "cpu":
        return None
    import torch

    return torch.cuda.get_device_name(name) if name.startswith("cuda") else name


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:  # not Linux
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _shown(value: Value) -> str:
    """A float with three significant digits, or all before the point."""
    if value is None:
        return ""
    if isinstance(value, float):
        if abs(value) >= 100:
            return f"{value:,.0f}"
        return f"{value:#.3g}"
    return f"{value:,}" if isinstance(value, int) else value
