"""What the two tables say of one log entry: opened, checked, turned into rows.

The builder writes what these functions give and the check compares with what they give, so there
is one reading of a leaf and its contents.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import h3

from depin_id.errors import DatasetError, DepinError
from depin_id.senml import Decimal64
from verify.columns import Rows
from verify.leaf import (
    KIND_ENVELOPE,
    MAX_LEAF,
    MAX_RECORDS_BYTES,
    AdminLeaf,
    EnvelopeLeaf,
    Leaf,
    RecordRow,
    RecordsContent,
    commitment,
    parse_leaf,
)

SALT_BYTES = 32
"""Exactly: with salts of any length, bytes could move between the salt and the content."""
MAX_ENVELOPE = 1 << 17
MAX_DID = 2048
ACCEPTED = "accepted"
_MAX_TIME = 1 << 50
_DEGREE = 10_000_000


@dataclass(slots=True)
class OpenEntry:
    """One entry of the log with what opens it.

    Attributes:
        index: its index in the log.
        leaf: the bytes of the leaf.
        salt: 32 bytes, or None when the entry is closed: administration, erased, or not public.
        envelope: the signed bytes, which open the first commitment; None when closed.
        records: what opens the second commitment; None when closed or when there is none.
    """

    index: int
    leaf: bytes
    salt: bytes | None
    envelope: bytes | None
    records: bytes | None

    def closed(self) -> OpenEntry:
        """The same entry without what opens it."""
        return OpenEntry(self.index, self.leaf, None, None, None)


class CheckedEntry(NamedTuple):
    """An entry whose leaf was read and whose commitments were opened; content is None if closed."""

    entry: OpenEntry
    leaf: Leaf
    content: RecordsContent | None


def check_entry(entry: OpenEntry) -> CheckedEntry:
    """Read the leaf of an entry and open its commitments.

    Raises:
        DatasetError: ``dataset.leaf``, ``dataset.commitment`` or ``dataset.records``.
    """
    leaf = read_leaf(entry)
    if entry.salt is None:
        if entry.envelope is not None or entry.records is not None:
            raise _unopened(entry, "has content but no salt")
        return CheckedEntry(entry, leaf, None)
    if isinstance(leaf, AdminLeaf):
        raise _unopened(entry, "is administration, which has nothing to open")
    _open(entry, entry.salt, leaf)
    content = None if entry.records is None else read_records(entry.index, entry.records)
    return CheckedEntry(entry, leaf, content)


def read_leaf(entry: OpenEntry) -> Leaf:
    """The leaf of an entry, read. Raises DatasetError ``dataset.leaf``."""
    if len(entry.leaf) > MAX_LEAF:
        raise DatasetError("dataset.leaf", f"the leaf of entry {entry.index} is too long")
    try:
        return parse_leaf(entry.leaf)
    except DepinError as error:
        raise DatasetError(
            "dataset.leaf",
            f"the leaf of entry {entry.index} cannot be read: {error.message}",
            hint="a newer release may know this form of leaf",
        ) from error


def _open(entry: OpenEntry, salt: bytes, leaf: EnvelopeLeaf) -> None:
    if len(salt) != SALT_BYTES:
        raise _unopened(entry, f"has a salt of {len(salt)} bytes instead of {SALT_BYTES}")
    if entry.envelope is None or len(entry.envelope) > MAX_ENVELOPE:
        raise _unopened(entry, "has a salt but no envelope of an admissible size")
    if commitment(salt, entry.envelope) != leaf.envelope:
        raise _unopened(entry, "has an envelope that does not open its commitment")
    if (entry.records is None) != (leaf.records is None):
        raise _unopened(entry, "has records without a commitment, or a commitment without records")
    if entry.records is None:
        return
    if len(entry.records) > MAX_RECORDS_BYTES:
        raise _unopened(entry, "has records of an inadmissible size")
    if commitment(salt, entry.records) != leaf.records:
        raise _unopened(entry, "has records that do not open their commitment")


def _unopened(entry: OpenEntry, what: str) -> DatasetError:
    return DatasetError(
        "dataset.commitment",
        f"entry {entry.index} {what}",
        hint="the salt, the envelope or the records were changed after the leaf was made",
    )


def read_records(index: int, data: bytes) -> RecordsContent:
    """What a records commitment opens to, every field checked for its type and range.

    Raises:
        DatasetError: ``dataset.records``.
    """
    try:
        content = RecordsContent.decode(data)
        if max(len(content.did), len(content.subject)) > MAX_DID:
            raise DatasetError("dataset.records", f"a DID of entry {index} is too long")
        # What was read as columns was held against the same types and bounds on the way.
        rows = () if isinstance(content.rows, Rows) else content.rows
        wrong = next((n for n, row in enumerate(rows) if not _is_row(row)), None)
    except DatasetError:
        raise
    except DepinError as error:
        raise DatasetError(
            "dataset.records", f"the records of entry {index} cannot be read: {error.message}"
        ) from error
    except (ValueError, TypeError, OverflowError) as error:
        raise DatasetError(
            "dataset.records", f"the records of entry {index} have another form: {error}"
        ) from error
    if wrong is not None:
        raise DatasetError(
            "dataset.records",
            f"record {wrong} of entry {index} has a field of another type or out of range",
        )
    return content


def _is_row(row: RecordRow) -> bool:
    texts = (row.name, row.unit, row.code, *row.flags)
    return (
        all(type(text) is str for text in texts)
        and _is_int(row.time_hi, _MAX_TIME)
        and (row.time_lo is None or _is_int(row.time_lo, _MAX_TIME))
        and (row.lat_e7 is None) == (row.lon_e7 is None)
        and (row.lat_e7 is None or _is_int(row.lat_e7, 90 * _DEGREE))
        and (row.lon_e7 is None or _is_int(row.lon_e7, 180 * _DEGREE))
    )


def _is_int(value: Any, bound: int) -> bool:
    return type(value) is int and -bound <= value <= bound


def entry_row(entry: OpenEntry, leaf: Leaf) -> tuple[Any, ...]:
    """The row of an entry in the entry table, in the order of ``ENTRY_SCHEMA``."""
    opened = (entry.index, entry.leaf, entry.salt, entry.envelope, entry.records)
    if isinstance(leaf, AdminLeaf):
        return (*opened, leaf.kind, None, None, None, None, leaf.received_at)
    return (
        *opened,
        KIND_ENVELOPE,
        leaf.code,
        list(leaf.flags),
        leaf.level,
        leaf.device.hex(),
        leaf.received_at,
    )


def reading_rows(checked: CheckedEntry, resolution: int) -> Iterator[tuple[Any, ...]]:
    """The rows of an entry in the reading table, in the order of ``READING_SCHEMA``.

    One for each record that counts (its code is empty) of an accepted envelope that is open.

    Args:
        checked: the entry.
        resolution: of the H3 cell, 0 to 15.
    """
    leaf, content = checked.leaf, checked.content
    if content is None or not isinstance(leaf, EnvelopeLeaf) or leaf.code != ACCEPTED:
        return
    index, policy = checked.entry.index, leaf.policy.hex()
    for number, row in enumerate(content.rows):
        if row.code:
            continue
        flags = sorted({*leaf.flags, *row.flags}) if row.flags else sorted(set(leaf.flags))
        yield (
            index,
            number,
            content.did,
            content.subject,
            leaf.epoch,
            leaf.n,
            row.name,
            row.unit,
            *_value_cells(row.value),
            row.time_lo,
            row.time_hi,
            leaf.received_at,
            *_place_cells(row.lat_e7, row.lon_e7, resolution),
            leaf.level,
            flags,
            policy,
            leaf.rules,
        )


def _value_cells(value: Decimal64 | str | bool | bytes) -> tuple[Any, ...]:
    """Mantissa, exponent, double, text, truth, data: one kind of value fills its own columns."""
    if isinstance(value, Decimal64):
        return value.mantissa, value.exponent, value.to_float(), None, None, None
    if isinstance(value, str):
        return None, None, None, value, None, None
    if isinstance(value, bool):
        return None, None, None, None, value, None
    return None, None, None, None, None, value


def _place_cells(lat: int | None, lon: int | None, resolution: int) -> tuple[Any, ...]:
    if lat is None or lon is None:
        return None, None, None
    return lat / _DEGREE, lon / _DEGREE, h3.latlng_to_cell(lat / _DEGREE, lon / _DEGREE, resolution)


def reading_bytes(row: tuple[Any, ...]) -> int:
    """Bytes of the cells of a reading row whose length is its sender's choice."""
    texts = sum([len(row[column]) for column in (2, 3, 6, 7)]) + len(row[11] or row[13] or b"")
    return texts + sum(map(len, row[21]))


_NEARBY = 1e-9


def same_cell(stored: str | None, lat: float, lon: float, resolution: int) -> bool:
    """Whether a stored cell is the one of a place, give or take a tenth of a millimetre.

    A cell comes from floating point, which may round differently on another machine when a place
    lies on the border of two cells.
    """
    places = ((lat + a, lon + b) for a in (0, -_NEARBY, _NEARBY) for b in (0, -_NEARBY, _NEARBY))
    return any(h3.latlng_to_cell(*place, resolution) == stored for place in places)
