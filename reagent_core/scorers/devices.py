"""Which devices torch has, and the precision of weights on each, if nobody says otherwise."""

from __future__ import annotations

import torch

from reagent_core.errors import ModelError


def find_device(name: str | None = None) -> torch.device:
    """The device of this name; without one, a CUDA GPU, else Apple's, else the processor.

    Raises:
        ModelError: torch sees no such device here.
    """
    if name is None:
        return best_device()
    device = torch.device(name)
    kinds = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": torch.backends.mps.is_available()}
    if (device.index or 0) >= kinds[device.type]:
        raise ModelError(
            f"The environment variable REAGENT_DEVICE is {name!r}, but PyTorch sees no such device "
            "on this computer. Set it to another one, or leave it out."
        )
    return device


def best_device() -> torch.device:
    """A CUDA GPU, else Apple's, else the processor."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def weights_dtype(device: torch.device) -> torch.dtype:
    """Half precision where it is fast; probabilities are computed in fp32 in any case.

    bfloat16 has the range of fp32, float16 has not; GPUs without the former get the latter.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return torch.float16 if device.type == "mps" else torch.float32
