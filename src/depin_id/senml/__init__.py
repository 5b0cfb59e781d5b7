"""SenML readings and packs (RFC 8428), in exact decimal arithmetic."""

from depin_id.senml.cbor import (
    decode_ahead,
    decode_columns,
    decode_pack,
    encode_pack,
    format_cbor,
    parse_cbor,
)
from depin_id.senml.columns import Columns
from depin_id.senml.decimal64 import Decimal64
from depin_id.senml.json import format_json, parse_json
from depin_id.senml.records import MAX_RECORDS, RELATIVE_LIMIT, Record, Value, packed, resolve
from depin_id.senml.units import PRIMARY_UNITS, SECONDARY_UNITS, is_unit, require_unit

__all__ = [
    "MAX_RECORDS",
    "PRIMARY_UNITS",
    "RELATIVE_LIMIT",
    "SECONDARY_UNITS",
    "Columns",
    "Decimal64",
    "Record",
    "Value",
    "decode_ahead",
    "decode_columns",
    "decode_pack",
    "encode_pack",
    "format_cbor",
    "format_json",
    "is_unit",
    "packed",
    "parse_cbor",
    "parse_json",
    "require_unit",
    "resolve",
]
