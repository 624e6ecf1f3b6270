"""What config.json tells of a model is what the model itself tells once it is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reagent_core.architecture import refused_by_files
from reagent_core.baselines.methods import METHODS
from reagent_core.catalogue import FolderEntry, GGUFEntry
from tests.tiny_models import tiny_encoder_decoder_scorer, tiny_scorer

REFUSED = {"llama": 0, "mamba": 3, "gemma3": 0, "t5": 1, "bart": 1}


@pytest.mark.parametrize("family", REFUSED)
def test_the_files_say_what_the_model_will_say(family: str, tmp_path: Path) -> None:
    two_parts = family in ("t5", "bart")
    scorer: Any = (tiny_encoder_decoder_scorer if two_parts else tiny_scorer)(family)
    scorer._model.config.save_pretrained(tmp_path)
    told = {method.name: method.can(scorer) for method in METHODS}
    expected = {name: reason for name, reason in told.items() if reason is not None}
    entry = FolderEntry(id="x", name="x", path=tmp_path)
    assert refused_by_files(entry) == expected and len(expected) == REFUSED[family]


def test_of_a_model_without_files_nothing_is_told(tmp_path: Path) -> None:
    entry = FolderEntry(id="x", name="x", path=tmp_path)
    assert refused_by_files(entry) == {}
    (tmp_path / "config.json").write_text("[" * 100_000)
    assert refused_by_files(entry) == {}
    assert refused_by_files(GGUFEntry(id="x", name="x", path=tmp_path / "a.gguf")) == {}
