"""What a list of kept explanations shows, and the questions it answers.

One table: the columns of a list beside the explanation itself, which listing never reads.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Dialect,
    Double,
    Integer,
    LargeBinary,
    MetaData,
    Row,
    String,
    Table,
    Text,
    TypeDecorator,
    func,
    or_,
)

from reagent_core.baselines.methods import REAGENT, label_of
from reagent_core.errors import InputError
from reagent_core.explanation import SCHEMA_VERSION, Explanation

LONGEST_NAME: Final = 200
LONGEST_TAG: Final = 50

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")

# Of a search. More than a person types, and far less than a database refuses.
_MOST_WORDS: Final = 32
_LONGEST_WORD: Final = 200


def storable(text: str) -> str:
    """`text` without what a database refuses: NUL, and halves of surrogate pairs, as which Python
    reads bytes of a command line that are no UTF-8."""
    return _UNSTORABLE.sub("\ufffd", text)


class StorableText(TypeDecorator[str]):
    """Text of which whatever goes to the database is made storable: values and questions alike."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else storable(value)


# `payload` comes last: SQLite reads the columns before a large value without touching it. Times
# are seconds since 1970 (UTC). Tags stand between line ends, so that one can be told from the end
# of another. The schema is made by the scripts in migrations/.
explanations = Table(
    "explanations",
    MetaData(),
    Column("key", StorableText, primary_key=True),
    Column("name", StorableText),
    Column("tags", StorableText, nullable=False),
    Column("prompt", StorableText, nullable=False),
    Column("answer", StorableText, nullable=False),
    Column("target", StorableText, nullable=False),
    Column("model", StorableText, nullable=False),
    Column("source", StorableText, nullable=False),
    Column("status", StorableText, nullable=False),
    Column("settled", Boolean, nullable=False),
    Column("steps", Integer, nullable=False),
    Column("units", Integer, nullable=False),
    Column("created", Double),
    Column("deleted", Double),
    Column("schema_version", Integer, nullable=False),
    Column("size", Integer, nullable=False),
    Column("searched", StorableText, nullable=False),
    Column("searched_name", StorableText),
    Column("sha256", String(64), nullable=False),
    Column("payload", LargeBinary, nullable=False),
)
_t = explanations.c
_NOT_LISTED: Final = ("searched", "searched_name", "sha256", "payload")
_LONG: Final = ("prompt", "answer", "target")
# The values of `source` that are no other method's name.
_OF_REAGENT: Final = (REAGENT, "notebook")


@dataclass(frozen=True)
class Entry:
    """One kept explanation, without the explanation.

    `prompt`: as typed; of a chat all turns, the system turn last. `source`: that of the
    explanation; of another method than ReAGent its name. `steps` and `settled` are those
    of the verdict. `size`: bytes on disk. `created`: when it was kept (UTC), None where that was
    not recorded (before version 0002 of the database). `deleted`: when it was deleted; it is
    removed for good some days later. `schema_version`: of its JSON form.
    """

    key: str
    name: str | None
    tags: tuple[str, ...]
    prompt: str
    answer: str
    target: str
    model: str
    source: str
    status: str
    settled: bool
    steps: int
    units: int
    created: datetime | None
    deleted: datetime | None
    schema_version: int
    size: int

    @property
    def readable(self) -> bool:
        """Whether this version of the program can open it."""
        return self.schema_version <= SCHEMA_VERSION

    @property
    def other_method(self) -> str | None:
        """The label of the method that found it, None where it is ReAGent."""
        return None if self.source in _OF_REAGENT else label_of(self.source)

    @property
    def verdict(self) -> str:
        """The verdict in a word or two, or why there is none."""
        if not self.readable:
            return "Needs a newer version"
        if self.status != "complete":
            return "Stopped early"
        if self.other_method:
            return "Takes no steps"
        return "Settled" if self.settled else "Not settled"


@dataclass(frozen=True)
class Filter:
    """Which entries are meant: all conditions hold.

    `search`: words that prompt, answer or name contain, in any order and case; of more than 32
    different ones the first 32 count, and of each its first 200 characters. `settled`: those
    whose verdict says so; some have none (see `Entry.verdict`) and are neither. `since`
    (included) and `until` (excluded) bound the time when they were kept. `deleted`: those that
    were deleted, in place of those that were not.
    """

    search: str = ""
    model: str | None = None
    tag: str | None = None
    settled: bool | None = None
    since: datetime | None = None
    until: datetime | None = None
    deleted: bool = False


EVERYTHING: Final = Filter()


@dataclass(frozen=True)
class Totals:
    """How many entries there are and their bytes; those that were deleted apart."""

    entries: int
    size: int
    deleted_entries: int
    deleted_size: int


def columns_of(explanation: Explanation) -> dict[str, Any]:
    """What the list shows of an explanation, as columns."""
    turns = explanation.messages
    texts = [explanation.prompt]
    if turns is not None:
        texts = [turn.content for turn in sorted(turns, key=lambda turn: turn.role == "system")]
    prompt, answer = "\n".join(texts), explanation.answer
    return {
        "prompt": prompt,
        "answer": answer,
        "target": explanation.target.text,
        "model": explanation.model.id,
        "source": explanation.source if explanation.method == REAGENT else explanation.method,
        "status": explanation.status,
        "settled": explanation.verdict.settled,
        "steps": explanation.verdict.steps,
        "units": len(explanation.units),
        "schema_version": explanation.schema_version,
        "searched": folded(f"{prompt}\n{answer}"),
    }


def entry_about(key: str, explanation: Explanation) -> Entry:
    """The entry that an explanation would have which is not kept: an example that ships, or a run
    that was stopped. `size` is 0: it takes no place."""
    shown = {name: value for name, value in columns_of(explanation).items() if name != "searched"}
    return Entry(
        key=key, name=None, tags=(), created=None, deleted=None, size=0, **shown
    )  # fmt: skip


def listed(longest: int | None = None) -> list[ColumnElement[Any]]:
    """The columns of an `Entry`, for SELECT; of its long texts the first `longest` characters."""
    return [
        func.substr(column, 1, longest).label(column.name)
        if longest is not None and column.name in _LONG
        else column
        for column in explanations.columns
        if column.name not in _NOT_LISTED
    ]


def entry_of(row: Row[Any]) -> Entry:
    """The entry in a row of the columns `listed`."""
    values = dict(row._mapping)
    for name in ("created", "deleted"):
        if values[name] is not None:
            values[name] = datetime.fromtimestamp(values[name], UTC)
    return Entry(**{**values, "tags": split_tags(values["tags"])})


def entry_data(entry: Entry) -> dict[str, Any]:
    """The fields of an entry for JSON; times in ISO 8601 (UTC)."""
    times = {
        name: value.isoformat(timespec="seconds")
        for name, value in (("created", entry.created), ("deleted", entry.deleted))
        if value is not None
    }
    return asdict(entry) | times


def conditions(wanted: Filter) -> list[ColumnElement[bool]]:
    """The filter, for WHERE."""
    found: list[ColumnElement[bool]] = [
        _t.deleted.is_not(None) if wanted.deleted else _t.deleted.is_(None)
    ]
    words = dict.fromkeys(word[:_LONGEST_WORD] for word in folded(wanted.search).split())
    for word in list(words)[:_MOST_WORDS]:
        found.append(
            or_(
                _t.searched.contains(word, autoescape=True),
                _t.searched_name.contains(word, autoescape=True),
            )
        )
    if wanted.model is not None:
        found.append(_t.model == wanted.model)
    if wanted.tag is not None:
        # LIKE ignores case in SQLite; taking the tag out changes the text only if it is there.
        found.append(func.replace(_t.tags, f"\n{storable(wanted.tag)}\n", "") != _t.tags)
    if wanted.settled is not None:
        found += [
            _t.settled == wanted.settled,
            _t.status == "complete",
            _t.source.in_(_OF_REAGENT),
            _t.schema_version <= SCHEMA_VERSION,
        ]
    if wanted.since is not None:
        found.append(_t.created >= wanted.since.timestamp())
    if wanted.until is not None:
        found.append(_t.created < wanted.until.timestamp())
    return found


def folded(text: str) -> str:
    """`text` such that case and ways to write an accent make no difference (all of Unicode:
    SQLite's own search knows ASCII alone)."""
    return unicodedata.normalize("NFKC", storable(text)).casefold()


def split_tags(stored: str) -> tuple[str, ...]:
    """The tags in the column of that name."""
    return tuple(tag for tag in stored.split("\n") if tag)


def join_tags(tags: Iterable[str]) -> str:
    """The column of these tags: each once, in alphabetical order."""
    return "".join(f"\n{tag}\n" for tag in sorted(set(tags)))


def checked_name(name: str | None) -> str | None:
    """A name as it is kept: one line without blanks around it; None for an empty one.

    Raises:
        InputError: it is too long (field "name").
    """
    line = " ".join((name or "").split())
    if len(line) > LONGEST_NAME:
        raise InputError(f"This name has {len(line)} characters. Use up to {LONGEST_NAME}.", "name")
    return storable(line) or None


def checked_tags(tags: Iterable[str]) -> set[str]:
    """Tags as they are kept: one line each without blanks around it.

    Raises:
        InputError: one is empty or too long (field "tags").
    """
    lines = {storable(" ".join(tag.split())) for tag in tags}
    for line in lines:
        if not 0 < len(line) <= LONGEST_TAG:
            raise InputError(f"Tags have 1 to {LONGEST_TAG} characters.", "tags")
    return lines
