"""The reading table as one file, for other people's tools: Parquet, CSV or JSON lines.

What later entries of the log say counts no more is left out unless it is asked for.

Every format has a column ``exact`` besides the double ``value``: the number as decimal text, none
of it rounded. CSV is opened in spreadsheets, which run a cell that begins with ``=``, ``+``, ``-``
or ``@``: such a text gets an apostrophe in front. Numbers are written as numbers.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from depin_id.claims import is_uint
from depin_id.durable import sync_directory
from depin_id.errors import DatasetError, DepinError
from depin_id.senml import Decimal64
from verify.dataset.builder import FOLDER
from verify.dataset.check import Progress, segments_of
from verify.dataset.reader import open_table
from verify.dataset.schema import READING_SCHEMA, writer_options
from verify.dataset.segment import ENTRIES, READINGS, TEMPORARY, io_errors
from verify.identity.entries import RESCORED
from verify.leaf import AdminLeaf, parse_leaf

FORMATS = ("parquet", "csv", "jsonl")
STDOUT = "-"
EXACT = "exact"
_AFTER = READING_SCHEMA.get_field_index("value") + 1
EXPORT_SCHEMA = READING_SCHEMA.insert(_AFTER, pa.field(EXACT, pa.string()))
_TIMES = [field.name for field in EXPORT_SCHEMA if pa.types.is_timestamp(field.type)]
_TEXTS = ("did", "subject", "name", "unit", "text", "h3_cell", "level", "policy")
_DANGEROUS = ("=", "+", "-", "@", "\t", "\r", "\n")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def export(
    path: Path,
    fmt: str,
    out: Path | str,
    *,
    rescored: bool = False,
    progress: Progress | None = None,
) -> int:
    """Write the reading table of a dataset as one file.

    It is not checked against the log: :func:`verify_dataset` does that.

    Args:
        path: folder of the dataset, with ``segments/``.
        fmt: ``parquet``, ``csv`` (RFC 4180, with a header line) or ``jsonl``. In CSV the flags are
            separated by spaces; times are RFC 3339 in UTC; bytes are base64.
        out: the file, which is whole or absent afterwards, or ``-`` for standard output (not with
            Parquet).
        rescored: also what later entries say counts no more.
        progress: called with (done, in all) in log entries.

    Returns:
        The number of rows.

    Raises:
        DatasetError: ``dataset.format``, ``dataset.io``, or as reading a segment raises.
    """
    if fmt not in FORMATS:
        raise DatasetError(
            "dataset.format", f"{fmt!r} is not a format", hint=f"choose {', '.join(FORMATS)}"
        )
    if str(out) == STDOUT and fmt == "parquet":
        raise DatasetError(
            "dataset.format", "Parquet cannot go to standard output", hint="name a file"
        )
    folder = Path(path) / FOLDER
    batches = _batches(folder, [] if rescored else rescored_runs(folder), progress)
    with _target(out) as file:
        return _WRITERS[fmt](batches, file)


def rescored_runs(folder: Path) -> list[tuple[int, int]]:
    """Entries that later entries say count no more, as (first index, how many).

    Raises:
        DatasetError: ``dataset.leaf``, or as reading a segment raises.
    """
    runs: list[tuple[int, int]] = []
    for segment in segments_of(folder):
        with open_table(folder / segment.name(ENTRIES), ENTRIES) as table:
            for batch in table.batches():
                kinds = batch.column("kind").to_pylist()
                leaves = batch.column("leaf")
                for row in (row for row, kind in enumerate(kinds) if kind == RESCORED):
                    runs += runs_in(leaves[row].as_py())
    return runs


def runs_in(data: bytes) -> list[tuple[int, int]]:
    """The runs that a leaf of re-scoring names; nobody has checked it against the log here."""
    try:
        leaf = parse_leaf(data)
        body = leaf.body if isinstance(leaf, AdminLeaf) and leaf.kind == RESCORED else None
        runs = [(first, count) for first, count in body[2]] if isinstance(body, list) else None
    except (DepinError, TypeError, ValueError, LookupError):
        runs = None
    if runs is None or not all(is_uint(number) for run in runs for number in run):
        raise DatasetError("dataset.leaf", "a leaf of re-scoring does not name entries")
    return runs


def counting(batch: Any, runs: list[tuple[int, int]]) -> Any:
    """The rows of a batch that are in none of the runs."""
    if not runs:
        return batch
    index = batch.column("log_index").to_numpy()
    firsts, counts = np.array(sorted(runs), dtype=np.int64).T
    # Runs of an unchecked dataset may overlap: what counts is how far any before reaches.
    ends = np.maximum.accumulate(firsts + counts)
    place = np.searchsorted(firsts, index, side="right") - 1
    gone = (place >= 0) & (index < ends[np.maximum(place, 0)])
    return batch.filter(pa.array(~gone))


def _batches(folder: Path, runs: list[tuple[int, int]], progress: Progress | None) -> Iterator[Any]:
    segments = segments_of(folder)
    for segment in segments:
        with open_table(folder / segment.name(READINGS), READINGS) as table:
            for batch in table.batches():
                yield _with_exact(counting(batch, runs))
        if progress is not None:
            progress(segment.end, segments[-1].end)


def _with_exact(batch: Any) -> Any:
    pairs = zip(
        batch.column("mantissa").to_pylist(), batch.column("exponent").to_pylist(), strict=True
    )
    exact = pa.array([_decimal(mantissa, exponent) for mantissa, exponent in pairs], pa.string())
    columns = [*batch.columns[:_AFTER], exact, *batch.columns[_AFTER:]]
    return pa.record_batch(columns, schema=EXPORT_SCHEMA)


def _decimal(mantissa: int | None, exponent: int | None) -> str | None:
    if mantissa is None or exponent is None:
        return None
    try:
        return str(Decimal64(mantissa, exponent))
    except DepinError as error:
        raise DatasetError(
            "dataset.corrupt", f"{mantissa}e{exponent} is not a number of a reading"
        ) from error


@contextmanager
def _target(out: Path | str) -> Iterator[BinaryIO]:
    """Where to write: standard output, or a file that gets its name when it is whole."""
    if str(out) == STDOUT:
        with io_errors(Path("standard output")):
            try:
                yield sys.stdout.buffer
                sys.stdout.buffer.flush()
            except BrokenPipeError:
                closed = True
            else:
                closed = False
        # Whoever read (`| head`) has enough: the command line ends quietly, as others do.
        if closed:
            raise BrokenPipeError
        return
    path = Path(out)
    temporary = path.with_name(f"{TEMPORARY}{path.name}.{os.getpid()}")
    try:
        with io_errors(path):
            with open(temporary, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        sync_directory(path.parent)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _write_parquet(batches: Iterator[Any], file: BinaryIO) -> int:
    count = 0
    with pq.ParquetWriter(file, EXPORT_SCHEMA, **writer_options(READINGS)) as writer:
        for batch in batches:
            writer.write_batch(batch)
            count += batch.num_rows
    return count


def _write_csv(batches: Iterator[Any], file: BinaryIO) -> int:
    count = 0
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(EXPORT_SCHEMA.names)
    for batch in batches:
        writer.writerows(_csv_row(row) for row in _rows(batch))
        count += batch.num_rows
        file.write(text.getvalue().encode())
        text.seek(0)
        text.truncate()
    file.write(text.getvalue().encode())
    return count


def _csv_row(row: dict[str, Any]) -> list[Any]:
    row["flags"] = " ".join(row["flags"])
    for name in (*_TEXTS, "flags"):
        if row[name] is not None and row[name].startswith(_DANGEROUS):
            row[name] = "'" + row[name]
    if row["truth"] is not None:
        row["truth"] = "true" if row["truth"] else "false"
    return ["" if cell is None else cell for cell in row.values()]


def _write_jsonl(batches: Iterator[Any], file: BinaryIO) -> int:
    count = 0
    for batch in batches:
        lines = [
            json.dumps(row, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
            for row in _rows(batch)
        ]
        file.write("".join(f"{line}\n" for line in lines).encode())
        count += len(lines)
    return count


def _rows(batch: Any) -> Iterator[dict[str, Any]]:
    """The rows of a batch with times and bytes as text."""
    columns: dict[str, list[Any]] = {}
    for name in EXPORT_SCHEMA.names:
        column = batch.column(name)
        if name in _TIMES:
            columns[name] = [_time(number) for number in column.cast(pa.int64()).to_pylist()]
        else:
            columns[name] = column.to_pylist()
    columns["data"] = [
        None if item is None else base64.b64encode(item).decode() for item in columns["data"]
    ]
    for cells in zip(*columns.values(), strict=True):
        yield dict(zip(columns, cells, strict=True))


def _time(milliseconds: int | None) -> str | None:
    if milliseconds is None:
        return None
    try:
        moment = _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError as error:
        raise DatasetError(
            "dataset.time",
            f"{milliseconds} ms since 1970 has no year of four digits",
            hint="export to Parquet, which keeps it as a number",
        ) from error
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


_WRITERS: dict[str, Callable[[Iterator[Any], BinaryIO], int]] = {
    "parquet": _write_parquet,
    "csv": _write_csv,
    "jsonl": _write_jsonl,
}
