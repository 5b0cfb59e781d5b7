"""Targets: evidence of phones, and the DER in it."""

from __future__ import annotations

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from depin_id import cbor
from tests.attestation import phones, test_android_key, test_app_attest
from tests.attestation.ca import NOW
from tests.attestation.test_app_attest import Parts, assertion
from tests.fuzz.target import target
from verify.attestation import Materials, appraise_evidence
from verify.attestation.android_key import CBOR_TYPE, der
from verify.attestation.android_key.description import read_description
from verify.attestation.android_key.handler import read_pem, write_pem
from verify.attestation.app_attest import MEDIA_TYPE, pack, verify_assertion

_ANDROID = cbor.encode(phones.chain())
_APPLE = Parts().evidence()
_SPKI = test_app_attest.KEY.public_key().public_bytes(
    Encoding.DER, PublicFormat.SubjectPublicKeyInfo
)


def take_android(data: bytes) -> None:
    """A chain: nothing but the seed itself is affirmed."""
    _appraise(CBOR_TYPE, data, test_android_key.AT, test_android_key.MATERIALS, _ANDROID)


def take_apple(data: bytes) -> None:
    """An attestation: nothing but the seed itself is affirmed."""
    _appraise(MEDIA_TYPE, data, NOW, test_app_attest.MATERIALS, _APPLE)


def _appraise(media_type: str, data: bytes, at: int, materials: Materials, seed: bytes) -> None:
    expected = test_android_key.EXPECTED
    found = appraise_evidence(media_type, data, expected=expected, at=at, materials=materials)
    assert found.steps, "not one step"
    assert not found.affirmed or data == seed


def take_description(data: bytes) -> None:
    """A key description, or the items of some DER: each takes all of the bytes."""
    der.read_items(data)
    found = read_description(data)
    assert len(found.challenge) <= 128
    assert found.hardware.root_of_trust is None or found.hardware.root_of_trust.state <= 3


def take_pem(data: bytes) -> None:
    """A chain in PEM is spelled in one of a few ways."""
    chain = read_pem(data)
    assert write_pem(chain).replace(b"\n", b"") == data.replace(b"\n", b"").replace(b"\r", b"")


def take_object(data: bytes) -> None:
    """What Apple's system gives: an attestation object, and an assertion."""
    packed = pack(data, test_app_attest.CHALLENGE, bytes(32))
    assert set(cbor.decode(packed)) == {1, 2, 3}


def take_assertion(data: bytes) -> None:
    """An assertion: its counter is above the last one."""
    found = verify_assertion(
        data,
        challenge=test_app_attest.CHALLENGE,
        spki=_SPKI,
        app_id=test_app_attest.APP,
        counter=4,
    )
    assert found == 5


target("attestation-android", take_android, [_ANDROID])
target("attestation-apple", take_apple, [_APPLE])
target("attestation-description", take_description, [phones.Description().der(), b"\x30\x00"])
target("attestation-pem", take_pem, [write_pem([b"\x30\x00", b"\x30\x01\x00"])])
target("attestation-object", take_object, [Parts().object([], receipt=b"of Apple")])
target("attestation-assertion", take_assertion, [assertion()])
