"""Judging again what enrolments stand on: part of the audit."""

from __future__ import annotations

from typing import Any, Final

import cbor2

from depin_id.errors import DepinError
from depin_id.possession import read_proof
from verify.entries import Admin, Enrolled, Judged
from verify.fold import Fold
from verify.identity.enrolling import PURPOSE, verify_evidence
from verify.identity.entries import EvidenceTaken
from verify.identity.state import Birth

_NO_EVIDENCE: Final = "an enrolment without evidence, which the policy asks for"


class EvidenceReview:
    """Takes the entries of a journal one after the other, each before it is applied."""

    def __init__(self) -> None:
        self._owed: Enrolled | None = None

    def take(self, fold: Fold, entry: Admin | Judged, at: int) -> str:
        """What is wrong with an entry; empty when nothing is.

        Args:
            fold: as of the entry before. at: the entry's receipt time, ms since 1970.

        Where the evidence was erased, only that there was some is looked at.
        """
        owed, self._owed = self._owed, None
        evidence = entry if isinstance(entry, EvidenceTaken) else None
        if evidence is not None and evidence.purpose != PURPOSE:
            return "evidence for nothing that is known"
        if owed is not None and (evidence is None or owed.ref != evidence.ref):
            if fold.policy.identity.enrolment == "evidence":
                return _NO_EVIDENCE
            owed = None
        if isinstance(entry, Enrolled):
            self._owed = entry
        if evidence is None or evidence.private is None:
            return ""
        return _wrong(fold, evidence, evidence.private, at, owed)

    def finish(self, fold: Fold) -> str:
        """What is wrong with the end of the journal; empty when nothing is."""
        asked = fold.policy.identity.enrolment == "evidence"
        return _NO_EVIDENCE if asked and self._owed is not None else ""


def _wrong(
    fold: Fold, entry: EvidenceTaken, private: bytes, at: int, enrolled: Enrolled | None
) -> str:
    birth, *documents = _open(private)
    if len(documents) != 2 or entry.purpose != PURPOSE:
        return "evidence of another form"
    try:
        proof = read_proof(documents[0], network=fold.card.network)
        shown = verify_evidence(fold, proof, (documents[0], documents[1]), at)
    except DepinError as error:
        return f"{error.code}: {error.message}"
    holder = fold.state.subjects[fold.state.by_ref[entry.ref]].did
    if proof.enrolment.did != holder or proof.nonce != entry.nonce or shown.birth != birth:
        return "evidence that says something else"
    device = fold.registry.known(holder)
    if proof.enrolment.key not in [period.key for period in device.keys]:
        return "evidence of another key"
    # Of an erased device only DID and key are left to compare.
    if enrolled is not None and not device.erased and enrolled.enrolment != proof.enrolment:
        return "an enrolment that was not proven"
    return ""


def _open(private: bytes) -> tuple[Any, ...]:
    birth, *documents = cbor2.loads(private)
    return Birth(*birth), *documents
