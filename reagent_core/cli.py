"""The command `reagent`: the same work without a browser.

Exit codes: 0 done, 1 failed, 2 bad input, 130 cancelled with Ctrl-C.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

# Only what is light: torch, transformers, scipy, SQLAlchemy and pandas wait until they are needed.
from reagent_core import models
from reagent_core.cli_request import read_config, read_prompt, read_target
from reagent_core.config import Granularity, PresetName
from reagent_core.errors import Cancelled, InputError, ReagentError
from reagent_core.explanation import Explanation, dump
from reagent_core.output_files import check_writable, write_text
from reagent_core.request import Request

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

EXIT_FAILED, EXIT_BAD_INPUT, EXIT_CANCELLED = 1, 2, 130
STANDARD = Path("-")  # standard input or output in place of a file

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
    prompt: Annotated[
        str, typer.Argument(metavar="PROMPT", help="The prompt; - reads standard input.")
    ],
    chat: Annotated[
        bool, typer.Option("--chat", help="Send the prompt as a chat turn, not as plain text.")
    ] = False,
    system: Annotated[
        str | None, typer.Option(metavar="TEXT", help="System turn of the chat.")
    ] = None,
    model: Annotated[
        str, typer.Option(metavar="ID", help="Model of the catalogue, or a local folder.")
    ] = "bundled",
    max_new_tokens: Annotated[
        int, typer.Option(metavar="N", min=1, max=256, help="Longest answer, in tokens.")
    ] = 16,
    answer_token: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=0, show_default="0", help="Explain this token of the answer."
        ),
    ] = None,
    whole_answer: Annotated[
        bool, typer.Option("--whole-answer", help="Explain the answer and each word of it.")
    ] = False,
    attribute_answer: Annotated[
        bool, typer.Option("--attribute-answer", help="Score earlier tokens of the answer, too.")
    ] = False,
    target: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Explain this text in place of the answer.")
    ] = None,
    instead_of: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Why the target rather than this text.")
    ] = None,
    preset: Annotated[
        PresetName, typer.Option(help="How thorough; paper is the published procedure.")
    ] = "standard",
    granularity: Annotated[
        Granularity | None, typer.Option(show_default="token", help="What gets one score.")
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(metavar="N", show_default="0", help="Equal seeds give equal results."),
    ] = None,
    json: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write everything as JSON (- for standard output)."),
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the scores as CSV (- for standard output)."),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a self-contained page (- for standard output)."),
    ] = None,
) -> None:
    """Explain which parts of PROMPT made the model answer as it does.

    Exit status: 0 done, 1 failed, 2 bad input, 130 cancelled with Ctrl-C.
    """
    _show_what_the_terminal_cannot_encode()
    with _exit_codes():
        request = Request(
            model=model,
            prompt=read_prompt(prompt, chat=chat, system=system),
            target=read_target(answer_token, whole_answer, target, instead_of),
            max_new_tokens=max_new_tokens,
            attribute_answer=attribute_answer,
            config=read_config(preset, granularity, seed),
        )
        outputs = _outputs(json, csv, html)
        explanation, stored = _answer(request)

        from reagent_core.terminal import dark_background, show

        taken = any(path == STANDARD for path, _ in outputs)
        console = Console(stderr=taken, highlight=False)
        show(console, explanation, dark=dark_background(os.environ), stored=stored)
        for path, export in outputs:
            _write(path, export(explanation))
        if explanation.status == "cancelled":
            raise typer.Exit(EXIT_CANCELLED)


Export = Callable[[Explanation], str]


def _outputs(json: Path | None, csv: Path | None, html: Path | None) -> list[tuple[Path, Export]]:
    """Where to write what; every place has been tried, so that no run is in vain."""
    wanted: list[tuple[Path | None, Export]] = [(json, _json), (csv, _csv), (html, _html)]
    outputs = [(path, export) for path, export in wanted if path is not None]
    if len({path.absolute() for path, _ in outputs}) < len(outputs):
        raise InputError("Two of --json, --csv and --html name the same file.", "file")
    for path, _ in outputs:
        if path != STANDARD:
            check_writable(path)
    return outputs


def _json(explanation: Explanation) -> str:
    return dump(explanation) + "\n"


def _csv(explanation: Explanation) -> str:
    from reagent_core.export import scores_csv

    return scores_csv(explanation)


def _html(explanation: Explanation) -> str:
    from reagent_core.report import html_report

    return html_report(explanation)


def _write(path: Path, text: str) -> None:
    if path == STANDARD:
        stream = typer.get_binary_stream("stdout")
        stream.write(text.encode("utf-8"))
        stream.flush()
    else:
        write_text(path, text)


def _answer(request: Request) -> tuple[Explanation, bool]:
    """The explanation, and whether it was in the store; a new one that is complete is put there."""
    key = request.key(models.model_info(request.model))

    from reagent_core.store import Store

    store = Store()
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
    task = bar.add_task("Loading the model (half a minute when it is new here)", total=None)
    scorer = models.load(request.model)

    from reagent_core.explain import explain

    bar.update(task, description="Reading the prompt")
    with _ctrl_c() as cancelled:
        for progress in explain(request, scorer, cancelled):
            bar.update(
                task,
                description=f"Trying replacements, step {progress.done} of {progress.total}",
                total=progress.total,
                completed=progress.done,
            )
    return progress.explanation


@contextlib.contextmanager
def _ctrl_c() -> Iterator[Callable[[], bool]]:
    """Within it the first Ctrl-C only makes the yielded function true; the second ends at once."""
    pressed = False

    def note(signal_number: int, frame: object) -> None:
        nonlocal pressed
        pressed = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)


_FIELDS = {"system": "system turn", "file": "output file"}


@contextlib.contextmanager
def _exit_codes() -> Iterator[None]:
    """Every error as one sentence on standard error and its exit code."""
    try:
        yield
    except (typer.Exit, BrokenPipeError):
        raise  # typer ends quietly when nobody reads the output any more
    except InputError as error:
        _complain(f"Error in the {_FIELDS.get(error.field, error.field)}: {error}")
        raise typer.Exit(EXIT_BAD_INPUT) from None
    except (Cancelled, KeyboardInterrupt):
        _complain("Cancelled before there was anything to keep.")
        raise typer.Exit(EXIT_CANCELLED) from None
    except ReagentError as error:
        _complain(f"Error: {error}")
        raise typer.Exit(EXIT_FAILED) from None
    except Exception as error:
        if os.environ.get("REAGENT_DEBUG") == "1":
            traceback.print_exc()
        reason = f"{type(error).__name__}: {error}".rstrip(": .")
        _complain(f"Failed: {reason}. Set REAGENT_DEBUG=1 to see where in the program.")
        raise typer.Exit(EXIT_FAILED) from None


def _complain(sentence: str) -> None:
    from reagent_core.terminal import printable

    console = Console(stderr=True)
    console.print(Text(printable(sentence), "bold red"), soft_wrap=True)


def _show_what_the_terminal_cannot_encode() -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    main()
