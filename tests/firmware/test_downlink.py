"""What a device in C takes from its network, and what it refuses: exactly what Python does."""

from __future__ import annotations

import json
import random
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depin_id import cbor, cose
from depin_id.ack import Ack, Challenge, Resume, sign_ack, sign_challenge, sign_resume
from depin_id.keys import P256_ORDER, admit
from depin_id.network import network_did
from tests.firmware import downlink_library as c
from tests.firmware.downlink_library import CDevice
from tests.firmware.downlink_world import (
    CURVES,
    NONCE,
    card_of,
    messages,
    messages_of,
    signer,
    world,
)


@pytest.mark.parametrize("curve", CURVES)
def test_each_kind_is_taken_on_either_curve(curve: str) -> None:
    at = world(curve)
    for kind, message in messages(at, curve).items():
        told = at.same(message)
        assert told is not None and told.startswith(kind)
    assert at.same(at.card_bytes) == "card 7"  # the same number: taken, nothing changes
    assert at.device.state() == at.start


@pytest.mark.parametrize("kind", ["card", "ack", "challenge", "resume"])
def test_every_single_byte_counts(kind: str) -> None:
    at = world("ed25519")
    message = messages(at, "ed25519")[kind]
    assert at.in_c(message) is not None
    chance = random.Random(kind)
    for index in range(len(message)):
        for flip in (1 << chance.randrange(8), chance.randrange(1, 256)):
            changed = bytearray(message)
            changed[index] ^= flip
            assert at.same(bytes(changed)) is None
        assert at.in_c(message[:index]) is None
    for extra in (b"\0", b"\xf6", message):
        assert at.same(message + extra) is None


@pytest.mark.parametrize("kind", ["card", "ack", "challenge", "resume"])
def test_every_byte_of_a_payload_rightly_signed(kind: str) -> None:
    at = world("ed25519")
    payload = cose.parse_sign1(messages(at, "ed25519")[kind]).payload
    chance = random.Random(kind)
    taken = 0
    for index in range(len(payload)):
        tries = {payload[index] ^ 1 << chance.randrange(8), chance.randrange(256), 0xF6}
        tries |= {(payload[index] + 1) % 256, (payload[index] - 1) % 256}
        with at.stamping(index % 16 != 0):  # the others have real signatures
            assert at.same(at.sign(kind, payload[:index])) is None
            for value in tries:
                one = bytes((value,))
                changed = payload[:index] + one + payload[index + 1 :]
                taken += at.same(at.sign(kind, changed)) is not None
                at.same(at.sign(kind, payload[:index] + one + payload[index:]))
    assert taken >= 5


def head(major: int, number: int, width: int) -> bytes:
    """A head of so many bytes: longer ones than needed are refused."""
    if width == 0:
        return cbor.encode(number)[:1] if number < 24 else b"\xf7"
    code = {1: 24, 2: 25, 4: 26, 8: 27}[width]
    return bytes((major << 5 | code,)) + (number % (1 << 8 * width)).to_bytes(width, "big")


EDGES = st.sampled_from(
    [0, 1, 5, 6, 7, 8, 9, 23, 24, 255, 256, 65535, 65536]
    + [(1 << power) + step for power in (32, 40, 50, 62, 64) for step in (-3, -2, -1, 0, 1)]
).filter(lambda number: number < 1 << 64)
ODD = st.one_of(
    EDGES.map(cbor.encode),
    st.builds(head, st.sampled_from([0, 2, 3, 4, 5]), EDGES, st.sampled_from([1, 2, 4, 8])),
    st.sampled_from([0, 7, 8, 15, 16, 17, 31, 32, 33, 40]).map(lambda n: cbor.encode(bytes(n))),
    st.text(max_size=70).map(cbor.encode),
    st.sampled_from(
        ["aggregator.retry", "x" * 64, "é" * 64, "😀" * 65, "log.example.org/test"]
    ).map(cbor.encode),
    st.binary(max_size=6).map(lambda text: bytes((0x60 | len(text),)) + text),
    st.floats().map(lambda value: b"\xfb" + struct.pack(">d", value)),
    st.sampled_from(
        [b"\xf6", b"\xf5", b"\xf7", b"\x80", b"\xa0", b"\x81\x00", b"\x20", b"\xc0\x00"]
    ),
    st.sampled_from([b"\x5f\x41\x00\xff", b"\x9f\xff", b"\xbf\xff", b"\xf9\x3c\x00", b""]),
)


PLACED = st.tuples(ODD, st.integers(1, 34))


def splice(payload: Any, where: int, odd: bytes) -> bytes:
    """A payload with one value, at any depth, replaced by these bytes."""
    count = -1

    def write(value: Any) -> bytes:
        nonlocal count
        count += 1
        if count == where:
            return odd
        if isinstance(value, dict):
            parts = [cbor.encode(key) + write(item) for key, item in value.items()]
            return bytes((0xA0 | len(value),)) + b"".join(parts)
        if isinstance(value, list):
            return cbor.array_head(len(value)) + b"".join([write(item) for item in value])
        return cbor.encode(value)

    return write(payload)


@settings(max_examples=200)
@given(st.sampled_from(["card", "ack", "challenge", "resume"]), st.data())
def test_any_value_anywhere_rightly_signed(kind: str, data: st.DataObject) -> None:
    at = world("ed25519")
    payload = cbor.decode(cose.parse_sign1(messages_of(kind)).payload)
    with at.stamping():
        for odd, where in data.draw(st.lists(PLACED, min_size=8, max_size=8)):
            at.same(at.sign(kind, splice(payload, where, odd)))


def test_cards_that_only_one_check_refuses() -> None:
    at = world("ed25519")
    keys = [item.public_key.cose_key for item in at.acks.values()]
    log, first = at.card.log_key.raw, at.acks["ed25519"].public_key.raw
    small = bytes(31) + b"\x80"
    x, y = keys[1][8:40], keys[1][43:]
    off_curve = keys[1][:43] + y[:-1] + bytes((y[-1] ^ 2,))
    w1, w2 = ([key.name, key.public.raw] for key in at.witness.keys)
    assert at.same(card_of(at)) == "card 8"
    many = [signer(f"k{n}").public_key.cose_key for n in range(9)]
    assert at.same(card_of(at, m6=many[:8])) == "card 8"
    assert at.same(card_of(at, m6=[keys[0], keys[0]])) == "card 8"
    assert at.same(card_of(at, m9=[1, [w1]])) == "card 8"
    witnesses = [[f"w{n}", signer(f"many{n}").public_key.raw] for n in range(33)]
    assert at.same(card_of(at, m9=[32, witnesses[:32]])) == "card 8"
    wrong: list[dict[str, Any]] = [
        {"m1": network_did(at.other.public_key)},
        {"m2": ""},
        {"m2": "x" * 33},
        {"m2": "under_score"},
        {"m3": 6},
        {"m3": (1 << 40) + 1},
        {"m3": 8.0},
        {"m3": None},
        {"m4": 1_900_000_000},
        {"m6": []},
        {"m6": many},
        {"m6": [off_curve]},
        {"m6": [keys[0] + b"\0"]},
        {"m6": [keys[0][:8] + small]},
        {"m6": [cbor.encode({1: 2, -1: 1, -2: x, -3: y, -4: b""})]},
        {"m6": [cbor.encode({1: 2, -1: 1, -2: x, -3: True})]},
        {"m7": "a b"},
        {"m7": "x" * 129},
        {"m8": small},
        {"m8": log[:31]},
        {"m9": None},
        {"m9": [0, [w1]]},
        {"m9": [2, [w1]]},
        {"m9": [1, []]},
        {"m9": [1, witnesses]},
        {"m9": [1, [w1, [w2[0], w1[1]]]]},
        {"m9": [1, [["a+b", w1[1]]]]},
        {"m9": [1, [["", w1[1]]]]},
        {"m9": [1, [["w", log]]]},
        {"m9": [1, [["w", first]]]},
        {"m9": [1, [["w", small]]]},
        {"m10": 1},
        {"m0": 1},
    ]
    for changes in wrong:
        assert at.same(card_of(at, **changes)) is None, changes


def test_who_signed_and_for_whom() -> None:
    at = world("ed25519")
    by, network = at.acks["ed25519"], at.network
    elsewhere = network_did(at.other.public_key)
    ack, mine = at.ack(6), at.key.thumbprint
    for message in (
        sign_ack(ack, network=network, signer=at.other),
        sign_ack(ack, network=network, signer=at.root),
        sign_ack(ack, network=elsewhere, signer=by),
        sign_ack(at.ack(5), network=network, signer=by),
        sign_ack(Ack(bytes(32), *list(at_fields(ack))[1:]), network=network, signer=by),
        sign_challenge(Challenge(bytes(32), NONCE, 9), network=network, signer=by),
        sign_resume(Resume(mine, bytes(16), 9), network=network, signer=by),
        sign_resume(Resume(mine, NONCE, (1 << 32) - 1), network=network, signer=by),
    ):
        assert at.same(message) is None
    assert at.same(sign_resume(Resume(mine, NONCE, (1 << 32) - 2), network=network, signer=by))
    payload = cose.parse_sign1(messages(at, "ed25519")["ack"]).payload
    for kind in ("envelope", "card", "challenge", "resume"):
        headers = {cose.HEADER_KID: by.public_key.kid}
        wrong = cose.sign1(headers, payload, kind=kind, network=network, signer=by)
        assert at.same(wrong) is None
    odd: list[dict[int, Any]] = [{4: by.public_key.kid, 3: 0}, {4: by.public_key.kid[:7]}, {}]
    for some in odd:
        assert at.same(cose.sign1(some, payload, kind="ack", network=network, signer=by)) is None


def at_fields(ack: Ack) -> list[Any]:
    names = ("recipient", "number", "time", "nonce", "origin", "items", "beacon")
    return [getattr(ack, name) for name in names]


@pytest.mark.parametrize("curve", CURVES)
def test_an_algorithm_of_another_curve_and_the_deprecated_ones(curve: str) -> None:
    at = world(curve)
    payload = cose.parse_sign1(messages(at, curve)["ack"]).payload
    by = at.acks[curve]
    for algorithm in (-19, -9, -8, -7, -50, 8, 18):
        protected = cbor.encode({1: algorithm, 4: by.public_key.kid})
        aad = cose.external_aad("ack", at.network, by.public_key.thumbprint)
        signature = by.sign(cose.sig_structure(protected, aad, payload))
        told = at.same(cose.assemble(protected, payload, signature))
        assert (told is not None) == (algorithm == by.public_key.algorithm)


def test_a_high_s_is_refused() -> None:
    at = world("p256")
    for kind in ("card", "ack"):
        parsed = cose.parse_sign1(messages(at, "p256")[kind])
        s = P256_ORDER - int.from_bytes(parsed.signature[32:], "big")
        high = parsed.signature[:32] + s.to_bytes(32, "big")
        assert at.same(cose.assemble(parsed.protected, parsed.payload, high)) is None


def test_a_p256_root_needs_its_point_and_no_other() -> None:
    at = world("p256")
    for root in (None, at.acks["p256"].public_key):
        device = CDevice(at.network, at.key, root=root)
        assert device.status == 0 and device.take(at.card_bytes) == c.KEY


def test_what_is_missing_is_refused() -> None:
    at = world("ed25519")
    assert CDevice(at.network, at.key, verifier=False).status == c.ARGUMENT
    blind = CDevice(at.network, at.key, admits=False)
    assert blind.status == 0 and blind.take(at.card_bytes) == c.KEY
    bare = CDevice(at.network, at.key)
    assert bare.take(messages(at, "ed25519")["ack"]) == c.NO_CARD
    wrong = ("did:key:z1" + at.network[9:], at.network[:-1], at.network + "1")
    for network in (*wrong, at.network.replace("z6Mk", "z0Mk")):
        assert CDevice(network, at.key).take(at.card_bytes) == c.KEY


def test_the_card_survives_a_boot_and_only_in_its_network() -> None:
    at = world("ed25519")
    device = CDevice(at.network, at.key)
    assert device.take(at.card_bytes) == 0
    assert set(device.slots) == {2, 3} and len(device.slots[2]) == c.RECORD == 640
    ack = messages(at, "ed25519")["ack"]
    again = CDevice(at.network, at.key, slots=dict(device.slots))
    assert again.down.card.number == 7 and again.take(ack) == 0
    assert again.take(ack) == c.REPLAYED and not again.told
    moved = CDevice(network_did(at.other.public_key), at.key, slots=dict(device.slots))
    assert moved.down.card.count == 0
    for slot in (2, 3):  # one of them damaged anywhere: the other holds the same
        for index in range(0, 640, 7):
            record = bytearray(device.slots[slot])
            record[index] ^= 0x10
            damaged = CDevice(at.network, at.key, slots=device.slots | {slot: bytes(record)})
            assert damaged.down.card.number == 7


def test_a_power_cut_while_a_card_is_stored() -> None:
    at = world("ed25519")
    newer, newest = (card_of(at, m3=number) for number in (8, 9))
    slots: dict[int, bytes] = {}
    assert CDevice(at.network, at.key, slots=slots).take(at.card_bytes) == 0
    for cut in range(0, 2 * 640, 53):
        device = CDevice(at.network, at.key, slots=dict(slots))
        device.cut_at = cut
        assert device.take(newer) == c.STORAGE
        assert device.take(messages(at, "ed25519")["ack"]) == c.NO_CARD
        after = CDevice(at.network, at.key, slots=device.slots)
        assert after.down.card.number in (7, 8)
        after.cut_at = cut  # and once more, while the other slot may be damaged still
        after.take(newest)
        assert CDevice(at.network, at.key, slots=after.slots).down.card.number in (7, 8, 9)


def test_storage_that_fails() -> None:
    at = world("ed25519")
    device = CDevice(at.network, at.key)
    device.fail_store = True
    assert device.take(at.card_bytes) == c.STORAGE and device.down.card.count == 0
    device.fail_store, device.fail_load = False, True
    assert device.take(at.card_bytes) == 0  # nothing is loaded for it
    assert device.take(at.card_bytes) == c.STORAGE and device.down.card.count == 0


def test_the_vectors_of_the_protocol() -> None:
    with open("docs/vectors/protocol-1.json", encoding="utf-8") as file:
        vectors = json.load(file)
    keys = {key["name"]: key for key in vectors["keys"]}

    def device_of(name: str, network: str) -> CDevice:
        key = admit(keys[name]["curve"], bytes.fromhex(keys[name]["public"]))
        return CDevice(network, key)

    network = vectors["network"]
    cards = {item["name"]: bytes.fromhex(item["bytes"]) for item in vectors["card"]}
    for data in cards.values():
        device = device_of("device", network)
        assert device.take(data) == 0
    card = bytes.fromhex(vectors["card"][0]["bytes"])
    for item in vectors["down"]:
        device = device_of(item["recipient"], network)
        assert device.take(card) == 0
        if item["kind"] == "resume":
            device.lose(cbor.decode(bytes.fromhex(item["payload"]))[2])
        assert device.take(bytes.fromhex(item["bytes"])) == 0, item["name"]
        assert c.KINDS[device.event.kind] == item["kind"]
    refused = 0
    for item in vectors["refused"]:
        if item["operation"] == "card":
            device = device_of("device", item["network"])
        elif item["operation"] in ("ack", "challenge", "resume"):
            device = device_of(item["recipient"], network)
            assert device.take(card) == 0
            device.lose(bytes.fromhex(item.get("nonce", "00" * 16)))
        else:
            continue
        refused += 1
        assert device.take(bytes.fromhex(item["bytes"])) != 0, item["name"]
    assert refused == 28
