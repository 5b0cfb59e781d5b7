"""Small certificate authorities for tests: good chains, and those that somebody extended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from verify.attestation import Anchor

START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = int(datetime(2026, 6, 1, tzinfo=UTC).timestamp()) * 1000
PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey


def new_key() -> ec.EllipticCurvePrivateKey:
    """A key of P-256."""
    return ec.generate_private_key(ec.SECP256R1())


@dataclass
class Authority:
    """A certificate and its key; what it issues has the chain up to it."""

    name: str
    key: PrivateKey = field(default_factory=new_key)
    parent: Authority | None = None
    start: datetime = START
    certificate: x509.Certificate = field(init=False)

    def __post_init__(self) -> None:
        issuer = self.parent or self
        self.certificate = issuer._certificate(
            _name(self.name), self.key.public_key(), ca=True, start=self.start
        )

    def _certificate(
        self,
        name: x509.Name,
        key: PublicKey,
        *,
        ca: bool,
        start: datetime,
        extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
        days: int = 3650,
        serial: int | None = None,
    ) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(_name(self.name))
            .public_key(key)
            .serial_number(serial or x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(_usage(ca), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        )
        if self.parent is not None or ca is False or name != _name(self.name):
            identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
            builder = builder.add_extension(identifier, critical=False)
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical=critical)
        digest = None if isinstance(self.key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
        return builder.sign(self.key, digest)

    def issue(
        self,
        name: str | x509.Name,
        key: PublicKey,
        *,
        extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
        ca: bool = False,
        days: int = 3650,
        start: datetime | None = None,
        serial: int | None = None,
    ) -> list[bytes]:
        """A leaf for a key, with its chain: DER, leaf first, without the root."""
        made = self._certificate(
            _name(name) if isinstance(name, str) else name,
            key,
            ca=ca,
            extensions=extensions,
            days=days,
            start=start or self.start,
            serial=serial,
        )
        return [made.public_bytes(Encoding.DER), *self.chain()]

    def chain(self) -> list[bytes]:
        """This authority's certificate and those above it but the root's."""
        if self.parent is None:
            return []
        return [self.certificate.public_bytes(Encoding.DER), *self.parent.chain()]

    def anchor(self, format_name: str, **ids: str) -> Anchor:
        """This authority as a trust anchor."""
        spki = self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        der = self.certificate.public_bytes(Encoding.DER)
        return Anchor(format_name, self.name, spki, der, ids)


def extended_by(leaf_key: PrivateKey, chain: Sequence[bytes], fake: PublicKey) -> list[bytes]:
    """A chain whose attested key has issued one more certificate, for a key of somebody else."""
    leaf = x509.load_der_x509_certificate(chain[0])
    made = (
        x509.CertificateBuilder()
        .subject_name(_name("fake leaf"))
        .issuer_name(leaf.subject)
        .public_key(fake)
        .serial_number(7)
        .not_valid_before(START)
        .not_valid_after(START + timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    for extension in leaf.extensions:
        if not isinstance(extension.value, x509.BasicConstraints):
            made = made.add_extension(extension.value, critical=extension.critical)
    digest = None if isinstance(leaf_key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return [made.sign(leaf_key, digest).public_bytes(Encoding.DER), *chain]


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _usage(ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )
