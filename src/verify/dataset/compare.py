"""Comparing a stored table with the rows that should be in it, without holding either."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

from depin_id.errors import DatasetError
from verify.dataset.columns import GROUP_BYTES
from verify.dataset.reader import TableFile
from verify.dataset.rows import reading_bytes, same_cell
from verify.dataset.schema import READING_SCHEMA, to_batch

_CELL = "h3_cell"
_CODE = "dataset.readings"


def compare_table(table: TableFile, expected: Iterator[tuple[Any, ...]]) -> int:
    """Compare a reading table, row for row and cell for cell, with rows.

    Args:
        table: the stored table.
        expected: the rows it should have, in the order of ``READING_SCHEMA``.

    Returns:
        The number of rows.

    Raises:
        DatasetError: ``dataset.readings`` names the first difference; or what reading raises.
    """
    count = 0
    for batch in table.batches():
        start = 0
        while start < batch.num_rows:
            rows = _take(expected, batch.num_rows - start)
            found = batch.slice(start, max(len(rows), 1))
            if not rows:
                raise DatasetError(
                    _CODE,
                    f"row {count} of {table.path.name} stands for no record: "
                    f"log index {found.column(0)[0].as_py()}",
                    hint="the reading table was changed: rebuild it from the entry table",
                )
            _compare(table, found, to_batch(READING_SCHEMA, rows), count)
            start += len(rows)
            count += len(rows)
    missing = next(expected, None)
    if missing is not None:
        raise DatasetError(
            _CODE,
            f"{table.path.name} lacks record {missing[1]} of log index {missing[0]}",
            hint="the reading table was changed: rebuild it from the entry table",
        )
    return count


def _take(rows: Iterator[tuple[Any, ...]], count: int) -> list[tuple[Any, ...]]:
    """Up to ``count`` rows, fewer when they are large."""
    taken: list[tuple[Any, ...]] = []
    size = 0
    while len(taken) < count and size < GROUP_BYTES:
        row = next(rows, None)
        if row is None:
            break
        taken.append(row)
        size += reading_bytes(row)
    return taken


def _compare(table: TableFile, found: Any, wanted: Any, offset: int) -> None:
    def may_differ(name: str, row: int) -> bool:
        if name != _CELL:
            return False
        lat, lon = (wanted.column(place)[row].as_py() for place in ("lat", "lon"))
        stored = found.column(_CELL)[row].as_py()
        return lat is not None and same_cell(stored, lat, lon, table.resolution)

    difference = first_difference(found, wanted, may_differ)
    if difference is None:
        return
    row, name = difference
    index, record = (wanted.column(number)[row].as_py() for number in (0, 1))
    raise DatasetError(
        _CODE,
        f"column {name} in row {offset + row} of {table.path.name} is not what record "
        f"{record} of log index {index} says",
        hint="the reading table was changed: rebuild it from the entry table",
    )


def first_difference(
    found: Any, wanted: Any, may_differ: Callable[[str, int], bool] = lambda name, row: False
) -> tuple[int, str] | None:
    """Row and column of the first cell in which two record batches differ.

    Args:
        found, wanted: batches of one schema and length.
        may_differ: asked for a cell that differs whether that is no difference.
    """
    first: tuple[int, str] | None = None
    for name in wanted.schema.names:
        left, right = _bits(found.column(name)), _bits(wanted.column(name))
        if left.equals(right):
            continue
        for row in range(len(right) if first is None else first[0]):
            if not left.slice(row, 1).equals(right.slice(row, 1)) and not may_differ(name, row):
                first = row, name
                break
    return first


def _bits(column: Any) -> Any:
    """Doubles as their bits: 0.0 is not -0.0."""
    return column.view(pa.int64()) if pa.types.is_float64(column.type) else column
