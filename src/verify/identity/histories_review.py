"""Holding histories that were taken against the logs that their controllers publish: part of the
audit. The journal keeps which keys counted when, and the digest of the log that said so."""

from __future__ import annotations

import hashlib
from pathlib import Path

from depin_id.did.making import LOG_FILE
from depin_id.did.source import FileSource
from depin_id.did.webvh import History, verify_log
from depin_id.errors import DIDError
from verify.entries import Admin, Judged
from verify.fold import Fold
from verify.identity.entries import HistoryTaken
from verify.identity.histories import entry_of, known_of

_WITNESS = "did-witness.json"


class HistoriesReview:
    """Takes the entries of a journal one after the other, each before it is applied.

    Args:
        dids: a folder of DIDs' files (:class:`~depin_id.did.source.FileSource`); None looks at
            no history.

    Attributes:
        checked, unchecked: how many histories had their log in the folder, and how many not.
    """

    def __init__(self, dids: Path | None = None) -> None:
        self._logs = None if dids is None else FileSource(dids)
        self.checked = self.unchecked = 0

    def take(self, fold: Fold, entry: Admin | Judged, at: int) -> str:
        """What is wrong with an entry; empty when nothing is.

        Args:
            fold: as of the entry before. at: the entry's receipt time, ms since 1970.
        """
        if not isinstance(entry, HistoryTaken):
            return ""
        log = None if self._logs is None else self._logs.read(entry.did, LOG_FILE, "")
        if log is None or self._logs is None:
            self.unchecked += 1
            return ""
        self.checked += 1
        data = _as_taken(log, entry)
        if data is None:
            return "a history whose log is another than the one that is published"
        try:
            witness = self._logs.read(entry.did, _WITNESS, "")
            history: History = verify_log(data, witness=witness, now_ms=at)
        except DIDError as error:
            return f"a history that does not verify: {error.code}"
        again = entry_of(history, data, known_of(fold.identity, entry.scid), fold.policy, at)
        return "" if again == entry else "a history with other keys than its log has"


def _as_taken(log: bytes, entry: HistoryTaken) -> bytes | None:
    """The beginning of a log that has the digest which the entry names."""
    data = b"".join(log.splitlines(keepends=True)[: entry.number])
    for found in (data, data.rstrip(b"\r\n"), log):
        if hashlib.sha256(found).digest() == entry.log:
            return found
    return None
