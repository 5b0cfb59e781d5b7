"""Reading the tables of a segment that anyone may have written: bounded before it is read."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from depin_id.errors import DatasetError
from verify.dataset.pages import ChunkBounds, check_chunk
from verify.dataset.rows import OpenEntry
from verify.dataset.schema import (
    ENTRY_SCHEMA,
    FORMAT,
    META_FORMAT,
    META_RESOLUTION,
    READING_SCHEMA,
)
from verify.dataset.segment import ENTRIES, io_errors

MAX_FOOTER = 32 << 20
MAX_GROUP_BYTES = 64 << 20
"""Bound on the uncompressed bytes of a row group; a written one has a quarter of it."""
MAX_GROUP_ROWS = 1 << 16
MAX_GROUPS = 1 << 16
_MAX_LIST_VALUES = 1 << 22
_MAGIC = b"PAR1"
BATCH_ROWS = 4096


class TableFile:
    """One table of a segment, opened; see :func:`open_table`."""

    def __init__(self, path: Path, table: str, file: BinaryIO) -> None:
        self.path = path
        self.schema = ENTRY_SCHEMA if table == ENTRIES else READING_SCHEMA
        self._raw = file
        self._size = os.fstat(file.fileno()).st_size
        self._check_frame()
        file.seek(0)
        self._parquet = pq.ParquetFile(
            file,
            read_dictionary=_text_paths(self.schema),
            pre_buffer=False,
            thrift_string_size_limit=MAX_FOOTER,
            thrift_container_size_limit=1 << 22,
            page_checksum_verification=True,
        )
        self.rows: int = self._parquet.metadata.num_rows
        self.resolution = self._check_schema()
        self._check_groups()

    def batches(self) -> Iterator[Any]:
        """The rows, in record batches of at most ``BATCH_ROWS``, in the types of the schema.

        Raises:
            DatasetError: ``dataset.corrupt`` or ``dataset.io``.
        """
        seen = 0
        with io_errors(self.path):
            for group in range(self._parquet.metadata.num_row_groups):
                self._check_pages(group)
                for batch in self._parquet.iter_batches(
                    batch_size=BATCH_ROWS, row_groups=[group], use_threads=False
                ):
                    plain = self._plain(batch)
                    seen += plain.num_rows
                    yield plain
        if seen != self.rows:
            raise self.wrong(f"has {seen} rows, its footer says {self.rows}")

    def wrong(self, what: str) -> DatasetError:
        """The error for a file that is not what was written."""
        return DatasetError(
            "dataset.corrupt",
            f"{self.path.name} {what}",
            hint="get the file again, or rebuild the dataset from the journal",
        )

    def _check_frame(self) -> None:
        if self._size < 12:
            raise self.wrong("is too short for a Parquet file")
        head = self._raw.read(4)
        self._raw.seek(self._size - 8)
        tail = self._raw.read(8)
        footer = int.from_bytes(tail[:4], "little")
        if head != _MAGIC or tail[4:] != _MAGIC:
            raise self.wrong("does not begin and end like a Parquet file")
        if footer > min(MAX_FOOTER, self._size - 12):
            raise self.wrong("has a footer of an impossible length")

    def _check_schema(self) -> int:
        found = self._parquet.schema_arrow
        metadata = found.metadata or {}
        expected = pa.schema([_as_read(field) for field in self.schema])
        if not found.equals(expected) or metadata.get(META_FORMAT) != FORMAT.encode():
            raise self.wrong(f"does not have the columns of {FORMAT}")
        resolution = metadata.get(META_RESOLUTION, b"")
        if resolution not in [b"%d" % number for number in range(16)]:
            raise self.wrong("does not say the resolution of its cells")
        return int(resolution)

    def _check_groups(self) -> None:
        metadata = self._parquet.metadata
        if not 0 <= metadata.num_row_groups <= MAX_GROUPS:
            raise self.wrong("has too many row groups")
        total = 0
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            if not 0 < group.num_rows <= MAX_GROUP_ROWS:
                raise self.wrong(f"has a row group of {group.num_rows} rows")
            if not 0 <= group.total_byte_size <= MAX_GROUP_BYTES:
                raise self.wrong(f"has a row group of {group.total_byte_size} bytes")
            total += group.num_rows
        if total != self.rows:
            raise self.wrong(f"has {total} rows in its groups, {self.rows} in its footer")

    def _check_pages(self, number: int) -> None:
        group = self._parquet.metadata.row_group(number)
        sum_of_sizes = 0
        for index in range(group.num_columns):
            chunk = group.column(index)
            start = chunk.data_page_offset
            # 0 is no offset: a file begins with its magic.
            if chunk.dictionary_page_offset:
                start = min(start, chunk.dictionary_page_offset)
            size, full = chunk.total_compressed_size, chunk.total_uncompressed_size
            if start < 4 or size < 0 or start + size > self._size - 8:
                raise self.wrong(f"has a column {chunk.path_in_schema} outside of the file")
            sum_of_sizes += full
            if not 0 <= full <= MAX_GROUP_BYTES or sum_of_sizes > MAX_GROUP_BYTES:
                raise self.wrong(f"has too much in its column {chunk.path_in_schema}")
            listed = chunk.path_in_schema.startswith("flags.")
            bounds = ChunkBounds(
                uncompressed=full,
                values=_MAX_LIST_VALUES if listed else group.num_rows,
                exact=not listed,
                dictionary=True,
            )
            check_chunk(self._raw, start, size, bounds, chunk.path_in_schema)

    def _plain(self, batch: Any) -> Any:
        """The batch with its dictionaries resolved, once it is known how large that becomes."""
        columns = []
        total = 0
        for column, field in zip(batch.columns, self.schema, strict=True):
            inner = column.values if pa.types.is_list(field.type) else column
            if pa.types.is_dictionary(inner.type):
                lengths = pc.take(pc.binary_length(inner.dictionary), inner.indices)
                total += pc.sum(lengths).as_py() or 0
                if total > MAX_GROUP_BYTES:
                    raise self.wrong("has dictionaries that stand for too much")
            columns.append(column.cast(field.type))
        plain = pa.record_batch(columns, schema=self.schema)
        plain.validate(full=True)
        return plain


def _text_paths(schema: Any) -> list[str]:
    """Columns of text and bytes: read as dictionaries, so that repeats take no memory."""
    paths = []
    for field in schema:
        if pa.types.is_list(field.type):
            paths.append(f"{field.name}.list.element")
        elif field.type in (pa.string(), pa.binary()):
            paths.append(field.name)
    return paths


def _as_read(field: Any) -> Any:
    """A field as pyarrow gives it when texts are read as dictionaries."""
    if pa.types.is_list(field.type):
        return field.with_type(pa.list_(_as_read(field.type.value_field)))
    if field.type in (pa.string(), pa.binary()):
        return field.with_type(pa.dictionary(pa.int32(), field.type))
    return field


@contextmanager
def open_table(path: Path, table: str) -> Iterator[TableFile]:
    """Open a table of a segment for reading, and check everything that its footer claims.

    Args:
        path: the file.
        table: ``entries`` or ``readings``.

    Raises:
        DatasetError: ``dataset.corrupt`` when it is no such table, ``dataset.io``.
    """
    with io_errors(path):
        # An archive may hold pipes and devices, which would block the reader.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise DatasetError("dataset.corrupt", f"{path.name} is not a regular file")
    with os.fdopen(handle, "rb") as file:
        with io_errors(path):
            opened = TableFile(path, table, file)
        yield opened


def entries_of(table: TableFile) -> Iterator[tuple[Any, list[OpenEntry]]]:
    """Batches of an entry table, each with its entries.

    Raises:
        DatasetError: as :meth:`TableFile.batches`.
    """
    for batch in table.batches():
        columns = [batch.column(number).to_pylist() for number in range(5)]
        yield batch, [OpenEntry(*cells) for cells in zip(*columns, strict=True)]
