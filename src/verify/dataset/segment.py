"""A segment: the two Parquet files of the log entries [a, b), written whole or not at all."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from depin_id.durable import sync_directory
from depin_id.errors import DatasetError
from verify.dataset.columns import Columns, Group
from verify.dataset.rows import OpenEntry, check_entry
from verify.dataset.schema import (
    ENTRY_SCHEMA,
    READING_SCHEMA,
    with_metadata,
    writer_options,
)

ENTRIES = "entries"
READINGS = "readings"
TEMPORARY = ".tmp-"
DRAIN_BYTES = 32 << 20
"""While a segment is made from its entries, so much of it is held before row groups are written."""

_NAME = re.compile(r"(entries|readings)-(0|[1-9]\d{0,17})-([1-9]\d{0,17})\.parquet", re.ASCII)


@dataclass(frozen=True, order=True)
class Segment:
    """Log entries [start, end)."""

    start: int
    end: int

    def name(self, table: str) -> str:
        """File name of one of its tables."""
        return f"{table}-{self.start}-{self.end}.parquet"


def stored_files(folder: Path) -> dict[str, set[Segment]]:
    """Which segments have an entry table and which a reading table in a folder.

    Raises:
        DatasetError: ``dataset.name`` for a Parquet file that is not named like a segment (whoever
            reads the folder would read it, too); ``dataset.io``.
    """
    found: dict[str, set[Segment]] = {ENTRIES: set(), READINGS: set()}
    with io_errors(folder):
        names = sorted(os.listdir(folder)) if folder.is_dir() else []
    for name in names:
        match = _NAME.fullmatch(name)
        if match is not None and int(match[2]) < int(match[3]):
            found[match[1]].add(Segment(int(match[2]), int(match[3])))
        elif name.lower().endswith((".parquet", ".parq")):
            raise DatasetError(
                "dataset.name",
                f"{name[:100]!r} is not the name of a segment",
                hint="remove it: it would be read as a part of the dataset",
            )
    return found


@contextmanager
def io_errors(path: Path) -> Iterator[None]:
    """Turns errors of the system and of pyarrow inside into DatasetErrors that name ``path``."""
    try:
        yield
    except OSError as error:
        # pyarrow reports damaged data as OSError without a number.
        if error.errno is None:
            raise DatasetError("dataset.corrupt", f"{path}: {_first_line(error)}") from error
        raise DatasetError(
            "dataset.io",
            f"{path}: {error.strerror or error}",
            hint="check the disk and its permissions",
        ) from error
    except (pa.ArrowException, ValueError, LookupError, OverflowError, TypeError) as error:
        raise DatasetError("dataset.corrupt", f"{path}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


class TableWriter:
    """Row groups of one table into a file."""

    def __init__(self, path: Path, table: str, schema: Any) -> None:
        self._file = open(path, "xb")
        try:
            self._writer = pq.ParquetWriter(self._file, schema, **writer_options(table))
        except BaseException:
            self._file.close()
            raise

    def write(self, groups: Iterable[Group]) -> int:
        """Append row groups; gives the number of their rows."""
        written = 0
        for rows, batch in groups:
            self._writer.write_batch(batch, row_group_size=rows)
            written += rows
        return written

    def finish(self) -> None:
        """Make the file's content durable."""
        self._writer.close()
        self._file.flush()
        os.fchmod(self._file.fileno(), 0o644)
        os.fsync(self._file.fileno())
        self._file.close()

    def abandon(self) -> None:
        """Close the file without caring for its content."""
        with suppress(Exception):
            self._writer.close()
        with suppress(OSError):
            self._file.close()


def write_segment(
    folder: Path,
    segment: Segment,
    entries: Iterable[OpenEntry],
    resolution: int,
    *,
    replace: bool = False,
    shorter: bool = False,
) -> Segment | None:
    """Write both tables of a segment durably, with the memory of some row groups.

    Args:
        folder: where; it exists.
        segment: which entries; exactly these are taken from ``entries``.
        entries: in the order of the log, the first at ``segment.start``.
        resolution: of the H3 cells.
        replace: write over files with other content.
        shorter: the segment ends where the entries end, if that is before its own end.

    Returns:
        The segment that was written; None when there were no entries for a shorter one.

    Raises:
        DatasetError: ``dataset.gap`` when the entries do not follow each other; ``dataset.differs``
            when a file is there with other content; ``dataset.io``; or as ``check_entry``.
    """
    columns = Columns(segment.start, resolution)

    def fill(writers: dict[str, TableWriter]) -> None:
        for entry in entries:
            columns.add(check_entry(entry))
            if columns.bytes > DRAIN_BYTES:
                _drain(columns, writers)
            if columns.end == segment.end:
                break
        if columns.end < segment.end and not shorter:
            raise DatasetError(
                "dataset.gap", f"the entries end at {columns.end}, the segment at {segment.end}"
            )

    return _write(folder, columns, fill, replace)


def write_columns(folder: Path, columns: Columns) -> Segment | None:
    """Write columns as a segment, durably; they can grow and be written again as a longer one.

    Raises:
        DatasetError: as :func:`write_segment`.
    """
    return _write(folder, columns, lambda writers: None, False)


def _write(
    folder: Path,
    columns: Columns,
    fill: Callable[[dict[str, TableWriter]], None],
    replace: bool,
) -> Segment | None:
    """Both tables, durable and then named.

    The reading table gets its name first: after a crash between the two, what was erased is gone
    from the readings, and an entry table never stands without its readings.
    """
    temporary = {
        table: folder / f"{TEMPORARY}{table}-{columns.start}.{os.getpid()}"
        for table in (READINGS, ENTRIES)
    }
    try:
        with io_errors(folder):
            _remove(*temporary.values())
            _write_tables(temporary, columns, fill)
            if columns.end == columns.start:
                return None
            written = Segment(columns.start, columns.end)
            _publish(folder, {temporary[t]: folder / written.name(t) for t in temporary}, replace)
    finally:
        with suppress(OSError):
            _remove(*temporary.values())
    return written


def _write_tables(
    paths: dict[str, Path],
    columns: Columns,
    fill: Callable[[dict[str, TableWriter]], None],
) -> None:
    schemas = {ENTRIES: ENTRY_SCHEMA, READINGS: READING_SCHEMA}
    writers: dict[str, TableWriter] = {}
    try:
        for table, path in paths.items():
            schema = with_metadata(schemas[table], columns.resolution)
            writers[table] = TableWriter(path, table, schema)
        fill(writers)
        writers[ENTRIES].write(columns.entries.groups(final=True))
        writers[READINGS].write(columns.readings.groups(final=True))
        for writer in writers.values():
            writer.finish()
    except BaseException:
        for writer in writers.values():
            writer.abandon()
        raise


def _drain(columns: Columns, writers: dict[str, TableWriter]) -> None:
    """Write the row groups that are whole, and forget them."""
    columns.entries.drop(writers[ENTRIES].write(columns.entries.groups(final=False)))
    columns.readings.drop(writers[READINGS].write(columns.readings.groups(final=False)))


def _publish(folder: Path, names: dict[Path, Path], replace: bool) -> None:
    """Give files their names, in this order; those that are there already are left alone."""
    changed = {source: name for source, name in names.items() if not _same_content(source, name)}
    if not replace:
        _refuse_existing(changed.values())
    for source, name in changed.items():
        os.replace(source, name)
        sync_directory(folder)


def _same_content(first: Path, second: Path) -> bool:
    """Whether the second file is there and equal to the first."""
    if not second.is_file() or first.stat().st_size != second.stat().st_size:
        return False
    with open(first, "rb") as left, open(second, "rb") as right:
        while chunk := left.read(1 << 20):
            if chunk != right.read(1 << 20):
                return False
    return True


def _refuse_existing(paths: Iterable[Path]) -> None:
    for path in paths:
        if path.exists():
            raise DatasetError(
                "dataset.differs",
                f"{path.name} is there with other content",
                hint="rebuild the dataset from the journal when its release or pyarrow changed",
            )


def _remove(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
