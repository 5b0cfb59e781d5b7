"""The columns of a segment while it is filled: compact arrays that become row groups.

What is the same for all readings of an entry is kept once, by its number; texts that repeat are
kept once, by code. :mod:`verify.dataset.rows` says the same thing row by row, which is how a
dataset is checked.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import h3
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from depin_id.errors import DatasetError
from verify.columns import RecordColumns, is_one
from verify.dataset.rows import ACCEPTED, CheckedEntry, entry_row
from verify.dataset.schema import ENTRY_SCHEMA, READING_SCHEMA, to_batch
from verify.leaf import EnvelopeLeaf

ENTRY_GROUP = 4096
READING_GROUP = 32768
GROUP_BYTES = 8 << 20
"""A row group ends at so many rows, or after this many bytes of content."""

_DEGREE = 10_000_000
_EXACT = 1 << 53
_POWERS = np.array([float(f"1e{power}") for power in range(19)])
_UNKNOWN = -(1 << 62)
"""Stands for None in an array of integers."""

Group = tuple[int, Any]
"""Number of rows, and the record batch."""


def group_ends(sizes: NDArray[np.int64], limit: int, final: bool) -> Iterator[int]:
    """Where row groups end, by the rows alone: at ``limit`` rows or ``GROUP_BYTES`` of content.

    Args:
        sizes: bytes of each row.
        final: whether no row follows, so that the last group ends with them.
    """
    total = np.cumsum(sizes)
    start, before = 0, 0
    while start < len(total):
        full = int(np.searchsorted(total, before + GROUP_BYTES)) + 1
        end = min(start + limit, full)
        if end > len(total):
            if not final:
                return
            end = len(total)
        yield end
        start, before = end, int(total[end - 1])


class _Codes(dict[Any, int]):
    """Values that repeat, numbered as they come; each takes some hundred bytes or its length."""

    bytes = 0

    def __missing__(self, value: Any) -> int:
        code = self[value] = len(self)
        self.bytes += 128 + len(value)
        return code

    @classmethod
    def of(cls, values: Iterable[Any]) -> _Codes:
        """Codes of different values, in this order."""
        found = cls()
        for value in values:
            found[value]
        return found

    def all_of(self, values: Sequence[Any]) -> list[int]:
        """The code of each value; a pack mostly has one name, unit and place."""
        if is_one(values):
            return [self[value] for value in values[:1]] * len(values)
        return [self[value] for value in values]


class Entries:
    """Rows of the entry table."""

    def __init__(self) -> None:
        self._rows: list[tuple[Any, ...]] = []
        self._sizes = array("q")
        self.bytes = 0

    def add(self, checked: CheckedEntry) -> None:
        """Append an entry."""
        entry = checked.entry
        size = len(entry.leaf) + len(entry.envelope or b"") + len(entry.records or b"")
        self._rows.append(entry_row(entry, checked.leaf))
        self._sizes.append(size)
        self.bytes += 512 + size

    def groups(self, *, final: bool) -> Iterator[Group]:
        """Row groups that are whole; the rest too when nothing follows."""
        start = 0
        for end in group_ends(_numbers(self._sizes), ENTRY_GROUP, final):
            yield end - start, to_batch(ENTRY_SCHEMA, self._rows[start:end])
            start = end

    def copy(self) -> Entries:
        """The same rows, which stay as they are while these go on growing."""
        made = Entries()
        made._rows, made._sizes, made.bytes = self._rows[:], self._sizes[:], self.bytes
        return made

    def drop(self, count: int) -> None:
        """Forget the first rows: they are written."""
        self.bytes -= 512 * count + sum(self._sizes[:count])
        del self._rows[:count], self._sizes[:count]


class Readings:
    """Rows of the reading table.

    Args:
        resolution: of the H3 cells, 0 to 15.
    """

    def __init__(self, resolution: int) -> None:
        self._resolution = resolution
        self._entries = 0
        self._index, self._epoch, self._n = array("q"), array("q"), array("q")
        self._received, self._rules = array("q"), array("q")
        self._did, self._subject = array("i"), array("i")
        self._level, self._policy = array("i"), array("i")
        self._owner, self._number = array("i"), array("i")
        self._name, self._unit = array("i"), array("i")
        self._mantissa, self._exponent = array("q"), array("b")
        self._lo, self._hi = array("q"), array("q")
        self._place, self._flags, self._other = array("i"), array("i"), array("i")
        self._texts, self._places, self._flag_sets = _Codes(), _Codes(), _Codes()
        self._others: list[str | bool | bytes] = []
        self._other_bytes = 0

    def add(self, checked: CheckedEntry) -> None:
        """Append the records of an entry that count."""
        leaf, content = checked.leaf, checked.content
        if content is None or not isinstance(leaf, EnvelopeLeaf) or leaf.code != ACCEPTED:
            return
        columns = content.columns
        numbers: Sequence[int] = range(len(columns.names))
        if any(columns.codes):
            numbers = [number for number in numbers if not columns.codes[number]]
            columns = _only(columns, numbers)
        if not numbers:
            return
        texts = self._texts
        self._index.append(checked.entry.index)
        self._epoch.append(leaf.epoch)
        self._n.append(leaf.n)
        self._received.append(leaf.received_at)
        self._rules.append(leaf.rules)
        self._did.append(texts[content.did])
        self._subject.append(texts[content.subject])
        self._level.append(texts[leaf.level])
        self._policy.append(texts[leaf.policy.hex()])
        self._owner.extend([self._entries] * len(numbers))
        self._number.extend(numbers)
        self._entries += 1
        self._add_records(columns, leaf.flags)

    def _add_records(self, columns: RecordColumns, leaf_flags: tuple[str, ...]) -> None:
        count = len(columns.names)
        self._name.extend(self._texts.all_of(columns.names))
        self._unit.extend(self._texts.all_of(columns.units))
        self._hi.extend(columns.time_hi)
        self._lo.extend(_known(columns.time_lo))
        if columns.others is None:
            self._mantissa.extend(columns.mantissas)  # type: ignore[arg-type]
            self._exponent.extend(columns.exponents)  # type: ignore[arg-type]
            self._other.extend([-1] * count)
        else:
            self._mantissa.extend([value or 0 for value in columns.mantissas])
            self._exponent.extend([value or 0 for value in columns.exponents])
            self._other.extend([self._keep(value) for value in columns.others])
        if is_one(columns.lat_e7) and is_one(columns.lon_e7):
            self._place.extend([self._places[columns.lat_e7[0], columns.lon_e7[0]]] * count)
        else:
            places = list(zip(columns.lat_e7, columns.lon_e7, strict=True))
            self._place.extend(self._places.all_of(places))
        sets = self._flag_sets
        if not any(columns.flags):
            self._flags.extend([sets[tuple(sorted(set(leaf_flags)))]] * count)
        else:
            joined = [tuple(sorted({*leaf_flags, *flags})) for flags in columns.flags]
            self._flags.extend(sets.all_of(joined))

    def _keep(self, value: str | bool | bytes | None) -> int:
        if value is None:
            return -1
        self._others.append(value)
        self._other_bytes += 64 if isinstance(value, bool) else 64 + len(value)
        return len(self._others) - 1

    def groups(self, *, final: bool) -> Iterator[Group]:
        """Row groups that are whole; the rest too when nothing follows."""
        tables = _Tables(list(self._texts), list(self._flag_sets), self._others)
        cells = _cells(list(self._places), self._resolution)
        start = 0
        for end in group_ends(self._sizes(tables), READING_GROUP, final):
            yield end - start, self._batch(tables, cells, start, end)
            start = end

    def _sizes(self, tables: _Tables) -> NDArray[np.int64]:
        """Bytes of the cells of each row whose length is its sender's choice."""
        owner = _numbers(self._owner)
        each = tables.text_bytes[_numbers(self._did)] + tables.text_bytes[_numbers(self._subject)]
        sizes = each[owner] + tables.text_bytes[_numbers(self._name)]
        sizes += tables.text_bytes[_numbers(self._unit)] + tables.flag_bytes[_numbers(self._flags)]
        sizes += tables.other_bytes[_numbers(self._other)]
        found: NDArray[np.int64] = sizes
        return found

    def _batch(self, tables: _Tables, cells: tuple[Any, ...], start: int, end: int) -> Any:
        owner = _numbers(self._owner, start, end)

        def of_entry(column: array[int]) -> Any:
            return pa.array(_numbers(column)[owner])

        def of_record(column: array[int]) -> NDArray[Any]:
            return _numbers(column, start, end)

        def text(codes: Any) -> Any:
            return tables.texts.take(pa.array(codes))

        mantissa, exponent = of_record(self._mantissa), of_record(self._exponent)
        other, low = of_record(self._other), of_record(self._lo)
        no_number, place = other >= 0, pa.array(of_record(self._place))
        moment = READING_SCHEMA.field("time_hi").type
        columns = {
            "log_index": of_entry(self._index),
            "record": pa.array(of_record(self._number)),
            "did": text(_numbers(self._did)[owner]),
            "subject": text(_numbers(self._subject)[owner]),
            "epoch": of_entry(self._epoch),
            "n": of_entry(self._n),
            "name": text(of_record(self._name)),
            "unit": text(of_record(self._unit)),
            "mantissa": pa.array(mantissa, mask=no_number),
            "exponent": pa.array(exponent, mask=no_number),
            "value": pa.array(nearest(mantissa, exponent), mask=no_number),
            **tables.other_columns(other),
            "time_lo": pa.array(low, mask=low == _UNKNOWN).view(moment),
            "time_hi": pa.array(of_record(self._hi)).view(moment),
            "received_at": of_entry(self._received).view(moment),
            "lat": cells[0].take(place),
            "lon": cells[1].take(place),
            "h3_cell": cells[2].take(place),
            "level": text(_numbers(self._level)[owner]),
            "flags": tables.flags.take(pa.array(of_record(self._flags))),
            "policy": text(_numbers(self._policy)[owner]),
            "rules": of_entry(self._rules),
        }
        return pa.record_batch([columns[field.name] for field in READING_SCHEMA], READING_SCHEMA)

    def copy(self) -> Readings:
        """The same rows, which stay as they are while these go on growing."""
        made = Readings(self._resolution)
        for name, value in vars(self).items():
            if isinstance(value, _Codes):
                setattr(made, name, _Codes.of(value))
            else:
                setattr(made, name, value[:] if isinstance(value, array | list) else value)
        return made

    def drop(self, count: int) -> None:
        """Forget the first rows, which are written, and what only they stood for."""
        for column in (
            *(self._owner, self._number, self._name, self._unit, self._mantissa),
            *(self._exponent, self._lo, self._hi, self._place, self._flags, self._other),
        ):
            del column[:count]
        first = self._owner[0] if self._owner else self._entries
        for column in (self._index, self._epoch, self._n, self._received, self._rules):
            del column[:first]
        shared = (self._did, self._subject, self._level, self._policy)
        for column in shared:
            del column[:first]
        self._entries -= first
        self._owner = array("i", (_numbers(self._owner) - first).tobytes())
        self._texts = _Codes.of(_used(self._texts, *shared, self._name, self._unit))
        self._places = _Codes.of(_used(self._places, self._place))
        self._flag_sets = _Codes.of(_used(self._flag_sets, self._flags))
        self._others = _used(self._others, self._other)
        self._other_bytes = sum(64 + len(v) for v in self._others if not isinstance(v, bool))

    @property
    def bytes(self) -> int:
        """About what all of it takes."""
        shared = self._texts.bytes + self._places.bytes + self._flag_sets.bytes
        return 64 * (len(self._owner) + self._entries) + shared + self._other_bytes


class Columns:
    """Both tables of consecutive entries of one segment.

    Args:
        start: index of the first entry.
        resolution: of the H3 cells, 0 to 15.

    Attributes:
        end: index after the last one. bytes: about what all of it takes.
    """

    def __init__(self, start: int, resolution: int) -> None:
        self.start = self.end = start
        self.resolution = resolution
        self.entries = Entries()
        self.readings = Readings(resolution)

    @property
    def bytes(self) -> int:
        """About what all of it takes in memory."""
        return self.entries.bytes + self.readings.bytes

    def copy(self) -> Columns:
        """The same, for another thread to write while this one goes on growing."""
        made = Columns(self.start, self.resolution)
        made.end = self.end
        made.entries, made.readings = self.entries.copy(), self.readings.copy()
        return made

    def add(self, checked: CheckedEntry) -> None:
        """Append the next entry. Raises DatasetError ``dataset.gap`` when it is another."""
        if checked.entry.index != self.end:
            raise DatasetError(
                "dataset.gap", f"entry {checked.entry.index} came where {self.end} was expected"
            )
        self.entries.add(checked)
        self.readings.add(checked)
        self.end += 1


class _Tables:
    """What the codes of a reading table stand for."""

    def __init__(
        self,
        texts: list[str],
        flag_sets: list[tuple[str, ...]],
        others: list[str | bool | bytes],
    ) -> None:
        self.texts = pa.array(texts, pa.string())
        self.flags = pa.array([list(one) for one in flag_sets], READING_SCHEMA.field("flags").type)
        self._others = others
        self.text_bytes = np.array([len(text) for text in texts], np.int64)
        self.flag_bytes = np.array([sum(map(len, one)) for one in flag_sets], np.int64)
        # The code -1, of a number, is the last one.
        sizes = [0 if isinstance(value, bool) else len(value) for value in others]
        self.other_bytes = np.array([*sizes, 0], np.int64)

    def other_columns(self, codes: NDArray[Any]) -> dict[str, Any]:
        """Columns of the values that are no numbers, by name."""
        kinds = {"text": (str, pa.string()), "truth": (bool, pa.bool_()), "data": (bytes, None)}
        if not (codes >= 0).any():
            return {
                name: pa.nulls(len(codes), kind or pa.binary()) for name, (_, kind) in kinds.items()
            }
        found = [None if code < 0 else self._others[code] for code in codes.tolist()]
        return {
            name: pa.array(
                [value if isinstance(value, wanted) else None for value in found],
                kind or pa.binary(),
            )
            for name, (wanted, kind) in kinds.items()
        }


def nearest(mantissa: NDArray[np.int64], exponent: NDArray[np.int8]) -> NDArray[np.float64]:
    """The double nearest to each ``mantissa * 10**exponent``.

    Division and multiplication of exact doubles round once, and rightly; a mantissa beyond 2**53
    is no exact double, so it goes through its text.
    """
    scale = _POWERS[np.abs(exponent)]
    whole = mantissa.astype(np.float64)
    found: NDArray[np.float64] = np.where(exponent < 0, whole / scale, whole * scale)
    for row in np.nonzero((mantissa >= _EXACT) | (mantissa <= -_EXACT))[0]:
        found[row] = float(f"{mantissa[row]}e{exponent[row]}")
    return found


def _cells(places: list[tuple[int | None, int | None]], resolution: int) -> tuple[Any, Any, Any]:
    """Latitude, longitude and cell of each place."""
    known = [
        None if lat is None or lon is None else (lat / _DEGREE, lon / _DEGREE)
        for lat, lon in places
    ]
    return (
        pa.array([None if place is None else place[0] for place in known], pa.float64()),
        pa.array([None if place is None else place[1] for place in known], pa.float64()),
        pa.array(
            [None if place is None else h3.latlng_to_cell(*place, resolution) for place in known],
            pa.string(),
        ),
    )


def _known(times: Sequence[int | None]) -> Sequence[int]:
    if None in times:
        return [_UNKNOWN if time is None else time for time in times]
    return times  # type: ignore[return-value]


def _only(columns: RecordColumns, numbers: Sequence[int]) -> RecordColumns:
    """Some of the records."""

    def pick(column: Sequence[Any]) -> list[Any]:
        return [column[number] for number in numbers]

    fields: list[Any] = [None if column is None else pick(column) for column in columns]
    return RecordColumns(*fields)


def _used(values: Iterable[Any], *columns: array[int]) -> list[Any]:
    """The values that codes still stand for; the codes are changed to their new numbers."""
    held = list(values)
    codes = np.concatenate([_numbers(column) for column in columns])
    used = np.unique(codes[codes >= 0])
    for column in columns:
        before = _numbers(column)
        after = np.where(before < 0, -1, np.searchsorted(used, before)).astype(before.dtype)
        column[:] = array(column.typecode, after.tobytes())
    return [held[code] for code in used]


def _numbers(column: array[int], start: int = 0, end: int | None = None) -> NDArray[Any]:
    """A copy of a slice: an array that somebody looks at cannot grow."""
    return np.frombuffer(column, dtype=column.typecode)[start:end].copy()
