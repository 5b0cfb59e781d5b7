"""Wallets of EVM chains: Keccak-256, addresses (EIP-55) and signed messages (EIP-191).

The two libraries behind it (coincurve for secp256k1, pycryptodome for Keccak-256) belong to the
extra ``wallet`` and are loaded at the first call: a device that never meets a wallet does without.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Final

from depin_id.errors import ConfigError, EncodingError, SignatureInvalid

ADDRESS_BYTES: Final = 20
SIGNATURE_BYTES: Final = 65
ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""Order of the secp256k1 group (SEC 2, section 2.4.1)."""

_HALF_ORDER: Final = ORDER // 2
_RECOVERY: Final = {0: 0, 1: 1, 27: 0, 28: 1}
_PREFIX: Final = b"\x19Ethereum Signed Message:\n"
_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}")


def _missing(package: str) -> ConfigError:
    return ConfigError(
        "config.extra",
        f"wallets need the package {package}, which is not installed",
        hint="install depin-id[wallet]",
    )


@cache
def _keccak() -> Callable[[bytes], bytes]:
    try:
        from Crypto.Hash import keccak
    except ImportError:
        raise _missing("pycryptodome") from None
    return lambda data: keccak.new(digest_bits=256, data=data).digest()


@cache
def _recover() -> Callable[[bytes, bytes], bytes]:
    """(r || s || v with v 0 or 1, digest) to the 64 bytes of the point."""
    try:
        from coincurve import PublicKey
    except ImportError:
        raise _missing("coincurve") from None

    def recover(signature: bytes, digest: bytes) -> bytes:
        key = PublicKey.from_signature_and_message(signature, digest, hasher=None)
        return key.format(compressed=False)[1:]

    return recover


@cache
def _point() -> Callable[[bytes], bytes]:
    """A SEC1 point to its 64 uncompressed bytes."""
    try:
        from coincurve import PublicKey
    except ImportError:
        raise _missing("coincurve") from None
    return lambda data: PublicKey(data).format(compressed=False)[1:]


def keccak256(data: bytes) -> bytes:
    """Keccak-256 of the bytes, 32 bytes: the hash of Ethereum, which is not SHA3-256.

    Raises:
        ConfigError: ``config.extra``, the extra ``wallet`` is not installed.
    """
    return _keccak()(bytes(data))


def personal_hash(message: bytes) -> bytes:
    """The digest that ``personal_sign`` signs (EIP-191, version 0x45), 32 bytes."""
    return keccak256(_PREFIX + str(len(message)).encode() + message)


def public_key_address(point: bytes) -> bytes:
    """The address of a secp256k1 public key, 20 bytes.

    Args:
        point: SEC1, 33 bytes compressed or 65 uncompressed.

    Raises:
        EncodingError: ``evm.key_malformed``, no point of secp256k1.
    """
    convert = _point()
    if len(point) == 33 and point[0] in (2, 3) or len(point) == 65 and point[0] == 4:
        try:
            return keccak256(convert(bytes(point)))[12:]
        except ValueError:
            pass
    raise EncodingError(
        "evm.key_malformed",
        "the bytes are not a point of secp256k1 in SEC1 form",
        hint="give 33 bytes compressed, or 65 uncompressed",
    )


def recover_address(message: bytes, signature: bytes) -> bytes:
    """The address whose key signed the message with ``personal_sign`` (EIP-191).

    A signature by anybody recovers to some address: compare it with the one you expect.

    Args:
        message: what was shown to the wallet, without the prefix.
        signature: r || s || v, 65 bytes, v one of 0, 1, 27, 28; s in the lower half (EIP-2).

    Returns:
        20 bytes.

    Raises:
        SignatureInvalid: ``signature.malleable`` for a high s, ``signature.invalid`` otherwise.
        ConfigError: ``config.extra``.
    """
    recover = _recover()
    if len(signature) != SIGNATURE_BYTES:
        raise SignatureInvalid(
            "signature.invalid",
            f"a wallet's signature has {len(signature)} bytes instead of 65",
            hint="send r || s || v as personal_sign gives it",
        )
    recovery = _RECOVERY.get(signature[64])
    if recovery is None:
        raise SignatureInvalid(
            "signature.invalid",
            f"the recovery byte of a wallet's signature is {signature[64]}",
            hint="it is 0, 1, 27 or 28",
        )
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
    if not (0 < r < ORDER and 0 < s < ORDER):
        raise SignatureInvalid("signature.invalid", "r or s of a wallet's signature is no scalar")
    if s > _HALF_ORDER:
        raise SignatureInvalid(
            "signature.malleable",
            "the wallet's signature has a high s",
            hint="send the low-s form (EIP-2)",
        )
    digest = personal_hash(bytes(message))
    try:
        point = recover(bytes(signature[:64]) + bytes((recovery,)), digest)
    except Exception:  # coincurve raises bare Exception when there is no such point
        raise SignatureInvalid(
            "signature.invalid", "no key made the wallet's signature: there is no such point"
        ) from None
    return keccak256(point)[12:]


def checksum_address(address: bytes) -> str:
    """``0x`` and 40 digits in the mixed case of EIP-55.

    Raises:
        EncodingError: ``evm.address_malformed``, not 20 bytes.
    """
    if len(address) != ADDRESS_BYTES:
        raise EncodingError(
            "evm.address_malformed", f"an address has {len(address)} bytes instead of 20"
        )
    digits = bytes(address).hex()
    marks = keccak256(digits.encode()).hex()
    return "0x" + "".join(
        digit.upper() if mark >= "8" else digit for digit, mark in zip(digits, marks, strict=False)
    )


def parse_address(text: str) -> bytes:
    """The 20 bytes of an address: all lower case, all upper case, or a right EIP-55 checksum.

    Raises:
        EncodingError: ``evm.address_malformed``, another form, or mixed case that does not check.
    """
    if type(text) is not str or not _ADDRESS.fullmatch(text):
        raise EncodingError(
            "evm.address_malformed",
            "an address is not 0x and 40 hexadecimal digits",
            hint="copy it from the wallet, not from its name",
        )
    address, digits = bytes.fromhex(text[2:]), text[2:]
    if digits not in (digits.lower(), digits.upper()) and checksum_address(address) != text:
        raise EncodingError(
            "evm.address_malformed",
            f"the capitals of the address {text} do not check (EIP-55)",
            hint="copy the address again: a digit is wrong",
        )
    return address
