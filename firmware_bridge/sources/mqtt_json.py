"""Sensors that publish JSON to a broker and cannot sign, by a declared mapping."""

from __future__ import annotations

import threading
from typing import Literal

from pydantic import Field

from depin_id.errors import ConfigError, ReadingError
from firmware_bridge.gateway import Emitter
from firmware_bridge.items import SensorReadings
from firmware_bridge.mapping import TopicPattern, sensor_name
from firmware_bridge.mqtt import Message
from firmware_bridge.sources.base import (
    BrokerOptions,
    Context,
    Kind,
    ReadingOptions,
    declare,
    describe_mapping,
)
from firmware_bridge.sources.broker import BrokerInput
from firmware_bridge.strict_json import parse


class MqttJsonOptions(BrokerOptions):
    """``kind = "mqtt_json"``.

    The sensor is the level ``{sensor}`` of the topic, or the fixed ``sensor``; ``names`` gives
    odd names another one, ``prefix`` comes before all of them.
    """

    sensor: str | None = None
    names: dict[str, str] = Field(default_factory=dict)
    prefix: str = ""
    time: str | None = None
    time_unit: Literal["s", "ms"] = "s"
    reading: list[ReadingOptions] = Field(default_factory=list)

    def unauthenticated(self) -> str | None:
        """See :class:`SourceOptions`."""
        return super().unauthenticated() or TopicPattern(self.topic).shared(self.sensor)


class MqttJson:
    """Readings from JSON messages; a message is answered when its pack is in the spool."""

    def __init__(self, options: MqttJsonOptions, context: Context) -> None:
        where = f"source {context.name}"
        self._options, self._context = options, context
        self._pattern = TopicPattern(options.topic)
        if self._pattern.names_sensor == (options.sensor is not None):
            raise ConfigError(
                "config.mapping",
                f"{where}: the sensor is named twice or not at all",
                hint="put {sensor} into the topic, or give sensor = 'NAME'",
            )
        self._mapping = declare(
            options.reading, where=where, time=options.time, time_unit=options.time_unit
        )
        self._broker = options.options(context)

    def read(self, topic: str, payload: bytes) -> SensorReadings:
        """What one message says.

        Raises:
            ReadingError: why it is refused.
        """
        options = self._options
        raw = options.sensor if options.sensor is not None else self._pattern.sensor(topic)
        sensor = sensor_name(raw or "", options.names, options.prefix)
        return SensorReadings(sensor, self._mapping.read(parse(payload), self._context.now()))

    def run(self, emit: Emitter, stop: threading.Event) -> None:
        """See :class:`Source`."""
        client_id = f"depin-in-{self._context.kid}-{self._context.name}"

        def take(message: Message) -> None:
            try:
                item = self.read(message.topic, message.payload)
            except ReadingError as error:
                emit.refuse(error.code, f"{message.topic}: {error.message}")
                message.done()
                return
            emit([item], message.done, wait=message.qos > 0)

        topic, qos = self._pattern.filter, self._options.qos
        BrokerInput(self._broker, topic, client_id, qos, take).run(stop, emit.refuse)

    def describe(self) -> list[str]:
        """See :class:`Source`."""
        return [
            f"JSON from {self._broker!r}, topic {self._pattern.text}, QoS {self._options.qos}, "
            f"signed for as {self._options.level}",
            *describe_mapping(self._mapping),
        ]


KINDS = {"mqtt_json": Kind(MqttJsonOptions, MqttJson)}
