"""What the command line writes, and where: files, or standard output."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import typer

from reagent_core.errors import InputError
from reagent_core.explanation import Explanation, dump
from reagent_core.output_files import check_writable, write_bytes

STANDARD = Path("-")  # standard output in place of a file

Export = Callable[[Explanation], str | bytes]


def checked_outputs(
    *, json: Path | None, csv: Path | None, trace: Path | None, html: Path | None
) -> list[tuple[Path, Export]]:
    """Where to write what; every place has been tried, so that no run is in vain.

    Raises:
        InputError: a file cannot be written, is named twice, or its name does not say which format
            the trace is to have (field "file").
    """
    steps = _trace_csv if trace is None else _trace_export(trace)
    wanted: list[tuple[Path | None, Export]] = [
        (json, _json), (csv, _csv), (trace, steps), (html, _html),
    ]  # fmt: skip
    outputs = [(path, export) for path, export in wanted if path is not None]
    if len({path.absolute() for path, _ in outputs}) < len(outputs):
        raise InputError("Two of --json, --csv, --trace and --html name the same file.", "file")
    for path, _ in outputs:
        if path != STANDARD:
            check_writable(path)
    return outputs


def write(path: Path, content: str | bytes) -> None:
    """Write to a file, all of it or nothing, or to standard output; texts as UTF-8."""
    encoded = content.encode("utf-8") if isinstance(content, str) else content
    if path == STANDARD:
        stream = typer.get_binary_stream("stdout")
        stream.write(encoded)
        stream.flush()
    else:
        write_bytes(path, encoded)


def _trace_export(path: Path) -> Export:
    if path == STANDARD or path.suffix.lower() == ".csv":
        return _trace_csv
    if path.suffix.lower() == ".parquet":
        return _trace_parquet
    raise InputError(
        f"The name {path.name!r} of the trace must end in .csv or .parquet. Choose another one.",
        "file",
    )


def _json(explanation: Explanation) -> str:
    return dump(explanation) + "\n"


def _csv(explanation: Explanation) -> str:
    from reagent_core.export import scores_csv

    return scores_csv(explanation)


def _trace_csv(explanation: Explanation) -> str:
    from reagent_core.export_trace import trace_csv

    return trace_csv(explanation)


def _trace_parquet(explanation: Explanation) -> bytes:
    from reagent_core.export_trace import trace_parquet

    return trace_parquet(explanation)


def _html(explanation: Explanation) -> str:
    from reagent_core.report import html_report

    return html_report(explanation)
