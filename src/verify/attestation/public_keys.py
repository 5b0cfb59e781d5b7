"""Public keys in evidence: those that a device can sign with, and signatures as r || s."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)

from depin_id.ecdsa import P384Key, VerificationKey, admit_p384
from depin_id.keys import P256_ORDER, PublicKey, admit
from verify.attestation.foreign_cose import VerifyKey, signature_is_good

_SPKI_HEADS: Final[Mapping[str, bytes]] = {
    "ed25519": bytes.fromhex("302a300506032b6570032100"),
    "p256": bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200"),
    "p384": bytes.fromhex("3076301006072a8648ce3d020106052b81040022036200"),
}
"""What stands before the key in a SubjectPublicKeyInfo."""


def admitted(key: object) -> VerificationKey | None:
    """A key of ``cryptography`` admitted; None of another kind than Ed25519, P-256 and P-384.

    Raises:
        KeyRefused: it is of such a kind and not admissible.
    """
    if isinstance(key, ed25519.Ed25519PublicKey):
        return admit("ed25519", key.public_bytes(Encoding.Raw, PublicFormat.Raw))
    if isinstance(key, ec.EllipticCurvePublicKey):
        if isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1):
            # Uncompressed: to find y again takes longer than to check it.
            point = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
            return admit("p256", point) if key.key_size == 256 else admit_p384(point)
    return None


def device_key(key: object) -> PublicKey | None:
    """The same, of those curves only that devices sign readings with. Raises KeyRefused."""
    found = admitted(key)
    return found if isinstance(found, PublicKey) else None


def read_spki(der: bytes) -> VerificationKey | None:
    """The key of a SubjectPublicKeyInfo in its one usual spelling; None for anything else.

    Raises:
        KeyRefused: the key is not admissible.
    """
    try:
        key = load_der_public_key(der)
        if key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) != der:
            return None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    return admitted(key)


def spki_of_raw(curve: str, raw: bytes) -> bytes:
    """The SubjectPublicKeyInfo around the bytes of a key: of a curve, the point not compressed."""
    return _SPKI_HEADS[curve] + raw


@lru_cache(maxsize=256)
def spki_bytes(key: VerificationKey) -> bytes:
    """The SubjectPublicKeyInfo of an admitted key, DER."""
    if key.curve == "ed25519":
        return spki_of_raw("ed25519", key.raw)
    curve = ec.SECP384R1() if isinstance(key, P384Key) else ec.SECP256R1()
    loaded = ec.EllipticCurvePublicKey.from_encoded_point(curve, key.raw)
    return loaded.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def is_proof(key: VerifyKey, signature: bytes, signed: bytes) -> bool:
    """Whether the holder of an admitted key signed: Ed25519, or r || s with P-256 or P-384.

    Of P-256 only the form with the low s, as everywhere on the wire.
    """
    if isinstance(key, ed25519.Ed25519PublicKey):
        return signature_is_good(-8, key, signature, signed)
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return False
    if key.key_size == 256:
        low = int.from_bytes(signature[32:]) <= P256_ORDER // 2
        return low and signature_is_good(-7, key, signature, signed)
    return signature_is_good(-35, key, signature, signed)
