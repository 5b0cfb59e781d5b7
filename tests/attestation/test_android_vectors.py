"""Android Key Attestation with other people's chains, at the time when each was made."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from depin_id import cbor
from depin_id.keys import admit
from tests.attestation.mutation import survivors
from tests.paths import vectors
from verify.attestation import Anchor, Anchors, Appraisal, Expected, Materials, Model, Models
from verify.attestation import appraise_evidence as appraise
from verify.attestation.android_key import CBOR_TYPE, PEM_TYPE
from verify.attestation.android_key.description import Authorizations, read_description
from verify.attestation.android_key.handler import HANDLER, provisioning_of, read_pem
from verify.attestation.identifiers import serial_identifier, spki_of
from verify.attestation.materials import Reference, Revocations, RevocationSnapshot
from verify.attestation.steps import Steps

FOLDER = "attestation/android-key-attestation"
LEVELS = {"SOFTWARE": 0, "TRUSTED_ENVIRONMENT": 1, "STRONG_BOX": 2}
ORIGINS = {"GENERATED": 0, "DERIVED": 1, "IMPORTED": 2, "RESERVED": 3, "SECURELY_IMPORTED": 4}
STATES = {"VERIFIED": 0, "SELF_SIGNED": 1, "UNVERIFIED": 2, "FAILED": 3}
NAMES = {"algorithms": "algorithm", "attestationApplicationId": "application"}
TEXTS = re.compile("attestationId[A-Z]")
MODEL = Model("any phone", frozenset(("android-key",)), revocation="none")


def _anchor(pem: bytes) -> Anchor:
    root = x509.load_pem_x509_certificate(pem)
    return Anchor("android-key", "Google", spki_of(root), root.public_bytes(Encoding.DER))


@cache
def _google() -> Anchors:
    listed = json.loads(vectors(f"{FOLDER}/roots.json").read_text())
    return Anchors(_anchor(pem.encode()) for pem in listed)


def _materials(model: Model = MODEL, **more: Any) -> Materials:
    return replace(Materials(_google(), Models([model])), **more)


def _described() -> list[tuple[Path, dict[str, Any]]]:
    """Chains with the parse that is expected of them."""
    found = []
    for path in sorted(vectors(f"{FOLDER}/chains").rglob("*.json")):
        if path.with_suffix(".pem").exists():
            found.append((path.with_suffix(".pem"), json.loads(path.read_text())))
    return found


def _at(expected: dict[str, Any]) -> int:
    return int(expected["softwareEnforced"]["creationDateTime"])


def _bytes(text: str) -> bytes:
    return base64.b64decode(text)


def _value(name: str, value: Any) -> Any:
    """A value as our reader gives it."""
    if name == "rootOfTrust":
        state = STATES[value["verifiedBootState"]]
        digest = _bytes(value.get("verifiedBootHash") or "")
        return (_bytes(value["verifiedBootKey"]), value["deviceLocked"], state, digest)
    if name == "attestationApplicationId":
        packages = {(one["name"], int(one["version"])) for one in value["packages"]}
        return packages, set(map(_bytes, value["signatures"]))
    if name == "origin":
        return ORIGINS[value]
    if name == "moduleHash":
        return _bytes(value)
    if TEXTS.match(name):
        return value.encode()
    if isinstance(value, list):
        return frozenset(map(int, value))
    return value if value is True else int(value)


def _check_list(found: Authorizations, expected: dict[str, Any]) -> int:
    """Hold a list against what it has to be, name by name; gives how many."""
    left = dict(found.values)
    wanted = {name: value for name, value in expected.items() if name != "areTagsOrdered"}
    for name, value in wanted.items():
        ours = NAMES.get(name) or re.sub("(?<!^)[A-Z]", lambda m: f"_{m[0].lower()}", name)
        seen = left.pop(ours.removeprefix("attestation_id_"))
        if name == "attestationApplicationId":
            seen = (set(seen.packages), set(seen.signers))
        assert seen == _value(name, value), name
    assert not left, "more than what is expected"
    return len(wanted)


def _appraise(path: Path, expected: dict[str, Any], **more: Any) -> Appraisal:
    about: dict[str, Any] = {
        "expected": Expected(challenge=_bytes(expected["attestationChallenge"])),
        "at": _at(expected),
        "materials": _materials(),
    }
    return appraise(PEM_TYPE, path.read_bytes(), **about | more)


def test_descriptions_are_read_as_their_publisher_reads_them() -> None:
    fields = 0
    for path, expected in _described():
        found = HANDLER.parse(path.read_bytes(), Steps()).description
        assert found.version == int(expected["attestationVersion"])
        assert found.keymint_version == int(expected["keyMintVersion"])
        assert found.level == LEVELS[expected["attestationSecurityLevel"]]
        assert found.keymint_level == LEVELS[expected["keyMintSecurityLevel"]]
        assert found.challenge == _bytes(expected["attestationChallenge"])
        assert found.unique_id == _bytes(expected["uniqueId"])
        fields += _check_list(found.software, expected["softwareEnforced"])
        fields += _check_list(found.hardware, expected["hardwareEnforced"])
    assert fields >= 100


def test_every_chain_verifies_at_its_time_and_software_roots_do_not() -> None:
    counted = {"google": 0, "software": 0}
    for path, expected in _described():
        found = _appraise(path, expected)
        level = expected["attestationSecurityLevel"]
        if level == "SOFTWARE":
            counted["software"] += 1
            assert found.reasons == ("attestation.anchor",), path
            continue
        counted["google"] += 1
        claims = found.claims
        assert claims is not None, (path, found.steps[-1])
        boot = expected["hardwareEnforced"]["rootOfTrust"]
        assert claims.secure == (boot["deviceLocked"] and boot["verifiedBootState"] == "VERIFIED")
        assert ("attestation.debug" in found.reasons) == (not claims.secure)
        assert claims.root.assurance == ("strongbox" if level == "STRONG_BOX" else "tee")
        assert claims.bound_key.protected
        key = x509.load_der_x509_certificate(read_pem(path.read_bytes())[0]).public_key()
        if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp256r1":
            point = key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
            assert claims.bound_key.key == admit("p256", point)
        else:
            assert claims.bound_key.key is None
    assert counted["google"] >= 8 and counted["software"] >= 2


def test_software_roots_as_anchors_do_not_make_hardware() -> None:
    text = vectors(f"{FOLDER}/software_roots.pem").read_bytes()
    ends = [
        part + b"-----END CERTIFICATE-----\n" for part in text.split(b"-----END CERTIFICATE-----")
    ]
    anchors = Anchors(_anchor(part) for part in ends if b"BEGIN" in part)
    for path, expected in _described():
        if expected["attestationSecurityLevel"] == "SOFTWARE":
            found = _appraise(path, expected, materials=_materials(anchors=anchors))
            assert not found.affirmed and found.claims is None
            # One is of 1024 bits of RSA, the other of software by its own word.
            assert found.steps[-1].name in ("android-key.levels", "android-key.signature")


@pytest.mark.parametrize("name", ["malformed_rot_device_locked", "tags_not_in_ascending_order"])
def test_malformed_descriptions_are_refused(name: str) -> None:
    raw = vectors(f"{FOLDER}/chains/invalid/{name}.pem").read_bytes()
    found = appraise(
        PEM_TYPE, raw, expected=Expected(challenge=bytes(32)), at=1, materials=_materials()
    )
    assert found.steps[-1].name == "android-key.description"
    assert found.reasons == ("attestation.malformed",)


def test_chains_that_stand_alone() -> None:
    body = HANDLER.parse(vectors(f"{FOLDER}/chains/allow_while_on_body.pem").read_bytes(), Steps())
    values = {**body.description.hardware.values, **body.description.software.values}
    assert values["allow_while_on_body"] is True
    path = vectors(f"{FOLDER}/chains/p256_sha384_intermediate.pem")
    found = appraise(
        PEM_TYPE,
        path.read_bytes(),
        expected=Expected(challenge=bytes(32)),
        at=1,
        materials=_materials(),
    )
    assert found.reasons == ("attestation.malformed",)


def _older(name: str) -> bytes:
    folder = vectors(f"{FOLDER}/der/{name}")
    return cbor.encode([path.read_bytes() for path in sorted(folder.glob("cert*.der"))])


@pytest.mark.parametrize("kind", ["EC", "RSA"])
def test_older_chains_verify(kind: str) -> None:
    raw = _older(f"algorithm_{kind}_SecurityLevel_TEE")
    parsed = HANDLER.parse(raw, Steps())
    made = parsed.description.software.number("creation_date_time")
    assert made is not None
    for at in (made, 1_790_000_000_000):  # the second after its root's end
        found = appraise(
            CBOR_TYPE,
            raw,
            expected=Expected(challenge=parsed.description.challenge),
            at=at,
            materials=_materials(),
        )
        # All holds but the size of the challenge: no network makes one of three bytes.
        assert found.steps[-1].name == "android-key.challenge", found.steps[-1]
        assert provisioning_of(parsed.certificates) == "factory"


def test_older_strongbox_chains_end_typed() -> None:
    about: dict[str, Any] = {"expected": Expected(challenge=bytes(32)), "at": 1_600_000_000_000}
    about["materials"] = _materials()
    unreadable = appraise(CBOR_TYPE, _older("algorithm_EC_SecurityLevel_StrongBox"), **about)
    assert unreadable.steps[-1].name == "android-key.certificates"
    assert unreadable.reasons == ("attestation.malformed",)
    stranger = appraise(CBOR_TYPE, _older("algorithm_RSA_SecurityLevel_StrongBox"), **about)
    assert stranger.reasons == ("attestation.anchor",)


# --- one phone, locked and verified, whose chain had ended when it attested -----------------------


def _sony() -> tuple[Path, dict[str, Any]]:
    path = vectors(f"{FOLDER}/chains/sony-xperia10-iii/sdk33/TEE_EC.pem")
    return path, json.loads(path.with_suffix(".json").read_text())


@cache
def _sony_about() -> dict[str, Any]:
    path, expected = _sony()
    leaf = x509.load_der_x509_certificate(read_pem(path.read_bytes())[0])
    key = leaf.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    point = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    boot = expected["hardwareEnforced"]["rootOfTrust"]
    signer = expected["softwareEnforced"]["attestationApplicationId"]["signatures"][0]
    approved = {
        "verified-boot-key": boot["verifiedBootKey"],
        "verified-boot-hash": boot["verifiedBootHash"],
        "package": signer,
    }
    model = Model(
        "SO-52B",
        frozenset(("android-key",)),
        match={"manufacturer": "Sony", "model": "SO-52B"},
        references=tuple(
            Reference(name, frozenset((_bytes(value),))) for name, value in approved.items()
        ),
        minimum={"os_patch": 202307, "boot_patch": 20230701},
        settings={"package": ["com.android.vending"]},
    )
    current = RevocationSnapshot(frozenset(("android-key",)), {}, _at(expected) - 1000)
    return {
        "expected": Expected(
            challenge=_bytes(expected["attestationChallenge"]), key=admit("p256", point)
        ),
        "at": _at(expected),
        "materials": _materials(model, revocations=Revocations([current])),
    }


def test_a_factory_chain_that_had_ended_is_accepted_and_reaches_d3() -> None:
    path, _ = _sony()
    found = appraise(PEM_TYPE, path.read_bytes(), **_sony_about())
    assert found.affirmed and found.level == "D3", found.steps[-1]
    ended = [
        one.not_valid_after_utc.timestamp() * 1000 < found.at
        for one in HANDLER.parse(path.read_bytes(), Steps()).certificates
    ]
    assert ended == [False, True, True, True]
    assert found.claims is not None and not found.claims.root.unique


def test_a_real_phone_with_one_thing_wrong() -> None:
    path, _ = _sony()
    about = _sony_about()
    materials: Materials = about["materials"]
    intermediate = HANDLER.parse(path.read_bytes(), Steps()).certificates[1]
    serial = serial_identifier("android-key", intermediate.serial_number)
    listed = RevocationSnapshot(frozenset(("android-key",)), {serial: "leaked"}, about["at"] - 1)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"expected": Expected(challenge=bytes(32))}, "challenge"),
        ({"materials": replace(materials, revocations=Revocations([listed]))}, "revoked"),
        ({"materials": _other(materials, minimum={"os_patch": 202308})}, "outdated"),
        ({"materials": _other(materials, settings={"package": "x"})}, "claims"),
        ({"materials": _other(materials, match={"model": "SO-53B"})}, "model"),
        ({"materials": replace(materials, anchors=Anchors())}, "anchor"),
    ]  # fmt: skip
    for more, reason in cases:
        found = appraise(PEM_TYPE, path.read_bytes(), **about | more)
        assert not found.affirmed and f"attestation.{reason}" in found.reasons, found.reasons


def _other(materials: Materials, **changes: Any) -> Materials:
    (model,) = materials.models
    return replace(materials, models=Models([replace(model, **changes)]))


@pytest.mark.parametrize("form", [PEM_TYPE, CBOR_TYPE])
def test_no_byte_of_a_real_chain_is_free(form: str) -> None:
    raw = _sony()[0].read_bytes()
    if form == CBOR_TYPE:
        raw = cbor.encode(read_pem(raw))
    assert survivors(form, raw, **_sony_about()) == []


def test_remote_chains_are_good_for_weeks_and_roots_may_be_left_out() -> None:
    for path, expected in _described():
        chain = read_pem(path.read_bytes())
        parsed = HANDLER.parse(path.read_bytes(), Steps())
        if provisioning_of(parsed.certificates) != "rkp":
            continue
        about: dict[str, Any] = {
            "expected": Expected(challenge=parsed.description.challenge),
            "materials": _materials(),
        }
        short = cbor.encode(chain[:-1])
        found = appraise(CBOR_TYPE, short, at=_at(expected), **about)
        assert found.claims is not None, (path, found.steps[-1])
        assert found.claims.root.unique and found.claims.not_after is not None
        assert found.claims.not_after - _at(expected) < 60 * 86_400_000
        late = appraise(CBOR_TYPE, short, at=_at(expected) + 90 * 86_400_000, **about)
        assert late.reasons == ("attestation.expired",), path


def test_the_description_of_a_leaf_is_read_alone() -> None:
    path, _ = _sony()
    leaf = HANDLER.parse(path.read_bytes(), Steps()).certificates[0]
    oid = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.1.17")
    value = leaf.extensions.get_extension_for_oid(oid).value
    assert isinstance(value, x509.UnrecognizedExtension)
    assert read_description(value.value).hardware.text("model") == "SO-52B"
