"""Keys: admission, thumbprints, verification and signers.

Every key that enters the system is admitted first (:func:`admit`): a valid point of prime order on
the right curve that is not one of the published test keys. One Ed25519 rule holds everywhere:
PyNaCl's strict verification plus the point check; the identity point alone would otherwise verify
any message under libraries that skip it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol, get_args

import nacl.bindings
import nacl.exceptions
import nacl.signing
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from depin_id import cbor
from depin_id._published_keys import is_published
from depin_id.errors import EncodingError, KeyRefused, SignatureInvalid

Curve = Literal["ed25519", "p256"]

ED25519 = -19
"""COSE algorithm Ed25519, fully specified (RFC 9864)."""
ESP256 = -9
"""COSE algorithm ESP256: ECDSA on P-256 with SHA-256, fully specified (RFC 9864)."""
EDDSA = -8
"""The polymorphic EdDSA (deprecated by RFC 9864): taken only where the policy says so."""
ES256 = -7
"""The polymorphic ES256 (deprecated by RFC 9864): taken only where the policy says so."""

ALGORITHMS: dict[Curve, tuple[int, int]] = {"ed25519": (ED25519, EDDSA), "p256": (ESP256, ES256)}
"""Per curve: the algorithm of the wire, and the deprecated one that means the same."""

SIGNATURE_BYTES = 64
ED25519_INVALID = "the Ed25519 signature does not verify"
_ED25519_HEAD = cbor.encode({1: 1, -1: 6, -2: bytes(32)})[:-32]
"""What a COSE_Key begins with, up to the 32 bytes of the key."""

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_HALF_ORDER = P256_ORDER // 2
_SHA256 = ec.ECDSA(hashes.SHA256())


@dataclass(frozen=True)
class PublicKey:
    """An admitted public key. Make one with :func:`admit`, never by hand.

    Attributes:
        curve: ``ed25519`` or ``p256``.
        raw: 32 bytes (Ed25519) or 33 bytes (P-256, compressed SEC1 point).
    """

    curve: Curve
    raw: bytes

    @cached_property
    def _p256(self) -> ec.EllipticCurvePublicKey:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), self.raw)

    @cached_property
    def cose_key(self) -> bytes:
        """The COSE_Key with the required members only, deterministic (RFC 9679, section 4)."""
        if self.curve == "ed25519":
            return _ED25519_HEAD + self.raw
        point = self._p256.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return cbor.encode({1: 2, -1: 1, -2: point[1:33], -3: point[33:]})

    @cached_property
    def thumbprint(self) -> bytes:
        """SHA-256 COSE key thumbprint, 32 bytes (RFC 9679)."""
        return hashlib.sha256(self.cose_key).digest()

    @property
    def kid(self) -> bytes:
        """The hint on the wire: the first 8 bytes of the thumbprint."""
        return self.thumbprint[:8]

    @property
    def algorithm(self) -> int:
        """The COSE algorithm this key signs with."""
        return ALGORITHMS[self.curve][0]

    def verify(self, message: bytes, signature: bytes) -> None:
        """Verify a 64-byte signature over the message as received.

        Raises:
            SignatureInvalid: ``signature.invalid`` when it does not verify;
                ``signature.malleable`` for a P-256 signature with a high s.
        """
        if len(signature) != SIGNATURE_BYTES:
            raise SignatureInvalid(
                "signature.invalid", f"a signature has {len(signature)} bytes instead of 64"
            )
        if self.curve == "ed25519":
            try:
                nacl.bindings.crypto_sign_open(signature + message, self.raw)
            except nacl.exceptions.CryptoError:
                raise SignatureInvalid("signature.invalid", ED25519_INVALID) from None
            return
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        if s > _HALF_ORDER:
            raise SignatureInvalid(
                "signature.malleable",
                "the ECDSA signature has a high s",
                hint="send the low-s form: s or n - s, whichever is smaller",
            )
        try:
            self._p256.verify(encode_dss_signature(r, s), message, _SHA256)
        except InvalidSignature:
            raise SignatureInvalid(
                "signature.invalid", "the ESP256 signature does not verify"
            ) from None

    @classmethod
    def from_cose_key(cls, data: bytes, *, allow_published: bool = False) -> PublicKey:
        """Read and admit a COSE_Key in the exact form of :attr:`cose_key`.

        Raises:
            EncodingError: the bytes are no deterministic COSE_Key of either curve.
            KeyRefused: the key is not admissible.
        """
        if len(data) == len(_ED25519_HEAD) + 32 and data.startswith(_ED25519_HEAD):
            # The one spelling of the usual curve.
            return admit("ed25519", data[-32:], allow_published=allow_published)
        value = cbor.decode(data, max_bytes=256)
        members = value if isinstance(value, dict) else {}
        x, y = members.get(-2), members.get(-3)
        key: PublicKey | None = None
        if isinstance(x, bytes) and members.get(1) == 1 and members.get(-1) == 6:
            key = admit("ed25519", x, allow_published=allow_published)
        elif isinstance(x, bytes) and isinstance(y, bytes) and len(x) == len(y) == 32:
            key = admit("p256", b"\x04" + x + y, allow_published=allow_published)
        if key is None or key.cose_key != data:
            raise EncodingError(
                "key.malformed",
                "the bytes are not a COSE_Key with just kty, crv and the point",
                hint="Ed25519: {1: 1, -1: 6, -2: x}; P-256: {1: 2, -1: 1, -2: x, -3: y}",
            )
        return key


def _refused(message: str, hint: str = "") -> KeyRefused:
    return KeyRefused("key.not_admissible", message, hint=hint)


def admit(curve: str, raw: bytes, *, allow_published: bool = False) -> PublicKey:
    """Admit a public key, or refuse it.

    Args:
        curve: ``ed25519`` or ``p256``.
        raw: 32 bytes, or for P-256 a SEC1 point (33 bytes compressed, 65 uncompressed).
        allow_published: take keys whose private half is published; only for running other
            people's test vectors.

    Raises:
        KeyRefused: ``key.not_admissible``: unknown curve, wrong length, no point of prime order,
            or a published test key.
    """
    if curve not in get_args(Curve):
        raise _refused(f"there is no curve {curve!r}", "use ed25519 or p256")
    if curve == "ed25519":
        if len(raw) != 32:
            raise _refused(f"an Ed25519 key has 32 bytes, not {len(raw)}")
        # Refuses small order, mixed order, non-canonical and off-curve points.
        if not nacl.bindings.crypto_core_ed25519_is_valid_point(bytes(raw)):
            raise _refused("the Ed25519 point is not of prime order")
        key = PublicKey("ed25519", bytes(raw))
    else:
        try:
            point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), bytes(raw))
        except ValueError:
            raise _refused("the bytes are not a point of P-256 in SEC1 form") from None
        key = PublicKey("p256", point.public_bytes(Encoding.X962, PublicFormat.CompressedPoint))
    if not allow_published and is_published(key.raw):
        raise _refused(
            "the private half of this key is published", "make a new key; never use test keys"
        )
    return key


class Signer(Protocol):
    """Whatever holds a private key: software, a secure element or a KMS."""

    @property
    def public_key(self) -> PublicKey:
        """The admitted public half."""

    def sign(self, message: bytes) -> bytes:
        """A 64-byte signature over the message: Ed25519, or r || s with a low s (ESP256)."""


def _low_s(r: int, s: int) -> bytes:
    s = min(s, P256_ORDER - s)
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


class SoftwareSigner:
    """A private key in this process's memory.

    Args:
        curve: ``ed25519`` or ``p256``.
        secret: 32 bytes: the Ed25519 seed, or the P-256 scalar, big-endian.
    """

    def __init__(self, curve: Curve, secret: bytes, *, allow_published: bool = False) -> None:
        if len(secret) != 32:
            raise _refused(f"a private key has 32 bytes, not {len(secret)}")
        self.secret = bytes(secret)
        if curve == "ed25519":
            self._ed25519 = nacl.signing.SigningKey(self.secret)
            raw = bytes(self._ed25519.verify_key)
        else:
            try:
                self._p256 = ec.derive_private_key(
                    int.from_bytes(self.secret, "big"), ec.SECP256R1()
                )
            except ValueError:
                raise _refused("the bytes are no private scalar of P-256") from None
            raw = self._p256.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
        self._public = admit(curve, raw, allow_published=allow_published)

    @classmethod
    def generate(cls, curve: Curve = "ed25519") -> SoftwareSigner:
        """A signer with a fresh key."""
        if curve == "ed25519":
            return cls(curve, bytes(nacl.signing.SigningKey.generate()))
        number = ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value
        return cls(curve, number.to_bytes(32, "big"))

    @property
    def public_key(self) -> PublicKey:
        """The admitted public half."""
        return self._public

    def sign(self, message: bytes) -> bytes:
        """Sign; see :meth:`Signer.sign`."""
        if self._public.curve == "ed25519":
            return bytes(self._ed25519.sign(message).signature)
        return _low_s(*decode_dss_signature(self._p256.sign(message, _SHA256)))


class CallbackSigner:
    """A signer that hands the message to a callback, such as a KMS.

    Args:
        public_key: the public half, admitted.
        sign: takes the message and gives 64 bytes (Ed25519, or r || s; s may be high).
    """

    def __init__(self, public_key: PublicKey, sign: Callable[[bytes], bytes]) -> None:
        self._public = public_key
        self._sign = sign

    @property
    def public_key(self) -> PublicKey:
        """The admitted public half."""
        return self._public

    def sign(self, message: bytes) -> bytes:
        """Sign through the callback and verify what came back before it leaves.

        Raises:
            SignatureInvalid: the callback's signature does not verify under the public key.
        """
        signature = bytes(self._sign(message))
        if self._public.curve == "p256" and len(signature) == SIGNATURE_BYTES:
            r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
            if 0 < s < P256_ORDER:
                signature = _low_s(r, s)
        self._public.verify(message, signature)
        return signature


class DigestSigner(CallbackSigner):
    """A signer for a secure element that signs a SHA-256 digest (P-256: ATECC608, TPM, PSA).

    Args:
        public_key: the element's P-256 key, admitted.
        sign_digest: takes 32 bytes and gives r || s, 64 bytes.
    """

    def __init__(self, public_key: PublicKey, sign_digest: Callable[[bytes], bytes]) -> None:
        if public_key.curve != "p256":
            raise _refused("a digest can only be signed with P-256", "use CallbackSigner")
        super().__init__(public_key, lambda message: sign_digest(hashlib.sha256(message).digest()))
