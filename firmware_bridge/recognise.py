"""What is said at a broker, recognised by its topics and shapes: which source would read it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from depin_id.envelope import parse_envelope, split_bundle
from depin_id.errors import DepinError, ReadingError
from depin_id.statements import is_statement
from firmware_bridge import ha_discovery
from firmware_bridge.filters import matches, overlap
from firmware_bridge.ha_discovery import Entity
from firmware_bridge.mapping import SENSOR
from firmware_bridge.sources.tasmota import fields_of
from firmware_bridge.strict_json import RawNumber, parse

DISCOVERY = "homeassistant"
_MAX_PATHS = 48
_MAX_DEPTH = 6
_SHOWN = 60


@dataclass(frozen=True)
class Limits:
    """Bounds of listening: messages after these are counted and not looked at."""

    topics: int = 2000
    bytes: int = 32 << 20
    message: int = 131_072
    sources: int = 64


@dataclass
class Found:
    """A source that would read what was heard.

    Attributes:
        kind, topic: of the ``[[source]]``. extra: further keys of it.
        sensors: what would be signed for, seen: a line for people on each value.
        todo: path -> an example, of values whose units have to be declared.
        topics: where it was heard.
    """

    kind: str
    topic: str
    extra: dict[str, str] = field(default_factory=dict)
    sensors: set[str] = field(default_factory=set)
    seen: dict[str, str] = field(default_factory=dict)
    todo: dict[str, str] = field(default_factory=dict)
    topics: set[str] = field(default_factory=set)

    @property
    def ready(self) -> bool:
        """Whether it would work as it stands, without units to be declared."""
        return self.kind == "native_mqtt" or any("NOT " not in line for line in self.seen.values())

    def note(self, key: str, line: str) -> None:
        """Keep a line for people, within bounds."""
        if key in self.seen or len(self.seen) < _MAX_PATHS:
            self.seen[key] = line


class Recogniser:
    """Takes messages, and tells the sources that would read them."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.messages = self.bytes = self.left_out = 0
        self.retained: set[str] = set()
        self._topics: set[str] = set()
        self._found: dict[tuple[str, str], Found] = {}
        self._entities: dict[tuple[str, str], Entity] = {}
        self._plain: dict[str, dict[str, str]] = {}
        self._numbers: set[str] = set()

    @property
    def topics(self) -> int:
        """How many topics were heard."""
        return len(self._topics)

    def take(self, topic: str, payload: bytes, *, retained: bool = False) -> None:
        """Look at one message; nothing that arrives raises."""
        self.messages += 1
        new = topic not in self._topics
        if (
            topic.startswith("$")
            or len(topic) > 512
            or len(payload) > self.limits.message
            or self.bytes + len(payload) > self.limits.bytes
            or (new and self.topics >= self.limits.topics)
        ):
            self.left_out += 1
            return
        self.bytes += len(payload)
        self._topics.add(topic)
        try:
            said = self._sort(topic, payload)
        except DepinError:
            said = False
        if said and retained:
            self.retained.add(topic)

    def _sort(self, topic: str, payload: bytes) -> bool:
        """Recognise a message; whether it may carry readings."""
        levels = topic.split("/")
        if any(matches(pattern, topic) for pattern in ha_discovery.filters(DISCOVERY)):
            for entity in ha_discovery.read(DISCOVERY, topic, payload):
                if len(self._entities) < self.limits.topics:
                    self._entities[entity.device, entity.id] = entity
            return False
        if levels[0].startswith("spBv1"):
            return self._sparkplug(levels, topic)
        if payload[:1] >= b"\x80":
            return self._envelope(topic, payload)
        if levels[-1] == "SENSOR" and "tele" in levels:
            return self._tasmota(levels, topic, parse(payload))
        if matches("application/+/device/+/event/up", topic):
            return self._lorawan("chirpstack", topic, levels[3], parse(payload), "object")
        if matches("v3/+/devices/+/up", topic):
            message = parse(payload)
            uplink = message.get("uplink_message") if isinstance(message, dict) else None
            return self._lorawan("ttn", topic, levels[3], uplink, "decoded_payload")
        if payload[:1] in (b"{", b"["):
            return self._json(topic, parse(payload))
        ha_discovery.plain_number(payload)
        self._numbers.add(topic)
        return True

    def _at(self, kind: str, topic: str, heard: str) -> Found:
        key = (kind, topic)
        if key not in self._found and len(self._found) >= self.limits.sources:
            raise ReadingError("discover.too_many", "there are more kinds of sources")
        found = self._found.setdefault(key, Found(kind, topic))
        found.topics.add(heard)
        return found

    def _sparkplug(self, levels: list[str], topic: str) -> bool:
        if len(levels) < 4 or levels[2] not in ("NDATA", "DDATA", "NBIRTH", "DBIRTH"):
            return False
        found = self._at("sparkplug", f"{levels[0]}/+/+/+/#", topic)
        found.sensors.add(":".join(levels[1:2] + levels[3:5]))
        found.todo["NAME OF A METRIC"] = "?"
        return levels[2].endswith("DATA")

    def _envelope(self, topic: str, payload: bytes) -> bool:
        if not is_statement(payload):
            for part in split_bundle(payload):
                parse_envelope(part)
        levels = topic.split("/")
        self._at("native_mqtt", "/".join([*levels[:-1], "+"]), topic).sensors.add(levels[-1])
        return True

    def _tasmota(self, levels: list[str], topic: str, document: Any) -> bool:
        if not isinstance(document, dict) or len(levels) < 3:
            return False
        others = [i for i, level in enumerate(levels[:-1]) if level != "tele"]
        device = levels[others[-1]]
        pattern = [SENSOR if i == others[-1] else level for i, level in enumerate(levels)]
        blocks = {k: v for k, v in document.items() if isinstance(v, dict)}
        if not blocks:
            return False
        found = self._at("tasmota", "/".join(pattern), topic)
        for name, block in blocks.items():
            fields = fields_of(name)
            if fields is None:
                found.note(f"{device}.{name}", "NOT known: would be refused")
                continue
            found.sensors.add(f"{device}.{name}")
            leaves = {f"{k}.{i}" if i else k for k, v in block.items() for i in (_inner(v) or [""])}
            known = sorted(part[0] for key in leaves if (part := fields.get(key)) is not None)
            odd = sorted(leaves - fields.keys())
            line = ", ".join(known) + (f"; would be refused: {', '.join(odd)}" if odd else "")
            found.note(f"{device}.{name}", line)
        return True

    def _lorawan(self, kind: str, topic: str, device: str, uplink: Any, key: str) -> bool:
        values = uplink.get(key) if isinstance(uplink, dict) else None
        pattern = {
            "chirpstack": "application/+/device/{sensor}/event/+",
            "ttn": "v3/+/devices/{sensor}/up",
        }[kind]
        found = self._at(kind, pattern, topic)
        found.sensors.add(device)
        if not isinstance(values, dict):
            found.note(device, "NOT decoded by the network server: give it a codec")
            return True
        self._declare(found, dict(islice(_numbers(values), _MAX_PATHS)))
        return True

    def _json(self, topic: str, document: Any) -> bool:
        paths = dict(islice(_numbers(document), _MAX_PATHS))
        known = self._plain.setdefault(topic, {}) if paths else {}
        for path, example in paths.items():
            if path in known or len(known) < _MAX_PATHS:
                known[path] = example
        return bool(paths)

    @staticmethod
    def _declare(found: Found, paths: dict[str, str]) -> None:
        for path, example in paths.items():
            if len(found.todo) < _MAX_PATHS:
                found.todo.setdefault(path, example)

    # --- what it comes to ---

    def sources(self) -> list[Found]:
        """The sources that would read what was heard, those that are ready first."""
        found = dict(self._found)
        self._found = dict(found)
        for entity in self._entities.values():
            self._entity(entity)
        claimed = {topic for part in self._found.values() for topic in part.topics}
        for topic in sorted(self._numbers - claimed):
            self._number(topic)
        self._json_groups(claimed)
        everything, self._found = list(self._found.values()), found
        return sorted(everything, key=lambda part: (not part.ready, part.kind, part.topic))

    def _entity(self, entity: Entity) -> None:
        levels = entity.topic.split("/")
        try:
            conversion = entity.conversion()
            line = f"{entity.unit} -> {conversion.unit}"
        except ReadingError:
            line = f"NOT known: the unit {(entity.unit or 'is not declared')[:32]}"
        node = len(levels) >= 4 and levels[-1] == "state" and levels[-3] == "sensor"
        if any(entity.topic in part.topics and part.kind == "tasmota" for part in self._tasmotas()):
            return  # it says itself what its units are
        try:
            if node and levels[-2] == entity.id:
                pattern = [*levels[:-4], SENSOR, "sensor", "+", "state"]
                found = self._at("esphome", "/".join(pattern), entity.topic)
                found.sensors.add(levels[-4])
                found.note(f"{levels[-4]}/{entity.id}", line)
                return
            found = self._at("homeassistant", _states(entity.topic), entity.topic)
        except ReadingError:
            return
        found.sensors.add(entity.device)
        found.note(f"{entity.device}/{entity.id}", line)

    def _tasmotas(self) -> list[Found]:
        return [part for part in self._found.values() if part.kind == "tasmota"]

    def _number(self, topic: str) -> None:
        """A plain number: of an ESPHome node by its topic, else of something unknown."""
        levels = topic.split("/")
        if len(levels) < 4 or levels[-1] != "state" or levels[-3] != "sensor":
            return
        try:
            pattern = [*levels[:-4], SENSOR, "sensor", "+", "state"]
            found = self._at("esphome", "/".join(pattern), topic)
        except ReadingError:
            return
        found.sensors.add(levels[-4])
        self._declare(found, {levels[-2]: "?"})

    def _json_groups(self, claimed: set[str]) -> None:
        groups: dict[tuple[int, tuple[str, ...]], list[str]] = {}
        for topic, paths in self._plain.items():
            if topic not in claimed:
                groups.setdefault((topic.count("/"), tuple(sorted(paths))), []).append(topic)
        for topics in groups.values():
            for pattern, name, members in _patterns(topics):
                try:
                    found = self._at("mqtt_json", pattern, members[0])
                except ReadingError:
                    return
                if name is not None:
                    found.extra["sensor"] = name
                at = pattern.split("/").index(SENSOR) if name is None else -1
                for topic in members:
                    found.topics.add(topic)
                    found.sensors.add(name or topic.split("/")[at])
                    self._declare(found, self._plain[topic])


def _inner(value: Any) -> list[str] | None:
    return list(value) if isinstance(value, dict) else None


def _numbers(document: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    """Paths of numbers in a document, and these; names that no path can say are left out."""
    if depth > _MAX_DEPTH:
        return
    if isinstance(document, RawNumber):
        if path:
            yield path, str(document)[:_SHOWN]
    elif isinstance(document, dict):
        for key, value in list(document.items())[:_MAX_PATHS]:
            if key and len(key) <= 64 and key.isascii() and key.replace("_", "a").isalnum():
                yield from _numbers(value, f"{path}.{key}" if path else key, depth + 1)
    elif isinstance(document, list):
        for index, value in enumerate(document[:8]):
            yield from _numbers(value, f"{path}[{index}]" if path else f"$[{index}]", depth + 1)


def _states(topic: str) -> str:
    """A filter of the states beside a topic that takes no discovery messages in."""
    levels = topic.split("/")
    for pattern in (f"{levels[0]}/#", "/".join([*levels[:-1], "+"])):
        if not any(overlap(pattern, other) for other in ha_discovery.filters(DISCOVERY)):
            return pattern
    return topic


def _patterns(topics: list[str]) -> Iterator[tuple[str, str | None, list[str]]]:
    """Topics as patterns: those that differ in one level alone are sensors of one source."""
    split = [topic.split("/") for topic in sorted(topics)]
    differ = [i for i in range(len(split[0])) if len({levels[i] for levels in split}) > 1]
    if len(differ) == 1:
        levels = [SENSOR if i == differ[0] else level for i, level in enumerate(split[0])]
        yield "/".join(levels), None, sorted(topics)
        return
    for topic in sorted(topics):
        named = [level for level in topic.split("/") if level]
        yield topic, "-".join(named[-2:])[:64] or "sensor", [topic]
