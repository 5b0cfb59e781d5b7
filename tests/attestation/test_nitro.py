"""AWS Nitro: real documents at their times, and one broken in each place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cbor2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from depin_id.keys import SoftwareSigner
from tests.attestation.ca import NOW, START, Authority, extended_by
from tests.attestation.idevids import CHALLENGE, SIGNER, spki
from tests.attestation.mutation import survivors
from tests.attestation.nitros import CHAIN, IMAGE, LEAF_KEY, REAL, ROOT, ZONE, Case, real_case
from verify.attestation import Appraisal, Expected
from verify.attestation.nitro import MAX_SKEW_MS, MEDIA_TYPE

DER = Encoding.DER
HOUR = 3_600_000


def _refused(appraisal: Appraisal, step: str, kind: str) -> None:
    assert not appraisal.affirmed
    assert (appraisal.steps[-1].name, appraisal.steps[-1].passed) == (step, False)
    assert appraisal.reasons == (f"attestation.{kind}",)


# --- what Amazon signed ------------------------------------------------------------------------


def test_a_real_document_is_affirmed_at_its_time() -> None:
    raw, case = real_case("non-debug")
    found = case.run(raw)
    assert found.affirmed and found.level == "D3" and found.reasons == ()
    assert found.claims is not None and found.claims.secure is True
    # Its user data is a key of P-384: no key that signs readings.
    assert found.claims.bound_key.how == "challenge"
    assert not found.claims.root.unique and found.claims.root.assurance == "tee"
    assert found.claims.not_after is not None and found.claims.not_after - found.at < 3 * HOUR
    assert found.claims.device_ids["instance"] == "i-0ec0e572c8263d8ff"


@pytest.mark.parametrize("name", ["valid-attestation-doc-base64", "debug"])
def test_real_documents_in_debug_mode_are_authentic_and_not_affirmed(name: str) -> None:
    raw, case = real_case(name)
    found = case.run(raw)
    assert found.claims is not None and found.claims.secure is False
    assert not found.affirmed and "attestation.debug" in found.reasons and found.level == "D1"


def test_a_real_key_in_the_user_data_is_the_bound_one() -> None:
    raw, case = real_case("valid-attestation-doc-base64")
    found = case.run(raw)
    assert found.claims is not None and found.claims.bound_key.how == "attested"
    other = replace(case, expected=replace(case.expected, key=SIGNER.public_key))
    _refused(other.run(raw), "binding.key", "key")


def test_a_real_document_without_nonce_proves_nothing_fresh() -> None:
    raw, case = real_case("debug-mode-attestation-doc-bytes")
    found = case.run(raw)
    _refused(found, "nitro.nonce", "challenge")
    passed = {step.name for step in found.steps if step.passed}
    assert {"nitro.signature", "nitro.chain", "nitro.root"} <= passed


@pytest.mark.parametrize("name", REAL)
def test_real_documents_are_over_after_three_hours(name: str) -> None:
    raw, case = real_case(name)
    _refused(replace(case, at=case.at + 4 * HOUR).run(raw), "nitro.chain", "chain")


def test_a_real_document_is_not_of_the_future() -> None:
    raw, case = real_case("non-debug")
    _refused(replace(case, at=case.at - MAX_SKEW_MS - 1).run(raw), "nitro.time", "expired")


def test_no_byte_of_a_real_document_can_change() -> None:
    raw, case = real_case("non-debug")
    assert (
        survivors(MEDIA_TYPE, raw, expected=case.expected, at=case.at, materials=case.materials)
        == []
    )


# --- documents made here -----------------------------------------------------------------------


@pytest.mark.parametrize("tag", [False, True])
def test_a_key_that_the_enclave_put_in_is_attested(tag: bool) -> None:
    found = Case(tag=tag).run()
    assert found.affirmed and found.level == "D3"
    assert found.claims is not None and found.claims.bound_key.how == "attested"
    assert found.claims.bound_key.key == SIGNER.public_key


def test_what_an_unknown_image_says_of_its_key_is_worth_nothing() -> None:
    case = Case(fields={"pcrs": {0: bytes(47) + b"\x01", 1: IMAGE}})
    found = case.run()
    assert found.claims is not None and not found.claims.bound_key.protected
    assert found.level == "D1" and "attestation.references" in found.reasons
    # Without the manufacturer's word that the approved image keeps its keys, it is not D3 either.
    assert Case(model=replace(Case().model, protects_key=False)).run().level == "D1"


@pytest.mark.parametrize(
    ("fields", "how"),
    [
        ({"public_key": spki(SIGNER)}, "attested"),
        ({"public_key": None, "user_data": spki(SIGNER)}, "attested"),
        ({"public_key": b"an RSA key for the KMS" * 10, "user_data": spki(SIGNER)}, "attested"),
        ({"public_key": None}, "challenge"),
        ({"public_key": spki(SIGNER) + b"\x00"}, "challenge"),
        ({"public_key": b"", "user_data": b""}, "challenge"),
    ],
)
def test_how_a_key_is_bound(fields: dict[str, Any], how: str) -> None:
    found = Case(fields=fields).run()
    assert found.affirmed and found.claims is not None and found.claims.bound_key.how == how


def test_the_key_of_another_device_is_refused() -> None:
    other = SoftwareSigner.generate("p256").public_key
    found = Case(expected=Expected(challenge=CHALLENGE, key=other)).run()
    _refused(found, "binding.key", "key")


def test_a_replayed_document_is_refused() -> None:
    found = Case(expected=Expected(challenge=bytes(32), key=SIGNER.public_key)).run()
    _refused(found, "binding.challenge", "challenge")


def test_debug_mode_is_not_affirmed() -> None:
    pcrs = dict.fromkeys(range(16), bytes(48))
    found = Case(fields={"pcrs": pcrs}).run()
    assert found.claims is not None and found.claims.secure is False
    assert not found.affirmed and "attestation.debug" in found.reasons


def test_a_register_that_nobody_approved_is_not_affirmed() -> None:
    pcrs = {0: IMAGE, 1: IMAGE, 8: IMAGE}
    found = Case(fields={"pcrs": pcrs}).run()
    assert found.reasons == ("attestation.references",)
    assert Case(fields={"pcrs": pcrs}, model=replace(Case().model, complete=False)).run().affirmed


@pytest.mark.parametrize(
    ("fields", "step"),
    [
        ({"module_id": ""}, "module_id"),
        ({"module_id": b"i-0"}, "module_id"),
        ({"digest": "SHA512"}, "digest"),
        ({"timestamp": 0}, "timestamp"),
        ({"timestamp": True}, "timestamp"),
        ({"timestamp": "2026"}, "timestamp"),
        ({"pcrs": {}}, "pcrs"),
        ({"pcrs": {1: IMAGE}}, "pcrs"),
        ({"pcrs": {0: IMAGE, 32: IMAGE}}, "pcrs"),
        ({"pcrs": {0: IMAGE[:47]}}, "pcrs"),
        ({"pcrs": {0: IMAGE + b"\x00"}}, "pcrs"),
        ({"pcrs": {"0": IMAGE}}, "pcrs"),
        ({"pcrs": [IMAGE]}, "pcrs"),
        ({"cabundle": []}, "cabundle"),
        ({"cabundle": [CHAIN[1]] * 8}, "cabundle"),
        ({"cabundle": [b""]}, "certificate"),
        ({"cabundle": [bytes(1025)]}, "certificate"),
        ({"certificate": bytes(1025)}, "certificate"),
        ({"certificate": "certificate"}, "certificate"),
        ({"certificate": b"x"}, "certificates"),
        ({"public_key": bytes(1025)}, "public_key"),
        ({"user_data": bytes(513)}, "user_data"),
        ({"nonce": bytes(513)}, "nonce"),
        ({"nonce": "text"}, "nonce"),
        ({"more": 1}, "fields"),
    ],
)
def test_a_field_out_of_its_limits_is_refused(fields: dict[str, Any], step: str) -> None:
    _refused(Case(fields=fields).run(), f"nitro.{step}", "malformed")


@pytest.mark.parametrize(
    "name", ["module_id", "digest", "timestamp", "pcrs", "certificate", "cabundle"]
)
def test_a_field_that_is_missing_is_refused(name: str) -> None:
    _refused(Case(without=[name]).run(), "nitro.fields", "malformed")


def test_fields_that_may_be_missing() -> None:
    assert Case(without=["user_data", "public_key"]).run().affirmed
    _refused(Case(without=["nonce"]).run(), "nitro.nonce", "challenge")
    _refused(Case(fields={"nonce": b"short"}).run(), "nitro.nonce", "challenge")


def test_what_stands_in_the_headers_is_exactly_the_algorithm() -> None:
    for protected, step, kind in [
        (b"\xa1\x01\x26", "nitro.algorithm", "algorithm"),
        (b"", "nitro.algorithm", "algorithm"),
        (b"\xa2\x01\x38\x22\x01\x38\x22", "nitro.cose", "malformed"),
        (b"\xa2\x01\x38\x22\x02\x81\x19\x03\xe7", "nitro.cose", "malformed"),
        (b"\xa2\x01\x38\x22\x04\x41\x00", "nitro.headers", "malformed"),
    ]:
        _refused(Case(protected=protected).run(), step, kind)
    _refused(Case(unprotected={4: b"kid"}).run(), "nitro.cose", "malformed")


def test_bytes_that_are_no_document() -> None:
    raw = Case().encoded()
    for bad in (raw + b"\x00", raw[:-1], b"", b"\xd1" + Case(tag=True).encoded()[1:]):
        _refused(Case().run(bad), "nitro.cose", "malformed")
    _refused(Case().run(bytes(16_385)), "evidence.size", "malformed")
    twice = b"\xa2\x61a\x01\x61a\x01"
    _refused(Case().run(Case().encoded(twice)), "nitro.document", "malformed")
    _refused(Case().run(Case().encoded(b"\x80")), "nitro.document", "malformed")
    endless = cbor2.dumps([[[[[[]]]]]])
    _refused(Case().run(Case().encoded(endless)), "nitro.document", "malformed")


def test_a_signature_by_another_key_is_refused() -> None:
    other = ec.generate_private_key(ec.SECP384R1())
    _refused(Case(key=other).run(), "nitro.signature", "signature")


def test_a_certificate_of_another_curve_is_refused() -> None:
    chain = ZONE.issue("enclave", SoftwareKey.public_key())
    _refused(Case(chain=chain).run(), "nitro.key", "algorithm")


SoftwareKey = ec.generate_private_key(ec.SECP256R1())


def test_a_chain_that_the_attested_key_extended_is_refused() -> None:
    fake = ec.generate_private_key(ec.SECP384R1())
    chain = extended_by(LEAF_KEY, CHAIN, fake.public_key())
    _refused(Case(chain=chain, key=fake).run(), "nitro.chain", "chain")


def test_another_root_of_the_same_name_is_refused() -> None:
    root = Authority(ROOT.name, ec.generate_private_key(ec.SECP384R1()))
    chain = root.issue("enclave", LEAF_KEY.public_key())
    bundle = [root.certificate.public_bytes(DER)]
    _refused(Case(chain=chain, fields={"cabundle": bundle}).run(), "nitro.chain", "chain")
    _refused(Case(anchors=[]).run(), "evidence.anchors", "anchor")
    pinned = replace(ROOT.anchor("nitro"), certificate=b"")
    _refused(Case(anchors=[pinned]).run(), "nitro.anchor", "anchor")


def test_the_bundle_goes_from_the_root_to_the_issuer() -> None:
    root = ROOT.certificate.public_bytes(DER)
    _refused(Case(fields={"cabundle": [CHAIN[1], root]}).run(), "nitro.cabundle", "chain")
    _refused(Case(fields={"cabundle": [CHAIN[1]]}).run(), "nitro.root", "anchor")
    stranger = Authority("stranger").certificate.public_bytes(DER)
    for bundle in ([stranger, root, CHAIN[1]], [root, stranger, CHAIN[1]]):
        _refused(Case(fields={"cabundle": bundle}).run(), "nitro.cabundle", "chain")
    twice = [root, CHAIN[1], CHAIN[1]]
    _refused(Case(fields={"cabundle": twice}).run(), "nitro.certificates", "malformed")


def test_the_document_is_of_its_certificates_time() -> None:
    before = int(START.timestamp()) * 1000 - 1
    _refused(Case(fields={"timestamp": before}).run(), "nitro.time", "expired")
    late = NOW + 300 * 86_400_000
    _refused(Case(at=late).run(), "nitro.chain", "chain")
    ahead = NOW + MAX_SKEW_MS + 1
    _refused(Case(fields={"timestamp": ahead}).run(), "nitro.time", "expired")


def test_every_certificate_of_the_chain_can_be_revoked() -> None:
    found = Case().run()
    assert found.claims is not None
    serials = [x509.load_der_x509_certificate(der).serial_number for der in CHAIN]
    assert {f"cert:nitro:{serial:x}" for serial in serials} <= found.claims.identifiers
