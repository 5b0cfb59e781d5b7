"""IDevID: a chip's certificate, proof of its key, and what its manufacturer says of its slots."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from depin_id import cbor
from depin_id.attestation.idevid_evidence import (
    MEDIA_TYPE,
    IDevIDEvidence,
    make_evidence,
    read_evidence,
    signed_bytes,
)
from depin_id.attestation.part_manifest import PartManifest, Slot, read_manifest, sign_manifest
from depin_id.errors import AttestationError, DepinError
from depin_id.keys import P256_ORDER, SoftwareSigner
from tests.attestation.ca import START, Authority
from tests.attestation.idevids import (
    ANCHOR,
    CHAIN,
    CHALLENGE,
    GOOD_SLOT,
    HW_SERIAL,
    ISSUER,
    MANIFESTS,
    MODULE,
    ROOT,
    SIGNER,
    USAGE,
    Case,
    leaf,
    part,
    public_of,
    sign,
    usage_of,
)
from tests.attestation.mutation import survivors
from verify.attestation import Appraisal, Expected

OTHER = SoftwareSigner.generate("p256")


def _refused(appraisal: Appraisal, step: str, kind: str) -> None:
    assert not appraisal.affirmed
    assert (appraisal.steps[-1].name, appraisal.steps[-1].passed) == (step, False)
    assert appraisal.reasons == (f"attestation.{kind}",)


def test_a_chip_is_affirmed_and_says_nothing_of_firmware() -> None:
    found = Case().run()
    assert found.affirmed and found.level == "D2" and found.reasons == ()
    assert found.claims is not None
    assert found.claims.bound_key.how == "attested" and found.claims.bound_key.protected
    assert found.claims.root.unique and found.claims.root.assurance == "secure-element"
    assert not found.claims.measures and found.claims.secure is None
    assert found.vector.executables == 0 and found.claims.measurements == ()
    assert found.claims.device_ids["serial"] == "0123456789ABCDEF01"


def test_certificates_that_never_end_and_are_of_1950_to_2049_pass() -> None:
    # The leaf ends at 99991231235959Z; its issuer's end is a GeneralizedTime below.
    assert Case().run().affirmed
    early = leaf(public_of(SIGNER), end=START + timedelta(days=2000))
    assert b"\x17\x0d" in early
    # UTCTime before 2050 is right; the same written as GeneralizedTime is what chips have.
    assert Case(chain=(early, *ISSUER.chain())).run().affirmed


def test_another_key_than_the_devices_is_bound_by_the_challenge_alone() -> None:
    found = Case(expected=Expected(challenge=CHALLENGE, key=OTHER.public_key)).run()
    assert found.claims is not None and found.claims.bound_key.how == "challenge"
    assert found.affirmed and found.level == "D1"


def test_an_ed25519_chip() -> None:
    signer = SoftwareSigner.generate()
    chain = (leaf(public_of(signer)), *ISSUER.chain())
    expected = Expected(challenge=CHALLENGE, key=signer.public_key)
    assert Case(chain=chain, signer=signer, expected=expected).run().level == "D2"


@pytest.mark.parametrize("said", ["", "software", "vault"])
def test_what_the_anchor_does_not_say_is_software(said: str) -> None:
    ids = {"assurance": said} if said else {}
    found = Case(anchors=[ROOT.anchor("idevid", **ids)]).run()
    assert found.level == "D1" and "attestation.software" in found.reasons


def test_an_anchor_of_firmware_protects_no_key() -> None:
    found = Case(anchors=[ROOT.anchor("idevid", assurance="firmware")]).run()
    assert found.claims is not None and not found.claims.bound_key.protected
    assert found.affirmed and found.level == "D1"


def test_evidence_for_another_challenge_is_refused() -> None:
    _refused(Case(challenge=bytes(32)).run(), "binding.challenge", "challenge")


def test_a_signature_by_another_key_is_refused() -> None:
    _refused(Case(signer=OTHER).run(), "idevid.possession", "signature")


def test_a_signature_over_another_statement_is_refused() -> None:
    for signed in (CHALLENGE, cbor.encode(["depin-dice/v1", CHALLENGE])):
        raw = IDevIDEvidence(tuple(CHAIN), SIGNER.sign(signed), CHALLENGE).to_bytes()
        _refused(Case().run(raw), "idevid.possession", "signature")


def test_a_high_s_is_refused() -> None:
    good = SIGNER.sign(signed_bytes(CHALLENGE))
    high = (P256_ORDER - int.from_bytes(good[32:], "big")).to_bytes(32, "big")
    raw = IDevIDEvidence(tuple(CHAIN), good[:32] + high, CHALLENGE).to_bytes()
    _refused(Case().run(raw), "idevid.possession", "signature")


def test_a_chain_that_the_attested_key_extended_is_refused() -> None:
    device = ec.derive_private_key(
        int.from_bytes(hashlib.sha256(b"device").digest(), "big"), ec.SECP256R1()
    )
    fake = Authority("sn0123 ATECC608", key=device)
    fake.certificate = x509.load_der_x509_certificate(CHAIN[0])
    made = sign(
        fake,
        x509.CertificateBuilder()
        .subject_name(fake.certificate.subject)
        .issuer_name(fake.certificate.subject)
        .public_key(OTHER_PUBLIC)
        .serial_number(9)
        .not_valid_before(START)
        .not_valid_after(START + timedelta(days=3000))
        .add_extension(USAGE, critical=True),
    )
    chain = (made.public_bytes(Encoding.DER), *CHAIN)
    expected = Expected(challenge=CHALLENGE, key=OTHER.public_key)
    found = Case(chain=chain, signer=OTHER, expected=expected).run()
    _refused(found, "idevid.authority", "chain")


OTHER_PUBLIC = public_of(OTHER)


def test_a_chain_to_another_root_is_refused() -> None:
    other = Authority("Example Chips Issuer", parent=Authority("Example Chips Root"))
    chain = (leaf(public_of(SIGNER), issuer=other), *other.chain())
    _refused(Case(chain=chain).run(), "idevid.anchor", "anchor")


def test_keys_for_manifests_anchor_no_chain_and_the_reverse() -> None:
    as_manifest = replace(ANCHOR, ids={"role": "manifest", "assurance": "secure-element"})
    _refused(Case(anchors=[as_manifest]).run(), "idevid.anchor", "anchor")
    as_chain = replace(MANIFESTS, ids={})
    found = Case(manifest=part(), anchors=[ANCHOR, as_chain]).run()
    _refused(found, "idevid.manifest.anchor", "anchor")


def test_no_anchor_affirms_nothing() -> None:
    _refused(Case(anchors=[]).run(), "evidence.anchors", "anchor")


def test_an_expired_certificate_is_refused() -> None:
    chain = (leaf(public_of(SIGNER), end=START + timedelta(days=1)), *ISSUER.chain())
    _refused(Case(chain=chain).run(), "idevid.dates", "expired")


@pytest.mark.parametrize(
    ("extensions", "step"),
    [
        ([], "idevid.key_usage"),
        ([(usage_of(ca=True), True)], "idevid.key_usage"),
        (
            [(USAGE, True), (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), True)],
            "idevid.purpose",
        ),
        (
            [(USAGE, True), (x509.NameConstraints([x509.DNSName("example.org")], None), True)],
            "idevid.critical",
        ),
    ],
)
def test_what_the_certificate_may_be_used_for(
    extensions: list[tuple[x509.ExtensionType, bool]], step: str
) -> None:
    chain = (leaf(public_of(SIGNER), extensions=extensions), *ISSUER.chain())
    _refused(Case(chain=chain).run(), step, "chain")


def test_a_certificate_that_names_no_device_is_refused() -> None:
    chain = (leaf(public_of(SIGNER), serials=()), *ISSUER.chain())
    _refused(Case(chain=chain).run(), "idevid.serial", "claims")
    chain = (leaf(public_of(SIGNER), serials=("1", "2")), *ISSUER.chain())
    _refused(Case(chain=chain).run(), "idevid.serial", "malformed")


def test_the_hardware_modules_name_is_a_name_too() -> None:
    extensions = [(USAGE, True), (x509.SubjectAlternativeName([MODULE]), True)]
    named = leaf(public_of(SIGNER), serials=(), extensions=extensions)
    found = Case(chain=(named, *ISSUER.chain())).run()
    assert found.affirmed and found.claims is not None
    assert found.claims.device_ids == {"hw_type": "1.3.6.1.4.1.55", "hw_serial": HW_SERIAL.hex()}


@pytest.mark.parametrize(
    "value", [b"\x05\x00", b"\x30\x02\x06\x00", b"\x30\x08" + MODULE.value[2:10], b"\x30\x00"]
)
def test_a_module_name_that_is_none_is_refused(value: bytes) -> None:
    names = x509.SubjectAlternativeName([x509.OtherName(MODULE.type_id, value)])
    named = leaf(public_of(SIGNER), extensions=[(USAGE, True), (names, False)])
    _refused(Case(chain=(named, *ISSUER.chain())).run(), "idevid.module", "malformed")


@pytest.mark.parametrize("size", [2048, 384])
def test_a_key_that_signs_no_readings_is_refused(size: int) -> None:
    key = (
        ec.generate_private_key(ec.SECP384R1()).public_key()
        if size == 384
        else rsa.generate_private_key(65537, size).public_key()
    )
    chain = ISSUER.issue("chip", key)
    _refused(Case(chain=chain).run(), "idevid.key", "algorithm")


def test_a_published_key_is_refused() -> None:
    published = SoftwareSigner("p256", (1).to_bytes(32, "big"), allow_published=True)
    chain = (leaf(public_of(published)), *ISSUER.chain())
    found = Case(chain=chain, signer=published).run()
    assert found.reasons in (("attestation.key",), ("attestation.signature",))


# --- the manifest ------------------------------------------------------------------------------


def test_a_manifest_names_the_part_and_what_slot_0_allows() -> None:
    case = Case(manifest=part())
    case.model = replace(case.model, match={"sku": "ATECC608B-TNGTLS", "slot0.challenged": "no"})
    found = case.run()
    assert found.level == "D2" and found.claims is not None
    assert len(found.claims.anchors) == 2
    case.model = replace(case.model, match={"sku": "ATECC608A"})
    assert not case.run().affirmed


def test_a_manifest_that_is_required_cannot_be_left_out() -> None:
    required = ROOT.anchor("idevid", assurance="secure-element", manifest="required")
    assert Case(manifest=part(), anchors=[required, MANIFESTS]).run().affirmed
    _refused(Case(anchors=[required, MANIFESTS]).run(), "idevid.manifest", "claims")


@pytest.mark.parametrize(
    "slot", [replace(GOOD_SLOT, readable=True), replace(GOOD_SLOT, writable=True)]
)
def test_a_key_that_can_leave_its_slot_is_software(slot: Slot) -> None:
    found = Case(manifest=part(slot=slot)).run()
    assert found.claims is not None and found.claims.root.assurance == "software"
    assert not found.claims.bound_key.protected
    assert found.level == "D1" and "attestation.software" in found.reasons


@pytest.mark.parametrize(
    ("manifest", "step", "kind"),
    [
        (part(by=OTHER), "idevid.manifest.signature", "signature"),
        (part(serial="0123456789ABCDEF02"), "idevid.manifest.serial", "claims"),
        (part(key=OTHER), "idevid.manifest.key", "key"),
        (part(slot=replace(GOOD_SLOT, external=False)), "idevid.manifest.external", "claims"),
        (b"\xa0", "idevid.form", "malformed"),
        (b"", "", ""),
    ],
)
def test_a_manifest_of_another_chip_is_refused(manifest: bytes, step: str, kind: str) -> None:
    if not step:
        with pytest.raises(AttestationError):
            _ = Case(manifest=manifest).raw
        return
    _refused(Case(manifest=manifest).run(), step, kind)


def test_a_manifest_cannot_be_moved_between_purposes() -> None:
    signed = read_manifest(part()).sign1
    with pytest.raises(DepinError):
        signed.verify("attest", "did:web:example.org", SIGNER.public_key)


@pytest.mark.parametrize(
    "changed",
    [
        PartManifest("", "sku", bytes(32), {0: GOOD_SLOT}),
        PartManifest("1", "x" * 65, bytes(32), {0: GOOD_SLOT}),
        PartManifest("1", "sku", bytes(31), {0: GOOD_SLOT}),
        PartManifest("1", "sku", bytes(32), {1: GOOD_SLOT}),
        PartManifest("1", "sku", bytes(32), {0: GOOD_SLOT, 16: GOOD_SLOT}),
    ],
)
def test_a_manifest_of_another_form_is_not_signed(changed: PartManifest) -> None:
    with pytest.raises(AttestationError):
        sign_manifest(changed, SIGNER)


# --- the container -----------------------------------------------------------------------------


def test_the_container_has_one_form() -> None:
    raw = Case(manifest=part()).raw
    assert read_evidence(raw).to_bytes() == raw
    value = cbor.decode(raw)
    for label, bad in [
        (1, []),
        (1, [b""]),
        (1, [b"x"] * 9),
        (1, [b"x" * 16_385]),
        (2, bytes(63)),
        (3, bytes(31)),
        (4, b""),
        (4, bytes(8193)),
        (5, None),
    ]:
        with pytest.raises(DepinError):
            read_evidence(cbor.encode({**value, label: bad}))
    for other in (raw + b"\x00", raw[:-1], b"\xbf" + raw[1:] + b"\xff", b"\xa0", b"\x80"):
        with pytest.raises(DepinError):
            read_evidence(other)
        _refused(Case().run(other), "idevid.form", "malformed")


def test_make_evidence_refuses_what_no_reader_takes() -> None:
    with pytest.raises(AttestationError):
        make_evidence([], CHALLENGE, signer=SIGNER)


def test_no_byte_can_change() -> None:
    root = ROOT.certificate.public_bytes(Encoding.DER)
    case = Case(chain=(*CHAIN, root), manifest=part())
    left = survivors(
        MEDIA_TYPE, case.raw, expected=case.expected, at=case.at, materials=case.materials
    )
    assert left == []
