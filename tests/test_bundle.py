"""Several explanations in one ZIP file."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

from reagent_core.bundle import bundle
from reagent_core.explanation import load
from reagent_core.export import scores_csv
from reagent_core.store import Store
from tests.test_library import A, about


def test_each_is_in_it_under_a_safe_name_of_its_own(tmp_path: Path) -> None:
    store = Store(tmp_path / "library.sqlite3")
    store.put(A, about("prompt"))
    entry = store.entry(A)
    names = ["../../etc/passwd", "CON", "Zoë & Zoë", "Zoë & Zoë", "東京", "x" * 300, None]
    explanations = [about(f"prompt {number}") for number in range(len(names))]
    entries = [replace(entry, name=name, tags=("demo",)) for name in names]
    archive = zipfile.ZipFile(io.BytesIO(bundle(zip(entries, explanations, strict=True))))
    stems = [
        "001-etc-passwd", "002-con", "003-zoe-zoe", "004-zoe-zoe", "005-explanation",
        f"006-{'x' * 40}", "007-prompt",
    ]  # fmt: skip
    assert sorted(archive.namelist()) == sorted(
        [f"{stem}.{kind}" for stem in stems for kind in ("csv", "json")] + ["contents.json"]
    )
    for stem, explanation in zip(stems, explanations, strict=True):
        assert load(archive.read(f"{stem}.json")) == explanation
        assert archive.read(f"{stem}.csv").decode() == scores_csv(explanation)
    contents = json.loads(archive.read("contents.json"))
    assert [each["file"] for each in contents] == stems
    assert contents[2]["name"] == "Zoë & Zoë" and contents[2]["tags"] == ["demo"]
    assert contents[0]["created"] == entry.created.isoformat(timespec="seconds")
