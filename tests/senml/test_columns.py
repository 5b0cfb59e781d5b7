"""Read by patterns or by the general reader, bytes are the same pack, or none."""

from __future__ import annotations

import pytest

from depin_id import cbor
from depin_id.errors import EncodingError
from depin_id.senml import Columns, decode_columns
from depin_id.senml.cbor import _check_head, _decode_any
from depin_id.senml.records import Record

_PACKS = (
    [{0: "a", 1: "dB", 2: 300, 6: -2, -2: "x", -3: 1_760_000_000, -4: "Pa"}, {2: 24, 6: 1}],
    [{0: "a", 2: -7, -2: "did:x"}, {0: "a", 2: cbor.Tag(4, [-1, 255])}, {0: "a", 2: 70_000, 6: 23}],
    [{0: "a", 2: 5, 6: 1}],
    [{2: cbor.Tag(4, [2, -300]), -2: "ab"}, {0: "c", 2: 5}, {0: "d", 1: "m", 2: 6, 6: 3}, {2: 9}],
)
_SUBJECT = "did:x"
_SERIES = [{2: 1, 6: 0, -2: "a"}, *({2: 2, 6: at} for at in range(1, 300))]


def _general(data: bytes) -> list[Record] | None:
    try:
        _check_head(data, 4096)
        return _decode_any(data, _SUBJECT)
    except EncodingError:
        return None


def _quick(data: bytes) -> list[Record] | None:
    try:
        found = decode_columns(data, subject=_SUBJECT)
    except EncodingError:
        return None
    return found.records() if isinstance(found, Columns) else found


@pytest.mark.parametrize("pack", _PACKS)
def test_every_change_of_a_byte_is_read_alike(pack: list[dict[int, object]]) -> None:
    data = cbor.encode(pack)
    assert isinstance(decode_columns(data, subject=_SUBJECT), Columns)
    for at in range(len(data)):
        for byte in range(256):
            changed = data[:at] + bytes((byte,)) + data[at + 1 :]
            assert _quick(changed) == _general(changed), changed.hex()
        for changed in (data[:at], data[:at] + data[at + 1 :], data[:at] + b"\x00" + data[at:]):
            assert _quick(changed) == _general(changed), changed.hex()


@pytest.mark.parametrize("count", [1, 2, 23, 24, 255, 256, 300])
def test_heads_that_promise_another_number_are_refused(count: int) -> None:
    data = cbor.encode(_SERIES[:count])
    records = data[1 if count < 24 else 2 if count < 256 else 3 :]
    assert isinstance(decode_columns(data), Columns)
    heads = [bytes((0x80 | n,)) for n in range(24)]
    heads += [bytes((0x98, n)) for n in (0, count & 255, 24, 255)]
    heads += [b"\x99" + n.to_bytes(2) for n in (0, 1, count - 1, count, count + 1)]
    heads += [b"\x9a" + count.to_bytes(4), b"\x9b" + count.to_bytes(8), b"\x9f"]
    for head in heads:
        if head + records != data:
            assert _quick(head + records) is None


@pytest.mark.parametrize("number", [10**19, -(10**19), 2**63 - 1, 2**63, -(2**63), -(2**63) - 1])
@pytest.mark.parametrize("exponent", [0, -1, 18])
def test_numbers_at_the_bounds_are_read_alike(number: int, exponent: int) -> None:
    value = cbor.Tag(4, [exponent, number]) if exponent else number
    for pack in ([{0: "a", 2: value}], [{0: "a", 2: 1, 6: value}], [{0: "a", 2: 1, -3: value}]):
        assert _quick(cbor.encode(pack)) == _general(cbor.encode(pack))
