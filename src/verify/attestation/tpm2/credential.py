"""Credentials for a TPM to activate (TPM 2.0 Part 1 section 24), made without a TPM.

Only the TPM that has both the endorsement key and, loaded beside it, the key of that Name opens
the secret. Nothing is made for an endorsement key whose certificate does not lead to an anchor.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Callable, Sequence
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import load_der_public_key

from depin_id.errors import AttestationError, EncodingError
from verify.attestation.identifiers import spki_of
from verify.attestation.materials import Anchors
from verify.attestation.steps import Steps
from verify.attestation.tpm2 import wire
from verify.attestation.tpm2.certificates import check_endorsement
from verify.attestation.tpm2.checks import check_ak
from verify.attestation.tpm2.endorsement import Strength, strength_of
from verify.attestation.tpm2.public import Key, read_public
from verify.attestation.x509path import read_certificates

FILE_MAGIC: Final = 0xBADCC0DE
"""How files begin that tpm2-tools reads; their version is 1."""
MAX_SECRET: Final = 32
_LABEL: Final = b"IDENTITY\0"
_BLOCK: Final = 16
Randomness = Callable[[int], bytes]
"""Gives that many random bytes (``secrets.token_bytes``)."""


def credential_for(
    ek_chain: Sequence[bytes],
    ak_public: bytes,
    *,
    anchors: Anchors,
    at: int,
    secret: bytes,
    randomness: Randomness,
) -> bytes:
    """A credential for the TPM of a genuine endorsement key that has this attestation key.

    Args:
        ek_chain: certificates of the endorsement key, DER, leaf first.
        ak_public: TPMT_PUBLIC of the attestation key, without a size in front.
        anchors: those of the format ``tpm2`` count. at: ms since 1970.
        secret: what the TPM is to give back, 1 to 32 bytes. randomness: see :data:`Randomness`.

    Returns:
        What ``tpm2_activatecredential -i`` reads.

    Raises:
        AttestationError: the certificates do not verify, or the key is no attestation key.
    """
    steps = Steps()
    certificates = read_certificates(ek_chain, "tpm2.ek", steps)
    endorsement = check_endorsement(certificates, anchors.of("tpm2"), at=at, steps=steps)
    with steps.typed("tpm2.ak"):
        ak = read_public(ak_public)
    check_ak(ak, steps)
    return make_credential(endorsement.spki, ak.name, secret, randomness)


def activation_of(ek_chain: Sequence[bytes], ak_public: bytes) -> tuple[bytes, bytes]:
    """What a credential was made for: SHA-256 of the endorsement key's SubjectPublicKeyInfo, and
    the Name of the attestation key; for :attr:`~verify.attestation.Expected.activation`.

    Raises AttestationError ``attestation.malformed`` or ``.algorithm``.
    """
    steps = Steps()
    leaf = read_certificates(ek_chain, "tpm2.ek", steps)[0]
    with steps.typed("tpm2.ak"):
        return hashlib.sha256(spki_of(leaf)).digest(), read_public(ak_public).name


def make_credential(ek: bytes, ak_name: bytes, secret: bytes, randomness: Randomness) -> bytes:
    """TPM2_MakeCredential. Whoever calls it vouches for the endorsement key.

    Args:
        ek: its SubjectPublicKeyInfo (DER): RSA of 2048 or 3072 bits, P-256 or P-384, made by the
            templates of the TCG. Or its TPMT_PUBLIC, without a size in front.
        ak_name: Name of the key. secret: 1 to 32 bytes. randomness: see :data:`Randomness`.

    Returns:
        TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET in the file form of tpm2-tools.

    Raises:
        AttestationError: ``attestation.malformed`` or ``attestation.algorithm``.
    """
    if not 0 < len(secret) <= MAX_SECRET:
        raise AttestationError("attestation.malformed", f"a secret is 1 to {MAX_SECRET} bytes")
    try:
        key, strength = _read_ek(ek)
        if len(ak_name) != 2 + hashlib.new(_hash_of(ak_name)).digest_size:
            raise AttestationError("attestation.malformed", "a Name of another length")
        seed, encrypted = _make_seed(key, strength, randomness)
    except EncodingError as error:
        code = "algorithm" if error.code == "encoding.unsupported" else "malformed"
        raise AttestationError(f"attestation.{code}", error.message) from None
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        what = f"the endorsement key: {type(error).__name__}"
        raise AttestationError("attestation.malformed", what) from None
    name = wire.DIGESTS[strength.digest]
    size = hashlib.new(name).digest_size
    sealed = _cfb(
        kdfa(name, seed, b"STORAGE", ak_name, b"", strength.aes), len(secret).to_bytes(2) + secret
    )
    integrity = kdfa(name, seed, b"INTEGRITY", b"", b"", size * 8)
    outer = hmac.digest(integrity, sealed + ak_name, name)
    blob = _sized(_sized(outer) + sealed) + _sized(encrypted)
    return struct.pack(">II", FILE_MAGIC, 1) + blob


def _hash_of(name: bytes) -> str:
    found = wire.DIGESTS.get(int.from_bytes(name[:2]))
    if found is None or found == "sha1":
        raise AttestationError("attestation.algorithm", "a Name by an unknown or weak hash")
    return found


def _read_ek(ek: bytes) -> tuple[Key, Strength]:
    if ek[:1] == b"\x30":
        loaded = load_der_public_key(ek)
        if not isinstance(loaded, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
            raise EncodingError("encoding.unsupported", "an endorsement key of another kind")
        return loaded, strength_of(loaded)
    public = read_public(ek)
    if public.name_digest == wire.SHA1 or not public.symmetric:
        raise EncodingError("encoding.unsupported", "an endorsement key that is no storage key")
    return public.key, Strength(public.name_digest, public.symmetric)


def _make_seed(key: Key, strength: Strength, randomness: Randomness) -> tuple[bytes, bytes]:
    """The seed, and how only the endorsement key gets at it (Part 1, annexes B and C)."""
    name = wire.DIGESTS[strength.digest]
    if isinstance(key, rsa.RSAPublicKey):
        size = hashlib.new(name).digest_size
        seed = randomness(size)
        return seed, _oaep(key, seed, name, randomness(size))
    order_bytes = key.key_size // 8
    # Wide enough that what is reduced is not uneven.
    number = int.from_bytes(randomness(order_bytes + 16)) % (_ORDERS[key.curve.name] - 1) + 1
    own = ec.derive_private_key(number, key.curve)
    shared = own.exchange(ec.ECDH(), key)
    point, other = own.public_key().public_numbers(), key.public_numbers()
    x, y, of = (part.to_bytes(order_bytes) for part in (point.x, point.y, other.x))
    return kdfe(name, shared, b"IDENTITY", x, of), _sized(x) + _sized(y)


_ORDERS: Final = {
    "secp256r1": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    "secp384r1": int(
        "ffffffffffffffffffffffffffffffffffffffffffffffff"
        "c7634d81f4372ddf581a0db248b0a77aecec196accc52973",
        16,
    ),
}


def _oaep(key: rsa.RSAPublicKey, message: bytes, name: str, seed: bytes) -> bytes:
    """RSAES-OAEP (RFC 8017 section 7.1.1) with the label of credentials and the caller's seed."""
    size, digest = key.key_size // 8, hashlib.new(name, _LABEL).digest()
    block = digest + bytes(size - len(message) - 2 * len(digest) - 2) + b"\x01" + message
    masked = _xor(block, _mgf1(name, seed, len(block)))
    head = _xor(seed, _mgf1(name, masked, len(seed)))
    numbers = key.public_numbers()
    return pow(int.from_bytes(head + masked), numbers.e, numbers.n).to_bytes(size)


def _mgf1(name: str, seed: bytes, size: int) -> bytes:
    made = b""
    for count in range(-(-size // hashlib.new(name).digest_size)):
        made += hashlib.new(name, seed + count.to_bytes(4)).digest()
    return made[:size]


def kdfa(name: str, key: bytes, label: bytes, first: bytes, second: bytes, bits: int) -> bytes:
    """KDFa (Part 1 section 11.4.10.2), bits a multiple of eight.

    Args:
        name: of the hash. key: of its HMAC. label: without the zero at its end.
        first, second: contextU and contextV.
    """
    made, count, fixed = b"", 0, label + b"\0" + first + second + bits.to_bytes(4)
    while len(made) * 8 < bits:
        count += 1
        made += hmac.digest(key, count.to_bytes(4) + fixed, name)
    return made[: bits // 8]


def kdfe(name: str, shared: bytes, label: bytes, first: bytes, second: bytes) -> bytes:
    """KDFe (Part 1 section 11.4.10.3), as many bits as the hash has: one round of it.

    Args:
        name: of the hash. shared: x of the shared point. label: without the zero at its end.
        first, second: x of both public keys: PartyU and PartyV.
    """
    return hashlib.new(name, (1).to_bytes(4) + shared + label + b"\0" + first + second).digest()


def _cfb(key: bytes, data: bytes) -> bytes:
    """AES in CFB mode from a zero block; short, so block by block."""
    block_of = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    previous, made = bytes(_BLOCK), b""
    for at in range(0, len(data), _BLOCK):
        part = data[at : at + _BLOCK]
        previous = _xor(part, block_of.update(previous)[: len(part)])
        made += previous
    return made


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(one ^ two for one, two in zip(left, right, strict=True))


def _sized(data: bytes) -> bytes:
    return len(data).to_bytes(2) + data
