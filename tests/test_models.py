"""Choosing a model: what there is, what pins it, loading it once, and plain sentences."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reagent_core import bundled as bundled_model
from reagent_core import models
from reagent_core.errors import InputError, ModelError
from reagent_core.explanation import ModelInfo

if TYPE_CHECKING:
    from reagent_core.scorers.transformers_lm import TransformersScorer

WORDS = ("<s>", "</s>", "<unk>", "the", "cat", "sat", "on", "mat", ".")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Llama with a word tokenizer, saved as any transformers model is."""
    import torch
    from tokenizers import Tokenizer, pre_tokenizers
    from tokenizers.models import WordLevel
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("saved")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        bos_token_id=0,
        eos_token_id=1,
        tie_word_embeddings=False,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    words = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)
    return folder


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


def test_every_catalogue_entry_has_an_identity() -> None:
    for entry in models.CATALOGUE:
        info = models.model_info(entry.id)
        assert info.id and info.revision_or_sha256
        assert entry.name and entry.good_for


def test_the_id_in_a_result_names_the_model_again() -> None:
    info = models.model_info("bundled")
    assert info == ModelInfo(
        id="SmolLM2-135M-Instruct", revision_or_sha256=bundled_model.GGUF_SHA256
    )
    assert models.model_info(info.id) == info


@pytest.mark.parametrize(
    "name", ["xyz", "", "owner/model", "a\0b", "\ud800", "/nowhere/at/all", "m" * 5000]
)
def test_an_unknown_model_is_refused_at_once_with_a_sentence(name: str) -> None:
    started = time.monotonic()
    with pytest.raises(ModelError, match=r"There is no model .* here") as caught:
        models.load(name)
    assert time.monotonic() - started < 2
    assert isinstance(caught.value, InputError) and caught.value.field == "model"
    message = str(caught.value)
    assert "Choose one of: bundled; or give the path" in message
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


@pytest.mark.model
def test_the_bundled_model_is_loaded_once(bundled: TransformersScorer) -> None:
    assert models.load("bundled") is bundled
    assert models.load("SmolLM2-135M-Instruct") is bundled
    assert bundled.info == models.model_info("bundled")
