"""The library in a terminal: `reagent list` and `reagent library`."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from reagent_core.cli import app
from reagent_core.explanation import load
from reagent_core.importing import read_file
from reagent_core.library import Filter
from reagent_core.store import Store
from tests.light import run_without
from tests.test_library import FIXTURES, A, B, about, execute

AB = "ab" + "0" * 62


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Three explanations, of which two have ids that begin alike."""
    monkeypatch.setenv("REAGENT_CACHE_DIR", str(tmp_path))
    store = Store()
    store.put(A, about("The capital of France is", " Paris"))
    store.put(B, about("=1+1 \x1b[31m[bold]", " 2", model="org/other", settled=False))
    store.put(AB, about("Über den Wolken"))
    store.tag([A, B], ["demo"])
    return store


def reagent(*arguments: str) -> str:
    """The output of a command that ends well."""
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.stderr
    return result.stdout


def refused(*arguments: str, code: int = 2) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert (result.exit_code, result.stdout) == (code, "")
    return " ".join(result.stderr.split())


def listed(*arguments: str) -> set[str]:
    return {entry["key"] for entry in json.loads(reagent("list", *arguments, "--json"))}


def test_the_table_shows_texts_as_they_are() -> None:
    shown = reagent("list")
    assert shown.splitlines()[0].split() == [
        "Id", "Kept", "Model", "Prompt", "Answer", "Verdict", "Name", "and", "tags",
    ]  # fmt: skip
    assert "“The capital of France is”" in shown and "[demo]" in shown
    assert "=1+1" in shown and "[bold]" in shown and "\x1b" not in shown
    assert "not settled" in shown and "org/other" in shown


def test_the_verdict_of_another_method_is_that_of_the_page(store: Store) -> None:
    store.put(AB, about("by gradients").model_copy(update={"method": "gradient_norm"}))
    assert "takes no steps" in reagent("list", "--search", "gradients")
    assert listed("--verdict", "settled") == {A} and listed("--verdict", "unsettled") == {B}


def test_ids_are_as_long_as_it_takes_to_tell_them_apart(store: Store) -> None:
    store.put("a" * 20 + "b" * 44, about("another"))
    shown = {line.split()[0] for line in reagent("list").splitlines()[1:]}
    assert {"a" * 21, "a" * 20 + "b"} < shown


def test_filters(store: Store) -> None:
    assert listed() == {A, B, AB}
    assert listed("--search", "ÜBER") == {AB}
    assert listed("--model", "org/other") == {B}
    assert listed("--tag", "demo", "--verdict", "settled") == {A}
    assert listed("--verdict", "unsettled") == {B}
    today = f"{store.entry(A).created.astimezone():%Y-%m-%d}"
    assert listed("--since", today, "--until", today) == {A, B, AB}
    assert listed("--until", "2020-01-01") == set() == listed("--since", "2999-01-01")
    assert len(listed("--limit", "2")) == 2
    assert "2 of 3" in reagent("list", "--limit", "2")
    assert "No explanation is like that." in reagent("list", "--search", "nowhere")


@pytest.mark.parametrize(
    ("option", "day"),
    [("--until", "9999-12-31"), ("--since", "9999-12-31"),
     ("--since", "0001-01-01"), ("--until", "0001-01-01")],
)  # fmt: skip
def test_days_out_of_reach_are_a_sentence(option: str, day: str) -> None:
    assert "Use a day from 1970 to 2999." in refused("list", option, day)


def test_bytes_that_are_no_text_do_no_harm(store: Store) -> None:
    raw = "caf\udce9 \0"  # as Python reads what another encoding has typed
    assert listed("--search", raw) == listed("--tag", raw) == listed("--model", raw) == set()
    reagent("library", "rename", "aa", raw)
    assert store.entry(A).name == "caf\ufffd \ufffd" and listed("--search", raw) == {A}
    reagent("library", "tag", "aa", "--add", raw)
    assert store.entry(A).tags == ("caf\ufffd \ufffd", "demo") and listed("--tag", raw) == {A}
    reagent("library", "tag", "aa", "--remove", raw)
    assert store.entry(A).tags == ("demo",)
    assert "No explanation has an id" in refused("library", "show", raw)


def test_what_the_page_does_can_be_done_here(store: Store, tmp_path: Path) -> None:
    reagent("library", "rename", "aa", "my name")
    reagent("library", "tag", "aa", "ab", "--add", "new", "--remove", "demo")
    assert (store.entry(A).name, store.entry(A).tags, store.entry(AB).tags) == (
        "my name", ("new",), ("new",),
    )  # fmt: skip
    assert "Deleted 2" in reagent("library", "delete", "aa", "ab")
    assert listed() == {B} and listed("--deleted") == {A, AB}
    assert "Brought back 1" in reagent("library", "restore", "aa")
    assert "Paris" in reagent("library", "show", "aa")
    reagent("library", "export", str(tmp_path / "two.zip"), "aa", "b")
    with zipfile.ZipFile(tmp_path / "two.zip") as archive:
        assert load(archive.read("001-my-name.json")) == store.get(A)
        assert store.count(Filter(search="my name")) == 1


def test_what_is_imported_is_listed_once(store: Store) -> None:
    file = str(FIXTURES / "iterations_data.json")
    imported = json.loads(reagent("import", file, "--name", "from a notebook", "--json"))
    assert reagent("import", file).startswith(f"Imported as {imported['id']}")
    assert listed("--search", "notebook") == {imported["id"]} == listed() - {A, B, AB}
    shown = reagent("list")
    assert shown.count("“The capital of France is”") == 2 and "from a notebook" in shown
    assert store.get(imported["id"]) == read_file(FIXTURES / "iterations_data.json")


def test_mistakes_are_sentences(store: Store, tmp_path: Path) -> None:
    assert "Several explanations have ids that start with 'a'" in refused("library", "show", "a")
    assert "No explanation has an id that starts with 'c'" in refused("library", "delete", "c")
    assert "201 characters" in refused("library", "rename", "aa", "x" * 201)
    assert "cannot be written" in refused("library", "export", str(tmp_path / "no" / "x"), "aa")
    execute(f"sqlite:///{store.name}", "UPDATE reagent_schema SET version_num = '9999'")
    assert "written by a newer version of this program" in refused("list", code=1)


def test_an_empty_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REAGENT_CACHE_DIR", str(tmp_path / "empty"))
    assert reagent("list") == "Nothing is kept.\n"
    assert reagent("list", "--json") == "[]\n"


def test_a_list_needs_no_model_and_no_data_frames() -> None:
    printed = run_without(
        {"torch", "transformers", "scipy", "pandas", "psycopg", "alembic"},
        "from reagent_core.cli import app\napp(['list'], standalone_mode=False)",
    )
    assert "Paris" in printed
