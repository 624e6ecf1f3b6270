"""Files the command line writes: all of one or none of it, and refused before a long run."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from reagent_core.errors import InputError, ReagentError


class OutputError(ReagentError):
    """A file could be written when the run began, but not at its end."""


def check_writable(path: Path) -> None:
    """Make sure that `write_bytes` can write `path`, by making a file beside it.

    Raises:
        InputError: it cannot; the sentence says why (field "file").
    """
    try:
        if path.is_dir():
            raise IsADirectoryError("it is a folder")
        if path.exists() and not os.access(path, os.W_OK):
            raise PermissionError("it is write-protected")
        if _replaceable(path):
            with _draft(path):
                pass
    except (OSError, ValueError) as error:
        raise InputError(
            f"The file {str(path)!r} cannot be written: {_reason(error)}. Choose another one.",
            "file",
        ) from None


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file. What was at `path` stays whole until the new content is complete.

    Raises:
        OutputError: the disk refuses; the sentence says why.
    """
    try:
        if not _replaceable(path):
            path.write_bytes(content)
            return
        with _draft(path) as draft:
            draft.write_bytes(content)
            # A link stays a link, and a file keeps the permissions it has.
            final = path.resolve()
            if final.exists():
                shutil.copymode(final, draft)
            draft.replace(final)
    except OSError as error:
        raise OutputError(
            f"The file {str(path)!r} could not be written: {_reason(error)}. Free some space, "
            "or choose another one."
        ) from error


def _replaceable(path: Path) -> bool:
    """Whether a file may be moved to `path`; never over a pipe or a device such as /dev/null."""
    return not path.exists() or path.is_file()


@contextlib.contextmanager
def _draft(path: Path) -> Iterator[Path]:
    """A new empty file in the folder of `path`, gone afterwards unless it was moved away."""
    draft = path.resolve().parent / f".reagent-{secrets.token_hex(8)}.tmp"
    draft.touch(exist_ok=False)
    try:
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
