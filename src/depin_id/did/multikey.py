"""Multikey: a public key as multibase text (Controlled Identifiers 1.0 section 2.2.2)."""

from __future__ import annotations

from typing import Final, NoReturn

from multiformats import multicodec

from depin_id import base58
from depin_id.errors import DIDError, EncodingError
from depin_id.keys import Curve, PublicKey, admit

_CODECS: Final[dict[Curve, str]] = {"ed25519": "ed25519-pub", "p256": "p256-pub"}
_PREFIXES: Final = {curve: multicodec.wrap(codec, b"") for curve, codec in _CODECS.items()}
MAX_LENGTH: Final = 1024
"""The longest multikey looked at; base58 takes time in the square of its length."""


def encode_multikey(key: PublicKey) -> str:
    """``z6Mk...`` for Ed25519, ``zDna...`` for P-256 (base58btc, multicodec, compressed point)."""
    return "z" + base58.encode(_PREFIXES[key.curve] + key.raw)


def _malformed(message: str) -> NoReturn:
    raise DIDError(
        "did.malformed", f"the multikey {message}", hint="write z and base58btc, in one spelling"
    )


def _refuse_codec(wrapped: bytes) -> NoReturn:
    """Say what else it is."""
    try:
        codec, _ = multicodec.unwrap(wrapped)
    except (ValueError, KeyError, TypeError):
        _malformed("carries no registered multicodec")
    raise DIDError(
        "did.key_not_supported",
        f"a key of type {codec.name} cannot be used here",
        hint="use Ed25519 or P-256",
    )


def split_multikey(text: str) -> tuple[Curve, bytes]:
    """Curve and raw bytes as a multikey says them: the key is not admitted yet.

    Raises:
        DIDError: ``did.malformed``, or ``did.key_not_supported`` for a key of another type.
    """
    if type(text) is not str or not text.startswith("z") or not 2 <= len(text) <= MAX_LENGTH:
        _malformed(f"does not start with z, or has more than {MAX_LENGTH} characters")
    try:
        wrapped = base58.decode(text[1:])
    except EncodingError:
        _malformed("is not base58btc")
    for curve, prefix in _PREFIXES.items():
        if wrapped.startswith(prefix):
            return curve, wrapped[len(prefix) :]
    _refuse_codec(wrapped)


def decode_multikey(text: str, *, allow_published: bool = False) -> PublicKey:
    """The admitted key of a multikey in its one spelling.

    Args:
        text: ``z`` and base58btc.
        allow_published: take keys whose private half is published (test vectors only).

    Raises:
        DIDError: as :func:`split_multikey`.
        KeyRefused: ``key.not_admissible``.
    """
    curve, raw = split_multikey(text)
    key = admit(curve, raw, allow_published=allow_published)
    if encode_multikey(key) != text:
        _malformed("is not the canonical spelling of its key")
    return key
