"""What follows from the journal: log tiles, checkpoint, Parquet segments. All of it can be rebuilt.

Nothing is published before its entries are durable, and nothing here can change a verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from depin_id.errors import StateError
from depin_id.keys import Signer
from verify.dataset import Dataset, OpenEntry
from verify.entries import Judged, decode_delta, delta_kind
from verify.fold import Fold
from verify.leaf import KIND_ENVELOPE
from verify.log import Checkpoint, TileLog, sign_checkpoint
from verify.replay import Opener
from verify.store import Journal, KeyStore, StoredEntry
from verify.workspace import Workspace


class Publisher:
    """Writes the public side of one aggregator."""

    def __init__(
        self,
        workspace: Workspace,
        journal: Journal,
        keys: KeyStore,
        fold: Fold,
        log_signer: Signer,
    ) -> None:
        self._workspace = workspace
        self._journal = journal
        self._keys = keys
        self._fold = fold
        self._signer = log_signer
        self._log = TileLog(workspace.log, fold.card.log_origin)
        self.published: Checkpoint | None = None
        self._check_history()

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

    def catch_up(self) -> None:
        """Give the log every entry that the journal has and it has not, e.g. after a crash."""
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
        self._log.publish_checkpoint(note)
        self.published = checkpoint
        return checkpoint

    def publish_dataset(self) -> None:
        """Write the segments up to the published checkpoint."""
        if self.published is None:
            self.publish_log()
        if self.published is None:
            return
        dataset, size = self.dataset(), self.published.size
        if dataset.size < size:
            dataset.flush(self.open_entries(dataset.sealed, size), size)

    def dataset(self) -> Dataset:
        """The dataset's writer; cells of another resolution begin with a rebuild."""
        found = self._new_dataset()
        found.keep_resolution()
        return found

    def _new_dataset(self) -> Dataset:
        return Dataset(self._workspace.public, cell_resolution=self._fold.policy.cell_resolution)

    def open_entries(self, start: int, stop: int) -> Iterator[OpenEntry]:
        """Entries [start, stop) with whatever still opens."""
        opener = Opener(self._fold, self._keys)
        for stored in self._journal.entries(start, stop):
            yield open_entry(opener, stored)

    def drop(self, refs: Collection[bytes]) -> None:
        """Take what these subjects' keys sealed out of the published segments."""
        state = self._fold.state
        subjects = {state.by_ref[ref] for ref in refs}
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
