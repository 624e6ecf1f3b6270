"""What several test modules share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reagent_core import models

if TYPE_CHECKING:
    from reagent_core.scorers.transformers_lm import TransformersScorer


@pytest.fixture(scope="session")
def bundled() -> TransformersScorer:
    """The real bundled model, from the user's own cache: converted once a machine."""
    return models.load("bundled")
