"""Signatures on certificates: by which keys they may be, and whether they are good."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512
from cryptography.hazmat.primitives.serialization import load_der_public_key

from depin_id.errors import KeyRefused
from verify.attestation.public_keys import admitted

HASHES: Final = (SHA256, SHA384, SHA512)
MIN_RSA, MAX_RSA = 2048, 8192
_MAX_EXPONENT: Final = 1 << 32
_CURVES: Final = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)


@lru_cache(maxsize=256)
def authority_key(spki: bytes) -> PublicKeyTypes:
    """Authorities sign for many devices: their keys are read once, and quicker when used again.

    Raises ValueError or UnsupportedAlgorithm for those that may not sign certificates: of another
    kind or curve, not admitted (of small order, or published), too weak, or so large that nobody
    should have to calculate with them.
    """
    key = load_der_public_key(spki)
    try:
        admitted(key)
    except KeyRefused as error:
        raise ValueError(error.message) from None
    good = isinstance(key, ed25519.Ed25519PublicKey)
    if isinstance(key, ec.EllipticCurvePublicKey):
        good = isinstance(key.curve, _CURVES)
    elif isinstance(key, rsa.RSAPublicKey) and MIN_RSA <= key.key_size <= MAX_RSA:
        good = 2 < key.public_numbers().e < _MAX_EXPONENT
    if not good:
        raise ValueError("not a key of an authority")
    return key


def is_signed_by(child: x509.Certificate, spki: bytes) -> bool:
    """Whether a key has signed a certificate."""
    try:
        _verify_signature(child, spki)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


@lru_cache(maxsize=512)
def _verify_signature(child: x509.Certificate, spki: bytes) -> None:
    """Verify; only what is good is kept. The certificates of authorities come with every device.

    Raises InvalidSignature, UnsupportedAlgorithm, ValueError or TypeError.
    """
    key = authority_key(spki)
    signature, signed = child.signature, child.tbs_certificate_bytes
    digest, scheme = child.signature_hash_algorithm, child.signature_algorithm_parameters
    if isinstance(key, ed25519.Ed25519PublicKey) and digest is None:
        key.verify(signature, signed)
    elif digest is None or not isinstance(digest, HASHES):
        raise InvalidSignature
    elif isinstance(key, ec.EllipticCurvePublicKey) and isinstance(scheme, ec.ECDSA):
        key.verify(signature, signed, scheme)
    elif isinstance(key, rsa.RSAPublicKey) and isinstance(scheme, padding.PKCS1v15 | padding.PSS):
        key.verify(signature, signed, scheme, digest)
    else:
        raise InvalidSignature
