"""PSA tokens: those of others, good and bad, and one test for each thing that is checked."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from depin_id import cbor
from depin_id.attestation import result as ar4si
from tests.attestation import diagnostic
from tests.attestation.ca import NOW, new_key
from tests.attestation.mutation import survivors
from tests.attestation.tokens import CHALLENGE, mac0, materials, sign1, spki
from tests.paths import vectors
from verify.attestation import (
    Anchor,
    Anchors,
    Appraisal,
    Expected,
    Materials,
    Model,
    appraise_evidence,
    foreign_cbor,
)
from verify.attestation.materials import Reference
from verify.attestation.psa import PROFILE, PROFILE_1

MEDIA_TYPE = f'application/eat+cwt; eat_profile="{PROFILE}"'
IAK = new_key()
INSTANCE = b"\x01" + bytes(range(32))
IMPLEMENTATION = bytes(range(32, 64))
DIGEST, SIGNER = hashlib.sha256(b"image").digest(), hashlib.sha256(b"signer").digest()
CLAIMS: dict[int, Any] = {
    10: CHALLENGE,
    256: INSTANCE,
    265: PROFILE,
    268: bytes(8),
    2394: -1,
    2395: 0x3000,
    2396: IMPLEMENTATION,
    2398: "1234567890123-12345",
    2399: [{1: "BL", 2: DIGEST, 4: "3.1.4", 5: SIGNER, 6: "sha-256"}],
    2400: "https://verifier.example.org",
}
LEGACY = {"legacy": True}


def _anchor(pinned: bytes, instance: bytes, implementation: bytes, **more: str) -> Anchor:
    ids = {"instance": instance.hex(), "implementation": implementation.hex()}
    return Anchor("psa", "a device", pinned, ids=ids | more)


def _materials(
    anchor: Anchor,
    references: tuple[Reference, ...] = (),
    settings: dict[str, Any] | None = None,
) -> Materials:
    model = Model(
        "m", frozenset(("psa",)), references=references, settings=settings or {}, revocation="none"
    )
    return materials([anchor], model)


MATERIALS = _materials(
    _anchor(spki(IAK), INSTANCE, IMPLEMENTATION),
    (Reference("BL", frozenset((DIGEST,)), SIGNER),),
)


def appraise(raw: bytes, given: Materials = MATERIALS, challenge: bytes = CHALLENGE) -> Appraisal:
    return appraise_evidence(
        MEDIA_TYPE, raw, expected=Expected(challenge=challenge), at=NOW, materials=given
    )


def _with(**changes: Any) -> dict[int, Any]:
    found = CLAIMS | {int(label[1:]): value for label, value in changes.items()}
    return {label: value for label, value in found.items() if value is not None}


def _failed(appraisal: Appraisal, step: str, code: str) -> None:
    last = appraisal.steps[-1]
    assert (last.name, last.passed, appraisal.reasons) == (step, False, (f"attestation.{code}",))
    assert not appraisal.affirmed and appraisal.claims is None


def test_a_good_token_is_affirmed() -> None:
    appraisal = appraise(sign1(CLAIMS, IAK))
    assert appraisal.affirmed and appraisal.level == "D1", "only the challenge binds the key"
    claims = appraisal.claims
    assert claims is not None and claims.secure is True and claims.bound_key.how == "challenge"
    assert claims.root.id == hashlib.sha256(INSTANCE).digest()
    assert claims.root.assurance == "firmware" and claims.root.unique
    assert claims.device_ids["implementation"] == IMPLEMENTATION.hex()
    assert claims.device_ids["lifecycle"] == "secured"
    assert f"ueid:{INSTANCE.hex()}" in claims.identifiers


def test_firmware_that_keeps_the_key_reaches_the_third_level() -> None:
    model = Model(
        "m",
        frozenset(("psa",)),
        references=(Reference("BL", frozenset((DIGEST,)), SIGNER),),
        revocation="none",
        protects_key=True,
    )
    given = materials([_anchor(spki(IAK), INSTANCE, IMPLEMENTATION, assurance="tee")], model)
    appraisal = appraise(sign1(CLAIMS, IAK), given)
    assert appraisal.level == "D3"
    assert appraisal.claims is not None and appraisal.claims.root.assurance == "tee"


@pytest.mark.parametrize(
    ("claims", "step"),
    [
        (_with(_10=None), "psa.nonce"),
        (_with(_10=bytes(31)), "psa.nonce"),
        (_with(_10=[CHALLENGE, CHALLENGE]), "psa.nonce"),
        (_with(_10=[]), "psa.nonce"),
        (_with(_256=None), "psa.instance"),
        (_with(_256=INSTANCE[:-1]), "psa.instance"),
        (_with(_256=b"\x02" + INSTANCE[1:]), "psa.instance"),
        (_with(_265=None), "psa.profile"),
        (_with(_265="tag:psacertified.org,2023:psa#other"), "psa.profile"),
        (_with(_265=1), "psa.profile"),
        (_with(_265=PROFILE) | {-75000: PROFILE_1}, "psa.profile"),
        (_with(_268=bytes(7)), "psa.boot_seed"),
        (_with(_268=bytes(33)), "psa.boot_seed"),
        (_with(_2394=None), "psa.client"),
        (_with(_2394=1 << 31), "psa.client"),
        (_with(_2394=True), "psa.client"),
        (_with(_2395=None), "psa.lifecycle"),
        (_with(_2395=0x7000), "psa.lifecycle"),
        (_with(_2395=0x0100), "psa.lifecycle"),
        (_with(_2395=-1), "psa.lifecycle"),
        (_with(_2396=None), "psa.implementation"),
        (_with(_2396=bytes(33)), "psa.implementation"),
        (_with(_2398="1234567890123"), "psa.certification"),
        (_with(_2399=None), "psa.components"),
        (_with(_2399=[]), "psa.components"),
        (_with(_2399=[{2: DIGEST, 5: SIGNER}] * 65), "psa.components"),
        (_with(_2399=[1]), "psa.components"),
        (_with(_2399=[{2: DIGEST, 5: SIGNER, 3: 1}]), "psa.components"),
        (_with(_2399=[{2: DIGEST, 5: SIGNER, 4: 1}]), "psa.components"),
        (_with(_2399=[{5: SIGNER}]), "psa.measurement"),
        (_with(_2399=[{2: DIGEST[:31], 5: SIGNER}]), "psa.measurement"),
        (_with(_2399=[{2: DIGEST}]), "psa.signer"),
        (_with(_2399=[{2: DIGEST, 5: b""}]), "psa.signer"),
        (_with(_2400=""), "psa.service"),
    ],
)
def test_a_claim_that_is_not_of_the_format(claims: dict[int, Any], step: str) -> None:
    _failed(appraise(sign1(claims, IAK)), step, "claims")


def test_another_form() -> None:
    good = sign1(CLAIMS, IAK)
    for raw in (b"", good + b"\x00", good[1:], b"\xd3" + good[1:], sign1([], IAK)):
        assert appraise(raw).reasons == ("attestation.malformed",)
    _failed(appraise(b"\xd1" + good[1:]), "psa.algorithm", "algorithm")
    twice = cbor.encode(CLAIMS)
    doubled = bytes([twice[0] + 1]) + twice[1:] + b"\x0a\x40"
    _failed(appraise(sign1(doubled, IAK)), "psa.claims", "malformed")
    _failed(appraise(sign1(CLAIMS, IAK, protected={1: -37})), "psa.algorithm", "algorithm")
    for protected, unprotected in (
        ({1: -7, 2: [9], 9: 0}, {}),
        ({1: -7}, {4: b"x"}),
        ({1: -7, 4: b"x"}, {4: b"x"}),
    ):
        raw = sign1(CLAIMS, IAK, protected=protected, unprotected=unprotected)
        _failed(appraise(raw), "psa.cose", "malformed")


@pytest.mark.parametrize(
    ("lifecycle", "state"),
    [
        (0x0000, "unknown"),
        (0x1000, "assembly"),
        (0x20FF, "provisioning"),
        (0x4000, "other-debug"),
        (0x5000, "recoverable-debug"),
        (0x6000, "decommissioned"),
    ],
)
def test_another_state_than_secured_is_recorded_and_not_affirmed(
    lifecycle: int, state: str
) -> None:
    appraisal = appraise(sign1(_with(_2395=lifecycle), IAK))
    assert appraisal.claims is not None and appraisal.claims.secure is False
    assert appraisal.claims.device_ids["lifecycle"] == state
    assert not appraisal.affirmed and "attestation.debug" in appraisal.reasons


def test_the_key_is_that_of_the_instance_and_implementation() -> None:
    raw = sign1(CLAIMS, IAK)
    _failed(appraise(sign1(CLAIMS, new_key())), "psa.signature", "signature")
    for anchor in (
        _anchor(spki(IAK), INSTANCE[::-1], IMPLEMENTATION),
        _anchor(spki(IAK), INSTANCE, INSTANCE[1:]),
    ):
        _failed(appraise(raw, _materials(anchor)), "psa.anchor", "anchor")
    _failed(appraise(raw, materials([])), "evidence.anchors", "anchor")
    broken = _anchor(b"no key", INSTANCE, IMPLEMENTATION)
    _failed(appraise(raw, _materials(broken)), "psa.anchor", "anchor")


def test_one_of_many_anchors_is_found() -> None:
    anchors = [
        _anchor(spki(IAK), b"\x01" + number.to_bytes(32), IMPLEMENTATION) for number in range(500)
    ]
    many = Anchors([*anchors, _anchor(spki(IAK), INSTANCE, IMPLEMENTATION)])
    assert many.find("psa", instance=INSTANCE.hex()) == tuple(many)[-1:]
    assert (
        many.find("psa", implementation=IMPLEMENTATION.hex()) == many.of("psa") == many.find("psa")
    )
    assert not many.find("psa", implementation=IMPLEMENTATION.hex(), instance="00")
    assert not many.find("eat", instance=INSTANCE.hex()) and not many.find("psa", kid="00")


def test_a_public_key_is_no_key_of_a_mac() -> None:
    _failed(appraise(mac0(CLAIMS, spki(IAK))), "psa.signature", "signature")
    common = _anchor(bytes(32), INSTANCE, IMPLEMENTATION, key="symmetric")
    given = _materials(common, (Reference("BL", frozenset((DIGEST,))),))
    assert appraise(mac0(CLAIMS, bytes(32)), given).affirmed
    _failed(appraise(mac0(CLAIMS, b"another key, too"), given), "psa.signature", "signature")
    _failed(appraise(sign1(CLAIMS, IAK), given), "psa.signature", "signature")


def test_components_are_compared_by_value_and_signer() -> None:
    other = hashlib.sha256(b"another").digest()
    for component in ({1: "BL", 2: other, 5: SIGNER}, {1: "BL", 2: DIGEST, 5: other}):
        appraisal = appraise(sign1(_with(_2399=[component]), IAK))
        assert appraisal.vector.executables == ar4si.UNRECOGNIZED_EXECUTABLES
        assert appraisal.reasons == ("attestation.references",)


def test_another_challenge_is_refused() -> None:
    _failed(appraise(sign1(CLAIMS, IAK), challenge=bytes(32)), "binding.challenge", "challenge")


def test_no_byte_may_change() -> None:
    expected = Expected(challenge=CHALLENGE)
    raw = sign1(CLAIMS, IAK)
    assert not survivors(MEDIA_TYPE, raw, expected=expected, at=NOW, materials=MATERIALS)


# --- tokens of others ---------------------------------------------------------------------------


def _others_key(path: Path) -> bytes:
    text = path.read_bytes()
    private = load_pem_private_key(text, None) if b"PRIVATE" in text else None
    key = private.public_key() if private is not None else load_pem_public_key(text)
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _others(
    claims: dict[int, Any], pinned: bytes, *, first: bool = False, **more: str
) -> Materials:
    labels = (-75009, -75003, -75006) if first else (256, 2396, 2399)
    instance, implementation, components = (claims[label] for label in labels)
    references = tuple(
        Reference(item.get(1, "component"), frozenset((item[2],)), item[5]) for item in components
    )
    return _materials(_anchor(pinned, instance, implementation, **more), references, LEGACY)


@pytest.mark.parametrize("kind", ["sign1", "mac0"])
def test_examples_of_the_rfc(kind: str) -> None:
    folder = vectors("attestation/psa-eat/cddl/example")
    raw = (folder / f"psa-{kind}.cbor").read_bytes()
    assert diagnostic.read((folder / f"psa-{kind}.diag").read_text()) == cbor.decode(raw)
    claims = diagnostic.read((folder / f"{kind}-claims.diag").read_text())
    if kind == "sign1":
        given = _others(claims, _others_key(folder / "tfm-es-iak.pem"))
    else:
        given = _others(claims, (folder / "tfm-hs-iak.bin").read_bytes(), key="symmetric")
    model = next(iter(given.models))
    assert appraise(raw, given, claims[10]).affirmed and model.settings
    _failed(appraise(raw, given, bytes(32)), "binding.challenge", "challenge")
    expected = Expected(challenge=claims[10])
    assert not survivors(MEDIA_TYPE, raw, expected=expected, at=NOW, materials=given)


@pytest.mark.parametrize(
    "name", ["psa-2_0_0_sign1", "psa-2_0_0_mac0", "psa-iot-1_sign1", "psa-iot-1_mac0"]
)
def test_tokens_of_trusted_firmware_m(name: str) -> None:
    folder = vectors("attestation/psa-veraison/testvectors")
    raw = (folder / f"tf-m/{name}.bin").read_bytes()
    first = "iot-1" in name
    claims = cbor.decode(cbor.encode(_payload(raw)))
    key = _others_key(folder / "tf-m/public.pem")
    nonce = claims[-75008 if first else 10]
    if name.endswith("mac0"):
        # The key of these is not published: only their form is looked at.
        given = _others(claims, bytes(32), first=first, key="symmetric")
        _failed(appraise(raw, given, nonce), "psa.signature", "signature")
        return
    given = _others(claims, key, first=first)
    appraisal = appraise(raw, given, nonce)
    assert appraisal.affirmed, appraisal.steps[-2:]
    assert appraisal.claims is not None
    assert {item.name for item in appraisal.claims.measurements} == {"SPE", "NSPE"}
    strict = _materials(_anchor(key, *(claims[n] for n in _ids(first))))
    _failed(appraise(raw, strict, nonce), "psa.profile", "claims")


def _ids(first: bool) -> tuple[int, int]:
    return (-75009, -75003) if first else (256, 2396)


def _payload(raw: bytes) -> Any:
    outer = foreign_cbor.decode(raw, max_bytes=4096)
    return foreign_cbor.decode(outer.value[2], max_bytes=4096)


def _appraise_claims(claims: dict[int, Any], nonce: bytes) -> Appraisal:
    """Of a set of claims that its owners publish without signature."""
    first = -75001 in claims
    instance, implementation = (claims.get(label, b"") for label in _ids(first))
    anchor = _anchor(spki(IAK), instance, implementation)
    found = claims.get(-75006 if first else 2399, ())
    references = tuple(
        Reference(item.get(1, "component"), frozenset((item[2],))) for item in found if 2 in item
    )
    return appraise(sign1(claims, IAK), _materials(anchor, references, LEGACY), nonce)


def _diagnostics(folder: str) -> list[Path]:
    return sorted(vectors(f"attestation/{folder}").glob("*.diag"))


def test_claims_of_the_rfc_good_and_bad() -> None:
    count = 0
    for path in _diagnostics("psa-eat/cddl/test"):
        claims = diagnostic.read(path.read_text())
        appraisal = _appraise_claims(claims, claims[10])
        assert appraisal.affirmed == path.name.startswith("GOOD"), (path.name, appraisal.steps[-1:])
        if "big" in path.name or "small" in path.name:
            assert appraisal.steps[-1].name == "psa.boot_seed"
        count += 1
    assert count == 9


def test_claims_of_veraison() -> None:
    refused = {
        "P1ClaimsAllNoSwMeasurements": "psa.components",
        "P1ClaimsMandatoryOnlyNoSwMeasurements": "psa.components",
        "P1ClaimsMissingMandatoryNonce": "psa.nonce",
        "P2ClaimsInvalidMultiNonce": "psa.nonce",
        "P2ClaimsMissingMandatoryNonce": "psa.nonce",
    }
    found = _diagnostics("psa-veraison/testvectors/cbor")
    assert len(found) == 11
    for path in found:
        claims = diagnostic.read(path.read_text())
        nonce = claims.get(10, claims.get(-75008))
        challenge = nonce if isinstance(nonce, bytes) else CHALLENGE
        appraisal = _appraise_claims(claims, challenge)
        if path.stem in refused:
            assert appraisal.steps[-1].name == refused[path.stem], path.name
        else:
            assert appraisal.affirmed, (path.name, appraisal.steps[-1:])


_JSON = {
    "psa-client-id": (2394, -75001),
    "psa-security-lifecycle": (2395, -75002),
    "psa-implementation-id": (2396, -75003),
    "psa-boot-seed": (2397, -75004),
    "psa-certification-reference": (2398, None),
    "psa-hwver": (None, -75005),
    "psa-software-components": (2399, -75006),
    "psa-no-software-measurements": (None, -75007),
    "psa-nonce": (10, -75008),
    "psa-instance-id": (256, -75009),
    "psa-verification-service-indicator": (2400, -75010),
    "psa-profile": (None, -75000),
    "eat-profile": (265, None),
}
_COMPONENT = {"measurement-type": 1, "measurement-value": 2, "signer-id": 5}
_BYTES = ("psa-implementation-id", "psa-boot-seed", "psa-nonce", "psa-instance-id")


def _from_json(document: dict[str, Any], *, first: bool) -> dict[int, Any]:
    claims: dict[int, Any] = {}
    for name, value in document.items():
        label = _JSON[name][first]
        if label is None:
            continue
        if name in _BYTES:
            claims[label] = base64.b64decode(value)
        elif name == "psa-software-components":
            claims[label] = [
                {
                    _COMPONENT[key]: item if key == "measurement-type" else base64.b64decode(item)
                    for key, item in component.items()
                }
                for component in value
            ]
        else:
            claims[label] = value
    return claims


def test_claims_of_veraison_in_json() -> None:
    """Those that are named valid in their profile; of the rest each is refused in either one."""
    valid = {
        "test-token-valid-full": (True, True),
        "test-token-valid-minimalist-p1": (False, True),
        "test-token-valid-minimalist-p2": (True, False),
        "test-profile-valid-missing": (False, True),
        # The same document, once valid and once not: the first profile may be implied.
        "test-profile-invalid-missing": (False, True),
        # What is wrong or missing has no place in, or is not needed by, the other profile.
        "test-boot-seed-invalid-missing": (True, False),
        "test-hardware-version-invalid": (False, False),
        "test-profile-invalid-unknown": (False, False),
    }
    found = sorted(vectors("attestation/psa-veraison/testvectors/json").glob("*.json"))
    assert len(found) == 33
    for path in found:
        document = json.loads(path.read_text())
        for first in (False, True):
            claims = _from_json(document, first=first)
            nonce = claims.get(-75008 if first else 10, b"")
            challenge = nonce if len(nonce) >= 8 else CHALLENGE
            appraisal = _appraise_claims(claims, challenge)
            want = valid.get(path.stem, (False, False))[first]
            assert appraisal.affirmed == want, (path.name, first, appraisal.steps[-1:])
