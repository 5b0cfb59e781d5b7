"""What was dropped from a full spool, as ranges of positions, until the network knows of it.

The record of a drop is made in the transaction that drops, and leaves in the transaction that puts
the signed report: a range is reported once, whenever the process is killed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from depin_id import cbor
from depin_id.envelope import MAX_STATUS, parse_envelope
from depin_id.errors import DepinError, StateError

MAX_RANGES = 65_536
"""Ranges that wait to be reported; with more, nothing is dropped any longer."""
MEMBER = "dropped"
_ROOM = MAX_STATUS - 64


@dataclass(frozen=True, slots=True)
class DroppedRange:
    """Envelopes of one stream and boot, dropped without an acknowledgement.

    Attributes:
        subject: as in the envelopes; None for the signer's own stream.
        first, last: positions, both included. count: of envelopes.
        first_at, last_at: when they were dropped, seconds since 1970.
    """

    subject: str | None
    epoch: int
    first: int
    last: int
    count: int
    first_at: int
    last_at: int

    @property
    def member(self) -> list[object]:
        """As it is in the status."""
        return [self.subject, self.epoch, self.first, self.last]


def position(data: bytes) -> tuple[str, int, int] | None:
    """Subject (empty: the signer's own), epoch and number of an envelope; None when it is none."""
    try:
        parsed = parse_envelope(data)
    except DepinError:
        return None
    at = parsed.provenance
    return parsed.claims.sub or "", at.epoch, at.n


def record(cursor: sqlite3.Cursor, data: bytes, at: int, held: int) -> int:
    """Note an envelope that is dropped in this transaction.

    Args:
        held: how many ranges there are; counting them each time would take longer than the rest.

    Returns:
        How many there are more: 1, or 0 where the envelope continues a range.

    Raises:
        StateError: ``spool.full``, too many ranges wait to be reported.
    """
    where = position(data)
    if where is None:
        return 0
    if cursor.execute(
        "UPDATE drops SET last = last + 1, count = count + 1, last_at = ?"
        " WHERE subject = ? AND epoch = ? AND last = ?",
        (at, where[0], where[1], where[2] - 1),
    ).rowcount:
        return 0
    if held >= MAX_RANGES:
        raise StateError(
            "spool.full",
            f"{MAX_RANGES} dropped ranges wait to be reported, so nothing more is dropped",
            hint="connect the uplink",
        )
    subject, epoch, number = where
    cursor.execute(
        "INSERT INTO drops (subject, epoch, first, last, count, first_at, last_at)"
        " VALUES (?, ?, ?, ?, 1, ?, ?)",
        (subject, epoch, number, number, at, at),
    )
    return 1


def waiting(cursor: sqlite3.Cursor, limit: int) -> list[tuple[int, DroppedRange]]:
    """The oldest ranges that are not reported, each with the key of its row."""
    rows = cursor.execute(
        "SELECT id, subject, epoch, first, last, count, first_at, last_at FROM drops"
        " ORDER BY id LIMIT ?",
        (limit,),
    )
    return [(row[0], DroppedRange(row[1] or None, *row[2:])) for row in rows.fetchall()]


def that_fit(ranges: Sequence[DroppedRange]) -> int:
    """How many of the ranges, from the front, one status holds."""
    size = 0
    for index, dropped in enumerate(ranges):
        size += len(cbor.encode(dropped.member))
        if size > _ROOM:
            return index
    return len(ranges)


def settle(cursor: sqlite3.Cursor, reported: Sequence[tuple[int, DroppedRange]]) -> int:
    """The ranges are in a report of this transaction; what was added to them since stays.

    Returns:
        How many ranges are gone.
    """
    gone = 0
    for key, dropped in reported:
        if cursor.execute(
            "DELETE FROM drops WHERE id = ? AND last = ?", (key, dropped.last)
        ).rowcount:
            gone += 1
            continue
        cursor.execute(
            "UPDATE drops SET first = ?, count = count - ? WHERE id = ?",
            (dropped.last + 1, dropped.count, key),
        )
    return gone
