"""What can be said of a model before it is chosen: on disk or not, what it needs, does it fit.

Reads headers of files at most: no weights, no torch where there is no GPU, and the hub only for a
model of it that no list gives the size of.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from rich.filesize import decimal

from reagent_core import bundled, hub
from reagent_core.catalogue import (
    BundledEntry,
    Dtype,
    Entry,
    FolderEntry,
    GGUFEntry,
    HubEntry,
    ServerEntry,
)
from reagent_core.converted import conversion_bytes, folder_of, is_intact, known_sha256
from reagent_core.errors import ModelError
from reagent_core.gguf_file import read_gguf
from reagent_core.hardware import BYTES, Place, place, place_is_known

# Beside the weights: what one forward on a processor may take (see scorers/memory.py), and torch.
OVERHEAD_BYTES = 2**30


@dataclass(frozen=True)
class Availability:
    """What choosing a model means here.

    `on_disk`: nothing is downloaded. `download_bytes`: 0 for one on disk, None where unknown.
    `needs_bytes`: memory it takes, None where unknown and for a server's. `free_bytes`: memory
    that is free where it would go, what leaves for it included; 0 where not known yet. `fits`:
    None where one of these is unknown. `text`: all of it for people; `short`: where it is, in a
    few words.
    """

    on_disk: bool
    download_bytes: int | None
    needs_bytes: int | None
    free_bytes: int
    fits: bool | None
    text: str
    short: str


def availability(entry: Entry, reclaimable: int = 0) -> Availability:
    """What choosing `entry` means here; `reclaimable`: bytes of models that would leave for it.

    What is wrong with the entry (no such folder, no such model on the hub) is said in `text`.
    """
    if isinstance(entry, ServerEntry):
        text = f"Runs on the server {entry.url}."
        return Availability(True, 0, None, 0, None, text, "on a server")
    try:
        download = download_bytes(entry)
        count = parameters(entry)
        where = place() if place_is_known() else None
    except ModelError as error:
        return Availability(False, None, None, 0, None, str(error), "not here")
    needs = None if count is None or where is None else needed_bytes(count, where.dtype)
    free = where.free_bytes + reclaimable if where else 0
    fits = None if needs is None else needs <= free
    return Availability(
        on_disk=download == 0,
        download_bytes=download,
        needs_bytes=needs,
        free_bytes=free,
        fits=fits,
        text=_text(entry, download, needs, free),
        short="on disk" if download == 0 else f"{decimal(download or 0)} to download",
    )


def check_fits(name: str, count: int | None, where: Place) -> None:
    """Refuse a model of `count` parameters that does not fit where it would go.

    Raises:
        ModelError: it does not; the sentence gives the numbers.
    """
    why = why_not_fitting(name, count, where)
    if why is None:
        return
    half = " in half the memory with REAGENT_DTYPE=bfloat16," if where.dtype == "float32" else ""
    raise ModelError(
        f"{why} Choose a smaller model, free memory, or run it{half} or behind a server."
    )


def why_not_fitting(name: str, count: int | None, where: Place) -> str | None:
    """The numbers in a sentence, where a model of `count` parameters does not fit; None where it
    does, or nobody knows its size."""
    needs = None if count is None else needed_bytes(count, where.dtype)
    if count is None or needs is None or needs <= where.free_bytes:
        return None
    return (
        f"{name} does not fit in memory: its {millions(count)} parameters in {where.dtype}, and "
        f"room to work, need {_gib(needs)}, and {_gib(where.free_bytes)} are free on "
        f"{where.device}."
    )


def needed_bytes(count: int, dtype: Dtype) -> int:
    """Memory for `count` parameters in this precision, and to work with them."""
    return count * BYTES[dtype] + OVERHEAD_BYTES


def parameters(entry: Entry) -> int | None:
    """How many numbers the model's weights are: as its files say, else the list, else the hub.

    Raises:
        ModelError: the files cannot be read, or the hub has no answer.
    """
    if isinstance(entry, FolderEntry):
        return folder_parameters(entry.path)
    if isinstance(entry, GGUFEntry):
        return read_gguf(entry.path).parameters
    if isinstance(entry, HubEntry):
        folder = hub.on_disk(entry.repo, entry.revision)
        if folder is not None:
            return folder_parameters(folder)
        return entry.size or hub.look_up(entry.repo, entry.revision).parameters
    return entry.size


def download_bytes(entry: Entry) -> int | None:
    """What has to be downloaded first.

    Raises:
        ModelError: it cannot be had at all; the sentence says why.
    """
    if isinstance(entry, BundledEntry):
        ready = is_intact(folder_of(bundled.MODEL_NAME, bundled.GGUF_SHA256))
        if not ready and importlib.util.find_spec(bundled.PACKAGE) is None:
            bundled.installed_gguf()  # says how to install it
    if not isinstance(entry, HubEntry) or hub.on_disk(entry.repo, entry.revision):
        return 0
    if entry.size:
        return entry.size * BYTES[entry.stored_as]
    return hub.look_up(entry.repo, entry.revision).download_bytes


def folder_parameters(folder: Path) -> int:
    """Numbers in the safetensors files that transformers would load, by their headers.

    Raises:
        ModelError: they are not there, or not whole.
    """
    from huggingface_hub import errors, get_local_safetensors_metadata

    try:
        return sum(get_local_safetensors_metadata(folder).parameter_count.values())
    except (errors.NotASafetensorsRepoError, errors.SafetensorsParsingError, OSError) as error:
        raise ModelError(
            f"The model in {folder} cannot be loaded: its weights are missing, damaged or cut off. "
            "Check that the folder was copied whole."
        ) from error


def millions(count: int) -> str:
    """A number of parameters as people say it: "135 M", "1.54 B"."""
    return f"{count / 1e9:.2f} B" if count >= 999.5e6 else f"{count / 1e6:.0f} M"


def _text(entry: Entry, download: int | None, needs: int | None, free: int) -> str:
    parts = ["On disk" if download == 0 else f"Needs a download of about {decimal(download or 0)}"]
    if isinstance(entry, GGUFEntry):
        parts = [_conversion(entry)]
    if needs is not None and needs <= free:
        parts.append(f"takes {_gib(needs)} of memory, {_gib(free)} are free")
    elif needs is not None:
        parts.append(f"does not fit: takes {_gib(needs)} of memory, {_gib(free)} are free")
    if isinstance(entry, HubEntry) and entry.gated and download:
        parts.append("the hub asks for an accepted licence and a token in HF_TOKEN")
    return "; ".join(parts) + "."


def _conversion(entry: GGUFEntry) -> str:
    count = read_gguf(entry.path).parameters
    # Nobody waits here until a file of gigabytes is hashed.
    sha256 = known_sha256(entry.path)
    if sha256 is not None and is_intact(folder_of("gguf", sha256)):
        return "On disk"
    return (
        "On disk; is converted once, at its first use, which takes "
        f"{_gib(conversion_bytes(4 * count))} of memory and {decimal(4 * count)} of disk"
    )


def _gib(size: int) -> str:
    return f"{size / 2**30:,.1f} GiB"
