"""What a server has answered before, kept on disk: a run that broke off goes on where it was.

Holds hashes and numbers, no text. Asking a server costs time and perhaps money, and all that a run
asks for depends on its seed alone, so the same run asks for the same again.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

from reagent_core.converted import cache_root

KEPT_DAYS = 7
_MANY = 500  # SQLite takes so many parameters in one statement everywhere

# Of each target token: log-probability (nats), rank, and whether these are bounds.
Answer = tuple[tuple[float, int, bool], ...]


class Answers:
    """Answers of one server's model. Safe to share between threads and processes.

    Where the disk cannot be written they are kept in memory.
    """

    def __init__(self, identity: str, folder: Path | None = None) -> None:
        folder = folder or cache_root() / "answers"
        file = folder / f"{hashlib.sha256(identity.encode()).hexdigest()[:32]}.sqlite3"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._database = _opened(file)
        except (OSError, sqlite3.Error):
            self._database = _opened(":memory:")
        self._lock = threading.Lock()

    def get(self, keys: Sequence[str]) -> dict[str, Answer]:
        """Those of `keys` that are known."""
        found: dict[str, Answer] = {}
        # A disk that fails meanwhile costs what was kept, not the run.
        with self._lock, suppress(sqlite3.Error):
            for start in range(0, len(keys), _MANY):
                part = keys[start : start + _MANY]
                marks = ",".join("?" * len(part))
                query = f"SELECT key, answer FROM answers WHERE key IN ({marks})"
                for key, text in self._database.execute(query, part):
                    found[key] = tuple((float(p), int(r), bool(b)) for p, r, b in json.loads(text))
        return found

    def put(self, answers: dict[str, Answer]) -> None:
        """Keep them."""
        now = time.time()
        rows = [(key, json.dumps(answer), now) for key, answer in answers.items()]
        with self._lock, suppress(sqlite3.Error), self._database:
            self._database.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", rows)

    @staticmethod
    def key(*asked: object) -> str:
        """The name of an answer: a hash of all that was asked (lists, numbers and texts)."""
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


def _opened(file: Path | str) -> sqlite3.Connection:
    database = sqlite3.connect(file, check_same_thread=False, timeout=30)
    with closing(database.cursor()) as cursor:
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute(
            "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, answer TEXT, at REAL)"
        )
        cursor.execute("DELETE FROM answers WHERE at < ?", (time.time() - KEPT_DAYS * 86400,))
    database.commit()
    return database
