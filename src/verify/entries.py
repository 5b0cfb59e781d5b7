"""The entries of the journal: what each kind stores as leaf, delta and sealed part.

A delta is the state change, readable without keys, so audit can fold over what was erased. What is
personal (envelopes, records, time slots, tracks, registrations) is in the sealed part.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, NoReturn

import cbor2

from depin_id import cbor
from depin_id.did.key import parse_did_key
from depin_id.enrolment import Enrolment
from depin_id.errors import DepinError, StateError
from depin_id.keys import PublicKey
from verify.checks.clock import Anchor
from verify.checks.quota import Bucket
from verify.identity import entries as identity
from verify.identity.state import Spending
from verify.leaf import KIND_ENVELOPE
from verify.state import Mark
from verify.world import Change

GENESIS, POLICY, CARD, ENROL, ROTATE, REVOKE, ERASE, TICK, COUNTED = range(1, 10)

KIND_NAMES = {
    GENESIS: "genesis",
    POLICY: "policy",
    CARD: "card",
    ENROL: "enrol",
    ROTATE: "rotate",
    REVOKE: "revoke",
    ERASE: "erase",
    TICK: "tick",
    COUNTED: "counted",
    KIND_ENVELOPE: "envelope",
    **identity.KIND_NAMES,
}

SEALED_KINDS = frozenset((ENROL, *identity.SEALED_KINDS))
"""Kinds that say more to whoever can open their sealed part; the delta names its reference."""


@dataclass(frozen=True, slots=True)
class Genesis:
    """The first entry: the network's card and whether receipt times may be asserted, for ever."""

    card: bytes
    asserted_time: bool


@dataclass(frozen=True, slots=True)
class PolicySet:
    """The policy in force from here on, with the content of every profile it names."""

    encoded: bytes
    profiles: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class CardSet:
    """A newer network card."""

    card: bytes


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A device taken in; its registration is sealed under its own key."""

    ref: bytes
    since: int
    enrolment: Enrolment


@dataclass(frozen=True, slots=True)
class Rotated:
    """A new key of a device; the one before counts until ``until``, or until ``since`` if None."""

    did: str
    key: PublicKey
    since: int
    until: int | None = None


@dataclass(frozen=True, slots=True)
class Revoked:
    """A device that is accepted no more from a receipt time on."""

    did: str
    since: int
    reason: str


@dataclass(frozen=True, slots=True)
class Erased:
    """A device and its sensors, whose data keys were destroyed."""

    did: str
    refs: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Tick:
    """A checkpoint was made: downlink nonces may name it."""

    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Counted:
    """What was counted without entries of its own: (principal, code, count) each."""

    rows: tuple[tuple[str, str, int], ...]


Admin = (
    Genesis
    | PolicySet
    | CardSet
    | Enrolled
    | Rotated
    | Revoked
    | Erased
    | Tick
    | Counted
    | identity.IdentityEntry
)


class Judged(NamedTuple):
    """The public side of an envelope's entry beside its state change.

    Attributes:
        code, flags, level, measured, limit, at_fault: the verdict.
        readings: how many records count.
        sighting: whether it is a gateway envelope.
        repeated: whether it is one that does not count: its gateway sent it before.
        windows: how many content windows it holds.
        receipt_flags: how it was received.
        sealed_by: subjects whose keys seal it, the first one's also makes the salt.
        ref: for a new subject, its reference.
    """

    change: Change
    outcome: str
    code: str
    quality: int
    measured: str
    limit: str
    at_fault: str
    readings: int
    sighting: bool
    repeated: bool
    windows: int
    receipt_flags: tuple[str, ...]
    sealed_by: tuple[int, ...]
    ref: bytes | None


def _damaged(what: str) -> NoReturn:
    raise StateError(
        "state.entry", f"an entry of the journal cannot be read: {what}", hint="run audit"
    )


_NULL, _FALSE, _TRUE = b"\xf6", b"\xf4", b"\xf5"
_plain, _uint, _bytes = cbor.encode_plain, cbor.uint, cbor.bytes_head
_text, _array = cbor.short_text, cbor.array_head


def number_part(value: int | None) -> bytes:
    """An integer or null in CBOR."""
    if value is None:
        return _NULL
    return _uint(value) if value >= 0 else _plain(value)


@lru_cache(maxsize=4096)
def _verdict_part(verdict: tuple[Any, ...]) -> bytes:
    return _plain(verdict)


@lru_cache(maxsize=4096)
def _numbers_part(numbers: tuple[int, ...]) -> bytes:
    return _plain(numbers)


def _mark_part(mark: Mark | None) -> bytes:
    if mark is None:
        return _NULL
    position = _uint(mark.epoch) + _uint(mark.n) + _uint(mark.window)
    return b"\x84" + position + _bytes(len(mark.head)) + mark.head


def encode_judged(entry: Judged) -> bytes:
    """The delta of an envelope's entry: :func:`_decode_judged` names its parts.

    Written piece by piece, what repeats from a cache: every envelope makes one.
    """
    c = entry.change
    bucket, anchor = c.bucket, c.anchor
    return b"".join(
        (
            b"\x90\x10" if c.result else b"\x8e\x10" if c.spent is None else b"\x8f\x10",
            number_part(c.subject),
            _NULL if entry.ref is None else _plain([c.subject_did, c.parent, entry.ref]),
            number_part(c.stream),
            _bytes(len(c.thumbprint)),
            c.thumbprint,
            b"\x85" + _uint(c.epoch) + _uint(c.n) + _bytes(len(c.id)),
            c.id,
            _bytes(len(c.prev)) + c.prev,
            _TRUE if c.consumes else _FALSE,
            _mark_part(c.mark),
            _NULL if bucket is None else b"\x82" + number_part(bucket[0]) + number_part(bucket[1]),
            _NULL if c.owner is None else _plain([c.owner[0], *c.owner[1]]),
            _NULL
            if anchor is None
            else b"\x83"
            + number_part(anchor.epoch)
            + number_part(anchor.lo_ms)
            + number_part(anchor.hi_ms),
            _TRUE if c.suspend else _FALSE,
            _verdict_part(entry[1:11]),
            _verdict_part(entry.receipt_flags),
            _numbers_part(entry.sealed_by),
            (_NULL if c.result else b"") if c.spent is None else _plain(c.spent.pack()),
            _bytes(len(c.result)) + c.result if c.result else b"",
        )
    )


def _decode_judged(value: list[Any], did_of: Any) -> Judged:
    _, subject, new, stream, thumbprint, where, mark, bucket, owner, anchor, suspend, *rest = value
    verdict, receipt_flags, sealed_by, *more = rest
    if len(more) > 2 or (len(more) == 2 and (type(more[1]) is not bytes or len(more[1]) != 16)):
        raise ValueError("more than an entry has")
    spent = more[0] if more else None
    result = more[1] if len(more) > 1 else b""
    epoch, n, identity, prev, consumes = where
    subject_did, parent, ref = new if new is not None else (did_of(subject), "", None)
    change = Change(
        thumbprint=thumbprint,
        subject_did=subject_did,
        parent=parent,
        subject=subject,
        stream=stream,
        epoch=epoch,
        n=n,
        id=identity,
        prev=prev,
        consumes=consumes,
        mark=None if mark is None else Mark(*mark),
        bucket=None if bucket is None else Bucket(*bucket),
        owner=None if owner is None else (owner[0], Bucket(*owner[1:])),
        anchor=None if anchor is None else Anchor(*anchor),
        suspend=suspend,
        spent=None if spent is None else Spending.unpack(*spent),
        result=result,
    )
    fields: list[Any] = [change, *verdict, tuple(receipt_flags), tuple(sealed_by), ref]
    return Judged(*fields)


def encode_admin(entry: Admin) -> tuple[bytes, bytes | None]:
    """The delta of an entry of administration, and what of it has to be sealed (or None)."""
    match entry:
        case Genesis(card, asserted):
            return cbor.encode([GENESIS, card, asserted]), None
        case PolicySet(encoded, profiles):
            return cbor.encode([POLICY, encoded, list(profiles)]), None
        case CardSet(card):
            return cbor.encode([CARD, card]), None
        case Enrolled(ref, since, enrolment):
            # Both are plain: an enrolment has checked what it says.
            registration = cbor.encode_plain(enrolment.to_list())
            delta: list[Any] = [ENROL, ref, since, enrolment.did]
            if not enrolment.is_did_key:
                delta.append(enrolment.key.cose_key)
            return cbor.encode_plain(delta), registration
        case Rotated(did, key, since, until):
            overlap = [] if until is None else [until]
            return cbor.encode([ROTATE, did, key.cose_key, since, *overlap]), key.cose_key
        case Revoked(did, since, reason):
            return cbor.encode([REVOKE, did, since, reason]), None
        case Erased(did, refs):
            return cbor.encode([ERASE, did, list(refs)]), None
        case Tick(size, root):
            return cbor.encode([TICK, size, root]), None
        case Counted(rows):
            return cbor.encode([COUNTED, [list(row) for row in rows]]), None
    return identity.encode(entry)


def decode_delta(data: bytes, registration: bytes | None, did_of: Any) -> Admin | Judged:
    """Read a delta.

    Args:
        data: the delta's bytes.
        registration: for an enrolment, what its sealed part opens to; when it was erased, None,
            and the enrolment read says no more than the DID, so that its key stays taken.
        did_of: index of a subject to its DID.

    Raises:
        StateError: ``state.entry``.
    """
    try:
        value = cbor2.loads(data)
        kind, *body = value
        if kind == KIND_ENVELOPE:
            return _decode_judged(value, did_of)
        return _decode_admin(kind, body, registration)
    except (cbor2.CBORError, ValueError, TypeError, IndexError, KeyError, DepinError) as error:
        _damaged(str(error))


def delta_kind(data: bytes) -> int:
    """The kind of a delta. Raises StateError ``state.entry``."""
    if len(data) >= 2 and data[0] >> 5 == 4:
        if data[1] < 24:
            return data[1]
        # One byte more (RFC 8949 section 3.1).
        if data[1] == 24 and len(data) > 2:
            return data[2]
    _damaged("a delta without a kind")


def sealing_ref(data: bytes) -> bytes:
    """The reference in a delta of one of :data:`SEALED_KINDS`, whose key opens the rest.

    Raises:
        StateError: ``state.entry``.
    """
    try:
        kind, ref, *_ = cbor2.loads(data)
        if kind in SEALED_KINDS and isinstance(ref, bytes):
            return ref
    except (cbor2.CBORError, ValueError, TypeError):
        pass
    _damaged("it names no reference")


def _registration(did: str, key: list[bytes], registration: bytes | None) -> Enrolment:
    if registration is None:
        return Enrolment(did, PublicKey.from_cose_key(key[0]) if key else parse_did_key(did))
    return Enrolment.from_list(cbor.decode(registration))


def _decode_admin(kind: int, body: list[Any], registration: bytes | None) -> Admin:
    match kind:
        case 1:
            return Genesis(*body)
        case 2:
            return PolicySet(body[0], tuple(body[1]))
        case 3:
            return CardSet(*body)
        case 4:
            return Enrolled(body[0], body[1], _registration(body[2], body[3:], registration))
        case 5:
            return Rotated(body[0], PublicKey.from_cose_key(body[1]), *body[2:])
        case 6:
            return Revoked(*body)
        case 7:
            return Erased(body[0], tuple(body[1]))
        case 8:
            return Tick(*body)
        case 9:
            return Counted(tuple((row[0], row[1], row[2]) for row in body[0]))
    found = identity.decode(kind, body, registration)
    if found is None:
        _damaged(f"kind {kind} is unknown")
    return found
