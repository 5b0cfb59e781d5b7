"""Readings as people hand them in: one measured value with a name, a unit and a time."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import chain
from typing import Final, NoReturn, TextIO

from depin_id.errors import DepinError, EncodingError, ReadingError
from depin_id.senml.decimal64 import Decimal64
from depin_id.senml.json import MAX_BYTES as MAX_JSON
from depin_id.senml.json import parse_json
from depin_id.senml.records import RELATIVE_LIMIT, Record, Value, check_record
from depin_id.senml.units import require_unit

MAX_LINE: Final = 1 << 16
"""The longest line of a CSV file, in characters. A line of SenML JSON may be 1 MiB."""
_HEADER: Final = frozenset(("time", "name", "value", "unit"))
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a sensor measured.

    Args:
        name: what was measured (``LAeq``, ``temperature``), RFC 8428 characters.
        value: an exact number, text, a bool or bytes.
        unit: a registered SenML unit, None when the value has none.
        time: seconds since 1970-01-01T00:00Z; None means now, when it is signed.
    """

    name: str
    value: Value
    unit: str | None = None
    time: Decimal64 | None = None

    def __post_init__(self) -> None:
        try:
            if self.unit is not None:
                require_unit(self.unit)
            check_record(Record(self.name, self.unit, self.value))
            if self.time is not None and type(self.time) is not Decimal64:
                raise EncodingError("senml.value", "the time must be a Decimal64 or None")
        except EncodingError as error:
            raise ReadingError(
                "reading.invalid",
                f"reading {str(self.name)[:40]!r}: {error.message}",
                hint=error.hint,
            ) from error


Number = int | float | Decimal | Decimal64


def _exact(value: Number) -> Decimal64:
    if isinstance(value, Decimal64):
        return value
    if isinstance(value, bool):
        raise EncodingError("senml.value", "true and false are not numbers")
    if isinstance(value, int):
        return Decimal64.from_int(value)
    if isinstance(value, float):
        return Decimal64.from_float(value)
    return Decimal64.from_text(str(value))


def reading(
    name: str,
    value: Number | str | bool | bytes,
    unit: str | None = None,
    time: Number | str | datetime | None = None,
) -> Reading:
    """A reading from plain Python values.

    Args:
        name: what was measured.
        value: a number is kept exactly as Python prints it; text stays text.
        unit: a registered SenML unit.
        time: Unix seconds, ISO 8601 text with a zone, an aware datetime, or None for now.

    Raises:
        ReadingError: ``reading.invalid`` or ``reading.time``.
    """
    try:
        exact: Value = value if isinstance(value, str | bool | bytes) else _exact(value)
        when = _time(time)
    except EncodingError as error:
        raise ReadingError(
            "reading.invalid", f"reading {str(name)[:40]!r}: {error.message}", hint=error.hint
        ) from error
    return Reading(name, exact, unit, when)


def _time(time: Number | str | datetime | None) -> Decimal64 | None:
    if time is None:
        return None
    if isinstance(time, datetime):
        return _instant(time)
    return parse_time(time) if isinstance(time, str) else _exact(time)


def _instant(moment: datetime) -> Decimal64:
    if moment.tzinfo is None:
        raise ReadingError(
            "reading.time", f"{moment.isoformat()} has no time zone", hint="end it in Z or +00:00"
        )
    since = moment - _EPOCH
    return Decimal64((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds, -6)


def parse_time(text: str) -> Decimal64:
    """Unix seconds or ISO 8601 with a zone, as exact Unix seconds.

    Raises:
        ReadingError: ``reading.time``.
    """
    try:
        return Decimal64.from_text(text)
    except EncodingError:
        pass
    try:
        return _instant(datetime.fromisoformat(text))
    except (ValueError, OverflowError) as error:
        raise ReadingError(
            "reading.time",
            f"{text[:40]!r} is not a time",
            hint="use Unix seconds or ISO 8601 with a zone (2026-11-21T14:00:00Z)",
        ) from error


def read_stream(file: TextIO, fmt: str | None = None) -> Iterator[Reading]:
    """Readings from a file, one at a time.

    Args:
        file: open for text; CSV with the header ``time,name,value,unit`` in any order, or SenML
            JSON (one array, or an array a line).
        fmt: ``csv`` or ``senml``; None looks at the first character.

    Yields:
        Readings in the order of the file. SenML times below 2**28 are relative: 0 becomes now,
        others are refused, for a file does not say when it was written.

    Raises:
        ReadingError: ``reading.csv``, ``reading.senml``, ``reading.format``; the message names
            the file, line and column.
    """
    source = str(getattr(file, "name", "<stream>"))
    first = _line(file, source, 1)
    if fmt is None:
        fmt = "senml" if first.lstrip("\ufeff \t\r\n").startswith("[") else "csv"
    if fmt == "csv":
        return _read_csv(file, first, source)
    if fmt == "senml":
        return _read_senml(file, first, source)
    raise ReadingError("reading.format", f"{fmt!r} is not a format", hint="use csv or senml")


def _line(file: TextIO, source: str, number: int, limit: int = MAX_JSON) -> str:
    try:
        line = file.readline(limit + 1)
    except (ValueError, OSError) as error:
        raise ReadingError(
            "reading.format",
            f"{source}, line {number}: cannot be read: {error}",
            hint="files are UTF-8 text",
        ) from error
    if len(line) > limit:
        raise ReadingError(
            "reading.format", f"{source}, line {number}: longer than {limit} characters"
        )
    return line


def _lines(file: TextIO, source: str, limit: int) -> Iterator[str]:
    number = 2
    while line := _line(file, source, number, limit):
        yield line
        number += 1


def _read_csv(file: TextIO, first: str, source: str) -> Iterator[Reading]:
    if len(first) > MAX_LINE:
        _bad_csv(source, 1, "header", f"longer than {MAX_LINE} characters")
    rows = csv.reader(
        chain((first.removeprefix("\ufeff"),), _lines(file, source, MAX_LINE)), strict=True
    )
    header: list[str] | None = None
    try:
        for row in rows:
            if header is None:
                header = _header(row, source)
            elif row:
                yield _row(dict(zip(header, row, strict=False)), row, header, source, rows.line_num)
    except csv.Error as error:
        _bad_csv(source, rows.line_num, "row", str(error))
    if header is None:
        _bad_csv(source, 1, "header", "the file is empty")


def _header(row: list[str], source: str) -> list[str]:
    header = [cell.strip().lower() for cell in row]
    if len(set(header)) != len(header) or not {"name", "value"} <= set(header) <= _HEADER:
        _bad_csv(source, 1, "header", f"columns are {','.join(header)[:80]!r}")
    return header


def _row(
    cells: dict[str, str], row: list[str], header: list[str], source: str, line: int
) -> Reading:
    if len(row) != len(header):
        _bad_csv(source, line, "row", f"{len(row)} cells under {len(header)} columns")
    column = "time"
    try:
        time = parse_time(cells["time"].strip()) if cells.get("time", "").strip() else None
        column = "value"
        value = _cell(cells["value"].strip())
        column = "name, unit"
        return Reading(cells["name"].strip(), value, cells.get("unit", "").strip() or None, time)
    except DepinError as error:
        _bad_csv(source, line, column, error.message, error.hint)


def _cell(text: str) -> Value:
    if text in ("true", "false"):
        return text == "true"
    return Decimal64.from_text(text)


def _bad_csv(source: str, line: int, column: str, message: str, hint: str = "") -> NoReturn:
    raise ReadingError(
        "reading.csv",
        f"{source}, line {line}, column {column}: {message}",
        hint=hint or "the header is time,name,value,unit; values are numbers, true or false",
    )


def _read_senml(file: TextIO, first: str, source: str) -> Iterator[Reading]:
    """An array a line is read line by line; an array over several lines, whole (1 MiB)."""
    lines = chain((first,), _lines(file, source, MAX_JSON))
    pending, start = "", 1
    for number, line in enumerate(lines, 1):
        if not pending and not line.strip():
            continue
        start = start if pending else number
        pending += line
        if len(pending) > MAX_JSON:
            _bad_senml(source, start, f"a pack longer than {MAX_JSON} characters")
        # A pack ends in a line that ends in "]"; only then is it worth parsing.
        if line.rstrip().endswith("]"):
            yield from _pack(pending.removeprefix("\ufeff"), source, start)
            pending = ""
    if pending.strip():
        yield from _pack(pending, source, start)


def _pack(text: str, source: str, line: int) -> Iterable[Reading]:
    try:
        records = parse_json(text)
    except EncodingError as error:
        _bad_senml(source, line, str(error))
    readings = []
    for index, record in enumerate(records):
        if record.value is None:
            _bad_senml(source, line, f"record {index}: sums alone are not readings")
        relative = record.time < RELATIVE_LIMIT
        if relative and record.time.mantissa:
            _bad_senml(source, line, f"record {index}: the time {record.time} is relative")
        try:
            readings.append(
                Reading(record.name, record.value, record.unit, None if relative else record.time)
            )
        except ReadingError as error:
            _bad_senml(source, line, f"record {index}: {error.message}")
    return readings


def _bad_senml(source: str, line: int, message: str) -> NoReturn:
    raise ReadingError(
        "reading.senml",
        f"{source}, line {line}, column pack: {message}",
        hint="SenML JSON (RFC 8428) with absolute times, one array a file or one a line",
    )
