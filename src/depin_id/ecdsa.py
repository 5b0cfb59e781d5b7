"""ECDSA as Data Integrity wants it: deterministic (RFC 6979), and P-384 beside P-256.

P-384 is for proofs over documents only. No device signs readings with it, so it is no curve of
:mod:`depin_id.keys`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal, NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from depin_id import base58
from depin_id.errors import DIDError, EncodingError, KeyRefused, SignatureInvalid
from depin_id.keys import P256_ORDER, PublicKey, SoftwareSigner

P384_BYTES: Final = 48
_P384_PREFIX: Final = b"\x81\x24"
"""Multicodec p384-pub, 0x1201, as a varint."""
_MAX_MULTIKEY: Final = 96
_SHA256: Final = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
_SHA384: Final = ec.ECDSA(hashes.SHA384(), deterministic_signing=True)


def _malformed(what: str) -> NoReturn:
    raise DIDError("did.malformed", f"the multikey {what}", hint="z82... is a key of P-384")


@dataclass(frozen=True)
class P384Key:
    """An admitted public key of P-384. Make one with :func:`admit_p384`, never by hand.

    Attributes:
        raw: 49 bytes, the compressed SEC1 point.
    """

    raw: bytes
    curve: Literal["p384"] = "p384"

    @cached_property
    def _point(self) -> ec.EllipticCurvePublicKey:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP384R1(), self.raw)

    def verify(self, message: bytes, signature: bytes) -> None:
        """Verify r || s, 96 bytes, with SHA-384. Raises SignatureInvalid ``signature.invalid``."""
        _verify(self._point, P384_BYTES, message, signature)


VerificationKey = PublicKey | P384Key
"""Whatever a proof may be verified with."""


def admit_p384(raw: bytes) -> P384Key:
    """Admit a SEC1 point (49 bytes compressed, 97 uncompressed); the curve has no small subgroup.

    Raises:
        KeyRefused: ``key.not_admissible``.
    """
    try:
        point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP384R1(), bytes(raw))
    except ValueError:
        raise KeyRefused(
            "key.not_admissible", "the bytes are not a point of P-384 in SEC1 form"
        ) from None
    return P384Key(point.public_bytes(Encoding.X962, PublicFormat.CompressedPoint))


def encode_p384(key: P384Key) -> str:
    """The multikey of a key: ``z82...``."""
    return "z" + base58.encode(_P384_PREFIX + key.raw)


def decode_p384(text: str) -> P384Key:
    """The admitted key of a multikey. Raises DIDError ``did.malformed``, KeyRefused."""
    if type(text) is not str or not text.startswith("z") or len(text) > _MAX_MULTIKEY:
        _malformed("does not start with z, or is too long")
    try:
        wrapped = base58.decode(text[1:])
    except EncodingError:
        _malformed("is not base58btc")
    if not wrapped.startswith(_P384_PREFIX):
        _malformed("is not one of P-384")
    key = admit_p384(wrapped[len(_P384_PREFIX) :])
    if encode_p384(key) != text:
        _malformed("is not the canonical spelling of its key")
    return key


class P384Signer:
    """A private key of P-384 in this process's memory.

    Args:
        secret: the scalar, 48 bytes, big-endian.

    Raises:
        KeyRefused: ``key.not_admissible``.
    """

    def __init__(self, secret: bytes) -> None:
        try:
            number = int.from_bytes(secret, "big") if len(secret) == P384_BYTES else 0
            self._key = ec.derive_private_key(number, ec.SECP384R1())
        except ValueError:
            raise KeyRefused(
                "key.not_admissible", "the bytes are no private scalar of P-384"
            ) from None
        public = self._key.public_key()
        self.public_key = admit_p384(
            public.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
        )

    def sign(self, message: bytes) -> bytes:
        """r || s, 96 bytes, the same for the same message (RFC 6979)."""
        return b"".join(
            number.to_bytes(P384_BYTES, "big")
            for number in decode_dss_signature(self._key.sign(message, _SHA384))
        )


def sign_deterministic(signer: SoftwareSigner, message: bytes) -> bytes:
    """The signature of a P-256 key without randomness (RFC 6979), with a low s as all of ours."""
    key = ec.derive_private_key(int.from_bytes(signer.secret, "big"), ec.SECP256R1())
    r, s = decode_dss_signature(key.sign(message, _SHA256))
    return r.to_bytes(32, "big") + min(s, P256_ORDER - s).to_bytes(32, "big")


def verify_any_s(key: PublicKey, message: bytes, signature: bytes) -> None:
    """Verify a P-256 signature whose s may be high.

    On the wire only a low s is taken, so that an envelope has one form. Other people's signers of
    documents do not know that rule (neither RFC 6979 nor ecdsa-jcs-2019 has it), and half of what
    they sign has a high s. Nothing here is named by its signature, so both forms may stand.

    Raises:
        SignatureInvalid: ``signature.invalid``.
    """
    point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), key.raw)
    _verify(point, 32, message, signature)


def _verify(point: ec.EllipticCurvePublicKey, size: int, message: bytes, signature: bytes) -> None:
    if len(signature) != 2 * size:
        raise SignatureInvalid(
            "signature.invalid", f"a signature has {len(signature)} bytes instead of {2 * size}"
        )
    r, s = int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big")
    try:
        point.verify(encode_dss_signature(r, s), message, _SHA256 if size == 32 else _SHA384)
    except InvalidSignature:
        raise SignatureInvalid("signature.invalid", "the ECDSA signature does not verify") from None
