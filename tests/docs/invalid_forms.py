"""Invalid bytes and keys: one thing wrong in each, and the code it is refused with."""

from __future__ import annotations

import struct
from typing import Any

from depin_id import cbor
from depin_id.did.key import did_key
from tests.docs.material import Material

CBOR = [
    ("integer in a longer head", "1817", "encoding.not_deterministic"),
    ("negative integer in a longer head", "390001", "encoding.not_deterministic"),
    ("length in a longer head", "5800", "encoding.not_deterministic"),
    ("tag in a longer head", "d81200", "encoding.not_deterministic"),
    ("array of indefinite length", "9f01ff", "encoding.not_deterministic"),
    ("text of indefinite length", "7f6161ff", "encoding.not_deterministic"),
    ("map keys out of order", "a220000a00", "encoding.not_deterministic"),
    (
        "map keys in the order of RFC 7049 (length first)",
        "a3200018640061610a",
        "encoding.not_deterministic",
    ),
    ("map key twice", "a201000100", "encoding.not_deterministic"),
    ("float longer than needed", "fa3fc00000", "encoding.not_deterministic"),
    ("NaN with a payload", "f97e01", "encoding.not_deterministic"),
    ("float as a map key", "a1f93c0000", "encoding.malformed"),
    ("undefined", "f7", "encoding.malformed"),
    ("simple value 32", "f820", "encoding.malformed"),
    ("reserved additional information", "1c", "encoding.malformed"),
    ("text that is not UTF-8", "61ff", "encoding.malformed"),
    ("ends inside an item", "8201", "encoding.malformed"),
    ("bytes after the item", "0000", "encoding.malformed"),
    ("an array that claims 2^32 items", "9b0000000100000000", "encoding.malformed"),
    ("nothing", "", "encoding.malformed"),
    ("nested 18 deep", "81" * 18 + "00", "encoding.too_deep"),
]


def _float(value: float) -> bytes:
    return b"\xfb" + struct.pack(">d", value)


def packs() -> list[tuple[str, bytes, str]]:
    def one(value: Any, **more: Any) -> bytes:
        extra = {int(key.removeprefix("l").replace("_", "-")): item for key, item in more.items()}
        return cbor.encode([{0: "LAeq", 2: value, **extra}])

    record = bytes.fromhex("81a200644c41657102")
    return [
        ("no record", b"\x80", "senml.empty"),
        ("no array", b"\xa0", "senml.malformed"),
        ("value is a float", one(1.5), "senml.value"),
        ("value is NaN", record + bytes.fromhex("f97e00"), "senml.value"),
        ("value is infinity", record + bytes.fromhex("f97c00"), "senml.value"),
        ("value is -0.0", record + bytes.fromhex("f98000"), "senml.value"),
        ("value is a float in a longer form", record + _float(1.5), "encoding.not_deterministic"),
        ("value is a bignum (tag 2)", one(cbor.Tag(2, b"\x01")), "senml.value"),
        ("value is a bigfloat (tag 5)", one(cbor.Tag(5, [1, 1])), "senml.value"),
        ("exponent 19", one(cbor.Tag(4, [19, 1])), "senml.value"),
        ("exponent -19", one(cbor.Tag(4, [-19, 1])), "senml.value"),
        ("mantissa over int64", one(cbor.Tag(4, [-1, 2**63])), "senml.value"),
        ("integer over int64", one(2**63), "senml.value"),
        ("decimal fraction of three", one(cbor.Tag(4, [-1, 1, 1])), "senml.value"),
        ("value is null", one(None), "senml.value"),
        ("two values", one(1, l3="x"), "senml.malformed"),
        ("no value and no sum", cbor.encode([{0: "LAeq"}]), "senml.malformed"),
        ("no name", cbor.encode([{2: 1}]), "senml.name"),
        ("name begins with a point", cbor.encode([{0: ".x", 2: 1}]), "senml.name"),
        ("name longer than 128", cbor.encode([{0: "x" * 129, 2: 1}]), "senml.name"),
        (
            "bn is somebody else's identifier",
            one(1, l_2="urn:dev:mac:0024befffe804ff1/"),
            "senml.name",
        ),
        ("base value", one(1, l_5=1), "senml.malformed"),
        (
            "base field after the first record",
            cbor.encode([{0: "a", 2: 1}, {-2: "b", 0: "c", 2: 1}]),
            "senml.malformed",
        ),
        ("unknown field", one(1, l9=1), "senml.malformed"),
        ("field with a text label", cbor.encode([{0: "a", 2: 1, "x": 1}]), "senml.malformed"),
        ("unknown version", one(1, l_1=11), "senml.malformed"),
        ("unit with a space", one(1, l1="d B"), "senml.unit"),
        ("text where a truth value belongs", cbor.encode([{0: "a", 4: "yes"}]), "senml.value"),
        ("more than 4096 records", b"\x99\x10\x01", "senml.too_many"),
    ]


def keys(made: Material) -> list[dict[str, Any]]:
    x = made.key("device").raw
    p256 = made.key("device-p256")
    swapped = cbor.encode({1: 1, -1: 6, -2: x, 2: b"kid"})
    rows: list[dict[str, Any]] = [
        {
            "operation": "key",
            "name": "identity point",
            "curve": "ed25519",
            "bytes": "01" + "00" * 31,
            "error": "key.not_admissible",
        },
        {
            "operation": "key",
            "name": "point of order eight",
            "curve": "ed25519",
            "bytes": "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
            "error": "key.not_admissible",
        },
        {
            "operation": "key",
            "name": "31 bytes",
            "curve": "ed25519",
            "bytes": x[:31].hex(),
            "error": "key.not_admissible",
        },
        {
            "operation": "key",
            "name": "published key (RFC 8032, test 1)",
            "curve": "ed25519",
            "bytes": "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "error": "key.not_admissible",
        },
        {
            "operation": "key",
            "name": "no point of P-256",
            "curve": "p256",
            "bytes": "02" + "ff" * 32,
            "error": "key.not_admissible",
        },
        {
            "operation": "key",
            "name": "unknown curve",
            "curve": "secp256k1",
            "bytes": p256.raw.hex(),
            "error": "key.not_admissible",
        },
        {
            "operation": "cose_key",
            "name": "a member too many",
            "bytes": swapped.hex(),
            "error": "key.malformed",
        },
        {
            "operation": "cose_key",
            "name": "compressed y of P-256",
            "error": "key.malformed",
            "bytes": cbor.encode({1: 2, -1: 1, -2: p256.raw[1:], -3: True}).hex(),
        },
        {
            "operation": "did",
            "name": "identity point as did:key",
            "error": "key.not_admissible",
            "text": "did:key:z6MkeXATEjyXENzBXBxgC5EHk2JE5aqd7qMGGtDpLUH1e2Sj",
        },
        {
            "operation": "did",
            "name": "did:key with a fragment",
            "error": "did.malformed",
            "text": did_key(made.key("device")) + "#key",
        },
        {
            "operation": "did",
            "name": "other method",
            "error": "did.method_not_supported",
            "text": "did:web:example.net",
        },
    ]
    return rows
