"""What a dataset still lacks, kept in columns as it is committed: nothing is opened again."""

from __future__ import annotations

from collections.abc import Iterable

from verify.dataset.builder import SEGMENT_ENTRIES, Dataset
from verify.dataset.columns import Columns
from verify.dataset.rows import CheckedEntry

MAX_BYTES = 256 << 20
"""With more than this the tail gives up, and the dataset is continued from the journal."""


class Tail:
    """Columns of the newest entries, from the beginning of a segment on.

    It is a shortcut: whenever it does not begin where the dataset ends, it is of no use, and what
    it would have said is read from the journal.
    """

    def __init__(self) -> None:
        self._parts: list[Columns] = []
        self._length = SEGMENT_ENTRIES

    @property
    def end(self) -> int:
        """Index after the last entry, 0 while it is empty."""
        return self._parts[-1].end if self._parts else 0

    def continues(self, dataset: Dataset, size: int) -> bool:
        """Whether it has what the dataset lacks of a log of ``size`` entries, with its cells."""
        return (
            bool(self._parts)
            and self._parts[0].start == dataset.sealed
            and self.end == size
            and self._length == dataset.segment_entries
            and all(part.resolution == dataset.resolution for part in self._parts)
        )

    def restart(self, dataset: Dataset) -> None:
        """Begin where the full segments of a dataset end."""
        self._length = dataset.segment_entries
        self._parts = [Columns(dataset.sealed, dataset.resolution)]

    def clear(self) -> None:
        """Forget everything, such as before an erasure."""
        self._parts = []

    def add(self, entries: Iterable[CheckedEntry]) -> bool:
        """Append entries that follow; False when it has no beginning, or now too much."""
        if not self._parts:
            return False
        part = self._parts[-1]
        for entry in entries:
            if part.end - part.start == self._length:
                part = Columns(part.end, part.resolution)
                self._parts.append(part)
            if entry.entry.index != part.end:
                self.clear()
                return False
            part.add(entry)
        if sum(part.bytes for part in self._parts) > MAX_BYTES:
            self.clear()
            return False
        return True

    def copy(self) -> Tail:
        """The same, for another thread; what is full never changes, so it is shared."""
        made = Tail()
        made._length = self._length
        full = self._full()
        made._parts = [part if part in full else part.copy() for part in self._parts]
        return made

    def written(self, upto: int) -> None:
        """Forget the full segments that end at or before ``upto``: somebody else wrote them."""
        full = [part for part in self._full() if part.end <= upto]
        self._forget(full)

    def flush(self, dataset: Dataset) -> None:
        """Write everything; the last segment stays, to be written again when it is longer."""
        dataset.take(self._parts)
        self._drop_full()

    def seal(self, dataset: Dataset, upto: int) -> None:
        """Write the segments that are full and end at or before ``upto``."""
        full = [part for part in self._full() if part.end <= upto]
        if full:
            dataset.take(full)
            self._forget(full)

    def _forget(self, full: list[Columns]) -> None:
        self._parts = [part for part in self._parts if part not in full]
        if full and not self._parts:
            self._parts = [Columns(full[-1].end, full[-1].resolution)]

    def has_full(self) -> bool:
        """Whether a segment is full."""
        return bool(self._full())

    def _full(self) -> list[Columns]:
        return [part for part in self._parts if part.end - part.start == self._length]

    def _drop_full(self) -> None:
        last = self._parts[-1] if self._parts else None
        if last is None:
            return
        whole = last.end - last.start == self._length
        self._parts = [Columns(last.end, last.resolution)] if whole else [last]
