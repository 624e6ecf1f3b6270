"""What an address names: a kept explanation by its key, or a shipped example by its id."""

from __future__ import annotations

from components import runs
from components.examples import explanation_of, found_by_method, is_example
from reagent_core.explanation import Explanation


def named(reference: str) -> Explanation | None:
    """The finished explanation that a reference names, None where there is none (any more).

    A reference is the key of a run (64 hex digits) or the id of an example; the two cannot be
    confused.
    """
    if is_example(reference):
        return explanation_of(reference)
    return runs.stored(reference) or found_by_method(reference)


def query_of(reference: str) -> dict[str, str]:
    """The part of an address that names this reference on the pages that show one explanation."""
    return {"example" if is_example(reference) else "run": reference}
