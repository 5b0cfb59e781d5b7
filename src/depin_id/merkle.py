"""The Merkle tree of RFC 6962 section 2.1, as much of it as signing many things at once needs.

Leaves and nodes are hashed with different prefixes, so no node can be shown as a leaf.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

MAX_PATH: Final = 64
"""Hashes in the longest path looked at: a tree of 2^64 leaves."""


def leaf_hash(data: bytes) -> bytes:
    """SHA-256 of 0x00 and the data."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256 of 0x01 and two hashes."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """All levels of a tree, in memory: 64 bytes of hashes a leaf.

    Args:
        leaves: their hashes (:func:`leaf_hash`), at least one is needed for a proof.
    """

    def __init__(self, leaves: Sequence[bytes]) -> None:
        self._levels = [list(leaves)]
        while len(level := self._levels[-1]) > 1:
            above = [node_hash(*level[i : i + 2]) for i in range(0, len(level) - 1, 2)]
            # The last of an odd number moves up as it is: the left part stays a whole tree.
            self._levels.append(above + level[2 * len(above) :])

    def __len__(self) -> int:
        return len(self._levels[0])

    @property
    def root(self) -> bytes:
        """The root; of no leaves the hash of nothing (RFC 6962)."""
        return self._levels[-1][0] if self._levels[-1] else hashlib.sha256().digest()

    def path(self, index: int) -> list[bytes]:
        """The inclusion path of a leaf, from below. Raises IndexError beyond the leaves."""
        if not 0 <= index < len(self):
            raise IndexError(f"leaf {index} of {len(self)}")
        found = []
        for level in self._levels[:-1]:
            if index ^ 1 < len(level):
                found.append(level[index ^ 1])
            index >>= 1
        return found


def root_of(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """The root that a leaf and its path lead to (RFC 9162 section 2.1.3.2).

    Args:
        leaf: its hash.
        index, size: where it stands, in how many leaves.
        path: hashes of 32 bytes, from below.

    Returns:
        The root, or None when the path cannot be one of that place.
    """
    if not 0 <= index < size or len(path) > MAX_PATH:
        return None
    last, found = size - 1, leaf
    for sibling in path:
        if last == 0:
            return None
        if index & 1 or index == last:
            found = node_hash(sibling, found)
            while not index & 1 and index:
                index, last = index >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        index, last = index >> 1, last >> 1
    return found if last == 0 else None
