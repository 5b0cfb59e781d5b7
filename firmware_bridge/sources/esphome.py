"""ESPHome nodes: a plain number a topic, in the unit that configuration or node declare."""

from __future__ import annotations

import threading

from depin_id.errors import ConfigError, ReadingError
from depin_id.readings import Reading
from firmware_bridge.gateway import Emitter
from firmware_bridge.ha_discovery import plain_number
from firmware_bridge.items import SensorReadings
from firmware_bridge.mapping import SENSOR, TopicPattern, sensor_name
from firmware_bridge.mqtt import Message
from firmware_bridge.sources.base import Context, Kind
from firmware_bridge.sources.broker import BrokerInput
from firmware_bridge.sources.entities import (
    DiscoveredOptions,
    Registry,
    Rules,
    default_name,
    read_entity,
)
from firmware_bridge.sources.presence import Presence

_TAIL = ("sensor", "+", "state")


class EspHomeOptions(DiscoveredOptions):
    """``kind = "esphome"``.

    ``topic`` is the nodes' topic prefix with ``/sensor/+/state``; its level ``{sensor}`` names the
    sensor, or the fixed ``sensor`` does. Units are declared (``[[source.reading]]`` with ``path``,
    the object's id), or come from the nodes' own discovery messages.
    """

    topic: str = "{sensor}/sensor/+/state"
    sensor: str | None = None

    def unauthenticated(self) -> str | None:
        """See :class:`SourceOptions`."""
        nodes = self.topic.removesuffix("/sensor/+/state")  # the objects are all of one node
        return super().unauthenticated() or TopicPattern(nodes).shared(self.sensor)


class EspHome:
    """Readings from state topics; the time is that of receipt, because there is no other."""

    def __init__(self, options: EspHomeOptions, context: Context) -> None:
        self._options, self._context = options, context
        self._pattern = TopicPattern(options.topic)
        where = f"source {context.name}"
        if tuple(options.topic.split("/")[-3:]) != _TAIL:
            raise ConfigError(
                "config.mapping",
                f"{where}: {options.topic!r} is no topic of ESPHome's states",
                hint="write {sensor}/sensor/+/state, with the nodes' topic prefix before it",
            )
        if self._pattern.names_sensor == (options.sensor is not None):
            raise ConfigError(
                "config.mapping",
                f"{where}: the sensor is named twice or not at all",
                hint="put {sensor} into the topic, or give sensor = 'NAME'",
            )
        self._rules = Rules(options.reading, where)
        self._registry = Registry(options.discovery, self._pattern.filter, options.max_entities)
        self._broker = options.options(context)
        self._presence = Presence(context.name)
        self._status = self._pattern.filter.removesuffix("sensor/+/state") + "status"

    def read(self, topic: str, payload: bytes) -> SensorReadings:
        """What one state message says. Raises ReadingError."""
        options = self._options
        node = options.sensor if options.sensor is not None else self._pattern.sensor(topic)
        sensor = sensor_name(node or "", options.names, options.prefix)
        object_id = topic.split("/")[-2]
        name, conversion = self._rules.find(node or "", object_id)
        time = self._context.now()
        if conversion is not None:
            value = conversion.apply(plain_number(payload))
            called = name or default_name(object_id, conversion)
            return SensorReadings(sensor, (Reading(called, value, conversion.unit, time),))
        declared = self._registry.at(topic)
        if len(declared) != 1:
            raise ReadingError(
                "esphome.unit",
                f"{object_id[:60]!r}: its unit is declared {len(declared) or 'no'} times",
                hint="declare it: [[source.reading]] with path, name and unit",
            )
        entity, extract = declared[0]
        if entity.id != object_id:
            raise ReadingError("discovery.taken", f"{entity.id!r} declares the topic of another")
        found = read_entity(entity, extract, self._rules, node or "", payload, time)
        return SensorReadings(sensor, (found,))

    def run(self, emit: Emitter, stop: threading.Event) -> None:
        """See :class:`Source`."""
        client_id = f"depin-in-{self._context.kid}-{self._context.name}"

        def take(message: Message) -> None:
            topic = message.topic
            try:
                if self._registry.is_discovery(topic):
                    for reason in self._registry.learn(topic, message.payload):
                        emit.refuse(reason.code, reason.message)
                elif topic.endswith("/status"):
                    self._presence.say(topic.removesuffix("/status"), message.payload)
                else:
                    emit([self.read(topic, message.payload)], message.done, wait=message.qos > 0)
                    return
            except ReadingError as error:
                emit.refuse(error.code, f"{topic}: {error.message}")
            message.done()

        BrokerInput(
            self._broker,
            [*self._registry.filters, self._status, self._pattern.filter],
            client_id,
            self._options.qos,
            take,
            keep=False,
            settings=lambda topic: topic.endswith("/status") or self._registry.is_discovery(topic),
        ).run(stop, emit.refuse)

    def describe(self) -> list[str]:
        """See :class:`Source`."""
        options = self._options
        learned = f"discovery under {options.discovery}" if options.discovery else "declared only"
        return [
            f"ESPHome nodes at {self._broker!r}, topic {self._pattern.text}, QoS {options.qos}, "
            f"signed for as {options.level}",
            f"sensors: {options.sensor or SENSOR}; units: {learned}",
            *self._rules.lines(),
            "time: when received",
        ]


KINDS = {"esphome": Kind(EspHomeOptions, EspHome)}
