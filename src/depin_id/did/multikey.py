"""Multikey: a public key as multibase text (Controlled Identifiers 1.0 section 2.2.2)."""

from __future__ import annotations

from typing import Final, NoReturn

from multiformats import multibase, multicodec

from depin_id.errors import DIDError
from depin_id.keys import PublicKey, admit

_CODECS: Final = {"ed25519": "ed25519-pub", "p256": "p256-pub"}
_CURVES: Final = {codec: curve for curve, codec in _CODECS.items()}
MAX_LENGTH: Final = 1024
"""The longest multikey looked at; base58 takes time in the square of its length."""


def encode_multikey(key: PublicKey) -> str:
    """``z6Mk...`` for Ed25519, ``zDna...`` for P-256 (base58btc, multicodec, compressed point)."""
    return multibase.encode(multicodec.wrap(_CODECS[key.curve], key.raw), "base58btc")


def _malformed(message: str) -> NoReturn:
    raise DIDError(
        "did.malformed", f"the multikey {message}", hint="write z and base58btc, in one spelling"
    )


def decode_multikey(text: str, *, allow_published: bool = False) -> PublicKey:
    """The admitted key of a multikey in its one spelling.

    Args:
        text: ``z`` and base58btc.
        allow_published: take keys whose private half is published (test vectors only).

    Raises:
        DIDError: ``did.malformed``, or ``did.key_not_supported`` for a key of another type.
        KeyRefused: ``key.not_admissible``.
    """
    if type(text) is not str or not text.startswith("z") or not 2 <= len(text) <= MAX_LENGTH:
        _malformed(f"does not start with z, or has more than {MAX_LENGTH} characters")
    try:
        wrapped = multibase.decode(text)
    except (ValueError, KeyError, TypeError):
        _malformed("is not base58btc")
    try:
        codec, raw = multicodec.unwrap(wrapped)
    except (ValueError, KeyError, TypeError):
        _malformed("carries no registered multicodec")
    curve = _CURVES.get(codec.name)
    if curve is None:
        raise DIDError(
            "did.key_not_supported",
            f"a key of type {codec.name} cannot be used here",
            hint="use Ed25519 or P-256",
        )
    key = admit(curve, raw, allow_published=allow_published)
    if encode_multikey(key) != text:
        _malformed("is not the canonical spelling of its key")
    return key
