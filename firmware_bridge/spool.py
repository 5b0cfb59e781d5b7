"""A durable queue on disk: what was put is kept until exactly that is released.

SQLite in WAL mode with ``synchronous=FULL``: when :meth:`Spool.put` returns, a power cut loses
nothing. The queue is bounded; what happens at the bound is a stated policy.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from depin_id.closing import Closing
from depin_id.durable import FileLock
from depin_id.envelope import MAX_BUNDLE
from depin_id.errors import EnvelopeError, StateError
from firmware_bridge import dropping
from firmware_bridge import spool_rows as rows
from firmware_bridge.dropping import DroppedRange
from firmware_bridge.spool_file import connect, lock, translated

Policy = Literal["refuse", "drop_oldest"]

DEFAULT_MAX_BYTES = 1 << 30
DEFAULT_MAX_ENVELOPES = 1_000_000
_ID_BYTES = 32
_COUNTERS = ("dropped", "dropped_bytes", "damaged", "released", "reported")
_TIME_STEP = 60

Seal = Callable[[list[DroppedRange]], tuple[bytes, bytes]]
"""Signs a report of these ranges: its identity and its bytes."""


@dataclass(frozen=True, slots=True)
class Spooled:
    """One envelope in the spool: its place in the order, its identity and its bytes."""

    seq: int
    id: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class SpoolCounts:
    """What is in the spool (``envelopes``, ``bytes``) and what became of the rest, since ever.

    ``released`` by an acknowledgement, ``dropped`` (``dropped_bytes``) to make room,
    ``damaged`` on disk and set aside, ``reported`` as dropped in signed reports.
    """

    envelopes: int
    bytes: int
    released: int
    dropped: int
    dropped_bytes: int
    damaged: int
    reported: int


class Spool(Closing):
    """A first-in first-out queue in one file; use from any thread. Make one with :meth:`open`."""

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection,
        lock_file: FileLock,
        limits: tuple[int, int, Policy],
    ) -> None:
        self.path = path
        self.max_bytes, self.max_envelopes, self.policy = limits
        self._connection = connection
        self._lock_file = lock_file
        self._mutex = threading.RLock()
        self._closed = False
        with self._guarded() as cursor:
            row = cursor.execute(
                "SELECT count(*), coalesce(sum(length(data)), 0), coalesce(max(seq), 0)"
                " FROM envelopes"
            ).fetchone()
            self._envelopes, self._bytes, self._last = (int(value) for value in row)
            found = dict(cursor.execute("SELECT name, value FROM counters").fetchall())
            self._counters = {name: int(found.get(name, 0)) for name in _COUNTERS}
            self._time = int(found.get("time", 0))
            self._ranges = int(cursor.execute("SELECT count(*) FROM drops").fetchone()[0])
        self.problem = ""
        """Why the last write failed, for people; empty when it did not."""

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        max_bytes: int = DEFAULT_MAX_BYTES,
        max_envelopes: int = DEFAULT_MAX_ENVELOPES,
        policy: Policy = "refuse",
    ) -> Spool:
        """Open or make a spool; one process at a time.

        Args:
            path: the file; its folder must exist.
            max_bytes: bound on the sum of the envelopes' sizes.
            max_envelopes: bound on their number.
            policy: at the bound, ``refuse`` what is new or ``drop_oldest`` (counted durably).

        Raises:
            StateError: ``state.locked`` (in use elsewhere), ``spool.corrupt`` (no spool, or
                damaged), ``spool.io`` (cannot be read or written), ``spool.limits``, ``state.io``.
        """
        path = Path(path)
        if max_bytes < 1 or max_envelopes < 1 or policy not in ("refuse", "drop_oldest"):
            raise StateError(
                "spool.limits",
                "the bounds of a spool are positive and its policy is refuse or drop_oldest",
            )
        lock_file = lock(path)
        try:
            with translated(path):
                connection = connect(path)
            return cls(path, connection, lock_file, (max_bytes, max_envelopes, policy))
        except BaseException:
            lock_file.close()
            raise

    def __len__(self) -> int:
        with self._mutex:
            return self._envelopes

    @property
    def last(self) -> int:
        """The highest ``seq`` ever put by this process, or found at opening."""
        with self._mutex:
            return self._last

    @property
    def counts(self) -> SpoolCounts:
        """What is in it, and what became of the rest."""
        with self._mutex:
            return SpoolCounts(self._envelopes, self._bytes, **self._counters)

    @property
    def time(self) -> int:
        """The newest time that was made durable, seconds since 1970; 0 when none was."""
        return self._time

    @property
    def unreported(self) -> int:
        """Dropped ranges that no report speaks of yet."""
        return self._ranges

    def limit(self, max_bytes: int, max_envelopes: int, policy: Policy) -> None:
        """Other bounds from now on; what is in the spool stays there."""
        with self._mutex:
            self.max_bytes, self.max_envelopes, self.policy = max_bytes, max_envelopes, policy

    def set_time(self, at: int) -> None:
        """Make a time durable that is earlier than one before, which was wrong."""
        with self._guarded() as cursor:
            self._note_time(cursor, at)
            cursor.execute("COMMIT")

    def oldest(self) -> int | None:
        """When the oldest envelope was put, seconds since 1970; 0 unknown, None: it is empty."""
        with self._guarded() as cursor:
            row = cursor.execute("SELECT at FROM envelopes ORDER BY seq LIMIT 1").fetchone()
        return None if row is None else int(row[0])

    def kept(self) -> int:
        """Reports that wait to be acknowledged."""
        with self._guarded() as cursor:
            return int(cursor.execute("SELECT coalesce(sum(keep), 0) FROM envelopes").fetchone()[0])

    def put(self, envelopes: Sequence[tuple[bytes, bytes]], *, at: int | None = None) -> int:
        """Add envelopes at the end, all in one durable transaction or none.

        Args:
            envelopes: (identity of 32 bytes, bytes) each; one whose identity is in the spool
                already is not added again.
            at: the time, seconds since 1970, which becomes durable; None when it is not known.

        Returns:
            How many were added.

        Raises:
            StateError: ``spool.full`` under the policy ``refuse``, or when they can never fit;
                ``spool.corrupt``, ``spool.io``, ``spool.closed``.
            EnvelopeError: ``envelope.malformed``: no identity, or bytes no message can carry.
        """
        unique = dict(envelopes)
        for identity, data in unique.items():
            if len(identity) != _ID_BYTES or not 0 < len(data) <= MAX_BUNDLE:
                raise EnvelopeError(
                    "envelope.malformed", "what is put has a 32-byte identity and 1 B to 128 KiB"
                )
        with self._guarded() as cursor:
            new = rows.new_ones(cursor, unique)
            size = sum(len(data) for _, data in new)
            dropped, freed, ranges = self._make_room(cursor, len(new), size)
            rows.insert(cursor, new, at or 0, keep=0)
            self._count(cursor, dropped=dropped, dropped_bytes=freed)
            if at is not None and at >= self._time + _TIME_STEP:
                self._note_time(cursor, at)
            self._commit(cursor, len(new) - dropped, size - freed, ranges)
        return len(new)

    def report(self, seal: Seal, *, at: int | None = None) -> int:
        """Put a signed report of the oldest dropped ranges, which are then reported, for ever.

        It is never dropped, whatever the policy; it is small, and goes beyond the bounds if it
        has to.

        Args:
            seal: signs them; called at most once, with as many as one status holds.

        Returns:
            How many ranges it reports; 0 without any.

        Raises:
            StateError: ``spool.corrupt``, ``spool.io``, ``spool.closed``; what ``seal`` raises.
        """
        with self._guarded() as cursor:
            found = dropping.waiting(cursor, rows.CHUNK)
            found = found[: dropping.that_fit([dropped for _, dropped in found])]
            if not found:
                return 0
            identity, data = seal([dropped for _, dropped in found])
            gone = dropping.settle(cursor, found)
            rows.insert(cursor, [(identity, data)], at or 0, keep=1)
            self._count(cursor, reported=sum(dropped.count for _, dropped in found))
            self._commit(cursor, 1, len(data), -gone)
        return len(found)

    def peek(self, limit: int = 1000, max_bytes: int = MAX_BUNDLE, after: int = 0) -> list[Spooled]:
        """The oldest envelopes after place ``after``, in order, at most ``max_bytes`` together.

        The first is given even when it alone is larger. What is damaged on disk is set aside and
        counted, never given.

        Raises:
            StateError: ``spool.corrupt``, ``spool.io``, ``spool.closed``.
        """
        found: list[Spooled] = []
        damaged: list[tuple[int, int]] = []
        size = 0
        with self._guarded() as cursor:
            found_rows = cursor.execute(
                "SELECT seq, id, crc, data FROM envelopes WHERE seq > ? ORDER BY seq LIMIT ?",
                (after, limit),
            )
            for seq, identity, crc, data in found_rows:
                if zlib.crc32(data) != crc or len(identity) != _ID_BYTES:
                    damaged.append((seq, len(data)))
                    continue
                if found and size + len(data) > max_bytes:
                    break
                size += len(data)
                found.append(Spooled(seq, identity, data))
            if damaged:
                self._set_aside(cursor, damaged)
        return found

    def release(self, ids: Sequence[bytes]) -> int:
        """Remove exactly these identities, durably; gives how many were there.

        Raises:
            StateError: ``spool.corrupt``, ``spool.io``, ``spool.closed``.
        """
        count = size = 0
        with self._guarded() as cursor:
            for identity in ids:
                row = cursor.execute(
                    "DELETE FROM envelopes WHERE id = ? RETURNING length(data)", (identity,)
                ).fetchone()
                if row is not None:
                    count += 1
                    size += int(row[0])
            self._count(cursor, released=count)
            cursor.execute("COMMIT")
            self._envelopes -= count
            self._bytes -= size
        return count

    def close(self) -> None:
        """Close the file and give up the lock; a second time is fine."""
        with self._mutex:
            if not self._closed:
                self._closed = True
                self._connection.close()
                self._lock_file.close()

    def _make_room(self, cursor: sqlite3.Cursor, count: int, size: int) -> tuple[int, int, int]:
        """Room for ``count`` envelopes of ``size`` bytes: how many, and which bytes, go for it.

        And how many dropped ranges there are more.
        """
        over_count = self._envelopes + count - self.max_envelopes
        over_bytes = self._bytes + size - self.max_bytes
        if over_count <= 0 and over_bytes <= 0:
            return 0, 0, 0
        if self.policy == "refuse" or count > self.max_envelopes or size > self.max_bytes:
            raise self._full(count, size)
        gone = rows.drop_oldest(cursor, over_count, over_bytes, self._ranges)
        if gone is None:
            raise self._full(count, size)  # reports are never dropped
        return gone

    def _full(self, count: int, size: int) -> StateError:
        return StateError(
            "spool.full",
            f"{self.path}: {self._envelopes} envelopes ({self._bytes} bytes) and no room for "
            f"{count} more ({size} bytes)",
            hint="connect the uplink, raise the limits, or set policy drop_oldest",
        )

    def _note_time(self, cursor: sqlite3.Cursor, at: int) -> None:
        rows.set_counter(cursor, "time", at)
        self._time = at

    def _commit(self, cursor: sqlite3.Cursor, count: int, size: int, ranges: int) -> None:
        """Commit, and from then on know that there is so much more."""
        row = cursor.execute("SELECT seq FROM sqlite_sequence WHERE name = 'envelopes'").fetchone()
        cursor.execute("COMMIT")
        self._last = max(self._last, 0 if row is None else int(row[0]))
        self._envelopes += count
        self._bytes += size
        self._ranges += ranges

    def _set_aside(self, cursor: sqlite3.Cursor, damaged: Sequence[tuple[int, int]]) -> None:
        for seq, _ in damaged:
            cursor.execute(
                "INSERT OR REPLACE INTO damaged SELECT seq, id, data FROM envelopes WHERE seq = ?",
                (seq,),
            )
            cursor.execute("DELETE FROM envelopes WHERE seq = ?", (seq,))
        self._count(cursor, damaged=len(damaged))
        cursor.execute("COMMIT")
        self._envelopes -= len(damaged)
        self._bytes -= sum(length for _, length in damaged)

    def _count(self, cursor: sqlite3.Cursor, **more: int) -> None:
        for name, by in more.items():
            if by:
                rows.add_to_counter(cursor, name, by)
                self._counters[name] += by

    @contextlib.contextmanager
    def _noting(self) -> Iterator[None]:
        """Whether the file could be used, for those who ask."""
        try:
            yield
        except sqlite3.Error as error:
            self.problem = str(error)
            raise
        self.problem = ""

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[sqlite3.Cursor]:
        """One transaction at a time; what was not committed inside is undone."""
        with self._mutex:
            if self._closed:
                raise StateError("spool.closed", f"{self.path}: the spool is closed")
            counters = dict(getattr(self, "_counters", {}))
            with translated(self.path), self._noting():
                cursor = self._connection.cursor()
                cursor.execute("BEGIN IMMEDIATE")
                try:
                    yield cursor
                    counters = dict(self._counters)
                finally:
                    if self._connection.in_transaction:
                        self._connection.rollback()
                    self._counters = counters
                    cursor.close()
