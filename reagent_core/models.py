"""The models a user can choose: what there is, what pins each one's weights, and loading.

Nothing here imports torch or transformers before `load` is called, because pages and the store
ask for `model_info` long before a model is in memory.
"""

from __future__ import annotations

import functools
import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reagent_core import bundled
from reagent_core.errors import InputError, ModelError
from reagent_core.explanation import ModelInfo

if TYPE_CHECKING:
    from reagent_core.scorers.transformers_lm import TransformersScorer


@dataclass(frozen=True)
class CatalogueEntry:
    """One model on offer. `id` is what a user types; `good_for` is one line for people."""

    id: str
    name: str
    good_for: str


CATALOGUE: tuple[CatalogueEntry, ...] = (
    CatalogueEntry(
        id="bundled",
        name="SmolLM2 135M Instruct (bundled)",
        good_for="Small and quick, English, needs no network; knows common facts and errs often.",
    ),
)


class UnknownModelError(InputError, ModelError):
    """The model named is none of ours: bad input to a page, a model that cannot be found to
    a caller of the library. Its `field` is "model"."""


def model_info(model_id: str) -> ModelInfo:
    """The identity of a model, without loading it.

    `model_id` is an id of `CATALOGUE`, the id of a `ModelInfo` this gave before, or the path of
    a local folder with a transformers model. A catalogue model costs nothing; a folder is read
    once and hashed (about 1 s for each 300 MB), and again only after a file in it changed.

    Raises:
        UnknownModelError: there is no such model.
        ModelError: the folder holds no model that can be used.
    """
    folder = _local_folder(model_id)
    if folder is None:
        return ModelInfo(id=bundled.MODEL_NAME, revision_or_sha256=bundled.GGUF_SHA256)
    return ModelInfo(id=str(folder), revision_or_sha256=_folder_sha256(folder))


def load(model_id: str) -> TransformersScorer:
    """The scorer of a model: loaded at the first call, the same object at every later one.

    Safe to call from several threads; one loads and the others wait. The bundled model takes
    about 1 s once torch and transformers are imported (about 5 s with them), and 30 s more the
    first time on a machine, when it is converted.

    Raises:
        UnknownModelError: there is no such model.
        ModelError: it cannot be loaded; the sentence says why.
    """
    info = model_info(model_id)
    with _guard:
        lock = _locks.setdefault(info.id, threading.Lock())
    with lock:
        held = _loaded.get(info.id)
        if held is not None and held[0] == info:
            return held[1]
        scorer = _load_folder(_local_folder(model_id) or bundled.prepared_folder(), info)
        _loaded[info.id] = (info, scorer)
        return scorer


# A model is hundreds of megabytes and may be asked for by several threads at once: one a process.
_guard = threading.Lock()
_locks: dict[str, threading.Lock] = {}
_loaded: dict[str, tuple[ModelInfo, TransformersScorer]] = {}


def _local_folder(model_id: str) -> Path | None:
    """The folder a model id names, None for the bundled model."""
    if model_id in ("bundled", bundled.MODEL_NAME):
        return None
    path = os.path.expanduser(model_id)
    if os.path.isdir(path):
        return Path(path).resolve()
    shown = model_id if len(model_id) <= 80 else model_id[:80] + "..."
    offered = ", ".join(entry.id for entry in CATALOGUE)
    raise UnknownModelError(
        f"There is no model {shown!r} here. Choose one of: {offered}; or give the path of a "
        "local folder with a transformers model.",
        "model",
    )


def _folder_sha256(folder: Path) -> str:
    """SHA-256 over every file that decides what the model does: config, tokenizer, weights."""
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"The folder {folder} has no config.json, so it is no transformers model. Choose the "
            "folder that save_pretrained wrote."
        )
    if not any(folder.glob("*.safetensors")):
        raise ModelError(
            f"The folder {folder} has no *.safetensors file. Other weight files are not loaded, "
            "because they can run code; save the model again as safetensors."
        )
    whole = hashlib.sha256()
    try:
        for file in sorted(folder.iterdir()):
            if file.suffix in (".json", ".jinja", ".model", ".safetensors", ".txt"):
                stat = file.stat()
                digest = _file_sha256(file, stat.st_size, stat.st_mtime_ns)
                whole.update(f"{file.name}\0{digest}\n".encode())
    except OSError as error:
        raise ModelError(f"The model in {folder} cannot be read: {error}.") from error
    return whole.hexdigest()


@functools.lru_cache(maxsize=256)
def _file_sha256(file: Path, size: int, mtime_ns: int) -> str:
    # Size and time are not read here: they make a changed file another entry of the cache.
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _load_folder(folder: Path, info: ModelInfo) -> TransformersScorer:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from reagent_core.scorers.devices import best_device, weights_dtype
    from reagent_core.scorers.transformers_lm import TransformersScorer

    device = best_device()
    try:
        with _no_progress_bars():
            tokenizer = AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=weights_dtype(device),
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
            )
            model, report = loaded
    except Exception as error:  # transformers raises whatever its many readers raise
        reason = next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")
        raise ModelError(
            f"The model in {folder} cannot be loaded: {reason}. Check that the folder holds a "
            "causal language model with its tokenizer."
        ) from error
    # transformers fills weights it does not find with random numbers and only logs it.
    if report["missing_keys"]:
        name = sorted(report["missing_keys"])[0]
        raise ModelError(
            f"The model in {folder} lacks weights, among them '{name}'. Copy the folder again."
        )
    if not tokenizer.is_fast:
        raise ModelError(
            f"The model in {folder} has no fast tokenizer, which is needed to tell where each "
            "token lies in the text. Add its tokenizer.json."
        )
    return TransformersScorer(model.eval().to(device), tokenizer, info)


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
