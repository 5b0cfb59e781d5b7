"""Whatever announces itself to Home Assistant over MQTT: state topics by their discovery messages.

Discovery messages are retained, and are the only retained ones that are taken: they configure, and
are no readings.
"""

from __future__ import annotations

import threading

from depin_id.errors import ReadingError
from depin_id.readings import Reading
from firmware_bridge.filters import matches
from firmware_bridge.gateway import Emitter
from firmware_bridge.items import SensorReadings
from firmware_bridge.mapping import TopicPattern, sensor_name
from firmware_bridge.mqtt import Message
from firmware_bridge.sources.base import Context, Kind
from firmware_bridge.sources.broker import BrokerInput
from firmware_bridge.sources.entities import DiscoveredOptions, Registry, Rules, read_entity


class HomeAssistantOptions(DiscoveredOptions):
    """``kind = "homeassistant"``.

    ``topic`` is a filter of the state topics that are listened to; entities elsewhere are left
    alone. A sensor is named by its device's first identifier, else by its discovery topic.
    """

    discovery: str = "homeassistant"


class HomeAssistant:
    """Readings of discovered entities; the time is that of receipt, because there is no other."""

    def __init__(self, options: HomeAssistantOptions, context: Context) -> None:
        self._options, self._context = options, context
        self._filter = TopicPattern(options.topic).filter
        self._rules = Rules(options.reading, f"source {context.name}")
        self._registry = Registry(options.discovery, self._filter, options.max_entities)
        self._broker = options.options(context)

    def learn(self, topic: str, payload: bytes) -> list[ReadingError]:
        """Take a discovery message. Raises ReadingError."""
        return self._registry.learn(topic, payload)

    def read(self, topic: str, payload: bytes) -> tuple[list[SensorReadings], list[ReadingError]]:
        """What one state message says, and what of it is refused."""
        options, time = self._options, self._context.now()
        found: dict[str, list[Reading]] = {}
        refused: list[ReadingError] = []
        entities = self._registry.at(topic)
        if not entities:
            refused.append(ReadingError("discovery.unknown", "nothing declares this topic"))
        for entity, extract in entities:
            try:
                sensor = sensor_name(entity.device, options.names, options.prefix)
                called = options.names.get(entity.device, entity.device)
                reading = read_entity(entity, extract, self._rules, called, payload, time)
                found.setdefault(sensor, []).append(reading)
            except ReadingError as error:
                refused.append(error)
        return [SensorReadings(name, tuple(part)) for name, part in found.items()], refused

    def run(self, emit: Emitter, stop: threading.Event) -> None:
        """See :class:`Source`."""
        client_id = f"depin-in-{self._context.kid}-{self._context.name}"

        def take(message: Message) -> None:
            items, refused = self._take(message)
            for reason in refused:
                emit.refuse(reason.code, f"{message.topic}: {reason.message}")
            if not items:
                message.done()
            else:
                emit(items, message.done, wait=message.qos > 0)

        BrokerInput(
            self._broker,
            [*self._registry.filters, self._filter],
            client_id,
            self._options.qos,
            take,
            keep=False,
            settings=self._registry.is_discovery,
        ).run(stop, emit.refuse)

    def _take(self, message: Message) -> tuple[list[SensorReadings], list[ReadingError]]:
        if not self._registry.is_discovery(message.topic):
            if matches(self._filter, message.topic):
                return self.read(message.topic, message.payload)
            return [], []
        try:
            return [], self.learn(message.topic, message.payload)
        except ReadingError as error:
            return [], [error]

    def describe(self) -> list[str]:
        """See :class:`Source`."""
        options = self._options
        return [
            f"entities announced at {self._broker!r} under {options.discovery}, states at "
            f"{self._filter}, QoS {options.qos}, signed for as {options.level}",
            f"at most {options.max_entities} entities; units as they announce them",
            *self._rules.lines(),
            "time: when received",
        ]


KINDS = {"homeassistant": Kind(HomeAssistantOptions, HomeAssistant)}
