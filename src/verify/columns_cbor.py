"""Judged records as CBOR: an array of an array for each, written and read column by column.

Reading takes what a plain pack becomes, by a regular expression that matches deterministic CBOR
only; whatever else there is, errors too, is left to the general reader (:mod:`verify.leaf`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import chain, repeat
from struct import Struct, unpack
from typing import Any, Final

from depin_id import cbor
from depin_id.claims import Place
from depin_id.errors import DepinError, LogError
from depin_id.senml import Decimal64
from depin_id.senml.patterns import INTEGER, NUMBER, SHORT_TEXT, read_number
from verify.columns import MAX_TIME_MS, RecordColumns, is_one

FEW: Final = 3
"""So few rows are written one by one: short columns save nothing."""
_MEMO: Final = 1 << 14
_UINT64: Final = 0x1B
"""Head of an integer above 32 bits, which every time since February 1970 is."""
_NULL: Final = 0xF6
_UINT32_MAX: Final = (1 << 32) - 1
_UINT64_MAX: Final = (1 << 64) - 1
_INTERVAL: Final = Struct(">BQBQ")
_UNBOUNDED: Final = Struct(">BBQ")


# --- writing --------------------------------------------------------------------------------------


def cells_of(columns: RecordColumns) -> list[list[Any]]:
    """The rows as they are written: an array for each record, its value in the wire form."""
    names, units, mantissas, exponents, others, *rest, flags = columns
    values = list(map(_value, mantissas, exponents))
    if others is not None:
        values = [
            value if other is None else other for value, other in zip(values, others, strict=True)
        ]
    lists = map(list, flags)
    return [list(cells) for cells in zip(names, units, values, *rest, lists, strict=True)]


def write_rows(columns: RecordColumns) -> bytes:
    """What :func:`cells_of` gives as CBOR."""
    if columns.size == 1 and columns.others is None:
        return b"\x81" + _write_row(columns)
    if columns.size <= FEW:
        return cbor.encode_plain(cells_of(columns))
    numbers: Iterable[bytes] = map(
        _numbers.__getitem__, zip(columns.mantissas, columns.exponents, strict=True)
    )
    if columns.others is not None:
        numbers = [
            number if other is None else cbor.encode_plain(other)
            for number, other in zip(numbers, columns.others, strict=True)
        ]
    pieces = zip(
        _pieces(_beginning, columns.names, columns.units),
        numbers,
        _times(columns.time_lo, columns.time_hi),
        _pieces(_end, columns.lat_e7, columns.lon_e7, columns.codes, columns.flags),
        strict=True,
    )
    return b"".join((_head(columns.size), *chain.from_iterable(pieces)))


def _write_row(columns: RecordColumns) -> bytes:
    """The only row; its value is a number."""
    names, units, mantissas, exponents, _, lows, highs, lat_e7, lon_e7, codes, flags = columns
    times = next(iter(_times(lows, highs)))
    end = _end(lat_e7[0], lon_e7[0], codes[0], flags[0])
    return _beginning(names[0], units[0]) + _numbers[mantissas[0], exponents[0]] + times + end


def _value(mantissa: int | None, exponent: int | None) -> Any:
    return cbor.Tag(4, [exponent, mantissa]) if exponent else mantissa


def _pieces(write: Callable[..., bytes], *columns: Sequence[Any]) -> Iterable[bytes]:
    """A piece of each row; where the columns repeat themselves it is written once."""
    if all(map(is_one, columns)):
        return (write(*[column[0] for column in columns]),) * len(columns[0])
    return map(write, *columns)


@lru_cache(_MEMO)
def _head(count: int) -> bytes:
    """The head of an array: that of its length, in major type 4."""
    first, *rest = cbor.encode_plain(count)
    return bytes((first | 0x80, *rest))


@lru_cache(_MEMO)
def _beginning(name: str, unit: str) -> bytes:
    return b"\x89" + cbor.encode_plain(name) + cbor.encode_plain(unit)


class _Numbers(dict[tuple[int | None, int | None], bytes]):
    """Numbers as they are written, by mantissa and exponent; emptied when full, so bounded."""

    def __missing__(self, number: tuple[int | None, int | None]) -> bytes:
        if len(self) >= _MEMO:
            self.clear()
        written = self[number] = cbor.encode_plain(_value(*number))
        return written


_numbers: Final = _Numbers()


@lru_cache(_MEMO)
def _end(lat: int | None, lon: int | None, code: str, flags: tuple[str, ...]) -> bytes:
    return cbor.encode_plain([lat, lon, code, list(flags)])[1:]


def _times(lows: Sequence[Any], highs: Sequence[int]) -> Iterable[bytes]:
    if _UINT32_MAX < min(highs) and max(highs) <= _UINT64_MAX:
        if None not in lows and _UINT32_MAX < min(lows) and max(lows) <= _UINT64_MAX:
            return map(_INTERVAL.pack, repeat(_UINT64), lows, repeat(_UINT64), highs)
        if lows[0] is None and is_one(lows):
            return map(_UNBOUNDED.pack, repeat(_NULL), repeat(_UINT64), highs)
    return [
        cbor.encode_plain(low) + cbor.encode_plain(high)
        for low, high in zip(lows, highs, strict=True)
    ]


# --- reading --------------------------------------------------------------------------------------

_MAYBE_TEXT = rb"(?:\x60|%s)" % SHORT_TEXT
_FLAGS = rb"(?:\x80|\x81%s|\x82%s%s)" % ((SHORT_TEXT,) * 3)
_ROW: Final = re.compile(
    # The head of a row, name and unit; value; earliest and latest time; place, code and flags.
    # What does not fit is swallowed to the end, as one row of nothing.
    rb"\x89(%s%s)(%s)(?:\xf6|\x1b(.{8}))\x1b(.{8})((?:\xf6\xf6|%s%s)%s%s)|.+"
    % (_MAYBE_TEXT, _MAYBE_TEXT, NUMBER, INTEGER, INTEGER, _MAYBE_TEXT, _FLAGS),
    re.DOTALL,
)


def read_rows(data: bytes, start: int) -> RecordColumns | None:
    """The rows that :func:`write_rows` wrote; None when the general reader has to look.

    Args:
        data: the array of rows, to the end.
        start: where it begins.
    """
    rows = _ROW.findall(data, start + (1 if data[start] < 0x98 else 2 if data[start] < 0x99 else 3))
    count = len(rows)
    if not count or not rows[-1][0] or not data.startswith(_head(count), start):
        return None
    beginnings, values, lows, highs, ends = zip(*rows, strict=True)
    try:
        names, units = _read(_beginning_in, beginnings)
        lat_e7, lon_e7, codes, flags = _read(_end_in, ends)
        mantissas, exponents = zip(*map(_number_in, values), strict=True)
    except DepinError:
        return None
    latest = known = _uint64s(highs)
    earliest: Sequence[int | None] = (None,) * count
    if lows[0] or not is_one(lows):
        if b"" in lows:
            return None
        earliest = bounds = _uint64s(lows)
        known = bounds + latest
    if min(known) <= _UINT32_MAX or max(known) > MAX_TIME_MS:
        return None
    return RecordColumns(
        names, units, mantissas, exponents, None,
        earliest, latest, lat_e7, lon_e7, codes, flags,
    )  # fmt: skip


def _read(read: Callable[[bytes], tuple[Any, ...]], pieces: Sequence[bytes]) -> Iterable[Any]:
    """The columns in pieces of rows; what repeats itself is read once."""
    if is_one(pieces):
        return [(cell,) * len(pieces) for cell in read(pieces[0])]
    return zip(*map(read, pieces), strict=True)


def _uint64s(cells: Sequence[bytes]) -> tuple[int, ...]:
    return unpack(f">{len(cells)}Q", b"".join(cells))


@lru_cache(_MEMO)
def _beginning_in(data: bytes) -> tuple[str, str]:
    name, unit = cbor.decode(b"\x82" + data)
    return name, unit


@lru_cache(_MEMO)
def _number_in(data: bytes) -> tuple[int, int]:
    mantissa, exponent = read_number(data)
    number = Decimal64(mantissa, exponent)
    if _numbers[number.mantissa, number.exponent] != data:
        raise LogError("log.records", "a value is no canonical number")
    return mantissa, exponent


@lru_cache(_MEMO)
def _end_in(data: bytes) -> tuple[int | None, int | None, str, tuple[str, ...]]:
    lat, lon, code, flags = cbor.decode(b"\x84" + data)
    if lat is not None:
        Place(lat, lon)
    return lat, lon, code, tuple(flags)
