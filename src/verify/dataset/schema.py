"""The columns of the two tables, and how they are written.

Everything that decides a file's bytes is fixed here: the same rows give the same file with the
same release of pyarrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from depin_id.errors import DatasetError

FORMAT = "depin-dataset/1"
META_FORMAT = b"depin.format"
META_RESOLUTION = b"depin.cell_resolution"

MILLISECONDS = pa.timestamp("ms", tz="UTC")
_FLAGS = pa.list_(pa.field("element", pa.string(), nullable=False))


def _column(name: str, kind: Any, *, empty: bool = False) -> Any:
    return pa.field(name, kind, nullable=empty)


ENTRY_SCHEMA = pa.schema(
    [
        _column("index", pa.int64()),
        _column("leaf", pa.binary()),
        _column("salt", pa.binary(), empty=True),
        _column("envelope", pa.binary(), empty=True),
        _column("records", pa.binary(), empty=True),
        _column("kind", pa.int16()),
        _column("code", pa.string(), empty=True),
        _column("flags", _FLAGS, empty=True),
        _column("level", pa.string(), empty=True),
        _column("device", pa.string(), empty=True),
        _column("received_at", MILLISECONDS),
    ]
)
"""One row an entry of the log: the leaf, what opens it, and columns that the leaf decodes to."""

READING_SCHEMA = pa.schema(
    [
        _column("log_index", pa.int64()),
        _column("record", pa.int32()),
        _column("did", pa.string()),
        _column("subject", pa.string()),
        _column("epoch", pa.int64()),
        _column("n", pa.int64()),
        _column("name", pa.string()),
        _column("unit", pa.string()),
        _column("mantissa", pa.int64(), empty=True),
        _column("exponent", pa.int8(), empty=True),
        _column("value", pa.float64(), empty=True),
        _column("text", pa.string(), empty=True),
        _column("truth", pa.bool_(), empty=True),
        _column("data", pa.binary(), empty=True),
        _column("time_lo", MILLISECONDS, empty=True),
        _column("time_hi", MILLISECONDS),
        _column("received_at", MILLISECONDS),
        _column("lat", pa.float64(), empty=True),
        _column("lon", pa.float64(), empty=True),
        _column("h3_cell", pa.string(), empty=True),
        _column("level", pa.string()),
        _column("flags", _FLAGS),
        _column("policy", pa.string()),
        _column("rules", pa.int64()),
    ]
)
"""One row a record that counts. An exact number is ``mantissa * 10**exponent``; ``value`` is the
nearest double. Values that are no numbers are in ``text``, ``truth`` or ``data``. ``flags`` are
those of the envelope and of the record together."""

# Of the others every value differs, or is as large as an index into a dictionary.
_DICTIONARIES = {
    "entries": ["code", "flags.list.element", "level", "device"],
    "readings": [
        *("did", "subject", "name", "unit", "h3_cell", "level", "flags.list.element", "policy"),
    ],
}
_STATISTICS = {
    "entries": ["index", "received_at"],
    "readings": ["log_index", "did", "name", "time_lo", "time_hi", "received_at", "h3_cell"],
}
MAX_DICTIONARY = 1 << 16


def with_metadata(schema: Any, resolution: int) -> Any:
    """The schema with what a reader of the file has to know."""
    return schema.with_metadata({META_FORMAT: FORMAT, META_RESOLUTION: str(resolution)})


def check_resolution(resolution: int) -> int:
    """Give back an H3 resolution, or raise DatasetError ``dataset.argument``."""
    if type(resolution) is not int or not 0 <= resolution <= 15:
        raise DatasetError(
            "dataset.argument", f"{resolution!r} is not an H3 resolution", hint="choose 0 to 15"
        )
    return resolution


def writer_options(table: str) -> dict[str, Any]:
    """The options of ``pyarrow.parquet.ParquetWriter`` for a table."""
    return {
        "version": "2.6",
        "data_page_version": "1.0",
        "compression": "zstd",
        "compression_level": 3,
        "use_dictionary": _DICTIONARIES[table],
        "dictionary_pagesize_limit": MAX_DICTIONARY,
        "write_statistics": _STATISTICS[table],
        "write_page_checksum": True,
    }


def to_batch(schema: Any, rows: Sequence[tuple[Any, ...]]) -> Any:
    """Rows as a record batch of the schema."""
    columns = zip(*rows, strict=True) if rows else [() for _ in schema]
    arrays = [
        pa.array(column, type=field.type) for column, field in zip(columns, schema, strict=True)
    ]
    return pa.record_batch(arrays, schema=schema)
