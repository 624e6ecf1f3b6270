"""What the command line owes the shell it runs in: exit codes, Ctrl-C, a terminal's encoding."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator

import typer
from rich.console import Console
from rich.text import Text

from reagent_core.errors import Cancelled, InputError, ReagentError

EXIT_FAILED, EXIT_BAD_INPUT, EXIT_CANCELLED = 1, 2, 130


@contextlib.contextmanager
def ctrl_c() -> Iterator[Callable[[], bool]]:
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
def exit_codes() -> Iterator[None]:
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


def show_what_the_terminal_cannot_encode() -> None:
    """Characters that the terminal lacks appear as escapes; they are no reason to fail."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
