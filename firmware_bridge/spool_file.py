"""The file of a spool: lock, schema, and SQLite's errors as ours."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from depin_id.durable import FileLock
from depin_id.errors import StateError

APPLICATION_ID = 0x44505350
SCHEMA_VERSION = 2
_SCHEMA = """
CREATE TABLE envelopes (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE,
    crc INTEGER NOT NULL,
    data BLOB NOT NULL
) STRICT;
CREATE TABLE damaged (seq INTEGER PRIMARY KEY, id BLOB, data BLOB) STRICT;
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
"""
_SECOND = """
ALTER TABLE envelopes ADD COLUMN keep INTEGER NOT NULL DEFAULT 0;
ALTER TABLE envelopes ADD COLUMN at INTEGER NOT NULL DEFAULT 0;
CREATE TABLE drops (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    subject TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    count INTEGER NOT NULL,
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL
) STRICT;
CREATE INDEX drops_end ON drops (subject, epoch, last);
"""
"""What the second version adds: reports that are never dropped, and the record of what was."""


def lock(path: Path) -> FileLock:
    """An exclusive lock beside the file: SQLite's own would let two bridges take turns."""
    return FileLock(path.with_name(path.name + ".lock"), path)


def connect(path: Path) -> sqlite3.Connection:
    """The database, made or checked. Raises StateError ``spool.corrupt``, sqlite3.Error."""
    fresh = not path.exists() or path.stat().st_size == 0
    if fresh:
        # Readings are nobody else's business on a shared gateway.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
    try:
        _prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA trusted_schema=OFF")
    application, version = (
        _pragma(connection, "application_id"),
        _pragma(connection, "user_version"),
    )
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if not tables and not application:
        _make(connection, _SCHEMA + _SECOND)
    elif (application, version) == (APPLICATION_ID, 1):
        _make(connection, _SECOND)
    elif (application, version) != (APPLICATION_ID, SCHEMA_VERSION):
        raise corrupt(path, "it is not a spool of this version")
    check = connection.execute("PRAGMA quick_check(1)").fetchone()
    if check is None or check[0] != "ok":
        raise corrupt(path, f"damaged: {str(check)[:200]}")


def _make(connection: sqlite3.Connection, schema: str) -> None:
    """All of it, or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    for statement in filter(str.strip, schema.split(";")):
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    connection.execute("COMMIT")


def _pragma(connection: sqlite3.Connection, name: str) -> Any:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def corrupt(path: Path, what: str) -> StateError:
    """A StateError ``spool.corrupt``."""
    return StateError(
        "spool.corrupt",
        f"{path}: {what}",
        hint="move the file away and keep it: what is readable can be recovered with sqlite3",
    )


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """SQLite's errors as ours: ``spool.io`` or ``spool.corrupt``."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise StateError(
            "spool.io", f"{path}: {error}", hint="check disk space and permissions"
        ) from error
    except (sqlite3.Error, OverflowError, TypeError, UnicodeDecodeError) as error:
        raise corrupt(path, str(error)) from error
