"""Waiting for what happens in another thread or process."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(wanted: Callable[[], T], seconds: float = 30) -> T:
    """What `wanted()` gives, once it is true; a test that would hang fails."""
    deadline = time.monotonic() + seconds
    while not (found := wanted()):
        assert time.monotonic() < deadline, f"It did not happen within {seconds} seconds."
        time.sleep(0.01)
    return found
