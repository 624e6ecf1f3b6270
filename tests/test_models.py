"""Choosing a model: what there is, what pins it, loading it once, and plain sentences."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from reagent_core import bundled as bundled_model
from reagent_core import models
from reagent_core.catalogue import BundledEntry, Entry, FolderEntry, HubEntry, ServerEntry
from reagent_core.errors import InputError, ModelError
from reagent_core.hardware import Place
from reagent_core.request import ModelInfo
from reagent_core.study.cost import study_cost
from reagent_core.study.plan import Row, Study
from tests.tiny import TinyScorer


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model that a test may spoil."""
    copy = tmp_path / "tiny"
    copy.mkdir()
    for file in saved.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    return copy


def test_asking_about_the_bundled_model_imports_no_torch() -> None:
    program = (
        "import sys; from reagent_core import models\n"
        "print(models.model_info('bundled').id)\n"
        "print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["SmolLM2-135M-Instruct", "[]"]


def test_what_a_run_costs_is_known_without_the_weights(folder: Path) -> None:
    study = Study(
        name="cats",
        rows=(Row(index=0, prompt="the cat sat on"), Row(index=1, prompt="the mat. " * 30)),
        models=(str(folder),),
        methods=("reagent", "gradient_norm", "attention", "leave_one_out"),
        max_new_tokens=4,
    )
    outline = models.outline(str(folder))
    assert outline is not None and models.in_memory(str(folder)) is None
    whole = study_cost(study, str(folder), models.load(str(folder)), None)
    assert study_cost(study, str(folder), outline, None, refused=()) == whole
    assert whole.unread == 1, "it is longer than this model reads"
    with pytest.raises(RuntimeError, match="meta"):
        outline.score(np.array([[1, 2]]), [3])


def test_of_a_model_that_is_not_here_no_cost_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models.hub, "look_up", None)  # nobody is asked
    assert models.outline("nobody/nothing") is None


def test_the_id_in_a_result_names_the_model_again() -> None:
    info = models.model_info("bundled")
    assert info == ModelInfo(
        id="SmolLM2-135M-Instruct", revision_or_sha256=bundled_model.GGUF_SHA256
    )
    assert models.model_info(info.id) == info


@pytest.mark.parametrize(
    "name",
    [
        "xyz",
        "",
        "a\0b",
        "\ud800",
        "/nowhere/at/all",
        "./owner/model",
        "no.gguf",
        "a/b.gguf",
        "m" * 5000,
    ],
)
def test_an_unknown_model_is_refused_at_once_with_a_sentence(name: str) -> None:
    started = time.monotonic()
    with pytest.raises(ModelError, match=r"There is no model .* here") as caught:
        models.load(name)
    assert time.monotonic() - started < 2
    assert isinstance(caught.value, InputError) and caught.value.field == "model"
    message = str(caught.value)
    assert "Choose one of the list, or give a hub id" in message
    assert len(message.encode("utf-8")) < 300


def test_a_local_folder_is_pinned_by_its_content(folder: Path) -> None:
    before = models.model_info(str(folder))
    assert before.id == str(folder)
    assert models.model_info(str(folder)) == before
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 0.5}))
    assert models.model_info(str(folder)).revision_or_sha256 != before.revision_or_sha256


def test_the_same_content_elsewhere_has_the_same_hash(folder: Path, saved: Path) -> None:
    hashes = {models.model_info(str(place)).revision_or_sha256 for place in (folder, saved)}
    assert len(hashes) == 1


def test_a_folder_without_a_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has no config\.json"):
        models.model_info(str(tmp_path))


def test_pickled_weights_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="can run code; save the model again as safetensors"):
        models.load(str(folder))


def test_a_cut_off_weight_file_is_refused(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    with pytest.raises(ModelError, match=r"cannot be loaded: .+ Check that the folder"):
        models.load(str(folder))


def test_missing_weights_are_refused_rather_than_made_up(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    del tensors["lm_head.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks weights, among them 'lm_head\.weight'"):
        models.load(str(folder))


def test_code_in_a_model_folder_is_not_run(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Own"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text("from pathlib import Path\nPath(__file__ + '.ran').touch()\n")
    with pytest.raises(ModelError, match="cannot be loaded"):
        models.load(str(folder))
    assert not (folder / "own.py.ran").exists()


def test_a_local_folder_is_loaded_once_by_many_threads(folder: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        scorers = list(pool.map(models.load, [str(folder)] * 4))
    assert len({id(scorer) for scorer in scorers}) == 1
    assert scorers[0].info == models.model_info(str(folder))


def test_a_folder_that_changed_is_loaded_anew(folder: Path) -> None:
    first = models.load(str(folder))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 0.5}))
    second = models.load(str(folder))
    assert second is not first
    assert second.info != first.info


def test_loading_draws_nothing_on_the_terminal(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    models.load(str(folder))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("bundled", BundledEntry),
        ("SmolLM2-135M-Instruct", BundledEntry),
        ("openai-community/gpt2-medium", HubEntry),
        ("someone/else_1.5", HubEntry),
        ("http://localhost:8000", ServerEntry),
        ("HTTPS://models.example.org/v1", ServerEntry),
    ],
)
def test_what_a_name_stands_for(name: str, entry: type[Entry]) -> None:
    assert isinstance(models.resolve(name), entry)


def test_a_hub_id_may_name_a_revision() -> None:
    entry = models.resolve("someone/model@refs/pr/3")
    assert isinstance(entry, HubEntry)
    assert (entry.repo, entry.revision) == ("someone/model", "refs/pr/3")
    assert models.resolve("someone/model").revision == "main"


def test_a_folder_goes_before_a_hub_id(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent.parent)
    entry = models.resolve(f"{folder.parent.name}/{folder.name}")
    assert isinstance(entry, FolderEntry) and entry.path == folder


def test_a_typed_address_needs_leave() -> None:
    with pytest.raises(InputError, match=r"others use this server.*models\.toml"):
        models.resolve("http://127.0.0.1:8000", urls_allowed=False)


def test_a_configured_address_needs_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["[[model]]", 'id = "ours"', 'name = "Ours"', 'kind = "server"', 'url = "http://h:1"']
    (tmp_path / "models.toml").write_text("\n".join(lines))
    monkeypatch.setenv("REAGENT_MODELS", str(tmp_path / "models.toml"))
    assert models.resolve("ours", urls_allowed=False).url == "http://h:1"


@pytest.mark.parametrize("url", ["http://", "https://me:secret@host", "http://host/v1?key=abc"])
def test_an_address_that_cannot_be_used_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="The address cannot be used: it should") as caught:
        models.resolve(url)
    assert "secret" not in str(caught.value) and "abc" not in str(caught.value)


def test_a_server_is_connected_once_for_each_model_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    served = ["first"]
    connections = []

    def server_info(entry: ServerEntry) -> ModelInfo:
        return ModelInfo(id=f"{served[-1]} on {entry.url}", revision_or_sha256=served[-1])

    def connect(entry: ServerEntry) -> TinyScorer:
        scorer = TinyScorer()
        scorer.info = server_info(entry)
        connections.append(scorer)
        return scorer

    module = ModuleType("reagent_core.scorers.servers.connect")
    module.connect, module.server_info = connect, server_info
    monkeypatch.setitem(sys.modules, "reagent_core.scorers.servers", ModuleType("servers"))
    monkeypatch.setitem(sys.modules, "reagent_core.scorers.servers.connect", module)
    url = "http://localhost:9"
    assert models.load(url) is models.load(url) is connections[0]
    served.append("second")
    assert models.load(url) is connections[1]
    assert models.model_info(url).id == "second on http://localhost:9"


def test_a_model_that_does_not_fit_is_refused_with_numbers_and_drops_no_other(
    folder: Path, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = models.load(str(saved))
    monkeypatch.setattr(models, "place", lambda: Place("cpu", "float32", 2**28))
    with pytest.raises(ModelError) as caught:
        models.load(str(folder))
    assert re.search(r"does not fit in memory: its \d M parameters in float32", str(caught.value))
    assert re.search(r"need \d\.\d GiB, and 0\.\d GiB are free on cpu", str(caught.value))
    monkeypatch.undo()
    assert models.load(str(saved)) is held


def test_another_precision_is_another_identity(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = models.model_info(str(folder))
    exact = models.load(str(folder))
    monkeypatch.setenv("REAGENT_DTYPE", "bfloat16")
    coarse = models.load(str(folder))
    assert coarse.info.revision_or_sha256 == before.revision_or_sha256 + "+bfloat16"
    inputs = np.array([[0, 3, 4, 5]])
    values = [scorer.score(inputs, [6]).log_probabilities[0, 0] for scorer in (exact, coarse)]
    assert values[0] != values[1] and values[0] == pytest.approx(values[1], abs=0.05)


def test_it_says_what_is_in_memory_without_loading_or_asking(folder: Path) -> None:
    assert models.in_memory(str(folder)) is None
    scorer = models.load(str(folder))
    assert models.in_memory(str(folder)) is scorer
    assert models.in_memory("someone/not-on-disk") is None
    assert models.in_memory("http://localhost:10") is None  # nobody has asked it
    assert models.in_memory("no such model") is None


@pytest.mark.model
def test_the_bundled_model_is_loaded_once() -> None:
    loaded = models.load("bundled")
    assert models.load("SmolLM2-135M-Instruct") is loaded
    assert loaded.info == models.model_info("bundled")
