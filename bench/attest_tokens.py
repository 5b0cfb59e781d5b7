"""Tokens: appraisals of devices with a key each, which a registry or an authority vouches for."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from bench.appraising import Case, Evidence, like, of_chain
from bench.appraising import measure as measured
from bench.table import Row
from bench.world import Lab
from depin_id import cbor
from depin_id.keys import SoftwareSigner
from tests.attestation import test_cca, test_eat, test_esp_tee, test_psa
from tests.attestation.ca import NOW, new_key
from tests.attestation.tokens import CHALLENGE, sign1, spki
from verify.attestation import Anchor, Anchors, Expected, Materials
from verify.attestation.esp_tee import MEDIA_TYPE as ESP_TYPE

_DEVICES = 101
_PAYLOAD = 350
_EXPECTED = Expected(challenge=CHALLENGE)


def _registry(given: Materials, anchors: list[Anchor]) -> Materials:
    return replace(given, anchors=Anchors(anchors))


def _instance(number: int) -> bytes:
    return b"\x01" + hashlib.sha256(number.to_bytes(4)).digest()


def _psa() -> Case:
    keys = [new_key() for _ in range(_DEVICES)]
    ids = {"implementation": test_psa.IMPLEMENTATION.hex()}
    anchors = [
        Anchor("psa", "a device", spki(key), ids=ids | {"instance": _instance(number).hex()})
        for number, key in enumerate(keys)
    ]
    given = _registry(test_psa.MATERIALS, anchors)
    devices = [
        Evidence(
            sign1(test_psa.CLAIMS | {256: _instance(number)}, key),
            _EXPECTED,
            given,
            [like(key, _PAYLOAD)],
        )
        for number, key in enumerate(keys)
    ]
    return Case("PSA token", test_psa.MEDIA_TYPE, NOW, devices, "ES256")


def _eat_claims() -> tuple[dict[int, Any], Expected]:
    own = SoftwareSigner.generate("p256").public_key
    claims = test_eat.CLAIMS | {8: {1: cbor.decode(own.cose_key)}}
    return claims, Expected(challenge=CHALLENGE, key=own)


def _eat() -> Case:
    keys = [new_key() for _ in range(_DEVICES)]
    kids = [number.to_bytes(4) for number in range(_DEVICES)]
    anchors = [
        Anchor("eat", "signer", spki(key), ids={"assurance": "tee", "kid": kid.hex()})
        for key, kid in zip(keys, kids, strict=True)
    ]
    given, devices = _registry(test_eat.MATERIALS, anchors), []
    for key, kid in zip(keys, kids, strict=True):
        claims, expected = _eat_claims()
        raw = sign1(claims, key, unprotected={4: kid})
        devices.append(Evidence(raw, expected, given, [like(key, _PAYLOAD)]))
    return Case("EAT by kid", test_eat.MEDIA_TYPE, NOW, devices, "ES256")


def _eat_chain() -> Case:
    root = test_eat.ROOT.certificate.public_bytes(Encoding.DER)
    devices = []
    for _ in range(_DEVICES):
        key = new_key()
        chain = test_eat.MIDDLE.issue("signer", key.public_key())
        claims, expected = _eat_claims()
        raw = sign1(claims, key, unprotected={33: list(chain)})
        leaf, *above = of_chain([*chain, root])
        own = [leaf, like(key, _PAYLOAD)]
        devices.append(Evidence(raw, expected, test_eat.MATERIALS, own, above))
    return Case("EAT with a chain of two", test_eat.MEDIA_TYPE, NOW, devices, "P-256")


def _cca() -> Case:
    keys = [[ec.generate_private_key(ec.SECP384R1()) for _ in range(2)] for _ in range(_DEVICES)]
    ids = {"implementation": test_cca.IMPLEMENTATION.hex()}
    anchors = [
        Anchor("cca", "platform", spki(key), ids=ids | {"instance": _instance(number).hex()})
        for number, (key, _) in enumerate(keys)
    ]
    given, devices = _registry(test_cca.MATERIALS, anchors), []
    for number, (platform, realm) in enumerate(keys):
        public = test_cca.rak(realm)
        platforms = {10: hashlib.sha256(public).digest(), 256: _instance(number)}
        raw = test_cca.collection(
            sign1(test_cca.PLATFORM | platforms, platform),
            sign1(test_cca.REALM | {44237: public}, realm),
        )
        own = [like(key, _PAYLOAD) for key in (platform, realm)]
        devices.append(Evidence(raw, _EXPECTED, given, own))
    return Case("CCA platform and realm", test_cca.MEDIA_TYPE, NOW, devices, "ES384")


def _esp_tee() -> Case:
    keys = [new_key() for _ in range(_DEVICES)]
    known = [test_esp_tee.instance(key) for key in keys]
    anchors = [Anchor("esp-tee", "registry", b"", ids={"instance": one}) for one in known]
    given = _registry(test_esp_tee.MATERIALS, anchors)
    devices = [
        Evidence(
            test_esp_tee.token(test_esp_tee.CLAIMS | {"instance_id": instance}, key=key),
            _EXPECTED,
            given,
            [like(key, 1500)],
        )
        for key, instance in zip(keys, known, strict=True)
    ]
    note = "a key as a compressed point: to find its other half is a third of a verification"
    return Case("ESP-TEE token", ESP_TYPE, NOW, devices, "ES256", note)


def measure(lab: Lab) -> list[Row]:
    """A whole appraisal of each format."""
    cases = [_psa(), _eat(), _eat_chain(), _cca(), _esp_tee()]
    return [measured(case, lab.settings) for case in cases]
