"""Files from elsewhere: our own JSON of any version, and the published notebook's file.

Nothing in a file is trusted. Size, nesting and number of values are bounded before anything is
built from it, no format that could run code is read, and what comes out can be drawn: numbers are
finite and in their range, indices exist, texts are where they are said to be.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from reagent_core.errors import InputError
from reagent_core.explanation import Explanation, from_data
from reagent_core.soundness import check_sound
from reagent_core.wording import quoted

MAX_BYTES = 64 * 1024 * 1024
MAX_DEPTH = 32
# Numbers, texts, lists and objects; a list of 200 tokens and 10,000 steps has two million.
MAX_VALUES = 8_000_000
# Of one object; ours and the notebook's have about twenty.
MAX_FIELDS = 256
# Tokens of an answer, each with an explanation of its own, and its words.
MAX_INNER = 1_024

# How files begin that are no text. None of them is opened, a pickle least of all: it runs code.
_KINDS = (
    (b"\x1f\x8b", "compressed with gzip. Unpack it first"),
    (b"PK\x03\x04", "a zip archive. Unpack it first"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd. Unpack it first"),
    (b"BZh", "compressed with bzip2. Unpack it first"),
    (b"\xfd7zXZ\x00", "compressed with xz. Unpack it first"),
    (b"PAR1", "a Parquet file. Import the JSON file in its place"),
    (b"ARROW1", "an Arrow file. Import the JSON file in its place"),
    (b"\x93NUMPY", "a NumPy file. Import the JSON file in its place"),
    (b"SQLite format 3\x00", "an SQLite database. Import a JSON file"),
    (b"%PDF", "a PDF. Import the JSON file in its place"),
    *(
        (protocol, "a pickle, which could run code. Import the JSON file in its place")
        for protocol in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
    ),
    (b"\xff\xfe", "UTF-16 text. Save it as UTF-8"),
    (b"\xfe\xff", "UTF-16 text. Save it as UTF-8"),
)
_BOM = b"\xef\xbb\xbf"

_LONG_INTEGER = re.compile(rb"(?<![\d.eE+])\d{4301,}(?![\d.eE])")

# Everything up to the first half of a surrogate pair that is written as an escape.
_UP_TO_LONE = re.compile(
    r"(?:[^\\]++|\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\(?!u[dD][89a-fA-F]).)*+"
    r"(?P<lone>\\u[dD][89a-fA-F])?",
    re.DOTALL,
)


def read_file(path: Path) -> Explanation:
    """The explanation in a file on disk (see `read_explanation`).

    Raises:
        InputError: it cannot be read, or not be used (field "file").
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"The file {path} cannot be read: {reason}.", "file") from None
    return read_explanation(data, path.name)


def read_explanation(data: bytes, name: str) -> Explanation:
    """The explanation in a file of ours or of the notebook: its content says which it is.

    `name`: the file's, for the complaint. All or nothing: what is returned is complete and sound.

    Raises:
        InputError: it is neither, damaged, too large, or says what cannot be; the sentence says
            where and why (field "file").
    """
    try:
        parsed = _parsed(_text(data))
        if isinstance(parsed, list):
            from reagent_core.notebook_import import import_notebook

            explanation = import_notebook(parsed)
        else:
            _check_kind(parsed)
            explanation = from_data(parsed)
        check_sound(explanation)
        return explanation
    except InputError as error:
        raise InputError(f"{quoted(name)}: {error}", "file") from None


def _text(data: bytes) -> str:
    if len(data) > MAX_BYTES:
        raise InputError(
            f"This file has more than {MAX_BYTES // 2**20} MB; larger ones are not read.", "file"
        )
    for beginning, kind in _KINDS:
        if data.startswith(beginning):
            raise InputError(f"This file is {kind}.", "file")
    content = data.removeprefix(_BOM)
    if not content.strip():
        raise InputError("This file is empty.", "file")
    if b"\x00" in content:
        raise InputError(
            f"This file is not UTF-8 text: byte {data.index(0) + 1} is 0. Import a JSON file.",
            "file",
        )
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        place = len(data) - len(content) + error.start + 1
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"This file is not UTF-8 text: byte {place} (in line {line}) is part of no character. "
            "Save it as UTF-8, or export it anew.",
            "file",
        ) from None
    _check_structure(content)
    _check_escapes(text)
    return text


def _without_texts(content: bytes) -> npt.NDArray[np.uint8]:
    """The bytes of JSON, all in their places, with 0 for those inside of texts."""
    # Without escapes, an odd number of quotes before a character means that it is part of a text.
    plain = content.replace(b"\\\\", b"__").replace(b'\\"', b"__")
    characters = np.frombuffer(plain, dtype=np.uint8)
    outside = np.cumsum(characters == ord('"'), dtype=np.uint8) & 1 == 0
    return characters * outside


def _place(content: bytes, at: int) -> str:
    """Line and column of a byte, both counted from 1, in words; columns are characters."""
    before = content[:at].decode("utf-8", errors="replace")
    line = before.count("\n") + 1
    return f"line {line:,}, column {len(before) - before.rfind(chr(10)):,}"


def _check_structure(content: bytes) -> None:
    """Refuse what would take too much memory or stack, before a parser sees it."""
    characters = _without_texts(content)
    structural = np.isin(characters, np.frombuffer(b"[]{},", dtype=np.uint8))
    structure = characters[structural]
    opening = (structure == ord("[")) | (structure == ord("{"))
    # Every value but the first of its list or object comes after a comma.
    values = int(np.count_nonzero(structure == ord(","))) + int(np.count_nonzero(opening))
    if values > MAX_VALUES:
        raise InputError(
            f"This file holds more than {MAX_VALUES:,} values; larger ones are not read.", "file"
        )
    steps = opening.astype(np.int8)
    steps[(structure == ord("]")) | (structure == ord("}"))] = -1
    depth = np.cumsum(steps, dtype=np.int32)
    if len(depth) and depth.max() > MAX_DEPTH:
        first = int(np.flatnonzero(structural)[np.argmax(depth > MAX_DEPTH)])
        raise InputError(
            f"This file is nested {int(depth.max()):,} levels deep; explanations have "
            f"{MAX_DEPTH} at most ({_place(content, first)}).",
            "file",
        )


def _check_escapes(text: str) -> None:
    """Refuse half characters: they can be neither shown nor written down again."""
    found = _UP_TO_LONE.match(text)
    if found is not None and found["lone"]:
        line = text.count("\n", 0, found.start("lone")) + 1
        raise InputError(
            f"This file holds half of a Unicode pair (a lone surrogate) in line {line}, character "
            f"{found.start('lone') - text.rfind(chr(10), 0, found.start('lone'))}.",
            "file",
        )


def _parsed(text: str) -> Any:
    """What is in the file. NaN and infinities come through: the models refuse them, each with its
    place in words that fit the file."""
    read = 0  # objects that were closed

    def made(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal read
        read += 1
        return _object(pairs)

    try:
        return json.loads(text, object_pairs_hook=made)
    except InputError as error:  # about the object that was closed last
        content = text.encode()
        end = np.flatnonzero(_without_texts(content) == ord("}"))[read - 1]
        told = str(error).removesuffix(".")
        raise InputError(f"{told} (it ends in {_place(content, int(end))}).", "file") from None
    except json.JSONDecodeError as error:
        at_end = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string")
        cut = " The file seems to be cut off." if at_end else ""
        reason = error.msg[:1].lower() + error.msg[1:]
        raise InputError(
            f"This file is not valid JSON: {reason} (line {error.lineno}, column {error.colno})."
            f"{cut}",
            "file",
        ) from None
    except (ValueError, RecursionError):  # Python reads no integer of thousands of digits
        content = text.encode()
        found = _LONG_INTEGER.search(_without_texts(content).tobytes())
        where = f" ({_place(content, found.start())})" if found else ""
        raise InputError(
            f"This file holds a number of more than 4,300 digits{where}.", "file"
        ) from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MAX_FIELDS:
        raise InputError(
            f"This file holds an object with {len(pairs):,} fields; none of ours has more than "
            f"{MAX_FIELDS}.",
            "file",
        )
    made = dict(pairs)
    if len(made) < len(pairs):
        ((twice, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise InputError(f"An object in this file has the field {quoted(twice)} twice.", "file")
    return made


def _check_kind(parsed: Any) -> None:
    """Say of known other files what they are; bound what the model's own check cannot."""
    if not isinstance(parsed, dict):
        return
    if "cells" in parsed and "nbformat" in parsed:
        raise InputError(
            "This is a notebook itself. Import the file iterations_data.json that it writes.",
            "file",
        )
    if "replaced_indices" in parsed:
        raise InputError(
            "This is one iteration of the notebook's file. The file is a list of them: put it in "
            "square brackets.",
            "file",
        )
    for inner in ("explanations", "words"):
        entries = parsed.get(inner)
        if isinstance(entries, list) and len(entries) > MAX_INNER:
            raise InputError(
                f"This file holds {len(entries):,} {inner}; at most {MAX_INNER:,} are read.",
                "file",
            )
