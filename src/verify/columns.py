"""Judged records: row by row for people and rules, column by column for what has to be fast."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from itertools import chain, repeat
from operator import attrgetter
from struct import Struct
from typing import Any, Final, NamedTuple, overload

from depin_id import cbor
from depin_id.senml import Decimal64
from depin_id.senml.decimal64 import unchecked

Value = Decimal64 | str | bool | bytes

CONTEXT: Final = "record.context"
"""Flag: the record describes others (a position) and is no measurement; it fills no slot."""


@dataclass(frozen=True, slots=True)
class RecordRow:
    """One record as judged.

    Attributes:
        name, unit: as resolved (RFC 8428).
        value: exact.
        time_lo, time_hi: interval in milliseconds since 1970; lo is None when unbounded.
        lat_e7, lon_e7: where it was measured, in 1e-7 degree, or None.
        code: empty when the record counts, else why it does not.
        flags: sorted.
    """

    name: str
    unit: str
    value: Value
    time_lo: int | None
    time_hi: int
    lat_e7: int | None
    lon_e7: int | None
    code: str
    flags: tuple[str, ...]


class Tally(NamedTuple):
    """The measurements of a pack (its records that are no context), how many, and their flags.

    Attributes:
        measured: how many there are.
        counted: how many of them count: their code is empty.
        flags: of any of them.
    """

    measured: int
    counted: int
    flags: Set[str]


@dataclass(frozen=True, slots=True)
class RecordColumns:
    """Judged records column by column, all of one length.

    Attributes:
        mantissas, exponents: of the values that are numbers, canonical; None where one is none.
        others: the values that are no numbers, None elsewhere; None when all are numbers.
        names, units, time_lo, time_hi, lat_e7, lon_e7, codes, flags: as in :class:`RecordRow`.
    """

    names: Sequence[str]
    units: Sequence[str]
    mantissas: Sequence[int | None]
    exponents: Sequence[int | None]
    others: Sequence[str | bool | bytes | None] | None
    time_lo: Sequence[int | None]
    time_hi: Sequence[int]
    lat_e7: Sequence[int | None]
    lon_e7: Sequence[int | None]
    codes: Sequence[str]
    flags: Sequence[tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def of(cls, rows: Iterable[RecordRow]) -> RecordColumns:
        """The columns of rows."""
        columns: list[Any] = list(zip(*map(_cells, rows), strict=True)) or [()] * 9
        names, units, values, *rest = columns
        numbers = [value if type(value) is Decimal64 else None for value in values]
        others = None
        if None in numbers:
            others = [None if type(value) is Decimal64 else value for value in values]
        return cls(
            names,
            units,
            [None if number is None else number.mantissa for number in numbers],
            [None if number is None else number.exponent for number in numbers],
            others,
            *rest,
        )

    def values(self) -> list[Value]:
        """The values, numbers as :class:`Decimal64`."""
        others: Sequence[Any] = (None,) * len(self) if self.others is None else self.others
        return [
            other if mantissa is None or exponent is None else unchecked(mantissa, exponent)
            for mantissa, exponent, other in zip(
                self.mantissas, self.exponents, others, strict=True
            )
        ]

    def rows(self) -> tuple[RecordRow, ...]:
        """The rows of the columns."""
        places = (self.time_lo, self.time_hi, self.lat_e7, self.lon_e7)
        columns = (self.names, self.units, self.values(), *places, self.codes, self.flags)
        return tuple(map(RecordRow, *columns))

    def tally(self) -> Tally:
        """How many records there are of each kind."""
        kinds = Counter(zip(self.codes, self.flags, strict=True)).items()
        found = [(code, flags, count) for (code, flags), count in kinds if CONTEXT not in flags]
        return Tally(
            sum(count for _, _, count in found),
            sum(count for code, _, count in found if not code),
            {flag for _, flags, _ in found for flag in flags},
        )

    def encode(self) -> bytes:
        """A CBOR array (deterministic) of an array for each row, its value in the wire form."""
        count = len(self)
        # The head of an array is that of its length, in major type 4.
        head = cbor.encode_plain(count)
        pieces = zip(
            _shared(_beginning, count, self.names, self.units),
            self._encoded_values(),
            _times(self.time_lo, self.time_hi),
            _shared(_end, count, self.lat_e7, self.lon_e7, self.codes, self.flags),
            strict=True,
        )
        return b"".join((bytes((head[0] | 0x80,)), head[1:], *chain.from_iterable(pieces)))

    def _encoded_values(self) -> Iterable[bytes]:
        numbers: Iterable[Any] = zip(self.mantissas, self.exponents, strict=True)
        if self.others is None:
            return map(_numbers.__getitem__, numbers)
        return [
            cbor.encode_plain(other) if number[0] is None else _numbers[number]
            for number, other in zip(numbers, self.others, strict=True)
        ]


class Rows(Sequence[RecordRow]):
    """Columns read as rows, which are made when they are asked for."""

    __slots__ = ("_rows", "columns")

    def __init__(self, columns: RecordColumns) -> None:
        self.columns = columns
        self._rows: tuple[RecordRow, ...] | None = None

    def _made(self) -> tuple[RecordRow, ...]:
        if self._rows is None:
            self._rows = self.columns.rows()
        return self._rows

    @overload
    def __getitem__(self, index: int) -> RecordRow: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[RecordRow, ...]: ...
    def __getitem__(self, index: int | slice) -> RecordRow | tuple[RecordRow, ...]:
        return self._made()[index]

    def __len__(self) -> int:
        return len(self.columns)

    def __iter__(self) -> Iterator[RecordRow]:
        return iter(self._made())

    def __eq__(self, other: object) -> bool:
        return self._made() == (other._made() if isinstance(other, Rows) else other)

    def __hash__(self) -> int:
        return hash(self._made())

    def __repr__(self) -> str:
        return repr(self._made())


_cells = attrgetter(
    "name", "unit", "value", "time_lo", "time_hi", "lat_e7", "lon_e7", "code", "flags"
)

# --- the pieces of a row --------------------------------------------------------------------------

_MEMO_SIZE: Final = 1 << 14
_TIMES: Final = Struct(">BQBQ")
_UINT64: Final = 0x1B
"""Head of an integer above 32 bits, which every time since February 1970 is."""
_UINT32_MAX: Final = (1 << 32) - 1
_UINT64_MAX: Final = (1 << 64) - 1


def _shared(write: Callable[..., bytes], count: int, *columns: Sequence[Any]) -> Iterable[bytes]:
    """A piece of each row; where the columns repeat themselves it is written once."""
    if all(column.count(column[0]) == count for column in columns if count):
        return (write(*(column[0] for column in columns)),) * count if count else ()
    cells = list(zip(*columns, strict=True))
    written = {cell: write(*cell) for cell in set(cells)}
    return [written[cell] for cell in cells]


def _beginning(name: str, unit: str) -> bytes:
    return b"\x89" + cbor.encode_plain(name) + cbor.encode_plain(unit)


def _end(lat: int | None, lon: int | None, code: str, flags: tuple[str, ...]) -> bytes:
    return cbor.encode_plain([lat, lon, code, list(flags)])[1:]


def _times(lows: Sequence[int | None], highs: Sequence[int]) -> Iterable[bytes]:
    known: Sequence[Any] = lows
    if highs and None not in lows:
        least, most = min(min(known), min(highs)), max(max(known), max(highs))
        if least > _UINT32_MAX and most <= _UINT64_MAX:
            return map(_TIMES.pack, repeat(_UINT64), known, repeat(_UINT64), highs)
    return [
        cbor.encode_plain(low) + cbor.encode_plain(high)
        for low, high in zip(lows, highs, strict=True)
    ]


class _Numbers(dict[tuple[int, int], bytes]):
    """Numbers in the wire form by mantissa and exponent; emptied when full, so bounded."""

    def __missing__(self, number: tuple[int, int]) -> bytes:
        mantissa, exponent = number
        value = mantissa if exponent == 0 else cbor.Tag(4, [exponent, mantissa])
        if len(self) >= _MEMO_SIZE:
            self.clear()
        written = self[number] = cbor.encode_plain(value)
        return written


_numbers: Final = _Numbers()
