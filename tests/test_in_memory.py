"""How many models stay in memory, which one leaves, and that its memory really comes back."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import psutil
import pytest

from reagent_core import models
from reagent_core.errors import ModelError
from reagent_core.in_memory import ModelsInMemory
from reagent_core.request import ModelInfo
from tests.tiny import TinyScorer

A, B, C = (ModelInfo(id=name, revision_or_sha256="1") for name in "abc")


def names(memory: ModelsInMemory) -> str:
    return "".join(info.id for info in (A, B, C) if memory.get(info) is not None)


def add(memory: ModelsInMemory, info: ModelInfo, weights_bytes: int = 100) -> None:
    memory.make_room(info)
    memory.put(info, TinyScorer(), weights_bytes)


def test_one_stays_by_default() -> None:
    memory = ModelsInMemory()
    add(memory, A)
    add(memory, B)
    assert names(memory) == "b"


def test_the_least_recently_used_one_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REAGENT_MODELS_IN_MEMORY", "2")
    memory = ModelsInMemory()
    add(memory, A)
    add(memory, B)
    memory.get(A)
    add(memory, C)
    assert names(memory) == "ac"


def test_another_state_of_the_same_model_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REAGENT_MODELS_IN_MEMORY", "3")
    memory = ModelsInMemory()
    add(memory, A)
    add(memory, B)
    changed = ModelInfo(id="a", revision_or_sha256="2")
    add(memory, changed)
    assert names(memory) == "b" and memory.get(changed) is not None


def test_it_knows_what_leaving_would_give_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REAGENT_MODELS_IN_MEMORY", "2")
    memory = ModelsInMemory()
    assert memory.reclaimable() == 0
    add(memory, A, 100)
    assert memory.reclaimable() == 0  # there is room for one more
    add(memory, B, 30)
    assert memory.reclaimable() == memory.reclaimable(C) == 100
    assert memory.reclaimable(B) == 30  # another state of b takes its place


@pytest.mark.parametrize("text", ["none", "0", "-1", "1.5"])
def test_a_limit_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("REAGENT_MODELS_IN_MEMORY", text)
    with pytest.raises(ModelError, match=r"REAGENT_MODELS_IN_MEMORY is .*a number from 1 up"):
        ModelsInMemory().reclaimable()


def test_the_memory_of_a_model_that_leaves_comes_back(saved: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=40_000, hidden_size=512, intermediate_size=512, num_hidden_layers=2,
        num_attention_heads=8, tie_word_embeddings=False,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(tmp_path / "large")
    AutoTokenizer.from_pretrained(saved).save_pretrained(tmp_path / "large")
    models.load(str(saved))
    gc.collect()
    resident = psutil.Process().memory_info

    before = resident().rss
    scorer = models.load(str(tmp_path / "large"))
    model = weakref.ref(scorer._model)
    weights = sum(parameter.nbytes for parameter in scorer._model.parameters())
    assert all(parameter.isfinite().all() for parameter in scorer._model.parameters())  # reads it
    held = resident().rss
    assert weights > 150e6 and held - before > 0.8 * weights
    # What keeps models alive: cycles, and the app's exemption from garbage collection.
    scorer._model.itself = [scorer._model]
    gc.freeze()
    del scorer

    models.load(str(saved))
    assert model() is None
    assert held - resident().rss > 0.8 * weights
