"""The reader of common envelopes gives what the general reader gives, or leaves it to that."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depin_id import cbor, cose
from depin_id.claims import NO_CLAIMS, Claims
from depin_id.common_envelope import read_common
from depin_id.envelope import (
    CONTENT_SENML,
    CONTENT_SIGN1,
    CONTENT_STATUS,
    Envelope,
    Provenance,
    parse_any,
    parse_envelope,
)
from depin_id.errors import DepinError, EncodingError

UINT = st.integers(0, 2**40) | st.sampled_from([23, 24, 255, 256, 65535, 65536, 2**32 - 1, 2**32])
POSITION = st.integers(0, 2**32 - 1) | st.sampled_from([0, 23, 24, 255, 256, 65535, 65536])
CLAIMS = st.just(NO_CLAIMS) | st.builds(
    Claims,
    iat=UINT | st.integers(1_600_000_000, 1_900_000_000) | st.none(),
    nonce=st.binary(min_size=16, max_size=16) | st.binary(min_size=8, max_size=32) | st.none(),
    sub=st.none() | st.just("#a"),
)
PROVENANCE = st.builds(
    Provenance,
    POSITION,
    POSITION,
    st.binary(min_size=16, max_size=16),
    UINT,
    st.none() | UINT,
    st.none() | st.binary(min_size=16, max_size=16),
)


@st.composite
def envelopes(draw: st.DrawFn) -> bytes:
    """The bytes of envelopes, signed by nobody."""
    claims = draw(CLAIMS).to_map()
    headers: dict[int, Any] = {
        cose.HEADER_ALG: draw(st.sampled_from([-19, -8, -9, -7, -20, -1])),
        cose.HEADER_CONTENT_TYPE: draw(
            st.sampled_from([CONTENT_SENML, CONTENT_SIGN1, CONTENT_STATUS])
        ),
        cose.HEADER_KID: draw(st.binary(min_size=8, max_size=8)),
        -65537: draw(PROVENANCE).to_list(),
    }
    if claims:
        headers[15] = claims
    size = draw(st.sampled_from([0, 1, 23, 24, 255, 256, 700, 65536]))
    payload = draw(st.binary(min_size=size, max_size=size))
    signature = draw(st.binary(min_size=64, max_size=64))
    return cose.assemble(cbor.encode(headers), payload, signature)


def read(reader: Any, data: bytes) -> Envelope | str:
    try:
        found: Envelope = reader(data)
    except DepinError as error:
        return error.code
    return found


@given(envelopes())
def test_both_readers_agree(data: bytes) -> None:
    assert read(parse_envelope, data) == read(parse_any, data)


@given(envelopes(), st.data())
def test_both_readers_agree_on_damaged_bytes(data: bytes, draw: st.DataObject) -> None:
    at = draw.draw(st.integers(0, min(len(data), 120) - 1))
    byte = bytes((draw.draw(st.integers(0, 255)),))
    change = draw.draw(st.sampled_from(["set", "insert", "delete", "cut"]))
    changed = {
        "set": data[:at] + byte + data[at + 1 :],
        "insert": data[:at] + byte + data[at:],
        "delete": data[:at] + data[at + 1 :],
        "cut": data[: at - len(data)],
    }[change]
    assert read(parse_envelope, changed) == read(parse_any, changed)


@given(
    st.builds(Provenance, POSITION, POSITION, st.binary(min_size=16, max_size=16), POSITION),
    st.none() | st.integers(2**31, 2**32 - 1),
)
def test_what_devices_send_is_common(position: Provenance, iat: int | None) -> None:
    headers: dict[int, Any] = {1: -19, 3: 112, 4: bytes(8), -65537: position.to_list()}
    if iat is not None:
        headers[15] = {6: iat}
    data = cose.assemble(cbor.encode(headers), b"payload", bytes(64))
    common = read_common(data)
    assert common is not None
    assert (common.epoch, common.n, common.iat) == (position.epoch, position.n, iat)
    assert parse_envelope(data).provenance == position


@pytest.mark.parametrize(
    ("claims", "size"), [({}, 3), ({6: 2**31}, 24), ({6: 2**31, 10: bytes(range(16))}, 256)]
)
def test_every_change_of_a_byte_is_read_alike(claims: dict[int, Any], size: int) -> None:
    position = [24, 0, bytes(range(16)), 65536, 1, bytes(16)]
    headers: dict[int, Any] = {1: -19, 3: 112, 4: bytes(8), -65537: position}
    if claims:
        headers[15] = claims
    protected = cbor.encode(headers)
    data = cose.assemble(protected, bytes(size), bytes(64))
    assert read_common(data) is not None
    inside = range(4 + len(protected) + 4)  # up to the payload's head and a little beyond
    for at in (*inside, len(data) - 66, len(data) - 65):
        for byte in range(256):
            changed = data[:at] + bytes((byte,)) + data[at + 1 :]
            assert read(parse_envelope, changed) == read(parse_any, changed), changed.hex()
    for changed in (data[:-1], data + b"\0", data[:-66] + b"\0" + data[-66:]):
        assert read(parse_envelope, changed) == read(parse_any, changed)


def test_a_common_envelope_has_its_bound_too() -> None:
    headers: dict[int, Any] = {1: -19, 3: 112, 4: bytes(8), -65537: [0, 0, bytes(16), 0, 0, None]}
    data = cose.assemble(cbor.encode(headers), bytes(100), bytes(64))
    assert read_common(data) is not None and parse_envelope(data, max_bytes=len(data))
    with pytest.raises(EncodingError) as caught:
        parse_envelope(data, max_bytes=len(data) - 1)
    assert caught.value.code == "encoding.too_large"
