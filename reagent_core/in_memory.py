"""The models in memory: at most a configured number, the least recently used one leaves first."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import threading
from collections import OrderedDict
from dataclasses import dataclass

from reagent_core.errors import ModelError
from reagent_core.request import ModelInfo
from reagent_core.scorers.base import Scorer


@dataclass(frozen=True)
class _Held:
    scorer: Scorer
    weights_bytes: int


class ModelsInMemory:
    """Scorers by the identity of their models. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: OrderedDict[ModelInfo, _Held] = OrderedDict()  # the last used one last

    def get(self, info: ModelInfo) -> Scorer | None:
        """The scorer of this model, which counts as used now; None where it is not in memory."""
        with self._lock:
            held = self._held.get(info)
            if held is None:
                return None
            self._held.move_to_end(info)
            return held.scorer

    def put(self, info: ModelInfo, scorer: Scorer, weights_bytes: int) -> None:
        """Keep a scorer whose weights take `weights_bytes`."""
        with self._lock:
            self._held[info] = _Held(scorer, weights_bytes)

    def make_room(self, info: ModelInfo) -> None:
        """Drop what must leave before this model is loaded, and give its memory back.

        That is the least recently used ones, until the limit has room for one more, and any other
        state of the same model. One that somebody still uses stays until they are done with it.

        Raises:
            ModelError: the limit is none.
        """
        with self._lock:
            leaving = self._leaving(info)
            for each in leaving:
                del self._held[each]
        if leaving:
            give_back()

    def reclaimable(self, info: ModelInfo | None = None) -> int:
        """The bytes that `make_room` would give back."""
        with self._lock:
            return sum(self._held[each].weights_bytes for each in self._leaving(info))

    def _leaving(self, info: ModelInfo | None) -> list[ModelInfo]:
        same = [each for each in self._held if info is not None and each.id == info.id]
        others = [each for each in self._held if each not in same]
        return same + others[: max(0, len(others) - limit() + 1)]


def limit() -> int:
    """How many models stay in memory: REAGENT_MODELS_IN_MEMORY, else 1.

    Raises:
        ModelError: the variable holds no such number.
    """
    text = os.environ.get("REAGENT_MODELS_IN_MEMORY", "").strip() or "1"
    if not text.isdecimal() or int(text) < 1:
        raise ModelError(
            f"The environment variable REAGENT_MODELS_IN_MEMORY is {text!r}. Set it to a number "
            "from 1 up, or leave it out."
        )
    return int(text)


def give_back() -> None:
    """Return the memory of objects nobody refers to any more to the system, and to the GPU."""
    gc.unfreeze()  # the app exempts what stays from collection: a model that left does not stay
    gc.collect()
    if "torch" in sys.modules:
        import torch

        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()
        elif torch.backends.mps.is_available():
            torch.mps.empty_cache()
    if sys.platform == "linux":
        # glibc keeps freed blocks below its growing threshold (32 MB at most) for itself.
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
