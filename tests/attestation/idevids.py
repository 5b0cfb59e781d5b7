"""Chips with a manufacturer's certificate, made for the tests."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from depin_id.attestation.idevid_evidence import MEDIA_TYPE, make_evidence
from depin_id.attestation.part_manifest import PartManifest, Slot, sign_manifest
from depin_id.keys import SoftwareSigner
from tests.attestation.ca import NOW, START, Authority
from verify.attestation import (
    Anchor,
    Anchors,
    Appraisal,
    Expected,
    Materials,
    Model,
    Models,
    appraise_evidence,
)


def usage_of(*, ca: bool) -> x509.KeyUsage:
    """Key usage of an authority, or of a key that signs."""
    return x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False)


def sign(issuer: Authority, builder: x509.CertificateBuilder) -> x509.Certificate:
    """Sign whatever certificate."""
    assert isinstance(issuer.key, ec.EllipticCurvePrivateKey)
    return builder.sign(issuer.key, hashes.SHA256())


CHALLENGE = hashlib.sha256(b"challenge").digest()
FOREVER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
GOOD_SLOT = Slot(readable=False, writable=False, external=True, challenged=False)
HW_SERIAL = bytes.fromhex("0123456789abcdef01")
# SEQUENCE { OID 1.3.6.1.4.1.55, OCTET STRING }
MODULE_NAME = bytes.fromhex("301306062b0601040137") + b"\x04\x09" + HW_SERIAL
MODULE = x509.OtherName(x509.ObjectIdentifier("1.3.6.1.5.5.7.8.4"), MODULE_NAME)
USAGE = usage_of(ca=False)
CA_BIT = x509.BasicConstraints(ca=False, path_length=None)
ROOT = Authority("Example Chips Root")
ISSUER = Authority("Example Chips Issuer", parent=ROOT)
MAKER = SoftwareSigner("p256", hashlib.sha256(b"manifests").digest())
SIGNER = SoftwareSigner("p256", hashlib.sha256(b"device").digest())


def public_of(signer: SoftwareSigner) -> ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey:
    """A signer's public key as ``cryptography`` has it."""
    if signer.public_key.curve == "ed25519":
        return ed25519.Ed25519PublicKey.from_public_bytes(signer.public_key.raw)
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), signer.public_key.raw)


def spki(signer: SoftwareSigner) -> bytes:
    """Its SubjectPublicKeyInfo."""
    return public_of(signer).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def leaf(
    key: object,
    *,
    serials: Sequence[str] = ("0123456789ABCDEF01",),
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = ((USAGE, True),),
    end: datetime = FOREVER,
    issuer: Authority = ISSUER,
) -> bytes:
    """A device's certificate as factories write them: good until the end of all years."""
    names = [x509.NameAttribute(NameOID.COMMON_NAME, "sn0123 ATECC608")]
    names += [x509.NameAttribute(NameOID.SERIAL_NUMBER, serial) for serial in serials]
    assert isinstance(key, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(names))
        .issuer_name(issuer.certificate.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(START)
        .not_valid_after(end)
        .add_extension(CA_BIT, critical=True)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return sign(issuer, builder).public_bytes(Encoding.DER)


CHAIN = (leaf(public_of(SIGNER)), *ISSUER.chain())
ANCHOR = ROOT.anchor("idevid", assurance="secure-element")
MANIFESTS = Anchor("idevid", "manifests", spki(MAKER), ids={"role": "manifest"})
MODEL = Model("chip", frozenset({"idevid"}), revocation="none")


@dataclass
class Case:
    """One piece of evidence and what it is judged by."""

    chain: Sequence[bytes] = CHAIN
    signer: SoftwareSigner = SIGNER
    challenge: bytes = CHALLENGE
    manifest: bytes | None = None
    anchors: Sequence[Anchor] = (ANCHOR, MANIFESTS)
    expected: Expected = field(
        default_factory=lambda: Expected(challenge=CHALLENGE, key=SIGNER.public_key)
    )
    model: Model = MODEL
    at: int = NOW

    @property
    def raw(self) -> bytes:
        """The evidence."""
        return make_evidence(self.chain, self.challenge, signer=self.signer, manifest=self.manifest)

    @property
    def materials(self) -> Materials:
        """What it is judged by."""
        return Materials(Anchors(self.anchors), Models([self.model]))

    @property
    def media_type(self) -> str:
        """What it is called."""
        return MEDIA_TYPE

    def run(self, raw: bytes | None = None) -> Appraisal:
        """Appraise it."""
        return appraise_evidence(
            MEDIA_TYPE,
            self.raw if raw is None else raw,
            expected=self.expected,
            at=self.at,
            materials=self.materials,
        )


def part(
    *,
    serial: str = "0123456789ABCDEF01",
    key: SoftwareSigner = SIGNER,
    slot: Slot = GOOD_SLOT,
    by: SoftwareSigner = MAKER,
) -> bytes:
    """A manufacturer's manifest."""
    digest = hashlib.sha256(spki(key)).digest()
    return sign_manifest(PartManifest(serial, "ATECC608B-TNGTLS", digest, {0: slot}), by)
