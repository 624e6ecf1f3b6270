"""Masked language models for `masked_lm`: what pins their weights, and loading them.

They are named as any model is: a local folder, or an id of the Hugging Face hub. Nothing here
imports torch or transformers before a model is loaded.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reagent_core import models
from reagent_core.availability import folder_parameters, why_not_fitting
from reagent_core.catalogue import ServerEntry
from reagent_core.config import Config
from reagent_core.errors import InputError, ModelError
from reagent_core.hardware import Place, place
from reagent_core.request import ModelInfo

if TYPE_CHECKING:
    from reagent_core.replacers.mask_filler import MaskFiller

_INSTEAD = "Choose causal_lm as replacer, or give the folder of a masked model."

_loading = threading.Lock()


def replacer_model_info(config: Config) -> ModelInfo | None:
    """The identity of the model that makes the replacements, None where it is the explained one.

    Takes 10 s at most, and no time for a model that was asked for a moment before.

    Raises:
        InputError: it can neither be found on this machine nor be downloaded (field "settings").
    """
    if config.replacer != "masked_lm":
        return None
    with _about_the_settings(config.replacer_model):
        return models.model_info(config.replacer_model)


def load_masked_model(name: str) -> MaskFiller:
    """The masked model of a local folder or hub id; downloaded if need be, loaded once.

    It goes where explained models go, in float32. The last two stay in memory, beside those.

    Raises:
        InputError: it can neither be found on this machine nor be downloaded, or does not fit in
            memory (field "settings").
        ModelError: it cannot be loaded; the sentence says why.
    """
    with _about_the_settings(name):
        folder, info = models.folder_of(name), models.model_info(name)
    with _loading:
        return _loaded(folder, info)


@contextmanager
def _about_the_settings(name: str) -> Iterator[None]:
    """What is wrong with a masked model is shown where it was chosen; no server is asked."""
    try:
        if isinstance(models.resolve(name), ServerEntry):
            raise ModelError("A masked model cannot be behind a server.")
        yield
    except ModelError as error:
        raise InputError(f"{error} {_INSTEAD}", "settings") from None


@lru_cache(maxsize=2)  # hundreds of megabytes each
def _loaded(folder: Path, info: ModelInfo) -> MaskFiller:
    where = _place_for(folder, info)
    import torch
    from transformers import AutoModelForMaskedLM, AutoTokenizer
    from transformers.utils import logging

    from reagent_core.replacers.mask_filler import MaskFiller

    try:
        with ExitStack() as quiet:
            if logging.is_progress_bar_enabled():
                logging.disable_progress_bar()
                quiet.callback(logging.enable_progress_bar)
            options: Any = {"local_files_only": True, "trust_remote_code": False}
            tokenizer = AutoTokenizer.from_pretrained(folder, **options)
            model, report = AutoModelForMaskedLM.from_pretrained(
                folder,
                dtype=torch.float32,  # in half precision batches round visibly differently
                use_safetensors=True,
                output_loading_info=True,
                **options,
            )
    except Exception as error:  # transformers raises whatever its many readers raise
        reason = next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")
        raise ModelError(
            f"The masked model in {folder} cannot be loaded: {reason}. Choose a masked "
            "language model, as RoBERTa or BERT, with its tokenizer."
        ) from error
    # transformers fills weights it does not find with random numbers and only logs it.
    if report["missing_keys"]:
        raise ModelError(
            f"The model in {folder} lacks weights, among them '{sorted(report['missing_keys'])[0]}'"
            ": it was not saved as a masked language model. Choose one that was."
        )
    return MaskFiller.of(model.to(where.device), tokenizer, info)


def _place_for(folder: Path, info: ModelInfo) -> Place:
    """Where the model goes.

    Raises:
        InputError: it does not fit there.
        ModelError: its weights cannot be read, or an environment variable names no such device.
    """
    where = replace(place(), dtype="float32")
    why = why_not_fitting(info.id, folder_parameters(folder), where)
    if why is not None:
        raise InputError(
            f"{why} Free memory, or choose a smaller masked model, or causal_lm as replacer.",
            "settings",
        )
    return where
