"""Credentials: what is issued verifies, and each check refuses what breaks just that check."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import ValidationError

from depin_id import jcs
from depin_id.credentials import (
    CONTEXT,
    TYPES,
    BirthCertificate,
    Calibration,
    Credential,
    Location,
    Verified,
    device_key,
    issue,
    write,
)
from depin_id.credentials.models import Model, Proof
from depin_id.data_integrity import verify_proof
from depin_id.did.jwk import did_jwk
from depin_id.did.key import did_key
from depin_id.ecdsa import P384Key, P384Signer
from depin_id.errors import (
    CredentialError,
    DepinError,
    DIDError,
    KeyRefused,
    SignatureInvalid,
)
from depin_id.keys import SoftwareSigner
from tests.credentials.world import (
    ANNA,
    BORN,
    DEVICE,
    LAB,
    MAKER,
    NOW,
    THIEF,
    Party,
    birth,
    calibration,
    check,
    compact,
    key_of,
    location,
    ownership,
)

EACH: dict[str, tuple[Party, Credential]] = {
    "birth": (MAKER, birth(claim_digest="ab" * 32)),
    "ownership": (MAKER, ownership(MAKER, ANNA, bytes(32))),
    "calibration": (LAB, calibration()),
    "location": (ANNA, location(altitude="-3.5")),
}


def _refused(document: Any, code: str, **more: Any) -> None:
    with pytest.raises(DepinError) as caught:
        check(document, **more)
    assert caught.value.code == code, caught.value


@pytest.mark.parametrize("name", EACH)
def test_what_is_issued_verifies_in_every_spelling(name: str) -> None:
    who, credential = EACH[name]
    signed = who.sign(credential)
    canonical = compact(signed)
    assert canonical == jcs.canonicalize(signed), "issued in canonical order"
    found = check(canonical)
    assert found.credential == credential
    assert (found.issuer, found.subject, found.status) == (who.did, DEVICE.did, None)
    body = {name: item for name, item in signed.items() if name != "proof"}
    assert found.digest == hashlib.sha256(jcs.canonicalize(body)).digest()
    shuffled = dict(reversed(signed.items()))
    others = (
        signed,
        shuffled,
        canonical.decode(),
        json.dumps(shuffled, indent=1).encode(),
        canonical.replace(b'"proof"', b'"pr\\u006fof"'),
    )
    for spelling in others:
        assert check(spelling) == found
    verify_proof(body, signed["proof"], who.signer.public_key)


@pytest.mark.parametrize("name", EACH)
def test_every_member_is_signed(name: str) -> None:
    """Each text of the document, replaced by another that the model takes, breaks the signature."""
    who, credential = EACH[name]
    signed = who.sign(credential)
    changed = 0
    for path, text in _texts(signed):
        for other in _neighbours(text):
            document = _with(signed, path, other)
            try:
                check(document, key_of=lambda *_: who.signer.public_key)
            except SignatureInvalid:
                changed += 1
            except (CredentialError, KeyRefused, DIDError):
                pass
            else:
                pytest.fail(f"{path} may be {other}")
    assert changed >= 6, "most changes reach the signature"


def _texts(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[tuple[Any, ...], str]]:
    if isinstance(value, dict):
        return [found for name in value for found in _texts(value[name], (*path, name))]
    if isinstance(value, list):
        return [found for i, item in enumerate(value) for found in _texts(item, (*path, i))]
    return [(path, value)] if isinstance(value, str) else []


def _neighbours(text: str) -> list[str]:
    swapped = {"0": "1", "1": "2", "2": "3", "e": "f", "a": "b", "B": "C", "n": "m"}
    return [
        text[:at] + swapped[char] + text[at + 1 :]
        for at, char in enumerate(text)
        if char in swapped
    ][-6:]


def _with(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    copy = dict(document) if isinstance(document, dict) else list(document)
    copy[path[0]] = _with(document[path[0]], path[1:], value)
    return copy


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"type": ["VerifiableCredential", "Diploma"]}, "credential.type"),
        ({"type": ["VerifiableCredential"]}, "credential.type"),
        ({"type": ["DeviceCalibration", "VerifiableCredential"]}, "credential.type"),
        ({"type": ["VerifiableCredential", "DeviceCalibration", "More"]}, "credential.type"),
        ({"type": "DeviceCalibration"}, "credential.type"),
        ({"type": ["VerifiableCredential", ["DeviceCalibration"]]}, "credential.type"),
        ({"type": ["VerifiableCredential", "DeviceLocation"]}, "credential.malformed"),
        ({"@context": list(CONTEXT)[::-1]}, "credential.context"),
        ({"@context": list(CONTEXT)[:1]}, "credential.context"),
        ({"@context": [*CONTEXT, "https://example.org/more"]}, "credential.context"),
        ({"@context": CONTEXT[0]}, "credential.context"),
        ({"issuer": {"id": LAB.did}}, "credential.malformed"),
        ({"issuer": "example.org"}, "credential.malformed"),
        ({"validFrom": "2026-11-20"}, "credential.malformed"),
        ({"validFrom": "2026-11-20T00:00:00+01:00"}, "credential.malformed"),
        ({"validFrom": "2026-02-30T00:00:00Z"}, "credential.malformed"),
        ({"validUntil": None}, "credential.malformed"),
        ({"more": "x"}, "credential.malformed"),
        ({"evidence": []}, "credential.malformed"),
        ({"valid_from": BORN}, "credential.malformed"),
        ({"credentialSubject": []}, "credential.malformed"),
        ({"validFrom": "2026-11-21T12:00:01Z"}, "credential.not_yet_valid"),
        ({"validUntil": "2026-11-21T11:59:59Z"}, "credential.expired"),
    ],
)
def test_a_signed_document_of_another_form_or_time(change: dict[str, Any], code: str) -> None:
    """The signature is good each time: the issuer itself signed it."""
    document = {**LAB.sign(calibration()), **change}
    _refused(LAB.sign_raw(document), code)


def test_the_ends_of_the_validity_are_in_it() -> None:
    signed = LAB.sign(
        calibration(valid_from="2026-11-21T12:00:00Z", valid_until="2026-11-21T12:00:00Z")
    )
    check(signed)
    _refused(signed, "credential.not_yet_valid", now_ms=NOW - 1)
    _refused(signed, "credential.expired", now_ms=NOW + 1)


def test_a_credential_for_another_device_or_of_another_kind() -> None:
    signed = LAB.sign(calibration())
    check(signed, expected_subject=DEVICE.did, expected_type=Calibration)
    _refused(signed, "credential.subject", expected_subject=THIEF.did)
    _refused(signed, "credential.type", expected_type=Location)


def test_a_replaced_subject_breaks_the_signature() -> None:
    signed = MAKER.sign(birth())
    stolen = birth(THIEF).model_dump(by_alias=True, exclude_none=True)["credentialSubject"]
    _refused({**signed, "credentialSubject": stolen}, "signature.invalid")


def test_a_key_that_is_not_the_issuers() -> None:
    document = LAB.sign(calibration())
    # Signed by the thief under the thief's own method, in the laboratory's name.
    _refused(THIEF.sign_raw(document), "credential.method")
    # Signed by the thief, with the laboratory's method.
    _refused(THIEF.sign_raw(document, verification_method=LAB.method), "signature.invalid")
    # A method that only begins like the laboratory's DID.
    for method in (LAB.did + "x#1", LAB.did[:-1] + "#1"):
        _refused(LAB.sign_raw(document, verification_method=method), "credential.method")
    _refused(LAB.sign_raw(document, verification_method=LAB.did), "credential.malformed")
    # Another issuer is put in after signing.
    _refused({**document, "issuer": THIEF.did}, "credential.method")


def test_a_proof_for_another_purpose_or_that_has_run_out() -> None:
    document = LAB.sign(calibration())
    _refused(LAB.sign_raw(document, purpose="authentication"), "credential.purpose")
    _refused(LAB.sign_raw(document, expires="2026-11-21T11:59:59Z"), "proof.expired")
    check(LAB.sign_raw(document, expires="2026-11-21T12:00:00Z"))


def test_there_is_exactly_one_proof_and_it_signs_these_contexts() -> None:
    signed = LAB.sign(calibration())
    proof = signed["proof"]
    unsigned = {name: item for name, item in signed.items() if name != "proof"}
    _refused(unsigned, "credential.unsigned")
    _refused({**signed, "proof": [proof, proof]}, "proof.several")
    _refused({**signed, "proof": [proof]}, "proof.several")
    _refused({**signed, "proof": None}, "credential.malformed")
    # A context that nobody signed, behind those that are signed.
    _refused({**signed, "@context": [*CONTEXT, "https://example.org/x"]}, "credential.context")
    short = {**proof, "@context": list(CONTEXT)[:1]}
    _refused({**signed, "proof": short}, "credential.malformed")
    for change in ({"cryptosuite": "eddsa-rdfc-2022"}, {"type": "Ed25519Signature2020"}):
        _refused({**signed, "proof": {**proof, **change}}, "credential.malformed")
    _refused({**signed, "proof": {**proof, "cryptosuite": "ecdsa-jcs-2019"}}, "proof.suite")
    _refused({**signed, "proof": {**proof, "challenge": "1"}}, "credential.malformed")


def test_json_that_readers_would_not_agree_on() -> None:
    good = compact(LAB.sign(calibration()))
    twice = good.replace(b'"unit":"dB"', b'"unit":"dB","unit":"dB"')
    for bad in (
        twice,
        good.replace(b'"unit":"dB"', b'"unit":"dB","unit":"Pa"'),
        good.replace(b'"uncertainty":"0.25"', b'"uncertainty":NaN'),
        good[:-1],
        good + b"}",
        good + good,
        b"\xff" + good,
        b"\xef\xbb\xbf" + good,
        b"",
        b"[" * 10_000,
    ):
        _refused(bad, "json.malformed")
    _refused(b" " * 70_000 + good, "json.too_large")
    for odd in (b"1", b"null", b"[]", b'"x"', b"{}"):
        with pytest.raises(CredentialError):
            check(odd)
    with pytest.raises(DepinError):
        check({"type": object()})


# --- keys ---------------------------------------------------------------------------------------


def test_keys_that_are_not_admitted_or_not_found() -> None:
    signed = LAB.sign(calibration())

    def lost(method: str, issuer: str, created: str | None) -> Any:
        raise DIDError("did.not_found", "no such DID")

    def refusing(method: str, issuer: str, created: str | None) -> Any:
        raise KeyRefused("key.not_admissible", "small order")

    _refused(signed, "did.not_found", key_of=lost)
    _refused(signed, "key.not_admissible", key_of=refusing)


def test_what_is_asked_of_the_key_holder() -> None:
    asked: list[tuple[str, str, str | None]] = []

    def key(*question: Any) -> Any:
        asked.append(question)
        return key_of(*question)

    check(LAB.sign(calibration(), created="2026-11-20T01:02:03Z"), key_of=key)
    assert asked == [(LAB.method, LAB.did, "2026-11-20T01:02:03Z")]


IDENTITY = "z6MkeXATEjyXENzBXBxgC5EHk2JE5aqd7qMGGtDpLUH1e2Sj"
"""The identity point: under some libraries one constant signature verifies on any message."""
W3C_TEST_KEY = "z6MkrJVnaZkeFzdQyMZu1cgjg7k1pZZ6pvBQ7XJPt4swbTQ2"


@pytest.mark.parametrize("bad", [IDENTITY, W3C_TEST_KEY])
def test_a_device_key_that_is_not_admissible(bad: str) -> None:
    signed = MAKER.sign(birth(id=f"did:key:{bad}", key=bad))
    _refused(signed, "key.not_admissible")


def test_the_key_beside_the_did_is_that_of_the_did() -> None:
    _refused(MAKER.sign(birth(key=THIEF.did[8:])), "credential.subject_key")
    other = SoftwareSigner.generate("p256").public_key
    as_jwk = birth(id=did_jwk(other))
    _refused(MAKER.sign(as_jwk), "credential.subject_key")
    right = birth(id=did_jwk(other), key=did_key(other)[8:])
    check(MAKER.sign(right))
    assert device_key(right.credential_subject) == other
    # A DID with a history of its own has its keys there: the certificate names the one it had.
    check(MAKER.sign(birth(id="did:web:example.com")))


@pytest.mark.parametrize("curve", ["ed25519", "p256", "p384"])
def test_each_curve_signs(curve: Any) -> None:
    signer: Any
    if curve == "p384":
        signer = P384Signer(b"\x01" * 48)
    else:
        signer = SoftwareSigner.generate(curve)
    did = "did:web:example.org"
    credential = calibration(issuer=did)
    made = [
        issue(credential, signer, verification_method=f"{did}#key-1", created=BORN)
        for _ in range(2)
    ]
    assert made[0] == made[1], "signatures are deterministic"
    found = check(made[0], key_of=lambda *_: signer.public_key)
    assert isinstance(found.key, P384Key) == (curve == "p384")
    other = SoftwareSigner.generate("ed25519" if curve != "ed25519" else "p256").public_key
    _refused(made[0], "proof.suite", key_of=lambda *_: other)
    broken = _with(made[0], ("credentialSubject", "unit"), "Pa")
    _refused(broken, "signature.invalid", key_of=lambda *_: signer.public_key)


# --- status -------------------------------------------------------------------------------------


@dataclass
class Answer:
    """What a status list may say."""

    state: str
    message: str = ""

    @property
    def ok(self) -> bool:
        return self.state in ("valid", "message")

    @property
    def decided(self) -> bool:
        return self.state != "undecided"


class Lists:
    """A status list that says the same of everything, and remembers what it was asked."""

    def __init__(self, say: Answer | Callable[[], Answer]) -> None:
        self.say, self.asked = say, [("", 0, "")]

    def check(self, entry: Mapping[str, Any], *, now_ms: int, issuer: str | None = None) -> Answer:
        self.asked.append((entry["statusListIndex"], now_ms, issuer or ""))
        return self.say if isinstance(self.say, Answer) else self.say()


ENTRY = {
    "type": "BitstringStatusListEntry",
    "statusPurpose": "revocation",
    "statusListIndex": "94567",
    "statusListCredential": "https://example.org/status/3",
}


def test_a_status_is_looked_up_with_the_issuer() -> None:
    signed = LAB.sign(calibration(credential_status=ENTRY))
    lists = Lists(Answer("valid"))
    found = check(signed, status=lists)
    assert found.status is not None and found.status.state == "valid"
    assert lists.asked[1:] == [("94567", NOW, LAB.did)]
    assert check(signed, status=Lists(Answer("message"))).status is not None


@pytest.mark.parametrize(
    ("state", "code"),
    [
        ("revoked", "credential.revoked"),
        ("suspended", "credential.suspended"),
        ("undecided", "credential.status_unknown"),
        ("something new", "credential.revoked"),
    ],
)
def test_a_status_that_refuses(state: str, code: str) -> None:
    signed = LAB.sign(calibration(credential_status=ENTRY))
    _refused(signed, code, status=Lists(Answer(state)))


def test_what_cannot_be_looked_up_is_refused_and_says_so() -> None:
    signed = LAB.sign(calibration(credential_status=ENTRY))
    _refused(signed, "credential.status_unknown")

    def fail() -> Answer:
        raise CredentialError("status.malformed", "the list is cut off")

    _refused(signed, "credential.status_unknown", status=Lists(fail))
    # Without an entry there is nothing to look up.
    check(LAB.sign(calibration()), status=Lists(Answer("revoked")))


def test_entries_of_any_list_are_canonical() -> None:
    nested = {
        "status_list": {"uri": "https://example.org/t", "idx": 7},
        "a": [{"y": 1, "x": 2}],
    }
    credential = calibration(credential_status=nested)
    assert jcs.canonicalize(json.loads(write(credential))) == write(credential)
    check(LAB.sign(credential), status=_Any())
    for odd in ({}, {"x": 2**53}, {"": "x"}, {"x": "y" * 5000}):
        with pytest.raises((DepinError, ValueError)):
            LAB.sign(calibration(credential_status=odd))
        with pytest.raises(DepinError):
            check(LAB.sign_raw({**LAB.sign(calibration()), "credentialStatus": odd}), status=_Any())


class _Any:
    def check(self, entry: Mapping[str, Any], *, now_ms: int, issuer: str | None = None) -> Answer:
        return Answer("valid")


# --- models -------------------------------------------------------------------------------------


def test_members_of_every_model_are_in_canonical_order() -> None:
    seen: list[type[Model]] = [Model]
    for model in seen:
        seen += model.__subclasses__()
        if model.__module__ != Model.__module__:
            continue  # a whole document, which is never written by its model
        names = [field.alias or name for name, field in model.model_fields.items()]
        assert names == sorted(names), model
    assert {model.TYPE for model in TYPES.values()} == set(TYPES) and Proof in seen


def test_models_are_strict_and_frozen() -> None:
    certificate = birth()
    with pytest.raises(ValidationError):
        certificate.__setattr__("issuer", THIEF.did)
    for wrong in (
        {"serial": ""},
        {"serial": "a\u2028b"},
        {"serial": "x" * 129},
        {"serial": 7},
        {"key_protection": "paper"},
        {"claim_digest": "AB" * 32},
        {"id": "example.org"},
        {"more": "x"},
    ):
        with pytest.raises(ValidationError):
            birth(**wrong)
    places: tuple[dict[str, Any], ...] = (
        {"latitude": "52.520"},
        {"latitude": "052"},
        {"latitude": "1e2"},
        {"latitude": "91"},
        {"latitude": "90.0000001"},
        {"longitude": "-180.1"},
        {"latitude": "-0"},
        {"accuracy": "-1"},
        {"latitude": 52.5},
    )
    for place in places:
        with pytest.raises(ValidationError):
            location(**place)
    for good in ({"latitude": "-90"}, {"longitude": "180"}, {"latitude": "0"}):
        location(**good)


def test_issuing_refuses_what_would_be_refused() -> None:
    for credential, method, code in (
        (calibration(), THIEF.method, "credential.method"),
        (calibration(), LAB.did, "credential.malformed"),
        (
            Credential(credential_subject={}, issuer=LAB.did, valid_from=BORN),
            LAB.method,
            "credential.type",
        ),
    ):
        with pytest.raises(CredentialError) as caught:
            issue(credential, LAB.signer, verification_method=method, created=BORN)
        assert caught.value.code == code
    with pytest.raises(CredentialError, match=r"credential\.malformed"):
        LAB.sign(calibration(), created="yesterday")


def test_a_birth_certificate_is_typed() -> None:
    found: Verified = check(MAKER.sign(birth()), expected_type=BirthCertificate)
    assert isinstance(found.credential, BirthCertificate)
    assert found.credential.credential_subject.key_protection == "secure-element"
    assert found.key == MAKER.signer.public_key
