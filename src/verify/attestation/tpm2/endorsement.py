"""Endorsement keys by the templates of the TCG EK Credential Profile: their Names, and where an
attestation key hangs in its TPM.

A certificate has only the key. Its Name, and with that the qualified names of its children, follow
from the template that it was made by.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from depin_id.errors import EncodingError
from verify.attestation.tpm2 import public, wire
from verify.attestation.tpm2.public import Key, qualified_name

HIERARCHIES: Final = {
    "endorsement": bytes.fromhex("4000000b"),
    "owner": bytes.fromhex("40000001"),
    "platform": bytes.fromhex("4000000c"),
}
_POLICY_A: Final = bytes.fromhex("837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa")
_POLICY_B: Final = {
    wire.SHA256: bytes.fromhex("ca3d0a99a2b93906f7a3342414efcfb3a385d44cd1fd459089d19b5071c0b7a0"),
    wire.SHA384: bytes.fromhex(
        "b26e7d28d11a50bc53d882bcf5fd3a1a074148bb35d3b4e4cb1c0ad9bde419ca"
        "cb47ba09699646150f9fc000f3f80e12"
    ),
}
_LOW: Final = 0x000300B2
_HIGH: Final = 0x000300F2
_AES_CFB: Final = {128: bytes.fromhex("000600800043"), 256: bytes.fromhex("000601000043")}


@dataclass(frozen=True, slots=True)
class Strength:
    """What goes with an endorsement key: hash of its Name, and bits of its AES key."""

    digest: int
    aes: int


def strength_of(key: object) -> Strength:
    """Of an endorsement key: RSA of 2048 or 3072 bits, P-256, P-384.

    Raises EncodingError ``encoding.unsupported``.
    """
    if isinstance(key, rsa.RSAPublicKey) and key.key_size in (2048, 3072):
        return Strength(wire.SHA256, 128) if key.key_size == 2048 else Strength(wire.SHA384, 256)
    if isinstance(key, ec.EllipticCurvePublicKey):
        if isinstance(key.curve, ec.SECP256R1):
            return Strength(wire.SHA256, 128)
        if isinstance(key.curve, ec.SECP384R1):
            return Strength(wire.SHA384, 256)
    raise EncodingError("encoding.unsupported", "an endorsement key of another kind or size")


def templates(key: Key) -> Iterator[bytes]:
    """The public areas that an endorsement key may have: of the low range, then the high one.

    Raises EncodingError ``encoding.unsupported``.
    """
    strength = strength_of(key)
    if strength.digest == wire.SHA256:
        yield _area(key, strength, _LOW, _POLICY_A)
    yield _area(key, strength, _HIGH, _POLICY_B[strength.digest])


def _area(key: Key, strength: Strength, attributes: int, policy: bytes) -> bytes:
    kind = public.RSA if isinstance(key, rsa.RSAPublicKey) else public.ECC
    head = kind.to_bytes(2, "big") + strength.digest.to_bytes(2, "big")
    head += attributes.to_bytes(4, "big") + _sized(policy) + _AES_CFB[strength.aes]
    null = public.NULL.to_bytes(2, "big")
    if isinstance(key, rsa.RSAPublicKey):
        size = key.key_size
        modulus = key.public_numbers().n.to_bytes(size // 8, "big")
        return head + null + size.to_bytes(2, "big") + bytes(4) + _sized(modulus)
    curve = 3 if isinstance(key.curve, ec.SECP256R1) else 4
    numbers, size = key.public_numbers(), key.key_size // 8
    head += null + curve.to_bytes(2, "big") + null
    return head + _sized(numbers.x.to_bytes(size, "big")) + _sized(numbers.y.to_bytes(size, "big"))


def _sized(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


@lru_cache(maxsize=512)
def qualified_names(spki: bytes) -> tuple[bytes, ...]:
    """The qualified names that an endorsement key may have, by its SubjectPublicKeyInfo.

    Raises EncodingError ``encoding.unsupported``.
    """
    key = load_der_public_key(spki)
    digest = strength_of(key).digest
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        return ()
    hierarchy = HIERARCHIES["endorsement"]
    return tuple(qualified_name(hierarchy, public.name_of(area, digest)) for area in templates(key))


def place_of(signer: bytes, name: bytes, endorsement: tuple[bytes, ...] = ()) -> str:
    """Where the attestation key is that a TPM has signed with.

    Args:
        signer: its qualified name, as the TPM wrote it. name: of the key.
        endorsement: qualified names that its endorsement key may have.

    Returns:
        ``ek`` for a child of that key, ``endorsement``, ``owner`` or ``platform`` for a primary key
        of that hierarchy; empty when none of these fits.
    """
    if any(qualified_name(parent, name) == signer for parent in endorsement):
        return "ek"
    for hierarchy, handle in HIERARCHIES.items():
        if qualified_name(handle, name) == signer:
            return hierarchy
    return ""
