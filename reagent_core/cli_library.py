"""The library in a terminal: `reagent list`, and `reagent library` for what is done to entries."""

from __future__ import annotations

import json
import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from reagent_core.cli_process import exit_codes, show_what_the_terminal_cannot_encode
from reagent_core.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

    from reagent_core.library import Entry
    from reagent_core.store import Store

_SHORTEST_ID = 8

# Of the days that can be asked for: all of them have a time in seconds on every system.
_FIRST_YEAR, _LAST_YEAR = 1970, 2999

Verdict = Literal["settled", "unsettled"]
Id = Annotated[str, typer.Argument(metavar="ID", help="Its id, or the start of it.")]
Ids = Annotated[list[str], typer.Argument(metavar="ID...", help="Ids, or the starts of them.")]

library = typer.Typer(
    no_args_is_help=True, help="Open, name, tag, delete and export what `reagent list` shows."
)


def list_kept(
    search: Annotated[
        str, typer.Option(metavar="TEXT", help="Words in prompt, answer or name.")
    ] = "",
    model: Annotated[str | None, typer.Option(metavar="ID", help="Only of this model.")] = None,
    tag: Annotated[str | None, typer.Option(metavar="TAG", help="Only with this tag.")] = None,
    verdict: Annotated[Verdict | None, typer.Option(help="Only with this verdict.")] = None,
    since: Annotated[
        datetime | None,
        typer.Option(metavar="DATE", formats=["%Y-%m-%d"], help="Kept on this day or later."),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(metavar="DATE", formats=["%Y-%m-%d"], help="Kept on this day or earlier."),
    ] = None,
    deleted: Annotated[
        bool, typer.Option("--deleted", help="Those that were deleted and can be restored.")
    ] = False,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="At most so many.")] = 20,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON in place of a table.")
    ] = False,
) -> None:
    """List the explanations that are kept, newest first.

    Days are those of this computer's time zone.
    """
    show_what_the_terminal_cannot_encode()
    with exit_codes():
        from reagent_core.library import Filter, entry_data

        wanted = Filter(
            search=search,
            model=model,
            tag=tag,
            settled=None if verdict is None else verdict == "settled",
            since=_start_of(since) if since else None,
            until=_start_of(until, days_later=1) if until else None,
            deleted=deleted,
        )
        store = _store()
        entries = store.entries(wanted, limit=limit)
        if as_json:
            typer.echo(json.dumps([entry_data(entry) for entry in entries], indent=1))
            return
        console = Console(highlight=False)
        if entries:
            console.print(_table(entries))
        count = store.count(wanted)
        if count > len(entries):
            console.print(f"{len(entries)} of {count:,}; --limit shows more.")
        elif not entries:
            console.print("No explanation is like that." if store.count() else "Nothing is kept.")


@library.command("show")
def _show(start: Id) -> None:
    """Show an explanation as `reagent explain` did."""
    show_what_the_terminal_cannot_encode()
    with exit_codes():
        from reagent_core.terminal import dark_background, show

        store = _store()
        entry = store.entry(start)
        explanation = store.open(entry.key)
        dark = dark_background(os.environ)
        show(Console(highlight=False), explanation, dark=dark, stored=True)


@library.command("rename")
def _rename(
    start: Id, name: Annotated[str, typer.Argument(metavar="NAME", help="Empty: no name.")]
) -> None:
    """Give an explanation a name."""
    with exit_codes():
        store = _store()
        store.rename(store.entry(start).key, name)


@library.command("tag")
def _tag(
    starts: Ids,
    add: Annotated[list[str] | None, typer.Option(metavar="TAG", help="Add this tag.")] = None,
    remove: Annotated[
        list[str] | None, typer.Option(metavar="TAG", help="Remove this tag.")
    ] = None,
) -> None:
    """Add tags to explanations, or remove them; --add and --remove may be repeated."""
    with exit_codes():
        store = _store()
        store.tag(_keys(store, starts), add or (), remove or ())


@library.command("delete")
def _delete(starts: Ids) -> None:
    """Delete explanations. `reagent library restore` undoes it for a week."""
    with exit_codes():
        store = _store()
        count = store.delete(_keys(store, starts))
        typer.echo(f"Deleted {count}. `reagent library restore` brings back what went by mistake.")


@library.command("restore")
def _restore(starts: Ids) -> None:
    """Bring deleted explanations back (`reagent list --deleted` shows them)."""
    with exit_codes():
        store = _store()
        typer.echo(f"Brought back {store.restore(_keys(store, starts))}.")


@library.command("export")
def _export(
    file: Annotated[Path, typer.Argument(metavar="FILE.zip", help="Where to write it.")],
    starts: Ids,
) -> None:
    """Write explanations into one ZIP file: JSON and scores (CSV) of each."""
    with exit_codes():
        from reagent_core.bundle import bundle

        store = _store()
        entries = [store.entry(start) for start in starts]
        made = bundle((entry, store.open(entry.key)) for entry in entries)
        try:
            file.write_bytes(made)
        except OSError as error:
            reason = error.strerror or error
            raise InputError(
                f"The file {str(file)!r} cannot be written: {reason}. Choose another one.", "file"
            ) from None


def _start_of(day: datetime, days_later: int = 0) -> datetime:
    """The first moment of a day, or of one some days later, in this computer's time zone.

    Raises:
        InputError: the day has no time in seconds on some systems (field "date").
    """
    if not _FIRST_YEAR <= day.year <= _LAST_YEAR:
        raise InputError(
            f"{day:%Y-%m-%d} is too far away. Use a day from {_FIRST_YEAR} to {_LAST_YEAR}.", "date"
        )
    return (day + timedelta(days=days_later)).astimezone()


def _store() -> Store:
    from reagent_core.store import Store

    return Store()


def _keys(store: Store, starts: list[str]) -> list[str]:
    return [store.entry(start).key for start in starts]


def _table(entries: list[Entry]) -> Table:
    """One row an entry; of the ids as much as tells them apart."""
    from rich.table import Table
    from rich.text import Text

    from reagent_core.terminal import printable
    from reagent_core.wording import quoted

    length = _SHORTEST_ID
    while len({entry.key[:length] for entry in entries}) < len(entries):
        length += 1
    table = Table(box=None, pad_edge=False)
    table.add_column("Id", no_wrap=True)
    table.add_column("Kept", no_wrap=True)
    for heading in ("Model", "Prompt", "Answer", "Verdict"):
        table.add_column(heading)
    named = any(entry.name or entry.tags for entry in entries)
    if named:
        table.add_column("Name and tags")
    for entry in entries:
        row = [
            entry.key[:length],
            f"{entry.created.astimezone():%Y-%m-%d %H:%M}" if entry.created else "-",
            entry.model,
            quoted(entry.prompt, 50),
            quoted(entry.answer, 30),
            entry.verdict.lower(),
        ]
        if named:
            row.append(" ".join([*([entry.name] if entry.name else []),
                                 *(f"[{tag}]" for tag in entry.tags)]))  # fmt: skip
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table
