"""Models of the hub: identity, what is downloaded, the cache, and a sentence for every failure.

Against a small server on this computer that speaks the hub's API.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from reagent_core import hub, models
from reagent_core.availability import availability
from reagent_core.errors import InputError, ModelError
from reagent_core.in_memory import ModelsInMemory
from reagent_core.request import ModelInfo
from tests.hub_server import SHA, HubServer, refusing, serving, silence, trickle


def point_to(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `url` the hub of this process, as HF_ENDPOINT does before the library is imported."""
    monkeypatch.setattr(constants, "ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    hub.forget()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and nobody logged in."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "AGENT_HARNESSES_PATH", str(tmp_path / "harnesses.json"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(models, "IN_MEMORY", ModelsInMemory())
    hub.forget()
    return tmp_path / "hub"


@pytest.fixture
def repo(saved: Path, tmp_path: Path) -> Path:
    """What the hub has: the tiny model, and files that nobody here needs."""
    folder = tmp_path / "repo"
    folder.mkdir()
    for file in saved.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "pytorch_model.bin").write_bytes(b"pickled" * 1000)
    (folder / "consolidated.safetensors").write_bytes(b"the same again" * 1000)
    (folder / "README.md").write_text("# Tiny")
    (folder / "onnx").mkdir()
    (folder / "onnx" / "config.json").write_text("{}")
    return folder


@pytest.fixture
def server(repo: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with serving(repo) as running:
        point_to(running.url, monkeypatch)
        yield running


def test_its_identity_is_the_commit_and_costs_one_question_a_minute(
    server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        info = models.model_info("owner/tiny")
        assert info == ModelInfo(id="owner/tiny", revision_or_sha256=SHA)
    about_models = [each for each in server.asked if "agent-harnesses" not in each]
    assert about_models == ["GET /api/models/owner/tiny/revision/main"]
    later = time.monotonic() + 61
    monkeypatch.setattr("time.monotonic", lambda: later)
    models.model_info("owner/tiny")
    assert server.asked.count(about_models[0]) == 2


def test_it_is_downloaded_and_loaded(server: HubServer, saved: Path) -> None:
    scorer = models.load("owner/tiny")
    assert scorer.info == ModelInfo(id="owner/tiny", revision_or_sha256=SHA)
    assert scorer.tokenizer.encode("the cat", add_special_tokens=False).token_ids == (3, 4)


def test_only_what_is_needed_is_downloaded(server: HubServer, repo: Path) -> None:
    told = hub.look_up("owner/tiny", "main")
    folder = hub.download(told, "main")
    names = {file.name for file in folder.rglob("*")}
    assert names == {
        "config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
        "tokenizer_config.json",
    }  # fmt: skip
    assert told.download_bytes == sum((repo / name).stat().st_size for name in names)


def test_what_is_on_disk_needs_no_network(
    server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = models.load("owner/tiny").info
    point_to(refusing(), monkeypatch)
    server.asked.clear()
    assert models.model_info("owner/tiny") == before
    assert models.load("owner/tiny").info == before
    assert server.asked == []
    assert availability(models.resolve("owner/tiny")).on_disk


@pytest.mark.parametrize("revision", ["v2", SHA])
def test_a_revision_is_kept_apart(
    server: HubServer, monkeypatch: pytest.MonkeyPatch, revision: str
) -> None:
    info = models.load(f"owner/tiny@{revision}").info
    assert info == ModelInfo(id=f"owner/tiny@{revision}", revision_or_sha256=SHA)
    point_to(refusing(), monkeypatch)
    assert models.model_info(info.id) == info
    with pytest.raises(ModelError, match="cannot be reached"):
        models.model_info("owner/tiny@main2")


def test_a_download_that_was_cut_off_goes_on(server: HubServer, cache: Path) -> None:
    told = hub.look_up("owner/tiny", "main")
    folder = hub.download(told, "main")
    (folder / "model.safetensors").unlink()
    assert hub.on_disk("owner/tiny", "main") is None
    assert hub.download(told, "main") == folder
    assert hub.on_disk("owner/tiny", "main") == folder


def test_nothing_is_drawn_on_the_terminal(
    server: HubServer, capfd: pytest.CaptureFixture[str]
) -> None:
    models.load("owner/tiny")
    assert capfd.readouterr() == ("", "")


def test_before_it_is_chosen_it_says_what_a_download_takes(server: HubServer) -> None:
    told = availability(models.resolve("owner/tiny"))
    assert not told.on_disk and told.fits
    assert told.download_bytes == hub.look_up("owner/tiny", "main").download_bytes
    assert "Needs a download of about" in told.text


def test_an_id_the_hub_does_not_know(server: HubServer) -> None:
    with pytest.raises(ModelError, match=r"hub has no model owner/tinny.*spelling.*HF_TOKEN") as it:
        models.load("owner/tinny")
    assert isinstance(it.value, InputError) and it.value.field == "model"


def test_a_revision_the_model_does_not_have(server: HubServer) -> None:
    with pytest.raises(ModelError, match=r"owner/tiny has no revision 'v3'"):
        models.load("owner/tiny@v3")


def test_pickled_weights_are_refused_with_what_to_do(server: HubServer, repo: Path) -> None:
    (repo / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"no safetensors weights.*save_pretrained.*that folder"):
        models.load("owner/tiny")


def test_a_gated_model_says_how_to_get_in(
    server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.gated = True
    with pytest.raises(ModelError, match=r"owner/tiny is gated.*licence.*HF_TOKEN.*start again"):
        models.load("owner/tiny")
    monkeypatch.setenv("HF_TOKEN", "somebody-else")
    with pytest.raises(ModelError, match=r"gated.*with your token's account, then try again"):
        models.load("owner/tiny")
    monkeypatch.setenv("HF_TOKEN", "let-me-in")
    assert models.load("owner/tiny").info.revision_or_sha256 == SHA


def test_a_hub_in_trouble_is_told(server: HubServer) -> None:
    server.status = 503
    with pytest.raises(ModelError, match=r"refused to give owner/tiny \(status 503\)"):
        models.load("owner/tiny")


def test_where_nothing_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    point_to(refusing(), monkeypatch)
    with pytest.raises(ModelError, match=r"not on disk, and the hub cannot be reached"):
        models.load("owner/tiny")


@pytest.mark.parametrize("hub_of", [silence, trickle])
def test_a_hub_that_never_answers_is_given_up_and_not_asked_again_at_once(
    monkeypatch: pytest.MonkeyPatch, hub_of: type
) -> None:
    monkeypatch.setattr(hub, "LOOK_UP_SECONDS", 0.5)
    with hub_of() as url:
        point_to(url, monkeypatch)
        started = time.monotonic()
        for _ in range(20):
            with pytest.raises(ModelError, match="the hub cannot be reached"):
                models.load("owner/tiny")
        assert time.monotonic() - started < 5, "it asked anew each time"


def test_offline_is_said(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=r"not on disk, and HF_HUB_OFFLINE forbids"):
        models.load("owner/tiny")
    assert server.asked == []


def test_a_full_disk_is_told_before_the_download(
    server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 100}))
    with pytest.raises(ModelError, match=r"of disk, and 100 bytes are free in .*HF_HUB_CACHE"):
        models.load("owner/tiny")
    assert not any("resolve" in each for each in server.asked)
