"""A strict reader of DER (X.690): one encoding of a value, nothing behind it, no recursion.

Only the types that key descriptions are made of. Tags above 30 and context classes are read as
they come; whoever reads a value says what it has to be.
"""

from __future__ import annotations

from typing import Final, NamedTuple, NoReturn

from depin_id.errors import EncodingError

MAX_ITEMS: Final = 128
"""Bound on the items of one sequence or set."""
MAX_TAG: Final = 16_383
_BOOLEAN, _INTEGER, _OCTETS, _NULL, _ENUMERATED = 0x01, 0x02, 0x04, 0x05, 0x0A
_SEQUENCE, _SET = 0x30, 0x31
_EXPLICIT: Final = 0xA0


class Item(NamedTuple):
    """One value.

    Attributes:
        kind: its first byte without the number where that is context specific (``0xA0``),
            otherwise the whole first byte.
        number: of a context-specific tag; 0 otherwise.
        content: its bytes.
    """

    kind: int
    number: int
    content: bytes


def read_items(data: bytes) -> list[Item]:
    """All items that follow one another in some bytes, to the last byte.

    Raises EncodingError ``encoding.malformed``.
    """
    found: list[Item] = []
    start, end = 0, len(data)
    while start < end:
        if len(found) >= MAX_ITEMS:
            malformed("too many items")
        item, start = _read(data, start, end)
        found.append(item)
    return found


def read_one(data: bytes) -> Item:
    """The one item that some bytes are."""
    item, end = _read(data, 0, len(data))
    if end != len(data):
        malformed("not one item")
    return item


def sequence(item: Item, size: int | None = None) -> list[Item]:
    """The items of a SEQUENCE, as many as are asked for."""
    if item.kind != _SEQUENCE:
        malformed("not a SEQUENCE")
    found = read_items(item.content)
    if size is not None and len(found) != size:
        malformed(f"a SEQUENCE of {len(found)} instead of {size}")
    return found


def set_of(item: Item) -> list[Item]:
    """The items of a SET OF. Their order is not looked at: devices do not sort them."""
    if item.kind != _SET:
        malformed("not a SET")
    return read_items(item.content)


def explicit(item: Item) -> Item:
    """What an explicit context tag is around."""
    if item.kind != _EXPLICIT:
        malformed("not an explicit tag")
    return read_one(item.content)


def integer(item: Item, kind: int = _INTEGER) -> int:
    """An INTEGER from 0 to 2^64 - 1."""
    content = item.content
    if item.kind != kind or not 0 < len(content) <= 9:
        malformed("not an integer of 64 bits")
    if len(content) > 1 and content[0] == 0 and content[1] < 0x80:
        malformed("an integer that is longer than it needs to be")
    if content[0] >= 0x80 or len(content) == 9 and content[0]:
        malformed("an integer below 0 or above 64 bits")
    return int.from_bytes(content, "big")


def enumerated(item: Item) -> int:
    """An ENUMERATED, from 0."""
    return integer(item, _ENUMERATED)


def boolean(item: Item) -> bool:
    """A BOOLEAN: 00 or FF (X.690 section 11.1)."""
    if item.kind != _BOOLEAN or item.content not in (b"\x00", b"\xff"):
        malformed("not a BOOLEAN of 00 or FF")
    return item.content == b"\xff"


def null(item: Item) -> bool:
    """A NULL: that it is there says yes."""
    if item.kind != _NULL or item.content:
        malformed("not a NULL")
    return True


def octets(item: Item) -> bytes:
    """An OCTET STRING."""
    if item.kind != _OCTETS:
        malformed("not an OCTET STRING")
    return item.content


def malformed(what: str) -> NoReturn:
    """Raise EncodingError ``encoding.malformed``."""
    raise EncodingError("encoding.malformed", what)


def _read(data: bytes, start: int, end: int) -> tuple[Item, int]:
    if start >= end:
        malformed("nothing")
    first = data[start]
    kind, number, start = first, 0, start + 1
    if first & 0x80:
        kind, number = first & 0xE0, first & 0x1F
        if number == 0x1F:
            number, start = _long_tag(data, start, end)
    elif first & 0x1F == 0x1F:
        malformed("a universal tag above 30")
    if start >= end:
        malformed("cut off")
    size, start = data[start], start + 1
    if size >= 0x80:
        size, start = _long_size(data, start, end, size & 0x7F)
    stop = start + size
    if stop > end:
        malformed("longer than what holds it")
    return Item(kind, number, data[start:stop]), stop


def _long_tag(data: bytes, start: int, end: int) -> tuple[int, int]:
    number = 0
    for offset in range(start, min(end, start + 2)):
        byte = data[offset]
        number = number << 7 | byte & 0x7F
        if not number:
            malformed("a tag that begins with 0")
        if byte < 0x80:
            if number < 0x1F:
                malformed("a tag that is longer than it needs to be")
            return number, offset + 1
    malformed(f"a tag above {MAX_TAG}, or cut off")


def _long_size(data: bytes, start: int, end: int, width: int) -> tuple[int, int]:
    if not 1 <= width <= 3 or start + width > end:
        malformed("a length that is indefinite, too large or cut off")
    size = int.from_bytes(data[start : start + width], "big")
    if size < 0x80 or size < 1 << 8 * (width - 1):
        malformed("a length that is longer than it needs to be")
    return size, start + width
