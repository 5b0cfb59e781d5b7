"""What the bearer of a capability may do here, by what the journal knows at a receipt time.

Signing for a subject is judged at ingest (:mod:`verify.checks.capability`). Everything else that an
owner can pass on (to read data, to claim rewards, to administer) asks :func:`authorised`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from depin_id import cose
from depin_id.capability import (
    Capability,
    Challenges,
    Operation,
    StatusReference,
    read_chain,
    verify_chain,
    verify_possession,
)
from depin_id.claims import Place
from depin_id.credentials.status import StatusResult
from depin_id.errors import CredentialError
from verify.fold import Fold
from verify.identity.chains import withdrawn_as
from verify.identity.challenges import check_nonce
from verify.identity.issuers import key_by_kid
from verify.identity.statuses import status_of

HINT: Final = "ask the owner for a capability that allows it"


def owner_now(fold: Fold, device: str, at: int) -> str:
    """Whose a device is: by entries about it, and without any by its enrolment; empty if nobody's.

    Args:
        device: its DID. at: receipt time, ms since 1970.
    """
    if device in fold.identity.owners:
        return fold.identity.owner_of(device, at)
    held = fold.registry.device(device)
    return held.enrolment.owner if held is not None and not held.erased else ""


def verify_capability(fold: Fold, data: bytes, now: int) -> Capability:
    """Verify a chain by the keys that count now, and that nothing of it was withdrawn.

    Args:
        data: as received. now: receipt time, ms since 1970.

    Raises:
        CredentialError: ``capability.*``, ``issuer.*``. SignatureInvalid, EncodingError,
        EnvelopeError, KeyRefused, DIDError.
    """
    identity, policy = fold.identity, fold.policy.identity
    kid = read_chain(data)[0].sign1.headers[cose.HEADER_KID]

    def revoked(reference: StatusReference) -> StatusResult:
        return status_of(reference, identity, policy.status_max_age_s, now)

    found = verify_chain(
        data,
        network=fold.card.network,
        owner_key=lambda issuer: key_by_kid(identity, issuer, kid, now),
        now_ms=now,
        revoked=revoked,
    )
    code, why = withdrawn_as(found, identity, policy, now)
    if code:
        raise CredentialError(code, f"the capability was withdrawn: {why}", hint="ask the owner")
    return found


class _Answered(Challenges):
    """The network's challenges, which are not stored: whoever takes one notes it in an entry."""

    def __init__(self, fold: Fold, thumbprint: bytes) -> None:
        super().__init__(bound=0)
        self._fold, self._thumbprint = fold, thumbprint
        self.nonce = b""

    def take(self, nonce: bytes, purpose: str, *, now_ms: int) -> None:
        """Check a nonce, and remember it for the entry."""
        check_nonce(self._fold, nonce, self._thumbprint, now_ms)
        self.nonce = nonce


def check_bearer(fold: Fold, found: Capability, proof: bytes, purpose: str, now: int) -> bytes:
    """Whether a proof shows that the sender holds the capability's key; gives the nonce it answers.

    Whoever takes it commits an entry with that nonce, which uses it up.

    Raises:
        CredentialError: ``possession.*``. SignatureInvalid, EncodingError, EnvelopeError.
    """
    network, asked = fold.card.network, _Answered(fold, found.audience.thumbprint)
    verify_possession(
        proof,
        found,
        network=network,
        audience=network,
        purpose=purpose,
        challenges=asked,
        now_ms=now,
    )
    return asked.nonce


def check_operation(
    fold: Fold,
    found: Capability,
    operation: Operation,
    device: str,
    now: int,
    place: Place | None = None,
) -> None:
    """Whether a verified capability allows an operation on an enrolled device now.

    Args:
        place: where the device is; by default where it was enrolled.

    Raises:
        CredentialError: ``capability.operation``, ``capability.device`` (not selected, or not the
            issuer's), ``capability.region``, ``capability.expired``, ``capability.not_yet``.
    """
    held, birth = fold.registry.device(device), fold.identity.births.get(device)
    if place is None and held is not None and not held.erased:
        place = held.enrolment.place
    why = found.refusal(
        operation,
        device,
        place=place,
        at_ms=now,
        owner=owner_now(fold, device, now) or None,
        model=None if birth is None else birth.model,
    )
    if why:
        raise CredentialError(
            why, f"it does not allow to {operation.word} {device[:120]}", hint=HINT
        )


class Authorised(NamedTuple):
    """A bearer who may.

    Attributes:
        capability: what he showed. nonce: of the challenge that he answered: an entry that carries
            it has to be committed with whatever he is let do.
    """

    capability: Capability
    nonce: bytes


def authorised(
    fold: Fold,
    chain: bytes,
    proof: bytes,
    *,
    operation: Operation,
    device: str,
    now: int,
    place: Place | None = None,
) -> Authorised:
    """Whether a bearer of a capability may do an operation on a device now.

    Args:
        fold: the state as it is. chain: the capability. proof: of possession of its audience's key
            (:func:`depin_id.capability.prove`), over a challenge of this network for that key, with
            the network's DID as audience and the operation's word as purpose.
        device: DID of the device. now: receipt time, ms since 1970.
        place: where the device is, where a region asks for it.

    Raises:
        CredentialError: ``capability.*``, ``possession.*``, ``issuer.*``. SignatureInvalid,
        EncodingError, EnvelopeError, KeyRefused, DIDError.
    """
    found = verify_capability(fold, chain, now)
    check_operation(fold, found, operation, device, now, place)
    return Authorised(found, check_bearer(fold, found, proof, operation.word, now))
