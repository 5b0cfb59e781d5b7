"""Sparkplug B: metrics of industrial edge nodes and their devices, by name, with their units."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from typing import Literal, Self

from pydantic import Field, model_validator

from depin_id.errors import ConfigError, ReadingError
from depin_id.readings import Reading
from firmware_bridge import units
from firmware_bridge.gateway import Emitter
from firmware_bridge.items import SensorReadings
from firmware_bridge.mapping import ReadingRule, TopicPattern, sensor_name
from firmware_bridge.mqtt import Message
from firmware_bridge.sources.base import BrokerOptions, Context, Kind, ReadingOptions
from firmware_bridge.sources.broker import BrokerInput
from firmware_bridge.sources.sparkplug_state import Definition, Nodes
from firmware_bridge.sources.sparkplug_wire import (
    Metric,
    Payload,
    decode,
    encode,
    milliseconds,
    type_of,
)

_ID = re.compile(r"[^/+#\0]{1,128}")
_SESSION = frozenset(("NBIRTH", "NDATA", "NDEATH", "DBIRTH", "DDATA", "DDEATH"))
_NOT_OURS = frozenset(("NCMD", "DCMD", "STATE"))
_REBIRTH_SECONDS = 60.0
_BOOLEAN = 11


class SparkplugOptions(BrokerOptions):
    """``kind = "sparkplug"``: the path of a reading is a metric's name.

    A sensor is ``group:node`` or ``group:node:device``; ``names`` (``"group/node/device"``) gives
    another one, ``prefix`` comes before all of them. ``time`` is the ``receipt`` here, or what the
    ``metric`` says. ``units`` says what engineering units mean that are not known.
    """

    topic: str = "spBv1.0/+/+/+/#"
    names: dict[str, str] = Field(default_factory=dict)
    prefix: str = ""
    time: Literal["receipt", "metric"] = "receipt"
    rebirth: bool = False
    """Ask a node to be born again where its birth, or a message, was missed."""
    births: bool = False
    """Take the values in births as readings too; they may be older than the birth."""
    units: dict[str, str] = Field(default_factory=dict)
    reading: list[ReadingOptions] = Field(default_factory=list)

    @model_validator(mode="after")
    def _births_have_times(self) -> Self:
        if self.births and self.time == "receipt":
            raise ValueError('values in births may be old: they need time = "metric"')
        return self


class Sparkplug:
    """Readings from data messages; births say what they mean and are kept."""

    def __init__(self, options: SparkplugOptions, context: Context) -> None:
        where = f"source {context.name}"
        self._options, self._context = options, context
        self._topic = TopicPattern(options.topic).filter
        self._rules: dict[str, ReadingRule] = {}
        for index, reading in enumerate(options.reading):
            rule = reading.model_dump() | {"path": "v"}
            if reading.path in self._rules:
                raise ConfigError("config.mapping", f"{where}: {reading.path!r} is mapped twice")
            self._rules[reading.path] = ReadingRule.declare(
                **rule, where=f"{where}.reading[{index}]"
            )
        if not self._rules or len({rule.name for rule in self._rules.values()}) < len(self._rules):
            raise ConfigError(
                "config.mapping",
                f"{where}: no [[source.reading]] is mapped, or two have one name",
                hint="declare path (the metric), name and unit of each",
            )
        for meaning in options.units.values():
            if units.find(meaning) is None:
                raise ConfigError("config.unit", f"{where}: {meaning[:40]!r} is no unit")
        self._broker = options.options(context)
        self.nodes = Nodes()
        self._asked: dict[str, float] = {}

    # --- one message ---

    def read(self, topic: str, payload: bytes) -> tuple[SensorReadings | None, bool]:
        """What one message says.

        Returns:
            The readings, if there are any; and whether nothing is missing before them.

        Raises:
            ReadingError: why it is refused, as a whole.
        """
        kind, node, device = self.address(topic)
        if kind in _NOT_OURS:
            return None, True
        found = decode(payload)
        whole = True
        if kind == "NBIRTH":
            self.nodes.born(node, found)
        elif kind == "NDEATH":
            self.nodes.died(node, found)
        elif kind == "DBIRTH":
            whole = self.nodes.device_born(node, device, found)
        elif kind == "DDEATH":
            whole = self.nodes.device_died(node, device, found)
        else:
            whole = self.nodes.data(node, device, found)
        wanted = kind in ("NDATA", "DDATA") or (self._options.births and kind.endswith("BIRTH"))
        readings = tuple(self._readings(node, device, found)) if wanted else ()
        if not readings:
            return None, whole
        return SensorReadings(self._sensor(node, device), readings), whole

    def address(self, topic: str) -> tuple[str, str, str]:
        """Type, node (``group/node``) and device of a topic. Raises ReadingError."""
        levels = topic.split("/")
        if levels[0] != "spBv1.0" or not 3 <= len(levels) <= 5:
            raise ReadingError("sparkplug.topic", f"{topic[:80]!r} is no topic of Sparkplug B")
        if levels[1] == "STATE":
            return "STATE", "", ""
        kind, device = levels[2], levels[4] if len(levels) == 5 else ""
        known = kind in _SESSION or kind in _NOT_OURS
        if not known or len(levels) < 4 or bool(device) != kind.startswith("D"):
            raise ReadingError("sparkplug.topic", f"{topic[:80]!r} is no topic of Sparkplug B")
        for level in (levels[1], levels[3], *levels[4:]):
            if _ID.fullmatch(level) is None:
                raise ReadingError("sparkplug.topic", "an id is empty or too long")
        return kind, f"{levels[1]}/{levels[3]}", device

    def _sensor(self, node: str, device: str) -> str:
        whole = f"{node}/{device}" if device else node
        named = self._options.names.get(whole)
        if named is None and ":" in whole:
            raise ReadingError(
                "sensor.name",
                f"{whole[:80]!r} has a colon, which stands between the parts of a name",
                hint=f"give {whole[:80]!r} another name under names",
            )
        own = whole.replace("/", ":")
        if named is None and own in self._options.names.values():
            raise ReadingError("sensor.name", f"{own[:80]!r} is the name of another sensor")
        return sensor_name(named or own, None, self._options.prefix)

    def _readings(self, node: str, device: str, payload: Payload) -> Iterator[Reading]:
        for metric, defined in self.nodes.resolve(node, device, payload):
            rule = self._rules.get(defined.name)
            if rule is None or metric.null:
                continue
            yield self._reading(rule, metric, defined, payload)

    def _reading(
        self, rule: ReadingRule, metric: Metric, defined: Definition, payload: Payload
    ) -> Reading:
        if type_of(defined.datatype) != rule.type or metric.datatype not in (
            None,
            defined.datatype,
        ):
            raise ReadingError(
                "sparkplug.type", f"{defined.name!r} was born as datatype {defined.datatype}"
            )
        for unit in {defined.unit, metric.unit}:  # data may say that it has changed since birth
            self._check_unit(rule, defined.name, unit)
        if self._options.time == "metric":
            when = milliseconds(payload.timestamp if metric.timestamp is None else metric.timestamp)
        elif metric.historical:
            raise ReadingError(
                "sparkplug.historical",
                f"{defined.name!r} is history, and the time taken is that of its arrival",
                hint='set time = "metric"',
            )
        else:
            when = self._context.now()
        reading = rule.read({"v": metric.read(defined.datatype)}, when)
        assert reading is not None, "there is a value"
        return reading

    def _check_unit(self, rule: ReadingRule, name: str, unit: str | None) -> None:
        """The engineering unit that a metric names is the declared one, scale included."""
        if unit is None or rule.unit is None:
            return
        said = self._options.units.get(unit, unit)
        # A declared unit has one meaning; what was said, one that the table is sure of.
        ours, theirs = units.find(rule.unit), units.find(said, rule.name)
        same = said == rule.unit and str(rule.scale) == "1"
        if ours is not None and theirs is not None and not same:
            scale = ours.scale * Fraction(str(rule.scale))
            same = (theirs.unit, theirs.scale, theirs.offset) == (ours.unit, scale, ours.offset)
        if not same:
            raise ReadingError(
                "sparkplug.unit",
                f"{name!r} is in {unit!r}, declared is {rule.unit} after a scale of {rule.scale}",
                hint="correct unit and scale, or say under units what it means",
            )

    # --- the broker ---

    def run(self, emit: Emitter, stop: threading.Event) -> None:
        """See :class:`Source`."""
        client_id = f"depin-in-{self._context.kid}-{self._context.name}"

        def take(message: Message) -> None:
            self.take(message, emit, broker)

        qos = self._options.qos
        # What waited for us would get the time of our coming back.
        keep = qos > 0 and self._options.time != "receipt"
        broker = BrokerInput(self._broker, self._topic, client_id, qos, take, keep=keep)
        broker.run(stop, emit.refuse)

    def take(self, message: Message, emit: Emitter, broker: BrokerInput | None) -> None:
        """One message: readings, state, or a refusal."""
        try:
            item, whole = self.read(message.topic, message.payload)
        except ReadingError as error:
            emit.refuse(error.code, f"{message.topic[:100]}: {error.message}")
            if error.code in ("sparkplug.unborn", "sparkplug.doubtful"):
                self._ask(message.topic, broker)
            message.done()
            return
        if not whole:
            emit.refuse("sparkplug.gap", f"{message.topic[:100]}: messages are missing before it")
            self._ask(message.topic, broker)
        if item is None:
            message.done()
        else:
            emit([item], message.done, wait=message.qos > 0)

    def _ask(self, topic: str, broker: BrokerInput | None) -> None:
        """Ask a node for its birth, once a minute at the most."""
        if not self._options.rebirth or broker is None:
            return
        _, node, _ = self.address(topic)
        now = time.monotonic()
        if now - self._asked.get(node, -_REBIRTH_SECONDS) < _REBIRTH_SECONDS:
            return
        if len(self._asked) >= 1024:
            self._asked.clear()
        self._asked[node] = now
        group, name = node.split("/")
        command = {"name": b"Node Control/Rebirth", "datatype": _BOOLEAN, "boolean_value": True}
        stamp = int(self._context.wall() * 1000)
        broker.publish(f"spBv1.0/{group}/NCMD/{name}", encode(None, stamp, [command]))

    def describe(self) -> list[str]:
        """See :class:`Source`."""
        options = self._options
        return [
            f"Sparkplug B from {self._broker!r}, topic {self._topic}, QoS {options.qos}, "
            f"signed for as {options.level}",
            *(
                f"{path} -> {rule.name}"
                + (f" in {rule.unit}" if rule.unit else f" ({rule.type})")
                + (f", times {rule.scale}" if str(rule.scale) != "1" else "")
                for path, rule in self._rules.items()
            ),
            "time: when received" if options.time == "receipt" else "time: of each metric",
            "asks for births it missed" if options.rebirth else "births it missed are waited for",
        ]


KINDS = {"sparkplug": Kind(SparkplugOptions, Sparkplug)}
