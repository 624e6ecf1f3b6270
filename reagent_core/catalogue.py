"""The catalogue: what the model picker offers, read from `models.toml`.

The file that ships lists the bundled model and models of the hub. A file of the user's own adds
entries, and replaces those of equal id: the one that REAGENT_MODELS names, else `models.toml` in
the user's configuration folder. Light: it is read before a first page.
"""

from __future__ import annotations

import os
import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import platformdirs
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
)

from reagent_core.errors import ModelError

SHIPPED = Path(__file__).with_name("models.toml")

Dtype = Literal["float32", "bfloat16", "float16"]


class _Entry(BaseModel):
    """What every kind of model has.

    `id` is what a user types and a request holds. `size`: parameters, None where unknown.
    `good_for`: one line for people.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    id: str = Field(min_length=1, max_length=500)
    name: str = Field(min_length=1, max_length=500)
    size: int | None = Field(None, gt=0)
    good_for: str = ""


class BundledEntry(_Entry):
    """The model that is installed with the app."""

    kind: Literal["bundled"] = "bundled"


class HubEntry(_Entry):
    """A model of the Hugging Face hub.

    `revision`: branch, tag or commit. `gated`: the hub hands it to known users only.
    `stored_as`: precision of the weights there, from which follows what a download takes.
    """

    kind: Literal["hub"] = "hub"
    repo: str = Field(pattern=r"^[\w.-]+(/[\w.-]+)?$")
    revision: str = Field("main", min_length=1)
    gated: bool = False
    stored_as: Dtype = "bfloat16"


class FolderEntry(_Entry):
    """A folder that `save_pretrained` wrote. A relative path is relative to the file it is in."""

    kind: Literal["folder"] = "folder"
    path: Path


class GGUFEntry(_Entry):
    """A GGUF file. A relative path is relative to the file it is in."""

    kind: Literal["gguf"] = "gguf"
    path: Path


class ServerEntry(_Entry):
    """A server that speaks the OpenAI API.

    `url`: its address, with or without "/v1". `model`: the name the server knows it by, None for
    the first it lists. `dialect`: which extensions it has; "auto" finds out. `key_env`: name of
    the environment variable that holds the key. `tokenizer`: folder or hub id of the model's
    tokenizer, where the server cannot tokenize. `top`: how many alternatives it is asked for,
    None for the most it gives. `concurrency`: requests at a time. `budget_requests`: the most
    requests one run may send.
    """

    kind: Literal["server"] = "server"
    url: str
    model: str | None = None
    dialect: Literal["auto", "vllm", "llama.cpp", "chat"] = "auto"
    # A pattern keys do not fit, so that nobody writes the key itself into the file.
    key_env: str | None = Field(None, pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")
    tokenizer: str | None = None
    top: int | None = Field(None, ge=1)
    concurrency: int = Field(4, ge=1, le=256)
    budget_requests: int | None = Field(None, ge=1)

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        parts = urlsplit(url)  # raises ValueError for broken ones, and so does a broken port
        if parts.port == 0 or parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("should be an address such as http://localhost:8000")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("should hold no user, password or query; name the key in key_env")
        return url.rstrip("/")


Entry = Annotated[
    BundledEntry | HubEntry | FolderEntry | GGUFEntry | ServerEntry, Field(discriminator="kind")
]
_ENTRY: TypeAdapter[Entry] = TypeAdapter(Entry)


def user_file() -> Path:
    """The user's own list, which need not exist unless REAGENT_MODELS names it."""
    named = os.environ.get("REAGENT_MODELS")
    if named:
        return Path(named).expanduser()
    return Path(platformdirs.user_config_dir("reagent")) / "models.toml"


def catalogue() -> tuple[Entry, ...]:
    """All entries: the shipped ones, as the user's file changes and adds to them.

    Raises:
        ModelError: the user's file cannot be read; the sentence names the place.
    """
    entries = {entry.id: entry for entry in shipped()}
    file = user_file()
    if file.exists() or os.environ.get("REAGENT_MODELS"):
        entries |= {entry.id: entry for entry in read(file)}
    return tuple(entries.values())


def shipped() -> tuple[Entry, ...]:
    """The entries that come with the app, the bundled model first."""
    return read(SHIPPED)


def read(file: Path) -> tuple[Entry, ...]:
    """The entries of one file; read again only after it changed.

    Raises:
        ModelError: it cannot be read; the sentence names the line or the entry.
    """
    try:
        stat = file.stat()
    except OSError as error:
        raise ModelError(
            f"The list of models {file} cannot be read: {error.strerror or error}. Correct the "
            "path in the environment variable REAGENT_MODELS."
        ) from error
    return _read(file, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=8)
def _read(file: Path, mtime_ns: int, size: int) -> tuple[Entry, ...]:
    # Time and size are not read here: they make a changed file another entry of the cache.
    try:
        tables = tomllib.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:  # TOML's and Unicode's errors are ValueErrors
        raise ModelError(f"The list of models {file} cannot be read: {error}.") from error
    unknown = sorted(set(tables) - {"model"})
    listed = tables.get("model", [])
    if unknown or not isinstance(listed, list):
        what = f"has an unknown part {unknown[0]!r}" if unknown else "has one table [model]"
        raise ModelError(
            f"The list of models {file} {what}. Write each model as a table that begins with "
            "[[model]]."
        )
    entries: dict[str, Entry] = {}
    for number, table in enumerate(listed, 1):
        entry = _entry(table, file, number)
        if entry.id in entries:
            raise ModelError(
                f"The list of models {file} has two entries with id {entry.id!r}. Give one of "
                "them another id."
            )
        entries[entry.id] = entry
    return tuple(entries.values())


def _entry(table: object, file: Path, number: int) -> Entry:
    try:
        entry = _ENTRY.validate_python(table)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        # The first place is the kind, which is no field of its own.
        field = ".".join(str(part) for part in first["loc"][1:]) or "kind"
        reason = first["msg"].removeprefix("Value error, ").rstrip(".")
        named = table.get("id") if isinstance(table, dict) else None
        which = f"entry {number}" + (f" ({named})" if isinstance(named, str) else "")
        raise ModelError(
            f"In the list of models {file}, {which}: {field}: {reason}. Correct it there."
        ) from error
    if isinstance(entry, HubEntry) and entry.size is None:
        raise ModelError(
            f"In the list of models {file}, entry {number} ({entry.id}): size is missing. Give the "
            "number of parameters, so that the hub need not be asked for a list."
        )
    if isinstance(entry, FolderEntry | GGUFEntry):
        path = file.parent / entry.path.expanduser()
        return entry.model_copy(update={"path": path})
    return entry
