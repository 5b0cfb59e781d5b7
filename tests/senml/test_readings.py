"""Readings from Python values and from files."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depin_id.errors import DepinError, ReadingError
from depin_id.readings import MAX_LINE, Reading, parse_time, read_stream, reading
from depin_id.senml import Decimal64, Record, format_json
from tests.paths import data

D = Decimal64.from_text


def test_plain_values_are_kept_exactly() -> None:
    assert reading("LAeq", 61.3, "dB") == Reading("LAeq", D("61.3"), "dB", None)
    assert reading("t", Decimal("20.50"), "Cel").value == D("20.5")
    assert reading("n", 7, "count").value == Decimal64(7)
    assert reading("door", True).value is True
    assert reading("note", "61.3").value == "61.3"
    assert reading("blob", b"\0").value == b"\0"
    noon = datetime(2026, 11, 21, 12, 0, 0, 250_000, tzinfo=UTC)
    east = noon.astimezone(timezone(timedelta(hours=5, minutes=30)))
    for time in (noon, east, "2026-11-21T12:00:00.25Z", "1795262400.25", 1795262400.25):
        assert reading("a", 1, time=time).time == D("1795262400.25")


@pytest.mark.parametrize(
    "arguments",
    [
        ("a", float("nan")), ("a", float("inf")), ("a", -0.0), ("a", 2**63), ("a", 1e300),
        ("a", Decimal("NaN")), ("a", Decimal("1E+1000000")), ("a", None), ("a", [1]),
        ("a", "x" * 4097), ("a", bytes(4097)), ("a", 1, "dBA"), ("a", 1, ""), ("a", 1, 5),
        ("", 1), ("-a", 1), ("a b", 1), (None, 1), (5, 1), ("a" * 129, 1),
        ("a", 1, "dB", "yesterday"), ("a", 1, "dB", "2026-11-21T12:00:00"), ("a", 1, "dB", True),
        ("a", 1, "dB", datetime(2026, 1, 1)), ("a", 1, "dB", float("nan")), ("a", 1, "dB", [1]),
    ],
)  # fmt: skip
def test_what_is_no_reading(arguments: Any) -> None:
    with pytest.raises(ReadingError):
        reading(*arguments)


def test_csv_streams_row_by_row() -> None:
    text = "time,name,value,unit\n2026-11-21T12:00:00Z,LAeq,61.30,dB\n\n1795262401.5,LAeq,62,dB\n"
    expected = [
        Reading("LAeq", D("61.3"), "dB", D("1795262400")),
        Reading("LAeq", D("62"), "dB", D("1795262401.5")),
    ]
    assert list(read_stream(io.StringIO(text))) == expected
    assert list(read_stream(io.StringIO(text), "csv")) == expected
    other = "\ufeffName,Value\ndoor,true\n"
    assert list(read_stream(io.StringIO(other))) == [Reading("door", True)]
    rows = read_stream(io.StringIO(text + "broken\n"))
    assert [next(rows), next(rows)] == expected  # nothing of the file's end is needed for these
    with pytest.raises(ReadingError):
        next(rows)


@pytest.mark.parametrize(
    ("row", "where"),
    [
        ("1,LAeq,61.3", "line 3, column row"), ("1,LAeq,61.3,dB,x", "line 3, column row"),
        ("noon,LAeq,61.3,dB", "line 3, column time"), ("1,LAeq,loud,dB", "line 3, column value"),
        ("1,LAeq,NaN,dB", "line 3, column value"), ("1,LAeq,,dB", "line 3, column value"),
        ("1,LAeq,-0.0,dB", "line 3, column value"), ("1,,1,dB", "line 3, column name"),
        ("1,LAeq,1,dBA", "line 3, column name, unit"), ('1,"LAeq,1,dB', "line 3"),
        ("1," + "x" * MAX_LINE, "line 3"), ("1,LAeq\0,1,dB", "line 3"),
    ],
)  # fmt: skip
def test_csv_errors_say_where(tmp_path: Path, row: str, where: str) -> None:
    path = tmp_path / "readings.csv"
    path.write_text(f"time,name,value,unit\n1,LAeq,61.3,dB\n{row}\n", "utf-8")
    with path.open(encoding="utf-8", newline="") as file, pytest.raises(ReadingError) as caught:
        list(read_stream(file))
    assert "readings.csv" in caught.value.message and where in caught.value.message


@pytest.mark.parametrize(
    "text",
    ["", "\n", "a,b\n", "name,name,value\n", "name,value,extra\n", "time,name\n", "x" * 70_000],
)
def test_csv_headers_that_are_not_ours(text: str) -> None:
    with pytest.raises(ReadingError):
        list(read_stream(io.StringIO(text), "csv"))


def test_senml_files() -> None:
    records = [Record("LAeq", "dB", D(f"6{i}.5"), Decimal64(1795262400 + i)) for i in range(4)]
    expected = [Reading(r.name, r.value, r.unit, r.time) for r in records if r.value is not None]
    assert list(read_stream(io.StringIO(format_json(records)))) == expected
    lines = "\n".join(format_json([record]) for record in records) + "\n\n"
    assert list(read_stream(io.StringIO(lines))) == expected
    now = list(read_stream(io.StringIO('[{"n":"a","v":1}]'), "senml"))
    assert now == [Reading("a", Decimal64(1), None, None)]


@pytest.mark.parametrize(
    "text",
    ["[", '[{"n":"a","v":1,"t":-5}]', '[{"n":"a","s":1}]', '[{"n":"a","v":NaN}]', "[]", "[5]]",
     '[{"n":"a","u":"dBA","v":1}]', "[" + " " * (1 << 20), "[\n" * 600_000],
)  # fmt: skip
def test_senml_files_that_are_refused(text: str) -> None:
    with pytest.raises(ReadingError) as caught:
        list(read_stream(io.StringIO(text), "senml"))
    assert "line" in caught.value.message


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "binary.csv"
    path.write_bytes(b"time,name,value,unit\n\xff\xfe\n")
    with path.open(encoding="utf-8") as file, pytest.raises(ReadingError):
        list(read_stream(file))
    with pytest.raises(ReadingError):
        read_stream(io.StringIO("x"), "xml")


def test_a_real_recording_reads_back(tmp_path: Path) -> None:
    lines = data("noise_monitor/laeq1m.csv").read_text("utf-8").splitlines()[:40]
    values = [line.rsplit(",", 1)[-1] for line in lines[1:]]
    values = [value for value in values if value.replace(".", "", 1).isdigit()]
    assert values
    text = "name,value,unit\n" + "".join(f"LAeq,{value},dB\n" for value in values)
    assert [r.value for r in read_stream(io.StringIO(text))] == [D(value) for value in values]


@given(st.text(max_size=80), st.sampled_from((None, "csv", "senml")))
def test_only_our_errors(text: str, fmt: str | None) -> None:
    calls: list[Callable[[], Any]] = [
        lambda: list(read_stream(io.StringIO(text), fmt)),
        lambda: list(read_stream(io.StringIO("time,name,value,unit\n" + text), fmt)),
        lambda: parse_time(text),
        lambda: reading(text, text, text, text),
    ]
    for call in calls:
        try:
            call()
        except DepinError:
            pass
