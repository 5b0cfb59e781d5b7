"""A sealed file of the journal whose sealed column is elsewhere.

What the aggregator needs of old entries every day (positions, leaves, state changes) stays; what is
large and rarely opened, the sealed envelopes, moves to an archive. The file that is left checks
itself by digests of its own, and still ends in the digest that the whole file ends in.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from depin_id.errors import StateError
from verify.store.database import connect, guarded, transaction
from verify.store.journal_file import JournalFile
from verify.store.journal_schema import STRIPPED_TABLE, is_finished
from verify.store.packing import stripped_digest

ARCHIVED = "archived.json"
"""Which files of a journal were archived, and where to."""


def strip(path: Path, target: Path) -> None:
    """Write a sealed file again without its sealed column; durable when it returns.

    Args:
        path: a sealed, plain file. target: made anew.

    Raises:
        StateError: ``state.argument`` for a file that may still change, ``state.corrupt``,
            ``state.full``, ``state.io``.
    """
    if not is_finished(path):
        raise StateError("state.argument", f"{path} is not sealed yet", hint="archive it later")
    with guarded(target):
        target.unlink(missing_ok=True)
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
    with JournalFile.open(path, read_only=True) as whole:
        digests = [
            (row.number, stripped_digest(whole.digest_before(row.number), row))
            for row in whole.batches(whole.head.batch)
        ]
    with closing(connect(path, immutable=True)) as reader, guarded(target):
        with closing(sqlite3.connect(target, isolation_level=None)) as writer:
            reader.backup(writer)
            with transaction(writer, target):
                writer.execute(STRIPPED_TABLE)
                writer.executemany("INSERT INTO stripped VALUES (?,?)", digests)
                writer.execute("UPDATE batches SET sealed = x''")
            writer.execute("VACUUM")
        os.chmod(target, 0o444)
        with target.open("rb") as file:
            os.fsync(file.fileno())
    with JournalFile.open(target, read_only=True) as left:
        left.verify()
