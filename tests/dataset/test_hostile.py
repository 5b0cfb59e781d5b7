"""Parquet files that were cut, scribbled over or made to burst a reader."""

from __future__ import annotations

import io
import random
import resource
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from depin_id.errors import DatasetError
from tests.dataset.support import KEY, publish, refuses
from verify.dataset import Dataset, verify_dataset
from verify.dataset.pages import ChunkBounds, check_chunk
from verify.dataset.reader import open_table
from verify.dataset.schema import READING_SCHEMA, to_batch, with_metadata, writer_options
from verify.dataset.segment import READINGS


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dataset")
    publish(folder, 12, segment=12)
    return folder


@pytest.fixture
def public(published: Path, tmp_path: Path) -> Path:
    shutil.copytree(published, tmp_path / "public")
    return tmp_path / "public"


@pytest.mark.parametrize("table", ["entries", "readings"])
def test_cut_off_and_scribbled_over(public: Path, table: str) -> None:
    """Whatever is done to the bytes, the answer is one of ours, or the content is unchanged."""
    path = public / f"segments/{table}-0-12.parquet"
    whole = path.read_bytes()
    wanted = pq.ParquetFile(path).read()
    noise = random.Random(7)
    footer = int.from_bytes(whole[-8:-4], "little") + 8
    damaged = [whole[:cut] for cut in (0, 3, 4, 11, 12, 100, len(whole) // 2, len(whole) - 1)]
    damaged += [whole + b"x", whole[4:], bytes(len(whole)), b"PAR1" + bytes(20) + b"PAR1"]
    for length in (0, 1, footer - 9, footer, len(whole), 2**31 - 1, 2**32 - 1):
        damaged.append(whole[:-8] + length.to_bytes(4, "little") + b"PAR1")
    for number in range(240):
        start = len(whole) - footer if number % 3 else 4
        scribbled = bytearray(whole)
        for _ in range(1 + number % 4):
            scribbled[noise.randrange(start, len(whole))] = noise.randrange(256)
        damaged.append(bytes(scribbled))
    found = 0
    for data in damaged:
        path.write_bytes(data)
        try:
            verify_dataset(public, keys=[KEY])
        except DatasetError as error:
            found += 1
            assert error.code.startswith("dataset.")
        else:
            # Statistics, names of encodings and the like may change without changing a row.
            assert pq.ParquetFile(io.BytesIO(data)).read().equals(wanted)
    assert found > len(damaged) * 0.6
    path.write_bytes(damaged[6])
    if table == "entries":
        refuses("dataset.corrupt", lambda: Dataset(public, segment_entries=12).rewrite_without([1]))


def readings(path: Path, rows: list[tuple[Any, ...]], schema: Any = None, **options: Any) -> None:
    batch = to_batch(READING_SCHEMA, rows)
    settings = {**writer_options(READINGS), **options}
    schema = with_metadata(READING_SCHEMA, 9) if schema is None else schema
    with pq.ParquetWriter(path, schema, **settings) as writer:
        writer.write_table(pa.Table.from_batches([batch]).cast(schema))


def row(**cells: Any) -> tuple[Any, ...]:
    plain: dict[str, Any] = {
        **dict.fromkeys(READING_SCHEMA.names),
        **{field.name: "" for field in READING_SCHEMA if field.type == pa.string()},
        **dict.fromkeys(("log_index", "record", "epoch", "n", "rules"), 0),
        **dict.fromkeys(("time_hi", "received_at"), 0),
        "flags": [],
    }
    return tuple({**plain, **cells}.values())


def drain(path: Path) -> None:
    with open_table(path, READINGS) as table:
        for _ in table.batches():
            pass


def test_small_files_that_stand_for_much(tmp_path: Path) -> None:
    path = tmp_path / "readings.parquet"
    readings(path, [row()] * 9)
    drain(path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    large: dict[str, Any] = {"dictionary_pagesize_limit": 1 << 28}
    shared: dict[str, Any] = {
        "use_dictionary": False,
        "column_encoding": {"text": "DELTA_BYTE_ARRAY"},
    }
    bombs: list[tuple[str, list[tuple[Any, ...]], dict[str, Any]]] = [
        # One long text in a dictionary, named by every row.
        ("dictionaries", [row(name="x" * 1_000_000)] * 200, large),
        # Texts that share their beginnings.
        ("encoding", [row(text="y" * 200_000)] * 99, shared),
        ("dictionaries", [row(flags=["z" * 100_000] * 50)] * 20, large),
        # Pages of another kind.
        ("a kind", [row()] * 9, {"data_page_version": "2.0"}),
        ("70000 rows", [row()] * 70_000, {}),
    ]
    for reason, rows, options in bombs:
        readings(path, rows, **options)
        assert path.stat().st_size < 2_000_000
        error = refuses("dataset.corrupt", lambda: drain(path))
        assert reason in error.message
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 1_500_000  # kB


def test_other_columns_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "readings.parquet"
    good = with_metadata(READING_SCHEMA, 9)
    rows = [row()] * 3
    number = good.get_field_index("mantissa")
    for schema in (
        READING_SCHEMA,
        good.with_metadata({**good.metadata, b"depin.format": b"depin-dataset/2"}),
        good.with_metadata({**good.metadata, b"depin.cell_resolution": b"16"}),
        good.with_metadata({**good.metadata, b"depin.cell_resolution": b"09"}),
        good.set(number, pa.field("mantissa", pa.int32())),
        good.set(number, pa.field("mantissa", pa.float64())),
        good.set(0, pa.field("log_index", pa.int64(), nullable=True)),
    ):
        readings(path, rows, schema)
        refuses("dataset.corrupt", lambda: drain(path))
    readings(path, rows, good)
    drain(path)


BOUNDS = ChunkBounds(uncompressed=1000, values=3, exact=True, dictionary=True)


def page(plain: int, packed: int, values: int, *, kind: int = 0, encoding: int = 0) -> bytes:
    """A page header in Thrift's compact protocol."""

    def number(value: int) -> bytes:
        value = value << 1 if value >= 0 else (-value << 1) - 1
        out = b""
        while value > 127:
            out += bytes([value & 127 | 128])
            value >>= 7
        return out + bytes([value])

    field = {0: b"\x2c", 2: b"\x4c"}.get(kind, b"\x5c")
    inner = b"\x15" + number(values) + b"\x15" + number(encoding) + b"\x00"
    head = b"\x15" + number(kind) + b"\x15" + number(plain) + b"\x15" + number(packed)
    return head + field + inner + b"\x00" + bytes(max(packed, 0))


def test_page_headers() -> None:
    def check(data: bytes, bounds: ChunkBounds = BOUNDS) -> None:
        check_chunk(io.BytesIO(b"PAR1" + data), 4, len(data), bounds, "name")

    dictionary = page(8, 4, 2, kind=2)
    check(dictionary + page(9, 5, 1, encoding=8) + page(9, 5, 2))
    wrong = [
        b"",
        b"\x15",
        b"\xff" * 40,
        b"\x1c" * 40,  # structs in structs
        b"\x15\x00\x15\x02\x15\x02\x00x",  # no header of a data page
        page(2_000_000_000, 5, 3),
        page(9, 5, 2_000_000_000),
        page(9, 5, -1),
        page(-1, 5, 3),
        page(9, -5, 3),
        page(9, 0, 3),
        page(9, 5, 3, encoding=7),
        page(9, 5, 3, kind=3),
        page(9, 5, 3) + dictionary,
        dictionary + dictionary + page(9, 5, 3),
        page(9, 5, 2),
        page(9, 5, 2) + page(9, 5, 2),
        page(600, 5, 1) + page(600, 5, 2),
        page(9, 5, 3)[:-1],
        page(9, 5, 3) + b"x",
        page(8, 4, 2_000_000, kind=2) + page(9, 5, 3),
    ]
    for data in wrong:
        refuses("dataset.corrupt", partial(check, data))
    refuses(
        "dataset.corrupt",
        lambda: check(dictionary + page(9, 5, 3), ChunkBounds(1000, 3, True, False)),
    )
