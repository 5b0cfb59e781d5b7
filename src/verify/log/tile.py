"""One tile of a tree in memory, with the nodes above its hashes."""

from __future__ import annotations

from hashlib import sha256

from verify.log.merkle import HASH_SIZE

TILE_HEIGHT = 8


class Tile:
    """The hashes of one tile, and the nodes above them as far as they are complete."""

    def __init__(self, hashes: bytes = b"") -> None:
        self.rows: list[bytearray] = [bytearray() for _ in range(TILE_HEIGHT + 1)]
        self.extend(hashes)

    @property
    def width(self) -> int:
        """How many hashes the tile has, at most 256."""
        return len(self.rows[0]) // HASH_SIZE

    @property
    def hashes(self) -> bytes:
        """The hashes in one piece: the content of the tile's file."""
        return bytes(self.rows[0])

    def extend(self, hashes: bytes) -> None:
        """Append hashes (concatenated; the caller keeps to 256 in all)."""
        self.rows[0] += hashes
        for below, above in zip(self.rows, self.rows[1:], strict=False):
            start = len(above) * 2
            end = len(below) - len(below) % 64
            for position in range(start, end, 64):
                above += sha256(b"\x01" + below[position : position + 64]).digest()

    def node(self, height: int, position: int) -> bytes:
        """The node ``height`` rows above the hashes, ``position`` from the left in its row."""
        start = position * HASH_SIZE
        return bytes(self.rows[height][start : start + HASH_SIZE])


def split_size(count: int) -> int:
    """The largest power of two below ``count`` (RFC 6962 section 2.1), ``count`` >= 2."""
    return 1 << ((count - 1).bit_length() - 1)
