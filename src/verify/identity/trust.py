"""Manufacturers' word: certificates, batches and status lists, by what the journal knows of keys.

A signature counts by the key that counted when the aggregator received it. What was taken as an
entry (a batch, a status list) stays good when its signer's key is replaced later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from depin_id.credentials import BatchProof, BirthCertificate, ProductionBatch, verify_birth
from depin_id.credentials import verify as verify_credential
from depin_id.credentials.status import StatusResult, StatusStore
from depin_id.credentials.verifying import Verified
from depin_id.credentials.wire import read
from depin_id.errors import CredentialError, DepinError
from depin_id.keys import PublicKey
from verify.identity.issuers import key_at
from verify.identity.state import IdentityState
from verify.policy import IdentityPolicy

KeyOf = Callable[[str, str, str | None], PublicKey]
_T = TypeVar("_T")


def check_trusted(policy: IdentityPolicy, issuer: str) -> None:
    """Refuse whoever is not one of the policy's manufacturers (``credential.untrusted``)."""
    if issuer not in policy.manufacturers:
        raise CredentialError(
            "credential.untrusted",
            f"{issuer[:120]} is none of the manufacturers that the policy trusts",
            hint="[identity] manufacturers in policy.toml names them; an empty list trusts nobody",
        )


def keys_now(identity: IdentityState, policy: IdentityPolicy, at: int) -> KeyOf:
    """Gives the keys of trusted manufacturers that count at a receipt time (ms)."""

    def key_of(method: str, issuer: str, _created: str | None) -> PublicKey:
        check_trusted(policy, issuer)
        return key_at(identity, method, issuer, at)

    return key_of


def verified_then(identity: IdentityState, verify: Callable[[KeyOf], _T]) -> _T:
    """Verify again what was verified when it was received: by keys that counted at any time.

    A method may have named several keys, one after the other: the newest is tried first.

    Raises: what ``verify`` raises with the oldest.
    """
    back = more = 0

    def key_of(method: str, issuer: str, _created: str | None) -> PublicKey:
        nonlocal more
        known = identity.histories.get(issuer)
        if known is None:
            return key_at(identity, method, issuer, 0)
        keys = dict.fromkeys(span.key for span in reversed(known.spans) if span.method == method)
        if not keys:
            raise CredentialError("issuer.key", f"{method[:160]} is no key of {issuer[:120]}")
        more = len(keys) - 1
        return PublicKey.from_cose_key([*keys][min(back, more)])

    while True:
        try:
            return verify(key_of)
        except DepinError:
            if back >= more:
                raise
            back += 1


def store_then(
    identity: IdentityState, lists: Iterable[bytes], *, issuer: str | None = None, **bounds: int
) -> StatusStore:
    """A store of lists that were taken, each verified as by :func:`verified_then`.

    Args:
        issuer: DID of whoever they have to be by. bounds: of the store.
    """
    keys: list[KeyOf] = []
    store = StatusStore(key_of=lambda *asked: keys[-1](*asked), **bounds)
    for data in lists:

        def add(key_of: KeyOf, data: bytes = data) -> None:
            keys.append(key_of)
            store.add(data, issuer=issuer)

        verified_then(identity, add)
    return store


class StatusLists:
    """Status lists that were taken as entries, for one issuer's credentials.

    Args:
        identity: holds them. issuer: DID of who issued what is looked up; its lists alone count.
        max_age_s: how old a list may be.
    """

    def __init__(self, identity: IdentityState, issuer: str, max_age_s: int) -> None:
        self._identity, self._issuer, self._max_age_ms = identity, issuer, max_age_s * 1000

    def check(
        self, entry: Mapping[str, Any], *, now_ms: int, issuer: str | None = None
    ) -> StatusResult:
        """What the list says; see :class:`depin_id.credentials.StatusCheck`."""
        taken = self._identity.status.get(_uri(entry))
        lists = () if taken is None else (taken.data,)
        store = store_then(self._identity, lists, max_age_ms=self._max_age_ms)
        return store.check(entry, now_ms=now_ms, issuer=issuer or self._issuer)


def _uri(entry: Mapping[str, Any]) -> str:
    inner = entry.get("status_list")
    uri = inner.get("uri") if isinstance(inner, Mapping) else entry.get("statusListCredential")
    return uri if isinstance(uri, str) else ""


def verify_certificate(
    data: bytes, *, identity: IdentityState, policy: IdentityPolicy, did: str, at: int
) -> Verified:
    """Verify a birth certificate of a trusted manufacturer for a device.

    Args:
        data: the certificate, signed by itself or a leaf of a batch that was taken before.
        did: of the device that it has to be for. at: receipt time, ms since 1970.

    Raises:
        CredentialError: ``credential.untrusted``, ``batch.unknown``, ``issuer.*``, and all of
            :func:`depin_id.credentials.verify_birth`. SignatureInvalid, EncodingError, KeyRefused,
            DIDError.
    """
    parts = read(data)
    certificate = parts.credential
    issuer = certificate.issuer
    check_trusted(policy, issuer)
    lists = StatusLists(identity, issuer, policy.status_max_age_s)
    batch = None
    if isinstance(certificate, BirthCertificate) and isinstance(parts.proof, BatchProof):
        taken = _batch(identity, parts.proof)
        batch = verified_then(
            identity,
            lambda key_of: verify_credential(
                taken, key_of=key_of, now_ms=at, expected_type=ProductionBatch, status=lists
            ),
        )
    return verify_birth(
        data,
        key_of=keys_now(identity, policy, at),
        now_ms=at,
        batch=batch,
        expected_subject=did,
        status=lists,
    )


def _batch(identity: IdentityState, proof: BatchProof) -> bytes:
    taken = identity.batches.get(bytes.fromhex(proof.batch))
    if taken is None:
        raise CredentialError(
            "batch.unknown",
            f"the batch {proof.batch[:16]}... was not taken here",
            hint="`depin-verify batch add DIR batch.json`",
        )
    return taken[1]
