"""Whose key signed a credential or statement, by what the journal knows at a receipt time."""

from __future__ import annotations

from depin_id.did.jwk import parse_did_jwk
from depin_id.did.literal import literal_key
from depin_id.enrolment import Enrolment
from depin_id.errors import CredentialError, DepinError
from depin_id.keys import PublicKey
from verify.identity.state import IdentityState, KnownHistory


def _history_of(identity: IdentityState, did: str) -> KnownHistory:
    known = identity.histories.get(did)
    if known is None or known.deactivated:
        raise CredentialError(
            "issuer.unknown",
            f"the history of {did[:120]} is not known here, or it was deactivated",
            hint="`depin-verify history DIR did.jsonl` takes it",
        )
    return known


def _not_now(what: str) -> CredentialError:
    return CredentialError(
        "issuer.key", what, hint="sign with a key of the newest version of the DID"
    )


def key_at(identity: IdentityState, method: str, did: str, at: int) -> PublicKey:
    """The key of a verification method that counts at a receipt time.

    A did:key or did:jwk is its key. The keys of any other DID are those of the history that was
    taken last: whoever stole an old key cannot go back to when it counted.

    Args:
        method: DID URL of the verification method. did: whose it has to be.
        at: receipt time, ms since 1970; never a time that the signer states.

    Raises:
        CredentialError: ``issuer.method``, ``issuer.unknown``, ``issuer.key``.
        DIDError, KeyRefused: the DID or its key.
    """
    if method.partition("#")[0] != did:
        raise CredentialError(
            "issuer.method",
            f"{method[:120]} is no key of {did[:120]}",
            hint="only keys of the issuer's own DID count",
        )
    if (own := literal_key(did)) is not None:
        return own
    # Newest first: a name that a new key took over is the new key's, also while the old one ends.
    for span in reversed(_history_of(identity, did).spans):
        if span.method == method and span.since <= at and (span.until is None or at < span.until):
            return PublicKey.from_cose_key(span.key)
    raise _not_now(f"{method[:160]} does not count now")


def key_by_kid(identity: IdentityState, did: str, kid: bytes, at: int) -> PublicKey:
    """The key of a DID that counts at a receipt time and has this kid, for what names no method.

    Raises:
        CredentialError: ``issuer.unknown``, ``issuer.key``. DIDError, KeyRefused.
    """
    if (own := literal_key(did)) is not None:
        return own
    for key in _history_of(identity, did).keys_at(at):
        if key.kid == kid:
            return key
    raise _not_now(f"no key of {did[:120]} that counts now signed it")


def names_key(identity: IdentityState, enrolment: Enrolment, at: int) -> bool:
    """Whether the DID of an enrolment itself says that the key beside it counts now.

    A did:key and a did:jwk are their key; any other DID has to have a history that was taken.
    """
    did, key = enrolment.did, enrolment.key
    if enrolment.is_did_key:
        return True
    try:
        if did.startswith("did:jwk:"):
            return parse_did_jwk(did) == key
    except DepinError:
        return False
    known = identity.histories.get(did)
    return known is not None and not known.deactivated and key in known.keys_at(at)
