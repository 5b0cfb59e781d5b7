"""Android chains made for tests: a factory's, those of remote provisioning, and their faults."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from tests.attestation.ca import new_key
from verify.attestation import Anchor
from verify.attestation.android_key.description import OID
from verify.attestation.android_key.handler import PROVISIONING_OID

CHALLENGE = bytes(range(32))
PACKAGE, SIGNER = "org.example.sensor", bytes([7]) * 32
BOOT_KEY, BOOT_HASH = bytes([8]) * 32, bytes([9]) * 32
LEAF_KEY, OTHER_KEY = new_key(), new_key()
LeafKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey


def tlv(tag: int, content: bytes) -> bytes:
    """One DER value."""
    size = len(content)
    if size < 0x80:
        head = bytes((size,))
    else:
        length = size.to_bytes((size.bit_length() + 7) // 8, "big")
        head = bytes((0x80 | len(length),)) + length
    return bytes((tag,)) + head + content


def number(value: int, tag: int = 2) -> bytes:
    """INTEGER, or ENUMERATED with tag 10."""
    return tlv(tag, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def numbers(*values: int) -> bytes:
    """SET OF INTEGER."""
    return tlv(0x31, b"".join(map(number, values)))


def octets(value: bytes) -> bytes:
    """OCTET STRING."""
    return tlv(4, value)


def tagged(tag: int, content: bytes) -> bytes:
    """An explicit context tag."""
    if tag < 31:
        return tlv(0xA0 | tag, content)
    long = bytes((0x80 | tag >> 7, tag & 0x7F)) if tag > 0x7F else bytes((tag,))
    return b"\xbf" + long + tlv(0, content)[1:]


def root_of_trust(locked: int = 0xFF, state: int = 0) -> bytes:
    """RootOfTrust."""
    boot = octets(BOOT_KEY) + tlv(1, bytes((locked,))) + number(state, 10) + octets(BOOT_HASH)
    return tlv(0x30, boot)


def application(package: str = PACKAGE, signer: bytes = SIGNER) -> bytes:
    """AttestationApplicationId, in its OCTET STRING."""
    packages = tlv(0x31, tlv(0x30, octets(package.encode()) + number(3)))
    return octets(tlv(0x30, packages + tlv(0x31, octets(signer))))


HARDWARE: dict[int, bytes] = {
    1: numbers(2),
    2: number(3),
    3: number(256),
    5: numbers(4),
    10: number(1),
    503: tlv(5, b""),
    702: number(0),
    704: root_of_trust(),
    705: number(150000),
    706: number(202605),
    710: octets(b"example"),
    717: octets(b"Phone 1"),
    718: number(20260501),
    719: number(20260505),
}
SOFTWARE: dict[int, bytes] = {701: number(1_780_000_000_000), 709: application()}


@dataclass(frozen=True)
class Description:
    """A key description; each test changes a part."""

    version: bytes = number(300)
    level: int = 1
    keymint_level: int = 1
    challenge: bytes = CHALLENGE
    software: dict[int, bytes] = field(default_factory=lambda: SOFTWARE)
    hardware: dict[int, bytes] = field(default_factory=lambda: HARDWARE)

    def enforced(self, **changes: bytes | None) -> Description:
        """With other tags in the hardware's list: ``t702=...``; None leaves one out."""
        return replace(self, hardware=_changed(self.hardware, changes))

    def claimed(self, **changes: bytes | None) -> Description:
        """With other tags in the software's list."""
        return replace(self, software=_changed(self.software, changes))

    def der(self) -> bytes:
        """Its bytes."""
        lists = [
            tlv(0x30, b"".join(tagged(tag, value) for tag, value in values.items()))
            for values in (self.software, self.hardware)
        ]
        head = [self.version, number(self.level, 10), number(300), number(self.keymint_level, 10)]
        return tlv(0x30, b"".join([*head, octets(self.challenge), octets(b""), *lists]))


def _changed(values: dict[int, bytes], changes: dict[str, bytes | None]) -> dict[int, bytes]:
    found: dict[int, bytes | None] = {
        **values,
        **{int(name[1:]): value for name, value in changes.items()},
    }
    return {tag: value for tag, value in sorted(found.items()) if value is not None}


@dataclass(frozen=True, eq=False)
class Link:
    """A certificate that is to be made.

    Attributes:
        name: attributes of the subject. years: first and last of its validity.
        ca: the CA bit; None for neither it nor a key usage.
    """

    name: dict[x509.ObjectIdentifier, str]
    key: ec.EllipticCurvePrivateKey = field(default_factory=new_key)
    years: tuple[int, int] = (2016, 2040)
    ca: bool | None = True
    extensions: tuple[tuple[str, bytes], ...] = ()
    serial: int = field(default_factory=x509.random_serial_number)

    @property
    def subject(self) -> x509.Name:
        """Its name."""
        return x509.Name([x509.NameAttribute(oid, text) for oid, text in self.name.items()])


def certificate(link: Link, issuer: Link, key: LeafKey | None = None) -> bytes:
    """A certificate in DER."""
    start, end = (datetime(year, 1, 1, tzinfo=UTC) for year in link.years)
    builder = (
        x509.CertificateBuilder()
        .subject_name(link.subject)
        .issuer_name(issuer.subject)
        .public_key(link.key.public_key() if key is None else key)
        .serial_number(link.serial)
        .not_valid_before(start)
        .not_valid_after(end)
    )
    if link.ca is not None:
        usage = x509.KeyUsage(not link.ca, False, False, False, False, link.ca, False, False, False)
        builder = builder.add_extension(x509.BasicConstraints(link.ca, None), True)
        builder = builder.add_extension(usage, True)
    for oid, value in link.extensions:
        made = x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value)
        builder = builder.add_extension(made, False)
    return builder.sign(issuer.key, hashes.SHA256()).public_bytes(Encoding.DER)


def _serial(text: str, **more: str) -> dict[x509.ObjectIdentifier, str]:
    title = {NameOID.TITLE: more["title"]} if more else {}
    return {NameOID.SERIAL_NUMBER: text} | title


ROOT = Link(_serial("f92009e853b6b045"))
OLD_ROOT = replace(ROOT, years=(2016, 2020), serial=5)
"""The same key and name with other dates, as the one of Google has it."""
FACTORY = (
    Link(_serial("a1", title="TEE"), years=(2016, 2026)),
    Link(_serial("a2", title="TEE"), years=(2016, 2026)),
)
_GOOGLE = {NameOID.ORGANIZATION_NAME: "Google LLC"}
RKP = (
    Link(
        {NameOID.COMMON_NAME: "b1", NameOID.ORGANIZATION_NAME: "TEE"},
        years=(2026, 2027),
        extensions=((PROVISIONING_OID, b"\xa1\x01\x08"),),
    ),
    Link(_GOOGLE | {NameOID.COMMON_NAME: "Droid CA3"}),
    Link(_GOOGLE | {NameOID.COMMON_NAME: "Droid CA2"}),
)


def anchor(link: Link = ROOT) -> Anchor:
    """A root as a trust anchor."""
    spki = link.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return Anchor("android-key", "root", spki, _authority(link, link))


@lru_cache(maxsize=64)
def _authority(link: Link, issuer: Link) -> bytes:
    """The one certificate that an authority has."""
    return certificate(link, issuer)


def chain(
    described: Description | bytes | None = None,
    links: Sequence[Link] = FACTORY,
    *,
    root: Link = ROOT,
    with_root: bool = True,
    key: LeafKey | None = None,
    **leaf: Any,
) -> list[bytes]:
    """A chain for a key, leaf first.

    Args:
        described: what the leaf says of it. links: above it, up to the root. root: of the chain.
        key: of the leaf. leaf: more about the leaf's certificate.
    """
    found = Description() if described is None else described
    value = found if isinstance(found, bytes) else found.der()
    about: dict[str, Any] = {
        "name": {NameOID.COMMON_NAME: "Android Keystore Key"},
        "years": (1970, 2048),
        "ca": None,
        "extensions": ((OID, value),),
        "serial": 1,
    }
    made = certificate(
        Link(**about | leaf), links[0], LEAF_KEY.public_key() if key is None else key
    )
    above = [
        _authority(link, issuer) for link, issuer in zip(links, [*links[1:], root], strict=True)
    ]
    return [made, *above, *([_authority(root, root)] if with_root else [])]
