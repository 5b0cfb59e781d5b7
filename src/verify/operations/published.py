"""What a network has published, as far as it can be learnt: checkpoints, tiles and segments.

A published checkpoint is a promise to everybody who has seen it. A journal may go on only if it
leads to every one of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from depin_id.durable import read_file
from depin_id.errors import LogError, StateError
from depin_id.network import NetworkCard, load_card, read_card
from verify.dataset.reader import entries_of, open_table
from verify.dataset.segment import ENTRIES, stored_files
from verify.log import Checkpoint, NoteKey, leaf_hash
from verify.log.files import read_bounded, read_tile, stored_size
from verify.log.layout import ENTRIES as BUNDLES
from verify.log.layout import TILE_WIDTH, decode_bundle
from verify.log.merkle import EMPTY_ROOT, Frontier
from verify.log.note import MAX_NOTE_BYTES, verify_checkpoint
from verify.store import Journal


@dataclass(slots=True)
class Published:
    """What is known of a published log.

    Attributes:
        notes: signed checkpoints, each with where it is from.
        card, card_bytes: the newest network card.
        folder: of what was published (``log/``, ``segments/``, ``card.cbor``), or None.
    """

    card: NetworkCard
    card_bytes: bytes
    folder: Path | None = None
    notes: list[tuple[Checkpoint, bytes, str]] = field(default_factory=list)

    @property
    def newest(self) -> tuple[Checkpoint, bytes, str] | None:
        """The largest checkpoint."""
        return max(self.notes, key=lambda item: item[0].size, default=None)

    @property
    def size(self) -> int:
        """How many entries were promised."""
        newest = self.newest
        return 0 if newest is None else newest[0].size

    @property
    def log(self) -> Path | None:
        """The folder of the published log."""
        return None if self.folder is None else self.folder / "log"

    def stored(self) -> int:
        """How many leaves the published tiles hold; those beyond the checkpoint prove nothing."""
        return 0 if self.log is None else stored_size(self.log)

    def leaves(self, start: int, stop: int) -> Iterator[bytes]:
        """The published leaves [start, stop). Raises LogError ``log.tile``."""
        if self.log is None:
            raise LogError("log.tile", "no tiles of the published log were named")
        stored = self.stored()
        for index in range(start // TILE_WIDTH, -(-stop // TILE_WIDTH)):
            first = index * TILE_WIDTH
            width = min(TILE_WIDTH, max(stored, stop) - first)
            bundle = decode_bundle(read_tile(self.log, BUNDLES, index, width), width)
            yield from bundle[max(start - first, 0) : stop - first]

    def envelopes(self, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
        """Index and bytes of the envelopes that the published segments open, in [start, stop).

        Raises DatasetError. Whether they are what the log says is for the caller to check.
        """
        folder = None if self.folder is None else self.folder / "segments"
        if folder is None or not folder.is_dir():
            return
        for segment in sorted(stored_files(folder)[ENTRIES]):
            if segment.end <= start or segment.start >= stop:
                continue
            with open_table(folder / segment.name(ENTRIES), ENTRIES) as table:
                for _, found in entries_of(table):
                    for entry in found:
                        if start <= entry.index < stop and entry.envelope is not None:
                            yield entry.index, entry.envelope


def gather(
    card: bytes,
    network: str,
    *,
    folder: Path | None,
    checkpoints: Sequence[Path],
    own: bytes | None,
) -> Published:
    """Collect and verify what was published.

    Args:
        card: of the backup. network: its DID.
        folder: ``public`` of an aggregator or a copy of it, or a folder of an aggregator.
        checkpoints: files with signed checkpoints, as witnesses and readers keep them.
        own: the checkpoint in the backup.

    Raises:
        StateError: ``state.missing``. LogError: a checkpoint is not signed by the network's log.
        NetworkError: a card is not the network's.
    """
    found = Published(read_card(card, network=network), card)
    keys = {NoteKey(found.card.log_origin, found.card.log_key.raw)}
    if folder is not None:
        folder = folder / "public" if (folder / "public" / "log").is_dir() else folder
        if not (folder / "log").is_dir():
            raise StateError(
                "state.missing",
                f"{folder} has no published log",
                hint="name the folder public of the aggregator, or a copy of it",
            )
        found.folder = folder
        if (folder / "card.cbor").is_file():
            other, data = load_card(folder / "card.cbor", network=network)
            keys.add(NoteKey(other.log_origin, other.log_key.raw))
            if other.number > found.card.number:
                found.card, found.card_bytes = other, data
    for note, source in _notes(found, checkpoints, own):
        found.notes.append((verify_checkpoint(note, keys), note, source))
    return found


def _notes(
    found: Published, checkpoints: Sequence[Path], own: bytes | None
) -> Iterator[tuple[bytes, str]]:
    if own is not None:
        yield own, "the backup"
    if found.log is not None:
        note = read_bounded(found.log / "checkpoint", MAX_NOTE_BYTES)
        if note is None:
            raise StateError(
                "state.missing",
                f"{found.log} has no checkpoint",
                hint="name a copy of the published log that has one, or a checkpoint by itself",
            )
        yield note, str(found.log / "checkpoint")
    for path in checkpoints:
        data = read_file(path, max_bytes=MAX_NOTE_BYTES)
        if data is None:
            raise StateError("state.missing", f"there is no checkpoint {path}")
        yield data, str(path)


def check_history(journal: Journal, published: Published) -> None:
    """Refuse a journal that contradicts what was published.

    Of a checkpoint that is ahead of the journal the published tiles have to lead on from the
    journal's last entry to it, if there are tiles.

    Raises:
        StateError: ``restore.forked`` names the first entry that differs, where tiles tell.
        LogError: ``log.tile``, ``log.differs`` when the tiles do not lead to their checkpoint.
    """
    tree = Frontier()
    due = sorted(published.notes, key=lambda item: item[0].size)
    for stored in journal.entries():
        while due and due[0][0].size == tree.size:
            _check_root(tree, due.pop(0), journal, published)
        tree.add(leaf_hash(stored.leaf))
    while due and due[0][0].size == tree.size:
        _check_root(tree, due.pop(0), journal, published)
    if not due or published.log is None or published.stored() < due[-1][0].size:
        return
    for leaf in published.leaves(journal.size, due[-1][0].size):
        tree.add(leaf_hash(leaf))
        while due and due[0][0].size == tree.size:
            _check_root(tree, due.pop(0), journal, published)


def _check_root(
    tree: Frontier, note: tuple[Checkpoint, bytes, str], journal: Journal, published: Published
) -> None:
    checkpoint, _, source = note
    if (tree.root() if tree.size else EMPTY_ROOT) == checkpoint.root:
        return
    where = _first_difference(journal, published, checkpoint.size)
    if where is None and published.log is not None and checkpoint.size > journal.size:
        raise LogError(
            "log.differs",
            f"the published tiles do not lead to the checkpoint of size {checkpoint.size}",
            hint="get a whole copy of the published log",
        )
    raise StateError(
        "restore.forked",
        f"the backup is another history than the log that was published: {source} promises "
        f"another root at size {checkpoint.size}"
        + ("" if where is None else f"; entry {where} is the first that differs"),
        hint="a published log is never rewritten: find the backup of the journal that made it",
    )


def _first_difference(journal: Journal, published: Published, size: int) -> int | None:
    stop = min(size, journal.size, published.stored())
    theirs = published.leaves(0, stop) if stop else iter(())
    for stored, leaf in zip(journal.entries(0, stop), theirs, strict=False):
        if stored.leaf != leaf:
            return stored.index
    return None
