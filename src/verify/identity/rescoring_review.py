"""Judging again what was re-scored: part of the audit. Nobody loses readings on a bare word."""

from __future__ import annotations

from typing import Final

from verify.entries import Admin, Judged, decode_delta
from verify.fold import Fold
from verify.identity.entries import Compromised, Rescored
from verify.identity.rescoring import CODE
from verify.replay import leaf_time
from verify.store import Journal
from verify.verdict import ACCEPTED

_READINGS: Final = "other readings than the entries had"


class RescoringReview:
    """Takes the entries of a journal one after the other, each before it is applied.

    A key's mark and the entries that count no more for it stand together in one commit.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._ref, self._marks = b"", dict[bytes, int]()
        self._begun, self._left = False, 0

    def take(self, fold: Fold, entry: Admin | Judged, at: int) -> str:
        """What is wrong with an entry; empty when nothing is.

        Args:
            fold: as of the entry before. at: the entry's receipt time, ms since 1970.
        """
        if isinstance(entry, Rescored):
            return self._rescored(fold, entry)
        wrong = ""
        if not isinstance(entry, Compromised) or self._begun or entry.ref != self._ref:
            wrong = self.finish()
            self._ref, self._marks, self._begun, self._left = b"", {}, False, 0
        if isinstance(entry, Compromised):
            wrong = wrong or self._compromised(fold, entry, at)
        return wrong

    def finish(self) -> str:
        """What is wrong with the end of a commit; empty when nothing is."""
        return _READINGS if self._left else ""

    def _compromised(self, fold: Fold, entry: Compromised, at: int) -> str:
        held = fold.registry.holder(entry.thumbprint)
        if held is None or fold.state.subjects.ref(held[0].subject) != entry.ref:
            return "a key that is not the device's"
        if entry.since > at:
            return "from a time that is still to come"
        self._ref, self._marks[entry.thumbprint] = entry.ref, entry.since
        return ""

    def _rescored(self, fold: Fold, entry: Rescored) -> str:
        if entry.ref != self._ref or entry.code != CODE:
            return "re-scored for no key that was compromised"
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
        since = self._marks.get(found.change.thumbprint)
        if since is None or leaf_time(stored) < since:
            return "was not signed by that key since then"
        if fold.identity.is_rescored(index):
            return "was re-scored before"
        self._left -= found.readings
        return ""
