"""A TPM made of Python: signs what it is told to, wrong things too; and its makers."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from depin_id.attestation.tpm2_evidence import MEDIA_TYPE, Tpm2Evidence
from depin_id.keys import PublicKey, admit
from tests.attestation.ca import NOW, START, Authority, new_key
from verify.attestation import (
    Anchors,
    Appraisal,
    Expected,
    Materials,
    Model,
    Models,
    appraise_evidence,
)
from verify.attestation.materials import Reference, Revocations, RevocationSnapshot
from verify.attestation.tpm2 import endorsement, public, wire
from verify.attestation.tpm2.public import name_of, qualified_name

CHALLENGE = hashlib.sha256(b"challenge").digest()
PCRS = {index: hashlib.sha256(bytes([index])).digest() for index in range(8)}
AK_ATTRIBUTES = 0x00050072
KEY_ATTRIBUTES = 0x00040072
NAMES = {
    "2.23.133.2.1": "id:00001014",
    "2.23.133.2.2": "made",
    "2.23.133.2.3": "id:00010002",
}
Private = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@cache
def root() -> Authority:
    """Of the makers of TPMs."""
    return Authority("TPM root")


@cache
def issuer() -> Authority:
    """Who issues the certificates of keys."""
    return Authority("TPM issuer", parent=root())


@cache
def key(name: str) -> ec.EllipticCurvePrivateKey:
    """A key of P-256, the same for a name in one run: ``ek``, ``ak``, ``device``, anybody's."""
    assert name
    return new_key()


@cache
def rsa_key(name: str) -> rsa.RSAPrivateKey:
    """The same of RSA."""
    assert name
    return rsa.generate_private_key(65537, 2048)


def sized(data: bytes) -> bytes:
    """A TPM2B."""
    return len(data).to_bytes(2, "big") + data


def area(
    private: Private,
    attributes: int,
    *,
    digest: int = wire.SHA256,
    scheme: int | None = None,
    scheme_digest: int = wire.SHA256,
    policy: bytes = b"",
) -> bytes:
    """TPMT_PUBLIC of a signing key."""
    numbers = private.public_key().public_numbers()
    elliptic = isinstance(numbers, ec.EllipticCurvePublicNumbers)
    if scheme is None:
        scheme = wire.ECDSA if elliptic else wire.RSASSA
    head = struct.pack(">HHI", 0x23 if elliptic else 1, digest, attributes) + sized(policy)
    head += struct.pack(">HH", public.NULL, scheme)
    if scheme != public.NULL:
        head += scheme_digest.to_bytes(2, "big")
    if isinstance(numbers, ec.EllipticCurvePublicNumbers):
        size = private.key_size // 8
        head += struct.pack(">HH", 3 if size == 32 else 4, public.NULL)
        return (
            head + sized(numbers.x.to_bytes(size, "big")) + sized(numbers.y.to_bytes(size, "big"))
        )
    head += struct.pack(">HI", private.key_size, 0)
    return head + sized(numbers.n.to_bytes(private.key_size // 8, "big"))


_HASHES: Mapping[int, hashes.HashAlgorithm] = {
    wire.SHA1: hashes.SHA1(),
    wire.SHA256: hashes.SHA256(),
    wire.SHA384: hashes.SHA384(),
}


def sign(
    private: Private, message: bytes, *, digest: int = wire.SHA256, scheme: int | None = None
) -> bytes:
    """TPMT_SIGNATURE."""
    made = _HASHES[digest]
    if isinstance(private, ec.EllipticCurvePrivateKey):
        r, s = decode_dss_signature(private.sign(message, ec.ECDSA(made)))
        parts = sized(r.to_bytes(32, "big")) + sized(s.to_bytes(32, "big"))
        return struct.pack(">HH", scheme or wire.ECDSA, digest) + parts
    scheme = scheme or wire.RSASSA
    if scheme == wire.RSAPSS:
        salted = padding.PSS(padding.MGF1(made), padding.PSS.DIGEST_LENGTH)
        return struct.pack(">HH", scheme, digest) + sized(private.sign(message, salted, made))
    return struct.pack(">HH", scheme, digest) + sized(
        private.sign(message, padding.PKCS1v15(), made)
    )


def selection(*banks: tuple[int, Iterable[int]]) -> bytes:
    """TPML_PCR_SELECTION."""
    made = len(banks).to_bytes(4, "big")
    for bank, indices in banks:
        bits = sum(1 << index for index in indices)
        made += struct.pack(">HB", bank, 3) + bits.to_bytes(3, "little")
    return made


def leaf(
    private: Private,
    *,
    usage: str,
    names: Mapping[str, str] | None,
    critical: bool = True,
    key_usage: str = "key_agreement",
    ca: bool = False,
    days: int = 3650,
    by: Authority | None = None,
    extra: Sequence[tuple[x509.ExtensionType, bool]] = (),
) -> list[bytes]:
    """A certificate of a TPM's key and its chain, without the root."""
    by = by or issuer()
    wanted = dict.fromkeys(_USAGES, False) | {key_usage: True}
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(by.certificate.subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(START)
        .not_valid_after(START + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**wanted), critical=True)
    )
    if usage:
        oids = [x509.ObjectIdentifier(usage)]
        builder = builder.add_extension(x509.ExtendedKeyUsage(oids), critical=False)
    if names is not None:
        attributes = [
            x509.NameAttribute(x509.ObjectIdentifier(oid), text) for oid, text in names.items()
        ]
        alternative = x509.SubjectAlternativeName([x509.DirectoryName(x509.Name(attributes))])
        builder = builder.add_extension(alternative, critical=critical)
    for extension, demanded in extra:
        builder = builder.add_extension(extension, critical=demanded)
    made = builder.sign(by.key, hashes.SHA256())
    return [made.public_bytes(Encoding.DER), *by.chain()]


_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def spki(private: Private) -> bytes:
    """SubjectPublicKeyInfo, DER."""
    return private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What a TPM is to say. As it stands it is all good; tests replace one thing."""

    ak: Private = field(default_factory=lambda: key("ak"))
    ak_attributes: int = AK_ATTRIBUTES
    ak_digest: int = wire.SHA256
    ak_scheme: int | None = None
    ak_scheme_digest: int = wire.SHA256
    magic: int = wire.GENERATED
    kind: int = wire.ATTEST_QUOTE
    place: str = "ek"
    signer: bytes | None = None
    extra: bytes = CHALLENGE
    resets: int = 5
    restarts: int = 1
    safe: int = 1
    selection: bytes = selection((wire.SHA256, range(8)))
    pcrs: Mapping[int, bytes] = field(default_factory=lambda: PCRS)
    digest: bytes | None = None
    trailing: bytes = b""
    quote_by: Private | None = None
    signature_scheme: int | None = None
    signature_digest: int | None = None
    ek: Private = field(default_factory=lambda: key("ek"))
    ek_chain: Sequence[bytes] | None = None
    ak_chain: Sequence[bytes] = ()
    device: Private | None = field(default_factory=lambda: key("device"))
    key_attributes: int = KEY_ATTRIBUTES
    key_digest: int = wire.SHA256
    certify_kind: int = wire.ATTEST_CERTIFY
    certify_magic: int = wire.GENERATED
    certify_name: bytes | None = None
    certify_signer: bytes | None = None
    certify_by: Private | None = None
    log: bytes | None = None

    def ak_area(self) -> bytes:
        return area(
            self.ak,
            self.ak_attributes,
            digest=self.ak_digest,
            scheme=self.ak_scheme,
            scheme_digest=self.ak_scheme_digest,
        )

    def ak_name(self) -> bytes:
        return name_of(self.ak_area(), self.ak_digest)

    def activation(self) -> tuple[bytes, bytes]:
        return hashlib.sha256(spki(self.ek)).digest(), self.ak_name()

    def _signer(self) -> bytes:
        if self.signer is not None:
            return self.signer
        parent = endorsement.HIERARCHIES["endorsement" if self.place == "ek" else self.place]
        if self.place == "ek":
            made = next(endorsement.templates(self.ek.public_key()))
            parent = qualified_name(parent, name_of(made, wire.SHA256))
        return qualified_name(parent, self.ak_name())

    def _head(self, magic: int, kind: int, signer: bytes, extra: bytes) -> bytes:
        head = struct.pack(">IH", magic, kind) + sized(signer) + sized(extra)
        return head + struct.pack(">QIIBQ", 4711, self.resets, self.restarts, self.safe, 0x10002)

    def quote(self) -> bytes:
        values = b"".join(self.pcrs[index] for index in sorted(self.pcrs))
        name = wire.DIGESTS[self.ak_scheme_digest]
        digest = hashlib.new(name, values).digest() if self.digest is None else self.digest
        head = self._head(self.magic, self.kind, self._signer(), self.extra)
        if self.kind == wire.ATTEST_CERTIFY:
            return head + sized(self.ak_name()) + sized(self.ak_name()) + self.trailing
        return head + self.selection + sized(digest) + self.trailing

    def _certified(self) -> tuple[bytes, bytes, bytes] | tuple[None, None, None]:
        if self.device is None:
            return None, None, None
        own = area(self.device, self.key_attributes, digest=self.key_digest)
        name = self.certify_name or name_of(own, self.key_digest)
        signer = self.certify_signer or self._signer()
        attest = self._head(self.certify_magic, self.certify_kind, signer, b"\0\xffU\xaa")
        if self.certify_kind == wire.ATTEST_QUOTE:
            attest += self.selection + sized(bytes(32))
        else:
            attest += sized(name) + sized(qualified_name(signer, name))
        return attest, self._sign(self.certify_by or self.ak, attest), own

    def _sign(self, private: Private, message: bytes) -> bytes:
        digest = self.signature_digest or self.ak_scheme_digest
        scheme = self.signature_scheme or self.ak_scheme
        return sign(private, message, digest=digest, scheme=scheme)

    def evidence(self) -> Tpm2Evidence:
        quote = self.quote()
        certify, certify_signature, own = self._certified()
        chain = ek_leaf(self.ek) if self.ek_chain is None else self.ek_chain
        return Tpm2Evidence(
            quote=quote,
            quote_signature=self._sign(self.quote_by or self.ak, quote),
            ak_public=self.ak_area(),
            ak_chain=tuple(self.ak_chain),
            ek_chain=tuple(chain),
            certify=certify,
            certify_signature=certify_signature,
            key_public=own,
            pcrs=self.pcrs,
            event_log=self.log,
        )


def ek_leaf(private: Private, **changes: object) -> list[bytes]:
    """The chain of an endorsement key."""
    elliptic = isinstance(private, ec.EllipticCurvePrivateKey)
    given: dict[str, object] = {
        "usage": "2.23.133.8.1",
        "names": NAMES,
        "key_usage": "key_agreement" if elliptic else "key_encipherment",
    }
    return leaf(private, **{**given, **changes})  # type: ignore[arg-type]


def ak_leaf(private: Private, **changes: object) -> list[bytes]:
    """The chain of an attestation key."""
    given: dict[str, object] = {
        "usage": "2.23.133.8.3",
        "names": NAMES,
        "key_usage": "digital_signature",
    }
    return leaf(private, **{**given, **changes})  # type: ignore[arg-type]


GOOD = Spec()
"""An attestation key that has activated a credential; the device's key certified."""


def device_key(private: Private | None = None) -> PublicKey:
    """The device's key, as it is admitted."""
    private = private or key("device")
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    return admit(
        "p256", private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    )


def model(approved: Mapping[int, bytes] = PCRS, **settings: object) -> Model:
    """Whose references are these values."""
    return Model(
        "made",
        frozenset({"tpm2"}),
        match={"model": "made"},
        references=tuple(
            Reference(f"pcr{index}", frozenset({value})) for index, value in approved.items()
        ),
        settings=settings,
        assurance=frozenset({"tpm"}),
    )


def materials(
    chosen: Model | None = None, *, revoked: Mapping[str, str] | None = None
) -> Materials:
    """The root as an anchor, one model, and a list of what is revoked."""
    snapshot = RevocationSnapshot(frozenset({"tpm2"}), revoked or {}, NOW - 1000)
    return Materials(
        Anchors([root().anchor("tpm2")]),
        Models([chosen or model()]),
        Revocations([snapshot]),
    )


def expected(spec: Spec, *, activated: bool = True) -> Expected:
    """What evidence by a spec has to be bound to."""
    activation = spec.activation() if activated else None
    return Expected(challenge=CHALLENGE, key=device_key(), activation=activation)


def appraise(
    spec: Spec,
    *,
    activated: bool = True,
    at: int = NOW,
    chosen: Model | None = None,
    wanted: Expected | None = None,
) -> Appraisal:
    """Appraise evidence by a spec, for what it is bound to itself or for something else."""
    return appraise_evidence(
        MEDIA_TYPE,
        spec.evidence().encode(),
        expected=wanted or expected(spec, activated=activated),
        at=at,
        materials=materials(chosen),
    )


def changed(**changes: object) -> Spec:
    """The good spec with something changed."""
    return replace(GOOD, **changes)  # type: ignore[arg-type]
