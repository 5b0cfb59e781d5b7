"""State as a fold of the journal: the only place where an entry changes anything.

The same functions run when an entry is made and when it is replayed, so a restart and an audit
come to the state that the aggregator had.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from depin_id.enrolment import Enrolment
from depin_id.errors import ConfigError, NetworkError, StateError
from depin_id.keys import PublicKey
from depin_id.network import NetworkCard, read_card
from verify.checks.sequence import Recorded
from verify.checks.slots import rescaled
from verify.entries import (
    Admin,
    CardSet,
    Counted,
    Enrolled,
    Erased,
    Genesis,
    Judged,
    PolicySet,
    Revoked,
    Rotated,
    Tick,
)
from verify.entry_private import Private
from verify.identity.chains import prune
from verify.identity.entries import (
    BatchTaken,
    CapabilityTaken,
    Compromised,
    HistoryTaken,
    IdentityEntry,
    KeySpan,
    Rescored,
    StatusTaken,
    WalletBound,
    Withdrawn,
    by_key,
)
from verify.identity.state import IdentityState
from verify.policy import Policy
from verify.profile import Profile, find_profile
from verify.registry import Registry
from verify.results.entries import MaterialTaken
from verify.state import State
from verify.verdict import ACCEPTED, REPEATED
from verify.world import Change, World

_OF_NO_DEVICE = (
    HistoryTaken,
    Withdrawn,
    StatusTaken,
    BatchTaken,
    WalletBound,
    MaterialTaken,
)
_OTHERS = -1
"""Stands for every subject that is no device of its own."""


@dataclass(slots=True)
class Tally:
    """Counts for people; nothing is decided by them."""

    verdicts: dict[str, int] = field(default_factory=dict)
    counted: dict[str, int] = field(default_factory=dict)
    readings: int = 0
    sightings: int = 0

    def judged(self, entry: Judged) -> None:
        """Count the entry of an envelope."""
        self.readings += entry.readings
        if entry.repeated:
            self.add(self.verdicts, REPEATED)
        elif entry.sighting and entry.code == ACCEPTED:
            self.sightings += 1
        else:
            self.add(self.verdicts, entry.code)

    def add(self, counts: dict[str, int], code: str, count: int = 1) -> None:
        """Count a code in one of the tables."""
        counts[code] = counts.get(code, 0) + count


class Fold:
    """Registry, policy, state and card as of the newest entry applied."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.state = State()
        self.identity = IdentityState()
        self.tally = Tally()
        self.size = 0
        self.last_received_at = 0
        self._card: NetworkCard | None = None
        self.card_bytes = b""
        self.asserted_time = False
        self._policy: Policy | None = None
        self.profiles: Mapping[str, Profile] = MappingProxyType({})

    @property
    def card(self) -> NetworkCard:
        """The network card in force. Raises StateError ``state.genesis`` before the first entry."""
        if self._card is None:
            raise _no_genesis()
        return self._card

    @property
    def policy(self) -> Policy:
        """The policy in force. Raises StateError ``state.genesis`` before the first entries."""
        if self._policy is None:
            raise _no_genesis()
        return self._policy

    def world(self, recorded: Callable[[int, int, int], Recorded | None]) -> World:
        """What an appraisal may look at now."""
        return World(
            self.card.network,
            self.policy,
            self.profiles,
            self.registry,
            self.state,
            recorded,
            self.identity,
        )

    def did_of(self, subject: int) -> str:
        """The DID or DID URL of a subject."""
        return self.state.subjects.did(subject)

    def apply(self, entry: Admin | Judged, received_at: int, private: Private | None) -> None:
        """Apply one entry.

        Args:
            received_at: its time, ms since 1970.
            private: for an envelope, what its sealed part opens to; None when it was erased.
        """
        if isinstance(entry, Judged):
            self.apply_judged(entry, received_at, private)
        else:
            self._apply_admin(entry, received_at)
            self.size += 1
            self.last_received_at = max(self.last_received_at, received_at)

    def apply_judged(self, entry: Judged, received_at: int, private: Private | None) -> None:
        """Apply the entry of an envelope; what is personal comes from ``private``."""
        change = entry.change
        self._place(change, entry.ref)
        self._move(change, received_at)
        if change.subject is not None:
            subject = self.state.subjects[change.subject]
            known = private is not None and not subject.erased
            if private is not None and known:
                subject = self.state.subjects.change(change.subject)
                subject.fill(private.series)
                subject.carry(private.carried)
                subject.track = private.track or subject.track
            windows = private.windows if private is not None and known else ()
            self.state.remember_windows(windows, entry.windows, change.subject)
        if entry.code == ACCEPTED and not entry.repeated and len(entry.sealed_by) == 2:
            seen = None if private is None else private.sighted
            self.state.add_sighting(seen, entry.sealed_by[1])
        self.tally.judged(entry)
        self.size += 1
        if not entry.receipt_flags:
            self.last_received_at = max(self.last_received_at, received_at)

    def _place(self, change: Change, ref: bytes | None) -> None:
        state = self.state
        if change.subject is None:
            if ref is None:
                raise StateError("state.entry", "a new subject without a reference")
            change.subject = state.add_subject(change.subject_did, ref)
            state.children[change.parent] = state.children.get(change.parent, 0) + 1
        if change.stream is None:
            found = state.streams.find(change.thumbprint, change.subject)
            if found is None:
                found = state.streams.add(change.thumbprint, change.subject)
            change.stream = found

    def _move(self, change: Change, received_at: int) -> None:
        streams, stream = self.state.streams, change.stream
        if stream is None:
            raise StateError("state.entry", "an envelope without a stream")
        if change.mark is not None:
            streams.set_mark(stream, change.mark)
        if change.bucket is not None:
            streams.set_bucket(stream, change.bucket)
        if change.anchor is not None:
            streams.set_anchor(stream, change.anchor)
        if change.owner is not None:
            self.state.owners[change.owner[0]] = change.owner[1]
        if change.spent is not None:
            self.identity.spend(change.subject_did, change.spent)
        if change.suspend:
            self.registry.suspend(change.thumbprint, received_at)

    def _apply_admin(self, entry: Admin, received_at: int) -> None:
        match entry:
            case Genesis(card, asserted):
                self._take_card(card)
                self.asserted_time = asserted
            case CardSet(card):
                self._take_card(card)
            case PolicySet(encoded, profiles):
                self._take_policy(encoded, profiles)
            case Enrolled(ref, since, enrolment):
                self._enrol(enrolment, ref, since)
            case Rotated(did, key, since, until):
                self.registry.rotate(did, key, since, until)
            case Revoked(did, since, _):
                self.registry.revoke(did, since)
            case Erased(did, refs):
                self._forget(did, refs)
            case Tick(size, root):
                self.state.add_beacon(size, received_at, root)
            case Counted(rows):
                for _, code, count in rows:
                    self.tally.add(self.tally.counted, code, count)
            case _:
                self._apply_identity(entry, received_at)

    def check_enrolment(self, enrolment: Enrolment) -> frozenset[bytes]:
        """Refuse a device that is in, or one of whose keys is somebody's. Raises ConfigError.

        Returns:
            Thumbprints of the keys that it brings: its own, and those of its history.
        """
        self.registry.check_new_device(enrolment)
        keys = [PublicKey.from_cose_key(span.key) for span in self._brought(enrolment)]
        for key in keys:
            self.registry.check_new_key(key)
        return frozenset((enrolment.key.thumbprint, *(key.thumbprint for key in keys)))

    def _brought(self, enrolment: Enrolment) -> list[KeySpan]:
        """Keys of a new device's history that count beside its own, which may have ended."""
        known = self.identity.histories.get(enrolment.did)
        if known is None:
            return []
        own, spans = enrolment.key.cose_key, by_key(known.spans)
        return [span for span in spans if span.until is None or span.key == own]

    def _enrol(self, enrolment: Enrolment, ref: bytes, since: int) -> None:
        self.check_enrolment(enrolment)
        subject = self.state.add_subject(enrolment.did, ref)
        self.registry.enrol(enrolment, subject, since)
        spans = self._brought(enrolment)
        later = [span._replace(since=max(since, span.since)) for span in spans]
        self.registry.follow(enrolment.did, later)

    def _forget(self, did: str, refs: tuple[bytes, ...]) -> None:
        found = {ref: self.state.subjects.with_ref(ref) for ref in refs}
        self.state.forget([index for index in found.values() if index is not None])
        if self.registry.device(did) is not None:
            self.registry.erase(did)
            self.identity.forget_device(did)
        # An owner: a reference of his own, and subjects that gateways signed for under his DID.
        own = [ref for ref, index in found.items() if index is None]
        if own or self.registry.device(did) is None:
            self.identity.forget_owner(did, own)

    def _apply_identity(self, entry: IdentityEntry, received_at: int) -> None:
        holder = ""
        if not isinstance(entry, _OF_NO_DEVICE):
            holder = self.state.subjects[self.state.by_ref[entry.ref]].did
        match entry:
            case Compromised(_, thumbprint, since, _):
                self.registry.compromise(thumbprint, since)
            case Rescored(_, _, _, readings):
                self.tally.readings -= readings
            case HistoryTaken(did, scid, spans=spans):
                names = dict.fromkeys((did, *self.identity.names_of(scid)))
                devices = [name for name in names if self.registry.device(name) is not None]
                if len(devices) > 1:
                    raise _two_devices(devices)
                grace = self.policy.identity.rotation_grace_s * 1000
                for name in devices:
                    self.registry.follow(name, spans, grace)
        self.identity.apply(entry, holder)
        if isinstance(entry, CapabilityTaken):
            prune(self.identity, holder, received_at)

    def restore_settings(
        self, card: bytes, asserted_time: bool, policy: bytes, profiles: Sequence[Any]
    ) -> None:
        """Take card and policy of a snapshot."""
        self._take_card(card)
        self.asserted_time = asserted_time
        self._take_policy(policy, profiles)

    def _take_policy(self, encoded: bytes, profiles: Sequence[Any]) -> None:
        filled = self.state.subjects.filled()
        before = self._slot_lengths() if filled else {}
        self._policy = Policy.from_encoded(encoded)
        read = [Profile.from_list(item) for item in profiles]
        self.profiles = MappingProxyType({profile.name: profile for profile in read})
        after = self._slot_lengths() if filled else {}
        # What is filled stays filled, or a change of the length would pay all of it again.
        for index in filled:
            # Sensors of a gateway have the default profile.
            old, new = before.get(index, before[_OTHERS]), after.get(index, after[_OTHERS])
            if new != old and self.state.subjects[index].series:
                subject = self.state.subjects.change(index)
                subject.series = {
                    name: rescaled(ranges, old, new) for name, ranges in subject.series.items()
                }

    def _slot_lengths(self) -> dict[int, int]:
        """By subject, the length that its filled slots are counted in; 1 while it has no slots."""
        lengths: dict[str, int] = {}
        found: dict[int, int] = {}
        for subject, named in ((_OTHERS, ""), *self.registry.profiles()):
            length = lengths.get(named)
            if length is None:
                profile = find_profile(self.profiles, named or self.policy.default_profile)
                length = lengths[named] = 1 if profile is None else profile.slot_ms or 1
            found[subject] = length
        return found

    def _take_card(self, card: bytes) -> None:
        old = self._card
        new = read_card(card, network=None if old is None else old.network)
        if old is not None and new.number <= old.number:
            raise NetworkError(
                "network.card_old", f"card number {new.number} after number {old.number}"
            )
        self._card = new
        self.card_bytes = card


def _two_devices(names: Sequence[str]) -> ConfigError:
    return ConfigError(
        "registry.duplicate_device",
        f"{names[0][:100]} and {names[1][:100]} are one DID that moved, and two devices",
        hint="a key belongs to one device for ever: give one of the two a DID of its own",
    )


def _no_genesis() -> StateError:
    return StateError(
        "state.genesis",
        "the journal does not begin with a network card and a policy",
        hint="make the directory again with `depin-verify init`",
    )
