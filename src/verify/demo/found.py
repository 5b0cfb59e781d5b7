"""What the journal holds after a run: each envelope's verdict and records, by its identity."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from verify.demo.actors import Outbox
from verify.demo.ledger import UNACCOUNTED, Account
from verify.entries import Counted, Judged
from verify.fold import Fold
from verify.leaf import RecordsContent
from verify.replay import Opener
from verify.store import Journal, KeyStore
from verify.verdict import ACCEPTED
from verify.workspace import Workspace


@dataclass(frozen=True, slots=True)
class FoundEntry:
    """One envelope's entry: index, verdict, subject, thumbprint of the key, records by code."""

    index: int
    code: str
    subject: str
    signer: bytes
    records: Counter[str]


@dataclass
class Found:
    """Everything in a journal.

    Attributes:
        entries: by identity of the envelope.
        counted: (principal, code) to count, from counted entries.
        readings: records that count.
        size: entries in all.
    """

    entries: dict[bytes, FoundEntry] = field(default_factory=dict)
    counted: Counter[tuple[str, str]] = field(default_factory=Counter)
    readings: int = 0
    size: int = 0

    def account(
        self,
        name: str,
        outboxes: Iterable[Outbox],
        *,
        readings: int | None = None,
    ) -> Account:
        """What became of everything some keys sent, by the journal, then by acknowledgements."""
        sent: set[bytes] = set()
        answers: dict[bytes, str] = {}
        for outbox in outboxes:
            sent |= outbox.sent.keys()
            answers |= outbox.answers
        account = Account(name, len(sent), readings=readings)
        for identity in sent:
            entry = self.entries.get(identity)
            if entry is None:
                account.outcomes[answers.get(identity, UNACCOUNTED)] += 1
            else:
                account.outcomes[entry.code] += 1
                account.records += entry.records
        return account

    def account_of_subject(self, name: str, subject: str, readings: int) -> Account:
        """What became of the readings of a sensor that cannot sign."""
        account = Account(name, readings, readings=readings)
        for entry in self.entries.values():
            if entry.subject == subject and entry.code == ACCEPTED:
                account.records += entry.records
        account.outcomes[ACCEPTED] = account.records[""]
        lost = readings - account.records[""]
        if lost:
            account.outcomes[UNACCOUNTED] = lost
        return account


def read_journal(workspace: Workspace) -> Found:
    """Read all entries of a closed aggregator. Raises StateError."""
    fold, found = Fold(), Found()
    with Journal.open(workspace.journal, read_only=True) as journal:
        with KeyStore.open(workspace.keys, read_only=True) as keys:
            opener = Opener(fold, keys)
            for stored in journal.entries(0):
                opened = opener.open(stored)
                fold.apply(opened.entry, opened.at, opened.private)
                if isinstance(opened.entry, Judged):
                    content = None if opened.private is None else opened.private.records
                    _take(found, stored.index, opened.entry, content)
                elif isinstance(opened.entry, Counted):
                    for principal, code, count in opened.entry.rows:
                        found.counted[principal, code] += count
    found.size = fold.size
    return found


def _take(found: Found, index: int, entry: Judged, content: bytes | None) -> None:
    change = entry.change
    records: Counter[str] = Counter()
    if content is not None:
        records.update(row.code for row in RecordsContent.decode(content).rows)
    found.readings += entry.readings
    found.entries[change.id] = FoundEntry(
        index, entry.code, change.subject_did, change.thumbprint, records
    )
