"""How much fits into one forward, and how a device says that it did not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import torch
from transformers import PreTrainedModel

from reagent_core.errors import OutOfMemory
from reagent_core.scorers.base import FORWARD_TOKENS

# Tokens in one forward: enough to keep the device busy, and short enough (about a second) that a
# cancel or a picture never waits long.
TOKENS_PER_FORWARD = {"cpu": FORWARD_TOKENS, "mps": 4096, "cuda": 32_768}

# What one forward may take beside the weights, however much is free.
_MOST_BYTES = {"cpu": 512 * 2**20, "mps": 2 * 2**30, "cuda": 64 * 2**30}

# What the logits of one prompt's own positions may take.
_MOST_LOGIT_BYTES = 128 * 2**20


def sequences_at_once(model: PreTrainedModel, length: int, reads: int, shared: int) -> int:
    """Sequences of `length` tokens, read at `reads` places, for one forward; at least one.

    The first `shared` tokens are in a cache and take room, but no time.
    """
    kind = model.device.type
    by_speed = TOKENS_PER_FORWARD.get(kind, FORWARD_TOKENS) // (length - shared)
    budget = min(free_bytes(model.device) // 2, _MOST_BYTES.get(kind, 512 * 2**20))
    return max(1, min(by_speed, budget // _bytes_per_sequence(model, length, reads)))


def positions_at_once(model: PreTrainedModel) -> int:
    """Positions whose vocabulary-wide logits are held at once (three copies in fp32)."""
    return max(1, _MOST_LOGIT_BYTES // (12 * model.config.get_text_config().vocab_size))


def free_bytes(device: torch.device) -> int:
    """Memory of the device that nobody uses, what PyTorch keeps for its next tensors included."""
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + kept
    return int(psutil.virtual_memory().available)  # MPS shares it


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a forward failed for lack of memory: every backend has words of its own for it."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    words = str(error).lower()
    return isinstance(error, RuntimeError) and any(
        part in words for part in ("out of memory", "not enough memory", "can't allocate memory")
    )


@contextmanager
def lack_of_memory_told() -> Iterator[None]:
    """Inside it, a forward that does not fit raises `OutOfMemory`, whatever its backend raises."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(
            "There is not enough memory for this prompt. Shorten it, or close other programs."
        ) from None  # the traceback would keep what has to be freed


def _bytes_per_sequence(model: PreTrainedModel, length: int, reads: int) -> int:
    """An upper estimate: activations of one layer, keys and values of all, logits three times."""
    config = model.config.get_text_config()
    size = torch.finfo(model.dtype).bits // 8
    hidden = int(config.hidden_size)
    inner = int(getattr(config, "intermediate_size", None) or 4 * hidden)
    layers = int(getattr(config, "num_hidden_layers", None) or 1)
    a_token = size * (8 * hidden + 3 * inner + 2 * hidden * layers)
    return length * a_token + reads * 12 * int(config.vocab_size)
