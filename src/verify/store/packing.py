"""The form of a batch on disk: packed columns, and a digest that chains batch to batch."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import NamedTuple

from depin_id.errors import StateError

_HEADER = struct.Struct(">QQIqIqIQQQQ")
_POSITION = struct.Struct(">Qqqq32s16s")
LINE = _POSITION.size + 4
"""Bytes of a position in a batch: the position, and a CRC-32 for reading it alone."""


class Position(NamedTuple):
    """Where a stream was used: `id` 32 bytes, `prev` 16 bytes (protocol, positions)."""

    stream: int
    epoch: int
    n: int
    entry: int
    id: bytes
    prev: bytes


@dataclass(frozen=True, slots=True)
class NewBatch:
    """What one transaction writes.

    Args:
        received_at: milliseconds, unix.
        leaves: log leaves, one an entry.
        deltas: state changes, one an entry.
        sealed: sealed envelopes, one an entry.
        positions: positions that the entries consume; `entry` is the absolute index.
        source: name of the source, empty when there is none.
        offset: how far the source was read; None leaves it as it is.
        note: anything the aggregator wants to find again.
    """

    received_at: int
    leaves: Sequence[bytes]
    deltas: Sequence[bytes]
    sealed: Sequence[bytes]
    positions: Sequence[Position]
    source: str = ""
    offset: bytes | None = None
    note: bytes = b""


@dataclass(slots=True)
class StoredEntry:
    """One entry as it was written; `received_at` in milliseconds, unix.

    `archived` names the file that holds the sealed part when it was moved to an archive.
    """

    index: int
    batch: int
    received_at: int
    leaf: bytes
    delta: bytes
    sealed: bytes
    archived: str = ""


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """One batch as it was written, columns unpacked; the cheap way to read many entries."""

    number: int
    first: int
    received_at: int
    source: str
    offset: bytes | None
    note: bytes
    leaves: list[bytes]
    deltas: list[bytes]
    sealed: list[bytes]
    archived: str = ""

    def entries(self) -> list[StoredEntry]:
        """The batch entry by entry."""
        columns = zip(self.leaves, self.deltas, self.sealed, strict=True)
        return [
            StoredEntry(index, self.number, self.received_at, leaf, delta, sealed, self.archived)
            for index, (leaf, delta, sealed) in enumerate(columns, self.first)
        ]


@dataclass(frozen=True, slots=True)
class BatchRow:
    """One row of the table `batches`, in column order."""

    number: int
    first: int
    count: int
    received_at: int
    source: str
    offset: bytes | None
    note: bytes
    leaves: bytes
    deltas: bytes
    sealed: bytes
    positions: bytes
    digest: bytes

    def unpack(self, archived: str = "") -> StoredBatch:
        """The row with its columns unpacked.

        Args:
            archived: the file that holds its sealed column, when this row has it no more.

        Raises:
            StateError: ``state.corrupt``.
        """
        sealed = [b""] * self.count if archived else unpack_column(self.sealed, self.count)
        return StoredBatch(
            self.number,
            self.first,
            self.received_at,
            self.source,
            self.offset,
            self.note,
            unpack_column(self.leaves, self.count),
            unpack_column(self.deltas, self.count),
            sealed,
            archived,
        )


def pack_column(items: Sequence[bytes]) -> bytes:
    """Byte strings as one: all lengths (u32, little endian), then all bytes."""
    return struct.pack(f"<{len(items)}I", *map(len, items)) + b"".join(items)


def unpack_column(blob: bytes, count: int) -> list[bytes]:
    """The inverse of :func:`pack_column`; `count` is the number of items.

    Raises:
        StateError: ``state.corrupt`` when the lengths do not add up.
    """
    head = 4 * count
    if len(blob) >= head:
        lengths = struct.unpack_from(f"<{count}I", blob)
        bounds = list(accumulate(lengths, initial=head))
        if bounds[-1] == len(blob):
            return [blob[start:stop] for start, stop in pairwise(bounds)]
    raise StateError(
        "state.corrupt", "a packed column does not add up", hint="restore the file from a backup"
    )


PositionRow = tuple[int, int, int, int, int]
"""stream, epoch, n, entry, and the line of the batch's positions that holds the rest."""


def pack_positions(
    positions: Iterable[Position], first: int, stop: int
) -> tuple[list[PositionRow], bytes]:
    """Positions as index rows in key order (neighbours share pages), and as lines in one blob.

    The index stays small that way: its pages are written again with every batch, lines once.

    Raises:
        StateError: ``state.argument`` for an entry outside [first, stop), a wrong length, a
            number beyond 64 bits.
    """
    pack, crc32 = _POSITION.pack, zlib.crc32
    rows: list[PositionRow] = []
    lines: list[bytes] = []
    for line, p in enumerate(positions):
        entry, name, prev = p.entry, p.id, p.prev
        if not first <= entry < stop or len(name) != 32 or len(prev) != 16:
            raise StateError(
                "state.argument",
                f"position {(p.stream, p.epoch, p.n)} has entry {entry} (batch is [{first}, "
                f"{stop})), id of {len(name)} bytes, prev of {len(prev)}",
                hint="an entry of the batch, 32 and 16 bytes are needed",
            )
        try:
            packed = pack(entry, p.stream, p.epoch, p.n, name, prev)
        except struct.error as error:
            raise StateError(
                "state.argument", "a position does not fit 64 bits", hint="check the caller"
            ) from error
        lines.append(packed)
        lines.append(crc32(packed).to_bytes(4, "big"))
        rows.append((p.stream, p.epoch, p.n, entry, line))
    rows.sort()
    return rows, b"".join(lines)


def unpack_position(line: bytes) -> Position | None:
    """One line (:data:`LINE` bytes) as it was written; None when it is damaged."""
    packed, crc = line[:-4], line[-4:]
    if len(line) != LINE or zlib.crc32(packed).to_bytes(4, "big") != crc:
        return None
    entry, stream, epoch, n, name, prev = _POSITION.unpack(packed)
    return Position(stream, epoch, n, entry, name, prev)


def genesis_digest(network: str) -> bytes:
    """Where the chain of a network's journal begins."""
    return hashlib.sha256(b"depin-journal/1\x00" + network.encode()).digest()


def chained_digest(previous: bytes, row: BatchRow) -> bytes:
    """SHA-256 that binds every column of `row` (but its digest) and the batch before it.

    SQLite has no checksums of its own: this is what notices a flipped byte.

    Raises:
        StateError: ``state.argument`` for a number beyond 64 bits.
    """
    source = row.source.encode()
    offset = -1 if row.offset is None else len(row.offset)
    try:
        header = _HEADER.pack(
            row.number,
            row.first,
            row.count,
            row.received_at,
            len(source),
            offset,
            len(row.note),
            len(row.leaves),
            len(row.deltas),
            len(row.sealed),
            len(row.positions),
        )
    except struct.error as error:
        raise StateError(
            "state.argument", "a number of the batch is out of range", hint="check the caller"
        ) from error
    hasher = hashlib.sha256(previous + header)
    columns = (row.leaves, row.deltas, row.sealed, row.positions)
    for part in (source, row.offset or b"", row.note, *columns):
        hasher.update(part)
    return hasher.digest()


def stripped_digest(previous: bytes, row: BatchRow) -> bytes:
    """As :func:`chained_digest`, of a row whose sealed column is in an archive.

    It binds what is left of the row, and the digest that the whole row has.
    """
    left = chained_digest(previous, replace(row, sealed=b"", digest=b""))
    return hashlib.sha256(b"depin-stripped/1\x00" + row.digest + left).digest()
