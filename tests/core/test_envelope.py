"""Envelopes, gateway envelopes, bundles and downlink: form, identity, separation of domains."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depin_id import cbor, cose
from depin_id.ack import AckItem, read_ack, read_challenge, read_resume, sign_challenge
from depin_id.ack import Challenge as ChallengeMessage
from depin_id.claims import Claims
from depin_id.enrolment import Enrolment, read_enrolments
from depin_id.envelope import (
    KIND_GATEWAY,
    bundle,
    open_gateway_payload,
    parse_envelope,
    split_bundle,
)
from depin_id.errors import DepinError, EncodingError, EnvelopeError, NetworkError, SignatureInvalid
from depin_id.keys import P256_ORDER
from depin_id.network import newer, read_card
from depin_id.senml import decode_pack
from depin_id.testing import Case, TestNetwork, cases

NET = TestNetwork()
CASES = cases(NET)
DEVICE = NET.device()


def verdict(case: Case) -> str:
    """Form, signature and payload, as an aggregator looks at them."""
    try:
        envelope = parse_envelope(case.data)
        envelope.verify(NET.did, case.device.key)
        if envelope.kind == KIND_GATEWAY:
            open_gateway_payload(envelope.payload)
            return "accepted"
    except DepinError as error:
        return error.code
    try:
        decode_pack(envelope.payload)
    except DepinError:
        return "payload.malformed"
    return "accepted"


@pytest.mark.parametrize("name", CASES)
def test_cases(name: str) -> None:
    assert verdict(CASES[name]) == CASES[name].code


def test_the_small_world_is_deterministic_and_not_published() -> None:
    again = cases(TestNetwork())
    for name, case in CASES.items():
        if case.device.key.curve == "ed25519" and name != "key of another":  # ECDSA is random
            assert again[name].data == case.data
    assert TestNetwork("other").did != NET.did


def test_a_malleated_signature_has_the_same_identity() -> None:
    device = NET.device("device p256", curve="p256")
    good = device.envelope()
    s = P256_ORDER - int.from_bytes(good[-32:], "big")
    other = good[:-32] + s.to_bytes(32, "big")
    envelopes = parse_envelope(good), parse_envelope(other)
    messages = {e.sign1.to_be_signed(e.kind, NET.did, device.key.thumbprint) for e in envelopes}
    assert len(messages) == 1
    assert device.identity(good) == hashlib.sha256(messages.pop()).digest()
    assert device.identity(device.envelope()) == device.identity(good)


@given(st.integers(0, 10**6), st.integers(1, 255))
def test_no_changed_byte_verifies(at: int, change: int) -> None:
    good = DEVICE.envelope()
    data = bytearray(good)
    data[at % len(data)] ^= change
    with pytest.raises(DepinError):
        parse_envelope(bytes(data)).verify(NET.did, DEVICE.key)


@given(st.binary(max_size=200))
def test_hostile_bytes_raise_only_our_errors(data: bytes) -> None:
    for reader in (
        parse_envelope,
        read_card,
        lambda raw: read_ack(raw, card=NET.card, recipient=bytes(32)),
        lambda raw: list(map(parse_envelope, split_bundle(raw))),
        lambda raw: Enrolment.from_list(cbor.decode(raw)),
    ):
        for raw in (data, b"\xd2\x84" + data):
            try:
                reader(raw)
            except DepinError:
                continue


# --- bundles ------------------------------------------------------------------------------------


@given(st.integers(1, 30), st.integers(150, 900))
def test_bundles_keep_order_and_bound(count: int, bound: int) -> None:
    envelopes = [DEVICE.envelope(n=n) for n in range(count)]
    bundles = list(bundle(envelopes, max_bytes=bound))
    assert all(len(data) <= bound for data in bundles)
    assert [part for data in bundles for part in split_bundle(data)] == envelopes


def test_a_damaged_tail_is_one_part() -> None:
    good = DEVICE.envelope()
    assert list(split_bundle(good + good[:50])) == [good, good[:50]]
    assert list(split_bundle(b"\xff" * 9)) == [b"\xff" * 9]
    with pytest.raises(EncodingError, match="too_large"):
        list(split_bundle(bytes(131_073)))
    with pytest.raises(EncodingError, match="too_large"):
        list(bundle([bytes(300)], max_bytes=200))


# --- card and downlink --------------------------------------------------------------------------


def test_a_card_stands_under_its_root_only() -> None:
    data = NET.card_bytes
    assert read_card(data, network=NET.did) == NET.card
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1
        with pytest.raises(DepinError):
            read_card(bytes(changed), network=NET.did)
    with pytest.raises(NetworkError, match="network.foreign"):
        read_card(data, network=TestNetwork("other").did)
    next_net = TestNetwork()
    next_net.reissue()
    assert newer(NET.card, next_net.card) == next_net.card == newer(next_net.card, NET.card)


def test_downlink_kinds_are_not_exchangeable() -> None:
    key = DEVICE.key
    to: dict[str, Any] = {"card": NET.card, "recipient": key.thumbprint}
    nonce = bytes(16)
    ack = NET.ack(key, 1, [AckItem(bytes(32), "accepted", 3, bytes(32))], nonce=b"12345678")
    resume = NET.resume(key, nonce, 7)
    challenge = sign_challenge(
        ChallengeMessage(key.thumbprint, nonce, 99), network=NET.did, signer=NET.ack_signer
    )
    assert read_ack(ack, **to).items[0].index == 3
    assert read_resume(resume, nonce=nonce, **to).epoch_floor == 7
    assert read_challenge(challenge, **to).expires == 99
    # A resume and a challenge have the same labels and types: only the domain tells them apart.
    with pytest.raises(SignatureInvalid):
        read_challenge(resume, **to)
    with pytest.raises(SignatureInvalid):
        read_resume(challenge, nonce=nonce, **to)
    with pytest.raises(EnvelopeError, match="resume.stale"):
        read_resume(resume, nonce=b"x" * 16, **to)
    with pytest.raises(EnvelopeError, match="ack.foreign"):
        read_ack(ack, card=NET.card, recipient=bytes(32))
    moved = TestNetwork()
    moved.reissue()
    with pytest.raises(NetworkError, match="network.key_unknown"):
        read_ack(ack, card=moved.card, recipient=key.thumbprint)


def test_the_network_is_part_of_what_is_signed() -> None:
    """The same acknowledgement key in two networks: still nothing moves between them."""
    other = TestNetwork("other")
    other.ack_signer = NET.ack_signer
    forged = other.ack(DEVICE.key, 1)
    with pytest.raises(SignatureInvalid):
        read_ack(forged, card=NET.card, recipient=DEVICE.key.thumbprint)


def test_the_thumbprint_is_part_of_what_is_signed() -> None:
    one = cose.external_aad("envelope", NET.did, bytes(32))
    two = cose.external_aad("envelope", NET.did, bytes(31) + b"\x01")
    assert one != two and cbor.decode(one) == ["depin/1", "envelope", NET.did, bytes(32)]


# --- enrolment documents ------------------------------------------------------------------------


def test_enrolments_are_read_strictly() -> None:
    first = NET.device(name="roof, north", profile="noise@1").enrolment
    second = NET.device("two", curve="p256").enrolment
    texts = [json.dumps(each.to_json()) for each in (first, second)]
    assert list(read_enrolments("\n".join(texts))) == [first, second]
    assert list(read_enrolments(json.dumps(first.to_json(), indent=2))) == [first]
    assert Enrolment.from_list(cbor.decode(cbor.encode(second.to_list()))) == second

    def changed(**fields: Any) -> str:
        return json.dumps(first.to_json() | fields)

    for bad in (
        changed(extra=1),
        changed(type="depin-enrolment/2"),
        changed(did=second.did),
        changed(key=second.key.cose_key.hex()),
        changed(thumbprint="00"),
        changed(name="x" * 129),
        changed(name="a\nb"),
        changed(role="root"),
        changed(lat="91", lon="0"),
        changed(lat="1"),
        changed(lat=1.5, lon=2.5),
        texts[0].replace('"name"', '"name": "b", "name"'),
        "[" * 5000,
        "{",
        "",
    ):
        with pytest.raises(DepinError):
            list(read_enrolments(bad))
    with pytest.raises(DepinError, match="line 2"):
        list(read_enrolments(texts[0] + "\n" + changed(extra=1)))


@pytest.mark.parametrize("claims", [{"nonce": bytes(7)}, {"iat": -1}, {"iss": "x"}, {"sub": "#"}])
def test_claims_that_cannot_be_made(claims: dict[str, Any]) -> None:
    with pytest.raises(EnvelopeError, match="envelope.claims"):
        Claims(**claims)
