"""What is the same for every model in this process's own memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

from reagent_core.scorers.base import Capabilities, never


class LocalScorer:
    """Tells everything, and asks no server."""

    @property
    def capabilities(self) -> Capabilities:
        """Everything."""
        return Capabilities()

    @property
    def requests(self) -> int:
        """None are sent."""
        return 0

    def requests_for(self, sequences: int, reads: int) -> int:
        """None."""
        return 0

    def requests_to_prepare(self, length: int) -> int:
        """None."""
        return 0

    def for_run(self, cancelled: Callable[[], bool] = never) -> Self:
        """Itself: a forward is short, and the caller looks before each."""
        return self
