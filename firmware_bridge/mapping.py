"""Declared mappings: from what a sensor says to readings with names and units.

Nothing is guessed: a number without a declared unit is a configuration error at start, a value
that is not what was declared is refused and counted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

from depin_id.errors import ConfigError, EncodingError, ReadingError
from depin_id.readings import Reading, parse_time
from depin_id.senml import Decimal64, Record, require_unit
from depin_id.senml.records import check_record
from firmware_bridge.strict_json import RawNumber

ValueType = Literal["number", "bool", "text"]
TimeUnit = Literal["s", "ms"]

SENSOR = "{sensor}"
_STEP = re.compile(r"\.?([A-Za-z0-9_\- ]{1,64})|\[(\d{1,4})\]")
_SENSOR_NAME = re.compile(r"[A-Za-z0-9._:-]{1,64}", re.ASCII)
_MAX_STEPS = 16
_ABSENT = object()


def _config(where: str, what: str, hint: str = "") -> NoReturn:
    raise ConfigError("config.mapping", f"{where}: {what}", hint=hint)


@dataclass(frozen=True)
class JsonPath:
    """A path into a document: names and indices, ``BME280.Temperature`` or ``$.values[0].v``."""

    text: str
    steps: tuple[str | int, ...]

    @classmethod
    def parse(cls, text: str, where: str) -> JsonPath:
        """Read a path. Raises ConfigError ``config.mapping``."""
        at = 1 if text.startswith("$") else 0
        steps: list[str | int] = []
        while at < len(text):
            match = _STEP.match(text, at)
            if match is None or len(steps) >= _MAX_STEPS:
                _config(where, f"{text[:60]!r} is not a path", "write a.b[0].c")
            steps.append(match[1] if match[1] is not None else int(match[2]))
            at = match.end()
        return cls(text, tuple(steps))

    def find(self, document: Any) -> Any:
        """What is there, or a marker for nothing (see :func:`absent`)."""
        for step in self.steps:
            if isinstance(step, str) and isinstance(document, dict):
                document = document.get(step, _ABSENT)
            elif isinstance(step, int) and isinstance(document, list) and step < len(document):
                document = document[step]
            else:
                return _ABSENT
        return document


def absent(value: Any) -> bool:
    """Whether a path led nowhere, or to null."""
    return value is _ABSENT or value is None


@dataclass(frozen=True)
class ReadingRule:
    """One value of a message: where it is and what it is. Make one with :meth:`declare`."""

    path: JsonPath
    name: str
    unit: str | None
    type: ValueType
    scale: Decimal64
    required: bool

    @classmethod
    def declare(
        cls,
        *,
        path: str,
        name: str,
        unit: str | None = None,
        type: ValueType = "number",
        scale: str = "1",
        required: bool = True,
        where: str = "reading",
    ) -> ReadingRule:
        """Check a rule as configured.

        Args:
            path: into the message. name: the reading's. unit: registered SenML unit of the scaled
                value; a number needs one, bool and text have none.
            scale: exact decimal number the value is multiplied with.
            required: refuse a message without it.

        Raises:
            ConfigError: ``config.mapping``, ``config.unit``.
        """
        if type == "number" and unit is None:
            raise ConfigError(
                "config.unit",
                f"{where}: {name!r} has no unit",
                hint="declare the unit of the value (dB, Cel, %RH, Pa); units are never guessed",
            )
        if type != "number" and (unit is not None or scale != "1"):
            _config(where, f"{name!r} is {type}, so it has neither unit nor scale")
        try:
            if unit is not None:
                require_unit(unit)
            check_record(Record(name, unit, True))
            factor = Decimal64.from_text(scale)
        except EncodingError as error:
            code = "config.unit" if error.code == "senml.unit" else "config.mapping"
            raise ConfigError(code, f"{where}: {error.message}", hint=error.hint) from error
        if factor.mantissa == 0:
            _config(where, "a scale of 0 makes every value 0")
        return cls(JsonPath.parse(path, where), name, unit, type, factor, required)

    def read(self, document: Any, time: Decimal64) -> Reading | None:
        """The reading in a document, or None when an optional one is not there.

        Raises:
            ReadingError: ``input.missing``, ``input.type``, ``reading.invalid``.
        """
        value = self.path.find(document)
        if absent(value):
            if self.required:
                raise ReadingError("input.missing", f"nothing at {self.path.text}")
            return None
        return Reading(self.name, self._value(value), self.unit, time)

    def _value(self, value: Any) -> Decimal64 | str | bool:
        if self.type == "number" and isinstance(value, RawNumber):
            try:
                number = Decimal64.from_text(str(value))
                return Decimal64(
                    number.mantissa * self.scale.mantissa, number.exponent + self.scale.exponent
                )
            except EncodingError as error:
                raise ReadingError("input.number", f"{self.path.text}: {error.message}") from error
        if self.type == "bool" and isinstance(value, bool):
            return value
        if self.type == "text" and type(value) is str:
            return value
        raise ReadingError("input.type", f"{self.path.text} is not a {self.type}")


@dataclass(frozen=True)
class ReadingMap:
    """All rules of one source."""

    rules: tuple[ReadingRule, ...]
    time: JsonPath | None = None
    time_unit: TimeUnit = "s"
    sensor: JsonPath | None = None

    def read(self, document: Any, received: Decimal64) -> tuple[Reading, ...]:
        """The readings in a document; ``received`` is their time when none is mapped.

        Raises:
            ReadingError: with the reason; a message is taken whole or not at all.
        """
        time = received if self.time is None else self._time(self.time.find(document))
        found = (rule.read(document, time) for rule in self.rules)
        readings = tuple(reading for reading in found if reading is not None)
        if not readings:
            raise ReadingError("input.missing", "none of the mapped readings is there")
        return readings

    def _time(self, value: Any) -> Decimal64:
        if not isinstance(value, str):
            raise ReadingError("input.time", "there is no time where one is mapped")
        time = parse_time(str(value))
        try:
            return Decimal64(time.mantissa, time.exponent - 3) if self.time_unit == "ms" else time
        except EncodingError as error:
            raise ReadingError("input.time", error.message) from error

    def sensor_in(self, document: Any) -> str | None:
        """The sensor that the document names, when that is mapped.

        Raises:
            ReadingError: ``sensor.name``.
        """
        if self.sensor is None:
            return None
        value = self.sensor.find(document)
        return sensor_name(str(value) if isinstance(value, str) else "")


def sensor_name(name: str, names: Mapping[str, str] | None = None, prefix: str = "") -> str:
    """The sensor's name for a subject; names come from outside and are refused, never bent.

    Two sensors whose odd names were bent into one would be one stream: give them ``names``. Whoever
    calls itself what another one is called under ``names`` is not that one.

    Raises:
        ReadingError: ``sensor.name``.
    """
    names = names or {}
    if name not in names and name in names.values():
        raise ReadingError(
            "sensor.name",
            f"{name[:70]!r} is the name of another sensor",
            hint="give this one a name of its own under names",
        )
    wanted = prefix + names.get(name, name)
    if _SENSOR_NAME.fullmatch(wanted) is None:
        raise ReadingError(
            "sensor.name",
            f"{wanted[:70]!r} is not a sensor's name",
            hint="use 1 to 64 of A-Z a-z 0-9 . _ : - or map it under names",
        )
    return wanted


def declare(
    readings: Sequence[Mapping[str, Any]],
    *,
    where: str,
    time: str | None = None,
    time_unit: TimeUnit = "s",
    sensor: str | None = None,
) -> ReadingMap:
    """Check a mapping as configured.

    Raises:
        ConfigError: ``config.mapping``, ``config.unit``.
    """
    rules = tuple(
        ReadingRule.declare(**rule, where=f"{where}.reading[{index}]")
        for index, rule in enumerate(readings)
    )
    if not rules:
        _config(where, "no [[source.reading]] is mapped", "declare path, name and unit of each")
    names = [rule.name for rule in rules]
    if len(set(names)) != len(names):
        _config(where, "two readings have one name")
    return ReadingMap(
        rules,
        None if time is None else JsonPath.parse(time, f"{where}.time"),
        time_unit,
        None if sensor is None else JsonPath.parse(sensor, f"{where}.sensor_path"),
    )


@dataclass(frozen=True)
class TopicPattern:
    """An MQTT topic with at most one level ``{sensor}``; ``+`` and a last ``#`` match as ever."""

    text: str

    def __post_init__(self) -> None:
        levels = self.text.split("/")
        special = [level for level in levels if set(level) & set("{}+#\0")]
        if (
            not 0 < len(self.text) <= 512
            or any(level not in (SENSOR, "+", "#") for level in special)
            or levels.count(SENSOR) > 1
            or "#" in levels[:-1]
        ):
            _config("topic", f"{self.text[:60]!r} is not a topic", "write tele/{sensor}/SENSOR")

    @property
    def filter(self) -> str:
        """The filter to subscribe with."""
        return self.text.replace(SENSOR, "+")

    @property
    def names_sensor(self) -> bool:
        """Whether the topic tells the sensor."""
        return SENSOR in self.text.split("/")

    def shared(self, fixed: str | None = None) -> str | None:
        """Why publishers who each own a topic could speak as one sensor, or None.

        Args:
            fixed: the sensor's name where the topic does not tell it.
        """
        before, found, _ = f"/{self.text}/".partition(f"/{SENSOR}/")
        if not found and fixed is not None and set(self.text.split("/")) & {"+", "#"}:
            return f"all who match {self.text!r} would be the one sensor {fixed!r}"
        if found and "+" in before.split("/"):
            return f"in {self.text!r} two who differ before {SENSOR} would be one sensor"
        return None

    def sensor(self, topic: str) -> str | None:
        """The level of ``topic`` at ``{sensor}``; None without one."""
        for wanted, level in zip(self.text.split("/"), topic.split("/"), strict=False):
            if wanted == SENSOR:
                return level
        return None
