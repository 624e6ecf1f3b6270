"""Finding and loading masked models: folders, the hub, and plain sentences where there is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants

from reagent_core import models
from reagent_core.config import Config
from reagent_core.errors import InputError, ModelError
from reagent_core.hardware import Place
from reagent_core.replacers import masked_models
from reagent_core.replacers.masked_models import load_masked_model, replacer_model_info
from tests.fake_server import fake_server
from tests.hub_server import SHA, refusing, serving
from tests.test_hub import point_to
from tests.tiny_masked import FAMILIES, POSITIONS, masked_model, masked_tokenizer
from tests.tiny_models import tiny_model


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny RoBERTa as any transformers model is saved."""
    folder = tmp_path_factory.mktemp("saved")
    save("roberta", folder)
    return folder


def save(family: str, folder: Path) -> None:
    tokenizer = masked_tokenizer(family)
    masked_model(family, tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.fixture(autouse=True)
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, and no hub."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    point_to(refusing(), monkeypatch)
    return tmp_path / "hub"


def masked(name: str | Path) -> Config:
    return Config(replacer="masked_lm", replacer_model=str(name))


def refused(name: str | Path) -> str:
    """The sentence about a masked model that is not to be had, for the field of the settings."""
    with pytest.raises(InputError) as caught:
        replacer_model_info(masked(name))
    assert caught.value.field == "settings"
    with pytest.raises(InputError):
        load_masked_model(str(name))
    return str(caught.value)


# --- Folders --------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_loaded_and_reads_only_the_masks(family: str, tmp_path: Path) -> None:
    save(family, tmp_path)
    filler = load_masked_model(str(tmp_path))
    text = filler.tokenizer.encode("the capital of france", add_special_tokens=False).token_ids
    short = text[:2]
    found = filler.logits([text, short], [[1, 3], [0]])
    assert found.shape == (3, filler.vocabulary_size)
    whole = torch.tensor([[*filler.before, *text, *filler.after]])
    alone = torch.tensor([[*filler.before, *short, *filler.after]])
    with torch.inference_mode():
        expected = filler.model(input_ids=whole).logits[0, [2, 4]]
        other = filler.model(input_ids=alone).logits[0, [1]]
    assert torch.allclose(found, torch.cat([expected, other]), atol=1e-4)
    assert filler.window == POSITIONS - 2  # a token before and one behind


def test_a_model_is_loaded_once_and_known_by_its_weights(saved: Path) -> None:
    first = load_masked_model(str(saved))
    assert load_masked_model(f"{saved}/../{saved.name}") is first
    assert replacer_model_info(masked(saved)) == first.info == models.model_info(str(saved))


def test_other_replacers_need_no_model() -> None:
    for name in ("causal_lm", "causal_lm_reranked", "uniform"):
        assert replacer_model_info(Config(replacer=name)) is None


def test_a_causal_model_is_no_masked_one(tmp_path: Path) -> None:
    tiny_model("llama").save_pretrained(tmp_path)
    masked_tokenizer("roberta").save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"cannot be loaded: .* Choose a masked language model"):
        load_masked_model(str(tmp_path))


def test_a_model_without_its_head_is_refused(tmp_path: Path) -> None:
    tokenizer = masked_tokenizer("bert")
    masked_model("bert", tokenizer).bert.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"lacks weights, among them 'cls.*not saved as a masked"):
        load_masked_model(str(tmp_path))


def test_a_tokenizer_without_a_mask_is_refused(saved: Path, tmp_path: Path) -> None:
    for file in saved.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    del settings["mask_token"]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(ModelError, match="has no mask token"):
        load_masked_model(str(tmp_path))


def test_it_goes_where_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save("roberta", tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("REAGENT_DEVICE", "cpu")
    assert load_masked_model(str(tmp_path)).model.device.type == "cpu"


def test_what_does_not_fit_is_refused_with_numbers_and_not_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save("roberta", tmp_path)
    monkeypatch.setattr(masked_models, "place", lambda: Place("cpu", "bfloat16", 2**29))

    def tried(*_: object, **__: object) -> None:
        raise AssertionError("tried")

    monkeypatch.setattr("transformers.AutoModelForMaskedLM.from_pretrained", tried)
    numbers = r"in float32, .* need 1\.0 GiB, and 0\.5 GiB are free"
    with pytest.raises(InputError, match=numbers) as caught:
        load_masked_model(str(tmp_path))
    assert caught.value.field == "settings" and "causal_lm" in str(caught.value)


def test_a_folder_without_a_model_is_said(tmp_path: Path) -> None:
    assert "has no config.json" in refused(tmp_path)


# --- The hub (what is wrong with it in all its ways: test_hub.py) ---------------------------------


def test_no_hub_is_a_sentence() -> None:
    said = refused("FacebookAI/roberta-base")
    assert "FacebookAI/roberta-base is not on disk, and the hub cannot be reached" in said
    assert said.endswith("Choose causal_lm as replacer, or give the folder of a masked model.")


@pytest.mark.parametrize("name", ["/no/such/folder", "no such model", "a/b/c", "../no-such-folder"])
def test_what_is_neither_a_folder_nor_an_id_is_said(name: str) -> None:
    assert f"There is no model {name!r} here" in refused(name)


def test_a_server_is_no_masked_model_and_is_not_contacted() -> None:
    with fake_server() as fake:
        assert "A masked model cannot be behind a server." in refused(fake.url)
        assert fake.seen == []


def test_a_model_of_the_hub_is_downloaded_once_and_known_by_its_commit(
    saved: Path, hub_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(saved) as hub:
        point_to(hub.url, monkeypatch)
        info = replacer_model_info(masked("owner/tiny"))
        assert info is not None
        assert (info.id, info.revision_or_sha256) == ("owner/tiny", SHA)
        assert not list(hub_cache.rglob("*.safetensors"))  # asking costs no download
        filler = load_masked_model("owner/tiny")
        assert filler.info == info
        # From now on the hub is not asked any more.
        hub.asked.clear()
        assert replacer_model_info(masked("owner/tiny")) == info
        assert load_masked_model("owner/tiny") is filler
        assert hub.asked == []
