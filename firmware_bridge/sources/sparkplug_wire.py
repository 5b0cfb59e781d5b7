"""Payloads of Sparkplug B (Sparkplug 3.0, section 6): protobuf in, exact values out.

The messages are described here field by field with the numbers and types that the specification
gives. What a sensor's value has no use for (templates, data sets, files, metadata) is not described
and so never unfolded: depth is bounded by what stands here.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message

from depin_id.errors import ReadingError
from depin_id.senml import Decimal64
from firmware_bridge.strict_json import RawNumber

MAX_BYTES: Final = 131_072
MAX_METRICS: Final = 4096
MAX_NAME: Final = 512
_MAX_PROPERTIES: Final = 64
_MAX_TEXT: Final = 4096

_Kind = descriptor_pb2.FieldDescriptorProto
_FIELDS: Final[dict[str, list[tuple[int, str, Any]]]] = {
    "PropertyValue": [
        (1, "type", _Kind.TYPE_UINT32),
        (2, "is_null", _Kind.TYPE_BOOL),
        (8, "string_value", _Kind.TYPE_BYTES),
    ],
    "PropertySet": [
        (1, "keys", _Kind.TYPE_BYTES),
        (2, "values", "PropertyValue"),
    ],
    "Metric": [
        (1, "name", _Kind.TYPE_BYTES),
        (2, "alias", _Kind.TYPE_UINT64),
        (3, "timestamp", _Kind.TYPE_UINT64),
        (4, "datatype", _Kind.TYPE_UINT32),
        (5, "is_historical", _Kind.TYPE_BOOL),
        (7, "is_null", _Kind.TYPE_BOOL),
        (9, "properties", "PropertySet"),
        (10, "int_value", _Kind.TYPE_UINT32),
        (11, "long_value", _Kind.TYPE_UINT64),
        (12, "float_value", _Kind.TYPE_FLOAT),
        (13, "double_value", _Kind.TYPE_DOUBLE),
        (14, "boolean_value", _Kind.TYPE_BOOL),
        (15, "string_value", _Kind.TYPE_BYTES),
    ],
    "Payload": [
        (1, "timestamp", _Kind.TYPE_UINT64),
        (2, "metrics", "Metric"),
        (3, "seq", _Kind.TYPE_UINT64),
    ],
}
_REPEATED: Final = {("PropertySet", "keys"), ("PropertySet", "values"), ("Payload", "metrics")}
_VALUES: Final = (
    "int_value",
    "long_value",
    "float_value",
    "double_value",
    "boolean_value",
    "string_value",
)


def _classes() -> dict[str, Any]:
    # Names of our own: the payload's are in the specification's file, should that be loaded too.
    file = descriptor_pb2.FileDescriptorProto(
        name="depin_bridge_sparkplug.proto", package="depin_bridge_sparkplug", syntax="proto2"
    )
    for message, fields in _FIELDS.items():
        described = file.message_type.add(name=message)
        for number, name, kind in fields:
            field = described.field.add(name=name, number=number)
            many = (message, name) in _REPEATED
            field.label = _Kind.LABEL_REPEATED if many else _Kind.LABEL_OPTIONAL
            if isinstance(kind, str):
                field.type = _Kind.TYPE_MESSAGE
                field.type_name = f".depin_bridge_sparkplug.{kind}"
            else:
                field.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {
        name: message_factory.GetMessageClass(
            pool.FindMessageTypeByName(f"depin_bridge_sparkplug.{name}")
        )
        for name in _FIELDS
    }


_CLASSES: Final = _classes()

_SIGNED: Final = {1: 8, 2: 16, 3: 32, 4: 64}
_UNSIGNED: Final = {5: 8, 6: 16, 7: 32, 8: 64}
_FLOAT, _DOUBLE, _BOOLEAN, _UINT64 = 9, 10, 11, 8
_TEXTS: Final = frozenset((12, 14, 15))
NUMBERS: Final = frozenset((*_SIGNED, *_UNSIGNED, _FLOAT, _DOUBLE))


def type_of(datatype: int) -> str:
    """``number``, ``bool`` or ``text``; for all others ``other``."""
    if datatype in NUMBERS:
        return "number"
    return "bool" if datatype == _BOOLEAN else "text" if datatype in _TEXTS else "other"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of a payload; what is None was not in it.

    Attributes:
        field: which value field was set, and ``value`` what was in it.
        timestamp: milliseconds since 1970.
        unit: its engineering unit (property ``engUnit``), of births.
    """

    name: str | None
    alias: int | None
    timestamp: int | None
    datatype: int | None
    historical: bool
    null: bool
    field: str | None
    value: Any
    unit: str | None

    def read(self, datatype: int) -> RawNumber | bool | str:
        """Its value as the type that the birth declared, exactly.

        Raises:
            ReadingError: ``sparkplug.type``: it is not of that type.
        """
        try:
            return _value(datatype, self.field, self.value)
        except ReadingError as error:
            raise ReadingError(error.code, f"metric {self.name!r}: {error.message}") from None


@dataclass(frozen=True, slots=True)
class Payload:
    """A decoded payload."""

    timestamp: int | None
    seq: int | None
    metrics: tuple[Metric, ...]


def decode(data: bytes) -> Payload:
    """Read a payload.

    Raises:
        ReadingError: ``input.too_large``, ``sparkplug.payload``.
    """
    if len(data) > MAX_BYTES:
        raise ReadingError("input.too_large", f"{len(data)} bytes, at most {MAX_BYTES}")
    message = _CLASSES["Payload"]()
    try:
        message.ParseFromString(data)
    except (DecodeError, ValueError, RecursionError) as error:
        raise ReadingError("sparkplug.payload", f"no payload: {str(error)[:80]}") from None
    if len(message.metrics) > MAX_METRICS:
        raise ReadingError("input.too_large", f"{len(message.metrics)} metrics")
    return Payload(
        _optional(message, "timestamp"),
        _optional(message, "seq"),
        tuple(_metric(metric) for metric in message.metrics),
    )


def encode(seq: int | None, timestamp: int, metrics: Iterable[dict[str, Any]]) -> bytes:
    """A payload of metrics given as their fields; for what the bridge itself says."""
    payload = _CLASSES["Payload"](timestamp=timestamp)
    if seq is not None:
        payload.seq = seq
    for fields in metrics:
        payload.metrics.add(**fields)
    data: bytes = payload.SerializeToString()
    return data


def _optional(message: Message, field: str) -> Any:
    return getattr(message, field) if message.HasField(field) else None


def _text(data: bytes, where: str, limit: int) -> str:
    if len(data) <= limit:
        try:
            return data.decode()
        except UnicodeDecodeError:
            pass
    raise ReadingError("sparkplug.payload", f"{where} is no text of at most {limit} bytes")


def _metric(metric: Any) -> Metric:
    name = _optional(metric, "name")
    fields = [field for field in _VALUES if metric.HasField(field)]
    if len(fields) > 1:
        raise ReadingError("sparkplug.payload", "a metric has two values")
    field = fields[0] if fields else None
    return Metric(
        None if name is None else _text(name, "a metric's name", MAX_NAME),
        _optional(metric, "alias"),
        _optional(metric, "timestamp"),
        _optional(metric, "datatype"),
        metric.is_historical,
        metric.is_null,
        field,
        None if field is None else getattr(metric, field),
        _unit(metric.properties) if metric.HasField("properties") else None,
    )


def _unit(properties: Any) -> str | None:
    keys, values = properties.keys, properties.values
    if len(keys) != len(values) or len(keys) > _MAX_PROPERTIES:
        raise ReadingError("sparkplug.payload", f"{len(keys)} keys of {len(values)} properties")
    found = [value for key, value in zip(keys, values, strict=True) if key == b"engUnit"]
    if len(found) > 1:
        raise ReadingError("sparkplug.payload", "a metric has two engineering units")
    if not found or found[0].is_null or not found[0].HasField("string_value"):
        return None
    return _text(found[0].string_value, "engUnit", 64).strip() or None


def _value(datatype: int, field: str | None, value: Any) -> RawNumber | bool | str:
    if datatype in _SIGNED or datatype in _UNSIGNED:
        if field in ("int_value", "long_value"):
            return RawNumber(str(_integer(datatype, field, value)))
    elif datatype == _FLOAT and field == "float_value":
        return RawNumber(shortest(value))
    elif datatype == _DOUBLE and field == "double_value":
        return RawNumber(_repr(value))
    elif datatype == _BOOLEAN and field == "boolean_value":
        return bool(value)
    elif datatype in _TEXTS and field == "string_value":
        return _text(value, "a value", _MAX_TEXT)
    raise ReadingError("sparkplug.type", f"{field} is no value of the datatype {datatype}")


def _integer(datatype: int, field: str, value: int) -> int:
    """Signed integers travel as two's complement, cut to their own width or to the field's."""
    wide = 32 if field == "int_value" else 64
    if datatype in _UNSIGNED:
        if value < 1 << _UNSIGNED[datatype]:
            return value
    else:
        width = _SIGNED[datatype]
        half = 1 << (width - 1)
        if value < 1 << width:
            return value - (1 << width) if value >= half else value
        if value >= (1 << wide) - half:
            return value - (1 << wide)
    raise ReadingError("sparkplug.type", f"{value} does not fit the datatype {datatype}")


def shortest(value: float) -> str:
    """The shortest decimal that reads back as the same 32-bit float.

    Raises:
        ReadingError: ``sparkplug.type``: it is not finite.
    """
    if not math.isfinite(value):
        raise ReadingError("sparkplug.type", f"{value!r} is not a value")
    wanted = struct.pack("<f", value)
    for digits in range(1, 9):
        found = f"{value:.{digits}g}"
        try:
            if struct.pack("<f", float(found)) == wanted:
                return _repr(float(found))
        except OverflowError:
            continue
    return _repr(float(f"{value:.9g}"))


def _repr(value: float) -> str:
    if not math.isfinite(value):
        raise ReadingError("sparkplug.type", f"{value!r} is not a value")
    # Minus zero is a sign of arithmetic, not of what was measured.
    return "0" if value == 0 else repr(value)


def milliseconds(value: int | None) -> Decimal64:
    """A timestamp as seconds. Raises ReadingError ``input.time``."""
    if value is None or value >= 1 << 53:
        raise ReadingError("input.time", "there is no timestamp, or none of this age")
    return Decimal64(value, -3)
