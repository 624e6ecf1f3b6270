"""The command `reagent check`: whether an explanation in a file may be trusted."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from reagent_core import models
from reagent_core.cli_process import ctrl_c, exit_codes, show_what_the_terminal_cannot_encode
from reagent_core.config import ReplacerName
from reagent_core.errors import InputError
from reagent_core.explanation import Explanation, load

if TYPE_CHECKING:
    from reagent_core.check import Check


def check_command(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="An explanation as `reagent explain --json FILE` writes it."
        ),
    ],
    answer_token: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=0, show_default=False,
            help="Of a whole answer check this token; else the answer as one.",
        ),
    ] = None,
    replacer: Annotated[
        ReplacerName | None,
        typer.Option(
            show_default="another one than the explanation's",
            help="What stands in for a replaced token.",
        ),
    ] = None,
    draws: Annotated[
        int, typer.Option(metavar="N", min=1, max=100, help="Replacements of each set of tokens.")
    ] = 3,
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, help="Equal seeds give equal results.")
    ] = 0,
    key: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="What the prompt hinges on: say where it was ranked."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="ID", show_default="the one that was explained", help="Ask this one."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print everything as JSON in place of a table.")
    ] = False,
) -> None:  # fmt: skip
    """Check the explanation in FILE on its model: does replacing its strongest tokens first
    destroy the answer faster than a random order?

    Exit status: 0 done, whatever was found; 1 failed, 2 bad input, 130 cancelled with Ctrl-C.
    """
    show_what_the_terminal_cannot_encode()
    with exit_codes(), _about_the_explanation():
        whole = _loaded(file)
        asked = model or (whole.request.model if whole.request else whole.model.id)
        explanation = _chosen(whole, answer_token)
        found = _run(explanation, asked, replacer, draws, seed, key)
        if as_json:
            typer.echo(found.model_dump_json())
        else:
            from reagent_core.terminal_check import show_check

            show_check(Console(highlight=False), found, explanation)


@contextlib.contextmanager
def _about_the_explanation() -> Iterator[None]:
    """The file a complaint is about is the one that was given, not one to be written."""
    try:
        yield
    except InputError as error:
        if error.field != "file":
            raise
        raise InputError(str(error), "explanation") from None


def _loaded(file: Path) -> Explanation:
    try:
        return load(file.read_bytes())
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(f"{file} cannot be read: {reason}. Correct the path.", "file") from None


def _chosen(explanation: Explanation, answer_token: int | None) -> Explanation:
    """The explanation of the whole file, or the one of an answer token inside it."""
    if answer_token is None:
        return explanation
    inner = explanation.explanations or ()
    if not inner:
        raise InputError(
            "This file explains one target, not each token of an answer. Leave out --answer-token.",
            "file",
        )
    if answer_token >= len(inner):
        raise InputError(
            f"The answer has {len(inner)} tokens, counted from 0; there is no token "
            f"{answer_token}.",
            "target",
        )
    return inner[answer_token]


def _run(
    explanation: Explanation,
    model: str,
    replacer: ReplacerName | None,
    draws: int,
    seed: int,
    key: str | None,
) -> Check:
    from reagent_core.terminal import progress_bar

    with progress_bar(Console(stderr=True, highlight=False)) as bar:
        task = bar.add_task("Loading the model", total=None)
        scorer = models.load(model)

        from reagent_core.checker import check

        with ctrl_c() as cancelled:
            steps = check(
                explanation, scorer, replacer=replacer, draws=draws, seed=seed, key=key,
                cancelled=cancelled,
            )  # fmt: skip
            for step in steps:
                bar.update(
                    task,
                    description="Replacing the strongest first, and in random orders",
                    total=step.total,
                    completed=step.done,
                )
                found = step.check
    if found is None:
        raise AssertionError("a check ends with its result")
    return found
