"""Where a model runs, in which precision, and how much memory is free there.

REAGENT_DEVICE ("cpu", "cuda", "cuda:1", "mps") and REAGENT_DTYPE ("float32", "bfloat16",
"float16") override what is chosen. torch is asked, and so imported, only where a GPU may be.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast, get_args

from reagent_core.catalogue import Dtype
from reagent_core.errors import ModelError

BYTES: Final[dict[Dtype, int]] = {"float32": 4, "bfloat16": 2, "float16": 2}

# What the drivers of NVIDIA, of AMD and of Windows' Linux make.
_GPU_FILES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")


@dataclass(frozen=True)
class Place:
    """`device` as torch names it, the precision of weights there, and its free memory."""

    device: str
    dtype: Dtype
    free_bytes: int


def place() -> Place:
    """Where the next model goes. On a machine that may have a GPU this imports torch (seconds).

    Raises:
        ModelError: an environment variable names what is not there.
    """
    device, dtype = named_device(), named_dtype()
    if device == "cpu" or (device is None and not gpu_expected()):
        import psutil

        return Place("cpu", dtype or "float32", int(psutil.virtual_memory().available))
    from reagent_core.scorers.devices import find_device, weights_dtype
    from reagent_core.scorers.memory import free_bytes

    found = find_device(device)
    own = cast(Dtype, str(weights_dtype(found)).removeprefix("torch."))
    return Place(str(found), dtype or own, free_bytes(found))


def place_is_known() -> bool:
    """Whether `place` answers at once: torch is not needed, or is in memory already."""
    return "torch" in sys.modules or named_device() == "cpu" or not gpu_expected()


def gpu_expected() -> bool:
    """Whether this machine may have a GPU that torch can use, by its drivers."""
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    return sys.platform == "win32" or any(Path(file).exists() for file in _GPU_FILES)


def named_device() -> str | None:
    """The device that REAGENT_DEVICE names.

    Raises:
        ModelError: it names none.
    """
    name = os.environ.get("REAGENT_DEVICE", "").strip().lower()
    if name and not re.fullmatch(r"cpu|mps|cuda(:\d+)?", name):
        raise ModelError(
            f"The environment variable REAGENT_DEVICE is {name!r}. Set it to cpu, cuda, cuda:1 "
            "(the second GPU) or mps, or leave it out."
        )
    return name or None


def named_dtype() -> Dtype | None:
    """The precision that REAGENT_DTYPE names.

    Raises:
        ModelError: it names none.
    """
    name = os.environ.get("REAGENT_DTYPE", "").strip().lower()
    if name and name not in get_args(Dtype):
        raise ModelError(
            f"The environment variable REAGENT_DTYPE is {name!r}. Set it to "
            f"{', '.join(get_args(Dtype)[:-1])} or {get_args(Dtype)[-1]}, or leave it out."
        )
    return cast(Dtype, name) if name else None
