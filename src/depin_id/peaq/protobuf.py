"""Protocol Buffers (proto3), as far as peaq's documents need it: texts and messages in fields.

Strict: fields in ascending order, lengths in their shortest form, no field that is not known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NoReturn

from depin_id.errors import EncodingError

_LENGTH_DELIMITED: Final = 2
_MAX_LENGTH_BYTES: Final = 4


def refuse(what: str) -> NoReturn:
    """Say what is wrong."""
    raise EncodingError("peaq.document_malformed", what, hint="peaq ID documents, generation A")


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def write(fields: Iterable[tuple[int, bytes | str]]) -> bytes:
    """Fields (number, content) in the order given, all of wire type 2."""
    found = []
    for number, content in fields:
        data = content.encode() if isinstance(content, str) else content
        found += [_varint(number << 3 | _LENGTH_DELIMITED), _varint(len(data)), data]
    return b"".join(found)


def read(data: bytes, known: int) -> Iterator[tuple[int, bytes]]:
    """Fields (number, content) of a message that has the fields 1 to ``known``.

    Raises:
        EncodingError: ``peaq.document_malformed``.
    """
    at, last = 0, 0
    while at < len(data):
        tag = data[at]
        number = tag >> 3
        if tag & 7 != _LENGTH_DELIMITED or not 1 <= number <= known:
            refuse(f"a field of a kind that peaq's documents have not (tag {tag:#04x})")
        if number < last:
            refuse(f"field {number} stands after field {last}")
        length, at = _length(data, at + 1)
        if length > len(data) - at:
            refuse("the document ends inside a field")
        yield number, data[at : at + length]
        at, last = at + length, number


def _length(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift, byte in enumerate(data[at : at + _MAX_LENGTH_BYTES]):
        value |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            if shift and not byte:
                refuse("a length is not in its shortest form")
            return value, at + shift + 1
    refuse("a length does not end")


def text(data: bytes, what: str, limit: int) -> str:
    """A text of 1 to ``limit`` bytes of printable UTF-8.

    Raises:
        EncodingError: ``peaq.document_malformed``.
    """
    if not 1 <= len(data) <= limit:
        refuse(f"{what} has {len(data)} bytes: 1 to {limit} are read")
    try:
        found = data.decode()
    except UnicodeDecodeError:
        refuse(f"{what} is not UTF-8")
    if not found.isprintable():
        refuse(f"{what} holds characters that do not print")
    return found
