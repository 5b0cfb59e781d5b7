"""base58btc, as multikeys, proof values and did:webvh hashes are written."""

from __future__ import annotations

from typing import Final

from depin_id.errors import EncodingError

MAX_LENGTH: Final = 1024
"""The longest text looked at; it takes time in the square of its length."""
_ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_DIGITS: Final = {character: value for value, character in enumerate(_ALPHABET)}
_PAIRS: Final = [first + second for first in _ALPHABET for second in _ALPHABET]


def encode(data: bytes) -> str:
    """The text of bytes, without multibase prefix."""
    # Two digits a step: this is made for every device that a network has.
    number, found = int.from_bytes(data, "big"), []
    while number:
        number, pair = divmod(number, len(_PAIRS))
        found.append(_PAIRS[pair])
    zeros = len(data) - len(data.lstrip(b"\0"))
    return "1" * zeros + "".join(reversed(found)).lstrip("1")


def decode(text: str) -> bytes:
    """The bytes of a text, the inverse of :func:`encode`.

    Raises:
        EncodingError: ``base58.malformed``: another character, or over 1024 of them.
    """
    if len(text) > MAX_LENGTH:
        raise EncodingError("base58.malformed", f"over {MAX_LENGTH} characters of base58")
    number = 0
    try:
        for character in text:
            number = number * 58 + _DIGITS[character]
    except KeyError:
        raise EncodingError("base58.malformed", "a character that base58btc has not") from None
    zeros = len(text) - len(text.lstrip("1"))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")
