"""Converted GGUF files: each converted once into a folder of the cache, and used from there."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import platformdirs
import psutil
from filelock import FileLock, Timeout

from reagent_core.errors import ModelError

# Raise it when the conversion writes something else, so that older folders are not used.
_FORMAT = 1
_MANIFEST = "manifest.json"
_LOCK_SECONDS = 600

# Files that were hashed: their state then, and their SHA-256.
_hashes: dict[Path, tuple[tuple[int, int], str]] = {}

Converter = Callable[[Path, Path], None]


def cache_root() -> Path:
    """Where converted models are kept: REAGENT_CACHE_DIR, else the user's cache folder."""
    return Path(os.environ.get("REAGENT_CACHE_DIR") or platformdirs.user_cache_dir("reagent"))


def folder_of(name: str, sha256: str, root: Path | None = None) -> Path:
    """Where the converted file of this hash lies, or will lie."""
    return (root or cache_root()) / f"{name}-{sha256[:16]}-v{_FORMAT}"


def converted_folder(
    name: str,
    sha256: str,
    find: Callable[[], Path],
    *,
    what: str,
    weights_bytes: int,
    root: Path | None = None,
    convert: Converter | None = None,
) -> Path:
    """The folder of the converted file, ready for transformers; converts it when need be.

    The folder appears under its final name only when it is complete, so a conversion that was
    killed leaves nothing that could be taken for a model. Any number of processes and threads
    may call this at once; one of them converts and the others wait. `find` gives the GGUF file
    when it is needed, `what` names it in a sentence ("the bundled model"); `weights_bytes`: what
    its float32 weights take on disk.

    Raises:
        ModelError: the conversion failed, or the cache folder cannot be written.
    """
    root = root or cache_root()
    folder = folder_of(name, sha256, root)
    if is_intact(folder):
        return folder
    convert = convert or functools.partial(_convert_in_child, what, weights_bytes)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f"{folder.name}.lock", timeout=_LOCK_SECONDS):
            if not is_intact(folder):
                _fill(folder, find(), convert)
    except Timeout:
        raise ModelError(
            f"Another program has been preparing {what} for {_LOCK_SECONDS // 60} "
            "minutes. End it and try again."
        ) from None
    except OSError as error:
        raise ModelError(
            f"{_capital(what)} cannot be prepared in {root}: {error}. Free about "
            f"{_megabytes(weights_bytes)} there, or name another folder in the environment "
            "variable REAGENT_CACHE_DIR."
        ) from error
    return folder


def is_intact(folder: Path) -> bool:
    """Whether `folder` holds what a finished conversion wrote.

    Sizes and times are compared at every call. A file is read and hashed only when its time
    has changed: hashing 538 MB at every load would double the time of loading.
    """
    try:
        manifest = json.loads((folder / _MANIFEST).read_text("utf-8"))
        return bool(manifest) and all(
            (stat := (folder / name).stat()).st_size == file["size"]
            and (
                stat.st_mtime_ns == file["mtime_ns"] or file_sha256(folder / name) == file["sha256"]
            )
            for name, file in manifest.items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def file_sha256(file: Path) -> str:
    """SHA-256 of a file (about 1 s for each GB); read again only after the file changed.

    Raises:
        OSError: it cannot be read.
    """
    known = known_sha256(file)
    if known is not None:
        return known
    state = _state(file)
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    _hashes[file] = state, found
    return found


def known_sha256(file: Path) -> str | None:
    """The SHA-256 of a file where this process has read it and it has not changed since.

    Raises:
        OSError: it is not there.
    """
    state, sha256 = _hashes.get(file, (None, None))
    return sha256 if state == _state(file) else None


def _state(file: Path) -> tuple[int, int]:
    """Size and time: they change with the file."""
    stat = file.stat()
    return stat.st_size, stat.st_mtime_ns


def _fill(folder: Path, gguf: Path, convert: Converter) -> None:
    prefix = f"{folder.name}.tmp-"
    for leftover in folder.parent.glob(f"{prefix}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    draft = Path(tempfile.mkdtemp(prefix=prefix, dir=folder.parent))
    try:
        convert(gguf, draft)
        manifest = {file.name: _fingerprint(file) for file in sorted(draft.iterdir())}
        (draft / _MANIFEST).write_text(json.dumps(manifest, indent=1), "utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _fingerprint(file: Path) -> dict[str, int | str]:
    stat = file.stat()
    return {
        "size": stat.st_size,
        "mtime_ns": stat.st_mtime_ns,
        "sha256": file_sha256(file),
    }


def _convert_in_child(what: str, weights_bytes: int, gguf: Path, folder: Path) -> None:
    needs, free = conversion_bytes(weights_bytes), int(psutil.virtual_memory().available)
    if needs > free:
        raise ModelError(
            f"{_capital(what)} cannot be converted here: that takes {_megabytes(needs)} of memory, "
            f"and {_megabytes(free)} are free. Free some, choose a smaller model, or run the file "
            "with llama.cpp's server and choose that."
        )
    # A process of its own: transformers' GGUF reader draws a progress bar that only the
    # environment can switch off, and holds the interpreter for some 25 s.
    done = subprocess.run(
        [sys.executable, "-m", "reagent_core.gguf_conversion", str(gguf), str(folder)],
        cwd=Path(__file__).parents[1],
        env={**os.environ, "TQDM_DISABLE": "1", "HF_HUB_OFFLINE": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        reason = lines[-1] if lines else f"exit status {done.returncode}"
        reason = re.sub(r"^[\w.]*(Error|Exception): ", "", reason)
        raise ModelError(
            f"{_capital(what)} could not be converted: {reason.rstrip('.')}. It needs about "
            f"{_megabytes(needs)} of memory and "
            f"{_megabytes(weights_bytes)} of disk; free some, or choose another file."
        )


def conversion_bytes(weights_bytes: int) -> int:
    """Memory that a conversion takes: the weights are held twice, beside torch itself."""
    return 2 * weights_bytes + 2**30


def _megabytes(size: int) -> str:
    from rich.filesize import decimal

    return decimal(size, precision=1)


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
