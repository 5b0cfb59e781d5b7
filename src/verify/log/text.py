"""Strict reading of the small pieces of text that C2SP formats are made of."""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as Base64Error

from depin_id.errors import LogError

MAX_DECIMAL = 2**63 - 1


def encode_base64(value: bytes) -> str:
    """Standard base64 with padding (RFC 4648 section 4)."""
    return b64encode(value).decode("ascii")


def decode_base64(text: str, code: str, what: str) -> bytes:
    """Bytes of standard base64, in its one canonical spelling.

    Raises:
        LogError: ``code`` when the text is another spelling, or no base64 at all.
    """
    try:
        value = b64decode(text.encode("ascii"), validate=True)
    except (Base64Error, ValueError):
        raise LogError(code, f"{what} is not base64") from None
    if encode_base64(value) != text:
        raise LogError(code, f"{what} is not base64 in its canonical spelling")
    return value


def decode_hash(text: str, code: str, what: str) -> bytes:
    """A SHA-256 hash in base64.

    Raises:
        LogError: ``code`` when it is not exactly 32 bytes of canonical base64.
    """
    value = decode_base64(text, code, what)
    if len(value) != 32:
        raise LogError(code, f"{what} is {len(value)} bytes long, a hash is 32")
    return value


def decode_decimal(text: str, code: str, what: str) -> int:
    """A number in ASCII decimal without leading zeros, below 2**63.

    Raises:
        LogError: ``code`` when it is anything else.
    """
    if not (text.isascii() and text.isdigit()) or len(text) > 19 or (text[0] == "0" != text):
        raise LogError(code, f"{what} is not a decimal number without leading zeros")
    value = int(text)
    if value > MAX_DECIMAL:
        raise LogError(code, f"{what} is larger than {MAX_DECIMAL}")
    return value


def decode_text(data: bytes | str, limit: int, code: str, what: str) -> str:
    """Text of at most ``limit`` bytes of UTF-8 without control characters except newlines.

    Raises:
        LogError: ``code`` when it is longer, not UTF-8, or has control characters.
    """
    try:
        encoded = data.encode("utf-8") if isinstance(data, str) else bytes(data[: limit + 1])
        if len(encoded) > limit:
            raise LogError(code, f"{what} is longer than {limit} bytes")
        text = encoded.decode("utf-8")
    except UnicodeError:
        raise LogError(code, f"{what} is not UTF-8") from None
    if any(char < " " and char != "\n" for char in text):
        raise LogError(code, f"{what} has control characters")
    return text
