"""The logic of the page Library, without a browser."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from streamlit.testing.v1 import AppTest

from components import library_actions, runs
from reagent_core.database import LibraryError
from reagent_core.library import Entry, Filter
from reagent_core.store import Store
from tests.test_library import A, B, C, about, execute

PAGE = str(Path(__file__).parent.parent.parent / "pages" / "library.py")


@pytest.fixture
def three(store: Store) -> Store:
    store.put(A, about("The capital of France is", " Paris"))
    store.put(B, about("<img src=x> **b** =1+1", model="org/other", settled=False))
    store.put(C, about("über alles"))
    store.tag([A, B], ["demo"])
    return store


def page() -> AppTest:
    return AppTest.from_file(PAGE, default_timeout=30).run()


def shown(test: AppTest) -> list[str]:
    """The prompts in the table."""
    assert not test.exception, test.exception
    return list(test.dataframe[0].value["Prompt"]) if test.dataframe else []


def select(test: AppTest, store: Store, *keys: str) -> AppTest:
    """What the browser would do by clicking on these rows."""
    entries = store.entries()
    rows = [place for place, entry in enumerate(entries) if entry.key in keys]
    table = f"library {hash(tuple(entry.key for entry in entries))}"
    test.session_state[table] = {"selection": {"rows": rows, "columns": [], "cells": []}}
    return test.run()


def press(test: AppTest, label: str) -> AppTest:
    (button,) = [button for button in test.button if button.label == label]
    return button.click().run()


def test_an_empty_library_says_what_to_do(store: Store) -> None:
    test = page()
    assert not test.exception and not test.dataframe
    assert "Nothing is kept yet" in test.info[0].value


def test_texts_are_shown_as_they_are(three: Store) -> None:
    test = page()
    assert shown(test) == ["über alles", "<img src=x> **b** =1+1", "The capital of France is"]
    frame = test.dataframe[0].value
    assert list(frame["Verdict"]) == ["Settled", "Not settled", "Settled"]
    assert list(frame["Tags"][1]) == ["demo"]


def test_search_and_filters(three: Store) -> None:
    test = page()
    assert shown(test.text_input(key="library search").set_value("ÜBER").run()) == ["über alles"]
    test.text_input(key="library search").set_value("").run()
    test.selectbox(key="library tag").set_value("demo").run()
    assert len(shown(test)) == 2
    test.selectbox(key="library verdict").set_value("Not settled").run()
    assert shown(test) == ["<img src=x> **b** =1+1"]
    test.selectbox(key="library model").set_value("bundled").run()
    assert shown(test) == [] and "No explanation is like that" in test.info[0].value


def test_a_range_of_days(three: Store) -> None:
    today = three.entry(A).created.astimezone().date()
    test = page()
    test.date_input(key="library days").set_value((today, today)).run()
    assert len(shown(test)) == 3
    past = today.replace(year=today.year - 1, day=1)
    test.date_input(key="library days").set_value((past, past)).run()
    assert shown(test) == []


def test_many_come_in_pages(store: Store) -> None:
    for number in range(53):
        store.put(f"{number:064x}", about(f"prompt {number}"))
    test = page()
    assert len(shown(test)) == 50
    assert "53 found" in " ".join(caption.value for caption in test.caption)


def test_one_is_named_and_tagged(three: Store) -> None:
    test = select(page(), three, A)
    test.text_input(key=f"library name {A}").set_value("  my <b>name</b> ").run()
    assert three.entry(A).name == "my <b>name</b>"
    tags = f"library tags {hash((A,))}"
    test.multiselect(key=tags).set_value(["demo", " new tag"]).run()
    assert three.entry(A).tags == ("demo", "new tag")
    test.multiselect(key=tags).set_value(["new tag"]).run()
    assert three.entry(A).tags == ("new tag",)
    test.multiselect(key=tags).set_value(["new tag", "x" * 51]).run()
    assert "1 to 50 characters" in test.error[0].value
    assert three.entry(A).tags == ("new tag",)


def test_several_share_the_tags_that_all_have(three: Store) -> None:
    three.tag([A], ["mine"])
    test = select(page(), three, A, B)
    (tags,) = [field for field in test.multiselect if field.label == "Tags they all have"]
    assert tags.value == ["demo"]
    tags.set_value(["new"]).run()
    assert three.entry(A).tags == ("mine", "new") and three.entry(B).tags == ("new",)


def test_a_deletion_is_undone_right_there(three: Store) -> None:
    assert runs.stored(A) is not None
    test = press(select(page(), three, A, B), "Delete")
    assert shown(test) == ["über alles"] and three.count() == 1
    assert runs.stored(A) is None  # nor is it shown from memory
    assert "Deleted 2 explanations" in " ".join(text.value for text in test.markdown)
    test = press(test, "Undo")
    assert len(shown(test)) == 3 and not [b for b in test.button if b.label == "Undo"]


def test_what_another_process_changes_is_noticed(three: Store) -> None:
    assert runs.stored(A) == three.get(A)
    three.put(A, about("Another answer"))
    assert runs.stored(A).prompt == "Another answer"
    three.delete([A])
    assert runs.stored(A) is None
    three.restore([A])
    assert runs.stored(A) is not None


def test_what_was_deleted_is_not_shown_from_its_run_either(three: Store) -> None:
    run = SimpleNamespace(explanation=about("anything"))
    runs.job_queue().submit(A, lambda cancelled: iter([run]), "me").wait(20)
    assert runs.peek(A).state == "done"
    test = press(select(page(), three, A), "Delete")
    assert not test.exception and runs.peek(A) is None
    press(test, "Undo")
    assert runs.stored(A) is not None


def test_what_was_deleted_is_shown_and_comes_back(three: Store) -> None:
    three.delete([A, B, C])
    test = page()
    assert "Nothing is kept" in test.info[0].value
    test.toggle(key="library gone").set_value(True).run()
    assert len(shown(test)) == 3
    entries = three.entries(Filter(deleted=True))
    table = f"library {hash(tuple(entry.key for entry in entries))}"
    test.session_state[table] = {"selection": {"rows": [0], "columns": [], "cells": []}}
    press(test.run(), "Bring back 1 explanation")
    assert [entry.key for entry in three.entries()] == [entries[0].key]


def test_what_is_selected_is_exported(three: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    offered: list[bytes] = []
    monkeypatch.setattr(
        library_actions.st, "download_button", lambda label, made, *_, **__: offered.append(made())
    )
    long = "A long prompt. " * 100
    three.put(A, about(long))
    test = select(page(), three, A, B)
    assert not test.exception
    archive = zipfile.ZipFile(io.BytesIO(offered[-1]))
    assert sorted(archive.namelist())[:2] == [
        "001-img-src-x-b-1-1.csv", "001-img-src-x-b-1-1.json",
    ]  # fmt: skip
    assert len(archive.namelist()) == 5
    # The list holds no whole texts.
    assert json.loads(archive.read("contents.json"))[1]["prompt"] == long


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        ("UPDATE explanations SET payload = CAST('no' AS BLOB)", "damaged in the library"),
        ("UPDATE explanations SET schema_version = 99", "newer version"),
        ("DELETE FROM explanations", "not in the library any more"),
    ],
)
def test_an_export_is_whole_or_refused(
    three: Store, monkeypatch: pytest.MonkeyPatch, harm: str, why: str
) -> None:
    offered: list[tuple[Callable[[], bytes], bool]] = []
    monkeypatch.setattr(
        library_actions.st, "download_button",
        lambda label, made, *_, disabled, **__: offered.append((made, disabled)),
    )  # fmt: skip
    selected = [three.entry(A), three.entry(B)]
    said: list[str] = []
    monkeypatch.setattr(library_actions.st, "error", lambda text, **_: said.append(text))
    library_actions.draw_actions(selected, three)
    assert not offered[-1][1] and not said
    execute(f"sqlite:///{three.name}", f"{harm} WHERE key = '{A}'")  # while the page is open
    with pytest.raises(LibraryError, match=why):
        offered[-1][0]()
    library_actions.draw_actions(selected, three)
    assert offered[-1][1]
    (sentence,) = said
    assert "The capital of France is" in sentence and why in sentence
    assert three.count() == (2 if "DELETE" in harm else 3)  # a look removes nothing


def links(entries: list[Entry], monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, str]]:
    """Where the links for these entries lead."""
    made: dict[str, dict[str, str]] = {}
    monkeypatch.setattr(
        library_actions, "link_to", lambda name, label, query: made.update({name: query})
    )
    library_actions._links(entries, alone=len(entries) == 1)
    return made


def test_where_the_links_lead(three: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = three.entry(A), three.entry(B)
    assert links([one], monkeypatch) == {"explain": {"run": A}, "convergence": {"run": A}}
    assert links([one, two], monkeypatch) == {"compare": {"runs": f"{A},{B}"}}
    assert links([one] * 4, monkeypatch).keys() == {"compare"}
    other = replace(one, source="gradient_norm")
    assert links([one, other], monkeypatch) == {"methods": {"of": A}}
    assert links([other, other], monkeypatch).keys() == {"compare"}
    assert links([one] * 5, monkeypatch) == {}


def test_a_library_of_a_newer_version_is_a_sentence(three: Store) -> None:
    execute(f"sqlite:///{three.name}", "UPDATE reagent_schema SET version_num = '9999'")
    test = page()
    assert not test.exception and not test.dataframe
    assert "newer version of this program" in test.error[0].value


def test_an_entry_of_a_newer_version_can_only_be_named_and_deleted(three: Store) -> None:
    execute(f"sqlite:///{three.name}", "UPDATE explanations SET schema_version = 99")
    test = select(page(), three, A)
    assert "Needs a newer version" in set(test.dataframe[0].value["Verdict"])
    assert "after an update" in " ".join(caption.value for caption in test.caption)
    press(test, "Delete")
    assert three.count() == 2
