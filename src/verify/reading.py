"""Reading an aggregator's directory while another process runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from depin_id.closing import Closing
from depin_id.errors import LogError, StateError
from verify import snapshot
from verify.fold import Fold
from verify.leaf import EnvelopeLeaf, parse_leaf
from verify.log import Checkpoint, NoteKey, read_checkpoint
from verify.replay import OpenedEntry, Opener, replay
from verify.results.listing import standings
from verify.store import Journal, KeyStore, StoredEntry
from verify.workspace import Workspace

NEWEST = 20
"""How many entries of a device are found when no position is named."""
_STEP = 1024
_FEW_KEYS = 1024


class Reader(Closing):
    """The journal and state of an aggregator as of the moment it was opened, never written to.

    Args:
        root: the aggregator's directory.
        progress: called with (entries replayed, entries in all) while opening.

    Raises:
        StateError: ``state.missing``, ``state.corrupt`` and others of the stores.
    """

    def __init__(self, root: Path, *, progress: Callable[[int, int], None] | None = None) -> None:
        self.workspace = Workspace(Path(root))
        self.workspace.check()
        # The journal first: the keys of everything in it are durable before it is.
        self.journal = Journal.open(self.workspace.journal, read_only=True)
        try:
            self.keys = KeyStore.open(self.workspace.keys, read_only=True)
        except BaseException:
            self.journal.close()
            raise
        try:
            self.fold: Fold = snapshot.load(self.workspace.snapshots, self.keys, self.journal)
            replay(self.journal, self.keys, self.fold, progress=progress)
        except BaseException:
            self.close()
            raise
        self._opener = Opener(self.fold, self.keys)

    def close(self) -> None:
        """Release the files. Safe to call twice."""
        self.keys.close()
        self.journal.close()

    @property
    def size(self) -> int:
        """The number of entries."""
        return self.fold.size

    def log_key(self) -> NoteKey:
        """The key that signs the log's checkpoints, as the card names it."""
        return _log_key(self.fold)

    def checkpoint(self) -> Checkpoint | None:
        """The published checkpoint, verified; None before the first. Raises LogError."""
        key = self.log_key()
        if not (self.workspace.log / "checkpoint").exists():
            return None
        return read_checkpoint(self.workspace.log, key.name, [key])

    def status(self) -> dict[str, Any]:
        """Where the aggregator stands, JSON-ready. The quarantine is its writer's alone."""
        fold, card = self.fold, self.fold.card
        checkpoint: dict[str, Any] | None = None
        try:
            published = self.checkpoint()
            if published is not None:
                checkpoint = {"size": published.size, "root": published.root.hex()}
        except LogError as error:
            checkpoint = {"error": error.to_json()}
        devices = fold.registry.counts()
        return {
            "network": card.network,
            "card": {
                "name": card.name,
                "number": card.number,
                "not_before": card.not_before,
                "not_after": card.not_after,
                "log_origin": card.log_origin,
            },
            "policy": {"digest": fold.policy.digest.hex(), "rules": fold.policy.rules},
            "entries": fold.size,
            "last_received_at": fold.last_received_at,
            "asserted_time": fold.asserted_time,
            "devices": devices.enrolled,
            "revoked": devices.revoked,
            "erased": devices.erased,
            "suspended": devices.suspended,
            "verdicts": dict(sorted(fold.tally.verdicts.items())),
            "counted": dict(sorted(fold.tally.counted.items())),
            "readings": fold.tally.readings,
            "sightings": fold.tally.sightings,
            "attestation": standings(fold),
            "checkpoint": checkpoint,
        }

    def opened(self, index: int) -> OpenedEntry:
        """One entry, opened as far as its keys still are.

        Raises:
            StateError: ``state.no_entry``, ``state.corrupt``, ``state.sealed``.
        """
        return self._opener.open(self.journal.entry(index))

    def find(
        self,
        *,
        did: str | None = None,
        position: tuple[int, int] | None = None,
        index: int | None = None,
        limit: int = NEWEST,
    ) -> list[int]:
        """Indexes of entries, ascending.

        Args:
            did: a device's DID, or the DID URL of a sensor; all its keys count.
            position: (epoch, n) of one envelope; several entries when keys were rotated, when a
                gateway speaks in several streams, or when it was forked. None finds the newest.
            index: the entry itself, when it is known already.
            limit: how many of the newest.

        Raises:
            StateError: ``state.no_entry`` for an index that is not there, ``state.argument``.
            LogError: ``explain.unknown`` for a DID that is not known.
        """
        if index is not None:
            return [self.journal.entry(index).index]
        if did is None:
            raise StateError("state.argument", "neither a DID nor an index was named")
        subject = self.fold.state.subject_of(did)
        if subject is None:
            raise LogError(
                "explain.unknown",
                f"{did[:120]} is not known here",
                hint="name the DID of an enrolled device, or <gateway DID>#<sensor>",
            )
        if position is None:
            return self._newest(self.fold.state.subjects[subject].ref, limit)
        return self._at(did, subject, position)

    def _newest(self, ref: bytes, limit: int) -> list[int]:
        found: list[int] = []
        for stored in self._backwards():
            # A random reference of 16 bytes stands in a leaf by being written there only.
            if ref in stored.leaf:
                found.append(stored.index)
                if len(found) >= limit:
                    break
        return found[::-1]

    def _backwards(self) -> Iterator[StoredEntry]:
        stop = self.size
        while stop > 0:
            start = max(stop - _STEP, 0)
            yield from reversed(list(self.journal.entries(start, stop)))
            stop = start

    def _at(self, did: str, subject: int, position: tuple[int, int]) -> list[int]:
        epoch, n = position
        found: set[int] = set()
        for stream in self.fold.state.streams.of(subject):
            stands = self.journal.position(stream, epoch, n)
            if stands is not None:
                found.add(stands.entry)
        if self._forked(did):
            # What came second at a position consumed nothing, so only a search finds it.
            ref = self.fold.state.subjects[subject].ref
            found.update(i for i in self._leaves_at(ref, epoch, n) if i not in found)
        return sorted(found)

    def _forked(self, did: str) -> bool:
        device = self.fold.registry.device(did.partition("#")[0])
        return device is not None and any(period.suspended_at is not None for period in device.keys)

    def _leaves_at(self, ref: bytes, epoch: int, n: int) -> Iterator[int]:
        for stored in self.journal.entries():
            if ref in stored.leaf:
                leaf = parse_leaf(stored.leaf)
                if isinstance(leaf, EnvelopeLeaf) and (leaf.device, leaf.epoch, leaf.n) == (
                    ref,
                    epoch,
                    n,
                ):
                    yield stored.index


class Peek(Closing):
    """What receipts are made from, beside an aggregator in the same process, with its live state.

    Only what never changes once it is there is looked up in the state: subjects, keys, the card.

    Args:
        root: the aggregator's directory. fold: its state.

    Raises:
        StateError: as :class:`Reader`.
    """

    def __init__(self, root: Path, fold: Fold) -> None:
        self.workspace = Workspace(Path(root))
        self.journal = Journal.open(self.workspace.journal, read_only=True)
        try:
            self.keys = KeyStore.open(self.workspace.keys, read_only=True, cache=_FEW_KEYS)
        except BaseException:
            self.journal.close()
            raise
        self.fold = fold

    def close(self) -> None:
        """Release the files. Safe to call twice."""
        self.keys.close()
        self.journal.close()

    def renew(self, fold: Fold, index: int) -> None:
        """Take up what was committed up to ``index``; ``fold`` as the aggregator has it now."""
        if index >= self.journal.size:
            self.journal.refresh()
        self.fold = fold

    def log_key(self) -> NoteKey:
        """As :meth:`Reader.log_key`."""
        return _log_key(self.fold)

    def opened(self, index: int) -> OpenedEntry:
        """As :meth:`Reader.opened`."""
        return Opener(self.fold, self.keys).open(self.journal.entry(index))


def _log_key(fold: Fold) -> NoteKey:
    return NoteKey(fold.card.log_origin, fold.card.log_key.raw)
