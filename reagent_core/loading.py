"""Loading a transformers model folder into memory. Importing this takes torch's seconds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    GenerationConfig,
)
from transformers.utils import GENERATION_CONFIG_NAME, logging

from reagent_core.errors import ModelError
from reagent_core.hardware import Place
from reagent_core.request import ModelInfo
from reagent_core.scorers.base import Scorer
from reagent_core.scorers.transformers_lm import TransformersScorer


def load_folder(folder: Path, info: ModelInfo, place: Place) -> tuple[Scorer, int]:
    """The scorer of the model in `folder`, and the bytes that its weights take.

    Nothing in the folder is run, and only safetensors weights are read.

    Raises:
        ModelError: it cannot be loaded; the sentence says why.
    """
    with _loading(folder):
        config, tokenizer = _config_and_tokenizer(folder)
        model, report = _loader(config).from_pretrained(
            folder,
            dtype=getattr(torch, place.dtype),
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    # transformers fills weights it does not find with random numbers and only logs it.
    if report["missing_keys"]:
        name = sorted(report["missing_keys"])[0]
        raise ModelError(
            f"The model in {folder} lacks weights, among them '{name}'. Copy the folder again."
        )
    _check_fast(tokenizer, folder)
    model = _moved(model.eval(), info, place)
    weights_bytes = sum(each.nbytes for each in (*model.parameters(), *model.buffers()))
    return _scorer(model, tokenizer, info), weights_bytes


def outline(folder: Path, info: ModelInfo) -> Scorer:
    """The scorer of the model in `folder` without its weights: it cuts texts into tokens, and knows
    how long a sequence may be. Whatever runs the model fails.

    Raises:
        ModelError: it cannot be loaded; the sentence says why.
    """
    with _loading(folder):
        config, tokenizer = _config_and_tokenizer(folder)
        with torch.device("meta"):  # takes no memory
            model = _loader(config).from_config(config, trust_remote_code=False)
        if (folder / GENERATION_CONFIG_NAME).is_file():
            model.generation_config = GenerationConfig.from_pretrained(
                folder, local_files_only=True
            )
    _check_fast(tokenizer, folder)
    return _scorer(model, tokenizer, info)


def _config_and_tokenizer(folder: Path) -> tuple[Any, Any]:
    return (
        AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False),
        AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False),
    )


def _loader(config: Any) -> Any:
    return AutoModelForSeq2SeqLM if _has_two_parts(config) else AutoModelForCausalLM


def _has_two_parts(config: Any) -> bool:
    return bool(getattr(config, "is_encoder_decoder", False))


def _check_fast(tokenizer: Any, folder: Path) -> None:
    if not tokenizer.is_fast:
        raise ModelError(
            f"The model in {folder} has no fast tokenizer, which is needed to tell where each "
            "token lies in the text. Add its tokenizer.json."
        )


def _scorer(model: Any, tokenizer: Any, info: ModelInfo) -> Scorer:
    if _has_two_parts(model.config):
        from reagent_core.scorers.encoder_decoder import EncoderDecoderScorer

        return EncoderDecoderScorer(model, tokenizer, info)
    return TransformersScorer(model, tokenizer, info)


def _moved(model: Any, info: ModelInfo, place: Place) -> Any:
    try:
        return model.to(place.device)
    except (RuntimeError, MemoryError) as error:  # another program took the memory meanwhile
        raise ModelError(
            f"{info.id} does not fit on {place.device}: {str(error).splitlines()[0].rstrip('.')}. "
            "Choose a smaller model, or set REAGENT_DEVICE=cpu."
        ) from error


@contextmanager
def _loading(folder: Path) -> Iterator[None]:
    """No progress bars, and a sentence for whatever transformers' many readers raise."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    except Exception as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")
        raise ModelError(
            f"The model in {folder} cannot be loaded: {reason}. Check that the folder holds a "
            "generative language model with its tokenizer."
        ) from error
    finally:
        if shown:
            logging.enable_progress_bar()
