"""Entities that discovery messages declare: bounded, each declared once, and named by rules."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from pydantic import Field

from depin_id.errors import ConfigError, ReadingError
from depin_id.readings import Reading
from depin_id.senml import Decimal64
from firmware_bridge import ha_discovery, units
from firmware_bridge.filters import matches, overlap
from firmware_bridge.ha_discovery import Entity, Extract
from firmware_bridge.sources.base import BrokerOptions, Strict
from firmware_bridge.units import Conversion

log = logging.getLogger("depin_bridge.sources")


class NamedReading(Strict):
    """One ``[[source.reading]]``: what the object ``path`` (or ``sensor/object``) measures.

    ``unit`` is the one that the sensor sends (``°F``, ``hPa``, ``Cel``); without it the discovery
    message has to say it.
    """

    path: str = Field(min_length=1, max_length=256)
    name: str = Field(min_length=1, max_length=64)
    unit: str | None = None


class DiscoveredOptions(BrokerOptions):
    """What sources share that learn from Home Assistant's discovery messages under ``discovery``.

    For ``G1`` only the devices themselves may write these at the broker
    (``discovery_protected``): else anyone could change a unit.
    """

    discovery: str = Field(default="homeassistant", pattern=r"^[A-Za-z0-9/_-]{0,64}$")
    discovery_protected: bool = False
    max_entities: int = Field(default=256, ge=1, le=10_000)
    names: dict[str, str] = Field(default_factory=dict)
    prefix: str = ""
    reading: list[NamedReading] = Field(default_factory=list)

    def unauthenticated(self) -> str | None:
        """See :class:`SourceOptions`."""
        if self.discovery and not self.discovery_protected:
            return (
                "its units come from discovery messages, and it does not say that only the devices "
                "themselves may write these (discovery_protected)"
            )
        return super().unauthenticated()


class Rules:
    """Names and units that the configuration declares.

    Raises:
        ConfigError: ``config.unit``, ``config.mapping``.
    """

    def __init__(self, readings: Sequence[NamedReading], where: str) -> None:
        self._rules = {rule.path: rule for rule in readings}
        if len(self._rules) != len(readings):
            raise ConfigError("config.mapping", f"{where}: two readings have one path")
        self._units: dict[str, Conversion] = {}
        for rule in readings:
            try:
                if rule.unit is not None:
                    self._units[rule.path] = units.require(rule.unit)
                Reading(rule.name, True)
            except ReadingError as error:
                code = "config.unit" if error.code == "input.unit" else "config.mapping"
                raise ConfigError(
                    code, f"{where}: {rule.path}: {error.message}", hint=error.hint
                ) from error

    def find(self, device: str, object_id: str) -> tuple[str | None, Conversion | None]:
        """The name and the conversion that are declared for an object."""
        for path in (f"{device}/{object_id}", object_id):
            if path in self._rules:
                return self._rules[path].name, self._units.get(path)
        return None, None

    def lines(self) -> list[str]:
        """The rules, for people."""
        return [
            f"{rule.path} -> {rule.name}" + (f", sent in {rule.unit}" if rule.unit else "")
            for rule in self._rules.values()
        ]


def default_name(object_id: str, conversion: Conversion) -> str:
    """A reading's name: the object's, and the weighting of a sound level with it."""
    weighting = conversion.weighting.lower()
    return f"{object_id}-{weighting}" if weighting else object_id


class Registry:
    """The entities declared so far, by the topic of their state.

    What an entity said of itself first stays: another unit, topic or template under its name is
    refused until the bridge starts again, or a stranger could change what a number means.

    Args:
        prefix: of discovery topics; empty: nothing is learned.
        allowed: filter of the state topics; entities elsewhere are none of this source's.
    """

    def __init__(self, prefix: str, allowed: str, limit: int) -> None:
        self._prefix, self._allowed, self._limit = prefix.strip("/"), allowed, limit
        self.filters = ha_discovery.filters(self._prefix) if self._prefix else ()
        if any(overlap(allowed, pattern) for pattern in self.filters):
            raise ConfigError(
                "config.mapping",
                f"the topic {allowed!r} takes in the discovery messages too",
                hint="name the topics of the sensors' states more closely",
            )
        self._known: dict[tuple[str, str], tuple[Entity, Extract]] = {}
        self._declared: dict[str, set[tuple[str, str]]] = {}
        self._by_topic: dict[str, set[tuple[str, str]]] = {}

    def is_discovery(self, topic: str) -> bool:
        """Whether a topic is one of discovery messages."""
        return any(matches(pattern, topic) for pattern in self.filters)

    def learn(self, topic: str, payload: bytes) -> list[ReadingError]:
        """Take a discovery message; gives why some of it is refused.

        Raises:
            ReadingError: why all of it is.
        """
        found = ha_discovery.read(self._prefix, topic, payload)
        refused: list[ReadingError] = []
        now: set[tuple[str, str]] = set()
        for entity in found:
            try:
                if matches(self._allowed, entity.topic):
                    now.add(self._admit(entity, topic))
            except ReadingError as error:
                refused.append(error)
        for key in self._declared.pop(topic, set()) - now:
            self._by_topic[self._known[key][0].topic].discard(key)
        if now:
            self._declared[topic] = now
        for key in now:
            self._by_topic.setdefault(self._known[key][0].topic, set()).add(key)
        return refused

    def _admit(self, entity: Entity, topic: str) -> tuple[str, str]:
        key = (entity.device, entity.id)
        where = f"{entity.device[:64]!r}, {entity.id}"
        if any(key in keys for other, keys in self._declared.items() if other != topic):
            raise ReadingError("discovery.taken", f"{where} is declared by two messages")
        if key in self._known:
            if self._known[key][0] != entity:
                raise ReadingError("discovery.changed", f"{where} is not what it was at first")
            return key
        if len(self._known) >= self._limit:
            raise ReadingError("discovery.too_many", f"{where} is one more than max_entities")
        self._known[key] = (entity, ha_discovery.compile_template(entity.template))
        log.info("%s: in %s, from %s", where, entity.unit, entity.topic[:80])
        return key

    def at(self, topic: str) -> list[tuple[Entity, Extract]]:
        """The entities whose state a topic is, in the order of their names."""
        return [self._known[key] for key in sorted(self._by_topic.get(topic, ()))]


def read_entity(
    entity: Entity, extract: Extract, rules: Rules, sensor: str, payload: bytes, time: Decimal64
) -> Reading:
    """The reading of an entity in a state message. Raises ReadingError."""
    name, conversion = rules.find(sensor, entity.id)
    conversion = conversion or entity.conversion()
    value = conversion.apply(extract(payload))
    return Reading(name or default_name(entity.id, conversion), value, conversion.unit, time)
