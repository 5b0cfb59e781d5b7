"""Deterministic CBOR: other people's vectors, and the fast reader against the strict one."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from depin_id import cbor
from depin_id.cbor import Tag, decode, decode_prefix, decode_strict, encode, item_end
from depin_id.errors import EncodingError
from tests.paths import vectors


def shape(value: Any) -> Any:
    """A value with the types of everything in it; NaN equal to itself."""
    if isinstance(value, Tag):
        return ("tag", value.tag, shape(value.value))
    if isinstance(value, dict):
        return (type(value), [(shape(key), shape(item)) for key, item in value.items()])
    if isinstance(value, list | tuple):
        return (type(value), [shape(item) for item in value])
    if isinstance(value, float):
        return ("float", str(value))
    return (type(value), value)


def outcome(reader: Any, data: bytes) -> Any:
    try:
        return shape(reader(data))
    except EncodingError as error:
        return error.code


def agree(data: bytes) -> None:
    found = outcome(decode_strict, data)
    assert outcome(decode, data) == found, data.hex()
    if not isinstance(found, str):
        assert encode(decode(data)) == data
        assert item_end(data, 0) == len(data)


# --- vectors ----------------------------------------------------------------------------------


def _appendix_a() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(vectors("cbor-appendix-a/appendix_a.json").read_text())
    return found


def test_rfc_8949_appendix_a() -> None:
    taken = 0
    for case in _appendix_a():
        data = bytes.fromhex(case["hex"])
        agree(data)
        try:
            value = decode(data)
        except EncodingError:
            continue
        taken += 1
        if "decoded" in case and not isinstance(value, Tag):
            assert value == case["decoded"], case
        elif case.get("diagnostic") == "NaN":
            assert math.isnan(value)
    # Not taken: 11 of indefinite length, 6 floats longer than needed, 4 simple values.
    assert taken == 82 - 11 - 6 - 4


def test_dcbor_vectors() -> None:
    for case in json.loads(vectors("dcbor-hildjj/valid.json").read_text()):
        data = bytes.fromhex(case["hex"])
        agree(data)
    # dCBOR refuses more than determinism asks: floats that equal integers, 65-bit integers, NaN
    # payloads and texts that are not in Unicode NFC; they are refused one layer up, or kept here.
    kept = {"f94a00", "3b8000000000000000", "3bffffffffffffffff", "f98000", "c24102"}
    kept |= {"c24a00010000000000000001", "6345cc88"}
    taken = set()
    for case in json.loads(vectors("dcbor-hildjj/invalid.json").read_text()):
        agree(bytes.fromhex(case["hex"]))
        if not isinstance(outcome(decode, bytes.fromhex(case["hex"])), str):
            taken.add(case["hex"])
    assert taken <= kept, taken - kept


# --- fast against strict ------------------------------------------------------------------------

scalars = (
    st.integers(-(2**64), 2**64 - 1)
    | st.binary(max_size=40)
    | st.text(max_size=30)
    | st.booleans()
    | st.none()
    | st.floats()
)
keys = st.integers(-(2**64), 2**64 - 1) | st.text(max_size=5) | st.binary(max_size=5)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(keys, inner, max_size=5)
        | st.builds(Tag, st.integers(0, 300) | st.integers(0, 2**64 - 1), inner)
    ),
    max_leaves=12,
)


@given(values)
def test_what_is_written_is_read_back(value: Any) -> None:
    data = encode(value)
    agree(data)
    assert encode(decode(data)) == data
    assert outcome(decode, data) == outcome(decode_strict, data)


@given(values, st.data())
def test_mutated_bytes_are_judged_alike(value: Any, data: st.DataObject) -> None:
    raw = bytearray(encode(value))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw)))
        raw[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    agree(bytes(raw))


@given(st.binary(max_size=24))
@example(b"\xa1\xf5\x00")
@example(b"\xa1\xf9\x3c\x00\x00")
@example(b"\xd2\x81\xa0")
@example(b"\xc4\x82\x00\xf5")
@example(b"\xf7")
def test_random_bytes_are_judged_alike(raw: bytes) -> None:
    agree(raw)


CONTENTS = [
    *(b"\x00", b"\x20", b"\x41\x01", b"\x61\x61", b"\x80", b"\xa0", b"\xf6", b"\xf5"),
    *(b"\x82\x01\x02", b"\x82\x20\x19\x01\x00", b"\xa1\x01\x02", b"\x81\x81\x80", b"\xf9\x3c\x00"),
    *(b"\x6a2026-11-21", b"\x81\xa1\x01\x80", b"\xd2\x80", b"\xc4\x82\x00\x01", b"\xd8\x1c\x80"),
    *(b"\x69127.0.0.1", b"\x44\x7f\x00\x00\x01", b"\x82\x82\x01\x02\x82\x03\x04"),
]


@pytest.mark.parametrize("content", CONTENTS, ids=bytes.hex)
def test_no_tag_is_converted(content: bytes) -> None:
    for number in [*range(301), 1004, 43000, 55799, 2**64 - 1]:
        for data in (
            encode(Tag(number, 0))[:-1] + content,
            b"\x81" + encode(Tag(number, 0))[:-1] + content,
            b"\xd2" + encode(Tag(number, 0))[:-1] + content,
        ):
            agree(data)
            found = decode(data)
            assert isinstance(found[0] if data[0] == 0x81 else found, Tag)


# --- bounds ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data, code",
    [
        (b"\x81" * 40 + b"\x00", "encoding.too_deep"),
        (b"\xd2" * 40 + b"\x00", "encoding.too_deep"),
        (b"\xd2" + b"\x81" * 16 + b"\x00", "encoding.too_deep"),
        (b"\x00" * 131_073, "encoding.too_large"),
        (b"\x9b" + b"\xff" * 8, "encoding.malformed"),
        (b"\x5b" + b"\xff" * 8, "encoding.malformed"),
        (b"\xbb" + b"\x7f" * 8, "encoding.malformed"),
        (b"", "encoding.malformed"),
        (b"\x00\x00", "encoding.malformed"),
    ],
    ids=lambda value: value[:6].hex() if isinstance(value, bytes) else value,
)
def test_hostile_sizes(data: bytes, code: str) -> None:
    assert outcome(decode, data) == outcome(decode_strict, data) == code


def test_depth_is_the_same_for_both_readers() -> None:
    for depth in range(20):
        for head in (b"\x81", b"\xd2", b"\xc4", b"\xa1\x00"):
            agree(head * depth + b"\x00")
            agree(b"\xd2" + head * depth + b"\x00")


@given(st.lists(values, max_size=4))
def test_a_sequence_falls_into_its_items(items: list[Any]) -> None:
    data = b"".join(encode(item) for item in items)
    at = 0
    for item in items:
        assert item_end(data, at) == at + len(encode(item))
        assert shape(decode_prefix(data[at:])[0]) == outcome(decode_strict, encode(item))
        at = item_end(data, at)
    assert at == len(data)


@pytest.mark.parametrize("value", [2**64, -(2**64) - 1, {1.5: 0}, {True: 0}, {1, 2}, "\ud800"])
def test_what_has_no_wire_form(value: Any) -> None:
    with pytest.raises(EncodingError, match="unsupported"):
        encode(value)


def test_a_value_nested_too_deeply_is_not_written() -> None:
    value: Any = 0
    for _ in range(cbor.MAX_DEPTH + 1):
        value = [value]
    with pytest.raises(EncodingError, match="too_deep"):
        encode(value)
