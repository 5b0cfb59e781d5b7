"""A pack of numbers, column by column: what judges thousands of records a second reads.

The common pack is read by regular expressions that take only records ``{n?, u?, v, t?}`` with
short ASCII texts and minimal integers in key order, that is, only deterministic CBOR. Whatever
does not fit gives None and is left to the general reader, which alone knows the errors: this
module accepts or abstains.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeVar

from depin_id.errors import EncodingError
from depin_id.senml.decimal64 import (
    INT64_MAX,
    INT64_MIN,
    MAX_EXPONENT,
    Decimal64,
    canonical,
    unchecked,
)
from depin_id.senml.patterns import NUMBER, SHORT_TEXT, read_number
from depin_id.senml.records import Record, check_name, check_unit

_MEMO_SIZE: Final = 1 << 14
_TEXTS_KEPT: Final = 1 << 12
_MILLI: Final = -3


class Columns(NamedTuple):
    """Records that are nothing but names, units, numbers and times; all columns of one length.

    Attributes:
        names, units: as in :class:`~depin_id.senml.records.Record`.
        mantissas, exponents: of the values, canonical.
        times: in units of ``10**time_exponent`` seconds, within int64.
        time_exponent: 0 for whole seconds, else from -18 to -1.
    """

    names: Sequence[str]
    units: Sequence[str | None]
    mantissas: Sequence[int]
    exponents: Sequence[int]
    times: Sequence[int]
    time_exponent: int

    def milliseconds(self) -> Sequence[int] | None:
        """The times in whole milliseconds; None when they are finer."""
        if self.time_exponent < _MILLI:
            return None
        scale = 10 ** (self.time_exponent - _MILLI)
        return [time * scale for time in self.times]

    def records(self) -> list[Record]:
        """The same, record by record."""
        make: Any = tuple.__new__  # a named tuple's own constructor costs twice as much
        values = map(unchecked, self.mantissas, self.exponents)
        if self.time_exponent == 0:
            times = [unchecked(time, 0) for time in self.times]
        else:
            times = [Decimal64(time, self.time_exponent) for time in self.times]
        return [
            make(Record, (name, unit, value, time, None, None))
            for name, unit, value, time in zip(self.names, self.units, values, times, strict=True)
        ]


# --- patterns -------------------------------------------------------------------------------------


_FIELDS = rb"(\x00%s)?(\x01%s)?(\x02%s)(\x06%s)?" % (SHORT_TEXT, SHORT_TEXT, NUMBER, NUMBER)
_FIRST = re.compile(
    rb"([\xa1-\xa7])%s(\x21%s)?(\x22%s)?(\x23%s)?" % (_FIELDS, SHORT_TEXT, NUMBER, SHORT_TEXT),
    re.DOTALL,
)
# What does not fit is swallowed to the end, as one record of nothing.
_SERIES = re.compile(rb"\xa2(\x02%s)(\x06%s)|.+" % (NUMBER, NUMBER), re.DOTALL)
"""Records {v, t}: all but the first of a series with name and unit in the base fields."""
_MIXED = re.compile(rb"([\xa1-\xa4])" + _FIELDS + rb"|.+", re.DOTALL)


# --- numbers --------------------------------------------------------------------------------------


class _Numbers(dict[bytes, tuple[int, int]]):
    """Mantissa and exponent by a field's bytes (one label byte, then the number), both canonical.

    A pack repeats its values: each spelling is read once. Emptied when full, so bounded. A field
    that is not there is a zero. Raises ``senml.value``.
    """

    def __missing__(self, field: bytes) -> tuple[int, int]:
        number = _number(field) if field else (0, 0)
        if len(self) >= _MEMO_SIZE:
            self.clear()
        self[field] = number
        return number


_numbers: Final = _Numbers()


def _number(field: bytes) -> tuple[int, int]:
    mantissa, exponent = read_number(field, 1)
    if not INT64_MIN <= mantissa <= INT64_MAX or abs(exponent) > MAX_EXPONENT:
        raise EncodingError("senml.value", "the number is out of range")
    return canonical(mantissa, exponent)


# --- reading --------------------------------------------------------------------------------------

_Texts = tuple[bytes, ...]
_NO_REST: Final[tuple[_Texts, _Texts, _Texts, _Texts]] = ((), (), (), ())
_Text = TypeVar("_Text", str, str | None)


def read_columns(
    data: bytes, start: int, count: int, base_name: Callable[[object], str]
) -> Columns | None:
    """The records of a common pack, or None when the general reader must look at it.

    Args:
        data: the whole pack.
        start: where the first record begins.
        count: records promised by the head.
        base_name: turns ``bn`` into the beginning of the names, or raises.
    """
    match = _FIRST.match(data, start)
    if match is None:
        return None
    head, *fields = match.groups(b"")
    if head[0] - 0xA0 != len(fields) - fields.count(b""):
        return None
    name, unit, value, time, prefix, base, base_unit = fields
    rest = _rest(data, match.end(), count - 1)
    if rest is None:
        return None
    names, units, values, times = rest
    try:
        before = base_name(prefix[2:].decode()) if prefix else ""
        _unit(base_unit)
        if count == 1:  # most packs of a network with a radio: nothing has to be brought together
            mantissa, exponent = _numbers[value]
            seconds, time_exponent = _times((time,), _numbers[base])
            return Columns(
                (_name(before, name),),
                (_unit(unit or base_unit),),
                (mantissa,),
                (exponent,),
                seconds,
                time_exponent,
            )
        mantissas, exponents = zip(*map(_numbers.__getitem__, (value, *values)), strict=True)
        seconds, time_exponent = _times((time, *times), _numbers[base])
        return Columns(
            _each(lambda field: _name(before, field), (name, *names)),
            _each(lambda field: _unit(field or base_unit), (unit, *units)),
            mantissas,
            exponents,
            seconds,
            time_exponent,
        )
    except EncodingError:
        return None


def _rest(data: bytes, start: int, count: int) -> tuple[_Texts, _Texts, _Texts, _Texts] | None:
    """Names, units, values and times of the records after the first."""
    if start == len(data):
        return None if count else _NO_REST
    series = _SERIES.findall(data, start)
    if len(series) == count and series[-1][0]:
        values, times = zip(*series, strict=True)
        absent = (b"",) * count
        return absent, absent, values, times
    mixed = _MIXED.findall(data, start)
    if len(mixed) != count or not mixed[-1][0]:
        return None
    if any(head[0] - 0xA0 != 4 - fields.count(b"") for head, *fields in mixed):
        return None
    _, names, units, values, times = zip(*mixed, strict=True)
    return names, units, values, times


def _each(read: Callable[[bytes], _Text], fields: _Texts) -> Sequence[_Text]:
    if fields.count(fields[0]) == len(fields):
        return (read(fields[0]),) * len(fields)
    return [read(field) for field in fields]


@lru_cache(_TEXTS_KEPT)
def _name(before: str, field: bytes) -> str:
    return check_name(before + field[2:].decode(), 0)


@lru_cache(_TEXTS_KEPT)
def _unit(field: bytes) -> str | None:
    return check_unit(field[2:].decode(), 0) if field else None


def _times(fields: _Texts, base: tuple[int, int]) -> tuple[Sequence[int], int]:
    """Sums of base time and times, and the exponent that they share. Raises ``senml.value``."""
    mantissas, exponents = zip(*map(_numbers.__getitem__, fields), strict=True)
    start, least = base[0], 0
    if not base[1] and not any(exponents):
        times = [start + mantissa for mantissa in mantissas]
    else:
        least = min(0, base[1], *exponents)
        start *= 10 ** (base[1] - least)
        times = [
            start + mantissa * 10 ** (exponent - least)
            for mantissa, exponent in zip(mantissas, exponents, strict=True)
        ]
    if min(times) < INT64_MIN or max(times) > INT64_MAX:
        raise EncodingError("senml.value", "a time does not fit int64")
    return times, least
