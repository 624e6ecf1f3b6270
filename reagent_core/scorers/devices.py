"""Where a model runs and in which precision, if nobody says otherwise."""

from __future__ import annotations

import torch


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
