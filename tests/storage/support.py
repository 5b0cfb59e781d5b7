"""What the storage tests share."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from verify.store import Journal, NewBatch, Position

NETWORK = "did:web:network.example"


def blob(*parts: object) -> bytes:
    return hashlib.sha256(repr(parts).encode()).digest()


def batch(journal: Journal, count: int = 3, *, stream: int = 1, filler: int = 0) -> NewBatch:
    """A batch whose every byte follows from its first index."""
    first = journal.size
    indexes = range(first, first + count)
    return NewBatch(
        received_at=1_700_000_000_000 + first,
        leaves=[blob("leaf", i) for i in indexes],
        deltas=[blob("delta", i)[: i % 5] for i in indexes],
        sealed=[blob("sealed", i) + bytes(filler) for i in indexes],
        positions=[Position(stream, 0, i, i, blob("id", i), blob("prev", i)[:16]) for i in indexes],
        source="file",
        offset=str(first + count).encode(),
        note=blob("note", first)[:4],
    )


def check_entries(journal: Journal, *, filler: int = 0) -> None:
    """Every entry is there, once, with its own bytes, position and the newest offset."""
    indexes = []
    for entry in journal.entries():
        i = entry.index
        indexes.append(i)
        assert (entry.leaf, entry.sealed) == (blob("leaf", i), blob("sealed", i) + bytes(filler))
        assert entry.delta == blob("delta", i)[: i % 5]
        found = journal.position(1, 0, i)
        assert found == Position(1, 0, i, i, blob("id", i), blob("prev", i)[:16])
    assert indexes == list(range(journal.size))
    assert journal.position(1, 0, journal.size) is None
    expected: Sequence[bytes | None] = [str(journal.size).encode()] if indexes else [None]
    assert [journal.offset("file")] == expected
