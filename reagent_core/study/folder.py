"""A study on disk: what it is, what it has found so far, and its explanations.

A folder holds `study.json`; `outcomes.jsonl`, a line for each task in the order they ended; and
`explanations.sqlite3`, a library of its own (see `Store`). A line is written when its explanations
are, so a process that is killed loses the task it was at, and nothing else. Lines that had to give
way to those of another version of the program or a model are in `replaced.jsonl`, for a reader.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout
from pydantic import ValidationError

from reagent_core.errors import InputError, ReagentError
from reagent_core.explanation import Explanation, load
from reagent_core.output_files import OutputError, write_bytes
from reagent_core.study.plan import Outcome, Study, Task
from reagent_core.wording import quoted

if TYPE_CHECKING:
    from reagent_core.store import Store
    from reagent_core.study.work import Worked

_STUDY, _OUTCOMES, _REPLACED, _EXPLANATIONS, _LOCK = (
    "study.json", "outcomes.jsonl", "replaced.jsonl", "explanations.sqlite3", ".lock",
)  # fmt: skip


class StudyBusy(ReagentError):
    """Another process, or another run of this one, writes into the folder."""


class StudyFolder:
    """A study and what is known of it. Any number may read it; one at a time writes (`alone`).

    Made by `create` or `open`.
    """

    def __init__(self, path: Path, study: Study) -> None:
        self.path, self.study = path, study
        # Every part of the program may let go of it, whichever thread took it.
        self._lock = FileLock(path / _LOCK, timeout=0, thread_local=False)
        self._runs = threading.Lock()
        self._kept: set[Task] = set()

    @classmethod
    def create(cls, path: Path, study: Study) -> StudyFolder:
        """The folder of a study, made when it is missing. One that holds the same study already
        (whatever it is called) goes on with what it has found.

        Raises:
            InputError: the folder holds another study or other files, or cannot be made (field
                "file").
            OutputError: the disk refuses.
        """
        try:
            path.mkdir(parents=True, exist_ok=True)
            there = {file.name for file in path.iterdir() if not file.name.startswith(".")}
        except OSError as error:
            raise InputError(
                f"The folder {path} cannot be used: {error.strerror or error}. Choose another one.",
                "file",
            ) from None
        if _STUDY not in there:
            if there:
                raise InputError(
                    f"The folder {path} is not empty and holds no study. Choose another one.",
                    "file",
                )
            with cls(path, study).alone():
                if not (path / _STUDY).exists():  # else another one came first
                    write_bytes(path / _STUDY, (study.model_dump_json() + "\n").encode())
        known = cls.open(path)
        if known.study.id != study.id:
            raise InputError(
                f"The folder {path} holds another study, {quoted(known.study.name)} of "
                f"{len(known.study.rows):,} prompts: its prompts, models, methods or settings are "
                "other ones. Choose another folder, or ask for the same again to go on with it.",
                "file",
            )
        return known

    @classmethod
    def open(cls, path: Path) -> StudyFolder:
        """The folder of a study that was created before.

        Raises:
            InputError: there is none, or it cannot be read (field "file").
        """
        try:
            text = (path / _STUDY).read_bytes()
        except OSError as error:
            raise InputError(
                f"There is no study in {path}: {error.strerror or error}.", "file"
            ) from None
        try:
            return cls(path, Study.model_validate_json(text))
        except ValidationError as error:
            reason = error.errors(include_url=False)[0]["msg"]
            raise InputError(
                f"The study in {path} cannot be read ({_STUDY}: {reason}). A newer version of this "
                "program may have written it.",
                "file",
            ) from None

    def outcomes(self) -> list[Outcome]:
        """What is known of the tasks that have ended, in the order they ended.

        Raises:
            InputError: the file is damaged; the sentence says where (field "file").
        """
        made = []
        for number, line in enumerate(self._lines(), start=1):
            try:
                made.append(Outcome.model_validate_json(line))
            except ValidationError:
                raise InputError(
                    f"Line {number:,} of {self.path / _OUTCOMES} is damaged. Delete that line: its "
                    "task is done again when the study goes on.",
                    "file",
                ) from None
        return made

    def done(self) -> set[Task]:
        """The tasks that have ended, failed ones included."""
        return {outcome.task for outcome in self.outcomes()}

    def explanation(self, key: str) -> Explanation:
        """The explanation kept under a key (see `MethodFound.explanation`).

        Raises:
            LibraryError: it is not there, or cannot be read.
        """
        return self._store.open(key)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Within it nobody else writes into the folder. May be entered again within itself.

        Raises:
            StudyBusy: somebody else does.
            OutputError: the disk refuses.
        """
        try:
            self._lock.acquire()
        except Timeout:
            raise self._busy() from None
        except OSError as error:
            raise OutputError(
                f"The folder {self.path} cannot be written: {error.strerror or error}."
            ) from error
        try:
            if self._lock.lock_counter == 1:
                self._cut()
                self._kept = self.done()
            yield
        finally:
            self._lock.release()

    @contextlib.contextmanager
    def run(self) -> Iterator[None]:
        """`alone`, for a whole run: not within another one of the same object either.

        Raises:
            StudyBusy: somebody else writes, or runs it.
            OutputError: the disk refuses.
        """
        if not self._runs.acquire(blocking=False):
            raise self._busy()
        try:
            with self.alone():
                yield
        finally:
            self._runs.release()

    def keep(self, worked: Worked) -> bool:
        """Keep what a task came to; returns whether it is new. Of a task that is kept already
        nothing changes.

        Raises:
            StudyBusy: somebody else writes into the folder.
            LibraryError: the explanations cannot be written.
            OutputError: the disk refuses.
        """
        with self.alone():
            if worked.outcome.task in self._kept:
                return False
            for key, text in worked.explanations:
                self._store.put(key, load(text))
            self._check_kept([key for key, _ in worked.explanations])
            self._append(_OUTCOMES, _written([worked.outcome]))
            self._kept.add(worked.outcome.task)
            return True

    def forget_failed(self) -> int:
        """Forget the tasks that failed, so that they are done again; returns how many there were.

        Raises:
            StudyBusy: somebody else writes into the folder.
            OutputError: the disk refuses.
        """
        with self.alone():
            return self._forget({each.task for each in self.outcomes() if each.status == "failed"})

    def replace(self, tasks: Collection[Task]) -> None:
        """Forget tasks, so that they are done again; their lines are moved to `replaced.jsonl`.

        Raises:
            StudyBusy: somebody else writes into the folder.
            OutputError: the disk refuses.
        """
        with self.alone():
            lines = _written([each for each in self.outcomes() if each.task in tasks])
            self._append(_REPLACED, lines)
            self._forget(tasks)

    def _forget(self, tasks: Collection[Task]) -> int:
        outcomes = self.outcomes()
        kept = [outcome for outcome in outcomes if outcome.task not in tasks]
        if len(kept) < len(outcomes):
            write_bytes(self.path / _OUTCOMES, _written(kept))
            self._kept = {outcome.task for outcome in kept}
        return len(outcomes) - len(kept)

    def close(self) -> None:
        """Let go of the files. The folder can be used again afterwards."""
        if "_store" in self.__dict__:
            self._store.close()

    @cached_property
    def _store(self) -> Store:
        from reagent_core.store import Store

        return Store(self.path / _EXPLANATIONS)

    def _busy(self) -> StudyBusy:
        return StudyBusy(
            f"The study in {self.path} is being run already, by another process or in another "
            "window. Wait until it has ended, or stop it there."
        )

    def _check_kept(self, keys: list[str]) -> None:
        """A store says nothing of what it could not keep; a study must not go on without."""
        from reagent_core.database import LibraryError

        for problem in self._store.cannot_open(keys).values():
            raise LibraryError(f"{self._store.problem() or problem} The study can go on then.")

    def _append(self, name: str, lines: bytes) -> None:
        try:
            with (self.path / name).open("ab") as file:
                file.write(lines)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OutputError(
                f"The file {self.path / name} could not be written: "
                f"{error.strerror or error}. Free some space; the study can go on then."
            ) from error

    def _lines(self) -> list[bytes]:
        """The whole lines: what is behind the last line end was cut off, or is being written."""
        try:
            content = (self.path / _OUTCOMES).read_bytes()
        except FileNotFoundError:
            return []
        return content.split(b"\n")[:-1]

    def _cut(self) -> None:
        """Remove what a process that was killed has left behind the last line end."""
        file = self.path / _OUTCOMES
        whole = sum(len(line) + 1 for line in self._lines())
        with contextlib.suppress(FileNotFoundError):
            if file.stat().st_size > whole:
                os.truncate(file, whole)


def _written(outcomes: Sequence[Outcome]) -> bytes:
    """As lines of a file."""
    return "".join(f"{outcome.model_dump_json()}\n" for outcome in outcomes).encode()
