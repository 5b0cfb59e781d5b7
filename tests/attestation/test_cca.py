"""Arm CCA: a real collection, claims of others good and bad, one test for each check."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)

from depin_id import cbor
from tests.attestation import diagnostic
from tests.attestation.ca import NOW
from tests.attestation.mutation import survivors
from tests.attestation.tokens import CHALLENGE, materials, sign1, spki
from tests.paths import vectors
from verify.attestation import (
    Anchor,
    Appraisal,
    Expected,
    Materials,
    Model,
    appraise_evidence,
    foreign_cbor,
)
from verify.attestation.cca import OLD_PROFILE, PLATFORM_PROFILE, REALM_PROFILE
from verify.attestation.materials import Reference

MEDIA_TYPE = f'application/eat-collection; profile="{PLATFORM_PROFILE}"'
CPAK = ec.generate_private_key(ec.SECP384R1())
RAK = ec.generate_private_key(ec.SECP384R1())
INSTANCE, IMPLEMENTATION = b"\x01" + bytes(range(32)), bytes(range(32, 64))
DIGEST, SIGNER = hashlib.sha256(b"image").digest(), hashlib.sha256(b"signer").digest()


def _point(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def rak(key: ec.EllipticCurvePrivateKey, *, old: bool = False) -> bytes:
    point = _point(key)
    if old:
        return point
    size, curve = (48, 2) if len(point) == 97 else (32, 1)
    return cbor.encode({1: 2, -1: curve, -2: point[1 : size + 1], -3: point[size + 1 :]})


PLATFORM: dict[int, Any] = {
    10: hashlib.sha256(rak(RAK)).digest(),
    256: INSTANCE,
    265: PLATFORM_PROFILE,
    2395: 0x3003,
    2396: IMPLEMENTATION,
    2399: [{1: "RMM", 2: DIGEST, 5: SIGNER}],
    2400: "https://verifier.example.org",
    2401: b"\xcf",
    2402: "sha-256",
}
REALM: dict[int, Any] = {
    10: CHALLENGE + bytes(32),
    265: REALM_PROFILE,
    44235: bytes(64),
    44236: "sha-256",
    44237: rak(RAK),
    44238: DIGEST,
    44239: [bytes(32)] * 4,
    44240: "sha-256",
}
REFERENCES = (
    Reference("RMM", frozenset((DIGEST,)), SIGNER),
    Reference("rim", frozenset((DIGEST,))),
    *(Reference(f"rem{index}", frozenset((bytes(32),))) for index in range(4)),
)


def _materials(
    key: bytes,
    instance: bytes = INSTANCE,
    implementation: bytes = IMPLEMENTATION,
    references: tuple[Reference, ...] = REFERENCES,
    **more: str,
) -> Materials:
    ids = {"instance": instance.hex(), "implementation": implementation.hex()} | more
    model = Model("m", frozenset(("cca",)), references=references, revocation="none")
    return materials([Anchor("cca", "platform", key, ids=ids)], model)


MATERIALS = _materials(spki(CPAK))


def collection(platform: bytes, realm: bytes) -> bytes:
    return cbor.encode(cbor.Tag(399, {44234: platform, 44241: realm}))


def made(platform: dict[int, Any] = PLATFORM, realm: dict[int, Any] = REALM) -> bytes:
    return collection(sign1(platform, CPAK), sign1(realm, RAK))


def _changed(claims: dict[int, Any], label: int, value: Any) -> dict[int, Any]:
    return {key: item for key, item in (claims | {label: value}).items() if item is not None}


def appraise(raw: bytes, given: Materials = MATERIALS, challenge: bytes = CHALLENGE) -> Appraisal:
    expected = Expected(challenge=challenge)
    return appraise_evidence(MEDIA_TYPE, raw, expected=expected, at=NOW, materials=given)


def _failed(appraisal: Appraisal, step: str, code: str) -> None:
    last = appraisal.steps[-1]
    assert (last.name, last.passed, appraisal.reasons) == (step, False, (f"attestation.{code}",))
    assert not appraisal.affirmed and appraisal.claims is None


def test_a_good_collection_is_affirmed() -> None:
    appraisal = appraise(made())
    assert appraisal.affirmed and appraisal.level == "D1", "only the challenge binds the key"
    claims = appraisal.claims
    assert claims is not None and claims.secure is True and claims.root.assurance == "tee"
    assert not claims.root.unique, "a group of devices may share the key"
    assert [item.name for item in claims.measurements][1:] == [
        "rim",
        "rem0",
        "rem1",
        "rem2",
        "rem3",
    ]
    unique = appraise(made(), _materials(spki(CPAK), unique="yes")).claims
    assert unique is not None and unique.root.unique


def test_the_old_profile() -> None:
    point = rak(RAK, old=True)
    realm = _changed(_changed(REALM, 44237, point), 265, None)
    platform = PLATFORM | {265: OLD_PROFILE, 10: hashlib.sha256(point).digest()}
    assert appraise(made(platform, realm)).affirmed
    for wrong in (point[:-1], b"\x05" + point[1:], b"\x04" + bytes(96)):
        other = platform | {10: hashlib.sha256(wrong).digest()}
        _failed(appraise(made(other, realm | {44237: wrong})), "cca.realm.key", "claims")
    _failed(appraise(made(platform, REALM)), "cca.realm.profile", "claims")
    _failed(appraise(made(PLATFORM, realm)), "cca.realm.profile", "claims")


@pytest.mark.parametrize(
    ("label", "value", "step"),
    [
        (10, None, "nonce"),
        (10, bytes(31), "nonce"),
        (10, [bytes(32), bytes(32)], "nonce"),
        (256, None, "instance"),
        (256, bytes(33), "instance"),
        (256, INSTANCE[:-1], "instance"),
        (265, None, "profile"),
        (265, "http://arm.com/PSA-SSD/1.0.0", "profile"),
        (2395, None, "lifecycle"),
        (2395, 0x7000, "lifecycle"),
        (2396, None, "implementation"),
        (2396, bytes(31), "implementation"),
        (2399, None, "components"),
        (2399, [], "components"),
        (2399, [{1: "RMM", 5: SIGNER}], "measurement"),
        (2399, [{1: "RMM", 2: DIGEST}], "signer"),
        (2400, "", "service"),
        (2401, None, "config"),
        (2401, b"", "config"),
        (2402, None, "hash"),
        (2402, "none", "hash"),
    ],
)
def test_a_claim_of_the_platform_that_is_wrong(label: int, value: Any, step: str) -> None:
    raw = made(platform=_changed(PLATFORM, label, value))
    _failed(appraise(raw), f"cca.platform.{step}", "claims")


@pytest.mark.parametrize(
    ("label", "value", "step"),
    [
        (10, None, "nonce"),
        (10, CHALLENGE, "nonce"),
        (10, bytes(65), "nonce"),
        (10, [bytes(64)] * 2, "nonce"),
        (265, None, "profile"),
        (265, PLATFORM_PROFILE, "profile"),
        (44235, None, "personalization"),
        (44235, bytes(63), "personalization"),
        (44236, None, "hash"),
        (44236, "md5", "hash"),
        (44237, None, "key"),
        (44237, b"", "key"),
        (44237, cbor.encode({1: 2, -1: 2, -2: bytes(48), -3: bytes(48)}), "key"),
        (44237, cbor.encode({1: 2, -1: 2, -2: bytes(32), -3: bytes(32)}), "key"),
        (44237, cbor.encode({1: 1, -1: 6, -2: bytes(32)}), "key"),
        (44237, cbor.encode({1: 2, -1: 9, -2: bytes(32), -3: bytes(32)}), "key"),
        (44237, rak(RAK) + b"\x00", "key"),
        (44237, _point(RAK), "key"),
        (44238, None, "measurements"),
        (44238, bytes(33), "measurements"),
        (44239, None, "measurements"),
        (44239, [bytes(32)] * 3, "measurements"),
        (44239, [bytes(31)] * 4, "measurements"),
        (44240, None, "hash"),
        (44240, "sha-1", "hash"),
    ],
)
def test_a_claim_of_the_realm_that_is_wrong(label: int, value: Any, step: str) -> None:
    raw = made(realm=_changed(REALM, label, value))
    _failed(appraise(raw), f"cca.realm.{step}", "claims")


def test_the_platform_vouches_for_the_realms_key() -> None:
    other = ec.generate_private_key(ec.SECP384R1())
    platform = sign1(PLATFORM, CPAK)
    # Somebody else's realm, signed by its own key.
    foreign = sign1(REALM | {44237: rak(other)}, other)
    _failed(appraise(collection(platform, foreign)), "cca.binding", "key")
    # The same key, named but not used.
    unsigned = sign1(REALM, other)
    _failed(appraise(collection(platform, unsigned)), "cca.realm.signature", "signature")
    # The hash by another algorithm.
    assert appraise(made(realm=REALM | {44240: "sha-512"})).reasons == ("attestation.key",)
    long = PLATFORM | {10: hashlib.sha512(rak(RAK)).digest()}
    assert appraise(made(long, REALM | {44240: "sha-512"})).affirmed


def test_a_realms_key_of_another_curve() -> None:
    small = ec.generate_private_key(ec.SECP256R1())
    platform = PLATFORM | {10: hashlib.sha256(rak(small)).digest()}
    raw = collection(sign1(platform, CPAK), sign1(REALM | {44237: rak(small)}, small))
    assert appraise(raw).affirmed


def test_the_platforms_key_is_that_of_its_instance() -> None:
    other = ec.generate_private_key(ec.SECP384R1())
    raw = collection(sign1(PLATFORM, other), sign1(REALM, RAK))
    _failed(appraise(raw), "cca.platform.signature", "signature")
    for given in (
        _materials(spki(CPAK), instance=INSTANCE[::-1]),
        _materials(spki(CPAK), implementation=bytes(32)),
    ):
        _failed(appraise(made(), given), "cca.anchor", "anchor")


@pytest.mark.parametrize("lifecycle", [0x0000, 0x1000, 0x2000, 0x4000, 0x5000, 0x6000])
def test_another_state_than_secured_is_recorded_and_not_affirmed(lifecycle: int) -> None:
    appraisal = appraise(made(platform=PLATFORM | {2395: lifecycle}))
    assert appraisal.claims is not None and appraisal.claims.secure is False
    assert not appraisal.affirmed and "attestation.debug" in appraisal.reasons


def test_another_form() -> None:
    platform, realm = sign1(PLATFORM, CPAK), sign1(REALM, RAK)
    good = collection(platform, realm)
    for raw in (
        b"",
        good + b"\x00",
        cbor.encode(cbor.Tag(400, {44234: platform, 44241: realm})),
        cbor.encode({44234: platform, 44241: realm}),
        cbor.encode(cbor.Tag(399, {44234: platform})),
        cbor.encode(cbor.Tag(399, {44234: platform, 44241: realm, 1: b""})),
        cbor.encode(cbor.Tag(399, {44234: platform, 44241: "realm"})),
        b"\xd9\x01\x8f\xb8\x02" + good[4:],
        b"\xd9\x01\x8f\xa3" + good[4:] + b"\x19\xac\xca\x40",
    ):
        _failed(appraise(raw), "cca.collection", "malformed")
    for wrong in (platform + b"\x00", platform[1:], b"\xd1" + platform[1:]):
        _failed(appraise(collection(wrong, realm)), "cca.platform.cose", "malformed")
        _failed(appraise(collection(platform, wrong)), "cca.realm.cose", "malformed")
    hinted = sign1(PLATFORM, CPAK, unprotected={4: b"kid"})
    _failed(appraise(collection(hinted, realm)), "cca.platform.cose", "malformed")
    critical = sign1(REALM, RAK, protected={1: -35, 2: [9], 9: 0})
    _failed(appraise(collection(platform, critical)), "cca.realm.cose", "malformed")
    weak = sign1(REALM, RAK, protected={1: 5})
    _failed(appraise(collection(platform, weak)), "cca.realm.algorithm", "algorithm")


def test_the_challenge_stands_in_64_bytes() -> None:
    _failed(appraise(made(), challenge=bytes(32)), "binding.challenge", "challenge")
    long = bytes(range(64))
    assert appraise(made(realm=REALM | {10: long}), challenge=long).affirmed
    _failed(appraise(made(realm=REALM | {10: long})), "binding.challenge", "challenge")
    assert appraise(made(), challenge=CHALLENGE + bytes(32)).affirmed


def test_no_byte_may_change() -> None:
    expected = Expected(challenge=CHALLENGE)
    assert not survivors(MEDIA_TYPE, made(), expected=expected, at=NOW, materials=MATERIALS)


# --- of others ----------------------------------------------------------------------------------


def _others(raw: bytes) -> tuple[dict[int, Any], dict[int, Any]]:
    parts = foreign_cbor.decode(raw, max_bytes=4096).value
    found = [foreign_cbor.decode(parts[label], max_bytes=4096).value[2] for label in (44234, 44241)]
    platform, realm = (foreign_cbor.decode(payload, max_bytes=4096) for payload in found)
    return platform, realm


def _approving(platform: dict[int, Any], realm: dict[int, Any]) -> tuple[Reference, ...]:
    measured = [
        (item.get(1, "component"), item[2])
        for item in platform.get(2399, ())
        if len(item.get(2, b"")) == 32
    ]
    measured.append(("rim", realm.get(44238, b"")))
    measured += [(f"rem{index}", rem) for index, rem in enumerate(realm.get(44239, ()))]
    return tuple(Reference(name, frozenset((digest,))) for name, digest in measured)


def test_the_collection_of_the_reference_firmware() -> None:
    folder = vectors("attestation/cca/realm/testvectors/tf-rmm")
    raw = (folder / "cca_token.cbor").read_bytes()
    key = load_pem_public_key((folder / "cca_platform.pub").read_bytes())
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    platform, realm = _others(raw)
    given = _materials(der, platform[256], platform[2396], _approving(platform, realm))
    appraisal = appraise(raw, given, realm[10])
    assert appraisal.affirmed, appraisal.steps[-1]
    assert appraisal.claims is not None
    assert appraisal.claims.device_ids["lifecycle"] == "secured"
    _failed(appraise(raw, given), "binding.challenge", "challenge")
    expected = Expected(challenge=realm[10])
    assert not survivors(MEDIA_TYPE, raw, expected=expected, at=NOW, materials=given)


def _claims_of_others(platform: dict[int, Any], realm: dict[int, Any]) -> Appraisal:
    """Claims that are published without signature, signed here: the keys become ours."""
    old = platform.get(265) == OLD_PROFILE
    if 44237 in realm and len(realm[44237]) > 90:
        realm = realm | {44237: rak(RAK, old=old)}
    if type(platform.get(10)) is bytes and len(platform[10]) == 32:
        name = realm.get(44240, "sha-256").replace("-", "")
        platform = platform | {10: hashlib.new(name, realm.get(44237, b"")).digest()}
    references = _approving(platform, realm)
    instance, implementation = platform.get(256, b""), platform.get(2396, b"")
    challenge = realm.get(10, bytes(64))
    raw = collection(sign1(platform, CPAK), sign1(realm, RAK))
    given = _materials(spki(CPAK), instance, implementation, references)
    return appraise(raw, given, challenge[:64])


def test_example_tokens_of_the_draft() -> None:
    """Two sets of claims that belong together: the platform's nonce is the hash of the key."""
    folder = vectors("attestation/cca")
    names = (
        "platform/testvectors/cbor/CcaPlatformExample",
        "realm/testvectors/cbor/CcaRealmExample",
    )
    platform, realm = (diagnostic.read((folder / f"{name}.diag").read_text()) for name in names)
    assert platform[10] == hashlib.sha256(realm[44237]).digest()
    assert _claims_of_others(platform, realm).affirmed
    untouched = collection(sign1(platform, CPAK), sign1(realm, RAK))
    given = _materials(spki(CPAK), platform[256], platform[2396])
    _failed(appraise(untouched, given), "cca.realm.signature", "signature")


def test_claims_of_veraison() -> None:
    refused = {
        "CcaPlatformClaimsInvalidMultiNonce": "cca.platform.nonce",
        "CcaPlatformClaimsMissingMandatoryNonce": "cca.platform.nonce",
        "CcaClaimsMissingMandExtendedMeas": "cca.realm.measurements",
        "CcaClaimsMissingMandHashAlgID": "cca.realm.hash",
        "CcaClaimsMissingMandInitialMeas": "cca.realm.measurements",
        "CcaClaimsMissingMandPubKey": "cca.realm.key",
        "CcaRealmClaimsMissingMandNonce": "cca.realm.nonce",
    }
    found = _files("diag")
    assert len(found) == 15
    for path in found:
        claims = diagnostic.read(path.read_text())
        appraisal = _paired(claims, of_platform=path.name.startswith("CcaPlatform"))
        if path.stem in refused:
            assert appraisal.steps[-1].name == refused[path.stem], path.name
        else:
            assert appraisal.affirmed, (path.name, appraisal.steps[-1])


def _files(suffix: str) -> list[Path]:
    return sorted(vectors("attestation/cca").rglob(f"*.{suffix}"))


def _paired(claims: dict[int, Any], *, of_platform: bool) -> Appraisal:
    """With our own other half, of the same profile."""
    if of_platform:
        old = claims.get(265) != PLATFORM_PROFILE
        return _claims_of_others(claims, _changed(REALM, 265, None) if old else REALM)
    old = 265 not in claims
    return _claims_of_others(PLATFORM | {265: OLD_PROFILE} if old else PLATFORM, claims)


_PLATFORM_JSON = {
    "cca-platform-profile": 265,
    "cca-platform-challenge": 10,
    "cca-platform-implementation-id": 2396,
    "cca-platform-instance-id": 256,
    "cca-platform-config": 2401,
    "cca-platform-lifecycle": 2395,
    "cca-platform-service-indicator": 2400,
    "cca-platform-hash-algo-id": 2402,
    "cca-platform-sw-components": 2399,
}
_REALM_JSON = {
    "cca-realm-challenge": 10,
    "cca-realm-personalization-value": 44235,
    "cca-realm-initial-measurement": 44238,
    "cca-realm-extensible-measurements": 44239,
    "cca-realm-hash-algo-id": 44236,
    "cca-realm-public-key": 44237,
    "cca-realm-public-key-hash-algo-id": 44240,
}
_TEXTS = (265, 2400, 2402, 44236, 44240)


def _from_json(document: dict[str, Any]) -> dict[int, Any]:
    claims: dict[int, Any] = {}
    for name, value in document.items():
        label = (_PLATFORM_JSON | _REALM_JSON).get(name, 0)
        if label in _TEXTS or type(value) is int:
            claims[label] = value
        elif label == 2399:
            claims[label] = [
                {
                    2: base64.b64decode(item["measurement-value"], validate=True),
                    5: base64.b64decode(item["signer-id"], validate=True),
                }
                for item in value
            ]
        elif label == 44239:
            claims[label] = [base64.b64decode(item, validate=True) for item in value]
        elif label:
            claims[label] = base64.b64decode(value, validate=True)
    return claims


def test_claims_of_veraison_in_json() -> None:
    found = _files("json")
    assert len(found) == 29
    affirmed = set()
    for path in found:
        try:
            claims = _from_json(json.loads(path.read_text()))
        except binascii.Error:
            assert path.stem == "test-sw-components-invalid-combo", "it is not even Base64"
            continue
        appraisal = _paired(claims, of_platform="/platform/" in path.as_posix())
        if appraisal.affirmed:
            affirmed.add(path.stem)
        else:
            assert appraisal.reasons == ("attestation.claims",), path.name
    assert affirmed == {"test-token-valid-full", "test-cca-claims-all-valid"}
