"""From the journal back to state: opening sealed parts and applying entries in order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from depin_id.errors import StateError
from verify.checks.sequence import Recorded
from verify.entries import (
    SEALED_KINDS,
    Admin,
    Judged,
    decode_delta,
    delta_kind,
    sealing_ref,
)
from verify.entry_private import Private, decode_private
from verify.fold import Fold
from verify.leaf import parse_leaf
from verify.sealing import month_of
from verify.store import Journal, KeyStore, StoredEntry


@dataclass(frozen=True, slots=True)
class OpenedEntry:
    """A stored entry, read and, where the keys still are, opened.

    Attributes:
        at: its receipt time, ms since 1970.
        private: what an envelope's sealed part opens to; None when it was erased.
        salt: the leaf's salt, or None when there is none any more.
        erased: whether keys of its sealed part were destroyed.
    """

    stored: StoredEntry
    entry: Admin | Judged
    at: int
    private: Private | None
    salt: bytes | None
    registration: bytes | None
    erased: bool


class Opener:
    """Reads stored entries against the subjects that a fold knows so far.

    Of the fold it looks at columns only, never at objects: another thread may be changing those.
    """

    def __init__(self, fold: Fold, keys: KeyStore) -> None:
        self._fold = fold
        self._keys = keys

    def open(self, stored: StoredEntry) -> OpenedEntry:
        """Read one entry and open what can be opened.

        Raises:
            StateError: ``state.entry``, ``state.sealed`` or ``state.key_missing``.
        """
        kind = delta_kind(stored.delta)
        at = leaf_time(stored)
        if kind in SEALED_KINDS:
            return self._open_sealed(stored, at)
        entry = decode_delta(stored.delta, None, self._fold.did_of)
        if not isinstance(entry, Judged):
            return OpenedEntry(stored, entry, at, None, None, None, False)
        refs = self._refs(entry)
        opened = self._unseal(stored, refs, at)
        if opened is None:
            return OpenedEntry(stored, entry, at, None, None, None, True)
        salt = self._keys.get(refs[0], month_of(at)).salt(stored.index)
        return OpenedEntry(stored, entry, at, decode_private(opened), salt, None, False)

    def _refs(self, entry: Judged) -> list[bytes]:
        subjects = self._fold.state.subjects
        refs = []
        for index in entry.sealed_by:
            if index < len(subjects):
                refs.append(subjects.ref(index))
            elif entry.ref is not None:
                refs.append(entry.ref)
            else:
                raise StateError("state.entry", "an entry names a subject that is not there")
        return refs

    def _unseal(self, stored: StoredEntry, refs: list[bytes], at: int) -> bytes | None:
        if not stored.sealed and not stored.archived:
            return None
        try:
            keys = [self._keys.get(ref, month_of(at)) for ref in refs]
        except StateError as error:
            if error.code == "state.erased":
                return None
            raise
        if stored.archived:
            raise archived(stored)
        data = stored.sealed
        for key in reversed(keys):
            data = key.open(stored.index, data)
        return data

    def _open_sealed(self, stored: StoredEntry, at: int) -> OpenedEntry:
        ref = sealing_ref(stored.delta)
        registration = self._unseal(stored, [ref], at)
        entry = decode_delta(stored.delta, registration, self._fold.did_of)
        if registration is None:
            return OpenedEntry(stored, entry, at, None, None, None, True)
        salt = self._keys.get(ref, month_of(at)).salt(stored.index)
        return OpenedEntry(stored, entry, at, None, salt, registration, False)


def archived(stored: StoredEntry) -> StateError:
    """The error for an entry whose sealed part is not here."""
    return StateError(
        "state.archived",
        f"the sealed part of entry {stored.index} is in the archived {stored.archived}",
        hint=f"`depin-verify archive DIR --from PLACE --file {stored.archived}` brings it back",
    )


def leaf_time(stored: StoredEntry) -> int:
    """The receipt time that the leaf of an entry states, ms since 1970."""
    return parse_leaf(stored.leaf).received_at


def journal_lookup(
    journal: Journal, *, before: int | None = None
) -> Callable[[int, int, int], Recorded | None]:
    """What the journal holds at (stream, epoch, n), below an index if one is given."""

    def lookup(stream: int, epoch: int, n: int) -> Recorded | None:
        found = journal.position(stream, epoch, n, before=before)
        return None if found is None else Recorded(found.entry, found.id, found.prev)

    return lookup


def replay(
    journal: Journal,
    keys: KeyStore,
    fold: Fold,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Apply every entry from ``fold.size`` to the end of the journal.

    Args:
        progress: called with (entries done, entries in all) now and then.
    """
    opener = Opener(fold, keys)
    total = journal.size
    for stored in journal.entries(fold.size):
        opened = opener.open(stored)
        fold.apply(opened.entry, opened.at, opened.private)
        if progress is not None and not stored.index % 4096:
            progress(stored.index, total)
    if progress is not None:
        progress(total, total)
