"""Enrolment with proof: a device shows that it holds its key, and who made it.

The enrolment and what it stands on become two entries of one commit. Nothing is fetched: what a
certificate needs (a batch, a status list, a manufacturer's history) was taken as an entry before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from depin_id.credentials import BatchProof, BirthCertificate, device_key
from depin_id.credentials.wire import read
from depin_id.enrolment import Enrolment
from depin_id.errors import ConfigError, CredentialError
from depin_id.possession import Proof, read_proof
from verify.batch import Summary
from verify.entries import Admin, Enrolled
from verify.fold import Fold
from verify.identity.binding import check_bound
from verify.identity.challenges import check_nonce
from verify.identity.desk import StatementResult, attempt
from verify.identity.entries import EvidenceTaken
from verify.identity.state import Birth, evidence
from verify.identity.trust import verify_certificate
from verify.requests import hexed
from verify.verdict import ACCEPTED

if TYPE_CHECKING:
    from verify.aggregator import Aggregator

PURPOSE: Final = "enrolment"


class Shown(NamedTuple):
    """What a device showed, verified.

    Attributes:
        proof, birth: what they say. documents: the proof and the certificate as they came.
    """

    proof: Proof
    birth: Birth
    documents: tuple[bytes, bytes]


def verify_evidence(fold: Fold, proof: Proof, documents: tuple[bytes, bytes], now: int) -> Shown:
    """Verify what a device shows against the state as it is. Pure: an audit does it again.

    Args:
        proof: as it was read. documents: the proof and the certificate as they came.
        now: receipt time, ms since 1970.

    Raises:
        CredentialError: ``possession.*``, ``credential.*``, ``batch.*``, ``issuer.*``.
        ConfigError: ``registry.did_unbound``, ``registry.serial``. Others of
        :func:`verify.identity.trust.verify_certificate`.
    """
    enrolment, identity, certificate = proof.enrolment, fold.identity, documents[1]
    check_nonce(fold, proof.nonce, enrolment.key.thumbprint, now)
    digest = hashlib.sha256(certificate).digest()
    if proof.certificate != digest:
        raise CredentialError(
            "possession.certificate",
            "the proof was made for another certificate, or for none",
            hint="`depin-id device prove --certificate FILE` with the file that is shown",
        )
    found = verify_certificate(
        certificate, identity=identity, policy=fold.policy.identity, did=enrolment.did, at=now
    ).credential
    if not isinstance(found, BirthCertificate):
        raise CredentialError("credential.type", "this is no birth certificate")
    subject, key = found.credential_subject, enrolment.key
    certified = device_key(subject)
    known = identity.histories.get(enrolment.did)
    # A board that has another key since keeps its birth certificate, if its history has both.
    if certified != key and (known is None or known.span_of(certified.cose_key) is None):
        raise CredentialError(
            "credential.subject_key",
            "the certificate is for another key than the one that signed the proof",
            hint="it belongs to another device",
        )
    check_bound(identity, enrolment, now, certified)
    _check_serial(fold, found.issuer, subject.serial, enrolment.did)
    shown = read(certificate).proof
    batch = bytes.fromhex(shown.batch) if isinstance(shown, BatchProof) else b""
    birth = Birth(
        enrolment.did,
        found.issuer,
        subject.serial,
        subject.model,
        subject.hardware_revision,
        subject.key_protection,
        batch,
        bytes.fromhex(subject.claim_digest or ""),
        digest,
    )
    return Shown(proof, birth, documents)


def _check_serial(fold: Fold, issuer: str, serial: str, did: str) -> None:
    holder = fold.identity.serials.get((issuer, serial))
    if holder is None or holder == did:
        return
    device = fold.registry.device(holder)
    if device is not None and device.revoked_at is None:
        raise ConfigError(
            "registry.serial",
            "another device of this manufacturer has this serial number",
            hint="revoke the other one if it is gone; one of the two certificates is a copy",
        )


def enrol_proven(
    aggregator: Aggregator,
    documents: tuple[bytes, bytes],
    *,
    effective_from: int | None = None,
    self_service: bool = False,
) -> dict[str, Any]:
    """Take a device in by what it shows: one commit of the enrolment and its evidence.

    A device that the operator took in without evidence only gets its evidence.

    Args:
        documents: proof of possession and birth certificate, as they came.
        effective_from: receipt time (ms) from which the key counts, within the policy's
            ``max_age_s``. By default that far back if the proof asks for it, else now.
        self_service: whether the device came by itself, and has only its own word.

    Returns:
        ``{"did", "index", "known", "effective_from", "parked"}``.

    Raises:
        ConfigError: ``registry.*``. Others of :func:`verify_evidence`.
    """
    proof = read_proof(documents[0], network=aggregator.fold.card.network)
    return _enrol(aggregator, proof, documents, effective_from, self_service)


def _enrol(
    aggregator: Aggregator,
    proof: Proof,
    documents: tuple[bytes, bytes],
    effective_from: int | None,
    self_service: bool,
) -> dict[str, Any]:
    from verify import admin

    now, enrolment = aggregator.now(), proof.enrolment
    if self_service and (enrolment.role != "device" or enrolment.owner):
        raise ConfigError(
            "registry.self_service",
            "who comes by itself is a device, and has no owner yet",
            hint="the operator takes gateways in; an owner claims his device",
        )
    shown = verify_evidence(aggregator.fold, proof, documents, now)
    since = admin.bounded(aggregator, effective_from, now, earlier=proof.earlier)
    ref = _held(aggregator, enrolment)
    entries: list[Admin] = []
    known = ref is not None
    if ref is None:
        ref = aggregator.randomness(16)
        admin.check_enrolment(aggregator, enrolment)
        entries.append(Enrolled(ref, since, enrolment))
    private = evidence(shown.birth, *shown.documents)
    entries.append(EvidenceTaken(ref, PURPOSE, proof.nonce, private))
    index = aggregator.administer(entries, at=now)
    parked = Summary() if known else aggregator.take_parked(enrolment.key.kid)
    return {"did": enrolment.did, "index": index, "known": known} | {
        "effective_from": None if known else since,
        "parked": parked.to_json(),
    }


def _held(aggregator: Aggregator, enrolment: Enrolment) -> bytes | None:
    """The reference of a device that is in with this very key, and has shown nothing yet."""
    device = aggregator.fold.registry.device(enrolment.did)
    if (
        device is None
        or device.erased
        or device.revoked_at is not None
        or device.keys[-1].key != enrolment.key
        or device.did in aggregator.fold.identity.births
    ):
        return None
    return aggregator.fold.state.subjects.ref(device.subject)


def hear(aggregator: Aggregator, parts: Sequence[bytes], _now: int) -> StatementResult:
    """Answer ``["depin-statement/1", "enrol", proof, certificate]``."""
    if len(parts) != 2:
        return StatementResult("statement.malformed")
    proof = read_proof(parts[0], network=aggregator.fold.card.network)
    recipient = proof.enrolment.key.thumbprint

    def work() -> StatementResult:
        answer = _enrol(aggregator, proof, (parts[0], parts[1]), None, True)
        return StatementResult(ACCEPTED, recipient, answer["index"])

    return attempt(aggregator, recipient, work)


def enrol_with_evidence(aggregator: Aggregator, request: Mapping[str, Any]) -> dict[str, Any]:
    """The operation ``enrol`` with ``proof`` and ``certificate`` (hexadecimal)."""
    documents = (hexed(request, "proof"), hexed(request, "certificate"))
    return enrol_proven(aggregator, documents, effective_from=request.get("effective_from"))
