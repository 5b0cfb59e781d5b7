"""The key of one device and month: it salts commitments and seals stored envelopes.

Destroying it is what forgetting means: commitments can no longer be tied to content, nor sealed
bytes be read (docs/protocol.md, commitments).
"""

from __future__ import annotations

import hashlib
import hmac

from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
)
from nacl.exceptions import CryptoError

from depin_id.errors import StateError

_NONCE = 24


def commitment(salt: bytes, content: bytes) -> bytes:
    """SHA-256(salt || content): says nothing about `content` to those without `salt` (32 bytes)."""
    return hashlib.sha256(salt + content).digest()


class DataKey:
    """A secret of 32 bytes and what is derived from it.

    Raises:
        StateError: ``state.argument`` for another length.
    """

    __slots__ = ("_nonce", "_salt", "_seal")

    def __init__(self, secret: bytes) -> None:
        if len(secret) != 32:
            raise StateError(
                "state.argument", f"a data key has 32 bytes, not {len(secret)}", hint="check it"
            )
        self._salt = hmac.digest(secret, b"depin-salt/1", "sha256")
        self._seal = hmac.digest(secret, b"depin-seal/1", "sha256")
        self._nonce = hmac.digest(secret, b"depin-nonce/1", "sha256")

    def __repr__(self) -> str:
        return "DataKey(...)"

    def salt(self, index: int) -> bytes:
        """The salt (32 bytes) of the commitments of log entry `index`; it opens only that leaf."""
        return hmac.digest(self._salt, _u64(index), "sha256")

    def seal(self, index: int, plaintext: bytes) -> bytes:
        """Encrypts what entry `index` stores: nonce (24 bytes), ciphertext, tag (16 bytes).

        The nonce is a keyed digest of index and plaintext. One of the index alone would be used
        for two plaintexts when a batch that failed, or was lost with the disk it was on, is
        replaced by another at the same indices.
        """
        aad = _u64(index)
        nonce = hashlib.blake2b(aad + plaintext, digest_size=_NONCE, key=self._nonce).digest()
        return nonce + crypto_aead_xchacha20poly1305_ietf_encrypt(plaintext, aad, nonce, self._seal)

    def open(self, index: int, sealed: bytes) -> bytes:
        """The inverse of :meth:`seal`.

        Raises:
            StateError: ``state.sealed`` for changed bytes, another index or another key.
        """
        try:
            return crypto_aead_xchacha20poly1305_ietf_decrypt(
                sealed[_NONCE:], _u64(index), sealed[:_NONCE], self._seal
            )
        except (CryptoError, ValueError, TypeError) as error:
            raise StateError(
                "state.sealed",
                f"the sealed bytes of entry {index} do not open with this key",
                hint="the entry was changed, or it belongs to another device, month or index",
            ) from error


def _u64(index: int) -> bytes:
    try:
        return index.to_bytes(8, "big")
    except OverflowError as error:
        raise StateError(
            "state.argument", f"{index} is not the index of an entry", hint="0 <= index < 2**64"
        ) from error
