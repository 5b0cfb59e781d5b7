"""The loop: take messages, appraise, commit, acknowledge, publish.

One directory has one aggregator. It acknowledges after the durable commit, never before.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from depin_id.closing import Closing
from depin_id.errors import DepinError, StateError
from depin_id.networkdir import NetworkDir
from verify import snapshot
from verify.acknowledge import Acknowledger
from verify.batch import Batch, Summary
from verify.entries import Admin, Counted, Erased, Tick
from verify.erasing import Erasing, refs_of_device, refs_of_owner
from verify.fold import Fold
from verify.identity.desk import Desk, Told
from verify.ingest import Downlink, Message, offset_of
from verify.operating import card_is_behind, former_log_signers, publish_card, settle
from verify.publisher import Publisher
from verify.receipt_time import ReceiptTime, check_asserted, steady_clock
from verify.registry import Device
from verify.replay import journal_lookup, replay
from verify.sealing import SealedEntry, seal_all
from verify.signatures import SignatureChecker
from verify.snapshots import SnapshotKeeper
from verify.store import Journal, KeyStore, NewBatch
from verify.waiting_room import Expiry, Strangers, open_quarantine
from verify.workspace import Workspace
from verify.world import Receipt

PUBLISH_MS = 1_000
"""A checkpoint at most this often while entries come in."""
TICK_MS = 10_000
"""A tick entry at most this often, so that downlink nonces stay fresh."""
HEARTBEAT_MS = 300_000
"""A tick this often when nothing comes in: idle time stays bracketed by checkpoints."""
DATASET_MS = 60_000
"""Segments are extended at most this often while running."""

ERASED_AT_ONCE = 256
"""References in one entry: a gateway may have over a thousand sensors, and leaves are bounded."""

PARKED_AT_ONCE = 256
"""How much of the quarantine is taken up in one batch: anyone can write a kid."""


def wall_clock() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class Aggregator(Closing):
    """Everything of one aggregator, opened.

    Args:
        root: its directory, made by :func:`verify.setup.init`.
        clock: milliseconds since 1970; receipt times are monotone by index whatever it does.
        steady: milliseconds that nobody sets, by which receipt times go on while ``clock`` is
            behind them. By default the system's, if ``clock`` is.
        randomness: gives so many random bytes.
        progress: called with (entries replayed, entries in all) while opening.

    Attributes:
        attesters: how often each key may attest.
        unpublished: why the newest checkpoint could not be published; None when it could.

    Raises:
        StateError: ``state.missing``, ``state.locked``, ``state.corrupt`` and others of the
            stores; the message names the file.
    """

    def __init__(
        self,
        root: Path,
        *,
        clock: Callable[[], int] = wall_clock,
        steady: Callable[[], int] | None = None,
        randomness: Callable[[int], bytes] = os.urandom,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.workspace = Workspace(root)
        self.workspace.check()
        if steady is None and clock is wall_clock:
            steady = steady_clock
        self._time = ReceiptTime(clock, steady)
        self.randomness = randomness
        self._closed = False
        self._broken: Exception | None = None
        self.unpublished: DepinError | None = None
        self.journal = Journal.open(self.workspace.journal)
        try:
            self.keys = KeyStore.open(self.workspace.keys)
            try:
                self._open(progress)
            except BaseException:
                self.keys.close()
                raise
        except BaseException:
            self.journal.close()
            raise

    def _open(self, progress: Callable[[int, int], None] | None) -> None:
        self.fold: Fold = snapshot.load(self.workspace.snapshots, self.keys, self.journal)
        self._snapshots = SnapshotKeeper(
            self.workspace.snapshots, self.keys, self.journal, self.randomness, self.fold.size
        )
        replay(self.journal, self.keys, self.fold, progress=progress)
        self._unmarked = self._time.open(self.fold.last_received_at, HEARTBEAT_MS + PUBLISH_MS)
        operating = settle(self.workspace, self.fold.card_bytes)
        self.quarantine = open_quarantine(self.workspace.quarantine)
        try:
            self._open_public(operating)
        except BaseException:
            self.quarantine.close()
            raise

    def _open_public(self, operating: NetworkDir) -> None:
        self._checker = SignatureChecker()
        self._erasing = Erasing(self.workspace.root)
        self.publisher = Publisher(
            self.workspace, self.journal, self.keys, self.fold, operating.log_signer
        )
        self._acknowledger = Acknowledger(self.fold, self.journal, operating.ack_signer)
        self.use_keys(operating)
        self._strangers, self._desk, self.attesters = Strangers(), Desk(), Strangers()
        self._expiry = Expiry(self.quarantine)
        self._published_at = self._ticked_at = self._dataset_at = 0
        # An erasure that was cut off, or undone by restoring an older key store, is finished now.
        if self.keys.erase_again(self._erased()):
            self._erasing.begin()
        if self._erasing.begun:
            try:
                self._finish_erasing()
            except DepinError as error:
                self.unpublished = error
        # An enrolment or attestation that was cut off before what waited for it was taken up.
        self.retry()

    def use_keys(self, operating: NetworkDir) -> None:
        """Acknowledge and sign the log with these keys of the card in force; publish the card.

        Raises LogError, StateError: the checkpoint that goes with the card cannot be written.
        """
        former = former_log_signers(self.workspace.operating, operating.card)
        self.publisher.sign_with(operating.log_signer, former)
        self.ack_signer = self._acknowledger.signer = operating.ack_signer
        if card_is_behind(self.workspace, self.fold.card_bytes):
            # First a checkpoint that the new card's key signed, then the card that names it.
            self.publisher.publish_log()
            publish_card(self.workspace, self.fold.card_bytes)

    def close(self) -> None:
        """Publish, take a snapshot, release the directory. Safe to call twice."""
        if self._closed:
            return
        try:
            if self._broken is None:
                self.publish()
                if self.fold.size > self._snapshots.size:
                    self.save_snapshot()
        finally:
            self.publisher.close()
            self._snapshots.close()
            self._checker.close()
            self.quarantine.close()
            self.keys.close()
            self.journal.close()
            self._closed = True

    @property
    def broken(self) -> bool:
        """Whether a commit failed, so that it has to be opened again."""
        return self._broken is not None

    # --- the handler of an ingest source ----------------------------------------------------

    def commit(self, messages: Sequence[Message]) -> list[Downlink]:
        """Judge, commit and acknowledge messages of a live source. Durable when it returns."""
        _, downlinks = self.ingest(messages)
        return downlinks

    def idle(self, now_ms: int) -> list[Downlink]:
        """What is due between batches: checkpoint, heartbeat, segments."""
        now_ms = max(now_ms, self._now())
        if self._erasing.begun:
            self._finish_erasing()
        if now_ms - self._ticked_at >= HEARTBEAT_MS:
            self.tick(now_ms)
        self._expiry.due(now_ms, self.fold.policy)
        with self._due_again():
            self.publisher.settle()
        self._publish_due(now_ms)
        if now_ms - self._dataset_at >= DATASET_MS:
            self.publisher.begin_dataset()
            self._dataset_at = now_ms
        self._snapshots.keep_up(self.fold)
        return []

    # --- taking bytes ---------------------------------------------------------------------------

    def ingest(
        self, messages: Sequence[Message], *, asserted_ms: int | None = None
    ) -> tuple[Summary, list[Downlink]]:
        """Judge and commit messages in order.

        Args:
            asserted_ms: a receipt time that the operator asserts (ms since 1970), if the genesis
                entry allows it; flagged for ever.

        Returns:
            Counts, and the acknowledgements to send down.

        Raises:
            StateError: ``state.asserted_time``; or the stores cannot write, and the aggregator
                has to be opened again.
        """
        if asserted_ms is not None:
            check_asserted(asserted_ms, self.fold.asserted_time)
        told: list[Told] = []
        if asserted_ms is None:
            messages, told = self._desk.take(self, messages)
        batch = self._batch()
        with self._whole(batch):
            batch.count_refused(told)
            found = [(message.data, message.principal, message.reply) for message in messages]
            batch.take_messages(found, self._receipt(asserted_ms), self._checker)
            self._park(batch)
        sealed = self._write(batch, *offset_of(messages))
        downlinks = self._acknowledger.answer(batch, sealed, self._now())
        downlinks += self._acknowledger.tell(told, self._now())
        try:
            self._publish_due(self._now())
        except DepinError as error:
            # It is durable, so it is acknowledged; the next try is as far off as after a success.
            self.unpublished, self._published_at = error, self._now()
        return batch.summary, downlinks

    def take_parked(self, kid: bytes) -> Summary:
        """Take up what waited in quarantine for a key, at its original receipt time."""
        summary, last = Summary(), None
        while parked := self.quarantine.take(kid, limit=PARKED_AT_ONCE, after=last):
            last = parked[-1]
            batch = self._batch()
            with self._whole(batch):
                done = [item.id for item in parked if batch.take_up(item)]
                # What a gateway carried may be of a device that is still unknown.
                self._park(batch)
            self._write(batch, "", None)
            self.quarantine.delete(done)
            summary.add(batch.summary)
        return summary

    def retry(self) -> Summary:
        """Take up whatever may count now: for keys of devices that are enrolled."""
        summary = Summary()
        for kid in self.quarantine.kids():
            if self.fold.registry.candidates(kid):
                summary.add(self.take_parked(kid))
        return summary

    def administer(self, entries: Iterable[Admin], *, at: int | None = None) -> int:
        """Commit entries of administration, of now or of ``at``; gives the index of the first.

        Raises ConfigError when one does not fit the state (duplicate key, unknown device), before
        anything is written.
        """
        batch = self._batch()
        first = self.fold.size
        with self._whole(batch):
            for entry in entries:
                batch.add_admin(entry, self._now() if at is None else at)
        self._write(batch, "", None)
        return first

    def erase(self, device: Device) -> int:
        """Destroy the data keys of a device and its sensors; gives the index of the entry.

        Leaves stay, so every proof about others still holds; envelopes, readings, tracks and
        snapshots that the keys sealed are gone, in backups too. What is left undone when it raises
        (a full disk, a reader of the keys) is tried again by :meth:`idle` and at the next start.
        """
        kids = [period.key.kid for period in device.keys]
        return self._erase(device.did, refs_of_device(self.fold, device), kids)

    def erase_owner(self, did: str) -> int:
        """Destroy the keys of an owner: as :meth:`erase`, and :func:`refs_of_owner` raises."""
        return self._erase(did, refs_of_owner(self.fold, did), [])

    def _erase(self, did: str, refs: tuple[bytes, ...], kids: Sequence[bytes]) -> int:
        steps = range(0, len(refs), ERASED_AT_ONCE)
        self._erasing.begin()
        index = self.administer([Erased(did, refs[at : at + ERASED_AT_ONCE]) for at in steps])
        # Before anything can fail: what waits in memory to be published must never be.
        self.publisher.forget()
        for kid in kids:
            parked = self.quarantine.take(kid)
            self.quarantine.delete([item.id for item in parked])
        self._finish_erasing()
        return index

    def _erased(self) -> list[bytes]:
        subjects = self.fold.state.subjects
        found = dict.fromkeys(subjects.ref(index) for index in subjects.erased())
        return list(found | self.fold.identity.forgotten)

    def _finish_erasing(self) -> None:
        """Keys, snapshots and segments: each is tried whatever becomes of the others."""
        refs = self._erased()
        with ExitStack() as last_first:
            last_first.callback(self.publisher.drop, refs)
            # The log says why before the segments are closed.
            last_first.callback(self.publisher.publish_log)
            last_first.callback(self.save_snapshot)
            last_first.callback(self.keys.erase_again, refs)
        self._erasing.end()

    def _batch(self) -> Batch:
        if self._broken is not None:
            raise StateError(
                "state.broken",
                f"an earlier commit failed: {self._broken}",
                hint="open the aggregator again",
            )
        return Batch(self.fold, journal_lookup(self.journal), self.randomness)

    @contextmanager
    def _whole(self, batch: Batch) -> Iterator[None]:
        """If a batch is left half taken the state is ahead, so nothing more is taken."""
        try:
            yield
        except BaseException as error:
            if batch.drafts or not isinstance(error, DepinError):
                self._broken = (
                    error if isinstance(error, Exception) else StateError("state.io", "cut")
                )
            raise

    def now(self) -> int:
        """The receipt time of what arrives now, ms since 1970; it never goes back."""
        return self._now()

    def _now(self) -> int:
        return self._time.now(self.fold.last_received_at)

    @property
    def clock_behind_ms(self) -> int:
        """How far the wall clock is behind the receipt times; they go on at half its speed."""
        return self._time.behind_ms

    def _receipt(self, asserted_ms: int | None) -> Receipt:
        if asserted_ms is not None:
            return Receipt(asserted_ms, ("time.asserted",))
        return Receipt(self._now())

    def allows_stranger(self, principal: str, now_ms: int) -> bool:
        """Whether somebody whom nothing authenticates may send one more; takes it off the rate."""
        return self._strangers.allow(principal, now_ms, self.fold.policy.quota)

    def _park(self, batch: Batch) -> None:
        rules = self.fold.policy.quota
        count, refused = self._strangers.park(self.quarantine, batch.parked, rules)
        batch.summary.quarantined = count
        if refused:
            batch.ask_again(refused)

    def _write(self, batch: Batch, source: str, offset: bytes | None) -> list[SealedEntry]:
        """One durable transaction. If it fails the state is ahead, so nothing more is taken."""
        rows = batch.counted_rows()
        if rows:
            batch.add_admin(Counted(rows), self._now())
        self._tick_due(batch)
        if not batch.drafts and self._mark_due():
            # Numbers of acknowledgements are receipt times: after a kill, and with a clock that was
            # set back, one that is far beyond the newest entry could be undercut.
            batch.add_admin(Counted(()), self._now())
        if not batch.drafts and offset is None:
            return []
        try:
            sealed = seal_all(batch.drafts, self.fold, self.keys)
            self.journal.append(
                NewBatch(
                    received_at=self._now(),
                    leaves=[entry.leaf for entry in sealed],
                    deltas=[entry.delta for entry in sealed],
                    sealed=[entry.sealed for entry in sealed],
                    positions=batch.positions,
                    source=source,
                    offset=offset,
                )
            )
        except BaseException as error:
            self._broken = error if isinstance(error, Exception) else StateError("state.io", "cut")
            raise
        self._unmarked = False
        self.publisher.committed([entry.checked for entry in sealed])
        return sealed

    def _mark_due(self) -> bool:
        """Whether nothing may be acknowledged without a new entry."""
        return self._unmarked or self._now() - self.fold.last_received_at >= HEARTBEAT_MS

    # --- publishing -----------------------------------------------------------------------------

    def publish(self) -> None:
        """Publish log and segments over everything committed."""
        self.publisher.publish_dataset()

    def save_snapshot(self) -> None:
        """Write a snapshot and drop the older ones."""
        self._snapshots.save(self.fold)

    def _publish_due(self, now_ms: int) -> None:
        if now_ms - self._published_at >= PUBLISH_MS:
            self.publisher.publish_log()
            with self._due_again():
                self.publisher.seal_segments()
            self.unpublished, self._published_at = None, now_ms

    @contextmanager
    def _due_again(self) -> Iterator[None]:
        """If segments that were under way could not be written, they are due at once."""
        try:
            yield
        except DepinError:
            self._dataset_at = 0
            raise

    def _tick_due(self, batch: Batch) -> None:
        published, now = self.publisher.published, self._now()
        if published is None or now - self._ticked_at < TICK_MS:
            return
        if published.size and published.size not in self.fold.state.beacons:
            batch.add_admin(Tick(published.size, published.root), now)
            self._ticked_at = now

    def tick(self, now_ms: int) -> None:
        """Publish a checkpoint and commit that downlink nonces may name it. Raises DepinError."""
        checkpoint = self.publisher.publish_log()
        self._ticked_at = now_ms
        if checkpoint.size not in self.fold.state.beacons:
            self.administer([Tick(checkpoint.size, checkpoint.root)])
