"""SQLite as the stores use it: one way to connect, and no SQLite error that escapes raw."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from depin_id.durable import os_failure
from depin_id.errors import StateError

_RESTORE = "restore the file from a backup; the stores beside it can be kept"


def corrupt(path: Path, what: str) -> StateError:
    """The error for a damaged file, naming it."""
    return StateError("state.corrupt", f"{path}: {what}", hint=_RESTORE)


def sqlite_failure(error: sqlite3.Error, path: Path) -> StateError:
    """The error of ours for an error of SQLite at `path`."""
    code = getattr(error, "sqlite_errorcode", None)
    primary = None if code is None else code & 0xFF
    text = f"{path}: {error}"
    if primary == sqlite3.SQLITE_FULL:
        return StateError("state.full", text, hint="free disk space, then retry")
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StateError("state.locked", text, hint="another process uses it; wait, then retry")
    if primary in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return StateError("state.io", text, hint="check the disk and its permissions")
    if primary == sqlite3.SQLITE_READONLY:
        return StateError("state.read_only", text, hint="open it for writing")
    if primary == sqlite3.SQLITE_CONSTRAINT:
        return StateError("state.conflict", text, hint="the same thing was written before")
    if primary in (sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_NOMEM):
        return StateError("state.too_large", text, hint="write smaller batches")
    if code is None and isinstance(error, sqlite3.ProgrammingError):
        return StateError("state.closed", text, hint="open the store again")
    # Everything else (CORRUPT, NOTADB, a missing table or column) is not the file we wrote.
    return corrupt(path, str(error))


@contextmanager
def guarded(path: Path) -> Iterator[None]:
    """Turns every SQLite, system and range error inside into a StateError that names `path`."""
    try:
        yield
    except sqlite3.Error as error:
        raise sqlite_failure(error, path) from error
    except UnicodeDecodeError as error:
        # SQLite quotes what is damaged, and Python cannot read the quotation.
        raise corrupt(path, "holds text that is none") from error
    except OSError as error:
        raise os_failure(error, path) from error
    except OverflowError as error:
        raise StateError(
            "state.argument", f"{path}: a number is beyond 64 bits", hint="check the caller"
        ) from error


def connect(
    path: Path, *, read_only: bool = False, immutable: bool = False, create: bool = False
) -> sqlite3.Connection:
    """A connection with explicit transactions; a commit is on the disk when it returns.

    Args:
        path: the database file.
        read_only: refuse writes.
        immutable: the file never changes again: no locks, no files beside it.
        create: make the file when it is missing.

    Raises:
        StateError: ``state.missing``, ``state.io`` or ``state.corrupt``.
    """
    if not create and not path.is_file():
        raise StateError("state.missing", f"{path} does not exist", hint="create the store first")
    immutable = immutable or (read_only and _is_still(path))
    mode = "ro" if read_only or immutable else "rwc" if create else "rw"
    uri = f"file:{quote(os.fsencode(path.absolute()))}?mode={mode}" + (
        "&immutable=1" if immutable else ""
    )
    with guarded(path):
        connection = sqlite3.connect(
            uri, uri=True, isolation_level=None, timeout=5.0, check_same_thread=False
        )
        try:
            # A file from elsewhere must not run what its schema says (SQLite, "Defense").
            connection.execute("PRAGMA trusted_schema=OFF")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA cell_size_check=ON")
        except BaseException:
            connection.close()
            raise
    return connection


def _is_still(path: Path) -> bool:
    """Whether the file lies on a read-only disk, with nothing beside it that belongs to it.

    SQLite could not make the files there that reading a database in WAL mode takes.
    """
    with guarded(path):
        if not os.statvfs(path).f_flag & os.ST_RDONLY:
            return False
        log = path.with_name(path.name + "-wal")
        return not log.exists() or not log.stat().st_size


def is_quiet(path: Path) -> bool:
    """Whether everything is in the file itself: no write-ahead log beside it, or an empty one."""
    try:
        return path.with_name(f"{path.name}-wal").stat().st_size == 0
    except FileNotFoundError:
        return True
    except OSError as error:
        raise os_failure(error, path) from error


def use_wal(connection: sqlite3.Connection, path: Path) -> None:
    """Switches to write-ahead logging: readers never block the writer."""
    mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
    if mode != "wal":
        raise StateError(
            "state.io", f"{path}: write-ahead logging is refused", hint="use a local disk"
        )


def truncate_wal(connection: sqlite3.Connection) -> bool:
    """Moves everything into the main file and empties the log; False when a reader is in the way.

    Raises:
        sqlite3.Error: as SQLite says, to be caught by `guarded`.
    """
    busy: int = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    return busy == 0


@contextmanager
def transaction(connection: sqlite3.Connection, path: Path) -> Iterator[None]:
    """One durable transaction: all of it, or after any error none of it."""
    with guarded(path):
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # SQLite may have rolled back by itself
                connection.execute("ROLLBACK")
            raise


def check_schema(connection: sqlite3.Connection, path: Path, *, known: int) -> None:
    """Refuses a file of another schema version before anything else in it is read.

    Raises:
        StateError: ``state.schema`` or ``state.corrupt``.
    """
    found = schema_of(connection, path)
    if found != known:
        raise StateError(
            "state.schema",
            f"{path} has schema version {found}, this program writes {known}",
            hint="`depin-verify migrate DIR` brings it up to date"
            if found < known
            else "a newer release wrote it: upgrade this software",
        )


def schema_of(connection: sqlite3.Connection, path: Path) -> int:
    """The schema version of a store. Raises StateError ``state.corrupt``."""
    with guarded(path):
        row = connection.execute("SELECT schema FROM meta").fetchone()
    if row is None or not isinstance(row[0], int):
        raise corrupt(path, "has no schema version")
    return row[0]
