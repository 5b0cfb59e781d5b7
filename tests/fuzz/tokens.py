"""Targets: tokens of others, CBOR and COSE of others."""

from __future__ import annotations

from depin_id import cbor
from tests.attestation import test_cca, test_eat, test_esp_tee, test_psa
from tests.attestation.tokens import CHALLENGE, mac0, sign1
from tests.fuzz.target import target
from verify.attestation import foreign_cbor, foreign_cose

_RULES = foreign_cose.CoseRules(
    foreign_cose.ECDSA | foreign_cose.EDDSA | foreign_cose.HMAC,
    kinds=("Signature1", "MAC0"),
    unprotected=frozenset((4, 33)),
)


def take_cbor(data: bytes) -> None:
    """What deterministic CBOR allows is read here too, and is the same value."""
    value = foreign_cbor.decode(data, max_bytes=8192)
    again = cbor.encode(value)
    assert repr(foreign_cbor.decode(again, max_bytes=16_384)) == repr(cbor.decode(again))


def take_cose(data: bytes) -> None:
    """Each message has one frame: another one around the same parts is refused."""
    message = foreign_cose.read(data, _RULES, max_bytes=8192)
    tag = 18 if message.kind == "Signature1" else 17
    parts = [message.protected_bytes, dict(message.unprotected), message.payload, message.signature]
    assert len(cbor.encode(cbor.Tag(tag, parts))) == len(data)


def take_psa(data: bytes) -> None:
    """Only what was signed is affirmed."""
    if test_psa.appraise(data).affirmed:
        assert data == _PSA


def take_eat(data: bytes) -> None:
    """The same; a CWT tag may stand before it."""
    if test_eat.appraise(data).affirmed:
        assert data.removeprefix(b"\xd8\x3d") in (_EAT, _CHAINED)


def take_cca(data: bytes) -> None:
    """The same, of both tokens."""
    if test_cca.appraise(data).affirmed:
        assert data == _CCA


def take_esp_tee(data: bytes) -> None:
    """The same, of JSON."""
    if test_esp_tee.appraise(data).affirmed:
        assert data == _ESP_TEE


_PSA = sign1(test_psa.CLAIMS, test_psa.IAK)
_EAT = sign1(test_eat.CLAIMS, test_eat.SIGNER, unprotected={4: test_eat.KID})
_CHAINED = sign1(test_eat.CLAIMS, test_eat.LEAF, unprotected={33: test_eat.CHAIN})
_CCA = test_cca.made()
_ESP_TEE = test_esp_tee.token()

target("foreign-cbor", take_cbor, [_PSA, cbor.encode(test_eat.CLAIMS), b"\xa1\x18\x01\xf9\x7e\x00"])
target("foreign-cose", take_cose, [_PSA, _EAT, _CHAINED, mac0({10: CHALLENGE}, bytes(32))])
target("psa-token", take_psa, [_PSA, mac0(test_psa.CLAIMS, bytes(32))])
target("eat-token", take_eat, [_EAT, _CHAINED])
target("cca-token", take_cca, [_CCA])
target("esp-tee-token", take_esp_tee, [_ESP_TEE])
