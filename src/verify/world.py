"""What an appraisal may look at, and what it gives back: all of it data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from depin_id.envelope import Envelope
from depin_id.senml import Columns
from verify.checks.clock import Anchor
from verify.checks.contents import Kept
from verify.checks.location import Track
from verify.checks.quota import Bucket
from verify.checks.sequence import Recorded
from verify.checks.slots import Ranges
from verify.identity.state import IdentityState, Spending
from verify.leaf import RecordsContent
from verify.policy import Policy
from verify.profile import Profile
from verify.registry import Device, KeyPeriod, Registry
from verify.state import Mark, Sighted, State
from verify.verdict import Verdict


class World(NamedTuple):
    """The state an envelope is judged against; nothing else decides.

    Attributes:
        network: the network's DID.
        recorded: (stream, epoch, n) to what the journal holds there, or None.
    """

    network: str
    policy: Policy
    profiles: Mapping[str, Profile]
    registry: Registry
    state: State
    recorded: Callable[[int, int, int], Recorded | None]
    identity: IdentityState


class Receipt(NamedTuple):
    """When the aggregator received it (ms since 1970), and flags of how (``time.asserted``)."""

    at: int
    flags: tuple[str, ...] = ()


class Authenticated(NamedTuple):
    """An envelope whose signature verifies under an enrolled key.

    ``pack`` is what its pack holds, where that was read ahead.
    """

    envelope: Envelope
    id: bytes
    device: Device
    period: KeyPeriod
    pack: Columns | None = None

    @property
    def thumbprint(self) -> bytes:
        """Of the key that signed, 32 bytes."""
        return self.period.key.thumbprint


class Refusal(NamedTuple):
    """Bytes that cannot be authenticated: counted, or parked when only the device is unknown.

    Attributes:
        id: SHA-256 of the bytes, 32 bytes.
        code: why.
        measured: more, for people.
        kid: the hint they carry, when they could be read that far.
    """

    id: bytes
    code: str
    measured: str = ""
    kid: bytes | None = None


Action = Literal["entry", "counted", "duplicate", "waiting"]


@dataclass(slots=True)
class Change:
    """What an envelope's entry changes in the state.

    ``result`` is the id of the attestation result that it stands on; empty without one.
    ``subject`` and ``stream`` are None until the entry that creates them is applied. Series, track,
    windows and sighting are personal and rest sealed; everything else stays readable after an
    erasure.
    """

    thumbprint: bytes
    subject_did: str
    parent: str
    subject: int | None
    stream: int | None
    epoch: int
    n: int
    id: bytes
    prev: bytes
    consumes: bool
    mark: Mark | None = None
    bucket: Bucket | None = None
    owner: tuple[str, Bucket] | None = None
    anchor: Anchor | None = None
    suspend: bool = False
    spent: Spending | None = None
    result: bytes = b""
    series: Mapping[str, Ranges] = field(default_factory=dict)
    track: Track | None = None
    windows: tuple[bytes, ...] = ()
    carried: Mapping[str, Kept] = field(default_factory=dict)
    sighted: Sighted | None = None


class Judgement(NamedTuple):
    """What becomes of an authenticated envelope.

    Attributes:
        action: an entry of its own, counted (over quota), acknowledged again (duplicate), or kept
            until its device has attested (waiting).
        verdict: the verdict; for a duplicate, Accepted without meaning: see ``recorded``.
        change: for an entry.
        records: the judged records of an accepted pack.
        recorded: for a duplicate or fork, what stands at the position.
    """

    action: Action
    verdict: Verdict
    change: Change | None = None
    records: RecordsContent | None = None
    recorded: Recorded | None = None
