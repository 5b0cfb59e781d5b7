"""Verifying on P-256 by libcrypto: what it takes is what the protocol takes."""

from __future__ import annotations

import ctypes
import hashlib

import pytest

from depin_id import cose
from depin_id.keys import P256_ORDER, SoftwareSigner
from tests.firmware import downlink_library as c
from tests.firmware.downlink_library import Bytes, CDevice, p256, point_of
from tests.firmware.downlink_world import card_of, messages, world

KEY = SoftwareSigner("p256", hashlib.sha256(b"a chip").digest())
PARTS = (b"one ", b"", b"message")
B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
FIELD = 2**256 - 2**224 + 2**192 + 2**96 - 1


def verifies(
    key: bytes, signature: bytes, parts: tuple[bytes, ...] = PARTS, curve: int = 2
) -> bool:
    held = [(ctypes.c_uint8 * max(1, len(part))).from_buffer_copy(part or b"\0") for part in parts]
    pointer = ctypes.POINTER(ctypes.c_uint8)
    given = (Bytes * len(parts))(
        *(Bytes(ctypes.cast(at, pointer), len(part)) for at, part in zip(held, parts, strict=True))
    )
    status = p256().depin_p256_verify(None, curve, key, given, len(parts), signature)
    return bool(status == 0)


def admits(key: bytes, curve: int = 2) -> bool:
    return bool(p256().depin_p256_admit(None, curve, key) == 0)


def changed(data: bytes, index: int) -> bytes:
    return data[:index] + bytes((data[index] ^ 1,)) + data[index + 1 :]


def test_a_signature_verifies_and_nothing_near_it() -> None:
    signature, key = KEY.sign(b"".join(PARTS)), point_of(KEY.public_key)
    assert verifies(key, signature) and verifies(key, signature, (b"one message",))
    assert not verifies(key, signature, (b"another message",))
    assert not verifies(key, signature, curve=1)
    other = SoftwareSigner("p256", hashlib.sha256(b"another").digest()).public_key
    assert not verifies(point_of(other), signature)
    for index in range(64):
        assert not verifies(key, changed(signature, index))
        assert not verifies(changed(key, index), signature)
    r, s = signature[:32], int.from_bytes(signature[32:], "big")
    assert not verifies(key, r + (P256_ORDER - s).to_bytes(32, "big"))  # libcrypto takes it
    for odd in (bytes(64), r + bytes(32), bytes(32) + signature[32:], b"\xff" * 64):
        assert not verifies(key, odd)


def test_a_high_s_never_leaves() -> None:
    device = (ctypes.c_uint8 * 96).from_buffer_copy(KEY.secret + point_of(KEY.public_key))
    for number in range(16):  # randomised, and half of them were high
        digest, out = hashlib.sha256(bytes([number])).digest(), ctypes.create_string_buffer(64)
        assert p256().depin_p256_sign(device, digest, out) == 0
        assert int.from_bytes(out.raw[32:], "big") <= P256_ORDER // 2
        assert verifies(point_of(KEY.public_key), out.raw, (bytes([number]),))


def test_only_points_of_the_curve_are_admitted() -> None:
    key = point_of(KEY.public_key)
    y = int.from_bytes(key[32:], "big")
    negative = key[:32] + (FIELD - y).to_bytes(32, "big")
    assert admits(key) and admits(negative) and not admits(key, curve=1)
    for odd in (changed(key, 63), changed(key, 0), bytes(64), b"\xff" * 64, key[32:] + key[:32]):
        assert not admits(odd)
    for small in range(5, 1000):  # a coordinate that has a second spelling, above the field
        root = pow(square := (small**3 - 3 * small + B) % FIELD, (FIELD + 1) // 4, FIELD)
        if root * root % FIELD == square and small + FIELD < 1 << 256:
            good = small.to_bytes(32, "big") + root.to_bytes(32, "big")
            assert admits(good)
            assert not admits((small + FIELD).to_bytes(32, "big") + good[32:])
            return
    raise AssertionError("no such point")


@pytest.mark.parametrize("kind", ["card", "ack", "challenge", "resume"])
def test_a_network_on_p256_is_heard_through_the_port(kind: str) -> None:
    at = world("p256")
    device = CDevice(at.network, at.key, root=at.root.public_key, chip=p256())
    assert device.take(at.card_bytes) == 0
    device.lose(bytes(range(16)))
    message = messages(at, "p256")[kind]
    start = device.state()
    for index in range(0, len(message), 5):
        assert device.take(changed(message, index)) != 0
        assert device.state() == start
    parsed = cose.parse_sign1(message)
    s = P256_ORDER - int.from_bytes(parsed.signature[32:], "big")
    high = parsed.signature[:32] + s.to_bytes(32, "big")
    assert device.take(cose.assemble(parsed.protected, parsed.payload, high)) == c.SIGNATURE
    assert device.take(message) == 0 and c.KINDS[device.event.kind] == kind


def test_a_card_with_a_key_off_the_curve_is_refused_by_the_port() -> None:
    at = world("p256")
    device = CDevice(at.network, at.key, root=at.root.public_key, chip=p256())
    good = at.acks["p256"].public_key.cose_key
    assert device.take(card_of(at, m6=[changed(good, len(good) - 1)])) == c.KEY
    assert device.take(card_of(at, m6=[good])) == 0
