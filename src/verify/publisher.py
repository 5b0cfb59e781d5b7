"""What follows from the journal: log tiles, checkpoint, Parquet segments. All of it can be rebuilt.

Nothing is published before its entries are durable, and nothing here can change a verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress

from depin_id.errors import DepinError, StateError
from depin_id.keys import Signer
from verify.beside import Beside, Outcome
from verify.dataset import Dataset, OpenEntry
from verify.dataset.rows import CheckedEntry, check_entry
from verify.dataset.tail import Tail
from verify.entries import Judged, decode_delta, delta_kind
from verify.fold import Fold
from verify.leaf import KIND_ENVELOPE
from verify.log import Checkpoint, TileLog, sign_checkpoint
from verify.reading import Peek
from verify.replay import Opener
from verify.store import Journal, KeyStore, StoredEntry
from verify.workspace import Workspace

MAX_LEAVES = 262_144
"""Leaves that wait for the next checkpoint in memory; more are read from the journal."""
FEW = 4096
"""As many entries are read again when the aggregator is opened; more only when they are due."""
MAX_REFILL = 1 << 16
"""Entries that are read again to hold them in columns; of more, segments are made one by one."""


class Publisher:
    """Writes the public side of one aggregator."""

    def __init__(
        self,
        workspace: Workspace,
        journal: Journal,
        keys: KeyStore,
        fold: Fold,
        log_signer: Signer,
        former: Sequence[Signer] = (),
    ) -> None:
        self._workspace = workspace
        self._journal = journal
        self._keys = keys
        self._fold = fold
        self.sign_with(log_signer, former)
        self._log = TileLog(workspace.log, fold.card.log_origin)
        self._leaves: list[bytes] = []
        self._tail = Tail()
        self._beside = Beside("segments")
        self._since: list[CheckedEntry] | None = None
        self._check_history()
        # What stops it is told when segments are due; until then acceptance goes on.
        with suppress(DepinError):
            dataset = self.dataset()
            if self._journal.size - dataset.sealed <= FEW:
                entries = self.open_entries(dataset.sealed, self._journal.size)
                self._refill(self._tail, dataset, entries)

    def _check_history(self) -> None:
        """Refuse a journal that does not hold what was published, such as an old backup."""
        size = self._log.size
        if size and (
            size > self._journal.size
            or self._log.leaf(size - 1) != self._journal.entry(size - 1).leaf
        ):
            raise StateError(
                "state.rewrites_log",
                f"the journal has {self._journal.size} entries and does not continue the "
                f"published log of {size}",
                hint="restore the newest journal; a published log is never rewritten",
            )
        promised = self._log.promised()
        if promised > self._journal.size:
            raise StateError(
                "state.rewrites_log",
                f"a checkpoint of {promised} entries is published, the journal has "
                f"{self._journal.size}",
                hint="restore the newest journal; what was signed is never taken back",
            )

    def committed(self, entries: Sequence[CheckedEntry]) -> None:
        """Take what was just committed: publishing it later need not read it again."""
        first = entries[0].entry.index if entries else self._journal.size
        if first != self._log.size + len(self._leaves) or len(self._leaves) > MAX_LEAVES:
            self._leaves = []
        else:
            self._leaves.extend([entry.entry.leaf for entry in entries])
        self._tail.add(entries)
        if self._since is not None:
            self._since.extend(entries)
            if len(self._since) > MAX_REFILL:
                self._since = None

    def sign_with(self, signer: Signer, former: Sequence[Signer] = ()) -> None:
        """Sign checkpoints with the card's log key, and with former ones that are still kept.

        Readers that hold an older card go on verifying the log until they have the new one.
        """
        self._signer, self._former = signer, tuple(former)
        self.published: Checkpoint | None = None

    def catch_up(self) -> None:
        """Give the log every entry that the journal has and it has not, e.g. after a crash."""
        leaves, self._leaves = self._leaves, []
        if self._log.size + len(leaves) == self._journal.size:
            self._log.append(leaves)
        if self._log.size < self._journal.size:
            self._log.append([entry.leaf for entry in self._journal.entries(self._log.size)])

    def publish_log(self) -> Checkpoint:
        """Flush tiles and publish a signed checkpoint over every entry of the journal.

        Raises LogError or StateError.
        """
        self.catch_up()
        if self.published is not None and self.published.size == self._log.size:
            return self.published
        self._log.flush()
        checkpoint = self._log.checkpoint()
        card = self._fold.card
        note = sign_checkpoint(checkpoint, card.log_origin, card.log_key.raw, self._signer.sign)
        for other in self._former:
            raw = other.public_key.raw
            signed = sign_checkpoint(checkpoint, card.log_origin, raw, other.sign)
            note += signed.removeprefix(checkpoint.body + "\n")
        self._log.publish_checkpoint(note)
        self.published = checkpoint
        return checkpoint

    def publish_dataset(self) -> None:
        """Write the segments up to a checkpoint over everything committed."""
        with suppress(DepinError):
            self.settle(wait=True)  # what failed is tried again here
        size = self.publish_log().size
        dataset = self.dataset()
        if dataset.size < size:
            self._continue(self._tail, dataset, size, self._journal, self._keys)

    def begin_dataset(self) -> None:
        """As :meth:`publish_dataset`, but the segments are written beside this thread.

        :meth:`settle` tells what became of it. Nothing is begun while something is under way.
        """
        if self.settle():
            self._begin(self.publish_log().size, full=False)

    def seal_segments(self) -> None:
        """Write segments that are full beside this thread, so that what waits is bounded.

        Raises StateError, DatasetError: what was under way has failed.
        """
        if self.settle() and self._tail.has_full() and self.published is not None:
            self._begin(self.published.size, full=True)

    @property
    def busy(self) -> bool:
        """Whether segments are being written beside this thread."""
        return self._beside.busy

    def settle(self, *, wait: bool = False) -> bool:
        """Take up segments that were written beside this thread; False while they are not.

        Raises StateError, DatasetError: they could not be written.
        """
        done = False
        try:
            done = self._beside.settle(wait=wait)
        finally:
            if not self._beside.busy:
                self._since = None
        return done

    def close(self) -> None:
        """Let nothing be under way any more. Safe to call twice."""
        self._beside.give_up()
        self._since = None

    def _begin(self, size: int, *, full: bool) -> None:
        """Write up to ``size`` in another thread: of the full segments, or of everything."""
        tail, fold = self._tail.copy(), self._fold
        self._since = []

        def work() -> Outcome:
            dataset = self.dataset()
            if full:
                tail.seal(dataset, size)
            elif dataset.size < size:
                if tail.continues(dataset, size):
                    tail.flush(dataset)
                else:
                    with Peek(self._workspace.root, fold) as peek:
                        self._continue(tail, dataset, size, peek.journal, peek.keys)
                    return lambda: self._adopt(tail)
            return lambda: self._tail.written(size)

        self._beside.begin(work)

    def _adopt(self, tail: Tail) -> None:
        """Go on with columns that were read again, and what was committed meanwhile."""
        since, self._since = self._since, None
        if since is not None:
            self._tail = tail
            tail.add(since)

    def _continue(
        self, tail: Tail, dataset: Dataset, size: int, journal: Journal, keys: KeyStore
    ) -> None:
        """Write the segments up to ``size`` from the columns, or from the journal."""
        if not tail.continues(dataset, size) and size - dataset.sealed <= MAX_REFILL:
            self._refill(tail, dataset, self._opened(journal, keys, dataset.sealed, size))
        if tail.continues(dataset, size):
            tail.flush(dataset)
        else:
            dataset.flush(self._opened(journal, keys, dataset.sealed, size), size)

    def _refill(self, tail: Tail, dataset: Dataset, entries: Iterable[OpenEntry]) -> None:
        """Begin the columns again, from the journal."""
        tail.restart(dataset)
        for entry in entries:
            if not tail.add([check_entry(entry)]):
                return

    def dataset(self) -> Dataset:
        """The dataset's writer; cells of another resolution begin with a rebuild."""
        found = self._new_dataset()
        found.keep_resolution()
        return found

    def _new_dataset(self) -> Dataset:
        return Dataset(self._workspace.public, cell_resolution=self._fold.policy.cell_resolution)

    def open_entries(self, start: int, stop: int) -> Iterator[OpenEntry]:
        """Entries [start, stop) with whatever still opens."""
        return self._opened(self._journal, self._keys, start, stop)

    def _opened(
        self, journal: Journal, keys: KeyStore, start: int, stop: int
    ) -> Iterator[OpenEntry]:
        opener = Opener(self._fold, keys)
        for stored in journal.entries(start, stop):
            if self._beside.cancelled.is_set():
                raise StateError("state.stopped", "writing the segments was given up")
            yield open_entry(opener, stored)

    def forget(self) -> None:
        """Forget what waits in memory for a segment: it is read from the journal again.

        What is being written beside this thread is waited for and not taken up.
        """
        self.close()
        self._tail.clear()

    def drop(self, refs: Collection[bytes]) -> None:
        """Take what these subjects' keys sealed out of the published segments."""
        self.forget()
        state = self._fold.state
        # An owner has a reference and no readings of his own.
        subjects = {state.subjects.with_ref(ref) for ref in refs} - {None}
        found = []
        for stored in self._journal.entries():
            if delta_kind(stored.delta) != KIND_ENVELOPE:
                continue
            entry = decode_delta(stored.delta, None, self._fold.did_of)
            if isinstance(entry, Judged) and subjects & set(entry.sealed_by):
                found.append(stored.index)
        self.dataset().rewrite_without(found)

    def rebuild(self, *, progress: Callable[[int, int], None] | None = None) -> Checkpoint:
        """Make tiles and segments again from the journal, at the place of the old ones.

        Published tiles that differ from the journal are not overwritten: LogError ``log.rewrite``.
        """
        self.close()
        size = self._journal.size
        fresh = TileLog(self._workspace.log, self._fold.card.log_origin, size=0)
        step = 4096
        for start in range(0, size, step):
            stop = min(start + step, size)
            fresh.append([entry.leaf for entry in self._journal.entries(start, stop)])
            fresh.flush()
            if progress is not None:
                progress(stop, size)
        self._log, self.published = fresh, None
        checkpoint = self.publish_log()
        self._new_dataset().rebuild(self.open_entries(0, checkpoint.size))
        return checkpoint


def open_entry(opener: Opener, stored: StoredEntry) -> OpenEntry:
    """A stored entry as the dataset takes it: closed where it is erased or administration."""
    # What is sealed of administration is in no segment: it need not be opened.
    judged = delta_kind(stored.delta) == KIND_ENVELOPE
    opened = opener.open(stored) if judged else None
    private = None if opened is None else opened.private
    if opened is None or private is None:
        return OpenEntry(stored.index, stored.leaf, None, None, None)
    return OpenEntry(stored.index, stored.leaf, opened.salt, private.envelope, private.records)
