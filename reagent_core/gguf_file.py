"""What a GGUF file says about itself, read without torch."""

from __future__ import annotations

import functools
import math
import struct
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path

from reagent_core.errors import ModelError

_MAGIC = b"GGUF"


@dataclass(frozen=True)
class GGUFFile:
    """`parameters`: numbers in all tensors. `pre_tokenizer`: its rule for cutting text, if any."""

    architecture: str
    parameters: int
    pre_tokenizer: str | None


def read_gguf(file: Path) -> GGUFFile:
    """The header of `file`; read again only after it changed.

    Raises:
        ModelError: it is no GGUF file, or a damaged one.
    """
    try:
        stat = file.stat()
        with file.open("rb") as stream:
            magic = stream.read(len(_MAGIC))
    except (OSError, ValueError) as error:
        raise ModelError(f"The file {file} cannot be read: {error}.") from error
    if magic != _MAGIC:
        raise ModelError(
            f"The file {file} is no GGUF file. Choose a file that llama.cpp's converter wrote."
        )
    return _read(file, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=32)
def _read(file: Path, size: int, mtime_ns: int) -> GGUFFile:
    # Time is not read here: it makes a changed file another entry of the cache.
    try:
        with file.open("rb") as stream, mmap(stream.fileno(), 0, access=ACCESS_READ) as data:
            return _header(data, size)
    except (struct.error, ValueError, KeyError, IndexError, OSError) as error:
        raise ModelError(
            f"The GGUF file {file} is damaged or cut off. Download it again."
        ) from error


# The library gguf reads every token into an array of its own, which takes seconds where a page
# waits; this steps over them. The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_STRING, _ARRAY = 8, 9


def _header(data: mmap, size: int) -> GGUFFile:
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    version, tensors, fields = struct.unpack_from("<IQQ", data, 4)
    if version not in (2, 3):
        raise ValueError(f"version {version}")
    at = 24
    texts: dict[str, str] = {}
    alignment = 32
    for _ in range(fields):
        key, at = _string(data, at)
        (kind,) = struct.unpack_from("<I", data, at)
        if kind == _STRING:
            texts[key], at = _string(data, at + 4)
            continue
        if key == "general.alignment":
            (alignment,) = struct.unpack_from("<I", data, at + 4)
        at = _after(data, at + 4, kind)
    parameters = end = 0
    for _ in range(tensors):
        _, at = _string(data, at)
        (dimensions,) = struct.unpack_from("<I", data, at)
        shape = struct.unpack_from(f"<{dimensions}Q", data, at + 4)
        at += 4 + 8 * dimensions
        kind, offset = struct.unpack_from("<IQ", data, at)
        at += 12
        count = math.prod(shape)
        block, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
        parameters += count
        end = max(end, offset + count // block * block_bytes)
    if -(-at // alignment) * alignment + end > size:
        raise ValueError("cut off")
    return GGUFFile(texts["general.architecture"], parameters, texts.get("tokenizer.ggml.pre"))


def _string(data: mmap, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from("<Q", data, at)
    return data[at + 8 : at + 8 + length].decode("utf-8"), at + 8 + length


def _after(data: mmap, at: int, kind: int) -> int:
    """Where the value of this kind that begins at `at` ends."""
    if kind == _STRING:
        return at + 8 + int(struct.unpack_from("<Q", data, at)[0])
    if kind != _ARRAY:
        return at + _SIZES[kind]
    inner, count = struct.unpack_from("<IQ", data, at)
    at += 12
    if inner in _SIZES:
        return at + int(count) * _SIZES[inner]
    for _ in range(count):
        at = _after(data, at, inner)
    return at
