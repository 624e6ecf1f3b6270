"""Where a model goes: what is chosen, what the environment overrides, and when torch is asked."""

from __future__ import annotations

import subprocess
import sys

import pytest

from reagent_core import hardware
from reagent_core.errors import ModelError


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "gpu_expected", lambda: False)


def test_without_a_gpu_it_is_the_processor_in_full_precision() -> None:
    where = hardware.place()
    assert (where.device, where.dtype) == ("cpu", "float32")
    assert where.free_bytes > 2**20


def test_without_a_gpu_torch_is_not_asked() -> None:
    code = (
        "import sys; from reagent_core import hardware\n"
        "hardware.gpu_expected = lambda: False\n"
        "assert hardware.place_is_known() and hardware.place().device == 'cpu'\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_precision_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REAGENT_DTYPE", "bfloat16")
    assert hardware.place().dtype == "bfloat16"


def test_the_processor_can_be_named_where_there_is_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "gpu_expected", lambda: True)
    monkeypatch.setenv("REAGENT_DEVICE", "CPU")
    assert hardware.place_is_known() and hardware.place().device == "cpu"


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("REAGENT_DEVICE", "gpu", r"REAGENT_DEVICE is 'gpu'\. Set it to cpu, cuda, cuda:1"),
        ("REAGENT_DEVICE", "cuda:99", r"'cuda:99', but PyTorch sees no such device"),
        ("REAGENT_DTYPE", "int8", r"'int8'\. Set it to float32, bfloat16 or float16, or leave"),
    ],
)
def test_what_is_not_there_is_told(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ModelError, match=sentence):
        hardware.place()
