"""One file of the journal: batches, an index of positions, and how it joins the file before."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from depin_id.closing import Closing
from depin_id.durable import sync_directory
from depin_id.errors import StateError
from verify.store.database import (
    check_schema,
    connect,
    corrupt,
    guarded,
    is_quiet,
    transaction,
    truncate_wal,
    use_wal,
)
from verify.store.journal_schema import (
    COLUMNS,
    SCHEMA,
    TABLES,
    Head,
    check_length,
    discard,
    have_types,
    is_finished,
    is_stripped,
    is_writable,
    read_head,
)
from verify.store.packing import (
    LINE,
    BatchRow,
    NewBatch,
    Position,
    StoredBatch,
    chained_digest,
    pack_column,
    pack_positions,
    stripped_digest,
    unpack_position,
)


@dataclass(frozen=True, slots=True)
class Tail:
    """Where the next batch goes: its number, its first entry, the digest it is chained to."""

    batch: int
    first: int
    digest: bytes


class JournalFile(Closing):
    """One file, open. One thread at a time. Made by :meth:`create` and :meth:`open`."""

    def __init__(
        self, path: Path, connection: sqlite3.Connection, head: Head, tail: Tail, stripped: bool
    ) -> None:
        self.path = path
        self.head = head
        self.tail = tail
        self.stripped = stripped
        self._connection = connection

    @staticmethod
    def create(
        path: Path, head: Head, offsets: Mapping[str, bytes], step: Callable[[str], None]
    ) -> None:
        """Makes an empty file under a temporary name, then gives it its own: whole or absent."""
        temporary = path.with_name(path.name + ".tmp")
        discard(temporary)
        connection = connect(temporary, create=True)
        try:
            with guarded(temporary):
                os.chmod(temporary, 0o600)
                connection.executescript(TABLES)
            with transaction(connection, temporary):
                values = [getattr(head, name) for name in Head.__dataclass_fields__]
                connection.execute("INSERT INTO meta VALUES (?,?,?,?,?,?,?,?,?)", values)
                connection.executemany("INSERT INTO offsets VALUES (?,?)", offsets.items())
        finally:
            connection.close()
        step("created")
        with guarded(path):
            temporary.rename(path)
        sync_directory(path.parent)
        step("renamed")

    @classmethod
    def open(cls, path: Path, *, read_only: bool, traceless: bool = False) -> JournalFile:
        """Opens a file as what it is: sealed ones for reading only, for ever.

        Args:
            traceless: for reading, leave no file beside it, as :meth:`Journal.open`.

        Raises:
            StateError: ``state.missing``, ``state.schema``, ``state.corrupt``, ``state.io``.
        """
        if not path.is_file():
            raise StateError(
                "state.missing", f"{path} does not exist", hint="restore the file from a backup"
            )
        immutable = is_finished(path) or (read_only and traceless and is_quiet(path))
        connection = connect(path, read_only=read_only, immutable=immutable)
        try:
            check_schema(connection, path, known=SCHEMA)
            with guarded(path):
                head = read_head(connection, path)
                if not head.is_sealed and not read_only:
                    use_wal(connection, path)
                    connection.execute("PRAGMA cache_size=-65536")
                    connection.execute("PRAGMA wal_autocheckpoint=4000")
                elif head.is_sealed:
                    check_length(connection, path)
            tail = Tail(head.batch, head.first, head.previous)
            file = cls(path, connection, head, tail, is_stripped(connection, path))
            file.load_tail()
        except BaseException:
            connection.close()
            raise
        return file

    def load_tail(self) -> None:
        """Reads again where the file ends, and checks its last batch.

        Raises:
            StateError: ``state.corrupt``.
        """
        head, row = self.head, None
        with guarded(self.path):
            last = self._connection.execute("SELECT max(number) FROM batches").fetchone()[0]
        if last is not None:
            row = self._row("number = ?", (last,))
        if row is None:
            tail = Tail(head.batch, head.first, head.previous)
        else:
            self.check(row, self.digest_before(row.number))
            tail = Tail(row.number + 1, row.first + row.count, row.digest)
        if head.is_sealed and (head.digest, head.count) != (tail.digest, tail.first - head.first):
            raise corrupt(self.path, "ends elsewhere than where it was sealed")
        self.tail = tail

    def append(self, batch: NewBatch) -> int:
        """Writes one batch durably and gives its first index.

        Raises:
            StateError: ``state.conflict`` (a position is used already; nothing was written),
                ``state.argument``, ``state.full``, ``state.io``.
        """
        tail, count = self.tail, len(batch.leaves)
        if len(batch.deltas) != count or len(batch.sealed) != count:
            raise StateError(
                "state.argument",
                f"batch of {count} leaves, {len(batch.deltas)} deltas, {len(batch.sealed)} sealed",
                hint="one of each an entry",
            )
        rows, positions = pack_positions(batch.positions, tail.first, tail.first + count)
        row = BatchRow(
            tail.batch,
            tail.first,
            count,
            batch.received_at,
            batch.source,
            batch.offset,
            batch.note,
            pack_column(batch.leaves),
            pack_column(batch.deltas),
            pack_column(batch.sealed),
            positions,
            b"",
        )
        digest = chained_digest(tail.digest, row)
        values = [getattr(row, name) for name in BatchRow.__dataclass_fields__]
        values[-1] = digest
        with transaction(self._connection, self.path):
            execute = self._connection.execute
            execute("INSERT INTO batches VALUES (?,?,?,?,?,?,?,?,?,?,?,?)", values)
            self._connection.executemany("INSERT INTO positions VALUES (?,?,?,?,?)", rows)
            if batch.offset is not None:
                execute("INSERT OR REPLACE INTO offsets VALUES (?,?)", (batch.source, batch.offset))
        self.tail = Tail(tail.batch + 1, tail.first + count, digest)
        return tail.first

    def batch_of(self, index: int) -> BatchRow | None:
        """The batch that holds entry `index`, checked; None when there is none."""
        row = self._row("first <= ? AND count > 0 ORDER BY first DESC LIMIT 1", (index,))
        if row is None or not row.first <= index < row.first + row.count:
            return None
        self.check(row, self.digest_before(row.number))
        return row

    def batches(self, number: int) -> Iterator[BatchRow]:
        """Batches from `number` on, each checked, one in memory at a time."""
        previous = self.digest_before(number)
        # No read transaction stays open between two of them: it would hold up checkpoints.
        while number < self.tail.batch:
            row = self._row("number = ?", (number,))
            if row is None:
                raise corrupt(self.path, f"batch {number} is missing")
            self.check(row, previous)
            yield row
            previous = row.digest
            number += 1

    def check(self, row: BatchRow, previous: bytes) -> None:
        """Refuses a batch that is not what was written.

        Raises:
            StateError: ``state.corrupt``.
        """
        if self.stripped:
            intact = self._digest_of_rest(row.number) == stripped_digest(previous, row)
        else:
            intact = chained_digest(previous, replace(row, digest=b"")) == row.digest
        if not intact:
            raise corrupt(self.path, f"batch {row.number} is not what was written")

    def _digest_of_rest(self, number: int) -> bytes | None:
        with guarded(self.path):
            row = self._connection.execute(
                "SELECT digest FROM stripped WHERE number = ?", (number,)
            ).fetchone()
        return None if row is None or not isinstance(row[0], bytes) else row[0]

    def unpack(self, row: BatchRow) -> StoredBatch:
        """A row of this file with its columns unpacked. Raises StateError ``state.corrupt``."""
        return row.unpack(self.path.name if self.stripped else "")

    def digest_before(self, number: int) -> bytes:
        """The digest that batch `number` is chained to."""
        if number == self.head.batch:
            return self.head.previous
        with guarded(self.path):
            row = self._connection.execute(
                "SELECT digest FROM batches WHERE number = ?", (number - 1,)
            ).fetchone()
        if row is None or not isinstance(row[0], bytes):
            raise corrupt(self.path, f"batch {number - 1} is missing")
        return row[0]

    def position(self, stream: int, epoch: int, n: int) -> Position | None:
        """Who used a position, or None."""
        with guarded(self.path):
            found = self._connection.execute(
                "SELECT entry, line FROM positions WHERE stream=? AND epoch=? AND n=?",
                (stream, epoch, n),
            ).fetchone()
            if found is None:
                return None
            if not have_types(found, "ii"):
                raise corrupt(self.path, "a position has the wrong form")
            entry, line = found
            row = self._connection.execute(
                "SELECT substr(positions, ?, ?) FROM batches "
                "WHERE first <= ? AND count > 0 ORDER BY first DESC LIMIT 1",
                (1 + LINE * line, LINE, entry),
            ).fetchone()
        position = unpack_position(row[0]) if row and isinstance(row[0], bytes) else None
        key = (stream, epoch, n, entry)
        if position is None or key != (position.stream, position.epoch, position.n, position.entry):
            raise corrupt(self.path, f"position {key[:3]} is not what was written")
        return position

    def entries_of(self, stream: int) -> list[int]:
        """Indices of the entries that used positions of a stream, rising."""
        with guarded(self.path):
            found = self._connection.execute(
                "SELECT entry FROM positions WHERE stream=? ORDER BY entry", (stream,)
            ).fetchall()
        if not all(have_types(row, "i") for row in found):
            raise corrupt(self.path, "a position has the wrong form")
        return [row[0] for row in found]

    def positions_of(
        self, stream: int, after: tuple[int, int], limit: int
    ) -> list[tuple[int, int, int]]:
        """Used positions of a stream above one, rising, as (epoch, n, entry)."""
        with guarded(self.path):
            found = self._connection.execute(
                "SELECT epoch, n, entry FROM positions WHERE stream=? AND (epoch, n) > (?, ?) "
                "ORDER BY epoch, n LIMIT ?",
                (stream, *after, limit),
            ).fetchall()
        if not all(have_types(row, "iii") for row in found):
            raise corrupt(self.path, "a position has the wrong form")
        return found

    def offsets(self) -> dict[str, bytes]:
        """The newest offset of every source."""
        with guarded(self.path):
            return dict(self._connection.execute("SELECT source, offset FROM offsets").fetchall())

    def bytes_used(self) -> int:
        """The size of the database, its log included."""
        with guarded(self.path):
            pages = self._connection.execute("PRAGMA page_count").fetchone()[0]
            size = self._connection.execute("PRAGMA page_size").fetchone()[0]
        return int(pages) * int(size)

    def verify(self) -> None:
        """Checks every page, batch and position; time grows with the file.

        Raises:
            StateError: ``state.corrupt``.
        """
        with guarded(self.path):
            result = self._connection.execute("PRAGMA integrity_check(1)").fetchone()
        if result is None or result[0] != "ok":
            raise corrupt(self.path, str(result and result[0]))
        offsets, moved, lines = self.offsets(), dict[str, bytes](), 0
        for row in self.batches(self.head.batch):
            for at in range(0, len(row.positions), LINE):
                p = unpack_position(row.positions[at : at + LINE])
                if p is None or self.position(p.stream, p.epoch, p.n) != p:
                    raise corrupt(self.path, f"positions of batch {row.number} were changed")
                lines += 1
            if row.offset is not None:
                moved[row.source] = row.offset
        if any(offsets.get(source) != offset for source, offset in moved.items()):
            raise corrupt(self.path, "the offset of a source was changed")
        with guarded(self.path):
            count = self._connection.execute("SELECT count(*) FROM positions").fetchone()[0]
        if count < lines or (self.head.is_sealed and count != lines):
            raise corrupt(self.path, f"has {count} positions instead of {lines}")

    def seal(self) -> None:
        """Ends the file: after this it says so itself, and takes no batch."""
        with transaction(self._connection, self.path):
            self._connection.execute(
                "UPDATE meta SET count = ?, digest = ?",
                (self.tail.first - self.head.first, self.tail.digest),
            )
        self.head = replace(
            self.head, count=self.tail.first - self.head.first, digest=self.tail.digest
        )

    def finish(self, step: Callable[[str], None]) -> bool:
        """Makes a sealed file one plain read-only file; False when a reader is in the way.

        Safe to repeat. The file must be opened again afterwards.
        """
        if not is_writable(self.path):
            return True
        try:
            with guarded(self.path):
                self._connection.execute("PRAGMA busy_timeout=0")  # a reader never stalls ingest
                if not truncate_wal(self._connection):
                    return False
                step("checkpointed")
                mode = self._connection.execute("PRAGMA journal_mode=DELETE").fetchone()[0]
                if mode != "delete":
                    return False
                step("journal_mode")
                self._connection.close()
                os.chmod(self.path, 0o444)
        except StateError as error:
            if error.code == "state.locked":
                return False
            raise
        sync_directory(self.path.parent)
        step("finished")
        return True

    def close(self) -> None:
        """Closes the file; more than once is harmless."""
        with guarded(self.path):
            self._connection.close()

    def _row(self, where: str, values: tuple[int, ...]) -> BatchRow | None:
        with guarded(self.path):
            row = self._connection.execute(
                f"SELECT {COLUMNS} FROM batches WHERE {where}", values
            ).fetchone()
        if row is None:
            return None
        if not have_types(row, "iiiisBbbbbbb"):
            raise corrupt(self.path, f"batch {row[0]!r} has columns of the wrong type")
        if not all(0 <= value < 1 << 63 for value in row[:2]) or not 0 <= row[2] < 1 << 32:
            raise corrupt(self.path, f"batch {row[0]} has impossible numbers")
        return BatchRow(*row)
