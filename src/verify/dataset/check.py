"""Auditing a dataset from its public files alone: log tiles, checkpoint, segments.

Every leaf is compared with the log's, every commitment is opened, and the reading table is derived
again from what was opened: nothing was changed, added or left out, or the first place where it was
is named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from depin_id.errors import DatasetError
from depin_id.network import load_card
from verify.dataset.builder import FOLDER
from verify.dataset.compare import compare_table, first_difference
from verify.dataset.reader import TableFile, entries_of, open_table
from verify.dataset.rows import (
    ACCEPTED,
    CheckedEntry,
    OpenEntry,
    check_entry,
    entry_row,
    read_leaf,
    reading_rows,
)
from verify.dataset.schema import ENTRY_SCHEMA, to_batch
from verify.dataset.segment import ENTRIES, READINGS, Segment, stored_files
from verify.dataset.signed import check_signed
from verify.entries import ERASE
from verify.leaf import LEAF_VERSION, AdminLeaf, Leaf, parse_leaf
from verify.log import Checkpoint, NoteKey, decode_bundle, verify_checkpoint, verify_log
from verify.log.files import read_bounded, read_tile
from verify.log.layout import ENTRIES as ENTRY_BUNDLES
from verify.log.layout import TILE_WIDTH
from verify.log.note import MAX_NOTE_BYTES

LOG_FOLDER = "log"
CARD = "card.cbor"
_ERASURE = bytes((0x84, LEAF_VERSION, ERASE))
"""How the leaf of an erasure begins."""


@dataclass(slots=True)
class DatasetReport:
    """What was proved.

    Attributes:
        checkpoint: the signed head of the log that everything was compared with.
        network: DID of the network whose card named the log's key; None when keys were given.
        covered: the segments hold the log entries [0, covered), without gap or overlap.
        segments: their number.
        administration: entries that are no envelopes.
        opened: entries of envelopes whose commitments were opened.
        closed: entries of envelopes that are erased or not public: the leaf is intact.
        withheld: those of them that became records, though no entry of the log erases their device.
        unproven: opened entries with records whose signature only the log connects with their DID:
            the key came by rotation. All others were verified, if the network is known.
        accepted: entries of accepted envelopes, opened or closed.
        readings: rows of the reading table.
        cell_resolution: of the H3 cells; None without segments.
    """

    checkpoint: Checkpoint
    network: str | None
    covered: int = 0
    segments: int = 0
    administration: int = 0
    opened: int = 0
    closed: int = 0
    withheld: int = 0
    unproven: int = 0
    accepted: int = 0
    readings: int = 0
    cell_resolution: int | None = field(default=None)

    @property
    def complete(self) -> bool:
        """Whether the segments reach up to the checkpoint."""
        return self.covered == self.checkpoint.size


class _Closing:
    """Whose entries are closed, and whom the log erased: who is not in both was left out."""

    def __init__(self) -> None:
        self._closed: Counter[bytes] = Counter()
        self._erased: set[bytes] = set()

    @property
    def withheld(self) -> int:
        """Closed entries of envelopes that became records, of devices that were not erased."""
        return sum(count for ref, count in self._closed.items() if ref not in self._erased)

    def note(self, item: CheckedEntry) -> None:
        """Take an entry of the segments."""
        if isinstance(item.leaf, AdminLeaf):
            self._erase(item.leaf)
        elif item.entry.salt is None and item.leaf.records is not None:
            self._closed[item.leaf.device] += 1

    def look_behind(self, leaf: bytes) -> None:
        """Take a leaf that no segment has yet."""
        if leaf.startswith(_ERASURE):
            self._erase(parse_leaf(leaf))

    def _erase(self, leaf: Leaf) -> None:
        if isinstance(leaf, AdminLeaf) and leaf.kind == ERASE and isinstance(leaf.body, list):
            refs = leaf.body[0] if leaf.body else None
            if isinstance(refs, list):
                self._erased.update(ref for ref in refs if isinstance(ref, bytes))


Progress = Callable[[int, int], None]


def verify_dataset(
    path: Path,
    *,
    keys: Sequence[NoteKey] | None,
    network: str | None = None,
    progress: Progress | None = None,
) -> DatasetReport:
    """Check a dataset against its log, from public files only.

    Args:
        path: folder with ``log/`` (tiles and checkpoint), ``segments/`` (Parquet files) and
            perhaps ``card.cbor`` (the network card).
        keys: keys of the log that are trusted; None takes the key that the card names. A card
            vouches for itself unless ``network`` is given.
        network: the DID that the card has to be of.
        progress: called with (done, in all) in log entries; each entry counts twice, once for the
            log and once for the tables.

    Returns:
        The report. Its ``covered`` says how far the segments reach: what is behind it in the log
        is not in the dataset yet.

    Raises:
        DatasetError: ``dataset.gap``, ``dataset.overlap``, ``dataset.beyond`` (segments that do
            not follow each other, or go beyond the log), ``dataset.leaf`` (another leaf than the
            log's), ``dataset.commitment``, ``dataset.signature`` (records that their device did not
            sign), ``dataset.records``, ``dataset.entries`` and
            ``dataset.readings`` (a cell, row or order that does not follow from the entries),
            ``dataset.corrupt`` (no table of a segment), ``dataset.name``, ``dataset.key``,
            ``dataset.io``.
        LogError: the log does not verify.
        NetworkError, SignatureInvalid, KeyRefused, EncodingError: the card does not.
    """
    path = Path(path)
    trusted, named = _trusted(path, keys, network)
    log = path / LOG_FOLDER
    note = read_bounded(log / "checkpoint", MAX_NOTE_BYTES)
    if note is None:
        raise DatasetError("dataset.io", f"there is no checkpoint in {log}")
    origin = verify_checkpoint(note, trusted).origin
    segments = segments_of(path / FOLDER)
    covered = segments[-1].end if segments else 0
    total = [0]

    def log_progress(done: int, size: int) -> None:
        total[0] = size + covered
        if progress is not None:
            progress(done, total[0])

    checkpoint = verify_log(log, origin, trusted, progress=log_progress)
    if covered > checkpoint.size:
        raise DatasetError(
            "dataset.beyond",
            f"the segments go to {covered}, the checkpoint of the log to {checkpoint.size}",
            hint="get the newest checkpoint and tiles of the log",
        )
    report = DatasetReport(checkpoint, named, covered, len(segments))
    leaves = _leaves(log, checkpoint.size)
    closing = _Closing()

    def done_with(index: int) -> None:
        if progress is not None:
            progress(checkpoint.size + index, total[0])

    for segment in segments:
        _check_segment(path / FOLDER, segment, leaves, report, closing, done_with)
    for data in leaves:
        closing.look_behind(data)
    report.withheld = closing.withheld
    return report


def _trusted(
    path: Path, keys: Sequence[NoteKey] | None, network: str | None
) -> tuple[list[NoteKey], str | None]:
    if keys is not None:
        return list(keys), None
    if not (path / CARD).is_file():
        raise DatasetError(
            "dataset.key",
            f"no key of the log was given and there is no {CARD} in {path}",
            hint="give the log's key, or put the network's card beside the log",
        )
    card, _ = load_card(path / CARD, network=network)
    return [NoteKey(card.log_origin, card.log_key.raw)], card.network


def segments_of(folder: Path) -> list[Segment]:
    """The segments of a folder, checked for following each other from 0 on.

    Raises:
        DatasetError: ``dataset.gap``, ``dataset.overlap``, ``dataset.name``, ``dataset.io``.
    """
    files = stored_files(folder)
    for segment in sorted(files[ENTRIES] ^ files[READINGS]):
        table = READINGS if segment in files[ENTRIES] else ENTRIES
        raise DatasetError("dataset.gap", f"{segment.name(table)} is missing in {folder}")
    found = sorted(files[ENTRIES])
    expected = 0
    for segment in found:
        if segment.start > expected:
            raise DatasetError(
                "dataset.gap", f"no segment has the entries [{expected}, {segment.start})"
            )
        if segment.start < expected:
            raise DatasetError(
                "dataset.overlap", f"more than one segment has entry {segment.start}"
            )
        expected = segment.end
    return found


def _leaves(log: Path, size: int) -> Iterator[bytes]:
    """The first ``size`` leaves of a log."""
    for index in range(-(-size // TILE_WIDTH)):
        width = min(TILE_WIDTH, size - index * TILE_WIDTH)
        yield from decode_bundle(read_tile(log, ENTRY_BUNDLES, index, width), width)


def _check_segment(
    folder: Path,
    segment: Segment,
    leaves: Iterator[bytes],
    report: DatasetReport,
    closing: _Closing,
    done_with: Callable[[int], None],
) -> None:
    with ExitStack() as stack:
        entries = stack.enter_context(open_table(folder / segment.name(ENTRIES), ENTRIES))
        readings = stack.enter_context(open_table(folder / segment.name(READINGS), READINGS))
        _check_header(segment, entries, readings, report)
        checked = _checked_entries(segment, entries, leaves, report, closing, done_with)
        expected = (row for item in checked for row in reading_rows(item, readings.resolution))
        report.readings += compare_table(readings, expected)


def _check_header(
    segment: Segment, entries: TableFile, readings: TableFile, report: DatasetReport
) -> None:
    if entries.rows != segment.end - segment.start:
        raise entries.wrong(f"has {entries.rows} rows")
    if report.cell_resolution is None:
        report.cell_resolution = entries.resolution
    for table in (entries, readings):
        if table.resolution != report.cell_resolution:
            raise table.wrong("has cells of another resolution than the other segments")


def _checked_entries(
    segment: Segment,
    table: TableFile,
    leaves: Iterator[bytes],
    report: DatasetReport,
    closing: _Closing,
    done_with: Callable[[int], None],
) -> Iterator[CheckedEntry]:
    """The entries of a segment, each proved against the log and its commitments."""
    expected = segment.start
    for batch, found in entries_of(table):
        read = []
        for entry in found:
            if entry.index != expected:
                raise DatasetError(
                    "dataset.entries",
                    f"{table.path.name} has entry {entry.index} where {expected} should be",
                )
            if entry.leaf != next(leaves, None):
                raise DatasetError(
                    "dataset.leaf",
                    f"the leaf of entry {expected} is not the one in the log",
                    hint="the segment was changed, or is of another log",
                )
            read.append(read_leaf(entry))
            expected += 1
        _check_columns(table, batch, found, read)
        # One at a time: opened records take many times the room of their bytes.
        for entry in found:
            item = check_entry(entry)
            _count(item, report)
            if report.network is not None and not check_signed(item, report.network):
                report.unproven += 1
            closing.note(item)
            yield item
        done_with(expected)


def _check_columns(
    table: TableFile, batch: Any, entries: list[OpenEntry], leaves: list[Leaf]
) -> None:
    rows = [entry_row(entry, leaf) for entry, leaf in zip(entries, leaves, strict=True)]
    wanted = to_batch(ENTRY_SCHEMA, rows)
    difference = first_difference(batch, wanted)
    if difference is not None:
        row, name = difference
        raise DatasetError(
            "dataset.entries",
            f"column {name} of entry {entries[row].index} in {table.path.name} does not follow "
            "from its leaf",
            hint="the entry table was changed: rebuild it from the journal",
        )


def _count(item: CheckedEntry, report: DatasetReport) -> None:
    if isinstance(item.leaf, AdminLeaf):
        report.administration += 1
        return
    if item.entry.salt is None:
        report.closed += 1
    else:
        report.opened += 1
    report.accepted += item.leaf.code == ACCEPTED
