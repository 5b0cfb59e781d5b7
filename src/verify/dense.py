"""What a million rows are kept in: an index by hash, texts end to end.

A Python object a row costs some hundred bytes before it holds anything. Here a row costs what it
says, and objects are made when they are asked for.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

_SMALLEST: Final = 1 << 6
_LOW: Final = (1 << 32) - 1

Buffer = bytes | bytearray | memoryview
"""What a column is read from."""
Column: TypeAlias = "array[int] | bytearray"


class HashIndex:
    """Rows by the hash of their key: open addressing, a word of 64 bits a slot, at most half full.

    One thread adds; others may look for what was added before.

    A word holds 32 bits of the hash and the row's number plus one, so a row that is found may have
    another key: whoever asks compares. The hash is Python's keyed one: nobody who chooses keys can
    make them all fall into one place.
    """

    def __init__(self) -> None:
        self._table = array("Q", bytes(8 * _SMALLEST))
        self._count = 0

    def rows(self, key: bytes) -> tuple[int, ...]:
        """Rows that may have this key, in the order in which they were added."""
        half = hash(key) & _LOW
        table = self._table
        mask = len(table) - 1
        at = half & mask
        found: tuple[int, ...] = ()
        while word := table[at]:
            if word >> 32 == half:
                found += ((word & _LOW) - 1,)
            at = (at + 1) & mask
        return found

    def add(self, key: bytes, row: int) -> None:
        """Let a row be found by a key; each row's number is above those added before."""
        if 2 * (self._count + 1) > len(self._table):
            words = np.frombuffer(self._table, dtype=np.uint64)
            # Sorted by hash and row: rows of one key stay in their order.
            self._place(np.sort(words[words != 0]), 2 * len(self._table))
        _put(self._table, (hash(key) & _LOW) << 32 | (row + 1))
        self._count += 1

    def fill(self, keys: Iterable[bytes]) -> None:
        """Begin again, with the keys of rows 0, 1, 2 and so on."""
        hashes = np.fromiter(map(hash, keys), dtype=np.int64).view(np.uint64)
        self._count, size = len(hashes), _SMALLEST
        while 2 * self._count > size:
            size *= 2
        numbers = np.arange(1, self._count + 1, dtype=np.uint64)
        self._place((hashes & np.uint64(_LOW)) << np.uint64(32) | numbers, size)

    def _place(self, words: NDArray[np.uint64], size: int) -> None:
        """A new table: what putting the words in one by one would make, but all at once."""
        homes = (words >> np.uint64(32) & np.uint64(size - 1)).astype(np.int64)
        order = np.argsort(homes, kind="stable")
        words, steps = words[order], np.arange(len(words))
        # Each stands at its home, or right after the one before it.
        places = np.maximum.accumulate(homes[order] - steps) + steps
        inside = places < size
        table = np.zeros(size, dtype=np.uint64)
        table[places[inside]] = words[inside]
        made = array("Q", table.tobytes())
        for word in words[~inside].tolist():
            _put(made, word)
        self._table = made  # whole, for whoever looks meanwhile


def _put(table: array[int], word: int) -> None:
    mask = len(table) - 1
    at = word >> 32 & mask
    while table[at]:
        at = (at + 1) & mask
    table[at] = word


class Texts:
    """Texts by row, end to end in one buffer; what is wiped leaves its place empty."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._ends = array("q")

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, row: int) -> bytes:
        """The text of a row; zeros when it was wiped."""
        return bytes(self._bytes[self._ends[row - 1] if row else 0 : self._ends[row]])

    def __iter__(self) -> Iterator[bytes]:
        view, start = memoryview(self._bytes), 0
        for end in self._ends:
            yield bytes(view[start:end])
            start = end

    def append(self, text: bytes) -> None:
        """The text of the next row."""
        self._bytes += text
        self._ends.append(len(self._bytes))

    def wipe(self, row: int) -> None:
        """Overwrite a row's text where it stands, so that it is nowhere any more."""
        start, end = self._ends[row - 1] if row else 0, self._ends[row]
        self._bytes[start:end] = bytes(end - start)

    def columns(self) -> tuple[bytearray, array[int]]:
        """All that is in it: the bytes, and where each text ends."""
        return self._bytes, self._ends

    def restore(self, data: Buffer, ends: Buffer) -> None:
        """Take what :meth:`columns` gave; a bytearray as it is.

        Raises:
            ValueError: the two do not fit.
        """
        found = array("q")
        found.frombytes(ends)
        checked = np.frombuffer(found, dtype=np.int64)
        if (found[-1] if found else 0) != len(data) or bool(
            np.any(np.diff(checked, prepend=0) < 0)
        ):
            raise ValueError("texts that end elsewhere")
        self._bytes = data if isinstance(data, bytearray) else bytearray(data)
        self._ends = found


def pieces(column: Buffer, width: int) -> Iterator[bytes]:
    """A column of byte strings, one by one."""
    view = memoryview(column)
    return (bytes(view[at : at + width]) for at in range(0, len(view), width))


def fill(column: Column, data: Buffer) -> None:
    """Let a column hold just these bytes. Raises ValueError when they are no whole rows."""
    del column[:]
    if isinstance(column, bytearray):
        column += data
    else:
        column.frombytes(data)
