"""Vectors without a signature: deterministic CBOR and packs of readings."""

from __future__ import annotations

from typing import Any

from depin_id import cbor
from depin_id.did.key import did_key
from depin_id.senml import Decimal64, Record, decode_pack, encode_pack
from tests.docs.material import NOON, Material

NUMBERS = [0, 23, 24, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**63 - 1, 2**64 - 1]


def cbor_cases() -> list[dict[str, str]]:
    """One value each, with the one encoding that is taken."""
    values: list[tuple[str, Any]] = [(str(number), number) for number in NUMBERS]
    values += [(str(-1 - number), -1 - number) for number in NUMBERS]
    values += [
        ("h''", b""),
        ("h'00ff'", b"\x00\xff"),
        ('""', ""),
        ('"\\u00fc\\u6c34"', "\u00fc\u6c34"),
        ("[]", []),
        ("{}", {}),
        ("true", True),
        ("false", False),
        ("null", None),
        ("1.5", 1.5),
        ("100000.0", 100000.0),
        ("1.1", 1.1),
        ("-0.0", -0.0),
        (
            '{10: 1, 100: 2, -1: 3, -100: 4, "z": 5, "aa": 6}',
            {-100: 4, "aa": 6, -1: 3, "z": 5, 100: 2, 10: 1},
        ),
        ("{-65537: 0}", {-65537: 0}),
        ("4([-2, 5231])", cbor.Tag(4, [-2, 5231])),
        ("[1, [2, [3, {4: [5]}]]]", [1, [2, [3, {4: [5]}]]]),
    ]
    return [{"value": text, "bytes": cbor.encode(value).hex()} for text, value in values]


def level(index: int) -> Decimal64:
    """A made-up sound level, in dB with two decimals."""
    return Decimal64(5231 + (index * index * 37 + index * 11) % 900, -2)


def sound(count: int, start: int) -> list[Record]:
    """Sound levels, one a second from ``start`` (seconds; below 2**28 relative to sealing)."""
    return [Record("LAeq", "dB", level(i), Decimal64(start + i)) for i in range(count)]


def pack_cases(made: Material) -> list[dict[str, Any]]:
    """Packs as senders write them, and what a reader makes of them."""
    did = did_key(made.key("device"))
    mixed = [
        Record("text", None, "rain", Decimal64(NOON)),
        Record("door", None, True, Decimal64(NOON)),
        Record("raw", None, b"\x01\x02", Decimal64(NOON)),
        Record("rain", "mm", Decimal64(3, -1), Decimal64(NOON), Decimal64(125, -1), Decimal64(60)),
    ]
    hand = {
        "bn is the subject: names are what n says": [
            {-2: did, 0: "LAeq", 1: "dB", 2: cbor.Tag(4, [-2, 5231])}
        ],
        "bn is the beginning of the names": [
            {-2: "LAeq.", -4: "dB", 0: "fast", 2: 1},
            {0: "slow", 2: 2},
        ],
        "bt and t are added; the sum is below 2^28, so relative": [
            {-3: -10, 0: "LAeq", 1: "dB", 2: 50, 6: cbor.Tag(4, [-3, 250])}
        ],
        "one below and one at 2^28": [
            {0: "a", 2: 1, 6: 2**28 - 1},
            {0: "a", 2: 1, 6: 2**28},
        ],
        "the largest numbers": [
            {0: "a", 2: 2**63 - 1},
            {0: "a", 2: -(2**63)},
            {0: "a", 2: cbor.Tag(4, [-18, 1])},
            {0: "a", 2: cbor.Tag(4, [18, 7])},
        ],
        "a decimal fraction that is not in lowest terms is the same number": [
            {0: "a", 2: cbor.Tag(4, [-2, 100])}
        ],
    }
    cases = [
        ("one reading", encode_pack(sound(1, NOON))),
        ("ten readings: bn, bt and bu in the first record", encode_pack(sound(10, NOON))),
        ("times before sealing, no clock", encode_pack(sound(3, -2))),
        ("text, truth value, bytes, sum and update time; bver 26 for mm", encode_pack(mixed)),
        *((name, cbor.encode(pack)) for name, pack in hand.items()),
    ]
    return [
        {
            "name": name,
            "subject": did,
            "bytes": data.hex(),
            "records": [_record(record) for record in decode_pack(data, subject=did)],
        }
        for name, data in cases
    ]


def _record(record: Record) -> dict[str, Any]:
    value = record.value
    shown: dict[str, Any] = {}
    if isinstance(value, Decimal64):
        shown = {"number": str(value)}
    elif isinstance(value, bool):
        shown = {"bool": value}
    elif isinstance(value, str):
        shown = {"text": value}
    elif isinstance(value, bytes):
        shown = {"bytes": value.hex()}
    out: dict[str, Any] = {"name": record.name, "unit": record.unit, **shown}
    out["time"] = str(record.time)
    if record.sum is not None:
        out["sum"] = str(record.sum)
    if record.update_time is not None:
        out["update_time"] = str(record.update_time)
    return out
