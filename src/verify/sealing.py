"""Drafts to what rests: leaves with salted commitments, deltas, sealed parts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

from depin_id.errors import StateError
from verify.batch import AdminDraft, Draft, EnvelopeDraft
from verify.dataset.rows import CheckedEntry, OpenEntry
from verify.entries import (
    CARD,
    COUNTED,
    ENROL,
    ERASE,
    GENESIS,
    POLICY,
    REVOKE,
    ROTATE,
    TICK,
    Admin,
    CardSet,
    Counted,
    Enrolled,
    Erased,
    Genesis,
    PolicySet,
    Revoked,
    Rotated,
    Tick,
)
from verify.fold import Fold
from verify.identity import entries as identity
from verify.leaf import AdminLeaf, EnvelopeLeaf, commitment
from verify.policy import Policy
from verify.state import State
from verify.store import KeyStore
from verify.verdict import Accepted


class SealedEntry(NamedTuple):
    """One entry as it is written, and as the dataset takes it."""

    leaf: bytes
    delta: bytes
    sealed: bytes
    checked: CheckedEntry


_DAY_MS = 86_400_000


def month_of(at: int) -> int:
    """The month of a time in ms since 1970, as yyyymm in UTC."""
    return _month_of_day(at // _DAY_MS)


@lru_cache(maxsize=4096)
def _month_of_day(day: int) -> int:
    when = datetime.fromtimestamp(day * _DAY_MS // 1000, UTC)
    return when.year * 100 + when.month


def seal_all(drafts: Sequence[Draft], fold: Fold, keys: KeyStore) -> list[SealedEntry]:
    """Seal drafts in order. Makes the keys they need durable first.

    Raises StateError from the key store.
    """
    state = fold.state
    keys.ensure({pair for draft in drafts for pair in _pairs(draft, state)})
    return [_seal(draft, fold, keys) for draft in drafts]


def _pairs(draft: Draft, state: State) -> list[tuple[bytes, int]]:
    month = month_of(draft.at)
    if isinstance(draft, EnvelopeDraft):
        sealing = [state.subjects[index] for index in draft.entry.sealed_by]
        # An erased device has no keys any more; what it still sends rests as its leaf alone.
        return [(subject.ref, month) for subject in sealing if not subject.erased]
    ref = _sealing_ref(draft.entry, state)
    return [] if ref is None else [(ref, month)]


def _sealing_ref(entry: Admin, state: State) -> bytes | None:
    """Under whose key the registration in an entry rests; None without one."""
    if isinstance(entry, Enrolled | identity.Sealed):
        return entry.ref
    if isinstance(entry, Rotated):
        return state.subjects[state.by_did[entry.did]].ref
    return None


def _seal(draft: Draft, fold: Fold, keys: KeyStore) -> SealedEntry:
    if isinstance(draft, EnvelopeDraft):
        return _seal_envelope(draft, fold, keys)
    return _seal_admin(draft, fold, keys)


def _seal_envelope(draft: EnvelopeDraft, fold: Fold, keys: KeyStore) -> SealedEntry:
    index, month = draft.index, month_of(draft.at)
    subjects = [fold.state.subjects[number] for number in draft.entry.sealed_by]
    if any(subject.erased for subject in subjects):
        leaf = envelope_leaf(draft, subjects[0].ref, bytes(32), None, fold.policy)
        encoded = leaf.encode()
        closed = OpenEntry(index, encoded, None, None, None)
        return SealedEntry(encoded, draft.delta, b"", CheckedEntry(closed, leaf, None))
    data_keys = [keys.get(subject.ref, month) for subject in subjects]
    sealed, salt = draft.private, data_keys[0].salt(index)
    for key in data_keys:
        sealed = key.seal(index, sealed)
    envelope = commitment(salt, draft.envelope)
    records = None if draft.records is None else commitment(salt, draft.records)
    leaf = envelope_leaf(draft, subjects[0].ref, envelope, records, fold.policy)
    encoded = leaf.encode()
    opened = OpenEntry(index, encoded, salt, draft.envelope, draft.records)
    return SealedEntry(encoded, draft.delta, sealed, CheckedEntry(opened, leaf, draft.content))


def envelope_leaf(
    draft: EnvelopeDraft,
    ref: bytes,
    envelope: bytes,
    records: bytes | None,
    policy: Policy,
) -> EnvelopeLeaf:
    """The public face of an envelope's entry."""
    verdict, change = draft.verdict, draft.entry.change
    return EnvelopeLeaf(
        device=ref,
        epoch=change.epoch,
        n=change.n,
        envelope=envelope,
        records=records,
        code=verdict.code,
        flags=verdict.flags,
        level=verdict.level if isinstance(verdict, Accepted) else "",
        received_at=draft.at,
        policy=policy.digest[:16],
        rules=policy.rules,
    )


def _seal_admin(draft: AdminDraft, fold: Fold, keys: KeyStore) -> SealedEntry:
    entry, sealed = draft.entry, b""
    proof: bytes | None = None
    ref = _sealing_ref(entry, fold.state)
    if ref is not None and draft.registration is not None:
        key = keys.get(ref, month_of(draft.at))
        sealed = key.seal(draft.index, draft.registration)
        proof = commitment(key.salt(draft.index), draft.registration)
    leaf = admin_leaf(entry, draft.at, fold, proof)
    encoded = leaf.encode()
    checked = CheckedEntry(OpenEntry(draft.index, encoded, None, None, None), leaf, None)
    return SealedEntry(encoded, draft.delta, sealed, checked)


def admin_leaf(entry: Admin, at: int, fold: Fold, registration: bytes | None) -> AdminLeaf:
    """The public face of an entry of administration: nothing that names a person."""
    body: Any
    match entry:
        case Genesis(card, asserted):
            kind, body = GENESIS, [_digest(card), fold.card.network, asserted]
        case PolicySet(encoded, _):
            policy = Policy.from_encoded(encoded)
            kind, body = POLICY, [policy.digest, policy.rules]
        case CardSet(card):
            kind, body = CARD, [_digest(card), fold.card.number]
        case Enrolled(ref, since, _):
            kind, body = ENROL, [ref, since, registration]
        case Rotated(did, _, since, until):
            overlap = [] if until is None else [until]
            kind, body = ROTATE, [_ref(fold, did), since, registration, *overlap]
        case Revoked(did, since, _):
            kind, body = REVOKE, [_ref(fold, did), since]
        case Erased(_, refs):
            kind, body = ERASE, [list(refs)]
        case Tick(size, root):
            kind, body = TICK, [size, root]
        case Counted(rows):
            kind, body = COUNTED, _by_code(rows)
        case _:
            kind, body = entry.KIND, entry.public()
            if isinstance(entry, identity.Sealed):
                body.append(registration)
    return AdminLeaf(kind, at, body)


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _ref(fold: Fold, did: str) -> bytes:
    device = fold.registry.device(did)
    if device is None:
        raise StateError("state.entry", f"{did} is not enrolled")
    return fold.state.subjects[device.subject].ref


def _by_code(rows: Sequence[tuple[str, str, int]]) -> list[list[Any]]:
    counts: dict[str, int] = {}
    for _, code, count in rows:
        counts[code] = counts.get(code, 0) + count
    return [[code, count] for code, count in sorted(counts.items())]
