"""SenML-CBOR (RFC 8428 section 6): the strict form of our wire, and the standard form of others.

The wire form is standard SenML-CBOR with less freedom: deterministic encoding; numbers are
integers or decimal fractions (tag 4), never floats; base fields only in the first record, and
only ``bver``, ``bn``, ``bt`` and ``bu``; nothing that is not understood. ``bn`` is the subject
itself, or the beginning of the subject's own names (no ``:`` in it, so that it never looks like
somebody else's identifier). A record's name is always relative to the subject.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NoReturn

from depin_id import cbor
from depin_id.errors import EncodingError
from depin_id.senml import standard
from depin_id.senml.columns import Columns, read_columns
from depin_id.senml.decimal64 import INT64_MAX, INT64_MIN, ZERO, Decimal64, canonical, unchecked
from depin_id.senml.records import (
    BN,
    BT,
    BU,
    BVER,
    MAX_NAME,
    MAX_RECORDS,
    SECONDARY_VERSION,
    UT,
    VB,
    VD,
    VERSION,
    VS,
    Record,
    S,
    Value,
    check_data,
    check_name,
    check_text,
    check_unit,
    fail,
    packed,
    resolve,
)

MAX_BYTES: Final = cbor.MAX_BYTES
_DEPTH: Final = 6
_BASES: Final = frozenset((BVER, BN, BT, BU))


def encode_pack(records: Sequence[Record]) -> bytes:
    """Records in the wire form.

    Args:
        records: 1 to 4096 records whose names are relative to the signing subject; times in
            seconds, absolute or relative to sealing (below 2**28).

    Returns:
        Deterministic CBOR, content format 112.

    Raises:
        EncodingError: ``senml.*`` as :func:`depin_id.senml.records.resolve`;
            ``senml.too_many`` also when the pack exceeds 128 KiB.
    """
    local = bool(records) and ":" not in records[0].name
    pack = packed(records, shared_name=local)
    data = cbor.head(4, len(pack)) + b"".join([_wire_record(raw) for raw in pack])
    if len(data) > MAX_BYTES:
        raise EncodingError(
            "senml.too_many", f"the pack exceeds {MAX_BYTES} bytes", hint="send several packs"
        )
    return data


def format_cbor(records: Sequence[Record], *, floats: bool = False) -> bytes:
    """Records as standard SenML-CBOR with base fields.

    Args:
        records: 1 to 4096 records with full names.
        floats: write binary floats in place of decimal fractions where the float's shortest
            decimal is the same number; for receivers that know no tag 4.

    Raises:
        EncodingError: as :func:`encode_pack`.
    """
    return _encode(packed(records), floats=floats)


def parse_cbor(data: bytes, *, max_records: int = MAX_RECORDS) -> list[Record]:
    """Read and resolve any standard SenML-CBOR pack (floats, any key order, indefinite lengths).

    For packs of other people's systems; what is signed goes through :func:`decode_pack`.

    Raises:
        EncodingError: ``senml.*``.
    """
    return resolve(standard.read_pack(data, max_records=max_records), max_records=max_records)


def _encode(pack: Sequence[dict[int, object]], *, floats: bool) -> bytes:
    return cbor.encode(
        [{label: _plain(value, floats) for label, value in raw.items()} for raw in pack]
    )


def _wire_record(raw: dict[int, object]) -> bytes:
    """What :func:`_encode` gives for one record, several times faster."""
    parts = [bytes((0xA0 | len(raw),))]
    # Labels below 0 are written as 0x20 and up, so they come after the others, -1 first.
    for label in sorted(raw, key=_LABEL_ORDER):
        value = raw[label]
        parts.append(_LABELS[label])
        if type(value) is Decimal64:
            mantissa = value.mantissa
            if value.exponent:
                parts.append(_EXPONENTS[value.exponent])
            parts.append(cbor.uint(mantissa) if mantissa >= 0 else cbor.head(1, -1 - mantissa))
        elif type(value) is str:
            parts.append(cbor.short_text(value) if len(value) <= MAX_NAME else cbor.encode(value))
        else:
            parts.append(cbor.encode(value))
    return b"".join(parts)


def _label_order(label: int) -> int:
    return label if label >= 0 else 0x20 - label


_LABEL_ORDER = {label: _label_order(label) for label in range(BVER - 5, VD + 1)}.__getitem__
_LABELS = {label: cbor.encode(label) for label in range(BVER - 5, VD + 1)}
_EXPONENTS = {power: b"\xc4\x82" + cbor.encode(power) for power in range(-18, 19)}


def _plain(value: object, floats: bool) -> object:
    if not isinstance(value, Decimal64):
        return value
    if value.exponent == 0:
        return value.mantissa
    if floats:
        binary = value.to_float()
        if Decimal64.from_text(repr(binary)) == value:
            return binary
    return cbor.Tag(4, [value.exponent, value.mantissa])


# --- the hot path ---------------------------------------------------------------------------------


def _refuse_number(number: object, index: int) -> NoReturn:
    shown = "a float" if isinstance(number, float) else f"a {type(number).__name__}"
    if isinstance(number, cbor.Tag):
        shown = f"tag {number.tag}"
    fail(
        "value",
        f"{shown} is not a number of the wire",
        index,
        "integers within int64, or decimal fractions (tag 4) with an exponent from -18 to 18",
    )


def _number(number: Any, index: int) -> Decimal64:
    """An integer or a tag 4 decimal fraction, exactly."""
    kind = type(number)
    if kind is int:
        if INT64_MIN <= number <= INT64_MAX:
            return unchecked(number, 0)
        _refuse_number(number, index)
    if kind is not cbor.Tag or number.tag != 4:
        _refuse_number(number, index)
    parts = number.value
    if type(parts) not in (list, tuple) or len(parts) != 2:
        _refuse_number(number, index)
    exponent, mantissa = parts
    if (
        type(exponent) is not int
        or type(mantissa) is not int
        or not -18 <= exponent <= 18
        or not INT64_MIN <= mantissa <= INT64_MAX
    ):
        _refuse_number(number, index)
    if exponent >= 0 or mantissa % 10 == 0:
        mantissa, exponent = canonical(mantissa, exponent)
    return unchecked(mantissa, exponent)


def _check_head(data: bytes, max_records: int) -> tuple[int, int]:
    """Where the records begin and how many they are, by the head and before anything is built."""
    if len(data) > MAX_BYTES:
        raise EncodingError("senml.too_many", f"the pack exceeds {MAX_BYTES} bytes")
    if not data or data[0] >> 5 != 4:
        raise EncodingError("senml.malformed", "a pack is a CBOR array of maps")
    info = data[0] & 31
    count = info if info < 24 else int.from_bytes(data[1 : 1 + (1 << (info & 3))], "big")
    if info <= 27 and count > max_records:
        raise EncodingError(
            "senml.too_many", f"the pack has {count} records, at most {max_records} are taken"
        )
    if count == 0 and info < 24:
        raise EncodingError("senml.empty", "the pack has no record")
    return (1, count) if info < 24 else (1 + (1 << (info & 3)), count)


def _base_name(name: object, subject: str | None) -> str:
    if type(name) is not str:
        fail("name", "bn must be text", 0)
    if subject is not None and name == subject:
        return ""
    if ":" in name or len(name) > MAX_NAME:
        fail("name", "bn is neither the subject nor the beginning of its own names", 0)
    return name


def _check_version(version: object) -> None:
    if type(version) is not int or version not in (VERSION, SECONDARY_VERSION):
        fail("malformed", "bver must be 10, or 26 for secondary units", 0)


def _check_labels(raw: dict[Any, Any], index: int) -> None:
    for label in raw:
        if type(label) is not int or not BVER - 5 <= label <= VD:
            fail("malformed", "a field that is not of RFC 8428", index)
        if label < 0 and (index > 0 or label not in _BASES):
            fail("malformed", f"base field {label} has no place here", index)


def _other_value(raw: dict[Any, Any], index: int) -> Value | None:
    """The value of a record without ``v``."""
    found: list[Value] = []
    if VS in raw:
        found.append(check_text(raw[VS], index))
    if VB in raw:
        flag = raw[VB]
        if type(flag) is not bool:
            fail("value", "vb must be true or false", index)
        found.append(flag)
    if VD in raw:
        found.append(check_data(raw[VD], index))
    if len(found) > 1:
        fail("malformed", "more than one value", index)
    return found[0] if found else None


def decode_pack(
    data: bytes, *, subject: str | None = None, max_records: int = MAX_RECORDS
) -> list[Record]:
    """Read a pack in the wire form.

    Args:
        data: the payload as it was signed, at most 128 KiB.
        subject: who the readings are about (a DID or DID URL); None when there is none to name,
            then ``bn`` can only begin the subject's own names.
        max_records: the most records taken.

    Returns:
        Resolved records in order. Names are relative to the subject. Times are sums of ``bt`` and
        ``t``: below 2**28 relative to sealing, else Unix seconds. A unit is checked by form only:
        whether it is the right one, the device's profile says.

    Raises:
        EncodingError: ``senml.malformed``, ``senml.value`` (also any float, NaN, tag other than
            4), ``senml.name``, ``senml.unit``, ``senml.empty``, ``senml.too_many``, or
            ``encoding.*`` when the bytes are not deterministic CBOR.
    """
    found = decode_columns(data, subject=subject, max_records=max_records)
    return found.records() if isinstance(found, Columns) else found


def decode_columns(
    data: bytes, *, subject: str | None = None, max_records: int = MAX_RECORDS
) -> Columns | list[Record]:
    """Read a pack in the wire form as columns, many times faster, if it is a common one.

    Args:
        data, subject, max_records: as :func:`decode_pack`.

    Returns:
        What :func:`decode_pack` gives: as columns, or as records where there are other values than
        numbers or long or unusual texts.

    Raises:
        EncodingError: as :func:`decode_pack`.
    """
    start, count = _check_head(data, max_records)
    found = None
    # A head longer than needed is not deterministic: the general reader refuses it.
    if start == 1 or (start == 2 and count > 23) or (start == 3 and count > 255):
        found = read_columns(data, start, count, lambda name: _base_name(name, subject))
    return _decode_any(data, subject) if found is None else found


def decode_ahead(data: bytes) -> Columns | None:
    """What :func:`decode_columns` gives whoever the subject is, before that is known.

    None when it depends on the subject, or when it is no common pack; never an error.
    """
    try:
        found = decode_columns(data)
    except EncodingError:
        return None
    return found if isinstance(found, Columns) else None


def _decode_any(data: bytes, subject: str | None) -> list[Record]:
    """Any pack of the wire form, and the errors of what is none."""
    pack = cbor.decode(data, max_bytes=MAX_BYTES, max_depth=_DEPTH)
    prefix, base_unit, base_time = "", None, ZERO
    head = pack[0]
    if type(head) is dict and not head.keys().isdisjoint(_BASES):
        if BVER in head:
            _check_version(head[BVER])
        if BN in head:
            prefix = _base_name(head[BN], subject)
        if BU in head:
            base_unit = check_unit(head[BU], 0)
        if BT in head:
            base_time = _number(head[BT], 0)
    base_seconds = base_time.mantissa if base_time.exponent == 0 else None
    # Names and units repeat: each is checked once and shared.
    names: dict[object, str] = {}
    units: dict[object, str] = {}
    records: list[Record] = []
    for index, raw in enumerate(pack):
        if type(raw) is not dict:
            fail("malformed", "a record is a map", index)
        # get() counts what the common record has; any other label makes the counts differ.
        seen = 0
        name, unit, number, time = raw.get(0), raw.get(1), raw.get(2), raw.get(6)
        if name is not None:
            seen = 1
            if type(name) is not str:
                fail("name", "n must be text", index)
        full = names.get(name)
        if full is None:
            full = names[name] = check_name(prefix + (name or ""), index)
        shown: str | None = base_unit
        if unit is not None:
            seen += 1
            if type(unit) is not str:
                fail("unit", "u must be text", index)
            shown = units.get(unit)
            if shown is None:
                shown = units[unit] = check_unit(unit, index)
        if time is None:
            when = base_time
        else:
            seen += 1
            if type(time) is int and base_seconds is not None:
                second = base_seconds + time
                if not INT64_MIN <= second <= INT64_MAX:
                    fail("value", "the time does not fit int64", index)
                when = unchecked(second, 0)
            else:
                when = base_time + _number(time, index)
        value: Value | None = None
        if number is not None:
            seen += 1
            value = _number(number, index)
        if seen == len(raw) and value is not None:
            records.append(Record(full, shown, value, when))
        else:
            records.append(_uncommon(raw, index, Record(full, shown, value, when)))
    return records


def _uncommon(raw: dict[Any, Any], index: int, record: Record) -> Record:
    """A record with base fields, another kind of value, a sum or an update time."""
    _check_labels(raw, index)
    for label in (0, 1, 2, 6):
        if label in raw and raw[label] is None:
            fail("value", f"label {label} is null", index)
    other = _other_value(raw, index)
    if other is not None and record.value is not None:
        fail("malformed", "more than one value", index)
    value = record.value if other is None else other
    total = _number(raw[S], index) if S in raw else None
    if value is None and total is None:
        fail("malformed", "no value and no sum", index, "give one of v, vs, vb, vd, s")
    update = _number(raw[UT], index) if UT in raw else None
    return Record(record.name, record.unit, value, record.time, total, update)
