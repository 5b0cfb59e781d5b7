"""What sources hand over, under which bounds, and the counts of it."""

from __future__ import annotations

import collections
from dataclasses import dataclass, field

from depin_id.claims import Link, Place, check_foreign
from depin_id.readings import Reading


@dataclass(frozen=True, slots=True)
class NativeEnvelope:
    """An envelope somebody else signed: bytes, when they came (s since 1970), and how."""

    data: bytes
    received_at: int
    link: Link | None = None
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class SensorReadings:
    """Readings of a sensor that cannot sign; ``sensor`` becomes the subject ``#sensor``.

    With ``link``, radio quality at the gateway, they are one pack that says so.
    """

    sensor: str
    readings: tuple[Reading, ...]
    link: Link | None = None


Item = NativeEnvelope | SensorReadings


@dataclass(frozen=True, slots=True)
class Behalf:
    """On whose behalf a source's sensors are signed for: they become ``<DID>#sensor``.

    Attributes:
        did: whose the sensors are. capability: id of what lets this gateway sign, 16 bytes.
    """

    did: str
    capability: bytes

    def subject(self, sensor: str) -> str:
        """The subject of a sensor. Raises EnvelopeError."""
        return check_foreign(f"{self.did}#{sensor}")


@dataclass(frozen=True, slots=True)
class GatewayLimits:
    """Bounds of the gateway.

    Attributes:
        batch_count: readings a sensor's pack is sealed with at the latest.
        batch_age: seconds a reading waits for others at the most.
        max_sensors: sensors signed for; what others say is refused.
        queue: messages that wait to be signed; then sources are held back.
        max_unanswered: unanswered messages (QoS 1) in unsealed packs; then packs are sealed early,
            because brokers hand out only a few messages (20) without an answer.
    """

    batch_count: int = 60
    batch_age: float = 10.0
    max_sensors: int = 256
    queue: int = 1000
    max_unanswered: int = 16


@dataclass
class GatewayCounts:
    """What became of input: items taken, envelopes spooled, refusals by (source, code).

    ``by_receipt``: readings whose own time could not be said, for want of a clock of ours.
    """

    taken: collections.Counter[str] = field(default_factory=collections.Counter)
    spooled: int = 0
    refused: collections.Counter[tuple[str, str]] = field(default_factory=collections.Counter)
    by_receipt: int = 0
