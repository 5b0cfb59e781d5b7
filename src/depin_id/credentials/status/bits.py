"""Lists of small numbers, packed as the two standards pack them, and looked up without unpacking.

Bitstring Status List 1.0 counts bits from the left of each byte, Token Status List from the right.
Both are turned into one byte for each entry, once, so that a look-up is one subscript.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Final, Literal, NoReturn

from depin_id.errors import CredentialError

Order = Literal["left", "right"]
MAX_SIZE: Final = 8
"""Bits of one entry, at most; Bitstring Status List names no bound, Token Status List has 8."""
MAX_PACKED: Final = 1 << 21
"""Bytes that a list may have when it is decompressed: 16,777,216 entries of one bit."""
MAX_COMPRESSED: Final = 1 << 21
_GZIP, _ZLIB = 31, 15
_REVERSED: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_BITS: Final = bytes.maketrans(b"01", b"\x00\x01")


def malformed(what: str) -> NoReturn:
    """Raise CredentialError ``status.malformed``."""
    raise CredentialError("status.malformed", what)


def check_size(size: object) -> int:
    """Bits of an entry, 1 to 8. Raises CredentialError ``status.malformed``."""
    if type(size) is not int or not 1 <= size <= MAX_SIZE:
        malformed(f"an entry has {str(size)[:20]} bits; 1 to {MAX_SIZE} are taken")
    return size


class StatusList:
    """The entries of a list; they do not change.

    Args:
        packed: the bytes, decompressed.
        size: bits of an entry, 1 to 8.
        order: which bit of a byte comes first, ``left`` (Bitstring Status List) or ``right``
            (Token Status List).

    Attributes:
        table: one byte for each entry. What indexes it directly checks the bounds itself: a
            negative index counts from the end.

    Raises:
        CredentialError: ``status.malformed``, no such size.
    """

    __slots__ = ("size", "table")

    def __init__(self, packed: bytes, size: int = 1, order: Order = "left") -> None:
        self.size = check_size(size)
        self.table = _unpack(bytes(packed), size, order)

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> int:
        """The number at an index from 0. Raises CredentialError ``status.index`` for no such."""
        if index >= 0:
            try:
                return self.table[index]
            except IndexError:
                pass
        raise CredentialError("status.index", f"there is no entry {index} of {len(self.table)}")

    def statuses(self, indices: Iterable[int]) -> bytes:
        """The numbers at many indices, one byte each. Raises as a single look-up does."""
        listed = indices if isinstance(indices, list | tuple | range) else list(indices)
        if not listed:
            return b""
        for bound in (min(listed), max(listed)):
            self[bound]
        return bytes(map(self.table.__getitem__, listed))

    def pack(self, order: Order) -> bytes:
        """The packed form; the last byte is filled up with zeros."""
        return pack(self.table, self.size, order)


def _unpack(packed: bytes, size: int, order: Order) -> bytes:
    if size == 8 or not packed:
        return packed
    if order == "right":
        packed = packed.translate(_REVERSED)
    # A one before it keeps the zeros at the beginning.
    digits = bin(int.from_bytes(b"\x01" + packed, "big"))[3:]
    bits = digits.encode("ascii").translate(_BITS)
    if size == 1:
        return bits
    count = len(bits) // size
    total = 0
    for place in range(size):
        plane = bits[place : count * size : size]
        # Bits do not carry from one byte to the next: sums of planes are done on whole numbers.
        weight = place if order == "right" else size - 1 - place
        total += int.from_bytes(plane, "big") << weight
    return total.to_bytes(count, "big")


def pack(table: bytes, size: int, order: Order) -> bytes:
    """Pack numbers, one byte each. Raises CredentialError ``status.malformed``."""
    check_size(size)
    if table and max(table) >> size:
        malformed(f"a status does not fit {size} bits")
    if size == 8 or not table:
        return bytes(table)
    digits = bytearray(b"0") * (-(-len(table) * size // 8) * 8)
    for place in range(size):
        weight = place if order == "right" else size - 1 - place
        plane = bytes(0x30 | (value >> weight & 1) for value in range(256))
        digits[place : len(table) * size : size] = bytes(table).translate(plane)
    packed = int(digits, 2).to_bytes(len(digits) // 8, "big")
    return packed.translate(_REVERSED) if order == "right" else packed


def _inflate(data: bytes, window: int, max_bytes: int, name: str) -> bytes:
    if len(data) > MAX_COMPRESSED:
        raise CredentialError("status.too_large", f"the list has {len(data)} bytes compressed")
    machine = zlib.decompressobj(window)
    try:
        packed = machine.decompress(data, max_bytes + 1)
    except zlib.error:
        malformed(f"the list is not {name}")
    if len(packed) > max_bytes:
        raise CredentialError(
            "status.too_large",
            f"the list has more than {max_bytes} bytes when it is decompressed",
            hint="a list of sensible size is some hundred kilobytes",
        )
    if not machine.eof or machine.unused_data:
        malformed(f"the {name} data is cut off, or something follows it")
    return packed


def gunzip(data: bytes, *, max_bytes: int = MAX_PACKED) -> bytes:
    """Decompress GZIP (RFC 1952), one member, to at most ``max_bytes``.

    Raises:
        CredentialError: ``status.malformed``, ``status.too_large``.
    """
    return _inflate(data, _GZIP, max_bytes, "GZIP")


def inflate(data: bytes, *, max_bytes: int = MAX_PACKED) -> bytes:
    """Decompress ZLIB (RFC 1950) to at most ``max_bytes``; raises as :func:`gunzip`."""
    return _inflate(data, _ZLIB, max_bytes, "ZLIB")


def gzip(data: bytes) -> bytes:
    """Compress as GZIP, without a time: equal lists have equal bytes."""
    machine = zlib.compressobj(zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, _GZIP)
    return machine.compress(data) + machine.flush()


def deflate(data: bytes) -> bytes:
    """Compress as ZLIB at the highest level, as the draft recommends."""
    return zlib.compress(data, 9)
