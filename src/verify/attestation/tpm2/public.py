"""Public areas of a TPM's keys (TPMT_PUBLIC), their Names, and what they sign."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from depin_id.errors import EncodingError
from verify.attestation.tpm2 import wire
from verify.attestation.tpm2.wire import Reader

RSA: Final = 0x0001
ECC: Final = 0x0023
NULL: Final = 0x0010
FIXED_TPM: Final = 1 << 1
FIXED_PARENT: Final = 1 << 4
SENSITIVE_DATA_ORIGIN: Final = 1 << 5
ENCRYPTED_DUPLICATION: Final = 1 << 11
RESTRICTED: Final = 1 << 16
DECRYPT: Final = 1 << 17
SIGN: Final = 1 << 18
_KNOWN_ATTRIBUTES: Final = 0x000F0FF6
_SYMMETRIC: Final = frozenset((0x0006, 0x0013, 0x0026))
_HASHED_SCHEMES: Final = {
    RSA: frozenset((wire.RSASSA, wire.RSAPSS, 0x0017)),
    ECC: frozenset((wire.ECDSA, 0x0019, 0x001B, 0x001C, 0x001D)),
}
_RSAES, _ECDAA = 0x0015, 0x001A
CURVES: Final[dict[int, type[ec.EllipticCurve]]] = {3: ec.SECP256R1, 4: ec.SECP384R1}
_CURVE_BYTES: Final = {3: 32, 4: 48}
_HASHES: Final[dict[int, type[hashes.HashAlgorithm]]] = {
    wire.SHA256: hashes.SHA256,
    wire.SHA384: hashes.SHA384,
    wire.SHA512: hashes.SHA512,
}
_HEAD: Final = struct.Struct(">HHI")
Key = rsa.RSAPublicKey | ec.EllipticCurvePublicKey
_DER, _SPKI = Encoding.DER, PublicFormat.SubjectPublicKeyInfo


@dataclass(frozen=True)
class Public:
    """TPMT_PUBLIC.

    Attributes:
        raw: as it came. kind: :data:`RSA` or :data:`ECC`. name_digest: hash of its Name.
        attributes: TPMA_OBJECT. policy: its authorization policy.
        symmetric: bits of the AES key that a parent protects its children with, 0 without.
        scheme, scheme_digest: that it signs with; :data:`NULL` and 0 when it may choose.
        curve: TPM_ECC_CURVE, 0 of RSA.
        numbers: exponent and modulus of RSA, or the coordinates; whether they are a key is seen
            when :attr:`key` is asked for.
    """

    raw: bytes
    kind: int
    name_digest: int
    attributes: int
    policy: bytes
    symmetric: int
    scheme: int
    scheme_digest: int
    curve: int
    numbers: tuple[int, int]

    @cached_property
    def name(self) -> bytes:
        """Its Name: the hash's number, then the hash over the public area (Part 1 section 16)."""
        return name_of(self.raw, self.name_digest)

    @property
    def key(self) -> Key:
        """The key itself. Raises EncodingError ``encoding.malformed``: not a point of its curve."""
        return _load(self.curve, *self.numbers)[0]

    @property
    def spki(self) -> bytes:
        """Its key as SubjectPublicKeyInfo, DER. Raises as :attr:`key` does."""
        return _load(self.curve, *self.numbers)[1]

    def has(self, bits: int) -> bool:
        """Whether all of these attributes are set."""
        return self.attributes & bits == bits


def name_of(raw: bytes, digest: int) -> bytes:
    """The Name of a public area. Raises EncodingError ``encoding.unsupported``."""
    found = wire.DIGESTS.get(digest)
    if found is None:
        raise EncodingError("encoding.unsupported", f"a Name by hash {digest:#06x}")
    return digest.to_bytes(2, "big") + hashlib.new(found, raw).digest()


def qualified_name(parent: bytes, name: bytes) -> bytes:
    """The qualified name of a key: of whom it is a child, up to its hierarchy.

    Args:
        parent: qualified name of its parent; for a primary key the hierarchy's handle, 4 bytes.
        name: of the key.
    """
    return name_of(parent + name, int.from_bytes(name[:2], "big"))


def read_public(data: bytes) -> Public:
    """Read a TPMT_PUBLIC of an RSA or ECC key.

    Raises EncodingError: ``encoding.malformed``, or ``encoding.unsupported`` for a curve or size
    that is not taken (P-256, P-384; RSA of 2048 to 4096 bits).
    """
    reader = Reader(data, "TPMT_PUBLIC")
    kind, name_digest, attributes = reader.numbers(_HEAD)
    if kind not in (RSA, ECC):
        reader.wrong(f"of type {kind:#06x}, neither RSA nor ECC")
    if name_digest not in wire.DIGESTS:
        reader.wrong(f"a Name by hash {name_digest:#06x}")
    if attributes & ~_KNOWN_ATTRIBUTES:
        reader.wrong("reserved attributes are set")
    policy = reader.sized(64)
    symmetric = _read_symmetric(reader)
    scheme, digest = _read_scheme(reader, kind)
    curve, numbers = _read_rsa(reader) if kind == RSA else _read_ecc(reader)
    reader.end()
    return Public(
        data, kind, name_digest, attributes, policy, symmetric, scheme, digest, curve, numbers
    )


def _read_symmetric(reader: Reader) -> int:
    algorithm = reader.u16()
    if algorithm == NULL:
        return 0
    if algorithm not in _SYMMETRIC:
        reader.wrong(f"symmetric algorithm {algorithm:#06x}")
    bits, mode = reader.u16(), reader.u16()
    if bits not in (128, 192, 256) or not 0x40 <= mode <= 0x44:
        reader.wrong("a symmetric key of another size or mode")
    return bits


def _read_scheme(reader: Reader, kind: int) -> tuple[int, int]:
    scheme = reader.u16()
    if scheme == NULL or (kind == RSA and scheme == _RSAES):
        return scheme, 0
    digest = reader.u16()
    if kind == ECC and scheme == _ECDAA:
        reader.u16()
    elif scheme not in _HASHED_SCHEMES[kind]:
        reader.wrong(f"scheme {scheme:#06x}")
    return scheme, digest


def _read_rsa(reader: Reader) -> tuple[int, tuple[int, int]]:
    bits, exponent = reader.u16(), reader.u32() or 65537
    modulus = reader.sized(512)
    number = int.from_bytes(modulus, "big")
    if bits not in (2048, 3072, 4096) or exponent != 65537:
        raise EncodingError("encoding.unsupported", f"RSA of {bits} bits, exponent {exponent}")
    if len(modulus) * 8 != bits or number.bit_length() != bits or not number & 1:
        reader.wrong("the modulus is not of that size")
    return 0, (exponent, number)


def _read_ecc(reader: Reader) -> tuple[int, tuple[int, int]]:
    curve = reader.u16()
    if reader.u16() != NULL:
        reader.u16()
    x, y = reader.sized(66), reader.sized(66)
    if curve not in CURVES:
        raise EncodingError("encoding.unsupported", f"curve {curve:#06x}")
    if max(len(x), len(y)) > _CURVE_BYTES[curve]:
        reader.wrong("a coordinate that is too long")
    return curve, (int.from_bytes(x, "big"), int.from_bytes(y, "big"))


@lru_cache(maxsize=512)
def _load(curve: int, first: int, second: int) -> tuple[Key, bytes]:
    """A key and its SubjectPublicKeyInfo; a device's are the same with every boot."""
    key: Key
    if not curve:
        key = rsa.RSAPublicNumbers(first, second).public_key()
    else:
        size = _CURVE_BYTES[curve]
        point = b"\x04" + first.to_bytes(size, "big") + second.to_bytes(size, "big")
        try:
            key = ec.EllipticCurvePublicKey.from_encoded_point(CURVES[curve](), point)
        except ValueError:
            raise EncodingError("encoding.malformed", "not a point of its curve") from None
    return key, key.public_bytes(_DER, _SPKI)


def is_signed(key: Key, signature: wire.Signature, message: bytes) -> bool:
    """Whether a key has signed a message. SHA-1 is never good; the two forms of a number with
    leading zeros that TPMs write (all of them, or none) are."""
    digest = _HASHES.get(signature.digest)
    if digest is None:
        return False
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            size = key.key_size // 8
            if signature.scheme != wire.ECDSA or not all(
                len(part) == size or (part and part[0] and len(part) < size)
                for part in signature.parts
            ):
                return False
            r, s = (int.from_bytes(part, "big") for part in signature.parts)
            key.verify(encode_dss_signature(r, s), message, ec.ECDSA(digest()))
            return True
        if signature.scheme == wire.RSASSA:
            key.verify(signature.parts[0], message, padding.PKCS1v15(), digest())
            return True
        if signature.scheme == wire.RSAPSS:
            scheme = padding.PSS(padding.MGF1(digest()), padding.PSS.AUTO)
            key.verify(signature.parts[0], message, scheme, digest())
            return True
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return False


def point_of(key: Public) -> bytes:
    """The point of an ECC key, uncompressed; whether it is on the curve is not looked at.

    Raises EncodingError ``encoding.unsupported``: it is of RSA.
    """
    if key.curve not in CURVES:
        raise EncodingError("encoding.unsupported", "not a key on a curve")
    size = _CURVE_BYTES[key.curve]
    return b"\x04" + b"".join(part.to_bytes(size, "big") for part in key.numbers)
