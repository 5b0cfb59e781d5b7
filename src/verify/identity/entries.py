"""Entries of the journal about identity: what each stores openly, and what rests sealed.

An entry whose body is personal is sealed under ``ref``, the random reference of the device or owner
that it is about; when that key is destroyed, ``private`` is None and the entry changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Final, NamedTuple

from depin_id import cbor
from verify.results.entries import (
    DISAVOWED,
    MATERIAL,
    RESULT,
    Disavowed,
    MaterialTaken,
    ResultTaken,
)

HISTORY, EVIDENCE, COMPROMISED, RESCORED, CAPABILITY, OWNER = range(10, 16)
WALLET, STATUS, BATCH, WITHDRAWN, SUCCESSION = range(17, 22)

KIND_NAMES: Final = {
    HISTORY: "history",
    EVIDENCE: "evidence",
    COMPROMISED: "compromised",
    RESCORED: "rescored",
    CAPABILITY: "capability",
    OWNER: "owner",
    WALLET: "wallet",
    STATUS: "status-list",
    BATCH: "batch",
    WITHDRAWN: "withdrawn",
    SUCCESSION: "succession",
    MATERIAL: "material",
    RESULT: "attestation-result",
    DISAVOWED: "disavowed",
}
SEALED_KINDS: Final = frozenset((EVIDENCE, CAPABILITY, OWNER, WALLET, SUCCESSION, RESULT))
"""Kinds whose delta names, after the kind, the reference whose key opens the rest."""
MAX_RUNS: Final = 400
"""Runs of indices in one entry of re-scoring: a leaf has at most 8 KiB."""


class KeySpan(NamedTuple):
    """When a key of a DID counts.

    Attributes:
        key: COSE_Key. since, until: receipt times in ms since 1970; until is None while it counts.
        version_id: the version of the DID's history that brought it.
        method: the DID URL of its verification method.
    """

    key: bytes
    since: int
    until: int | None
    version_id: str
    method: str


def by_key(spans: Iterable[KeySpan]) -> list[KeySpan]:
    """One span for each key: a key may stand under several methods, and counts under any."""
    found: dict[bytes, KeySpan] = {}
    for span in spans:
        held = found.setdefault(span.key, span)
        until = None
        if held.until is not None and span.until is not None:
            until = max(held.until, span.until)
        found[span.key] = held._replace(since=min(held.since, span.since), until=until)
    return list(found.values())


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


@dataclass(frozen=True, slots=True)
class HistoryTaken:
    """A verified history of a DID: from here on its keys are these.

    Attributes:
        did: the DID. scid: what stays the same when it moves. version_id: the newest version.
        log: SHA-256 of the log as it was verified. number: of the newest version.
        spans: its keys, oldest first.
        deactivated: whether it was deactivated.
    """

    KIND: ClassVar[int] = HISTORY
    did: str
    scid: str
    number: int
    version_id: str
    log: bytes
    spans: tuple[KeySpan, ...]
    deactivated: bool

    def delta(self) -> list[Any]:
        """What stands in the journal after the kind."""
        spans = [list(span) for span in self.spans]
        return [
            *(self.did, self.scid, self.number, self.version_id, self.log),
            *(spans, self.deactivated),
        ]

    def public(self) -> list[Any]:
        """What stands in the log: that a history went on, not whose."""
        return [_digest(self.scid.encode()), self.number, self.log]


@dataclass(frozen=True, slots=True)
class EvidenceTaken:
    """What an enrolment stands on; sealed under the device's own key.

    Attributes:
        ref: the device's reference. purpose: ``enrolment``.
        nonce: of the challenge that was answered: good once.
        private: CBOR of a :class:`~verify.identity.state.Birth` and of what was shown.
    """

    KIND: ClassVar[int] = EVIDENCE
    ref: bytes
    purpose: str
    nonce: bytes
    private: bytes | None

    def delta(self) -> list[Any]:
        """What stands in the journal after the kind."""
        return [self.ref, self.purpose, self.nonce]

    def public(self) -> list[Any]:
        """What stands in the log."""
        return [self.ref, self.purpose]


@dataclass(frozen=True, slots=True)
class Compromised:
    """A key that was somebody else's from a receipt time on."""

    KIND: ClassVar[int] = COMPROMISED
    ref: bytes
    thumbprint: bytes
    since: int
    reason: str

    def delta(self) -> list[Any]:
        """What stands in the journal after the kind."""
        return [self.ref, self.thumbprint, self.since, self.reason]

    def public(self) -> list[Any]:
        """What stands in the log."""
        return [self.ref, self.since]


@dataclass(frozen=True, slots=True)
class Rescored:
    """Accepted entries that count no more, by index; they stay as they are.

    Attributes:
        ref: of the device they are of. code: why. runs: (first index, how many), rising.
        readings: how many readings they had.
    """

    KIND: ClassVar[int] = RESCORED
    ref: bytes
    code: str
    runs: tuple[tuple[int, int], ...]
    readings: int

    def delta(self) -> list[Any]:
        """What stands in the journal after the kind."""
        return [self.ref, self.code, [list(run) for run in self.runs], self.readings]

    def public(self) -> list[Any]:
        """What stands in the log."""
        return [self.ref, self.code, [list(run) for run in self.runs]]


@dataclass(frozen=True, slots=True)
class CapabilityTaken:
    """A capability that a gateway or service showed, with proof that it holds its key.

    Attributes:
        ref: reference of the device that holds it. id: its identity, 16 bytes.
        nonce: of the challenge that was answered.
        private: CBOR [the chain's bytes, proof of possession].
    """

    KIND: ClassVar[int] = CAPABILITY
    ref: bytes
    id: bytes
    nonce: bytes
    private: bytes | None

    def delta(self) -> list[Any]:
        """What stands in the journal after the kind."""
        return [self.ref, self.id, self.nonce]

    def public(self) -> list[Any]:
        """What stands in the log."""
        return [self.ref, self.id]


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """A capability, with all that were derived from it, that is good no more."""

    KIND: ClassVar[int] = WITHDRAWN
    id: bytes
    since: int
    reason: str

    def delta(self) -> list[Any]:
        """What stands in the journal after the kind."""
        return [self.id, self.since, self.reason]

    def public(self) -> list[Any]:
        """What stands in the log."""
        return [self.id, self.since]


@dataclass(frozen=True, slots=True)
class OwnerSet:
    """Whose a device is from a receipt time on; sealed under the device's key.

    Attributes:
        ref: the device's reference. since: receipt time, ms since 1970.
        how: ``claim``, ``transfer`` or ``operator``.
        nonce: of the challenge that was answered; empty for the operator.
        private: CBOR [device DID, owner DID, what was shown, digest that a transfer follows on].
    """

    KIND: ClassVar[int] = OWNER
    ref: bytes
    since: int
    how: str
    nonce: bytes
    private: bytes | None

    def delta(self) -> list[Any]:
        """What stands in the journal after the kind."""
        return [self.ref, self.since, self.how, self.nonce]

    def public(self) -> list[Any]:
        """What stands in the log."""
        return [self.ref, self.since, self.how]


@dataclass(frozen=True, slots=True)
class WalletBound:
    """A wallet that an owner is paid to; sealed under a key of the owner's own.

    Attributes:
        ref: the owner's random reference. nonce: of the challenge that was answered.
        private: CBOR [owner DID, CAIP-10 account, what was shown].
    """

    KIND: ClassVar[int] = WALLET
    ref: bytes
    nonce: bytes
    private: bytes | None

    def delta(self) -> list[Any]:
        """What stands in the journal after the kind."""
        return [self.ref, self.nonce]

    def public(self) -> list[Any]:
        """What stands in the log."""
        return [self.ref]


@dataclass(frozen=True, slots=True)
class Succeeded:
    """What a rotation of a device's key stands on; sealed under the device's key.

    Attributes:
        ref: the device's reference. voucher: ``key``, ``owner`` or ``manufacturer``.
        nonce: of the challenge that was answered. private: what was shown.
    """

    KIND: ClassVar[int] = SUCCESSION
    ref: bytes
    voucher: str
    nonce: bytes
    private: bytes | None

    def delta(self) -> list[Any]:
        """What stands in the journal after the kind."""
        return [self.ref, self.voucher, self.nonce]

    def public(self) -> list[Any]:
        """What stands in the log."""
        return [self.ref, self.voucher]


@dataclass(frozen=True, slots=True)
class StatusTaken:
    """A signed status list, verified: what it says counts until it is too old.

    Attributes:
        url: its identifier. issuer: DID of who signed it.
        issued, expires: ms since 1970; expires is None when it does not say.
        data: the list as it was signed.
    """

    KIND: ClassVar[int] = STATUS
    url: str
    issuer: str
    issued: int
    expires: int | None
    data: bytes

    def delta(self) -> list[Any]:
        """What stands in the journal after the kind."""
        return [self.url, self.issuer, self.issued, self.expires, self.data]

    def public(self) -> list[Any]:
        """What stands in the log."""
        return [_digest(self.url.encode()), self.issued, _digest(self.data)]


@dataclass(frozen=True, slots=True)
class BatchTaken:
    """A production batch that a trusted manufacturer signed, received while its key counted.

    Attributes:
        digest: SHA-256 of the batch credential, 32 bytes. issuer: the manufacturer's DID.
        data: the credential as it was signed.
    """

    KIND: ClassVar[int] = BATCH
    digest: bytes
    issuer: str
    data: bytes

    def delta(self) -> list[Any]:
        """What stands in the journal after the kind."""
        return [self.digest, self.issuer, self.data]

    def public(self) -> list[Any]:
        """What stands in the log."""
        return [self.digest]


Sealed = EvidenceTaken | CapabilityTaken | OwnerSet | WalletBound | Succeeded | ResultTaken
"""Entries with a private part, under :attr:`ref`."""
Open = (
    HistoryTaken
    | Compromised
    | Rescored
    | Withdrawn
    | StatusTaken
    | BatchTaken
    | MaterialTaken
    | Disavowed
)
IdentityEntry = Sealed | Open


def encode(entry: IdentityEntry) -> tuple[bytes, bytes | None]:
    """The delta of an entry, and what of it has to be sealed (or None)."""
    private = entry.private if isinstance(entry, Sealed) else None
    return cbor.encode_plain([entry.KIND, *entry.delta()]), private


def decode(kind: int, body: list[Any], private: bytes | None) -> IdentityEntry | None:
    """An entry from its delta after the kind and what its sealed part opens to.

    None when the kind is none of these.

    Raises:
        TypeError, ValueError, IndexError: the body is of another form.
    """
    made: dict[int, Callable[..., IdentityEntry]] = {
        HISTORY: HistoryTaken,
        EVIDENCE: EvidenceTaken,
        COMPROMISED: Compromised,
        RESCORED: Rescored,
        CAPABILITY: CapabilityTaken,
        OWNER: OwnerSet,
        WALLET: WalletBound,
        STATUS: StatusTaken,
        BATCH: BatchTaken,
        WITHDRAWN: Withdrawn,
        SUCCESSION: Succeeded,
        MATERIAL: MaterialTaken,
        RESULT: ResultTaken,
        DISAVOWED: Disavowed,
    }
    if kind not in made:
        return None
    if kind == HISTORY:
        body[5] = tuple(KeySpan(*span) for span in body[5])
    elif kind == RESCORED:
        body[2] = tuple((first, count) for first, count in body[2])
    elif kind == DISAVOWED:
        body[1] = tuple(body[1])
    return made[kind](*body, private) if kind in SEALED_KINDS else made[kind](*body)
