"""Auditing a whole log from its files, whoever wrote them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from depin_id.errors import LogError
from verify.log.files import read_bounded, read_stored, read_tile, stored_widths
from verify.log.layout import (
    ENTRIES,
    TILE_WIDTH,
    decode_bundle,
    tile_path,
    tile_prefix,
    tile_widths,
)
from verify.log.merkle import HASH_SIZE, fold_right, leaf_hash, root_of
from verify.log.note import MAX_NOTE_BYTES, Checkpoint, NoteKey, verify_checkpoint


def read_checkpoint(directory: Path, origin: str, keys: Iterable[NoteKey]) -> Checkpoint:
    """Read and verify the checkpoint of a log folder.

    Args:
        directory: the folder of the log.
        origin: the origin that is expected.
        keys: keys of the log that are trusted.

    Raises:
        LogError: ``log.checkpoint`` when there is none; otherwise as
            :func:`verify.log.note.verify_checkpoint`.
    """
    note = read_bounded(Path(directory) / "checkpoint", MAX_NOTE_BYTES)
    if note is None:
        raise LogError("log.checkpoint", f"there is no checkpoint in {directory}")
    return verify_checkpoint(note, keys, origin=origin)


def verify_log(
    directory: Path,
    origin: str,
    keys: Iterable[NoteKey],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Checkpoint:
    """Recompute a whole log from its entries and compare every stored tile with it.

    Memory stays bounded: one tile a level. Files beyond the checkpoint's size prove nothing and
    are not looked at; where they overlap with it they are compared.

    Args:
        directory: the folder of the log.
        origin: the origin that is expected.
        keys: keys of the log that are trusted.
        progress: called with (entries done, entries in all) after each bundle.

    Returns:
        The checkpoint that everything was compared with.

    Raises:
        LogError: ``log.differs`` names the first difference; ``log.tile`` when a file is missing
            or damaged; or as :func:`read_checkpoint`.
    """
    directory = Path(directory)
    checkpoint = read_checkpoint(directory, origin, keys)
    edge: list[list[bytes]] = []
    for index in range(-(-checkpoint.size // TILE_WIDTH)):
        done = index * TILE_WIDTH
        width = min(TILE_WIDTH, checkpoint.size - done)
        bundle = read_tile(directory, ENTRIES, index, width)
        _compare(directory, ENTRIES, index, bundle, width)
        hashes = [leaf_hash(entry) for entry in decode_bundle(bundle, width)]
        _grow(directory, edge, 0, index, hashes)
        if progress is not None:
            progress(done + width, checkpoint.size)
    for level, (index, width) in enumerate(tile_widths(checkpoint.size)):
        if width:
            _compare(directory, level, index, b"".join(edge[level]), width)
    if _root(edge) != checkpoint.root:
        raise LogError(
            "log.differs",
            f"the entries have another root than the checkpoint of size {checkpoint.size}",
            hint="the log was changed after it was signed, or the checkpoint is of another log",
        )
    return checkpoint


def _grow(
    directory: Path, edge: list[list[bytes]], level: int, index: int, hashes: list[bytes]
) -> None:
    """Add hashes to tile ``index`` of a level; a tile that becomes full is compared."""
    if level == len(edge):
        edge.append([])
    edge[level] += hashes
    if len(edge[level]) == TILE_WIDTH:
        full, edge[level] = edge[level], []
        _compare(directory, level, index, b"".join(full), TILE_WIDTH)
        _grow(directory, edge, level + 1, index // TILE_WIDTH, [root_of(full)])


def _compare(directory: Path, level: int, index: int, expected: bytes, width: int) -> None:
    """Compare a tile with every stored file of it; at least one must hold all of its width."""
    complete = False
    for stored in (*stored_widths(directory, level, index), TILE_WIDTH):
        data = read_stored(directory, level, index, stored)
        if data is None:
            continue
        complete = complete or stored >= width
        common = min(stored, width)
        found = tile_prefix(level, data, common)
        wanted = tile_prefix(level, expected, common)
        if found != wanted:
            raise LogError(
                "log.differs",
                f"{tile_path(level, index, stored)} differs {_place(level, found, wanted)}",
                hint="the file was changed, or was written by a faulty program",
            )
    if not complete:
        raise LogError("log.tile", f"{tile_path(level, index, width)} is missing in {directory}")


def _place(level: int, found: bytes, wanted: bytes) -> str:
    position = next(
        (place for place, (a, b) in enumerate(zip(found, wanted, strict=False)) if a != b),
        min(len(found), len(wanted)),
    )
    if level == ENTRIES:
        return f"at byte {position} from the other files of the same entries"
    return f"in hash {position // HASH_SIZE} from what the entries give"


def _root(edge: list[list[bytes]]) -> bytes:
    """Root over what is left at each level: perfect subtrees, the smallest at level 0."""
    parts: list[bytes] = []
    for hashes in reversed(edge):
        start = 0
        while start < len(hashes):
            count = 1 << ((len(hashes) - start).bit_length() - 1)
            parts.append(root_of(hashes[start : start + count]))
            start += count
    return fold_right(parts)
