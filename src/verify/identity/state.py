"""What is known about identity as of the newest entry: pure data, changed by entries only."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import cbor2

from depin_id import cbor
from depin_id.credentials.status.reference import uri_hash
from depin_id.keys import PublicKey
from verify.checks.quota import Bucket
from verify.identity.entries import (
    BatchTaken,
    CapabilityTaken,
    Compromised,
    EvidenceTaken,
    HistoryTaken,
    IdentityEntry,
    KeySpan,
    OwnerSet,
    Rescored,
    StatusTaken,
    Succeeded,
    WalletBound,
    Withdrawn,
)
from verify.results.entries import Disavowed, MaterialTaken, ResultTaken
from verify.results.state import ResultsState


@dataclass(frozen=True)
class KnownHistory:
    """A history as it was last taken (:class:`~verify.identity.entries.HistoryTaken`)."""

    did: str
    scid: str
    number: int
    version_id: str
    log: bytes
    spans: tuple[KeySpan, ...]
    deactivated: bool

    @cached_property
    def _starts(self) -> list[int]:
        return [span.since for span in self.spans]

    def keys_at(self, at: int) -> list[PublicKey]:
        """The keys that count at a receipt time, newest first: by bisect, then those still open."""
        last = bisect_right(self._starts, at)
        return [
            PublicKey.from_cose_key(span.key)
            for span in reversed(self.spans[:last])
            if span.until is None or at < span.until
        ]

    def span_of(self, cose_key: bytes) -> KeySpan | None:
        """The newest span of a key."""
        return next((span for span in reversed(self.spans) if span.key == cose_key), None)


def _spans(found: list[list[Any]]) -> tuple[KeySpan, ...]:
    return tuple(KeySpan(*span) for span in found)


class Birth(NamedTuple):
    """What a device's birth certificate said, as far as anything is decided by it.

    Attributes:
        did: the device. issuer: its manufacturer's DID. serial, model, hardware: texts.
        protection: how its key is kept. batch: digest of its batch credential, or empty.
        claim: digest of its claim code (32 bytes), or empty when it has none.
        certificate: SHA-256 of the certificate.
    """

    did: str
    issuer: str
    serial: str
    model: str
    hardware: str
    protection: str
    batch: bytes
    claim: bytes
    certificate: bytes


class Ownership(NamedTuple):
    """Whose a device is since a receipt time (ms).

    ``digest`` is what the next transfer has to follow on: the digest of the credential that says
    so, of the birth certificate after a claim; empty when that is not known.
    """

    owner: str
    since: int
    how: str
    digest: bytes = b""


class Spent(NamedTuple):
    """What was used of a capability: how many envelopes in all, and its bucket."""

    used: int
    bucket: Bucket | None


class Use(NamedTuple):
    """What is left of one budget of a capability after a use.

    Attributes:
        id: of the block whose budget it is, 16 bytes. used: envelopes in all, this one included.
        bucket: for its rate; None without one.
    """

    id: bytes
    used: int
    bucket: Bucket | None


class Spending(NamedTuple):
    """What an envelope that was signed under a capability uses up.

    Attributes:
        voucher: for a subject that is named by another than its own DID's holder, who vouches for
            it: the first 16 bytes of the SHA-256 of that DID; else empty.
        uses: one for each block of the chain, the owner's first.
    """

    voucher: bytes
    uses: tuple[Use, ...]

    def pack(self) -> list[Any]:
        """What stands at the end of an entry under a capability."""
        return [self.voucher, [[*use[:2], use.bucket and [*use.bucket]] for use in self.uses]]

    @classmethod
    def unpack(cls, voucher: bytes, uses: list[Any]) -> Spending:
        """Take what :meth:`pack` gave. Raises ValueError, TypeError."""
        found = [Use(item, used, None if at is None else Bucket(*at)) for item, used, at in uses]
        return cls(voucher, tuple(found))


@dataclass
class IdentityState:
    """Everything about identity beside the registry's devices and keys.

    Attributes:
        histories: by DID. births: by device DID. owners: of a device, oldest first.
        wallets: owner DID to CAIP-10 account. owner_refs: owner DID to its random reference.
        capabilities: identity to (holder's DID, chain bytes). withdrawn: identity to since when.
        spent: by capability. nonces: challenges that were answered, in order.
        status: by URL. hashed: a URL's hash, as capabilities name a list, to the URL.
        batches: digest to issuer and the credential as it was signed.
        serials: (manufacturer's DID, serial number) to the device that showed it last.
        rescored: first index to how many, of entries that count no more.
        vouched: subjects that no DID of their own vouches for, and who does (see Spending).
        forgotten: references of owners that were erased.
        results: attestation: what is judged by, and what came of it.
    """

    histories: dict[str, KnownHistory] = field(default_factory=dict)
    births: dict[str, Birth] = field(default_factory=dict)
    owners: dict[str, tuple[Ownership, ...]] = field(default_factory=dict)
    wallets: dict[str, str] = field(default_factory=dict)
    owner_refs: dict[str, bytes] = field(default_factory=dict)
    capabilities: dict[bytes, tuple[str, bytes]] = field(default_factory=dict)
    withdrawn: dict[bytes, int] = field(default_factory=dict)
    spent: dict[bytes, Spent] = field(default_factory=dict)
    nonces: dict[bytes, None] = field(default_factory=dict)
    status: dict[str, StatusTaken] = field(default_factory=dict)
    hashed: dict[bytes, str] = field(default_factory=dict)
    batches: dict[bytes, tuple[str, bytes]] = field(default_factory=dict)
    rescored: dict[int, int] = field(default_factory=dict)
    vouched: dict[str, bytes] = field(default_factory=dict)
    forgotten: dict[bytes, None] = field(default_factory=dict)
    results: ResultsState = field(default_factory=ResultsState)
    serials: dict[tuple[str, str], str] = field(default_factory=dict, compare=False)
    _sorted: list[int] = field(default_factory=list, repr=False, compare=False)

    def names_of(self, scid: str) -> list[str]:
        """Every name that a DID with a history had here: it may have moved."""
        return [name for name, known in self.histories.items() if known.scid == scid]

    def owner_of(self, device: str, at: int) -> str:
        """The owner of a device at a receipt time by entries about it; empty without one."""
        found = self.owners.get(device, ())
        last = bisect_right([item.since for item in found], at)
        return found[last - 1].owner if last else ""

    def is_rescored(self, index: int) -> bool:
        """Whether an accepted entry counts no more."""
        starts = self._starts
        place = bisect_right(starts, index)
        return bool(place) and index < starts[place - 1] + self.rescored[starts[place - 1]]

    @property
    def _starts(self) -> list[int]:
        if len(self._sorted) != len(self.rescored):
            self._sorted = sorted(self.rescored)
        return self._sorted

    def use_nonce(self, nonce: bytes) -> None:
        """A challenge was answered: it is good no more. The oldest are forgotten."""
        if not nonce:
            return
        self.nonces[nonce] = None
        while len(self.nonces) > MAX_NONCES:
            del self.nonces[next(iter(self.nonces))]

    def forget_device(self, did: str) -> None:
        """Drop what is personal about a device."""
        self._drop_birth(did)
        self.owners.pop(did, None)
        self.results.forget(did)
        for identity, (holder, _) in list(self.capabilities.items()):
            if holder == did:
                del self.capabilities[identity]

    def _drop_birth(self, did: str) -> None:
        birth = self.births.pop(did, None)
        if birth is not None and self.serials.get((birth.issuer, birth.serial)) == did:
            del self.serials[birth.issuer, birth.serial]

    def _add_birth(self, birth: Birth) -> None:
        self._drop_birth(birth.did)
        self.births[birth.did] = birth
        self.serials[birth.issuer, birth.serial] = birth.did

    def forget_owner(self, did: str, refs: Iterable[bytes]) -> None:
        """Drop what is personal about an owner, whose references these were."""
        self.wallets.pop(did, None)
        self.owner_refs.pop(did, None)
        self.forgotten.update(dict.fromkeys(refs))

    def owned(self, device: str) -> Ownership | None:
        """The newest entry about whose a device is."""
        found = self.owners.get(device)
        return found[-1] if found else None

    def spend(self, subject: str, spending: Spending) -> None:
        """Take what an envelope used up of the budgets of a capability."""
        for use in spending.uses:
            self.spent[use.id] = Spent(use.used, use.bucket)
        if spending.voucher:
            self.vouched.setdefault(subject, spending.voucher)

    # --- snapshots ----------------------------------------------------------------------------

    def pack(self) -> list[Any]:
        """Everything, ready for CBOR."""
        return [
            [
                [name, h.did, h.scid, h.number, h.version_id, h.log]
                + [[list(span) for span in h.spans], h.deactivated]
                for name, h in self.histories.items()
            ],
            [list(birth) for birth in self.births.values()],
            [[did, [list(item) for item in found]] for did, found in self.owners.items()],
            [list(pair) for pair in self.wallets.items()],
            [list(pair) for pair in self.owner_refs.items()],
            [[key, *held] for key, held in self.capabilities.items()],
            [list(pair) for pair in self.withdrawn.items()],
            [
                [key, spent.used, None if spent.bucket is None else list(spent.bucket)]
                for key, spent in self.spent.items()
            ],
            list(self.nonces),
            [[s.url, s.issuer, s.issued, s.expires, s.data] for s in self.status.values()],
            [[key, *held] for key, held in self.batches.items()],
            [list(pair) for pair in self.rescored.items()],
            [list(pair) for pair in self.vouched.items()],
            list(self.forgotten),
            self.results.pack(),
        ]

    @classmethod
    def unpack(cls, value: list[Any]) -> IdentityState:
        """Take what :meth:`pack` gave. Raises ValueError, TypeError, LookupError."""
        histories, births, owners, wallets, refs, capabilities, withdrawn, spent, *more = value
        nonces, status, batches, rescored, vouched, forgotten, results = more
        found = {
            name: KnownHistory(did, scid, number, version, log, _spans(spans), gone)
            for name, did, scid, number, version, log, spans, gone in histories
        }
        return cls(
            found,
            {item[0]: Birth(*item) for item in births},
            {did: tuple(Ownership(*item) for item in items) for did, items in owners},
            dict(wallets),
            dict(refs),
            {key: (holder, data) for key, holder, data in capabilities},
            dict(withdrawn),
            {
                key: Spent(used, None if bucket is None else Bucket(*bucket))
                for key, used, bucket in spent
            },
            dict.fromkeys(nonces),
            {item[0]: StatusTaken(*item) for item in status},
            {uri_hash(item[0]): item[0] for item in status},
            {key: (issuer, data) for key, issuer, data in batches},
            dict(rescored),
            dict(vouched),
            dict.fromkeys(forgotten),
            ResultsState.unpack(results),
            {(birth.issuer, birth.serial): birth.did for birth in map(Birth._make, births)},
        )

    # --- entries ------------------------------------------------------------------------------

    def apply(self, entry: IdentityEntry, holder: str) -> None:
        """Take an entry.

        Args:
            holder: DID of the device that the entry's reference is of; empty without one.
        """
        match entry:
            case HistoryTaken(did, scid, number, version_id, log, spans, deactivated):
                known = KnownHistory(did, scid, number, version_id, log, spans, deactivated)
                for name in (did, *self.names_of(scid)):
                    self.histories[name] = known
            case EvidenceTaken(_, _, nonce, private):
                self.use_nonce(nonce)
                if private is not None:
                    self._add_birth(Birth(*cbor2.loads(private)[0]))
            case Compromised():
                pass
            case Rescored(_, _, runs, _):
                self.rescored.update(runs)
            case CapabilityTaken(_, identity, nonce, private):
                self.use_nonce(nonce)
                if private is not None:
                    self.capabilities[identity] = (holder, cbor2.loads(private)[0])
            case Withdrawn(identity, since, _):
                self.withdrawn[identity] = min(since, self.withdrawn.get(identity, since))
            case OwnerSet(_, since, how, nonce, private):
                self.use_nonce(nonce)
                if private is not None:
                    _, owner, _, *digest = cbor2.loads(private)
                    found = self.owners.get(holder, ())
                    self.owners[holder] = (*found, Ownership(owner, since, how, *digest))
            case WalletBound(ref, nonce, private):
                self.use_nonce(nonce)
                if private is not None:
                    owner, wallet, _ = cbor2.loads(private)
                    self.wallets[owner], self.owner_refs[owner] = wallet, ref
            case Succeeded(_, _, nonce, _):
                self.use_nonce(nonce)
            case StatusTaken(url):
                self.status[url] = entry
                self.hashed[uri_hash(url)] = url
            case BatchTaken(digest, issuer, data):
                self.batches[digest] = (issuer, data)
            case MaterialTaken():
                self.results.apply_material(entry)
            case ResultTaken(nonce=nonce):
                self.use_nonce(nonce)
                self.results.apply_result(entry)
            case Disavowed():
                self.results.apply_disavowed(entry, holder)


MAX_NONCES = 65_536
"""Challenges that are remembered as answered; they expire long before so many were."""


def evidence(birth: Birth, *shown: bytes) -> bytes:
    """The private part of an enrolment's evidence: what it says, and what was shown."""
    return cbor.encode_plain([list(birth), *shown])
