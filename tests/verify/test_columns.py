"""Rows and columns of judged records are the same, and so are the bytes they become."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depin_id import cbor
from depin_id.errors import DepinError
from depin_id.senml import Decimal64
from verify.columns import RecordColumns, RecordRow, Rows
from verify.leaf import MAX_TIME_MS, RecordsContent

_TEXTS = st.sampled_from(("", "laeq", "x" * 23, "y" * 24, "z" * 300, "ä\U0001f600"))
_TIMES = st.one_of(
    st.sampled_from((0, 23, 24, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, MAX_TIME_MS)),
    st.integers(1_700_000_000_000, 1_800_000_000_000),
)
_PLACES = st.one_of(st.just((None, None)), st.tuples(st.integers(-(9**9), 9**9), st.just(-1)))
_NUMBERS = st.builds(Decimal64, st.integers(-(2**63), 2**63 - 1), st.integers(-18, 0))
_VALUES = st.one_of(
    st.builds(Decimal64, st.integers(-300, 300), st.integers(-3, 2)), _NUMBERS, _TEXTS,
    st.booleans(), st.binary(max_size=30),
)  # fmt: skip


@st.composite
def _rows(draw: st.DrawFn) -> tuple[RecordRow, ...]:
    """Rows that share most of their cells, or none."""
    shared = draw(st.tuples(_TEXTS, _TEXTS, _PLACES, _TEXTS))
    alike = draw(st.booleans())
    rows = []
    for _ in range(draw(st.sampled_from((0, 1, 2, 23, 24, 40)))):
        name, unit, place, code = shared
        flags: tuple[str, ...] = ("a", "b")
        value: Any = draw(_NUMBERS if alike else _VALUES)
        low = draw(_TIMES if alike else st.one_of(st.none(), _TIMES))
        if not alike and draw(st.booleans()):
            name, place, flags = draw(_TEXTS), draw(_PLACES), draw(st.sampled_from(((), ("c",))))
        rows.append(
            RecordRow(name, unit, value, low, draw(_TIMES), place[0], place[1], code, flags)
        )
    return tuple(rows)


def _written(rows: Sequence[RecordRow]) -> bytes:
    """Row by row, as the format says."""
    cells = []
    for row in rows:
        value: Any = row.value
        if isinstance(value, Decimal64):
            value = (
                cbor.Tag(4, [value.exponent, value.mantissa]) if value.exponent else value.mantissa
            )
        places = (row.lat_e7, row.lon_e7)
        cells.append(
            [
                row.name,
                row.unit,
                value,
                row.time_lo,
                row.time_hi,
                *places,
                row.code,
                list(row.flags),
            ]
        )
    return cbor.encode(["depin-records/1", "did:x", bytes(32), "did:x:y", cells])


@given(_rows())
def test_rows_and_columns_are_the_same(rows: tuple[RecordRow, ...]) -> None:
    columns = RecordColumns.of(rows)
    assert columns.rows() == rows and columns.size == len(rows)
    by_row = RecordsContent("did:x", bytes(32), "did:x:y", rows)
    by_column = RecordsContent("did:x", bytes(32), "did:x:y", Rows(columns))
    assert by_row == by_column and by_column == by_row and hash(by_row.rows) == hash(by_column.rows)
    assert by_row.encode() == by_column.encode() == _written(rows)
    assert by_column.columns is columns and list(by_column.rows) == list(rows)
    assert by_column.rows[1:] == rows[1:]
    counted = [row for row in rows if not row.code]
    assert columns.tally().counted == len(counted) and columns.tally().measured == len(rows)


def _either(call: Any, data: bytes) -> Any:
    try:
        return call(data)
    except DepinError as error:
        return error.code


@given(_rows(), st.data())
def test_the_fast_reader_agrees_with_the_general_one(
    rows: tuple[RecordRow, ...], data: st.DataObject
) -> None:
    written = bytearray(RecordsContent("did:x", bytes(32), "did:x:y", rows).encode())
    for _ in range(data.draw(st.integers(0, 2))):
        written[data.draw(st.integers(0, len(written) - 1))] = data.draw(st.integers(0, 255))
    received = bytes(written)
    assert _either(RecordsContent.decode, received) == _either(RecordsContent._decode_any, received)


@pytest.mark.parametrize("head", ["c48200", "c48220"])
def test_a_number_has_one_form(head: str) -> None:
    row = RecordRow("laeq", "dB", Decimal64(511), 1 << 40, 1 << 41, None, None, "", ())
    written = RecordsContent("did:x", bytes(32), "did:x:y", (row, row)).encode()
    assert RecordsContent.decode(written).rows == (row, row)
    other = written.replace(bytes.fromhex("1901ff"), bytes.fromhex(head + "1901fe"))
    assert _either(RecordsContent.decode, other) == _either(RecordsContent._decode_any, other)


def test_plain_rows_are_read_by_column(monkeypatch: pytest.MonkeyPatch) -> None:
    row = RecordRow("laeq", "dB", Decimal64(511, -1), 1 << 41, 1 << 42, 5, -5, "", ())
    unknown = replace(row, time_lo=None, lat_e7=None, lon_e7=None, flags=("time.unbounded",))
    packs = [(row,), (row,) * 60, (unknown,) * 300, (row, replace(row, name="lceq", lat_e7=7))]
    written = [RecordsContent("did:x", bytes(32), "did:x:y", rows).encode() for rows in packs]
    monkeypatch.setattr(RecordsContent, "_decode_any", lambda *_: pytest.fail("general reader"))
    assert [RecordsContent.decode(data).rows for data in written] == packs


_PLAIN = RecordRow("laeq", "dB", Decimal64(511, -1), 1 << 41, 1 << 42, 5, -5, "", ("a",))
_CELLS = (
    (_PLAIN, replace(_PLAIN, name="", value=Decimal64(70_000)), replace(_PLAIN, code="x")),
    (replace(_PLAIN, time_lo=None), replace(_PLAIN, time_lo=None, lat_e7=None, lon_e7=None)),
    (_PLAIN, replace(_PLAIN, time_lo=None)),
    (replace(_PLAIN, time_lo=None), _PLAIN),
    (replace(_PLAIN, time_lo=MAX_TIME_MS, time_hi=MAX_TIME_MS),) * 2,
    (replace(_PLAIN, time_lo=1 << 32, time_hi=1 << 32),) * 2,
)


@pytest.mark.parametrize("rows", _CELLS)
def test_every_change_of_a_byte_is_read_alike(rows: tuple[RecordRow, ...]) -> None:
    written = RecordsContent("did:x", bytes(32), "did:x:y", rows).encode()
    start = written.index(b"\x89") - 1
    for at in range(start, len(written)):
        head, tail = written[:at], written[at + 1 :]
        for byte in {0, 1, 23, 24, 25, 31, 96, 127, 255, *(written[at] ^ 1 << n for n in range(8))}:
            changed = head + bytes((byte,)) + tail
            assert _either(RecordsContent.decode, changed) == _either(
                RecordsContent._decode_any, changed
            ), changed.hex()


@pytest.mark.parametrize("time", [MAX_TIME_MS + 1, (1 << 32) - 1, 1 << 63])
def test_times_out_of_range_are_read_alike(time: int) -> None:
    for row in (replace(_PLAIN, time_lo=time), replace(_PLAIN, time_hi=time)):
        changed = _written((row, row))
        # The longer head is no deterministic CBOR where a shorter one would do.
        long = changed.replace(cbor.encode(time), b"\x1b" + time.to_bytes(8))
        for data in (changed, long):
            assert _either(RecordsContent.decode, data) == _either(
                RecordsContent._decode_any, data
            ), data.hex()


@pytest.mark.parametrize("place", [(900_000_001, 0), (0, -1_800_000_001), (900_000_000, 1 << 40)])
def test_places_that_are_none_are_read_alike(place: tuple[int, int]) -> None:
    row = replace(_PLAIN, lat_e7=place[0], lon_e7=place[1])
    data = _written((row, row))
    assert _either(RecordsContent._decode_any, data) == "log.records"
    assert _either(RecordsContent.decode, data) == "log.records"
