"""did:jwk: the identifier is a JSON Web Key, as keys in a TPM or secure element often come.

Ed25519 (RFC 8037) and P-256 (RFC 7518 section 6.2). The JWK inside must have just the members of
its key, in the order and spelling that :func:`did_jwk` writes: one key has one did:jwk.
"""

from __future__ import annotations

import json
from typing import Final, NoReturn

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from depin_id.base64url import decode, encode
from depin_id.did.document import key_document
from depin_id.did.resolution import Options, Resolution, unversioned
from depin_id.did.syntax import Did, parse_did
from depin_id.errors import DIDError, EncodingError
from depin_id.keys import PublicKey, admit

NAME: Final = "jwk"
_MAX_ID: Final = 512


def public_jwk(key: PublicKey) -> dict[str, str]:
    """The public JWK, required members only, in lexicographic order (as RFC 7638 hashes it)."""
    if key.curve == "ed25519":
        return {"crv": "Ed25519", "kty": "OKP", "x": encode(key.raw)}
    point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), key.raw).public_bytes(
        Encoding.X962, PublicFormat.UncompressedPoint
    )
    return {"crv": "P-256", "kty": "EC", "x": encode(point[1:33]), "y": encode(point[33:])}


def did_jwk(public: PublicKey) -> str:
    """The did:jwk of an admitted key."""
    return f"did:jwk:{encode(json.dumps(public_jwk(public), separators=(',', ':')).encode())}"


def _malformed(message: str) -> NoReturn:
    raise DIDError(
        "did.malformed",
        f"the did:jwk {message}",
        hint="the JWK has just crv, kty, x (and y), sorted, without spaces",
    )


def parse_did_jwk(did: str, *, allow_published: bool = False) -> PublicKey:
    """The admitted key of a did:jwk in its canonical spelling.

    Raises:
        DIDError: ``did.malformed``, ``did.key_not_supported``, ``did.method_not_supported``.
        KeyRefused: ``key.not_admissible``.
    """
    parsed = parse_did(did)
    if parsed.method != NAME:
        raise DIDError("did.method_not_supported", f"did:{parsed.method} is not did:jwk")
    if len(parsed.id) > _MAX_ID:
        _malformed(f"is longer than {_MAX_ID} characters")
    try:
        jwk = json.loads(decode(parsed.id))
        if not isinstance(jwk, dict) or not all(isinstance(value, str) for value in jwk.values()):
            _malformed("is not a key of text members")
        kind = (jwk.get("kty", ""), jwk.get("crv", ""))
        curve = {("OKP", "Ed25519"): "ed25519", ("EC", "P-256"): "p256"}.get(kind)
        if curve is None:
            raise DIDError(
                "did.key_not_supported",
                "a JWK of this type cannot be used here",
                hint="use Ed25519 or P-256",
            )
        raw = decode(jwk.get("x", ""))
        if curve == "p256":
            raw = b"\x04" + raw + decode(jwk.get("y", ""))
    except (ValueError, RecursionError, EncodingError):
        _malformed("is not base64url of a JSON Web Key")
    key = admit(curve, raw, allow_published=allow_published)
    if did_jwk(key) != did:
        _malformed("is not the canonical spelling of its key")
    return key


class JwkMethod:
    """did:jwk for a :class:`~depin_id.did.resolver.Resolver`.

    Args:
        allow_published: take keys whose private half is published (test vectors only).
    """

    name = NAME

    def __init__(self, *, allow_published: bool = False) -> None:
        self._allow_published = allow_published

    def resolve(self, did: Did, options: Options) -> Resolution:
        """The DID document, made from the DID alone: the same at any time.

        Raises:
            DIDError: as :func:`parse_did_jwk`; ``did.not_found`` for a version by name.
        """
        key = parse_did_jwk(str(did), allow_published=self._allow_published)
        return unversioned(key_document(str(did), f"{did}#0", key), options)
