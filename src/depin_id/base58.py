"""base58btc, as multikeys, proof values and did:webvh hashes are written."""

from __future__ import annotations

from typing import Final

from depin_id.errors import EncodingError

MAX_LENGTH: Final = 1024
"""The longest text looked at; it takes time in the square of its length."""
_ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_NONE: Final = 255
_DIGITS: Final = bytes(_ALPHABET.find(chr(byte)) % 256 for byte in range(256))
"""The digit of each ASCII character; ``_NONE`` where it is none."""
# Digits of a byte each become digits of two bytes, of four, and so on: all neighbours are put
# together in one step, with lanes wide enough for what comes of it (58^n < 256^n). A left neighbour
# counts 256^n where it is to count 58^n: what is too much is taken away.
_LANES: Final = [
    (
        8 << step,
        int.from_bytes(
            (bytes(1 << step) + b"\xff" * (1 << step)) * (MAX_LENGTH >> step + 1), "big"
        ),
        (1 << (8 << step)) - 58 ** (1 << step),
    )
    for step in range(10)
]
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
    try:
        digits = text.encode("ascii").translate(_DIGITS)
    except UnicodeEncodeError:
        digits = bytes([_NONE])
    if _NONE in digits:
        raise EncodingError("base58.malformed", "a character that base58btc has not")
    number = int.from_bytes(digits, "big")
    for width, lower, less in _LANES:
        if width >= 8 * len(digits):
            break
        number -= (number >> width & lower) * less
    zeros = len(text) - len(text.lstrip("1"))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")
