"""Exports: nothing rounded, nothing run, whole or absent."""

from __future__ import annotations

import base64
import csv
import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.dataset.support import entries, publish, refuses
from tests.dataset.test_hostile import readings, row
from verify.dataset import export
from verify.dataset.rows import check_entry, reading_rows
from verify.dataset.schema import READING_SCHEMA

COUNT = 60


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dataset")
    publish(folder, COUNT, segment=25)
    return folder


def expected() -> list[dict[str, Any]]:
    rows = [row for item in entries(COUNT) for row in reading_rows(check_entry(item), 9)]
    return [dict(zip(READING_SCHEMA.names, row, strict=True)) for row in rows]


def exact(cells: dict[str, Any]) -> Decimal | None:
    if cells["mantissa"] is None:
        return None
    return Decimal(f"{cells['mantissa']}e{cells['exponent']}")


def test_jsonl(published: Path, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    out = tmp_path / "out.jsonl"
    wanted = expected()
    assert export(published, "jsonl", out, progress=lambda *c: calls.append(c)) == len(wanted)
    assert calls == [(25, 60), (50, 60), (60, 60)]
    lines = out.read_bytes().decode().splitlines()
    for line, cells in zip(map(json.loads, lines), wanted, strict=True):
        number = line.pop("exact")
        assert (None if number is None else Decimal(number)) == exact(cells)
        data = line.pop("data")
        assert (None if data is None else base64.b64decode(data)) == cells.pop("data")
        for name in ("time_lo", "time_hi", "received_at"):
            at = line.pop(name)
            milliseconds = cells.pop(name)
            assert (at is None) == (milliseconds is None)
            if at is not None:
                assert at.endswith(f".{milliseconds % 1000:03d}Z")
        assert line == cells
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]


def test_csv(published: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    wanted = expected()
    assert export(published, "csv", out) == len(wanted)
    rows = list(csv.DictReader(io.StringIO(out.read_bytes().decode(), newline="")))
    quoted = 0
    for found, cells in zip(rows, wanted, strict=True):
        number = exact(cells)
        assert found["exact"] == "" if number is None else Decimal(found["exact"]) == number
        assert found["value"] == "" or float(found["value"]) == cells["value"]
        assert found["flags"] == " ".join(cells["flags"])
        assert found["truth"] == {None: "", True: "true", False: "false"}[cells["truth"]]
        text = cells["text"] or ""
        assert isinstance(text, str)
        if text[:1] in ("=", "-"):
            quoted += 1
            text = "'" + text
        assert found["text"] == text
        assert (found["did"], found["lat"]) == (cells["did"], str(cells["lat"] or ""))
    assert quoted > 3


def test_parquet(published: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    out.write_bytes(b"old")
    wanted = expected()
    assert export(published, "parquet", out) == len(wanted)
    table = pq.ParquetFile(out).read()
    numbers = table.column("exact").to_pylist()
    assert [None if n is None else Decimal(n) for n in numbers] == [exact(c) for c in wanted]
    files = sorted((published / "segments").glob("readings-*"))
    parts = [pq.ParquetFile(file).read() for file in files]
    assert table.drop_columns(["exact"]).equals(pa.concat_tables(parts))


def test_standard_output(published: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    count = export(published, "csv", "-")
    assert len(list(csv.reader(io.StringIO(capfdbinary.readouterr().out.decode())))) == count + 1
    refuses("dataset.format", lambda: export(published, "parquet", "-"))
    refuses("dataset.format", lambda: export(published, "xlsx", "x"))


def test_what_cannot_be_exported_leaves_nothing(published: Path, tmp_path: Path) -> None:
    refuses("dataset.io", lambda: export(published, "csv", tmp_path / "no/folder.csv"))
    segments = tmp_path / "segments"
    segments.mkdir()
    publish(tmp_path, 5, segment=5)
    path = segments / "readings-0-5.parquet"
    out = tmp_path / "out.csv"
    readings(path, [row(mantissa=1, exponent=100)])
    refuses("dataset.corrupt", lambda: export(tmp_path, "csv", out))
    readings(path, [row(time_hi=1 << 49)])
    refuses("dataset.time", lambda: export(tmp_path, "csv", out))
    assert export(tmp_path, "parquet", tmp_path / "out.parquet") == 1
    path.write_bytes(path.read_bytes()[:-9])
    refuses("dataset.corrupt", lambda: export(tmp_path, "jsonl", out))
    assert not out.exists()
    assert not list(tmp_path.glob(".tmp-*"))
