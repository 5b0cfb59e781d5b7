"""Where each stream stands: one number or digest a column, so that a million of them stay small."""

from __future__ import annotations

from array import array
from typing import Final, NamedTuple

from verify.checks.clock import Anchor
from verify.checks.quota import Bucket
from verify.dense import Buffer, Column, fill, pieces

WINDOW: Final = 64
"""How many positions below the mark are known without looking into the journal."""

NONE: Final = -(1 << 62)
"""Stands for None in a column of integers."""

_THUMBPRINT: Final = 32
_HEAD: Final = 16
_NOWHERE: Final = -1


class Mark(NamedTuple):
    """Where a stream stands: its highest position, the window below it, the head's identity.

    Bit ``i`` of ``window`` says whether position ``n - i`` of the current epoch is taken.
    """

    epoch: int
    n: int
    window: int
    head: bytes


class Streams:
    """Stream state per (thumbprint, subject).

    The streams of a subject, one for each key that spoke for it, are a chain from the newest to
    the oldest: ``_first`` by subject, ``_next`` by stream.
    """

    def __init__(self) -> None:
        self._thumbprints = bytearray()
        self._heads = bytearray()
        self._first, self._next, self._subjects = array("i"), array("i"), array("i")
        self._epoch, self._n, self._window = array("q"), array("q"), array("Q")
        self._anchor_epoch, self._anchor_lo, self._anchor_hi = array("q"), array("q"), array("q")
        self._tokens, self._tokens_at = array("q"), array("q")

    def __len__(self) -> int:
        return len(self._subjects)

    def find(self, thumbprint: bytes, subject: int) -> int | None:
        """Index of a stream, None when it has never spoken."""
        if subject >= len(self._first):
            return None
        stream = self._first[subject]
        while stream != _NOWHERE:
            at = stream * _THUMBPRINT
            if self._thumbprints[at : at + _THUMBPRINT] == thumbprint:
                return stream
            stream = self._next[stream]
        return None

    def keys(self) -> list[tuple[bytes, int]]:
        """(thumbprint, subject) of each stream, by index."""
        return list(zip(pieces(self._thumbprints, _THUMBPRINT), self._subjects, strict=True))

    def of(self, subject: int) -> list[int]:
        """The streams of a subject, in the order in which they began."""
        found, stream = [], self._first[subject] if subject < len(self._first) else _NOWHERE
        while stream != _NOWHERE:
            found.append(stream)
            stream = self._next[stream]
        return found[::-1]

    def under(self, thumbprint: bytes) -> list[int]:
        """The streams of a key, of whatever subjects it spoke for. It looks at all streams."""
        found = pieces(self._thumbprints, _THUMBPRINT)
        return [stream for stream, other in enumerate(found) if other == thumbprint]

    def add(self, thumbprint: bytes, subject: int) -> int:
        """A new stream's index; it stands nowhere yet."""
        index = len(self._subjects)
        self._thumbprints += thumbprint
        self._heads += bytes(_HEAD)
        self._subjects.append(subject)
        for column in (self._anchor_lo, self._anchor_hi, self._tokens, self._window):
            column.append(0)
        for column in (self._epoch, self._n):
            column.append(-1)
        for column in (self._anchor_epoch, self._tokens_at):
            column.append(NONE)
        self._link(index, subject)
        return index

    def mark(self, stream: int) -> Mark | None:
        """Where a stream stands, None before its first envelope."""
        epoch = self._epoch[stream]
        if epoch < 0:
            return None
        head = bytes(self._heads[stream * _HEAD : (stream + 1) * _HEAD])
        return Mark(epoch, self._n[stream], self._window[stream], head)

    def set_mark(self, stream: int, mark: Mark) -> None:
        """Record where a stream stands."""
        self._epoch[stream], self._n[stream], self._window[stream], head = mark
        self._heads[stream * _HEAD : (stream + 1) * _HEAD] = head

    def anchor(self, stream: int) -> Anchor | None:
        """When the stream's device booted, as far as it is known."""
        epoch = self._anchor_epoch[stream]
        if epoch == NONE:
            return None
        low = self._anchor_lo[stream]
        return Anchor(epoch, None if low == NONE else low, self._anchor_hi[stream])

    def set_anchor(self, stream: int, anchor: Anchor) -> None:
        """Record when the stream's device booted."""
        self._anchor_epoch[stream], self._anchor_hi[stream] = anchor.epoch, anchor.hi_ms
        self._anchor_lo[stream] = NONE if anchor.lo_ms is None else anchor.lo_ms

    def bucket(self, stream: int) -> Bucket | None:
        """The stream's quota, None before it was ever used."""
        at = self._tokens_at[stream]
        return None if at == NONE else Bucket(self._tokens[stream], at)

    def set_bucket(self, stream: int, bucket: Bucket) -> None:
        """Record the stream's quota."""
        self._tokens[stream], self._tokens_at[stream] = bucket

    def rows(self) -> bytes:
        """All that is remembered of all streams but their keys, column after column."""
        return b"".join(column.tobytes() for column in self._values()) + bytes(self._heads)

    def columns(self) -> dict[str, Buffer]:
        """Everything as columns, for a snapshot."""
        return {name: memoryview(column).cast("B") for name, column in self._columns().items()}

    def restore(self, columns: dict[str, Buffer]) -> None:
        """Take what :meth:`columns` gave, out of it.

        Raises:
            ValueError, KeyError: it is something else.
        """
        for name, column in self._columns().items():
            fill(column, columns.pop(name))
        count = len(self)
        if {len(column) for column in (*self._values(), self._next)} != {count}:
            raise ValueError("columns of streams differ in length")
        if (len(self._thumbprints), len(self._heads)) != (_THUMBPRINT * count, _HEAD * count):
            raise ValueError("columns of streams differ in length")

    def _link(self, stream: int, subject: int) -> None:
        missing = subject + 1 - len(self._first)
        if missing > 0:
            self._first.extend([_NOWHERE] * missing)
        self._next.append(self._first[subject])
        self._first[subject] = stream

    def _values(self) -> tuple[array[int], ...]:
        return (
            self._epoch,
            self._n,
            self._window,
            self._anchor_epoch,
            self._anchor_lo,
            self._anchor_hi,
            self._tokens,
            self._tokens_at,
        )

    def _columns(self) -> dict[str, Column]:
        found: dict[str, Column] = {
            "thumbprints": self._thumbprints,
            "heads": self._heads,
            "first": self._first,
            "next": self._next,
            "subjects": self._subjects,
        }
        found |= {f"value.{at}": column for at, column in enumerate(self._values())}
        return found
