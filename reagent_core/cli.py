"""The command `reagent`: the same work without a browser.

Exit codes: 0 done, 1 failed, 2 bad input, 130 cancelled with Ctrl-C.
"""

from __future__ import annotations

import os
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

# Only what is light: torch, transformers, scipy, SQLAlchemy and pandas wait until they are needed.
from reagent_core import models
from reagent_core.cli_check import check_command
from reagent_core.cli_import import import_file
from reagent_core.cli_library import library, list_kept
from reagent_core.cli_methods import compare_methods_command
from reagent_core.cli_options import (
    AnswerLength,
    AnswerToken,
    AsChat,
    Granular,
    InsteadOf,
    JsonFile,
    ModelId,
    PromptText,
    Replacer,
    Seed,
    SystemTurn,
    TargetText,
)
from reagent_core.cli_output import STANDARD, checked_outputs, write
from reagent_core.cli_process import (
    EXIT_CANCELLED,
    EXIT_FAILED,
    ctrl_c,
    exit_codes,
    show_what_the_terminal_cannot_encode,
)
from reagent_core.cli_request import read_config, read_prompt, read_target
from reagent_core.cli_study import study_command
from reagent_core.config import PresetName
from reagent_core.explanation import Explanation
from reagent_core.replacers.masked_models import replacer_model_info
from reagent_core.request import Request

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from reagent_core.scorers.base import Scorer

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Shows which prompt tokens made a language model give its answer (ReAGent).",
)


def main(argv: list[str] | None = None) -> None:
    """Run the command line `argv` (default: the process's own). Always raises SystemExit."""
    app(args=argv, prog_name="reagent")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"reagent {version('reagent-dashboard')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _reagent(
    context: typer.Context,
    show_version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_print_version, help="Print it and end."),
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command("explain")
def _explain(
    prompt: PromptText,
    chat: AsChat = False,
    system: SystemTurn = None,
    model: ModelId = "bundled",
    max_new_tokens: AnswerLength = 16,
    answer_token: AnswerToken = None,
    whole_answer: Annotated[
        bool, typer.Option("--whole-answer", help="Explain the answer and each word of it.")
    ] = False,
    attribute_answer: Annotated[
        bool, typer.Option("--attribute-answer", help="Score earlier tokens of the answer, too.")
    ] = False,
    target: TargetText = None,
    instead_of: InsteadOf = None,
    preset: Annotated[
        PresetName, typer.Option(help="How thorough; paper is the published procedure.")
    ] = "standard",
    granularity: Granular = None,
    seed: Seed = None,
    replacer: Replacer = None,
    replacer_model: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            show_default="FacebookAI/roberta-base",
            help="Masked language model of --replacer masked_lm: hub id or local folder.",
        ),
    ] = None,
    json: JsonFile = None,
    csv: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the scores as CSV (- for standard output)."),
    ] = None,
    trace: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write every step, as .csv or .parquet (- for CSV)."),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a self-contained page (- for standard output)."),
    ] = None,
) -> None:
    """Explain which parts of PROMPT made the model answer as it does.

    Exit status: 0 done, 1 failed, 2 bad input, 130 cancelled with Ctrl-C.
    """
    show_what_the_terminal_cannot_encode()
    with exit_codes():
        request = Request(
            model=model,
            prompt=read_prompt(prompt, chat=chat, system=system),
            target=read_target(answer_token, whole_answer, target, instead_of),
            max_new_tokens=max_new_tokens,
            attribute_answer=attribute_answer,
            config=read_config(preset, granularity, seed, replacer, replacer_model),
        )
        outputs = checked_outputs(json=json, csv=csv, trace=trace, html=html)
        explanation, stored = _answer(request)

        from reagent_core.terminal import dark_background, show

        taken = any(path == STANDARD for path, _ in outputs)
        console = Console(stderr=taken, highlight=False)
        show(console, explanation, dark=dark_background(os.environ), stored=stored)
        for path, export in outputs:
            write(path, export(explanation))
        if explanation.status == "cancelled":
            raise typer.Exit(EXIT_CANCELLED)
        if explanation.status == "interrupted":
            raise typer.Exit(EXIT_FAILED)


app.command("check")(check_command)
app.command("compare-methods")(compare_methods_command)
app.command("study")(study_command)


@app.command("models")
def _models(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON in place of a table.")
    ] = False,
) -> None:
    """List the models on offer: what they are, what they need, whether that is here.

    Sizes that no file on disk gives are those of the list (models.toml); the hub is not asked.
    """
    show_what_the_terminal_cannot_encode()
    with exit_codes():
        from reagent_core.model_list import model_list, models_json, models_table

        listed = model_list()
        if as_json:
            typer.echo(models_json(listed))
        else:
            Console(highlight=False).print(models_table(listed))


app.command("list")(list_kept)
app.command("import")(import_file)
app.add_typer(library, name="library")


def _answer(request: Request) -> tuple[Explanation, bool]:
    """The explanation, and whether it was in the store; a new one that is complete is put there."""
    info = models.model_info(request.model)
    key = request.key(info, replacer_model_info(request.config))

    from reagent_core.store import Store

    store = Store()
    store.revive(key)
    found = store.get(key)
    if found is not None:
        return found, True

    from reagent_core.terminal import progress_bar

    with progress_bar(Console(stderr=True, highlight=False)) as bar:
        explanation = _run(request, bar)
    if explanation.status == "complete":
        store.put(key, explanation)
    return explanation, False


def _run(request: Request, bar: Bar) -> Explanation:
    task = bar.add_task(
        "Loading the model (one that is new here is downloaded or converted first)", total=None
    )
    scorer = models.load(request.model)
    if scorer.requests_for(1, 1):
        # Into a file or a pipe lines are not broken: other programs read them.
        piped = not bar.console.is_terminal
        bar.console.print(_announced(request, scorer), markup=False, soft_wrap=piped)

    from reagent_core.explain import explain

    bar.update(task, description="Reading the prompt")
    with ctrl_c() as cancelled:
        for progress in explain(request, scorer, cancelled):
            bar.update(
                task,
                description=f"Trying replacements, step {progress.done} of {progress.total}",
                total=progress.total,
                completed=progress.done,
            )
    return progress.explanation


def _announced(request: Request, scorer: Scorer) -> str:
    """What a server is about to be asked."""
    from reagent_core.cost import estimate
    from reagent_core.prompt import build_prompt

    granularity = request.config.granularity
    prompt = build_prompt(request.prompt, scorer.tokenizer, granularity, request.protected)
    cost = estimate(prompt, request, scorer, None)
    about = f"About {cost.requests:,} requests to the server, {cost.tokens:,} tokens."
    return f"{scorer.capabilities} {about}"


if __name__ == "__main__":
    main()
