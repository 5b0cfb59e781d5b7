"""Names of what may be revoked: certificates by serial number, and keys.

Results are indexed by them, so that a revocation finds everything that it touches. Serial numbers
of one issuer mean nothing at another; a list that names no issuer (that of Android) is of a format.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


@lru_cache(maxsize=256)
def spki_of(certificate: x509.Certificate) -> bytes:
    """The SubjectPublicKeyInfo of a certificate, DER.

    Raises ValueError or UnsupportedAlgorithm where its key cannot be read.
    """
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def key_identifier(spki: bytes) -> str:
    """Of a key: ``key:`` and the SHA-256 of its SubjectPublicKeyInfo (DER), or of its raw form."""
    return f"key:{hashlib.sha256(spki).hexdigest()}"


def serial_identifier(scope: str, serial: int) -> str:
    """Of a certificate: ``cert:<scope>:<serial in hexadecimal>``.

    Args:
        scope: a format's name, or the SHA-256 (hexadecimal) of the issuer's name in DER.
    """
    return f"cert:{scope}:{serial:x}"


def issuer_scope(name: x509.Name) -> str:
    """The scope of an issuer's own serial numbers."""
    return hashlib.sha256(name.public_bytes()).hexdigest()


def certificate_identifiers(
    certificates: Iterable[x509.Certificate], format_name: str
) -> frozenset[str]:
    """Everything that may be revoked of the certificates of a chain in evidence."""
    named = [_identifiers(certificate, format_name) for certificate in certificates]
    return frozenset[str]().union(*named)


@lru_cache(maxsize=512)
def _identifiers(certificate: x509.Certificate, format_name: str) -> tuple[str, ...]:
    serial = certificate.serial_number
    return (
        serial_identifier(format_name, serial),
        serial_identifier(issuer_scope(certificate.issuer), serial),
        key_identifier(spki_of(certificate)),
    )
