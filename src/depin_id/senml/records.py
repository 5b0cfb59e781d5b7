"""SenML records: from a raw pack with base fields to resolved records, and back (RFC 8428).

A *raw* record is a mapping from the integer labels of RFC 8428 table 4 to values, whatever the
encoding was; numbers in it are :class:`Decimal64`. A :class:`Record` is resolved: it stands alone.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, NoReturn

from depin_id.errors import EncodingError
from depin_id.senml.decimal64 import ZERO, Decimal64
from depin_id.senml.units import SECONDARY_UNITS

BVER, BN, BT, BU, BV, BS = -1, -2, -3, -4, -5, -6
N, U, V, VS, VB, S, T, UT, VD = 0, 1, 2, 3, 4, 5, 6, 7, 8

MAX_RECORDS: Final = 4096
MAX_NAME: Final = 128
MAX_UNIT: Final = 16
MAX_TEXT: Final = 4096
VERSION: Final = 10
SECONDARY_VERSION: Final = 26
"""RFC 9100: version 10 plus feature 4, secondary units."""
RELATIVE_LIMIT: Final = Decimal64(2**28)
"""RFC 8428 section 4.5.3: a time below this is relative to now (on our wire, to sealing)."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9\-:./_]*", re.ASCII)
_UNIT = re.compile(r"[!-~]+", re.ASCII)

Value = Decimal64 | str | bool | bytes
Raw = Mapping[int, object]
"""One record as it was read, by label; base fields (negative labels) included."""


class Record(NamedTuple):
    """One resolved SenML record.

    Args:
        name: base name and name together.
        unit: unit symbol, None when the record has none.
        value: the measurement; None only when ``sum`` is there.
        time: seconds; below 2**28 relative to now, else since 1970-01-01T00:00Z. 0 is now.
        sum: integral of the value over time.
        update_time: seconds until the next reading at the latest.
    """

    name: str
    unit: str | None
    value: Value | None
    time: Decimal64 = ZERO
    sum: Decimal64 | None = None
    update_time: Decimal64 | None = None


def fail(code: str, message: str, index: int, hint: str = "") -> NoReturn:
    """Raise ``EncodingError`` for record ``index`` of a pack."""
    raise EncodingError(f"senml.{code}", f"record {index}: {message}", hint=hint)


def check_name(name: object, index: int) -> str:
    """A resolved name (RFC 8428 section 4.5.1), at most 128 characters.

    Raises:
        EncodingError: ``senml.name``.
    """
    if type(name) is not str or len(name) > MAX_NAME or _NAME.fullmatch(name) is None:
        fail(
            "name",
            f"{_shown(name)} is not a name",
            index,
            f"start with a letter or digit, then letters, digits and -:./_, at most {MAX_NAME}",
        )
    return name


def check_unit(unit: object, index: int) -> str:
    """A unit by its form: visible ASCII, at most 16 characters.

    Whether it is registered is not asked here: the registry grows, and bytes that were well
    formed must stay so. The profile of the device says which unit it must be.

    Raises:
        EncodingError: ``senml.unit``.
    """
    if type(unit) is not str or len(unit) > MAX_UNIT or _UNIT.fullmatch(unit) is None:
        fail(
            "unit", f"{_shown(unit)} is not a unit", index, "use a symbol of RFC 8428 section 12.1"
        )
    return unit


def check_text(text: object, index: int) -> str:
    """A text value: at most 4096 characters, no lone surrogates. Raises ``senml.value``."""
    if type(text) is not str or len(text) > MAX_TEXT or not _is_unicode(text):
        fail("value", f"vs must be text of at most {MAX_TEXT} characters", index)
    return text


def check_data(data: object, index: int) -> bytes:
    """A data value: at most 4096 bytes. Raises ``senml.value``."""
    if type(data) is not bytes or len(data) > MAX_TEXT:
        fail("value", f"vd must be bytes, at most {MAX_TEXT}", index)
    return data


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _shown(value: object) -> str:
    return repr(value[:40]) if isinstance(value, str) else type(value).__name__


def _number(raw: Raw, label: int, index: int) -> Decimal64 | None:
    number = raw.get(label)
    if number is None and label not in raw:
        return None
    if type(number) is not Decimal64:
        fail("value", f"label {label} must be a number", index)
    return number


def _value(raw: Raw, base: Decimal64 | None, index: int) -> Value | None:
    """The one value of a record (section 4.2); the base value is added to a number."""
    present = [label for label in (V, VS, VB, VD) if label in raw]
    if len(present) > 1:
        fail("malformed", "more than one value", index, "give one of v, vs, vb, vd")
    if not present:
        return base
    label = present[0]
    if label == V:
        number = _number(raw, V, index)
        return number + base if number is not None and base is not None else number
    if label == VS:
        return check_text(raw[VS], index)
    if label == VB:
        flag = raw[VB]
        if type(flag) is not bool:
            fail("value", "vb must be true or false", index)
        return flag
    return check_data(raw[VD], index)


class _Base:
    """The base fields in force: each holds for its record and those after it (section 4.1)."""

    def __init__(self) -> None:
        self.name = ""
        self.time: Decimal64 | None = None
        self.unit: str | None = None
        self.value: Decimal64 | None = None
        self.sum: Decimal64 | None = None
        self.version: Decimal64 | None = None

    def take(self, raw: Raw, index: int) -> None:
        if BVER in raw:
            self._take_version(raw, index)
        if BN in raw:
            name = raw[BN]
            if type(name) is not str or len(name) > MAX_NAME:
                fail("name", f"bn must be text of at most {MAX_NAME} characters", index)
            self.name = name
        if BU in raw:
            self.unit = check_unit(raw[BU], index)
        self.time = _number(raw, BT, index) or self.time
        self.value = _number(raw, BV, index) or self.value
        self.sum = _number(raw, BS, index) or self.sum

    def _take_version(self, raw: Raw, index: int) -> None:
        version = _number(raw, BVER, index)
        known = version is not None and version.exponent == 0 and 0 < version.mantissa <= VERSION
        if not known and version != Decimal64(SECONDARY_VERSION):
            fail("malformed", f"SenML version {version} is not understood", index)
        if index > 0 and version != self.version:
            fail("malformed", "bver differs from that of the first record", index)
        self.version = version


def resolve(pack: Sequence[Raw], *, max_records: int = MAX_RECORDS) -> list[Record]:
    """Resolve a raw pack (RFC 8428 section 4.6).

    Args:
        pack: raw records by label, numbers as Decimal64; labels that are not of RFC 8428 ignored.
        max_records: the most records taken.

    Returns:
        Records with full names and summed times, values and sums, in the order of the pack.

    Raises:
        EncodingError: ``senml.empty``, ``senml.too_many``, ``senml.malformed``, ``senml.value``,
            ``senml.name`` or ``senml.unit``.
    """
    check_count(len(pack), max_records)
    base = _Base()
    records = []
    for index, raw in enumerate(pack):
        base.take(raw, index)
        name = raw.get(N, "")
        if type(name) is not str:
            fail("name", "n must be text", index)
        total = _number(raw, S, index)
        if base.sum is not None:
            total = base.sum if total is None else base.sum + total
        value = _value(raw, base.value, index)
        if value is None and total is None:
            fail("malformed", "no value and no sum", index, "give one of v, vs, vb, vd, s")
        time = _number(raw, T, index) or ZERO
        records.append(
            Record(
                name=check_name(base.name + name, index),
                unit=check_unit(raw[U], index) if U in raw else base.unit,
                value=value,
                time=time if base.time is None else base.time + time,
                sum=total,
                update_time=_number(raw, UT, index),
            )
        )
    return records


def check_count(count: int, max_records: int) -> None:
    """Refuse an empty pack and one of more than ``max_records`` records."""
    if count == 0:
        raise EncodingError(
            "senml.empty", "the pack has no record", hint="send at least one record"
        )
    if count > max_records:
        raise EncodingError(
            "senml.too_many",
            f"the pack has more than {max_records} records",
            hint="send several packs",
        )


def check_record(record: Record, index: int = 0) -> None:
    """Refuse a record that no encoding could carry; errors as :func:`resolve`."""
    check_name(record.name, index)
    if record.unit is not None:
        check_unit(record.unit, index)
    for number in (record.time, record.sum, record.update_time):
        if number is not None and type(number) is not Decimal64:
            fail("value", "times and sums must be Decimal64", index)
    value = record.value
    if value is None and record.sum is None:
        fail("malformed", "no value and no sum", index)
    if isinstance(value, str):
        check_text(value, index)
    elif isinstance(value, bytes):
        check_data(value, index)
    elif value is not None and type(value) not in (Decimal64, bool):
        fail("value", f"a {type(value).__name__} is not a value", index)


def value_label(value: Value) -> int:
    """The label that carries a value of this type: V, VS, VB or VD."""
    if isinstance(value, Decimal64):
        return V
    if isinstance(value, bool):
        return VB
    return VS if isinstance(value, str) else VD


def unpacked(record: Record) -> dict[int, object]:
    """A record as a raw record without base fields; a time of 0 and what is None are left out."""
    raw: dict[int, object] = {N: record.name}
    if record.unit is not None:
        raw[U] = record.unit
    if record.value is not None:
        raw[value_label(record.value)] = record.value
    if record.sum is not None:
        raw[S] = record.sum
    if record.time.mantissa:
        raw[T] = record.time
    if record.update_time is not None:
        raw[UT] = record.update_time
    return raw


def packed(records: Sequence[Record], *, shared_name: bool = True) -> list[dict[int, object]]:
    """The inverse of :func:`resolve`, with base fields in the first record to save bytes.

    Args:
        records: 1 to 4096 resolved records.
        shared_name: move a name that all records share into ``bn``.

    Raises:
        EncodingError: as :func:`resolve`.
    """
    check_count(len(records), MAX_RECORDS)
    for index, record in enumerate(records):
        check_record(record, index)
    pack = [unpacked(record) for record in records]
    head: dict[int, object] = {}
    if any(record.unit in SECONDARY_UNITS for record in records if record.unit is not None):
        head[BVER] = Decimal64(SECONDARY_VERSION)
    if len(records) > 1:
        if shared_name and all(record.name == records[0].name for record in records):
            head[BN] = records[0].name
            for raw in pack:
                del raw[N]
        _share_unit(pack, head)
        _share_time(records, pack, head)
    pack[0] = head | pack[0]
    return pack


def _share_unit(pack: list[dict[int, object]], head: dict[int, object]) -> None:
    # A base unit reaches every record without one, so it is used only when none is without.
    if not all(U in raw for raw in pack):
        return
    unit, count = Counter(raw[U] for raw in pack).most_common(1)[0]
    if count < 2:
        return
    head[BU] = unit
    for raw in pack:
        if raw[U] == unit:
            del raw[U]


def _share_time(
    records: Sequence[Record], pack: list[dict[int, object]], head: dict[int, object]
) -> None:
    base = records[0].time
    if base == ZERO:
        return
    try:
        deltas = [record.time - base for record in records]
    except EncodingError:
        return  # times too far apart for one base
    head[BT] = base
    for raw, delta in zip(pack, deltas, strict=True):
        raw.pop(T, None)
        if delta.mantissa:
            raw[T] = delta
