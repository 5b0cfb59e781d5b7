"""Appraising again what was appraised: part of the audit."""

from __future__ import annotations

import cbor2

from depin_id.attestation.ear import result_digest
from depin_id.attestation.message import read_message
from depin_id.errors import DepinError
from verify.entries import Admin, Judged
from verify.fold import Fold
from verify.identity.entries import Rescored
from verify.results.entries import Disavowed, MaterialTaken, ResultTaken
from verify.results.materials import check_material
from verify.results.revoking import untold
from verify.results.taking import is_shared, verify_message


class ResultsReview:
    """Takes the entries of a journal one after the other, each before it is applied.

    What a list revokes has to be disavowed in the commit that takes the list: nobody is spared.
    """

    def __init__(self) -> None:
        self._untold: set[bytes] = set()

    def take(self, fold: Fold, entry: Admin | Judged, at: int) -> str:
        """What is wrong with an entry; empty when nothing is.

        Args:
            fold: as of the entry before. at: the entry's receipt time, ms since 1970.

        Where a result was erased, nothing is left to look at. That a TPM opened its credential is
        the aggregator's word: it saw the secret come back.
        """
        if isinstance(entry, Disavowed):
            self._untold.difference_update(entry.ids)
            return ""
        if not isinstance(entry, Rescored) and self._untold:
            return self.finish()
        try:
            if isinstance(entry, MaterialTaken):
                check_material(fold, entry)
                self._untold = untold(fold, entry, at)
            if isinstance(entry, ResultTaken) and entry.private is not None:
                return _wrong(fold, entry, entry.private, at)
        except DepinError as error:
            return f"{error.code}: {error.message}"
        return ""

    def finish(self) -> str:
        """What is wrong with the end of a commit; empty when nothing is."""
        return "results that were revoked, and not disavowed" if self._untold else ""


def _wrong(fold: Fold, entry: ResultTaken, private: bytes, at: int) -> str:
    payload, data, opened, counters = cbor2.loads(private)
    message = read_message(data)
    pair = None if opened is None else (opened[0], opened[1])
    shown = verify_message(fold, message, pair, at)
    holder = fold.state.subjects[fold.state.by_ref[entry.ref]].did
    said = (entry.digest, entry.nonce, entry.boot, entry.level, entry.not_after)
    result = shown.result
    meant = (
        result_digest(shown.payload),
        message.nonce,
        result.boot,
        result.level,
        result.not_after,
    )
    if shown.payload != payload or said != meant or result.did != holder:
        return "a result that says something else"
    if dict(counters) != dict(shown.claims.counters):
        return "a result with other counters"
    # Who showed the hardware before may have been erased since.
    blind = bool(fold.identity.results.closed)
    if entry.shared != is_shared(fold, result) and not (entry.shared and blind):
        return "a result that says otherwise who has shown its hardware"
    return ""
