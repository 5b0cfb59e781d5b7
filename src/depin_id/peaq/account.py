"""Accounts of the Substrate side: SS58 texts, and the account that an EVM address has there."""

from __future__ import annotations

import hashlib
from typing import Final

from depin_id import base58
from depin_id.errors import DepinError, EncodingError

GENERIC: Final = 42
"""The address type that peaq writes."""
ACCOUNT_BYTES: Final = 32
_CHECKSUM_BYTES: Final = 2
_MAX_TEXT: Final = 64


def _checksum(data: bytes) -> bytes:
    return hashlib.blake2b(b"SS58PRE" + data).digest()[:_CHECKSUM_BYTES]


def encode_ss58(account: bytes, *, network: int = GENERIC) -> str:
    """The SS58 text of a 32-byte account.

    Args:
        account: the account, or a public key.
        network: address type, 0 to 63.

    Raises:
        EncodingError: ``peaq.account_malformed``.
    """
    if len(account) != ACCOUNT_BYTES or not 0 <= network < 64:
        raise EncodingError(
            "peaq.account_malformed", "an account is 32 bytes, its address type below 64"
        )
    data = bytes((network,)) + account
    return base58.encode(data + _checksum(data))


def decode_ss58(text: str, *, network: int = GENERIC) -> bytes:
    """The 32-byte account of an SS58 text of one address type.

    Raises:
        EncodingError: ``peaq.account_malformed``.
    """
    try:
        data = base58.decode(text) if type(text) is str and len(text) <= _MAX_TEXT else b""
    except DepinError:
        data = b""
    account = data[1:-_CHECKSUM_BYTES]
    if (
        len(account) != ACCOUNT_BYTES
        or data[0] != network
        or data[-_CHECKSUM_BYTES:] != _checksum(data[:-_CHECKSUM_BYTES])
    ):
        raise EncodingError(
            "peaq.account_malformed",
            f"not an SS58 account of type {network}, or its checksum is wrong",
            hint="copy the address again",
        )
    return account


def substrate_account(address: bytes) -> bytes:
    """The account that stands for an EVM address on the Substrate side, 32 bytes.

    Raises:
        EncodingError: ``evm.address_malformed``, not 20 bytes.
    """
    if len(address) != 20:
        raise EncodingError(
            "evm.address_malformed", f"an address has {len(address)} bytes instead of 20"
        )
    return hashlib.blake2b(b"evm:" + address, digest_size=ACCOUNT_BYTES).digest()
