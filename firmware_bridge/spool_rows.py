"""The rows of a spool, inside a transaction that the caller began and ends."""

from __future__ import annotations

import sqlite3
import time
import zlib
from collections.abc import Mapping, Sequence

from firmware_bridge import dropping

CHUNK = 256
_OLDEST = "SELECT seq, length(data), data FROM envelopes WHERE keep = 0 ORDER BY seq LIMIT ?"


def new_ones(cursor: sqlite3.Cursor, unique: Mapping[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    """Those of (identity, bytes) that are not in the spool, in order."""
    return [
        (identity, data)
        for identity, data in unique.items()
        if not cursor.execute("SELECT 1 FROM envelopes WHERE id = ?", (identity,)).fetchone()
    ]


def insert(
    cursor: sqlite3.Cursor, new: Sequence[tuple[bytes, bytes]], at: int, *, keep: int
) -> None:
    """Put at the end; with ``keep`` 1 never dropped."""
    cursor.executemany(
        "INSERT INTO envelopes (id, crc, data, keep, at) VALUES (?, ?, ?, ?, ?)",
        [(identity, zlib.crc32(data), data, keep, at) for identity, data in new],
    )


def drop_oldest(
    cursor: sqlite3.Cursor, count: int, size: int, held: int
) -> tuple[int, int, int] | None:
    """Drop, and record, until there is room for so many more of so many bytes.

    Args:
        held: how many dropped ranges are recorded already.

    Returns:
        How many, and which bytes, went, and how many ranges there are more; None when what may be
        dropped is not enough.

    Raises:
        StateError: ``spool.full``, as :func:`dropping.record`.
    """
    dropped = freed = ranges = 0
    now = int(time.time())
    while dropped < count or freed < size:
        rows = cursor.execute(_OLDEST, (CHUNK,)).fetchall()
        if not rows:
            return None
        for seq, length, data in rows:
            if dropped >= count and freed >= size:
                break
            ranges += dropping.record(cursor, data, now, held + ranges)
            cursor.execute("DELETE FROM envelopes WHERE seq = ?", (seq,))
            dropped += 1
            freed += length
    return dropped, freed, ranges


def set_counter(cursor: sqlite3.Cursor, name: str, value: int) -> None:
    """Set a number that outlives the process."""
    cursor.execute(
        "INSERT INTO counters VALUES (?, ?)"
        " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (name, value),
    )


def add_to_counter(cursor: sqlite3.Cursor, name: str, by: int) -> None:
    """Add to a number that outlives the process."""
    cursor.execute(
        "INSERT INTO counters VALUES (?, ?)"
        " ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
        (name, by),
    )
