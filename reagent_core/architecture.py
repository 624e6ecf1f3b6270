"""What a model does not allow, as far as its config.json says so: before it is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from reagent_core import hub
from reagent_core.baselines.methods import METHODS
from reagent_core.catalogue import Entry, FolderEntry, HubEntry

# Kinds of transformers models (`model_type`) all of whose layers are recurrent.
_RECURRENT = ("mamba", "mamba2", "falcon_mamba", "rwkv", "xlstm")


def refused_by_files(entry: Entry) -> dict[str, str]:
    """The methods that `Method.can` will refuse once the model is in memory, each with the reason
    that it will give. Nothing of a model whose files are not here, or that only its layers tell."""
    config = _config_of(entry)
    if config.get("model_type") in _RECURRENT:
        reason = "This model has layers without attention, so there is nothing to read."
        return {method.name: reason for method in METHODS if method.needs == "attention"}
    if config.get("is_encoder_decoder"):
        return {
            "attention_rollout": "Attention rollout follows one stack of layers; this model has "
            "two, an encoder and a decoder."
        }
    return {}


def _config_of(entry: Entry) -> dict[str, Any]:
    """The model's config.json; empty where there is none."""
    folder: Path | None = None
    if isinstance(entry, HubEntry):
        folder = hub.on_disk(entry.repo, entry.revision)
    elif isinstance(entry, FolderEntry):
        folder = entry.path
    try:
        found = json.loads((folder / "config.json").read_text("utf-8")) if folder else {}
    except (OSError, ValueError, RecursionError):
        return {}  # what is wrong with it is said when it is loaded
    return found if isinstance(found, dict) else {}
