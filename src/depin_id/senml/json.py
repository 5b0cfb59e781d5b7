"""SenML JSON (RFC 8428 section 5), read strictly and exactly.

Standard JSON readers take duplicate keys and NaN and round numbers; here each is an error, and a
number becomes the decimal that was written.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final, NoReturn

from depin_id import base64url
from depin_id.errors import EncodingError
from depin_id.senml.decimal64 import Decimal64
from depin_id.senml.records import (
    BN,
    BS,
    BT,
    BU,
    BV,
    BVER,
    MAX_RECORDS,
    MAX_TEXT,
    UT,
    VB,
    VD,
    VS,
    N,
    Record,
    S,
    T,
    U,
    V,
    check_count,
    check_record,
    fail,
    packed,
    resolve,
    unpacked,
)

MAX_BYTES: Final = 1 << 20
_LABELS: Final = {
    "bver": BVER, "bn": BN, "bt": BT, "bu": BU, "bv": BV, "bs": BS, "n": N, "u": U, "v": V,
    "vs": VS, "vb": VB, "vd": VD, "s": S, "t": T, "ut": UT,
}  # fmt: skip
_NAMES: Final = {label: name for name, label in _LABELS.items()}


def _malformed(message: str) -> NoReturn:
    raise EncodingError("senml.malformed", message, hint="send a SenML pack: a JSON array of maps")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        _malformed("an object names a key twice")
    return found


def _constant(name: str) -> NoReturn:
    raise EncodingError("senml.value", f"{name} is not a value", hint="leave the record out")


def parse_json(text: str | bytes, *, max_records: int = MAX_RECORDS) -> list[Record]:
    """Read and resolve a SenML JSON pack.

    Args:
        text: UTF-8, at most 1 MiB.
        max_records: the most records taken.

    Returns:
        Resolved records. Unknown fields are ignored unless their name ends in ``_``
        (section 4.4: must understand).

    Raises:
        EncodingError: ``senml.malformed``, ``senml.value``, ``senml.name``, ``senml.unit``,
            ``senml.empty`` or ``senml.too_many``.
    """
    if len(text) > MAX_BYTES:
        raise EncodingError("senml.too_many", f"the pack exceeds {MAX_BYTES} bytes")
    try:
        plain = text.decode("utf-8") if isinstance(text, bytes) else text
        document = json.loads(
            plain,
            object_pairs_hook=_object,
            parse_float=Decimal64.from_text,
            parse_int=Decimal64.from_text,
            parse_constant=_constant,
        )
    except RecursionError:
        _malformed("the JSON is nested too deeply")
    except ValueError as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        _malformed(f"not JSON: {error}")
    if type(document) is not list:
        _malformed("a pack is a JSON array")
    check_count(len(document), max_records)
    return resolve([_raw(item, i) for i, item in enumerate(document)], max_records=max_records)


def _raw(item: object, index: int) -> dict[int, object]:
    if not isinstance(item, dict):
        fail("malformed", "a record is a JSON object", index)
    raw: dict[int, object] = {}
    for key, value in item.items():
        label = _LABELS.get(key)
        if label is not None:
            raw[label] = _data(value, index) if label == VD else value
        elif key.endswith("_"):
            fail("malformed", f"field {key[:40]!r} must be understood and is not", index)
    return raw


def _data(value: object, index: int) -> bytes:
    """base64url without padding, in its one spelling (RFC 4648 section 3.5)."""
    hint = "vd is base64url without padding"
    if not isinstance(value, str) or len(value) > 2 * MAX_TEXT:
        fail("value", "vd is not base64url", index, hint)
    try:
        return base64url.decode(value)
    except EncodingError:
        fail("value", "vd is not base64url", index, hint)


def format_json(records: Sequence[Record], *, base: bool = True) -> str:
    """Write a SenML JSON pack; numbers exactly as decimals, one record a line.

    Args:
        records: 1 to 4096 records.
        base: use base fields to make it small; False writes resolved records (section 4.6).

    Raises:
        EncodingError: as :func:`parse_json`.
    """
    if base:
        pack = packed(records)
    else:
        check_count(len(records), MAX_RECORDS)
        for index, record in enumerate(records):
            check_record(record, index)
        pack = [unpacked(record) for record in records]
    return "[" + ",\n ".join(_format(raw) for raw in pack) + "]"


def _format(raw: dict[int, object]) -> str:
    return "{" + ",".join(f'"{_NAMES[k]}":{_format_value(v)}' for k, v in raw.items()) + "}"


def _format_value(value: object) -> str:
    if isinstance(value, Decimal64):
        return str(value)
    if isinstance(value, bytes):
        return f'"{base64url.encode(value)}"'
    return json.dumps(value, ensure_ascii=False)
