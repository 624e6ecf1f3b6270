"""Several explanations as one ZIP file."""

from __future__ import annotations

import io
import json
import re
import unicodedata
import zipfile
from collections.abc import Iterable

from reagent_core.explanation import Explanation, dump
from reagent_core.export import scores_csv
from reagent_core.library import Entry, entry_data

_LONGEST = 40


def bundle(kept: Iterable[tuple[Entry, Explanation]]) -> bytes:
    """A ZIP file with the JSON and the scores (CSV) of each, and `contents.json`.

    File names are made of the entries' names, else of their prompts: ASCII letters, digits and
    hyphens, numbered in the order given, so that each is unique and safe on every system.
    `contents.json` lists the entries as `reagent list --json` does, with their files' stem in
    "file".
    """
    made, contents = io.BytesIO(), []
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, (entry, explanation) in enumerate(kept, start=1):
            stem = f"{number:03}-{_slug(entry.name or entry.prompt)}"
            archive.writestr(f"{stem}.json", dump(explanation) + "\n")
            archive.writestr(f"{stem}.csv", scores_csv(explanation))
            contents.append({"file": stem, **entry_data(entry)})
        archive.writestr("contents.json", json.dumps(contents, indent=1, ensure_ascii=False))
    return made.getvalue()


def _slug(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text[:400]).encode("ascii", "ignore").decode()
    words = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")
    return words[:_LONGEST].strip("-") or "explanation"
