"""The truth: every entry ever taken, in files that are joined by their digests.

One durable transaction a batch holds entries, the positions they consume and the source's offset
(docs/protocol.md, journal). Everything else can be rebuilt from here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path

from depin_id.closing import Closing
from depin_id.durable import DirectoryLock, make_directory
from depin_id.errors import StateError
from verify.store.database import corrupt
from verify.store.journal_chain import (
    JournalFileInfo,
    check_joint,
    closed,
    file_name,
    info_of,
    journal_paths,
)
from verify.store.journal_file import JournalFile
from verify.store.journal_schema import SCHEMA, Head, discard, is_writable
from verify.store.packing import (
    NewBatch,
    Position,
    StoredBatch,
    StoredEntry,
    genesis_digest,
)

_MAX_OPEN = 64


def _nothing(_: str) -> None:
    """The hook of production: crash tests put theirs in its place."""


class Journal(Closing):
    """The journal of one network in one folder. One thread at a time.

    Any number of other processes may open it read-only while one writes; they see what was
    durable when they opened it, or last called :meth:`refresh`.
    """

    def __init__(self, directory: Path, *, read_only: bool, lock: DirectoryLock | None) -> None:
        """Use :meth:`create` or :meth:`open`."""
        self.directory = directory
        self.network = ""
        self.read_only = read_only
        self._traceless = False
        self.step: Callable[[str], None] = _nothing
        self._lock = lock
        self._infos: list[JournalFileInfo] = []
        self._open: OrderedDict[int, JournalFile] = OrderedDict()
        self._recent: StoredBatch | None = None
        self._failed = False
        self._closed = False

    @classmethod
    def create(
        cls, directory: Path, *, network: str, max_file_bytes: int = 256 * 1024 * 1024
    ) -> Journal:
        """Makes an empty journal and opens it for writing.

        Args:
            directory: made when missing.
            network: DID of the network; a journal belongs to one for ever.
            max_file_bytes: size after which a new file is begun.

        Raises:
            StateError: ``state.exists``, ``state.locked``, ``state.io``, ``state.full``.
        """
        make_directory(directory)
        with DirectoryLock(directory, "journal.lock"):
            if journal_paths(directory):
                raise StateError(
                    "state.exists", f"{directory} holds a journal already", hint="open it instead"
                )
            head = Head(
                SCHEMA, network, 1, 0, 1, genesis_digest(network), max_file_bytes, None, None
            )
            JournalFile.create(directory / file_name(1), head, {}, _nothing)
        return cls.open(directory)

    @classmethod
    def open(cls, directory: Path, *, read_only: bool = False, traceless: bool = False) -> Journal:
        """Opens a journal and finishes what a crash may have interrupted.

        Args:
            read_only: beside a writer, or without the right to write.
            traceless: read-only, and no file is left beside those of a journal at rest. If a
                writer begins meanwhile ``state.corrupt`` may be raised: open it again without.

        Raises:
            StateError: ``state.missing``, ``state.locked``, ``state.schema``, ``state.gap`` (a
                file between others is missing), ``state.foreign`` (a file of another network),
                ``state.corrupt``.
        """
        if not journal_paths(directory):
            raise StateError(
                "state.missing", f"{directory} holds no journal", hint="create one, or restore it"
            )
        lock = None if read_only else DirectoryLock(directory, "journal.lock")
        journal = cls(directory, read_only=read_only, lock=lock)
        journal._traceless = traceless and read_only
        try:
            journal._scan()
            if not read_only:
                journal._recover()
        except BaseException:
            journal.close()
            raise
        return journal

    @property
    def size(self) -> int:
        """The number of entries, which is the index of the next one."""
        info = self._infos[-1]
        return info.first + info.count

    def refresh(self) -> None:
        """Looks at the folder again: a reader sees what was written since.

        Raises:
            StateError: as :meth:`open`.
        """
        if self._closed:
            raise closed(self.directory)
        if self.read_only:
            self._scan()

    def _scan(self) -> None:
        self._close_files()
        infos: list[JournalFileInfo] = []
        previous: JournalFileInfo | None = None
        for path in journal_paths(self.directory):
            file = JournalFile.open(path, read_only=True, traceless=self._traceless)
            self._keep(file.head.sequence, file)
            check_joint(path, file.head, previous, self.network)
            previous = info_of(file)
            infos.append(previous)
            self.network = file.head.network
        self._infos = infos

    def append(self, batch: NewBatch) -> int:
        """Writes one batch; it is on the disk when this returns.

        A batch without entries is allowed: it moves the source's offset.

        Returns:
            The index of its first entry.

        Raises:
            StateError: ``state.conflict`` when a position was used before in the same file
                (nothing is written; ask :meth:`position` first: older files are not searched),
                ``state.argument``, ``state.full``, ``state.io``, ``state.read_only``.
        """
        current = self._writable()
        if current.bytes_used() >= current.head.max_file_bytes:
            self.rotate()
            current = self._writable()
        try:
            first = current.append(batch)
        except StateError as error:
            # After a failed write nobody knows what the disk holds until it is read again.
            self._failed = error.code in ("state.io", "state.corrupt")
            raise
        except BaseException:
            self._failed = True
            raise
        self._infos[-1] = info_of(current)
        return first

    def batches(self, start: int = 0, stop: int | None = None) -> Iterator[StoredBatch]:
        """Whole batches that hold any entry of [start, stop), in order; memory of one batch.

        Every byte is checked against the chain on the way.

        Raises:
            StateError: ``state.corrupt``.
        """
        end = self.size if stop is None else min(stop, self.size)
        for info in list(self._infos):
            if start >= info.first + info.count or end <= info.first:
                continue
            file = self._file(info.sequence)
            begin = file.batch_of(max(start, info.first))
            if begin is None:
                raise corrupt(info.path, f"entry {max(start, info.first)} is missing")
            number = begin.number
            while number < file.tail.batch:
                # A consumer may be slow, and the file may be closed and reopened meanwhile.
                file = self._file(info.sequence)
                row = next(file.batches(number))
                if row.first >= end:
                    break
                number += 1
                if row.count:
                    yield file.unpack(row)

    def entries(self, start: int = 0, stop: int | None = None) -> Iterator[StoredEntry]:
        """Entries [start, stop) in order, across files; memory of one batch.

        Raises:
            StateError: ``state.corrupt``.
        """
        end = self.size if stop is None else min(stop, self.size)
        start = max(start, 0)
        for batch in self.batches(start, end):
            entries = batch.entries()
            yield from entries[max(start - batch.first, 0) : max(end - batch.first, 0)]

    def entry(self, index: int) -> StoredEntry:
        """One entry.

        Raises:
            StateError: ``state.no_entry``, ``state.corrupt``.
        """
        if not 0 <= index < self.size:
            raise StateError(
                "state.no_entry",
                f"there is no entry {index}, the journal has {self.size}",
                hint="ask for a smaller index",
            )
        recent = self._recent
        if recent is None or not recent.first <= index < recent.first + len(recent.leaves):
            recent = self._recent = next(self.batches(index, index + 1))
        at = index - recent.first
        return StoredEntry(
            index,
            recent.number,
            recent.received_at,
            recent.leaves[at],
            recent.deltas[at],
            recent.sealed[at],
            recent.archived,
        )

    def position(
        self, stream: int, epoch: int, n: int, *, before: int | None = None
    ) -> Position | None:
        """Who used a position of a stream, searched in all files, newest first.

        Args:
            stream: number of the stream.
            epoch: its epoch.
            n: its counter.
            before: only what entries below this index used.

        Raises:
            StateError: ``state.corrupt``, ``state.argument``.
        """
        for info in reversed(self._infos):
            if before is not None and info.first >= before:
                continue
            found = self._file(info.sequence).position(stream, epoch, n)
            if found is not None and (before is None or found.entry < before):
                return found
        return None

    def entries_of(self, stream: int) -> list[int]:
        """Indices of all entries that used positions of a stream, rising.

        Raises:
            StateError: ``state.corrupt``.
        """
        files = [self._file(info.sequence) for info in self._infos]
        return [index for file in files for index in file.entries_of(stream)]

    def positions_of(
        self, stream: int, after: tuple[int, int], limit: int
    ) -> list[tuple[int, int, int]]:
        """Used positions of a stream above one, rising: (epoch, n, entry), at most ``limit``."""
        files = [self._file(info.sequence) for info in self._infos]
        return sorted(row for f in files for row in f.positions_of(stream, after, limit))[:limit]

    def offset(self, source: str) -> bytes | None:
        """How far a source was read, by the newest batch that said so; None when none did."""
        return self._file(self._infos[-1].sequence).offsets().get(source)

    def rotate(self) -> None:
        """Seals the file in use and begins the next; nothing happens when it is empty.

        Raises:
            StateError: ``state.full``, ``state.io``, ``state.read_only``.
        """
        current = self._writable()
        if current.tail.batch == current.head.batch:
            return
        offsets = current.offsets()
        current.seal()
        self._infos[-1] = info_of(current)
        self.step("sealed")
        self._begin_next(current, offsets)
        self._finish_sealed()

    def files(self) -> list[JournalFileInfo]:
        """Every file, oldest first."""
        return list(self._infos)

    def verify(self) -> None:
        """Checks every page, batch and position of every file; takes as long as reading it all.

        Raises:
            StateError: ``state.corrupt`` naming the file.
        """
        for info in self._infos:
            self._file(info.sequence).verify()

    def close(self) -> None:
        """Closes all files and lets the next writer in; more than once is harmless."""
        self._closed = True
        try:
            self._close_files()
        finally:
            if self._lock is not None:
                self._lock.close()
                self._lock = None

    def _recover(self) -> None:
        """Completes an interrupted rotation and opens the last file for writing."""
        for path in self.directory.glob("journal-*.db.tmp"):
            discard(path)
        last = self._infos[-1]
        if last.sealed:
            file = self._file(last.sequence)
            self._begin_next(file, file.offsets())
        else:
            self._drop(last.sequence)
            self._keep(last.sequence, JournalFile.open(last.path, read_only=False))
            self._infos[-1] = info_of(self._open[last.sequence])
        self._finish_sealed()

    def _begin_next(self, old: JournalFile, offsets: dict[str, bytes]) -> None:
        sequence = old.head.sequence + 1
        path = self.directory / file_name(sequence)
        tail, size = old.tail, old.head.max_file_bytes
        where = (tail.first, tail.batch, tail.digest)
        head = Head(SCHEMA, self.network, sequence, *where, size, None, None)
        JournalFile.create(path, head, offsets, self.step)
        file = JournalFile.open(path, read_only=False)
        self._keep(sequence, file)
        self._infos.append(info_of(file))

    def _finish_sealed(self) -> None:
        """Makes sealed files plain; one that a reader holds is left for the next time."""
        for info in self._infos:
            if info.sealed and is_writable(info.path):
                self._drop(info.sequence)
                file = JournalFile.open(info.path, read_only=False)
                try:
                    file.finish(self.step)
                finally:
                    file.close()

    def _writable(self) -> JournalFile:
        if self.read_only:
            raise StateError(
                "state.read_only", f"{self.directory} is open for reading", hint="open for writing"
            )
        if self._failed or self._lock is None or self._infos[-1].sealed:
            raise closed(self.directory)
        return self._open[self._infos[-1].sequence]

    def _file(self, sequence: int) -> JournalFile:
        file = self._open.get(sequence)
        if file is None:
            if self._closed:
                raise closed(self.directory)
            path = self.directory / file_name(sequence)
            file = JournalFile.open(path, read_only=True, traceless=self._traceless)
            self._keep(sequence, file)
        else:
            self._open.move_to_end(sequence)
        return file

    def _keep(self, sequence: int, file: JournalFile) -> None:
        self._open[sequence] = file
        newest = self._infos[-1].sequence if self._infos else 0
        for other in list(self._open):
            if len(self._open) <= _MAX_OPEN:
                break
            if other not in (sequence, newest):
                self._drop(other)

    def _drop(self, sequence: int) -> None:
        file = self._open.pop(sequence, None)
        if file is not None:
            file.close()

    def _close_files(self) -> None:
        for sequence in list(self._open):
            self._drop(sequence)
