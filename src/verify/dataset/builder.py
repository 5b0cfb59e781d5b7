"""The dataset as the aggregator keeps it: segments at fixed boundaries, rebuilt or erased at will.

Nothing here is the truth: everything follows from the journal, and is the same bytes again when it
is made again.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from depin_id.durable import make_directory, sync_directory
from depin_id.errors import DatasetError
from verify.dataset.columns import Columns
from verify.dataset.reader import entries_of, open_table
from verify.dataset.rows import OpenEntry
from verify.dataset.schema import check_resolution
from verify.dataset.segment import (
    ENTRIES,
    READINGS,
    TEMPORARY,
    Segment,
    io_errors,
    stored_files,
    write_columns,
    write_segment,
)

SEGMENT_ENTRIES = 65_536
CELL_RESOLUTION = 9
FOLDER = "segments"


class Dataset:
    """The segments of a dataset folder. For one writer.

    Args:
        directory: the published folder; the segments go into ``segments/`` in it.
        segment_entries: log entries a segment; fixed for the life of a dataset.
        cell_resolution: of the H3 cells of the readings, 0 to 15.

    Raises:
        DatasetError: ``dataset.argument``, ``dataset.name`` or ``dataset.io``.
        StateError: ``state.io`` or ``state.full``, here and by every call that writes.
    """

    def __init__(
        self,
        directory: Path,
        *,
        segment_entries: int = SEGMENT_ENTRIES,
        cell_resolution: int = CELL_RESOLUTION,
    ) -> None:
        if type(segment_entries) is not int or not 1 <= segment_entries <= 1 << 24:
            raise DatasetError("dataset.argument", "a segment has 1 to 16,777,216 entries")
        self.folder = Path(directory) / FOLDER
        self.segment_entries = segment_entries
        self.resolution = check_resolution(cell_resolution)
        make_directory(self.folder)
        with io_errors(self.folder):
            self.folder.chmod(0o755)
        self._keep_only(self._stored())

    def keep_resolution(self) -> None:
        """Go on with the cells that full segments have: only a rebuild gives all of them others."""
        full = [segment for segment in self._stored() if self._is_full(segment)]
        for segment in full[:1]:
            # What cannot be read is for the check to say; it must not stop what comes after.
            with (
                suppress(DatasetError),
                open_table(self.folder / segment.name(ENTRIES), ENTRIES) as table,
            ):
                self.resolution = table.resolution

    @property
    def sealed(self) -> int:
        """End of the full segments: entries from here on are needed by the next call."""
        return max((s.end for s in self.segments() if self._is_full(s)), default=0)

    @property
    def size(self) -> int:
        """End of all segments, with a partial last one."""
        return max((segment.end for segment in self.segments()), default=0)

    def segments(self) -> list[Segment]:
        """The whole segments that are stored (both tables), in order.

        Raises:
            DatasetError: ``dataset.layout`` when they do not follow each other from 0 on.
        """
        found = self._stored()
        expected = 0
        for segment in found:
            if segment.start != expected or segment.end > expected + self.segment_entries:
                raise DatasetError(
                    "dataset.layout",
                    f"a segment [{segment.start}, {segment.end}) stands at {expected}",
                    hint="use the segment size it was built with, or rebuild the dataset",
                )
            expected += self.segment_entries
        return found

    def seal(self, entries: Iterable[OpenEntry], upto: int) -> int:
        """Write every full segment that ends at or before ``upto``.

        Args:
            entries: in the order of the log, the first at :attr:`sealed` or before; more than
                needed does no harm.
            upto: entries in the log that are durable.

        Returns:
            :attr:`sealed`, as it is now.

        Raises:
            DatasetError: as :func:`verify.dataset.segment.write_segment`.
        """
        end = upto - upto % self.segment_entries
        if end > self.sealed:
            self._write(entries, end)
        return self.sealed

    def flush(self, entries: Iterable[OpenEntry], upto: int) -> int:
        """As :meth:`seal`, and the rest as a partial segment, which a longer one replaces later.

        Returns:
            :attr:`size`, as it is now.
        """
        if upto > self.size:
            self._write(entries, upto)
        return self.size

    def take(self, parts: Iterable[Columns]) -> int:
        """As :meth:`flush`, from columns that are there already.

        Args:
            parts: each what a segment has so far, in order; the first begins at :attr:`sealed`.

        Raises:
            DatasetError: as :meth:`seal`.
        """
        for columns in parts:
            write_columns(self.folder, columns)
        self._keep_only(self._stored())
        return self.size

    def rebuild(self, entries: Iterable[OpenEntry], upto: int | None = None) -> int:
        """Write everything again, over whatever is there.

        Args:
            entries: all entries of the log from 0 on.
            upto: how many; by default all there are.

        Returns:
            :attr:`size`, as it is now.

        Raises:
            DatasetError: as :meth:`seal`.
        """
        source = iter(entries)
        written: list[Segment] = []
        done = 0
        while upto is None or done < upto:
            end = done + self.segment_entries
            wanted = Segment(done, end if upto is None else min(end, upto))
            segment = write_segment(
                self.folder, wanted, source, self.resolution, replace=True, shorter=upto is None
            )
            if segment is None:
                break
            written.append(segment)
            done = segment.end
            if done < wanted.end:
                break
        self._keep_only(written)
        return done

    def rewrite_without(self, indexes: Collection[int]) -> int:
        """Erase: close these entries and take their readings away. It can be repeated.

        Args:
            indexes: of log entries; those beyond :attr:`size` are not in the dataset.

        Returns:
            The number of segments that were written again.

        Raises:
            DatasetError: ``dataset.corrupt`` when a stored segment cannot be read; as :meth:`seal`.
        """
        erased = frozenset(indexes)
        starts = {index - index % self.segment_entries for index in erased}
        count = 0
        for segment in self.segments():
            if segment.start in starts:
                kept = self._without(segment, erased)
                write_segment(self.folder, segment, kept, self.resolution, replace=True)
                count += 1
        return count

    def _without(self, segment: Segment, erased: frozenset[int]) -> Iterator[OpenEntry]:
        with open_table(self.folder / segment.name(ENTRIES), ENTRIES) as table:
            for _, entries in entries_of(table):
                for entry in entries:
                    yield entry.closed() if entry.index in erased else entry

    def _write(self, entries: Iterable[OpenEntry], end: int) -> None:
        start = self.sealed
        source = (entry for entry in entries if entry.index >= start)
        while start < end:
            segment = Segment(start, min(start + self.segment_entries, end))
            write_segment(self.folder, segment, source, self.resolution)
            start = segment.end
        self._keep_only(self._stored())

    def _is_full(self, segment: Segment) -> bool:
        return segment.end - segment.start == self.segment_entries

    def _stored(self) -> list[Segment]:
        """Segments with both tables; of those with the same start the longest."""
        files = stored_files(self.folder)
        longest = {s.start: s for s in sorted(files[ENTRIES] & files[READINGS])}
        return list(longest.values())

    def _keep_only(self, segments: Iterable[Segment]) -> None:
        """Remove every other segment, and what a crash left behind."""
        keep = frozenset(segments)
        files = stored_files(self.folder)
        # An entry table goes before its readings: without it the segment does not count.
        names = [
            segment.name(table)
            for table in (ENTRIES, READINGS)
            for segment in sorted(files[table] - keep)
        ]
        with io_errors(self.folder):
            left = [name for name in os.listdir(self.folder) if name.startswith(TEMPORARY)]
        self._remove([*names, *left])

    def _remove(self, names: Collection[str]) -> None:
        with io_errors(self.folder):
            for name in names:
                (self.folder / name).unlink(missing_ok=True)
        if names:
            sync_directory(self.folder)
