"""Those who measure: sensors that sign, sensors that a bridge carries, sensors that cannot sign."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from depin_id.ack import read_ack
from depin_id.claims import Place
from depin_id.device import Device
from depin_id.envelope import parse_envelope
from depin_id.errors import DepinError
from depin_id.network import NetworkCard, topics
from depin_id.readings import Reading
from depin_id.senml import Decimal64
from verify.demo.wire import Connection
from verify.verdict import ACCEPTED

Level = Callable[[int], Decimal64]
"""The level in dB that a sensor measures in the second that begins at this time."""

CARRIED_TOPIC = "site/envelopes"
UNSIGNED_TOPIC = "site/json"


def noise(value: Decimal64, at: int) -> Reading:
    """One second's LAeq."""
    return Reading("laeq", value, "dB", Decimal64(at))


class Outbox:
    """What one key sent and what it was told: signed bytes are kept until they are acknowledged.

    Attributes:
        sent: envelopes by identity.
        answers: code by identity, from acknowledgements that verify.
        foreign: messages on the way down that are no acknowledgement for this key.
    """

    def __init__(self, device: Device, card: NetworkCard, connection: Connection) -> None:
        self.device, self.card = device, card
        self.up, self.down = topics(card.name, device.public_key.kid)
        self.sent: dict[bytes, bytes] = {}
        self.answers: dict[bytes, str] = {}
        self.foreign = 0
        self._connection = connection

    def listen(self) -> None:
        """Take acknowledgements from now on."""
        self._connection.listen(self.down, self._take)

    def sign(self, readings: Sequence[Reading]) -> tuple[bytes, bytes]:
        """Sign readings: identity and envelope. Counts as sent."""
        envelope = self.device.sign(readings, network=self.card.network)
        identity = parse_envelope(envelope).verify(self.card.network, self.device.public_key)
        self.sent[identity] = envelope
        return identity, envelope

    def publish(self, envelope: bytes, topic: str | None = None) -> None:
        """Publish an envelope, under the key's own topic unless told otherwise."""
        self._connection.publish(topic or self.up, envelope)

    @property
    def waiting(self) -> int:
        """Envelopes without a final answer."""
        return len(self.sent.keys() - self.answers.keys())

    def _take(self, data: bytes) -> None:
        try:
            # Not Device.take_ack: several parties of the demo hold one key, each with a folder.
            ack = read_ack(data, card=self.card, recipient=self.device.public_key.thumbprint)
        except DepinError:
            self.foreign += 1
            return
        for item in ack.items:
            if item.final:
                self.answers[item.id] = item.code


class Sensor:
    """An honest sensor that signs packs itself.

    Args:
        outbox: its key.
        level: what it measures.
        pack: readings an envelope.
        first: index of the sensor, which staggers the sealing.
        topic: where it publishes; None is its own topic, towards the aggregator.
    """

    def __init__(
        self, outbox: Outbox, level: Level, *, pack: int, first: int, topic: str | None = None
    ) -> None:
        self.name = outbox.device.enrolment.name
        self.outbox = outbox
        self.carried = topic is not None
        self.readings = 0
        self._level, self._pack, self._first, self._topic = level, pack, first, topic
        self._held: list[Reading] = []

    def tick(self, at: int) -> None:
        """Measure one second; seal and publish when a pack is full."""
        self._held.append(noise(self._level(at), at))
        if len(self._held) >= self._pack or not (at + self._first) % self._pack:
            self.flush()

    def flush(self) -> None:
        """Seal and publish what is held."""
        if self._held:
            held, self._held = self._held, []
            self.readings += len(held)
            self.outbox.publish(self.outbox.sign(held)[1], self._topic)


class UnsignedSensor:
    """A sensor that cannot sign: it says JSON to a local topic, and the bridge signs for it."""

    def __init__(self, name: str, connection: Connection, level: Level) -> None:
        self.name = name
        self.readings = 0
        self._connection, self._level = connection, level

    def tick(self, at: int) -> None:
        """Measure one second and say so."""
        said = json.dumps({"time": at, "sound": {"laeq": float(str(self._level(at)))}})
        self._connection.publish(f"{UNSIGNED_TOPIC}/{self.name}/SENSOR", said.encode())
        self.readings += 1

    def flush(self) -> None:
        """Nothing is held."""


def make_device(folder: Path, name: str, place: Place | None = None) -> Device:
    """A fresh device of profile ``noise`` in a folder of its own."""
    return Device.create(folder / name, name=name, profile="noise", place=place)


def accepted(outbox: Outbox) -> int:
    """How many of its envelopes were acknowledged as accepted."""
    return sum(code == ACCEPTED for code in outbox.answers.values())
