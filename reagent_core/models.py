"""The models a user can name: what a name means, what pins each one's weights, and loading.

Nothing here imports torch or transformers before `load` is called, because pages and the store
ask for `model_info` long before a model is in memory (but see `hardware.place`).
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
from dataclasses import replace
from pathlib import Path
from typing import Final

from reagent_core import bundled, converted, hub
from reagent_core.availability import check_fits, folder_parameters
from reagent_core.catalogue import (
    BundledEntry,
    Entry,
    FolderEntry,
    GGUFEntry,
    HubEntry,
    ServerEntry,
    catalogue,
)
from reagent_core.converted import converted_folder, file_sha256
from reagent_core.errors import ModelError, UnknownModelError
from reagent_core.gguf_file import read_gguf
from reagent_core.hardware import BYTES, Place, place
from reagent_core.in_memory import ModelsInMemory
from reagent_core.request import ModelInfo
from reagent_core.scorers.base import Scorer

_HUB_ID = re.compile(r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?", re.ASCII)
_MODEL_FILES = (".json", ".jinja", ".model", ".safetensors", ".txt")

# A model is hundreds of megabytes and may be asked for by several threads at once: one a process.
IN_MEMORY: Final = ModelsInMemory()
_guard = threading.Lock()
_locks: dict[str, threading.Lock] = {}
_loading = threading.Lock()
_connected: dict[ServerEntry, Scorer] = {}


def resolve(model_id: str, *, urls_allowed: bool = True) -> Entry:
    """What a name stands for, without looking whether it can be had.

    `model_id` is an id of the catalogue, the id of a `ModelInfo` that was given before, the path
    of a local folder or of a .gguf file, a hub id (`owner/name`, `owner/name@revision`), or the
    address of a server. Addresses that are not in the catalogue need `urls_allowed`: a server
    that others use must not contact what they type.

    Raises:
        UnknownModelError: there is no such model.
        ModelError: the catalogue cannot be read.
    """
    entries = catalogue()
    for entry in entries:
        if model_id == entry.id or (
            isinstance(entry, BundledEntry) and model_id == bundled.MODEL_NAME
        ):
            return entry
    if re.match(r"https?://", model_id, re.IGNORECASE):
        return _typed_server(model_id, urls_allowed)
    path = Path(os.path.expanduser(model_id))
    if model_id and os.path.isdir(path):
        return FolderEntry(id=str(path.resolve()), name=path.resolve().name, path=path.resolve())
    if path.suffix.lower() == ".gguf" and os.path.isfile(path):
        return GGUFEntry(id=str(path.resolve()), name=path.name, path=path.resolve())
    named = _HUB_ID.fullmatch(model_id) if len(model_id) <= 200 else None
    if named and path.suffix.lower() != ".gguf" and not model_id.startswith("."):
        repo, revision = named[1], named[2] or "main"
        for entry in entries:
            if isinstance(entry, HubEntry) and (entry.repo, entry.revision) == (repo, revision):
                return entry
        return HubEntry(id=model_id, name=model_id, repo=repo, revision=revision)
    shown = model_id if len(model_id) <= 80 else model_id[:80] + "..."
    raise UnknownModelError(
        f"There is no model {shown!r} here. Choose one of the list, or give a hub id "
        "(owner/name), the path of a local folder or .gguf file, or a server's address."
    )


def model_info(model_id: str) -> ModelInfo:
    """The identity of a model, without loading it.

    A model of the hub is pinned by its commit: of the copy on disk, else as the hub says now. A
    folder or file is pinned by its content, and hashed again only after it changed (about 1 s
    for each GB). A precision other than float32 changes results and is part of the identity.

    Raises:
        UnknownModelError: there is no such model.
        ModelError: the model cannot be used.
    """
    return _identity(resolve(model_id))


def in_memory(model_id: str) -> Scorer | None:
    """The scorer of a model that is in memory, or of a server that was asked already, None where
    it is not. Asks no network."""
    try:
        entry = resolve(model_id)
        if isinstance(entry, ServerEntry):
            return _connected.get(entry)
        if isinstance(entry, HubEntry) and not hub.on_disk(entry.repo, entry.revision):
            return None
        return IN_MEMORY.get(_identity(entry))
    except ModelError:
        return None


def load(model_id: str) -> Scorer:
    """The scorer of a model: loaded once, the same object as long as it stays in memory.

    At most REAGENT_MODELS_IN_MEMORY models (1 unless set) stay; the least recently used ones
    leave before another is loaded. Safe to call from several threads; one loads and the others
    wait. The bundled model takes about 1 s once torch and transformers are imported (about 5 s
    with them), and 30 s more the first time on a machine, when it is converted.

    Raises:
        UnknownModelError: there is no such model.
        ModelError: it cannot be loaded, or does not fit in memory; the sentence says why.
    """
    entry = resolve(model_id)
    info = _identity(entry)
    with _guard:
        lock = _locks.setdefault(info.id, threading.Lock())
    with lock:
        if isinstance(entry, ServerEntry):
            return _connection(entry, info)
        held = IN_MEMORY.get(info)
        if held is not None:
            return held
        folder = _folder(entry, info)
        count = folder_parameters(folder)
        with _loading:
            # Before anything is dropped for a model that is refused, and again when it is: what
            # another thread still uses has not left.
            check_fits(info.id, count, _place_after_drops(info))
            IN_MEMORY.make_room(info)
            where = place()
            check_fits(info.id, count, where)
            from reagent_core.loading import load_folder

            scorer, weights_bytes = load_folder(folder, info, where)
            IN_MEMORY.put(info, scorer, weights_bytes)
        return scorer


def outline(model_id: str) -> Scorer | None:
    """A scorer that knows what a run costs and need not be able to make one: a model without its
    weights, or a server. None where the model is not on this machine, or not yet converted. Takes
    no memory, and a second once torch and transformers are imported.

    Raises:
        UnknownModelError: there is no such model.
        ModelError: it cannot be used; the sentence says why.
    """
    entry = resolve(model_id)
    if isinstance(entry, ServerEntry):
        return load(model_id)
    folder = _folder_on_disk(entry)
    if folder is None:
        return None
    from reagent_core import loading

    return loading.outline(folder, _identity(entry))


def folder_of(model_id: str) -> Path:
    """The transformers folder of a model, downloaded or converted when need be.

    Raises:
        UnknownModelError: there is no such model.
        ModelError: it cannot be had; the sentence says why.
    """
    entry = resolve(model_id)
    if isinstance(entry, ServerEntry):
        raise ModelError(f"{entry.url} is a server, not a folder.")
    return _folder(entry, _identity(entry))


def _place_after_drops(info: ModelInfo) -> Place:
    where = place()
    return replace(where, free_bytes=where.free_bytes + IN_MEMORY.reclaimable(info))


def _typed_server(url: str, allowed: bool) -> ServerEntry:
    from pydantic import ValidationError

    if not allowed:
        raise UnknownModelError(
            "Addresses cannot be typed here, because others use this server, too. Ask whoever "
            "runs it to add the model's server to models.toml."
        )
    try:
        return ServerEntry(id=url, name=url, url=url)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise UnknownModelError(f"The address cannot be used: it {reason}.") from error


def _identity(entry: Entry) -> ModelInfo:
    match entry:
        case ServerEntry():
            from reagent_core.scorers.servers.connect import server_info

            return server_info(entry)
        case BundledEntry():
            name, pinned = bundled.MODEL_NAME, bundled.GGUF_SHA256
        case HubEntry(repo=repo, revision=revision):
            folder = hub.on_disk(repo, revision)
            pinned = folder.name if folder else hub.look_up(repo, revision).sha
            name = repo if revision == "main" else f"{repo}@{revision}"
        case FolderEntry(path=path):
            name, pinned = str(path), _folder_sha256(path)
        case GGUFEntry(path=path):
            read_gguf(path)  # refuses what is none
            name, pinned = str(path), file_sha256(path)
    dtype = place().dtype
    suffix = "" if dtype == "float32" else f"+{dtype}"
    return ModelInfo(id=name, revision_or_sha256=pinned + suffix)


def _connection(entry: ServerEntry, info: ModelInfo) -> Scorer:
    held = _connected.get(entry)
    if held is None or held.info != info:  # the server has another model by now
        from reagent_core.scorers.servers.connect import connect

        held = _connected[entry] = connect(entry)
    return held


def _folder(entry: Entry, info: ModelInfo) -> Path:
    """The transformers folder of a model, downloaded or converted when need be."""
    match entry:
        case HubEntry(repo=repo, revision=revision):
            folder = hub.on_disk(repo, revision)
            if folder is not None:
                return folder
            found = hub.look_up(repo, revision)
            check_fits(repo, found.parameters or entry.size, _place_after_drops(info))
            return hub.download(found, revision)
        case FolderEntry(path=path):
            return path
        case GGUFEntry(path=path):
            return _converted(path)
    return bundled.prepared_folder()


def _folder_on_disk(entry: Entry) -> Path | None:
    """The transformers folder of a model that is ready to be loaded."""
    match entry:
        case HubEntry(repo=repo, revision=revision):
            return hub.on_disk(repo, revision)
        case FolderEntry(path=path):
            return path
        case GGUFEntry(path=path):
            folder = converted.folder_of("gguf", file_sha256(path))
        case _:
            folder = converted.folder_of(bundled.MODEL_NAME, bundled.GGUF_SHA256)
    return folder if converted.is_intact(folder) else None


def _converted(file: Path) -> Path:
    sha256 = file_sha256(file)
    if sha256 == bundled.GGUF_SHA256:
        return bundled.prepared_folder(find=lambda: file)
    weights_bytes = BYTES["float32"] * read_gguf(file).parameters
    return converted_folder(
        "gguf", sha256, lambda: file, what=f"the model in {file}", weights_bytes=weights_bytes
    )


def _folder_sha256(folder: Path) -> str:
    """SHA-256 over every file that decides what the model does: config, tokenizer, weights."""
    if not folder.is_dir():
        raise UnknownModelError(f"There is no folder {folder}. Correct its path.")
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
            if file.suffix in _MODEL_FILES:
                whole.update(f"{file.name}\0{file_sha256(file)}\n".encode())
    except OSError as error:
        raise ModelError(f"The model in {folder} cannot be read: {error}.") from error
    return whole.hexdigest()
