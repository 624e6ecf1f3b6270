"""GGUF files given by path: what their header says, conversion, and what cannot be read."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest

from reagent_core import bundled, models
from reagent_core.availability import availability
from reagent_core.config import Config
from reagent_core.converted import converted_folder, known_sha256
from reagent_core.errors import ModelError
from reagent_core.explain import explain_now
from reagent_core.gguf_conversion import convert
from reagent_core.gguf_file import GGUFFile, read_gguf
from reagent_core.request import ModelInfo, Request

QUICK = Config(selection="balanced", ratio=0.2, probes=1, min_steps=10, max_steps=10)
HIDDEN, LAYERS, INNER = 32, 1, 48


def write(file: Path, architecture: str = "llama", rule: str = "smollm") -> Path:
    """A tiny random model with a byte-level tokenizer, as llama.cpp's converter writes one."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    random = np.random.default_rng(0)
    tokens = ["<|endoftext|>", *bytes_to_unicode().values(), "th", "the"]
    writer = gguf.GGUFWriter(file, architecture)
    writer.add_context_length(64)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(rule)
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL] + [gguf.TokenType.NORMAL] * (len(tokens) - 1))
    writer.add_token_merges(["t h", "th e"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    square, shapes = (HIDDEN, HIDDEN), {}
    for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
        shapes[f"blk.0.{name}.weight"] = square
    shapes |= {
        "token_embd.weight": (len(tokens), HIDDEN),
        "output.weight": (len(tokens), HIDDEN),
        "output_norm.weight": (HIDDEN,),
        "blk.0.attn_norm.weight": (HIDDEN,),
        "blk.0.ffn_norm.weight": (HIDDEN,),
        "blk.0.ffn_gate.weight": (INNER, HIDDEN),
        "blk.0.ffn_up.weight": (INNER, HIDDEN),
        "blk.0.ffn_down.weight": (HIDDEN, INNER),
    }
    for name, shape in shapes.items():
        writer.add_tensor(name, random.normal(size=shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REAGENT_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_its_header(tmp_path: Path) -> None:
    tokens = 259
    weights = 2 * tokens * HIDDEN + 3 * HIDDEN + 4 * HIDDEN**2 + 3 * INNER * HIDDEN
    assert read_gguf(write(tmp_path / "a.gguf")) == GGUFFile("llama", weights, "smollm")


def test_the_header_is_read_as_the_library_reads_it() -> None:
    file = bundled.installed_gguf()
    reader = gguf.GGUFReader(file)
    parameters = sum(int(tensor.n_elements) for tensor in reader.tensors)
    assert read_gguf(file) == GGUFFile("llama", parameters, "smollm")


def test_it_is_converted_once_and_loaded(tmp_path: Path, cache: Path) -> None:
    file = write(tmp_path / "tiny.gguf")
    assert "is converted once" in availability(models.resolve(str(file))).text
    assert known_sha256(file) is None  # to say so it was not read
    scorer = models.load(str(file))
    assert scorer.info == models.model_info(str(file))
    assert scorer.info.id == str(file)
    # The file's own rule: digits first, so the blank in front of one stays by itself.
    ids = scorer.tokenizer.encode("the 42", add_special_tokens=False).token_ids
    texts = [scorer.tokenizer.decode([i]) for i in ids]
    assert texts == ["the", " ", "4", "2"]
    (folder,) = (each for each in cache.iterdir() if each.is_dir())
    assert availability(models.resolve(str(file))).text.startswith("On disk; takes")
    # It can be explained, as any model.
    request = Request(prompt="the 42 the", max_new_tokens=1, config=QUICK)
    found = explain_now(request, scorer)
    assert found.status == "complete" and found.model == scorer.info
    assert [unit.text for unit in found.units] == ["the", " ", "4", "2", " ", "the"]
    assert all(unit.effect is not None for unit in found.units)

    def convert_again(gguf: Path, folder: Path) -> None:
        raise AssertionError("converted twice")

    copy = tmp_path / "elsewhere.GGUF"
    copy.write_bytes(file.read_bytes())
    sha256 = scorer.info.revision_or_sha256
    assert folder == converted_folder(
        "gguf", sha256, lambda: copy, what="it", weights_bytes=1, convert=convert_again
    )


def test_an_architecture_that_transformers_does_not_know_is_told(
    tmp_path: Path, cache: Path
) -> None:
    file = write(tmp_path / "m.gguf", architecture="own")
    with pytest.raises(ModelError, match=r"The model in .*m\.gguf could not be converted: .*own"):
        models.load(str(file))
    assert not [each for each in cache.iterdir() if each.is_dir()]


def test_a_tokenizer_with_a_rule_of_its_own_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"its tokenizer .* not known here, 'klingon'"):
        convert(write(tmp_path / "m.gguf", rule="klingon"), tmp_path)


def test_a_file_that_is_no_gguf_is_told(tmp_path: Path) -> None:
    file = tmp_path / "letter.gguf"
    file.write_text("Dear Sir or Madam")
    for ask in (models.model_info, models.load):
        with pytest.raises(ModelError, match=r"letter\.gguf is no GGUF file"):
            ask(str(file))
    assert "is no GGUF file" in availability(models.resolve(str(file))).text


def test_a_cut_off_file_is_told(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.gguf").read_bytes()
    file = tmp_path / "half.gguf"
    for length in (5, 300, len(whole) // 2, len(whole) - 100):
        file.write_bytes(whole[:length])
        with pytest.raises(ModelError, match=r"half\.gguf is damaged or cut off"):
            read_gguf(file)


def test_a_conversion_that_does_not_fit_is_not_tried(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_child(*_: object, **__: object) -> None:
        raise AssertionError("tried")

    monkeypatch.setattr("subprocess.run", no_child)
    file = write(tmp_path / "m.gguf")
    with pytest.raises(ModelError, match=r"cannot be converted here: that takes .* TB of memory"):
        converted_folder("gguf", "0" * 64, lambda: file, what="it", weights_bytes=10**12)


@pytest.mark.model
def test_the_bundled_models_own_file_is_the_bundled_model() -> None:
    file = bundled.installed_gguf()
    info = models.model_info(str(file))
    assert info == ModelInfo(id=str(file.resolve()), revision_or_sha256=bundled.GGUF_SHA256)
    ours, named = models.load(str(file)), models.load("bundled")
    text = "The capital of France is"
    ids = named.tokenizer.encode(text, add_special_tokens=False).token_ids
    assert ours.tokenizer.encode(text, add_special_tokens=False).token_ids == ids
    a, b = (scorer.score(np.array([ids]), [ids[-1]]) for scorer in (ours, named))
    assert np.array_equal(a.log_probabilities, b.log_probabilities)
