"""What several test modules share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from reagent_core import bundled as bundled_model
from reagent_core import models

if TYPE_CHECKING:
    from reagent_core.scorers.transformers_lm import TransformersScorer


@pytest.fixture(scope="session")
def bundled() -> TransformersScorer:
    """The real bundled model, from the user's own cache: converted once a machine."""
    return models.load("bundled")


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """For processes of their own: an empty store, beside the converted model of this machine."""
    model = bundled_model.prepared_folder()
    cache = tmp_path_factory.mktemp("cache")
    (cache / model.name).symlink_to(model, target_is_directory=True)
    return {**os.environ, "REAGENT_CACHE_DIR": str(cache)}
