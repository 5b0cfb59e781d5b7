"""An append-only log in tiles on disk (c2sp.org/tlog-tiles).

Leaves are hashed as they come; files are written by :meth:`TileLog.flush` alone. In memory stay
the right edge of the tree (one tile a level), what is not yet flushed, and a bounded cache.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from depin_id.errors import LogError
from verify.log.files import (
    check_unchanged,
    drop_partials,
    exclusive,
    publish,
    read_bounded,
    read_tile,
    stored_size,
    sync_directories,
)
from verify.log.layout import (
    ENTRIES,
    MAX_ENTRY_BYTES,
    TILE_WIDTH,
    decode_bundle,
    encode_bundle,
    tile_path,
    tile_widths,
)
from verify.log.merkle import fold_right, leaf_hash
from verify.log.note import MAX_NOTE_BYTES, Checkpoint, split_note
from verify.log.tile import TILE_HEIGHT, Tile, split_size

_CACHED_TILES = 256
_CACHED_BUNDLES = 16


class TileLog:
    """An append-only log of entries in a folder. For one writer, one thread.

    Args:
        directory: the folder of the log; made when it is first written to.
        origin: the log's origin, the first line of its checkpoints.
        size: open the log at this size instead of all that is stored; what is appended then has
            to be what is stored already, as far as that goes.

    Raises:
        LogError: ``log.range`` when fewer leaves are stored than ``size``; ``log.tile`` when a
            tile of the right edge is missing or damaged; ``log.io``.
    """

    def __init__(self, directory: Path, origin: str, *, size: int | None = None) -> None:
        self.directory = Path(directory)
        self.origin = origin
        stored = stored_size(self.directory)
        if size is not None and not 0 <= size <= stored:
            raise LogError(
                "log.range",
                f"the log cannot be opened at size {size}: {stored} leaves are stored",
                hint="open it at a smaller size and append the entries again",
            )
        self._size = self._flushed = stored if size is None else size
        self._edge: list[Tile] = []
        self._bundle: list[bytes] = []
        self._full: dict[tuple[int, int], Tile] = {}
        self._full_bundles: dict[int, list[bytes]] = {}
        self._ours: set[tuple[int, int]] = set()
        self._tiles: OrderedDict[tuple[int, int], Tile] = OrderedDict()
        self._bundles: OrderedDict[int, list[bytes]] = OrderedDict()
        self._read_edge()

    @property
    def size(self) -> int:
        """Number of leaves, with those that are not yet flushed."""
        return self._size

    @property
    def flushed_size(self) -> int:
        """Number of leaves whose tiles are durable."""
        return self._flushed

    def append(self, leaves: Sequence[bytes]) -> int:
        """Append entries, in memory until :meth:`flush`.

        Args:
            leaves: entries of at most 65,535 bytes each.

        Returns:
            The index of the first one.

        Raises:
            LogError: ``log.entry`` when one is too long (none is appended then).
        """
        for entry in leaves:
            if len(entry) > MAX_ENTRY_BYTES:
                raise LogError("log.entry", f"an entry of {len(entry)} bytes, the limit is 65535")
        first = self._size
        position = 0
        while position < len(leaves):
            room = TILE_WIDTH - len(self._bundle)
            part = [bytes(entry) for entry in leaves[position : position + room]]
            position += len(part)
            self._bundle += part
            hashes = b"".join([sha256(b"\x00" + entry).digest() for entry in part])
            self._size += len(part)
            if len(self._bundle) == TILE_WIDTH:
                self._full_bundles[self._size // TILE_WIDTH - 1] = self._bundle
                self._bundle = []
            self._grow(0, hashes)
        return first

    def root(self, size: int | None = None) -> bytes:
        """The root hash of the first ``size`` leaves, by default of all.

        Raises:
            LogError: ``log.range`` when there are fewer; ``log.tile`` for a damaged file.
        """
        end = self._checked_size(size)
        return self._range_hash(0, end)

    def leaf(self, index: int) -> bytes:
        """The entry at an index.

        Raises:
            LogError: ``log.range`` when there is none; ``log.tile`` for a damaged file.
        """
        if not 0 <= index < self._size:
            raise LogError("log.range", f"there is no entry {index} in a log of {self._size}")
        bundle, position = divmod(index, TILE_WIDTH)
        if bundle == self._size // TILE_WIDTH:
            return self._bundle[position]
        entries = self._full_bundles.get(bundle) or self._bundles.get(bundle)
        if entries is None:
            data = read_tile(self.directory, ENTRIES, bundle, TILE_WIDTH)
            entries = self._bundles[bundle] = decode_bundle(data, TILE_WIDTH)
            if len(self._bundles) > _CACHED_BUNDLES:
                self._bundles.popitem(last=False)
        return entries[position]

    def inclusion_proof(self, index: int, size: int | None = None) -> list[bytes]:
        """Proof that the leaf at ``index`` is in the tree of ``size`` leaves, by default of all.

        Returns:
            Hashes from the leaf's sibling upwards (RFC 6962 section 2.1.1).

        Raises:
            LogError: ``log.range`` when there is no such leaf; ``log.tile`` for a damaged file.
        """
        end = self._checked_size(size)
        if not 0 <= index < end:
            raise LogError("log.range", f"there is no entry {index} in a tree of {end} leaves")
        proof: list[bytes] = []
        start = 0
        while end - start > 1:
            middle = start + split_size(end - start)
            if index < middle:
                proof.append(self._range_hash(middle, end))
                end = middle
            else:
                proof.append(self._range_hash(start, middle))
                start = middle
        return proof[::-1]

    def consistency_proof(self, old: int, new: int | None = None) -> list[bytes]:
        """Proof that the tree of ``new`` leaves begins with the tree of ``old`` leaves.

        Returns:
            Hashes as in RFC 6962 section 2.1.2; none when ``old`` is 0 or equals ``new``.

        Raises:
            LogError: ``log.range`` when there are fewer leaves; ``log.tile`` for a damaged file.
        """
        end = self._checked_size(new)
        if not 0 <= old <= end:
            raise LogError("log.range", f"a tree of {end} leaves does not begin with {old}")
        if old in (0, end):
            return []
        proof: list[bytes] = []
        start = 0
        while old != end:
            middle = start + split_size(end - start)
            if old <= middle:
                proof.append(self._range_hash(middle, end))
                end = middle
            else:
                proof.append(self._range_hash(start, middle))
                start = middle
        if start:
            # Without it the verifier could not know the old tree's last subtree; when that is the
            # whole old tree (start is 0) its root is known already.
            proof.append(self._range_hash(start, end))
        return proof[::-1]

    def checkpoint(self) -> Checkpoint:
        """The head of the log at its present size, to be signed after :meth:`flush`."""
        return Checkpoint(self.origin, self._size, self.root())

    def flush(self) -> int:
        """Make everything that was appended durable, as full and partial tiles.

        Leaf hashes are written last, so that what counts as stored is stored completely. It can
        be repeated: after an error nothing is lost, and identical files are left alone.

        Returns:
            The number of leaves that are now durable.

        Raises:
            LogError: ``log.rewrite`` when a file is published already with other content;
                ``log.tile`` when one there is damaged; ``log.io`` when the disk refuses.
        """
        if self._flushed == self._size:
            return self._size
        changed: set[Path] = set()
        leaf_hashes: list[tuple[int, int, bytes, int]] = []
        for index, entries in sorted(self._full_bundles.items()):
            self._write(ENTRIES, index, encode_bundle(entries), TILE_WIDTH, changed)
        if self._bundle:
            bundle = encode_bundle(self._bundle)
            index = self._size // TILE_WIDTH
            self._write(ENTRIES, index, bundle, len(self._bundle), changed)
        for (level, index), tile in sorted(self._full.items()):
            if level == 0:
                leaf_hashes.append((level, index, tile.hashes, TILE_WIDTH))
            else:
                self._write(level, index, tile.hashes, TILE_WIDTH, changed)
        for level, (index, width) in enumerate(tile_widths(self._size)):
            was = self._flushed >> (TILE_HEIGHT * level)
            if width and was != self._size >> (TILE_HEIGHT * level):
                item = (level, index, self._edge[level].hashes, width)
                if level == 0:
                    leaf_hashes.append(item)
                else:
                    self._write(*item, changed)
        sync_directories(changed)
        for item in leaf_hashes:
            self._write(*item, changed)
        sync_directories(changed)
        self._forget_flushed()
        return self._size

    def publish_checkpoint(self, note: str) -> None:
        """Put a signed checkpoint at ``<directory>/checkpoint``, durably.

        Args:
            note: the signed checkpoint, of this log, at a size whose tiles are durable. The same
                one again keeps the cosignatures that it has.

        Raises:
            LogError: ``log.checkpoint`` when it is not of this log; ``log.rewrite`` when it would
                take back one that is published; ``log.io``.
        """
        checkpoint = Checkpoint.parse(split_note(note)[0])
        if checkpoint.origin != self.origin:
            raise LogError("log.checkpoint", f"the checkpoint is of {checkpoint.origin!r}")
        if checkpoint.size > self._flushed or checkpoint.root != self.root(checkpoint.size):
            raise LogError(
                "log.checkpoint",
                f"the checkpoint of size {checkpoint.size} is not of what is stored",
                hint="flush the log first, then sign its checkpoint",
            )
        with exclusive(self.directory):
            self._replace_checkpoint(checkpoint, note)

    def _replace_checkpoint(self, checkpoint: Checkpoint, note: str) -> None:
        path = self.directory / "checkpoint"
        published = read_bounded(path, MAX_NOTE_BYTES)
        if published is not None:
            old = Checkpoint.parse(split_note(published)[0])
            # A published size is a promise: neither its root nor the fact can be taken back.
            if old.size > checkpoint.size or old.root != self.root(old.size):
                raise LogError(
                    "log.rewrite",
                    f"a checkpoint of size {old.size} is published, which this one does not extend",
                )
        if published is not None and published.startswith(note.encode()):
            return  # with the cosignatures that it has got since
        changed: set[Path] = set()
        publish(path, note.encode(), changed)
        sync_directories(changed)

    def promised(self) -> int:
        """Size of the published checkpoint; 0 without one that can be read."""
        with suppress(LogError):
            note = read_bounded(self.directory / "checkpoint", MAX_NOTE_BYTES)
            if note is not None:
                return Checkpoint.parse(split_note(note)[0]).size
        return 0

    def _checked_size(self, size: int | None) -> int:
        end = self._size if size is None else size
        if not 0 <= end <= self._size:
            raise LogError("log.range", f"there is no tree of {end} leaves, only {self._size}")
        return end

    def _grow(self, level: int, hashes: bytes) -> None:
        """Append to the edge of a level what fits into its tile; a full one moves up."""
        if level == len(self._edge):
            self._edge.append(Tile())
        tile = self._edge[level]
        tile.extend(hashes)
        if tile.width == TILE_WIDTH:
            index = (self._size >> (TILE_HEIGHT * (level + 1))) - 1
            self._full[level, index] = tile
            self._edge[level] = Tile()
            self._grow(level + 1, tile.node(TILE_HEIGHT, 0))

    def _range_hash(self, start: int, end: int) -> bytes:
        """Root over leaves [start, end), where start is a multiple of its largest subtree."""
        parts: list[bytes] = []
        while start < end:
            height = (end - start).bit_length() - 1
            parts.append(self._subtree(height, start >> height))
            start += 1 << height
        return fold_right(parts)

    def _subtree(self, height: int, position: int) -> bytes:
        level, row = divmod(height, TILE_HEIGHT)
        tile, offset = divmod(position << row, TILE_WIDTH)
        return self._tile(level, tile).node(row, offset >> row)

    def _tile(self, level: int, index: int) -> Tile:
        if index == self._size >> (TILE_HEIGHT * (level + 1)):
            return self._edge[level]
        key = (level, index)
        tile = self._full.get(key) or self._tiles.get(key)
        if tile is None:
            tile = Tile(read_tile(self.directory, level, index, TILE_WIDTH))
            self._remember(key, tile)
        elif key in self._tiles:
            self._tiles.move_to_end(key)
        return tile

    def _remember(self, key: tuple[int, int], tile: Tile) -> None:
        self._tiles[key] = tile
        if len(self._tiles) > _CACHED_TILES:
            self._tiles.popitem(last=False)

    def _write(self, level: int, index: int, data: bytes, width: int, changed: set[Path]) -> None:
        path = self.directory / tile_path(level, index, width)
        if (level, index) not in self._ours:
            stored = check_unchanged(self.directory, level, index, data, width)
            # From here on no other file of this tile can appear but by this (only) writer.
            if max(stored, default=0) <= width:
                self._ours.add((level, index))
            if width in stored:
                # It may be there since a crash that came before its name was durable.
                changed.add(path.parent)
                return
        publish(path, data, changed)

    def _forget_flushed(self) -> None:
        for key in sorted(self._full):
            self._remember(key, self._full[key])
            drop_partials(self.directory, *key)
        for index in self._full_bundles:
            drop_partials(self.directory, ENTRIES, index)
        self._full.clear()
        self._full_bundles.clear()
        edge = {level: index for level, (index, _) in enumerate(tile_widths(self._size))}
        edge[ENTRIES] = self._size // TILE_WIDTH
        self._ours = {(level, index) for level, index in self._ours if edge.get(level) == index}
        self._flushed = self._size

    def _read_edge(self) -> None:
        """Take up the right edge from the files, and check that its parts belong together."""
        widths = tile_widths(self._size)
        for level, (index, width) in enumerate(widths):
            tile = Tile(read_tile(self.directory, level, index, width) if width else b"")
            self._edge.append(tile)
            below = index * TILE_WIDTH + width - 1
            if level and width:
                full = Tile(read_tile(self.directory, level - 1, below, TILE_WIDTH))
                if full.node(TILE_HEIGHT, 0) != tile.node(0, width - 1):
                    raise LogError(
                        "log.tile",
                        f"{tile_path(level, index, width)} does not follow from the tile below it",
                        hint="check the whole log with verify_log, then rebuild it",
                    )
        if widths and widths[0][1]:
            index, width = widths[0]
            self._bundle = decode_bundle(read_tile(self.directory, ENTRIES, index, width), width)
            hashes = b"".join(leaf_hash(entry) for entry in self._bundle)
            if hashes != self._edge[0].hashes:
                raise LogError(
                    "log.tile",
                    f"{tile_path(ENTRIES, index, width)} differs from its leaf hashes",
                    hint="check the whole log with verify_log, then rebuild it",
                )
