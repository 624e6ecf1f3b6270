"""The models on offer as a list: for a terminal, and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict

from rich.table import Table

from reagent_core.availability import Availability, availability, millions
from reagent_core.catalogue import Entry, catalogue
from reagent_core.hardware import place

Listed = list[tuple[Entry, Availability]]


def model_list() -> Listed:
    """Every entry of the catalogue with what choosing it means on this machine.

    Raises:
        ModelError: the catalogue or an environment variable is wrong.
    """
    place()  # finds out about a GPU first; imports torch where there may be one
    return [(entry, availability(entry)) for entry in catalogue()]


def models_table(listed: Listed) -> Table:
    """One row a model."""
    table = Table(box=None, pad_edge=False)
    table.add_column("Id", no_wrap=True)
    table.add_column("Kind")
    table.add_column("Parameters", justify="right")
    table.add_column("Here")
    table.add_column("Fits")
    table.add_column("Name and use")
    for entry, told in listed:
        fits = {True: "yes", False: "no", None: "-"}[told.fits]
        size = millions(entry.size) if entry.size else "-"
        table.add_row(
            entry.id, entry.kind, size, told.short, fits, f"{entry.name}: {entry.good_for}"
        )
    return table


def models_json(listed: Listed) -> str:
    """A list of objects: the fields of the entry, and under "availability" those of the other."""
    return json.dumps(
        [{**entry.model_dump(mode="json"), "availability": asdict(told)} for entry, told in listed],
        indent=1,
    )
