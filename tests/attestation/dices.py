"""DICE chains: other people's, and those made for the tests."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from depin_id import cbor, cose
from depin_id.keys import SoftwareSigner
from tests.attestation.ca import NOW, START
from tests.attestation.idevids import CHALLENGE, FOREVER, public_of, spki
from tests.paths import vectors
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
from verify.attestation.materials import Reference
from verify.attestation.open_dice import CWT_TYPE, X509_TYPE, signed_bytes
from verify.attestation.open_dice.x509 import OID

CODE, CODE_TEXT, CONFIG, CONFIG_TEXT = -4670545, -4670546, -4670547, -4670548
AUTHORITY, AUTHORITY_TEXT, MODE = -4670549, -4670550, -4670551
KEY, USAGE, PROFILE = -4670552, -4670553, -4670554
_ASYM_SALT = bytes.fromhex(
    "63b6a04d2c077fc10f639f21da793844356cc2b0b441b3a77124035c03f8e1be"
    "6035d31f282821a7450a02222ab1b3cff1679b05ab1ca5d1affb789ccd2b0b3b"
)


def vector(name: str) -> bytes:
    """A certificate that others made."""
    return (vectors("attestation/open-dice") / name).read_bytes()


def seed_of(secret: bytes) -> bytes:
    """The Ed25519 seed that Open DICE derives from a CDI or UDS."""
    return HKDF(hashes.SHA512(), 32, _ASYM_SALT, b"Key Pair").derive(secret)


@cache
def signer(name: str, curve: str = "p256") -> SoftwareSigner:
    """A key, the same in every run."""
    seed = hashlib.sha256(name.encode()).digest()
    return SoftwareSigner("p256" if curve == "p256" else "ed25519", seed)


def digest(name: str) -> bytes:
    """64 bytes."""
    return hashlib.sha512(name.encode()).digest()


UDS = signer("uds", "ed25519")
DEVICE = signer("layer 2")
SIGNERS = (UDS, signer("layer 0", "ed25519"), signer("layer 1"), DEVICE)


def cose_key(owner: SoftwareSigner) -> dict[int, Any]:
    """A key as Open DICE writes it."""
    plain = dict(cbor.decode(owner.public_key.cose_key))
    algorithm = -8 if owner.public_key.curve == "ed25519" else -7
    return {1: plain.pop(1), 3: algorithm, 4: [2], **plain}


def claims(number: int, **more: Any) -> dict[Any, Any]:
    """What the certificate of a layer says."""
    return {
        1: f"id{number - 1}",
        2: f"id{number}",
        CODE: digest(f"code {number}"),
        CONFIG_TEXT: digest(f"config {number}"),
        AUTHORITY: digest("authority"),
        MODE: b"\x01",
        KEY: cbor2.dumps(cose_key(SIGNERS[number + 1])),
        USAGE: b"\x20",
        PROFILE: "opendice.example",
    } | {int(key[1:]) * (-1 if key[0] == "m" else 1): value for key, value in more.items()}


def cwt(
    said: Mapping[Any, Any],
    by: SoftwareSigner,
    *,
    protected: bytes | None = None,
    unprotected: Mapping[int, Any] | None = None,
    tag: bool = False,
) -> bytes:
    """A certificate in CBOR."""
    if protected is None:
        protected = b"\xa1\x01\x27" if by.public_key.curve == "ed25519" else b"\xa1\x01\x26"
    payload = cbor2.dumps(dict(said))
    signature = by.sign(cose.sig_structure(protected, b"", payload))
    value = [protected, dict(unprotected or {}), payload, signature]
    return cbor2.dumps(cbor2.CBORTag(18, value) if tag else value)


def uds_cwt(by: SoftwareSigner = UDS, issuer: str = "id-1") -> bytes:
    """The certificate of the UDS: its own, or a manufacturer's."""
    said = {1: issuer, 2: "id-1", KEY: cbor2.dumps(cose_key(UDS)), USAGE: b"\x20"}
    return cwt(said, by)


def layers(count: int = 3) -> list[bytes]:
    """Good layers as CWTs."""
    return [cwt(claims(number), SIGNERS[number]) for number in range(count)]


# --- X.509 -------------------------------------------------------------------------------------


def tlv(tag: int, value: bytes) -> bytes:
    """DER."""
    size = len(value)
    head = bytes([size]) if size < 128 else b"\x82" + size.to_bytes(2, "big")
    return bytes([tag]) + (b"\x81" + bytes([size]) if 128 <= size < 256 else head) + value


def inputs(number: int, **more: bytes | None) -> bytes:
    """An OpenDiceInput."""
    fields: dict[int, bytes | None] = {
        0: tlv(4, digest(f"code {number}")),
        3: tlv(4, digest(f"config {number}")),
        4: tlv(4, digest("authority")),
        6: b"\x0a\x01\x01",
        7: tlv(12, b"opendice.example"),
    }
    fields |= {int(name[1:]): value for name, value in more.items()}
    parts = [tlv(0xA0 + at, value) for at, value in sorted(fields.items()) if value is not None]
    return tlv(0x30, b"".join(parts))


def _name(number: int) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.SERIAL_NUMBER, f"id{number}")])


CERT_SIGN = x509.KeyUsage(False, False, False, False, False, True, False, False, False)


def certificate(
    number: int,
    extension: bytes | None,
    *,
    key: SoftwareSigner | None = None,
    by: SoftwareSigner | None = None,
    critical: bool = True,
    usage: x509.KeyUsage = CERT_SIGN,
    ca: bool = True,
    names: tuple[int, int] | None = None,
) -> bytes:
    """A certificate of a layer; -1 is the UDS itself."""
    subject = SIGNERS[number + 1] if key is None else key
    issuer = SIGNERS[max(number, 0)] if by is None else by
    above, below = names or (max(number - 1, -1), number)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(below))
        .issuer_name(_name(above))
        .public_key(public_of(subject))
        .serial_number(number + 2)
        .not_valid_before(START)
        .not_valid_after(FOREVER)
        .add_extension(usage, critical=True)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if extension is not None:
        value = x509.UnrecognizedExtension(x509.ObjectIdentifier(OID), extension)
        builder = builder.add_extension(value, critical=critical)
    secret = issuer.secret
    if issuer.public_key.curve == "ed25519":
        made = builder.sign(ed25519.Ed25519PrivateKey.from_private_bytes(secret), None)
    else:
        private = ec.derive_private_key(int.from_bytes(secret, "big"), ec.SECP256R1())
        made = builder.sign(private, hashes.SHA256())
    return made.public_bytes(Encoding.DER)


def certificates(count: int = 3) -> list[bytes]:
    """Good layers as certificates, the last layer's first."""
    return [certificate(number, inputs(number)) for number in reversed(range(count))]


# --- cases -------------------------------------------------------------------------------------


def references(count: int = 3) -> tuple[Reference, ...]:
    """Everything of the good layers approved."""
    return tuple(
        Reference(f"layer{number}.{name}", frozenset((value,)))
        for number in range(count)
        for name, value in (
            ("code", digest(f"code {number}")),
            ("config", digest(f"config {number}")),
            ("authority", digest("authority")),
        )
    )


ANCHOR = Anchor("open-dice", "uds", spki(UDS))
MODEL = Model(
    "board",
    frozenset({"open-dice"}),
    references=references(),
    revocation="none",
    protects_key=True,
    settings={"layers": 3},
)
P384 = ec.derive_private_key(7, ec.SECP384R1())


def p384_sign(message: bytes) -> bytes:
    """r || s of 48 bytes each."""
    made = decode_dss_signature(P384.sign(message, ec.ECDSA(hashes.SHA384())))
    return b"".join(number.to_bytes(48, "big") for number in made)


def p384_cose_key() -> dict[int, Any]:
    """That key as Open DICE writes it."""
    point = P384.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return {1: 2, 3: -35, 4: [2], -1: 2, -2: point[1:49], -3: point[49:]}


@dataclass
class Case:
    """One chain, and what it is judged by."""

    chain: Sequence[Any] = field(default_factory=layers)
    by: SoftwareSigner = DEVICE
    challenge: bytes = CHALLENGE
    signature: bytes | None = None
    anchors: Sequence[Anchor] = (ANCHOR,)
    expected: Expected = field(
        default_factory=lambda: Expected(challenge=CHALLENGE, key=DEVICE.public_key)
    )
    model: Model = MODEL
    at: int = NOW

    @property
    def raw(self) -> bytes:
        """The evidence."""
        made = self.by.sign(signed_bytes(self.challenge))
        signature = made if self.signature is None else self.signature
        return cbor.encode({1: list(self.chain), 2: signature, 3: self.challenge})

    @property
    def media_type(self) -> str:
        """What it is called."""
        return X509_TYPE if self.chain and self.chain[0][:1] == b"\x30" else CWT_TYPE

    @property
    def materials(self) -> Materials:
        """What it is judged by."""
        return Materials(Anchors(self.anchors), Models([self.model]))

    def run(self, raw: bytes | None = None) -> Appraisal:
        """Appraise it."""
        return appraise_evidence(
            self.media_type,
            self.raw if raw is None else raw,
            expected=self.expected,
            at=self.at,
            materials=self.materials,
        )


def root_of(found: Appraisal) -> bytes:
    """The root of what was verified."""
    assert found.claims is not None
    return found.claims.root.id
