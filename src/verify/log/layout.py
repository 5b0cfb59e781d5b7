"""Names and encodings of the files of a tiled log (c2sp.org/tlog-tiles)."""

from __future__ import annotations

from collections.abc import Iterable

from depin_id.errors import LogError
from verify.log.merkle import HASH_SIZE, MAX_TREE_SIZE

TILE_WIDTH = 256
TILE_BYTES = TILE_WIDTH * HASH_SIZE
MAX_LEVEL = 63
MAX_ENTRY_BYTES = 0xFFFF
MAX_BUNDLE_BYTES = TILE_WIDTH * (MAX_ENTRY_BYTES + 2)
ENTRIES = -1  # the "level" of entry bundles, below the leaf hashes


def tile_path(level: int, index: int, width: int = TILE_WIDTH) -> str:
    """Path of a tile, relative to the log.

    Args:
        level: 0 for leaf hashes, up to 63; ``ENTRIES`` for entry bundles.
        index: index of the tile in its level.
        width: hashes (entries) in it; below 256 for a partial tile.

    Raises:
        LogError: ``log.tile`` when a number is out of its range.
    """
    if not ENTRIES <= level <= MAX_LEVEL:
        raise LogError("log.tile", f"level {level} is not between 0 and {MAX_LEVEL}")
    if not 0 <= index <= MAX_TREE_SIZE:
        raise LogError("log.tile", f"{index} is not the index of a tile")
    if not 0 < width <= TILE_WIDTH:
        raise LogError("log.tile", f"a tile is 1 to {TILE_WIDTH} wide, not {width}")
    index, last = divmod(index, 1000)
    name = f"{last:03d}"
    while index:
        index, part = divmod(index, 1000)
        name = f"x{part:03d}/{name}"
    suffix = "" if width == TILE_WIDTH else f".p/{width}"
    return f"tile/{'entries' if level == ENTRIES else level}/{name}{suffix}"


def tile_widths(size: int) -> list[tuple[int, int]]:
    """The right edge of a tree: (full tiles, width of the partial tile) of each level.

    Args:
        size: number of leaves.

    Returns:
        One pair a level from level 0, until a level has nothing.
    """
    edge: list[tuple[int, int]] = []
    while size:
        edge.append(divmod(size, TILE_WIDTH))
        size //= TILE_WIDTH
    return edge


def encode_bundle(entries: Iterable[bytes]) -> bytes:
    """Entries as a bundle: each after its length as a big-endian uint16.

    Raises:
        LogError: ``log.entry`` when an entry is longer than 65,535 bytes.
    """
    parts: list[bytes] = []
    for entry in entries:
        if len(entry) > MAX_ENTRY_BYTES:
            raise LogError("log.entry", f"an entry of {len(entry)} bytes, the limit is 65535")
        parts.append(len(entry).to_bytes(2, "big"))
        parts.append(entry)
    return b"".join(parts)


def decode_bundle(data: bytes, count: int) -> list[bytes]:
    """The entries of a bundle.

    Args:
        data: the bundle.
        count: how many entries it must have, at most 256.

    Raises:
        LogError: ``log.tile`` when it is cut off, or has fewer or more entries.
    """
    entries: list[bytes] = []
    position = 0
    while position < len(data):
        start = position + 2
        position = start + int.from_bytes(data[position:start], "big")
        if start > len(data) or position > len(data):
            raise LogError("log.tile", f"the bundle is cut off in entry {len(entries)}")
        if len(entries) == count:
            raise LogError("log.tile", f"the bundle has more than {count} entries")
        entries.append(data[start:position])
    if len(entries) != count:
        raise LogError("log.tile", f"the bundle has {len(entries)} entries, expected {count}")
    return entries


def bundle_prefix(data: bytes, count: int) -> bytes:
    """The bytes of the first ``count`` entries of a bundle.

    Raises:
        LogError: ``log.tile`` when it has fewer.
    """
    position = 0
    for number in range(count):
        start = position + 2
        position = start + int.from_bytes(data[position:start], "big")
        if start > len(data) or position > len(data):
            raise LogError("log.tile", f"the bundle has only {number} whole entries of {count}")
    return data[:position]


def tile_prefix(level: int, data: bytes, width: int) -> bytes:
    """The first ``width`` hashes of a tile, or entries of a bundle, as bytes.

    Raises:
        LogError: ``log.tile`` when it has fewer.
    """
    if level == ENTRIES:
        return bundle_prefix(data, width)
    if len(data) < width * HASH_SIZE:
        raise LogError("log.tile", f"the tile has {len(data)} bytes, {width} hashes are needed")
    return data[: width * HASH_SIZE]
