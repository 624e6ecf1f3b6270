"""The command `reagent import`: an explanation from a file into the library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reagent_core.cli_process import exit_codes, show_what_the_terminal_cannot_encode
from reagent_core.errors import InputError

if TYPE_CHECKING:
    from reagent_core.explanation import Explanation

TOP = 5


def import_file(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="An export of this program (JSON), or iterations_data.json."
        ),
    ],
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the new entry in the library.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON in place of sentences.")
    ] = False,
) -> None:
    """Put the explanation in FILE into the library; prints its id and what it says.

    FILE is an export of this program, of any version, or the iterations_data.json of the published
    notebook. The same file twice is one entry. Exit status: 0 done, 1 failed, 2 bad input.
    """
    show_what_the_terminal_cannot_encode()
    with exit_codes():
        from reagent_core.importing import read_file

        try:
            explanation = read_file(file)
        except InputError as error:
            raise InputError(str(error), "file to import") from None

        from reagent_core.store import Store

        key = Store().add(explanation, name=name)
        if as_json:
            typer.echo(json.dumps(_data(key, explanation), ensure_ascii=False))
        else:
            from reagent_core.terminal import printable

            for line in _lines(key, explanation):
                typer.echo(printable(line))


def _data(key: str, explanation: Explanation) -> dict[str, Any]:
    from reagent_core.sentences import ranking

    return {
        "id": key,
        "source": explanation.source,
        "steps": explanation.verdict.steps,
        "units": len(explanation.units),
        "target": explanation.target.text,
        "top": [
            {"unit": i, **explanation.units[i].model_dump()} for i in ranking(explanation)[:TOP]
        ],
        "warnings": list(explanation.verdict.warnings),
    }


def _lines(key: str, explanation: Explanation) -> list[str]:
    from reagent_core.sentences import effect_words, ranking, target_name, unit_names

    odds = explanation.target.instead_of is not None
    steps, units = explanation.verdict.steps, len(explanation.units)
    lines = [
        f"Imported as {key}",
        f"{steps:,} step{'s' if steps != 1 else ''}, {units:,} unit{'s' if units != 1 else ''}; "
        f"target {target_name(explanation)}",
    ]
    names = unit_names(explanation.units)
    for place, i in enumerate(ranking(explanation)[:TOP], start=1):
        told = effect_words(explanation.units[i], odds=odds) or "effect not known"
        lines.append(f"{place}. {names[i]}: {told[0].lower()}{told[1:]}")
    return [*lines, *explanation.verdict.warnings]
