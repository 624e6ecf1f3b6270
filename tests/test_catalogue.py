"""The list of models: the shipped one, the user's own, and what is said of a broken one."""

from __future__ import annotations

from pathlib import Path

import pytest

from reagent_core.catalogue import HubEntry, ServerEntry, catalogue, shipped
from reagent_core.errors import ModelError

QWEN = """
[[model]]
id = "Qwen/Qwen3-0.6B"
name = "Qwen at work"
kind = "hub"
repo = "Qwen/Qwen3-0.6B"
revision = "v1"
size = 596_049_920
"""
OURS = """
[[model]]
id = "ours"
name = "Ours"
kind = "server"
url = "http://10.0.0.7:8000/v1/"
key_env = "OUR_KEY"
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own file, empty at first."""
    file = tmp_path / "models.toml"
    file.touch()
    monkeypatch.setenv("REAGENT_MODELS", str(file))
    return file


def test_the_shipped_list_begins_with_the_bundled_model_and_has_those_of_the_paper() -> None:
    entries = shipped()
    assert entries[0].id == "bundled"
    repos = {entry.repo for entry in entries if isinstance(entry, HubEntry)}
    paper = {"gpt2-medium", "gpt2-xl", "gpt-j-6b", "opt-350m", "opt-1.3b", "opt-6.7b"}
    assert paper <= {repo.split("/")[1] for repo in repos}
    for family in ("Qwen", "Llama", "gemma", "SmolLM2"):
        assert any(family in repo for repo in repos)


def test_every_shipped_entry_says_what_it_is_good_for_and_how_large_it_is() -> None:
    for entry in shipped():
        assert entry.good_for.endswith(".") and len(entry.good_for) < 120
        assert entry.size


def test_a_file_of_ones_own_adds_and_replaces(own: Path) -> None:
    own.write_text(QWEN + OURS)
    entries = {entry.id: entry for entry in catalogue()}
    assert list(entries) == [*(entry.id for entry in shipped()), "ours"]
    qwen, ours = entries["Qwen/Qwen3-0.6B"], entries["ours"]
    assert (qwen.name, qwen.revision, qwen.size) == ("Qwen at work", "v1", 596_049_920)
    assert isinstance(ours, ServerEntry)
    assert (ours.url, ours.dialect, ours.concurrency) == ("http://10.0.0.7:8000/v1", "auto", 4)


def test_a_changed_file_is_read_again(own: Path) -> None:
    assert catalogue() == shipped()
    own.write_text(OURS)
    assert catalogue()[-1].id == "ours"


def test_without_a_variable_it_is_looked_for_in_the_users_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platformdirs.user_config_dir", lambda name: str(tmp_path / name))
    assert catalogue() == shipped()
    (tmp_path / "reagent").mkdir()
    (tmp_path / "reagent" / "models.toml").write_text(OURS)
    assert catalogue()[-1].id == "ours"


def test_paths_are_relative_to_the_file(own: Path) -> None:
    own.write_text('[[model]]\nid = "f"\nname = "F"\nkind = "gguf"\npath = "weights/f.gguf"\n')
    assert catalogue()[-1].path == own.parent / "weights" / "f.gguf"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[[model]\n", r"cannot be read: .*line 1"),
        ("[models]\n", r"unknown part 'models'.*\[\[model\]\]"),
        ("[model]\nid = 1\n", r"has one table \[model\].*\[\[model\]\]"),
        (OURS + OURS, r"two entries with id 'ours'\. Give one of them another id"),
        (OURS.replace('"server"', '"cloud"'), r"entry 1 \(ours\): kind: .*'cloud'.*'bundled'"),
        (OURS.replace('kind = "server"\n', ""), r"entry 1 \(ours\): kind: "),
        (OURS + "port = 8000\n", r"entry 1 \(ours\): port: Extra inputs are not permitted"),
        (QWEN + OURS.replace('"http://10', '"10'), r"entry 2 \(ours\): url: should be an address"),
        (QWEN.replace('repo = "Qwen', 'repo = "a/Qwen'), r"entry 1 \(Qwen/Qwen3-0\.6B\): repo: "),
        (OURS.replace('id = "ours"', 'id = ""'), r"entry 1 \(\): id: String should have at least"),
        ("model = [1]\n", r"entry 1: kind: "),
    ],
)
def test_a_broken_file_is_told_in_a_sentence(own: Path, text: str, sentence: str) -> None:
    own.write_text(text)
    with pytest.raises(ModelError, match=sentence) as caught:
        catalogue()
    assert str(own) in str(caught.value)


def test_a_file_that_is_not_there_is_told(own: Path) -> None:
    own.unlink()
    with pytest.raises(ModelError, match=r"cannot be read: .*REAGENT_MODELS"):
        catalogue()


def test_a_key_written_into_the_file_is_refused_and_not_repeated(own: Path) -> None:
    own.write_text(OURS.replace("OUR_KEY", "sk-proj-1234567890"))
    with pytest.raises(ModelError, match="key_env") as caught:
        catalogue()
    assert "1234567890" not in str(caught.value)


def test_a_model_of_the_hub_needs_its_size(own: Path) -> None:
    own.write_text(QWEN.replace("size = 596_049_920\n", ""))
    with pytest.raises(ModelError, match=r"entry 1 \(Qwen/Qwen3-0\.6B\): size is missing"):
        catalogue()
