"""Regular expressions for items of deterministic CBOR (RFC 8949 section 4.2.1).

What they match is one item, whole and in its only form: bytes that are matched from end to end are
the one encoding of what they hold, so a reader that uses them needs no second look.
"""

from __future__ import annotations

from typing import Final

_MAX_SHORT: Final = 23

SHORT_TEXT: Final = b"(?:%s)" % b"|".join(
    rb"%s[!-~]{%d}" % (bytes((0x60 + size,)), size) for size in range(1, _MAX_SHORT + 1)
)
"""Text of 1 to 23 visible ASCII characters, its length in the head."""

INTEGER: Final = (
    rb"(?:[\x00-\x17\x20-\x37]|[\x18\x38][\x18-\xff]|[\x19\x39](?!\x00)[\x00-\xff]{2}"
    rb"|[\x1a\x3a](?!\x00\x00)[\x00-\xff]{4}|[\x1b\x3b](?!\x00\x00\x00\x00)[\x00-\xff]{8})"
)
"""An integer of 64 bits: the bytes of a longer argument do not all fit the next shorter one."""

NUMBER: Final = rb"(?:\xc4\x82[\x00-\x12\x20-\x31]%s|%s)" % (INTEGER, INTEGER)
"""An integer, or a decimal fraction (tag 4) with an exponent from -18 to 18."""


def read_integer(data: bytes, at: int) -> tuple[int, int]:
    """An integer that was matched, and where it ends."""
    first = data[at]
    info = first & 31
    at += 1
    if info < 24:
        argument = info
    else:
        end = at + (1 << (info - 24))
        argument = int.from_bytes(data[at:end], "big")
        at = end
    return (argument if first < 0x20 else -1 - argument), at


def read_number(data: bytes, at: int = 0) -> tuple[int, int]:
    """Mantissa and exponent, as they are written, of a number that was matched."""
    if data[at] != 0xC4:
        return read_integer(data, at)[0], 0
    exponent, at = read_integer(data, at + 2)
    return read_integer(data, at)[0], exponent
