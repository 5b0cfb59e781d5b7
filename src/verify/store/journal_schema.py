"""The form of a journal file: its tables, what it says about itself, what its header shows."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from verify.store.database import corrupt, guarded

SCHEMA = 1

TABLES = """
CREATE TABLE meta(
    schema INTEGER NOT NULL, network TEXT NOT NULL, sequence INTEGER NOT NULL,
    first INTEGER NOT NULL, batch INTEGER NOT NULL, previous BLOB NOT NULL,
    max_file_bytes INTEGER NOT NULL, count INTEGER, digest BLOB);
CREATE TABLE batches(
    number INTEGER PRIMARY KEY, first INTEGER NOT NULL, count INTEGER NOT NULL,
    received_at INTEGER NOT NULL, source TEXT NOT NULL, offset BLOB, note BLOB NOT NULL,
    leaves BLOB NOT NULL, deltas BLOB NOT NULL, sealed BLOB NOT NULL,
    positions BLOB NOT NULL, digest BLOB NOT NULL);
CREATE UNIQUE INDEX batch_of_entry ON batches(first) WHERE count > 0;
CREATE TABLE positions(
    stream INTEGER NOT NULL, epoch INTEGER NOT NULL, n INTEGER NOT NULL,
    entry INTEGER NOT NULL, line INTEGER NOT NULL,
    PRIMARY KEY(stream, epoch, n)) WITHOUT ROWID;
CREATE TABLE offsets(source TEXT PRIMARY KEY, offset BLOB NOT NULL) WITHOUT ROWID;
"""
STRIPPED_TABLE = "CREATE TABLE stripped(number INTEGER PRIMARY KEY, digest BLOB NOT NULL);"
"""Only in a file whose sealed column was moved to an archive: what checks the rest of each row."""
COLUMNS = (
    "number, first, count, received_at, source, offset, note, "
    "leaves, deltas, sealed, positions, digest"
)


@dataclass(frozen=True, slots=True)
class Head:
    """What a file says about itself.

    `first` and `batch` are the numbers of its first entry and batch, `previous` the digest that
    its chain starts from; `count` and `digest` are there once it is sealed.
    """

    schema: int
    network: str
    sequence: int
    first: int
    batch: int
    previous: bytes
    max_file_bytes: int
    count: int | None
    digest: bytes | None

    @property
    def is_sealed(self) -> bool:
        return self.digest is not None


def is_wal(path: Path) -> bool:
    """Whether the header asks for a write-ahead log (file format, offset 18)."""
    with guarded(path), path.open("rb") as file:
        header = file.read(100)
    if len(header) < 100 or not header.startswith(b"SQLite format 3\x00"):
        raise corrupt(path, "is not a database")
    return header[18] == 2


def is_finished(path: Path) -> bool:
    """Whether the file never changes again: no permission to write, and no log beside it."""
    return not is_wal(path) and not is_writable(path)


def is_writable(path: Path) -> bool:
    """Whether anybody may write to the file; sealing ends with taking that away."""
    with guarded(path):
        return bool(path.stat().st_mode & 0o222)


def discard(path: Path) -> None:
    """Removes a half-made file and what SQLite left beside it."""
    with guarded(path):
        for suffix in ("", "-journal", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)


_KINDS: dict[str, tuple[type, ...]] = {
    "i": (int,),
    "s": (str,),
    "b": (bytes,),
    "I": (int, type(None)),
    "B": (bytes, type(None)),
}


def have_types(row: Sequence[object], kinds: str) -> bool:
    """Whether each column has its type, a letter each (capitals: or NULL).

    SQLite lets any column hold any type: a flipped byte can change it.
    """
    return len(row) == len(kinds) and all(
        isinstance(value, _KINDS[kind]) for value, kind in zip(row, kinds, strict=True)
    )


def check_length(connection: sqlite3.Connection, path: Path) -> None:
    """A file that was cut short says so at once, not at the first missing page."""
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    size = connection.execute("PRAGMA page_size").fetchone()[0]
    if not is_wal(path) and pages * size != path.stat().st_size:
        raise corrupt(path, f"has {path.stat().st_size} bytes instead of {pages * size}")


def read_head(connection: sqlite3.Connection, path: Path) -> Head:
    """What the file says about itself, each column of its type."""
    row = connection.execute("SELECT * FROM meta").fetchone()
    if not have_types(row, "isiiibiIB"):
        raise corrupt(path, "has a damaged header")
    return Head(*row)


def is_stripped(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether the sealed column of the file was moved to an archive."""
    with guarded(path):
        found = connection.execute("SELECT 1 FROM sqlite_master WHERE name='stripped'").fetchone()
    return found is not None
