"""Tokens made for tests: COSE_Sign1 and COSE_Mac0 over any payload."""

from __future__ import annotations

import hmac
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from depin_id import cbor
from verify.attestation import Anchor, Anchors, Materials, Model, Models
from verify.attestation.foreign_cose import to_be_signed

SigningKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
CHALLENGE = bytes(range(32))


def spki(key: SigningKey) -> bytes:
    """The SubjectPublicKeyInfo of a private key's other half."""
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def sign1(
    payload: Any,
    key: SigningKey,
    *,
    protected: dict[int, Any] | None = None,
    unprotected: dict[int, Any] | None = None,
) -> bytes:
    """A COSE_Sign1, tagged. The payload is encoded unless it is bytes."""
    body = payload if isinstance(payload, bytes) else cbor.encode(payload)
    large = isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name == "secp384r1"
    number = -8 if isinstance(key, ed25519.Ed25519PrivateKey) else -35 if large else -7
    header = cbor.encode({1: number} if protected is None else protected)
    signed = to_be_signed("Signature1", header, body)
    if isinstance(key, ed25519.Ed25519PrivateKey):
        signature = key.sign(signed)
    else:
        found = decode_dss_signature(key.sign(signed, ec.ECDSA(SHA384() if large else SHA256())))
        signature = b"".join(part.to_bytes(48 if large else 32) for part in found)
    return cbor.encode(cbor.Tag(18, [header, unprotected or {}, body, signature]))


def mac0(payload: Any, key: bytes) -> bytes:
    """A COSE_Mac0 with HMAC 256/256, tagged."""
    body = payload if isinstance(payload, bytes) else cbor.encode(payload)
    header = cbor.encode({1: 5})
    tag = hmac.digest(key, to_be_signed("MAC0", header, body), "sha256")
    return cbor.encode(cbor.Tag(17, [header, {}, body, tag]))


def materials(anchors: list[Anchor], *models: Model) -> Materials:
    """Materials without lists of what is revoked."""
    return Materials(anchors=Anchors(anchors), models=Models(models))
