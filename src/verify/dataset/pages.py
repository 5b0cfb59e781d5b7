"""The page headers of a Parquet file, read before pyarrow is let near its pages.

What the footer says of sizes is a claim; a page's own header decides how much a reader allocates.
A few bytes of run lengths can stand for billions of values. So every header is read here first, in
the compact protocol of Thrift, and held against bounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, BinaryIO

from depin_id.errors import DatasetError

MAX_HEADER = 16 << 10
_DATA_PAGE, _DICTIONARY_PAGE = 0, 2
_PLAIN, _PLAIN_DICTIONARY, _RLE, _RLE_DICTIONARY = 0, 2, 3, 8
# Encodings that share bytes between values could make a little data into very much.
_ENCODINGS = {_PLAIN, _PLAIN_DICTIONARY, _RLE, _RLE_DICTIONARY}
_MAX_DEPTH = 4


@dataclass(frozen=True, slots=True)
class ChunkBounds:
    """What a column chunk may hold.

    Attributes:
        uncompressed: bytes of all its pages.
        values: number of values it has; for a list the most it may have.
        exact: whether it must have exactly so many.
        dictionary: whether it may have a dictionary page.
    """

    uncompressed: int
    values: int
    exact: bool
    dictionary: bool


def check_chunk(file: BinaryIO, start: int, size: int, bounds: ChunkBounds, name: str) -> None:
    """Walk over the pages of a column chunk.

    Args:
        file: the Parquet file.
        start, size: where the chunk is, in bytes.
        bounds: what it may hold.
        name: of the column, for messages.

    Raises:
        DatasetError: ``dataset.corrupt``.
    """
    end = start + size
    total = values = 0
    at = start
    while at < end:
        file.seek(at)
        header, length = _read_header(file.read(min(MAX_HEADER, end - at)), name)
        kind, plain, packed = (header.get(field) for field in (1, 2, 3))
        if type(plain) is not int or type(packed) is not int or min(plain, packed) < 0:
            raise _wrong(name, "has a page without a size")
        if packed == 0 and plain:
            raise _wrong(name, "has an empty page that claims content")
        total += plain
        values += _check_kind(kind, header, bounds, first=at == start, name=name)
        at += length + packed
        if total > bounds.uncompressed or values > bounds.values:
            raise _wrong(name, "holds more than its footer says")
    if at != end or (bounds.exact and values != bounds.values):
        raise _wrong(name, "holds less than its footer says, or ends inside a page")


def _check_kind(
    kind: Any, header: dict[int, Any], bounds: ChunkBounds, *, first: bool, name: str
) -> int:
    """Number of values of a page; 0 for a dictionary."""
    if kind == _DICTIONARY_PAGE and first and bounds.dictionary:
        inner, count = header.get(7), 0
    elif kind == _DATA_PAGE:
        inner, count = header.get(5), None
    else:
        raise _wrong(name, f"has a page of a kind that is not written here ({kind})")
    if not isinstance(inner, dict) or type(inner.get(1)) is not int or inner[1] < 0:
        raise _wrong(name, "has a page without a number of values")
    if inner.get(2) not in _ENCODINGS or inner[1] > max(bounds.values, 1):
        raise _wrong(name, "has a page with an encoding or a count that is not written here")
    return int(inner[1]) if count is None else count


def _wrong(name: str, what: str) -> DatasetError:
    return DatasetError("dataset.corrupt", f"the column {name} {what}")


class _Cut(Exception):
    """The header is not whole, or not a header."""


def _read_header(data: bytes, name: str) -> tuple[dict[int, Any], int]:
    reader = _Thrift(data)
    try:
        header = reader.struct(_MAX_DEPTH)
    except (_Cut, IndexError) as error:
        raise _wrong(name, "has a page header that cannot be read") from error
    return header, reader.at


class _Thrift:
    """Reads a struct of Thrift's compact protocol: integers, booleans, binaries and structs."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def byte(self) -> int:
        value = self.data[self.at]
        self.at += 1
        return value

    def varint(self) -> int:
        result = 0
        for shift in range(0, 70, 7):
            byte = self.byte()
            result |= (byte & 0x7F) << shift
            if byte < 0x80:
                return result
        raise _Cut

    def integer(self) -> int:
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def binary(self) -> bytes:
        size = self.varint()
        if size > len(self.data) - self.at:
            raise _Cut
        self.at += size
        return self.data[self.at - size : self.at]

    def struct(self, depth: int) -> dict[int, Any]:
        if depth < 0:
            raise _Cut
        fields: dict[int, Any] = {}
        number = 0
        while True:
            head = self.byte()
            if head == 0:
                return fields
            delta, kind = head >> 4, head & 15
            number = number + delta if delta else self.integer()
            if number in fields:
                raise _Cut
            fields[number] = self.value(kind, depth)

    def value(self, kind: int, depth: int) -> Any:
        if kind in (1, 2):
            return kind == 1
        if kind in (4, 5, 6):
            return self.integer()
        if kind == 8:
            return self.binary()
        if kind == 12:
            return self.struct(depth - 1)
        raise _Cut
