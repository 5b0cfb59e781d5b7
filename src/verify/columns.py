"""Judged records: row by row for people and rules, column by column for what has to be fast."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final, NamedTuple, overload

from depin_id.senml import Decimal64
from depin_id.senml.decimal64 import unchecked

Value = Decimal64 | str | bool | bytes

MAX_TIME_MS: Final = 1 << 50
"""Bound on the times of records, ms since 1970 (some 35,000 years)."""
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


class RecordColumns(NamedTuple):
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

    @property
    def size(self) -> int:
        """How many records there are."""
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
        others: Sequence[Any] = (None,) * self.size if self.others is None else self.others
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
        """How many measurements there are, and how many of them count."""
        if self.size and is_one(self.codes) and is_one(self.flags):
            kinds = {(self.codes[0], self.flags[0]): self.size}
        else:
            kinds = Counter(zip(self.codes, self.flags, strict=True))
        measured, counted, found = 0, 0, set[str]()
        for (code, flags), count in kinds.items():
            if CONTEXT not in flags:
                measured += count
                counted += 0 if code else count
                found.update(flags)
        return Tally(measured, counted, found)


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
        return self.columns.size

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


def is_one(column: Sequence[object]) -> bool:
    """Whether a column is one cell, again and again."""
    return not column or column.count(column[0]) == len(column)
