"""Keys and certificates that become trust anchors, each admitted first."""

from __future__ import annotations

import re
from typing import Final, NoReturn

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
)

from depin_id import base64url, strict_json
from depin_id.errors import AttestationError, DepinError
from depin_id.keys import PublicKey, admit
from verify.attestation.public_keys import admitted, spki_bytes
from verify.attestation.x509path import MAX_CERTIFICATE
from verify.attestation.x509signatures import MAX_RSA, MIN_RSA

MAX_KEY_FILE: Final = 1 << 20
_CURVES: Final = ("secp256r1", "secp384r1", "secp521r1")
_JWK_CURVES: Final = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}
_BLOCK: Final = re.compile(
    rb"-----BEGIN (CERTIFICATE|PUBLIC KEY)-----[^-]+-----END \1-----", re.DOTALL
)
UNREADABLE: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What ``cryptography`` raises on bytes that it does not read; some are no ValueError."""
Key = tuple[bytes, bytes]
"""SubjectPublicKeyInfo, and the certificate it is from (empty for a bare key); both DER."""


def read_pem_key(data: bytes) -> Key:
    """One key or certificate in PEM. Raises AttestationError ``attestation.key``."""
    found = _pem(data)
    if len(found) != 1:
        _refuse(f"{len(found)} keys where one is meant")
    return found[0]


def read_keys(data: bytes) -> list[Key]:
    """Every key of a file: PEM (one or many), or one DER certificate, DER key, JWK or COSE_Key.

    Raises AttestationError ``attestation.key``, a key is malformed, too weak or not admissible.
    """
    if len(data) > MAX_KEY_FILE:
        _refuse(f"the file is over {MAX_KEY_FILE} bytes")
    if b"-----BEGIN" in data:
        return _pem(data)
    if data.lstrip()[:1] == b"{":
        return [(_jwk(data), b"")]
    if data[:1] == b"\x30":
        return [_der(data)]
    try:
        return [(spki_bytes(PublicKey.from_cose_key(data)), b"")]
    except DepinError as error:
        _refuse(f"it is no PEM, DER, JWK or COSE_Key: {error.message}")


def admit_spki(spki: bytes) -> bytes:
    """Check that a key is good enough to be trusted; gives its one encoding.

    P-256 and Ed25519 are admitted like every key (no published one), RSA has 2048 bits and more,
    and P-384 and P-521 are taken.

    Raises AttestationError ``attestation.key``.
    """
    try:
        return _admit(load_der_public_key(spki))
    except UNREADABLE as error:
        _refuse(f"no public key that can be read ({type(error).__name__})")


def check_certificate(certificate: bytes) -> bytes:
    """Read a certificate; gives its key's admitted SubjectPublicKeyInfo.

    Raises AttestationError ``attestation.key``.
    """
    if len(certificate) > MAX_CERTIFICATE:
        _refuse(f"a certificate is over {MAX_CERTIFICATE} bytes")
    try:
        read = x509.load_der_x509_certificate(certificate)
        _ = read.extensions, read.subject, read.issuer
        return _admit(read.public_key())
    except UNREADABLE as error:
        _refuse(f"no certificate that can be read ({type(error).__name__})")


def _pem(data: bytes) -> list[Key]:
    begun = data.count(b"-----BEGIN ")
    blocks = list(_BLOCK.finditer(data))
    if not blocks or len(blocks) != begun:
        _refuse("PEM that is not all whole certificates and public keys")
    found: list[Key] = []
    for block in blocks:
        try:
            if block[1] == b"PUBLIC KEY":
                found.append((_admit(load_pem_public_key(block[0])), b""))
                continue
            certificate = x509.load_pem_x509_certificate(block[0]).public_bytes(Encoding.DER)
        except UNREADABLE as error:
            _refuse(f"a PEM block cannot be read ({type(error).__name__})")
        found.append((check_certificate(certificate), certificate))
    return found


def _der(data: bytes) -> Key:
    try:
        return admit_spki(data), b""
    except AttestationError as error:
        if "no public key" not in error.message:
            raise
    return check_certificate(data), data


def _jwk(data: bytes) -> bytes:
    try:
        jwk = strict_json.parse(data)
        if not isinstance(jwk, dict) or "d" in jwk:
            _refuse("a JWK with a private part, or no JWK")
        if jwk.get("kty") == "OKP" and jwk.get("crv") == "Ed25519":
            return spki_bytes(admit("ed25519", base64url.decode(jwk["x"])))
        curve = _JWK_CURVES.get(jwk.get("crv", ""))
        if jwk.get("kty") != "EC" or curve is None:
            _refuse("a JWK of another kind than EC or Ed25519")
        point = b"\x04" + base64url.decode(jwk["x"]) + base64url.decode(jwk["y"])
        return _admit(ec.EllipticCurvePublicKey.from_encoded_point(curve, point))
    except (ValueError, TypeError, LookupError) as error:
        _refuse(f"a JWK that cannot be read ({type(error).__name__})")
    except AttestationError:
        raise
    except DepinError as error:
        _refuse(f"a JWK: {error.message}")


def _admit(key: PublicKeyTypes) -> bytes:
    if isinstance(key, ed25519.Ed25519PublicKey):
        _admitted(key)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name not in _CURVES:
            _refuse(f"a key on {key.curve.name}")
        _admitted(key)
    elif isinstance(key, rsa.RSAPublicKey):
        if not MIN_RSA <= key.key_size <= MAX_RSA:
            _refuse(f"an RSA key of {key.key_size} bits; {MIN_RSA} to {MAX_RSA} are taken")
    else:
        _refuse(f"a key of another kind ({type(key).__name__})")
    return _encoded(key)


def _admitted(key: PublicKeyTypes) -> None:
    try:
        admitted(key)
    except DepinError as error:
        _refuse(error.message)


def _encoded(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _refuse(what: str) -> NoReturn:
    raise AttestationError("attestation.key", f"a trust anchor's key: {what}")
