"""What is said of a model before it is chosen."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import constants

from reagent_core import availability as told_of
from reagent_core.availability import availability, check_fits, millions
from reagent_core.catalogue import FolderEntry, HubEntry, ServerEntry, shipped
from reagent_core.errors import ModelError
from reagent_core.hardware import Place

GIB = 2**30
LLAMA = HubEntry(id="l", name="L", repo="o/llama", size=1_000_000_000, gated=True)


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """4 GiB are free, and nothing is in the hub's cache."""
    monkeypatch.setattr(told_of, "place", lambda: Place("cpu", "float32", 4 * GIB))
    monkeypatch.setattr(told_of, "place_is_known", lambda: True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))


def folder_entry(folder: Path) -> FolderEntry:
    return FolderEntry(id="f", name="F", path=folder)


def test_a_model_of_the_list_asks_no_network() -> None:
    told = availability(LLAMA)
    assert (told.on_disk, told.download_bytes) == (False, 2_000_000_000)
    assert told.needs_bytes == 4_000_000_000 + told_of.OVERHEAD_BYTES
    assert told.fits is False and told.short == "2.0 GB to download"
    assert told.text == (
        "Needs a download of about 2.0 GB; does not fit: takes 4.7 GiB of memory, 4.0 GiB are "
        "free; the hub asks for an accepted licence and a token in HF_TOKEN."
    )


def test_half_precision_takes_half(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(told_of, "place", lambda: Place("cuda", "bfloat16", 4 * GIB))
    told = availability(LLAMA.model_copy(update={"gated": False}))
    assert told.fits and told.short == "2.0 GB to download"
    assert told.text == (
        "Needs a download of about 2.0 GB; takes 2.9 GiB of memory, 4.0 GiB are free."
    )


def test_what_would_leave_counts_as_free() -> None:
    assert availability(LLAMA, reclaimable=GIB).fits
    assert availability(LLAMA, reclaimable=GIB).free_bytes == 5 * GIB


def test_before_torch_has_found_the_gpu_nothing_is_said_of_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(told_of, "place_is_known", lambda: False)
    told = availability(LLAMA)
    assert told.fits is None and told.needs_bytes is None and "memory" not in told.text


def test_a_folder_is_measured_by_its_weights(saved: Path) -> None:
    from transformers import AutoModelForCausalLM

    count = AutoModelForCausalLM.from_pretrained(saved).num_parameters()
    told = availability(folder_entry(saved))
    assert told.on_disk and told.fits and told.download_bytes == 0
    assert told.needs_bytes == 4 * count + told_of.OVERHEAD_BYTES


def test_a_model_in_several_files_is_measured_by_all(saved: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(saved)
    model.save_pretrained(tmp_path / "parts", max_shard_size="8KB")
    assert len(list((tmp_path / "parts").glob("*.safetensors"))) > 1
    assert told_of.folder_parameters(tmp_path / "parts") == model.num_parameters()


@pytest.mark.parametrize("damage", ["cut off", "no header", "missing"])
def test_damaged_weights_are_told(saved: Path, tmp_path: Path, damage: str) -> None:
    (tmp_path / "config.json").write_bytes((saved / "config.json").read_bytes())
    weights = (saved / "model.safetensors").read_bytes()
    if damage != "missing":
        part = weights[:200] if damage == "cut off" else b"\0" * 100
        (tmp_path / "model.safetensors").write_bytes(part)
    told = availability(folder_entry(tmp_path))
    assert told.fits is None and told.short == "not here"
    assert "its weights are missing, damaged or cut off" in told.text


def test_a_server_needs_nothing_here() -> None:
    told = availability(ServerEntry(id="s", name="S", url="http://h:1"))
    assert told.on_disk and told.fits is None and told.text == "Runs on the server http://h:1."


def test_the_refusal_gives_the_numbers() -> None:
    check_fits("Small", 100_000_000, Place("cpu", "float32", 4 * GIB))
    check_fits("Of unknown size", None, Place("cpu", "float32", 0))
    with pytest.raises(ModelError) as caught:
        check_fits("EleutherAI/gpt-j-6b", 6_050_882_784, Place("cpu", "float32", 4 * GIB))
    assert str(caught.value) == (
        "EleutherAI/gpt-j-6b does not fit in memory: its 6.05 B parameters in float32, and room "
        "to work, need 23.5 GiB, and 4.0 GiB are free on cpu. Choose a smaller model, free memory, "
        "or run it in half the memory with REAGENT_DTYPE=bfloat16, or behind a server."
    )


@pytest.mark.parametrize(
    ("count", "words"), [(134_515_008, "135 M"), (999_885_952, "1.00 B"), (6_050_882_784, "6.05 B")]
)
def test_sizes_in_words(count: int, words: str) -> None:
    assert millions(count) == words


def test_the_whole_shipped_list_is_told_without_torch_or_network(tmp_path: Path) -> None:
    code = (
        "import json, socket, sys\n"
        "def refuse(*_): raise AssertionError('network')\n"
        "socket.getaddrinfo = socket.socket.connect = refuse\n"
        "from reagent_core.availability import availability\n"
        "from reagent_core.catalogue import shipped\n"
        "print(json.dumps([availability(entry).short for entry in shipped()]))\n"
        "assert not {'torch', 'transformers', 'httpx2'} & sys.modules.keys()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={"HF_HOME": str(tmp_path), "REAGENT_DEVICE": "cpu"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    words = json.loads(done.stdout)
    assert len(words) == len(shipped())
    assert words[0] == "on disk"
    assert all(each.endswith("to download") for each in words[1:])
