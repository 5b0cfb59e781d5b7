"""RFC 6962 Merkle trees over SHA-256: hashing, and checking of proofs.

Everything here works on hashes of 32 bytes and knows nothing of files. Proofs are lists of hashes
as RFC 6962 sections 2.1.1 and 2.1.2 order them: from the leaf (or the old tree) up to the root.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from depin_id.errors import LogError

HASH_SIZE = 32
MAX_TREE_SIZE = 2**63 - 1
MAX_PROOF_HASHES = 128  # a consistency proof has at most one hash a level and one for the start
EMPTY_ROOT = sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    """The hash of a log entry, ``SHA-256(00 || entry)`` (RFC 6962 section 2.1)."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node, ``SHA-256(01 || left || right)`` (RFC 6962 section 2.1)."""
    return sha256(b"\x01" + left + right).digest()


def root_of(leaf_hashes: Sequence[bytes]) -> bytes:
    """The Merkle tree hash of leaf hashes (RFC 6962 section 2.1); of none, ``SHA-256("")``."""
    if not leaf_hashes:
        return EMPTY_ROOT
    row = list(leaf_hashes)
    while len(row) > 1:
        # An odd last hash moves up unchanged: the same tree as RFC 6962's largest power of two.
        above = [node_hash(row[i], row[i + 1]) for i in range(0, len(row) - 1, 2)]
        if len(row) % 2:
            above.append(row[-1])
        row = above
    return row[0]


def fold_right(hashes: Sequence[bytes]) -> bytes:
    """The root over perfect subtrees given from left (largest) to right (smallest)."""
    if not hashes:
        return EMPTY_ROOT
    root = hashes[-1]
    for left in reversed(hashes[:-1]):
        root = node_hash(left, root)
    return root


class Frontier:
    """A tree that only grows: one hash a level, so any number of leaves takes no room.

    Attributes:
        size: number of leaves.
    """

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[tuple[int, bytes]] = []

    def add(self, leaf: bytes) -> None:
        """Add the hash of a leaf, 32 bytes."""
        height, value = 0, leaf
        while self._peaks and self._peaks[-1][0] == height:
            value = node_hash(self._peaks.pop()[1], value)
            height += 1
        self._peaks.append((height, value))
        self.size += 1

    def root(self) -> bytes:
        """The root over all leaves so far."""
        return fold_right([peak for _, peak in self._peaks])


def verify_inclusion(
    index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes
) -> None:
    """Check that a leaf hash stands at ``index`` of the tree of ``size`` leaves with ``root``.

    Args:
        index: position of the leaf, from 0.
        size: number of leaves of the tree.
        leaf: leaf hash, 32 bytes.
        proof: sibling hashes from the leaf upwards, 32 bytes each (RFC 6962 section 2.1.1).
        root: the root that is trusted, 32 bytes.

    Raises:
        LogError: ``log.proof`` when it does not prove that.
    """
    _check_hash(root, "the root")
    if root_from_inclusion(index, size, leaf, proof) != root:
        raise LogError(
            "log.proof",
            f"the inclusion proof of leaf {index} does not lead to the root of size {size}",
            hint="the entry, the proof or the checkpoint is not from this log",
        )


def root_from_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes]) -> bytes:
    """The root that an inclusion proof leads to; whether it is the log's is for the caller to say.

    Raises:
        LogError: ``log.proof`` when the proof is none of a leaf at ``index`` of ``size``.
    """
    _check_size(size)
    if not _is_number(index) or index >= size:
        raise LogError("log.proof", f"index {index!r} is not in a tree of {size} leaves")
    _check_hash(leaf, "the leaf hash")
    _check_proof(proof)
    # Below `inner` the path has siblings on both sides; above it only left neighbours are left.
    inner = (index ^ (size - 1)).bit_length()
    border = (index >> inner).bit_count()
    _check_length(proof, inner + border)
    return _climb(leaf, proof, index, inner)


def verify_consistency(
    old_size: int, new_size: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes
) -> None:
    """Check that the tree of ``new_size`` leaves begins with the tree of ``old_size`` leaves.

    From size 0 an empty proof is accepted, as C2SP does (every tree begins with the empty one),
    provided that the old root is the empty tree's.

    Args:
        old_size: leaves of the old tree.
        new_size: leaves of the new tree.
        proof: hashes as in RFC 6962 section 2.1.2.
        old_root: root of the old tree, 32 bytes.
        new_root: root of the new tree, 32 bytes.

    Raises:
        LogError: ``log.proof`` when it does not prove that.
    """
    _check_size(old_size)
    _check_size(new_size)
    if old_size > new_size:
        raise LogError("log.proof", f"a tree cannot shrink from {old_size} to {new_size} leaves")
    _check_hash(old_root, "the old root")
    _check_hash(new_root, "the new root")
    _check_proof(proof)
    for size, root in ((old_size, old_root), (new_size, new_root)):
        if size == 0 and root != EMPTY_ROOT:
            raise LogError("log.proof", "a tree of no leaves has another root than the empty one")
    if old_size == new_size:
        _check_length(proof, 0)
        if old_root != new_root:
            raise LogError("log.proof", f"two different roots for one size, {new_size} leaves")
        return
    if old_size == 0:
        _check_length(proof, 0)
        return
    if root_from_consistency(old_size, new_size, proof, old_root) != new_root:
        raise LogError("log.proof", f"the proof does not lead to the new root of size {new_size}")


def root_from_consistency(
    old_size: int, new_size: int, proof: Sequence[bytes], old_root: bytes
) -> bytes:
    """The new root that a consistency proof leads to, from an old root that it has to fit.

    Args:
        old_size: leaves of the old tree, at least 1.
        new_size: leaves of the new tree, more than ``old_size``.
        proof: hashes as in RFC 6962 section 2.1.2.
        old_root: root of the old tree, 32 bytes.

    Raises:
        LogError: ``log.proof`` when the proof does not begin with the old tree.
    """
    _check_size(old_size)
    _check_size(new_size)
    if not 0 < old_size < new_size:
        raise LogError("log.proof", f"no proof leads from {old_size} to {new_size} leaves")
    _check_hash(old_root, "the old root")
    _check_proof(proof)
    shift = (old_size & -old_size).bit_length() - 1  # height of the old tree's last subtree
    inner = ((old_size - 1) ^ (new_size - 1)).bit_length() - shift
    if old_size == 1 << shift:
        seed, rest = old_root, proof  # the old tree is itself a subtree: its root is not repeated
    else:
        _check_length(proof[:1], 1)
        seed, rest = proof[0], proof[1:]
    position = (old_size - 1) >> shift
    _check_length(rest, inner + (position >> inner).bit_count())
    old = seed
    for level, sibling in enumerate(rest):
        if level >= inner or (position >> level) & 1:
            old = node_hash(sibling, old)
    if old != old_root:
        raise LogError("log.proof", f"the proof does not lead to the old root of size {old_size}")
    return _climb(seed, rest, position, inner)


def _climb(start: bytes, proof: Sequence[bytes], position: int, inner: int) -> bytes:
    value = start
    for level, sibling in enumerate(proof):
        if level >= inner or (position >> level) & 1:
            value = node_hash(sibling, value)
        else:
            value = node_hash(value, sibling)
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _check_size(size: int) -> None:
    if not _is_number(size) or size > MAX_TREE_SIZE:
        raise LogError("log.proof", f"{size!r} is not a tree size")


def _check_hash(value: bytes, what: str) -> None:
    if not isinstance(value, bytes) or len(value) != HASH_SIZE:
        raise LogError("log.proof", f"{what} is not a hash of {HASH_SIZE} bytes")


def _check_proof(proof: Sequence[bytes]) -> None:
    if len(proof) > MAX_PROOF_HASHES:
        raise LogError("log.proof", f"a proof of {len(proof)} hashes is longer than any tree")
    for position, value in enumerate(proof):
        _check_hash(value, f"hash {position} of the proof")


def _check_length(proof: Sequence[bytes], expected: int) -> None:
    if len(proof) != expected:
        raise LogError("log.proof", f"the proof has {len(proof)} hashes, {expected} are needed")
