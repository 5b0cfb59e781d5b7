"""A bounded place for the bytes of devices that nobody has enrolled yet."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from depin_id.closing import Closing
from depin_id.durable import DirectoryLock, make_directory, sync_directory
from verify.store.database import check_schema, connect, guarded, transaction, use_wal

SCHEMA = 1
STRANGER = "http:"
"""Principals that begin like this are addresses: nobody vouches that they are different people."""
WAITING = "waiting:"
"""Principals that begin like this are devices whose envelopes verify and wait for something else:
nothing of theirs is dropped for something newer, it is refused, so that its sender keeps it. The
same bytes wait once: whoever has copied them may send them as often as he likes."""
_WAITING_RANGE = (WAITING, WAITING[:-1] + chr(ord(WAITING[-1]) + 1))
_WAITING_SHARE = 8
"""A waiting device may have so many times what a principal may, in bytes and in items, and no more
than this part of what is free: however many wait, there is room for one more."""
_SHARE = 4
"""Strangers together have this part of the whole: with enough addresses they would have it all."""
_STALE = 1024
_AT_ONCE = 512
"""How many items are removed, and held in memory, together."""
ROW_BYTES = 128
"""What an item counts beside its bytes: empty data would else cost nothing."""

_TABLES = """
CREATE TABLE meta(schema INTEGER NOT NULL, dropped INTEGER NOT NULL, refused INTEGER NOT NULL);
INSERT INTO meta VALUES (1, 0, 0);
CREATE TABLE parked(id INTEGER PRIMARY KEY AUTOINCREMENT, principal TEXT NOT NULL,
    kid BLOB NOT NULL, received_at INTEGER NOT NULL, cost INTEGER NOT NULL, data BLOB NOT NULL);
CREATE INDEX parked_of_principal ON parked(principal, id, cost);
CREATE INDEX parked_of_kid ON parked(kid, received_at, id);
CREATE INDEX parked_of_pair ON parked(kid, principal, id, cost);
"""


_Gone = tuple[str, bytes, int, bytes]


@dataclass(frozen=True, slots=True)
class Parked:
    """Bytes as they came: `received_at` in milliseconds, unix; `id` is for :meth:`delete`."""

    id: int
    received_at: int
    principal: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Arrival:
    """What :meth:`Quarantine.park_many` takes."""

    principal: str
    kid: bytes
    received_at: int
    data: bytes


@dataclass(frozen=True, slots=True)
class QuarantineCounts:
    """What is there (`parked` items, `cost` in bytes) and what ever was `dropped`, `refused`."""

    parked: int
    cost: int
    dropped: int
    refused: int


class Quarantine(Closing):
    """Parked bytes, with a quota for each authenticated principal. One thread at a time.

    A principal whose quota is full loses its own oldest item. Nobody's arrival removes what
    another brought: when the whole is full, new items are refused. All that only have an address
    (:data:`STRANGER`) share a quarter of it, and lose the oldest of theirs when that is full.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_total_bytes: int,
        max_per_principal_bytes: int,
        max_per_kid: int,
    ) -> None:
        """Use :meth:`open`."""
        self.path = path
        self._max_total = max_total_bytes
        self._max_principal = max_per_principal_bytes
        self._max_kid = max_per_kid
        self._used: Counter[str] = Counter()
        self._items: Counter[tuple[str, bytes]] = Counter()
        self._total = self._strange = self._strange_items = 0
        self._strangers: deque[int] = deque()
        self._waiting: set[bytes] = set()
        self._lock: DirectoryLock | None = DirectoryLock(path.parent, "quarantine.lock")
        try:
            if not path.exists():
                _write_empty(path)
            self._connection = self._connect()
            self._load()
        except BaseException:
            self._lock.close()
            raise

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        max_total_bytes: int,
        max_per_principal_bytes: int,
        max_per_kid: int,
    ) -> Quarantine:
        """Opens the quarantine of a folder, made when missing.

        Args:
            directory: the folder.
            max_total_bytes: for all; an item costs its bytes (data, kid, principal) and
                :data:`ROW_BYTES`.
            max_per_principal_bytes: the same, for one principal.
            max_per_kid: how many items of one kid a principal may park. It is counted for each
                principal: a kid is a hint anyone can write, and must not lock out its owner.

        Raises:
            StateError: ``state.locked``, ``state.schema``, ``state.corrupt``, ``state.io``.
        """
        make_directory(directory)
        return cls(
            directory / "quarantine.db",
            max_total_bytes=max_total_bytes,
            max_per_principal_bytes=max_per_principal_bytes,
            max_per_kid=max_per_kid,
        )

    def park(self, principal: str, kid: bytes, received_at: int, data: bytes) -> bool:
        """Keeps `data` durably; False when a quota forbids it (counted).

        Raises:
            StateError: ``state.full``, ``state.io``.
        """
        return self.park_many([Arrival(principal, kid, received_at, data)])[0]

    def park_many(self, arrivals: Sequence[Arrival]) -> list[bool]:
        """As :meth:`park` for each, in one durable transaction: all answers hold, or none.

        Raises:
            StateError: ``state.full``, ``state.io``.
        """
        try:
            with transaction(self._connection, self.path):
                return [self._park(arrival) for arrival in arrivals]
        except BaseException:
            self._load()  # the sums must be those of what is there
            raise

    def take(
        self, kid: bytes, *, limit: int | None = None, after: Parked | None = None
    ) -> list[Parked]:
        """What is parked for a kid, in order of receipt; it stays until :meth:`delete`.

        Args:
            kid: the hint of the envelopes.
            limit: at most so many, the oldest.
            after: only what comes after this one.

        Raises:
            StateError: ``state.corrupt``, ``state.io``.
        """
        start = (-1, -1) if after is None else (after.received_at, after.id)
        with guarded(self.path):
            rows = self._connection.execute(
                "SELECT id, received_at, principal, data FROM parked WHERE kid = ? "
                "AND (received_at, id) > (?, ?) ORDER BY received_at, id LIMIT ?",
                (kid, *start, -1 if limit is None else limit),
            ).fetchall()
        return [Parked(*row) for row in rows]

    def kids(self) -> list[bytes]:
        """For which kids something is parked, in order."""
        return sorted({kid for _, kid in self._items})

    def delete(self, ids: Iterable[int]) -> int:
        """Removes items (once the journal has them) and says how many were there.

        Raises:
            StateError: ``state.io``.
        """
        gone: list[_Gone] = []
        with transaction(self._connection, self.path):
            for number in ids:
                gone += self._delete("id = ?", number)
        return self._forget(gone)

    def expire(self, before: int) -> int:
        """Removes what waits since before a receipt time (ms) and says how many that were.

        Raises:
            StateError: ``state.io``.
        """
        where = (
            "id IN (SELECT id FROM parked WHERE principal >= ? AND principal < ? "
            f"AND received_at < ? LIMIT {_AT_ONCE})"
        )
        total, found = 0, _AT_ONCE
        while found == _AT_ONCE:
            with transaction(self._connection, self.path):
                gone = self._delete(where, *_WAITING_RANGE, before)
                if gone:
                    self._connection.execute("UPDATE meta SET dropped = dropped + ?", (len(gone),))
            found = self._forget(gone)
            total += found
        return total

    @property
    def waiting(self) -> int:
        """How many envelopes verify and wait for something else."""
        return len(self._waiting)

    @property
    def cost(self) -> int:
        """What is there now, in bytes."""
        return self._total

    def _delete(self, where: str, *values: str | int) -> list[_Gone]:
        return self._connection.execute(
            f"DELETE FROM parked WHERE {where} RETURNING principal, kid, cost, data", values
        ).fetchall()

    def _forget(self, gone: Sequence[_Gone]) -> int:
        for principal, kid, cost, data in gone:
            self._account(principal, kid, -cost, -1)
            if principal.startswith(WAITING):
                self._waiting.discard(_digest(data))
        return len(gone)

    def counts(self) -> QuarantineCounts:
        """What is there now, and what was lost to quotas since the beginning."""
        with guarded(self.path):
            parked = self._connection.execute("SELECT count(*) FROM parked").fetchone()[0]
            dropped, refused = self._connection.execute(
                "SELECT dropped, refused FROM meta"
            ).fetchone()
        return QuarantineCounts(parked, self._total, dropped, refused)

    def close(self) -> None:
        """Closes it; more than once is harmless."""
        with guarded(self.path):
            self._connection.close()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _connect(self) -> sqlite3.Connection:
        connection = connect(self.path)
        try:
            check_schema(connection, self.path, known=SCHEMA)
            with guarded(self.path):
                use_wal(connection, self.path)
        except BaseException:
            connection.close()
            raise
        return connection

    def _load(self) -> None:
        self._used.clear()
        self._items.clear()
        self._total = self._strange = self._strange_items = 0
        with guarded(self.path):
            self._line_up()
            for row in self._connection.execute(
                "SELECT principal, kid, sum(cost), count(*) FROM parked GROUP BY kid, principal"
            ):
                self._account(*row)
            self._waiting = {
                _digest(data)
                for (data,) in self._connection.execute(
                    "SELECT data FROM parked WHERE principal >= ? AND principal < ?",
                    _WAITING_RANGE,
                )
            }

    def _account(self, principal: str, kid: bytes, cost: int, items: int) -> None:
        self._total += cost
        if principal.startswith(STRANGER):
            self._strange += cost
            self._strange_items += items
        self._used[principal] += cost
        self._items[principal, kid] += items
        if not self._used[principal]:
            del self._used[principal]
        if not self._items[principal, kid]:
            del self._items[principal, kid]

    def _park(self, new: Arrival) -> bool:
        cost = len(new.data) + ROW_BYTES + len(new.principal.encode()) + len(new.kid)
        strange = new.principal.startswith(STRANGER)
        if strange and cost <= self._max_total // _SHARE:
            self._make_room(self._max_total // _SHARE - cost)
        used = self._used.get(new.principal, 0)
        if new.principal.startswith(WAITING):
            return self._wait(new, cost, used)
        over = max(used + cost - self._max_principal, self._total + cost - self._max_total)
        too_large = strange and cost > self._max_total // _SHARE
        if over > used or self._max_kid < 1 or too_large:
            self._connection.execute("UPDATE meta SET refused = refused + 1")
            return False
        if self._items.get((new.principal, new.kid), 0) >= self._max_kid:
            over -= self._drop_oldest("kid = ? AND principal = ?", new.kid, new.principal)
        while over > 0:
            over -= self._drop_oldest("principal = ?", new.principal)
        number = self._insert(new, cost)
        if strange and number is not None:
            self._strangers.append(number)
            if len(self._strangers) > 2 * self._strange_items + _STALE:
                self._line_up()
        return True

    def _wait(self, new: Arrival, cost: int, used: int) -> bool:
        digest = _digest(new.data)
        if digest in self._waiting:
            return True
        free = max(0, self._max_total - self._total)
        most = min(self._max_principal * _WAITING_SHARE, free // _WAITING_SHARE)
        items = self._items.get((new.principal, new.kid), 0)
        if used + cost > most or items >= self._max_kid * _WAITING_SHARE:
            self._connection.execute("UPDATE meta SET refused = refused + 1")
            return False
        self._waiting.add(digest)
        self._insert(new, cost)
        return True

    def _insert(self, new: Arrival, cost: int) -> int | None:
        made = self._connection.execute(
            "INSERT INTO parked(principal, kid, received_at, cost, data) VALUES (?,?,?,?,?)",
            (new.principal, new.kid, new.received_at, cost, new.data),
        )
        self._account(new.principal, new.kid, cost, 1)
        return made.lastrowid

    def _line_up(self) -> None:
        """The numbers of what strangers brought, oldest first, without those that are gone."""
        rows = self._connection.execute(
            "SELECT id FROM parked WHERE substr(principal, 1, ?) = ? ORDER BY id",
            (len(STRANGER), STRANGER),
        )
        self._strangers = deque(number for (number,) in rows)

    def _make_room(self, most: int) -> None:
        """Drop the oldest of what strangers brought, until no more than so many bytes are left."""
        while self._strange > most:
            # What was taken up or dropped meanwhile is not there any more.
            self._drop_oldest("id = ?", self._strangers.popleft())

    def _drop_oldest(self, where: str, *values: str | bytes | int) -> int:
        """Drops the oldest item that fits and gives its cost; 0 when there is none."""
        found = self._connection.execute(
            f"SELECT id, principal, kid, cost FROM parked WHERE {where} ORDER BY id LIMIT 1", values
        ).fetchone()
        if found is None:
            return 0
        number, principal, kid, cost = found
        self._connection.execute("DELETE FROM parked WHERE id = ?", (number,))
        self._connection.execute("UPDATE meta SET dropped = dropped + 1")
        self._account(principal, kid, -cost, -1)
        return int(cost)


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:16]


def _write_empty(path: Path) -> None:
    temporary = path.with_name("quarantine.db.tmp")
    with guarded(path):
        temporary.unlink(missing_ok=True)
        connection = connect(temporary, create=True)
        try:
            os.chmod(temporary, 0o600)
            connection.executescript(_TABLES)
        finally:
            connection.close()
        temporary.rename(path)
    sync_directory(path.parent)
