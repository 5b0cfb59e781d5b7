"""A network, an aggregator on disk and devices at explicit positions and times, all in one hand."""

from __future__ import annotations

import copy
import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from depin_id import cbor, cose
from depin_id.ack import MAX_ACK_BYTES, Ack, read_ack
from depin_id.claims import Claims
from depin_id.keys import Curve
from depin_id.networkdir import NetworkDir
from depin_id.readings import Reading, reading
from depin_id.testing import NOW, TestDevice
from verify.aggregator import Aggregator
from verify.batch import Summary
from verify.entries import Enrolled, Judged, PolicySet, Revoked, Rotated, decode_delta
from verify.fold import Fold
from verify.ingest import Downlink, Message
from verify.leaf import EnvelopeLeaf, RecordsContent, parse_leaf
from verify.policy import Policy
from verify.profile import load_profiles
from verify.replay import Opener, replay
from verify.setup import init, policy_entry

POLICY = 'default_profile = "noise"\n'


def level(value: float = 50, at: float = NOW, name: str = "laeq") -> Reading:
    """One noise level in dB at a time in seconds since 1970."""
    return reading(name, value, "dB", at)


def recipient(downlink: Downlink) -> bytes:
    """Whom an acknowledgement is for."""
    payload: Any = cbor.decode(cose.parse_sign1(downlink.data, max_bytes=MAX_ACK_BYTES).payload)
    return bytes(payload[1])


class Net:
    """One network with one aggregator; its clock stands still until a test moves it.

    Attributes:
        now_ms: the aggregator's clock. aggregator: opened; :meth:`reopen` opens it anew.
    """

    def __init__(
        self,
        path: Path,
        *,
        policy: str = POLICY,
        asserted: bool = False,
        start_ms: int = 0,
        network: Path | None = None,
    ) -> None:
        self.path = path
        self.root = path / "aggregator"
        self.now_ms = start_ms or NOW * 1000
        self._seed = 0
        if network is None:
            network = path / "net"
            NetworkDir.create(network, "test", wall=lambda: float(NOW))
        self.network = NetworkDir(network)
        self.card = self.network.card
        self.did = self.card.network
        init(
            self.root,
            network,
            policy_text=policy,
            allow_asserted_time=asserted,
            clock=self.clock,
            randomness=self.random,
        )
        self.aggregator = self._open()

    def clock(self) -> int:
        return self.now_ms

    def random(self, count: int) -> bytes:
        self._seed += 1
        return hashlib.shake_256(b"%d" % self._seed).digest(count)

    def _open(self) -> Aggregator:
        return Aggregator(self.root, clock=self.clock, randomness=self.random)

    def __enter__(self) -> Net:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.aggregator.close()

    def reopen(self, *, forget_snapshot: bool = False) -> None:
        """Close and open; without the snapshot everything is replayed."""
        self.aggregator.close()
        if forget_snapshot:
            shutil.rmtree(self.root / "snapshots", ignore_errors=True)
        self.aggregator = self._open()

    def advance(self, seconds: float) -> None:
        self.now_ms += int(seconds * 1000)

    # --- who takes part -----------------------------------------------------------------------

    def make(self, name: str = "device", *, curve: Curve = "ed25519", **about: Any) -> TestDevice:
        """A device of this network that nobody has enrolled."""
        return TestDevice(self.did, name, curve=curve, seed="net", **about)

    def device(self, name: str = "device", *, curve: Curve = "ed25519", **about: Any) -> TestDevice:
        """An enrolled device."""
        made = self.make(name, curve=curve, **about)
        self.enrol(made)
        return made

    def gateway(self, name: str = "gateway", **about: Any) -> TestDevice:
        """An enrolled gateway."""
        return self.device(name, role="gateway", **about)

    def enrol(self, *devices: TestDevice, since: int = 0) -> None:
        self.aggregator.administer(
            [Enrolled(self.random(16), since, device.enrolment) for device in devices]
        )

    def rotate(self, device: TestDevice, name: str = "rotated") -> TestDevice:
        """Give a device a new key from now on; what is returned signs with it."""
        fresh = self.make(name)
        self.aggregator.administer([Rotated(device.did, fresh.key, self.now_ms)])
        return fresh

    def revoke(self, device: TestDevice, since: int | None = None) -> None:
        at = self.now_ms if since is None else since
        self.aggregator.administer([Revoked(device.did, at, "test")])

    def erase(self, device: TestDevice) -> None:
        held = self.fold.registry.device(device.did)
        assert held is not None
        self.aggregator.erase(held)

    def policy(self, text: str) -> None:
        self.aggregator.administer([self.policy_entry(text)])

    @staticmethod
    def policy_entry(text: str) -> PolicySet:
        profiles = load_profiles()
        return policy_entry(Policy.from_toml(text, profiles=profiles), profiles)

    # --- sending -------------------------------------------------------------------------------

    def message(self, principal: TestDevice | str, *envelopes: bytes) -> Message:
        who = principal if isinstance(principal, str) else principal.key.kid.hex()
        return Message(b"".join(envelopes), who, self.now_ms, "test", None)

    def ingest(self, *messages: Message, **how: Any) -> tuple[Summary, list[Downlink]]:
        return self.aggregator.ingest(messages, **how)

    def send(self, principal: TestDevice | str, *envelopes: bytes, **how: Any) -> Summary:
        """One message with these envelopes."""
        return self.ingest(self.message(principal, *envelopes), **how)[0]

    def acks(self, device: TestDevice, *envelopes: bytes) -> list[Ack]:
        """Send as the device itself and read what comes down for it."""
        downlinks = self.ingest(self.message(device, *envelopes))[1]
        return self.read(device, downlinks)

    def read(
        self, device: TestDevice, downlinks: Sequence[Downlink], via: TestDevice | None = None
    ) -> list[Ack]:
        """What came down for a device; on the topic of a gateway, when that carried for it."""
        thumbprint = device.key.thumbprint
        return [
            read_ack(downlink.data, card=self.card, recipient=thumbprint)
            for downlink in downlinks
            if downlink.kid == (via or device).key.kid and recipient(downlink) == thumbprint
        ]

    def codes(self, device: TestDevice, *envelopes: bytes) -> list[str]:
        """The codes that the device is told for these envelopes."""
        return [item.code for ack in self.acks(device, *envelopes) for item in ack.items]

    # --- looking --------------------------------------------------------------------------------

    @property
    def fold(self) -> Fold:
        return self.aggregator.fold

    @property
    def size(self) -> int:
        return self.aggregator.journal.size

    def leaves(self) -> list[EnvelopeLeaf]:
        """The leaves of all judged envelopes."""
        read = [parse_leaf(entry.leaf) for entry in self.aggregator.journal.entries()]
        return [leaf for leaf in read if isinstance(leaf, EnvelopeLeaf)]

    @property
    def last(self) -> EnvelopeLeaf:
        return self.leaves()[-1]

    def records(self) -> list[RecordsContent]:
        """The records of every accepted pack that can still be opened, in order."""
        opener, found = Opener(self.fold, self.aggregator.keys), []
        for entry in self.aggregator.journal.entries():
            private = opener.open(entry).private
            if private is not None and private.records is not None:
                found.append(RecordsContent.decode(private.records))
        return found

    def record_codes(self) -> list[str]:
        """The code of every record, in order; "" for one that counts."""
        return [row.code for content in self.records() for row in content.rows]

    def paid(self) -> list[tuple[str, str, int]]:
        """(subject, name, time in whole seconds) of every record that is worth something."""
        return [
            (content.subject, row.name, row.time_lo // 1000)
            for content in self.records()
            for row in content.rows
            if not row.code and row.time_lo is not None and not set(row.flags) & {"record.context"}
        ]

    def judged(self) -> list[Judged]:
        """The deltas of all judged envelopes."""
        read = [
            decode_delta(entry.delta, None, self.fold.did_of)
            for entry in self.aggregator.journal.entries()
        ]
        return [entry for entry in read if isinstance(entry, Judged)]

    def replayed(self) -> Fold:
        """The state that the journal alone gives."""
        fold = Fold()
        replay(self.aggregator.journal, self.aggregator.keys, fold)
        return fold


def picture(fold: Fold) -> dict[str, Any]:
    """Everything a fold holds, comparable."""
    state = fold.state
    return {
        "size": fold.size,
        "last": fold.last_received_at,
        "card": fold.card_bytes,
        "asserted": fold.asserted_time,
        "policy": fold.policy.encoded,
        "profiles": {name: profile.digest for name, profile in fold.profiles.items()},
        "devices": [
            (
                device.enrolment,
                device.subject,
                [(p.key, p.since, p.until, p.suspended_at, p.compromised_at) for p in device.keys],
                device.revoked_at,
                device.erased,
            )
            for device in fold.registry
        ],
        "subjects": [
            (s.did, s.ref, dict(s.series), s.track, list(s.carried.items()), s.erased)
            for s in state.subjects
        ],
        "identity": fold.identity.pack(),
        "by_did": dict(state.by_did),
        "by_ref": dict(state.by_ref),
        "children": dict(state.children),
        "owners": dict(state.owners),
        "windows": list(state.windows.items()),
        "beacons": list(state.beacons.items()),
        "sightings": (state.sighted, list(state.sightings.items())),
        "streams": state.streams.keys(),
        "rows": state.streams.rows(),
        "tally": copy.deepcopy(fold.tally),
    }


def sighting(at: int = NOW) -> Claims:
    """The claims of a gateway envelope."""
    return Claims(iat=at, level="G1")
