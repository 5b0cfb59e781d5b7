"""Judging again what was re-scored: part of the audit. Nobody loses readings on a bare word."""

from __future__ import annotations

from typing import Final

from verify.entries import Admin, Judged, decode_delta
from verify.fold import Fold
from verify.identity.entries import Compromised, Rescored
from verify.identity.rescoring import CODE
from verify.replay import leaf_time
from verify.results.entries import Disavowed
from verify.results.materials import materials_of
from verify.results.revoking import CODE as REVOKED
from verify.store import Journal
from verify.verdict import ACCEPTED

_READINGS: Final = "other readings than the entries had"


class RescoringReview:
    """Takes the entries of a journal one after the other, each before it is applied.

    A mark (a key that was somebody else's, results on revoked hardware) and the entries that count
    no more for it stand together in one commit.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._ref, self._code, self._marks = b"", "", dict[bytes, int]()
        self._begun, self._left = False, 0

    def take(self, fold: Fold, entry: Admin | Judged, at: int) -> str:
        """What is wrong with an entry; empty when nothing is.

        Args:
            fold: as of the entry before. at: the entry's receipt time, ms since 1970.
        """
        if isinstance(entry, Rescored):
            return self._rescored(fold, entry)
        marks = entry if isinstance(entry, Compromised | Disavowed) else None
        code = CODE if isinstance(entry, Compromised) else REVOKED
        wrong = ""
        if marks is None or self._begun or (marks.ref, code) != (self._ref, self._code):
            wrong = self.finish()
            self._ref, self._code, self._marks = b"", code, {}
            self._begun, self._left = False, 0
        if marks is None or wrong:
            return wrong
        if marks.since > at:
            return "from a time that is still to come"
        self._ref = marks.ref
        if isinstance(marks, Compromised):
            return self._compromised(fold, marks)
        return self._disavowed(fold, marks, at)

    def finish(self) -> str:
        """What is wrong with the end of a commit; empty when nothing is."""
        return _READINGS if self._left else ""

    def _compromised(self, fold: Fold, entry: Compromised) -> str:
        held = fold.registry.holder(entry.thumbprint)
        if held is None or fold.state.subjects.ref(held[0].subject) != entry.ref:
            return "a key that is not the device's"
        self._marks[entry.thumbprint] = entry.since
        return ""

    def _disavowed(self, fold: Fold, entry: Disavowed, at: int) -> str:
        self._marks |= dict.fromkeys(entry.ids, entry.since)
        holder = fold.state.subjects[fold.state.by_ref[entry.ref]]
        results, revocations = fold.identity.results, materials_of(fold, at).revocations
        for identity in entry.ids:
            if results.closed.get(identity) == entry.ref:
                # It was erased later: what it had shown is gone with it.
                continue
            held = results.result(identity)
            if held is None or held.did != holder.did:
                return "a result that is not the device's"
            if not revocations.revoked(held.identifiers):
                return "a result of which nothing was revoked"
        return ""

    def _rescored(self, fold: Fold, entry: Rescored) -> str:
        if not self._marks or (entry.ref, entry.code) != (self._ref, self._code):
            return "re-scored for nothing that was revoked or compromised"
        if not self._begun:
            self._begun, self._left = True, entry.readings
        elif entry.readings:
            return _READINGS
        after = -1
        for first, count in entry.runs:
            if first <= after or count < 1 or first + count > fold.size:
                return "runs that do not rise"
            after = first + count - 1
            for index in range(first, first + count):
                wrong = self._counted(fold, index)
                if wrong:
                    return f"entry {index} {wrong}"
        return ""

    def _counted(self, fold: Fold, index: int) -> str:
        stored = self._journal.entry(index)
        found = decode_delta(stored.delta, None, fold.did_of)
        if not isinstance(found, Judged) or found.code != ACCEPTED:
            return "was not accepted"
        change = found.change
        since = self._marks.get(change.thumbprint if self._code == CODE else change.result)
        if since is None or leaf_time(stored) < since:
            return "does not stand on what was revoked, or was received before"
        if fold.identity.is_rescored(index):
            return "was re-scored before"
        self._left -= found.readings
        return ""
