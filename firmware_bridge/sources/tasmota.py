"""Tasmota devices: each block of a ``SENSOR`` message is a sensor; its units are in the message."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final, Literal

from pydantic import Field

from depin_id.claims import Link
from depin_id.errors import ConfigError, DepinError, ReadingError
from depin_id.readings import Reading, parse_time
from depin_id.senml import Decimal64
from firmware_bridge import units
from firmware_bridge.gateway import Emitter
from firmware_bridge.items import SensorReadings
from firmware_bridge.mapping import SENSOR, TopicPattern, sensor_name
from firmware_bridge.mqtt import Message
from firmware_bridge.sources.base import BrokerOptions, Context, Kind
from firmware_bridge.sources.broker import BrokerInput
from firmware_bridge.sources.presence import Presence
from firmware_bridge.strict_json import RawNumber, parse
from firmware_bridge.units import Conversion

_MAX_BLOCKS = 64
_MAX_PHASES = 3
_AHEAD, _BEHIND = 60, 8 * 86_400
_TEMPERATURE, _PRESSURE, _SPEED = "TempUnit", "PressureUnit", "SpeedUnit"

Fields = dict[str, tuple[str, str] | None]
"""Field -> name and unit of the reading, or the key of the message that names the unit.

None: known, and no reading (an identifier, a count that has no unit).
"""

_AIR: Final[Fields] = {
    "Temperature": ("temperature", _TEMPERATURE),
    "Humidity": ("humidity", "%RH"),
    "DewPoint": ("dew-point", _TEMPERATURE),
}
_BAROMETER: Final[Fields] = {
    **_AIR,
    "Pressure": ("pressure", _PRESSURE),
    "SeaPressure": ("pressure-sea", _PRESSURE),
    "Gas": ("gas-resistance", "kΩ"),
}
_PROBE: Final[Fields] = {
    "Temperature": ("temperature", _TEMPERATURE),
    "Id": None,
    "Type": None,
    "Address": None,
}
_GAS: Final[Fields] = {
    **_AIR,
    "CarbonDioxide": ("co2", "ppm"),
    "eCO2": ("co2-smoothed", "ppm"),
    "Model": None,
}
_DUST: Final[Fields] = {
    **_AIR,
    "PM1": ("pm1", "µg/m³"),
    "PM2.5": ("pm25", "µg/m³"),
    "PM10": ("pm10", "µg/m³"),
    "CF1": ("pm1-cf1", "µg/m³"),
    "CF2.5": ("pm25-cf1", "µg/m³"),
    "CF10": ("pm10-cf1", "µg/m³"),
    **dict.fromkeys(("PB0.3", "PB0.5", "PB1", "PB2.5", "PB5", "PB10")),
}
_LIGHT: Final[Fields] = {"Illuminance": ("illuminance", "lx")}
_METER: Final[Fields] = {
    "Total": ("energy", "kWh"),
    "Power": ("power", "W"),
    "ApparentPower": ("apparent-power", "VA"),
    "ReactivePower": ("reactive-power", "var"),
    "Factor": ("power-factor", "/"),
    "Voltage": ("voltage", "V"),
    "Current": ("current", "A"),
    "Frequency": ("frequency", "Hz"),
    # These begin anew at the device's midnight or period, which nobody else knows.
    **dict.fromkeys(("TotalStartTime", "Yesterday", "Today", "Period")),
}
_WIND: Final[Fields] = {
    "Speed.Act": ("wind-speed", _SPEED),
    "Speed.Avg": ("wind-speed-avg", _SPEED),
    "Speed.Min": ("wind-speed-min", _SPEED),
    "Speed.Max": ("wind-speed-max", _SPEED),
    "Dir.Deg": ("wind-direction", "°"),
    "Dir.Avg": ("wind-direction-avg", "°"),
    **dict.fromkeys(("Dir.Card", "Dir.AvgCard", "Dir.Min", "Dir.Max", "Dir.Range")),
}
BLOCKS: Final[dict[str, Fields]] = {
    **dict.fromkeys(("BME280", "BME680", "BME688", "BMP280", "BMP180", "BMP085"), _BAROMETER),
    **dict.fromkeys(("DHT11", "DHT22", "AM2301", "AM2302", "AM2321", "SI7021", "HTU21"), _AIR),
    **dict.fromkeys(("SHT1X", "SHT3X", "SHT4X", "HDC1080", "AHT1X", "AHT2X", "MCP9808"), _AIR),
    **dict.fromkeys(("DS18B20", "DS18S20", "DS1822", "MAX31850"), _PROBE),
    **dict.fromkeys(("SCD30", "SCD40", "SCD41", "MHZ19", "MHZ19B", "S8"), _GAS),
    **dict.fromkeys(("SDS0X1", "SDS011", "PMS5003", "PMS7003", "PMSA003I"), _DUST),
    **dict.fromkeys(("BH1750", "TSL2561", "MAX44009"), _LIGHT),
    **dict.fromkeys(("TX20", "TX23"), _WIND),
    "ENERGY": _METER,
}
"""Blocks by the driver's name; a block's own is followed by ``-`` and a number or address."""

_TEMPERATURES = {"C": "°C", "F": "°F"}


class TasmotaOptions(BrokerOptions):
    """``kind = "tasmota"``.

    ``topic`` is Tasmota's FullTopic (``%prefix%/%topic%/``) or the topic of the ``SENSOR`` messages
    with ``{sensor}``. Sensors are named ``<device>.<block>``, a probe on a bus by its own address;
    ``names`` gives them other names. ``clock`` is ``receipt``, or how the device writes its time:
    ``utc`` without a zone, ``zone`` with one. ``link`` signs the Wi-Fi signal that the device says
    of the same second, a pack a message.
    """

    topic: str = "%prefix%/%topic%/"
    names: dict[str, str] = Field(default_factory=dict)
    prefix: str = ""
    clock: Literal["receipt", "utc", "zone"] = "receipt"
    link: bool = False

    def unauthenticated(self) -> str | None:
        """See :class:`SourceOptions`."""
        return super().unauthenticated() or pattern_of(self.topic).shared()


def pattern_of(topic: str) -> TopicPattern:
    """The pattern of ``SENSOR`` messages. Raises ConfigError ``config.mapping``."""
    if "%" in topic:
        topic = topic.replace("%prefix%", "tele").replace("%topic%", SENSOR).rstrip("/") + "/SENSOR"
    pattern = TopicPattern(topic)
    if not pattern.names_sensor or not topic.endswith("/SENSOR") or "%" in topic:
        raise ConfigError(
            "config.mapping",
            f"{topic[:60]!r} is not where Tasmota's devices publish",
            hint="write the FullTopic (%prefix%/%topic%/) or tele/{sensor}/SENSOR",
        )
    return pattern


def fields_of(block: str) -> Fields | None:
    """The fields of a block (``BME280``, ``DS18B20-2``, ``BH1750-23``), None of an unknown one."""
    return BLOCKS.get(block.split("-", 1)[0])


def _leaves(block: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Fields of a block, those of an inner one as ``Outer.Inner``, phases as they are."""
    for key, value in block.items():
        if isinstance(value, dict):
            yield from ((f"{key}.{inner}", leaf) for inner, leaf in value.items())
        else:
            yield key, value


class _Block:
    """Reads one block; what of it is refused is kept with the reasons."""

    def __init__(self, name: str, fields: Fields, document: dict[str, Any]) -> None:
        self._name, self._fields, self._document = name, fields, document
        self.refused: list[ReadingError] = []

    def readings(self, time: Decimal64) -> list[Reading]:
        found: list[Reading] = []
        for key, value in _leaves(self._document[self._name]):
            try:
                new = list(self._field(key, value, time))
                if {one.name for one in new} & {one.name for one in found}:
                    raise ReadingError(
                        "tasmota.twice", f"{self._name}: {key[:40]!r} is there twice"
                    )
                found += new
            except ReadingError as error:
                self.refused.append(error)
        return found

    def _field(self, key: str, value: Any, time: Decimal64) -> Iterator[Reading]:
        if key not in self._fields:
            raise ReadingError("tasmota.field", f"{self._name}: {key[:40]!r} is not known")
        field = self._fields[key]
        if field is None:
            return
        name, unit = field
        conversion = self._unit(unit)
        if not isinstance(value, list):
            yield self._reading(name, conversion, value, time)
            return
        if not 0 < len(value) <= _MAX_PHASES:
            raise ReadingError("tasmota.value", f"{self._name}.{key[:40]}: {len(value)} phases")
        for phase, part in enumerate(value, 1):
            yield self._reading(f"{name}-{phase}", conversion, part, time)

    def _unit(self, unit: str) -> Conversion:
        if unit not in (_TEMPERATURE, _PRESSURE, _SPEED):
            return units.require(unit)
        said = self._document.get(unit)
        text = said if type(said) is str else None
        if unit == _TEMPERATURE:
            text = _TEMPERATURES.get(text or "")
        conversion = units.require(text)
        if conversion.unit != {_TEMPERATURE: "Cel", _PRESSURE: "Pa", _SPEED: "m/s"}[unit]:
            raise ReadingError("input.unit", f"{unit} says {text!r}")
        return conversion

    def _reading(self, name: str, conversion: Conversion, value: Any, time: Decimal64) -> Reading:
        if not isinstance(value, RawNumber):
            raise ReadingError("tasmota.value", f"{self._name}: {name} is no number")
        return Reading(name, conversion.apply(value), conversion.unit, time)


class Tasmota:
    """Readings from ``SENSOR`` messages; a message is answered when its packs are in the spool."""

    def __init__(self, options: TasmotaOptions, context: Context) -> None:
        self._options, self._context = options, context
        self._pattern = pattern_of(options.topic)
        self._broker = options.options(context)
        self._presence = Presence(context.name)
        self._signals: dict[str, tuple[str, int]] = {}
        stem = self._pattern.filter.removesuffix("SENSOR")
        self._topics = [self._pattern.filter, stem + "LWT"] + [stem + "STATE"] * options.link

    def read(self, topic: str, payload: bytes) -> tuple[list[SensorReadings], list[ReadingError]]:
        """What one ``SENSOR`` message says, and what of it is refused.

        Raises:
            ReadingError: why it is refused as a whole.
        """
        device = self._pattern.sensor(topic) or ""
        document = parse(payload)
        if not isinstance(document, dict):
            raise ReadingError("input.type", "a SENSOR message is an object")
        time, link = self._time(document), self._link(device, document)
        items: list[SensorReadings] = []
        refused: list[ReadingError] = []
        blocks = [key for key, value in document.items() if isinstance(value, dict)]
        if len(blocks) > _MAX_BLOCKS:
            raise ReadingError("input.too_large", f"{len(blocks)} blocks")
        for key in blocks:
            fields = fields_of(key)
            if fields is None:
                refused.append(ReadingError("tasmota.block", f"{key[:40]!r} is not known"))
                continue
            block = _Block(key, fields, document)
            try:
                sensor = self._sensor(device, key, document[key])
                if any(item.sensor == sensor for item in items):
                    raise ReadingError("tasmota.twice", f"{key[:40]!r} is a second {sensor}")
                readings = tuple(block.readings(time))
            except ReadingError as error:
                refused.append(error)
                continue
            refused += block.refused
            if readings:
                items.append(SensorReadings(sensor, readings, link))
        return items, refused

    def _sensor(self, device: str, block: str, content: dict[str, Any]) -> str:
        """``garden.BME280``; a probe by its address, because its number is only a rank."""
        driver = block.split("-", 1)[0]
        own = content.get("Id")
        if "Id" in BLOCKS[driver] and own is not None:
            if type(own) is not str or not own:
                raise ReadingError("sensor.name", f"{block[:40]}: the Id is no text")
            block = f"{driver}-{own}"
        if "." in block:
            # A point ends the device's name: with another it could end in a block of its own.
            raise ReadingError("sensor.name", f"{block[:40]!r} is no name of a block")
        return sensor_name(f"{device}.{block}", self._options.names, self._options.prefix)

    def _time(self, document: dict[str, Any]) -> Decimal64:
        received = self._context.now()
        if self._options.clock == "receipt":
            return received
        text = document.get("Time")
        if type(text) is not str or len(text) > 40 or len(text) < 19:
            raise ReadingError("tasmota.time", "there is no Time")
        zoned = text.endswith("Z") or text[19:20] in ("+", "-")
        if zoned == (self._options.clock == "utc"):
            raise ReadingError("tasmota.time", f"Time is {text!r}, the clock {self._options.clock}")
        try:
            time = parse_time(text if zoned else text + "Z")
        except DepinError as error:
            raise ReadingError("tasmota.time", error.message) from error
        late = Decimal(str(received)) - Decimal(str(time))
        if not -_AHEAD <= late <= _BEHIND:
            raise ReadingError("tasmota.time", f"{text} is {late:.0f} s before its receipt")
        return time

    # --- what the device says of itself ---

    def note_state(self, topic: str, payload: bytes) -> None:
        """Remember the Wi-Fi signal of a ``STATE`` message.

        Raises:
            ReadingError: it is not one.
        """
        device = topic.split("/")[self._pattern.text.split("/").index(SENSOR)]
        document = parse(payload)
        wifi = document.get("Wifi") if isinstance(document, dict) else None
        signal = wifi.get("Signal") if isinstance(wifi, dict) else None
        time = document.get("Time") if isinstance(document, dict) else None
        if type(time) is not str or not isinstance(signal, RawNumber) or len(signal) > 4:
            return
        try:
            value = int(signal)
        except ValueError:
            raise ReadingError("input.number", f"Wifi.Signal is {signal!r}") from None
        self._signals.pop(device, None)
        if len(self._signals) >= 1024:
            self._signals.pop(next(iter(self._signals)))
        self._signals[device] = (time, value)

    def _link(self, device: str, document: dict[str, Any]) -> Link | None:
        """The signal that the device gave with the same time as these readings, else none."""
        time, signal = self._signals.get(device, ("", 0))
        if not self._options.link or not time or document.get("Time") != time:
            return None
        return Link(rssi_dbm=signal) if -200 <= signal < 0 else None

    def run(self, emit: Emitter, stop: threading.Event) -> None:
        """See :class:`Source`."""
        client_id = f"depin-in-{self._context.kid}-{self._context.name}"

        def take(message: Message) -> None:
            try:
                items, refused = self._take(message)
            except ReadingError as error:
                items, refused = [], [error]
            for reason in refused:
                emit.refuse(reason.code, f"{message.topic}: {reason.message}")
            if not items:
                message.done()
            else:
                emit(items, message.done, wait=message.qos > 0)

        qos = self._options.qos
        broker = BrokerInput(
            self._broker,
            self._topics,
            client_id,
            qos,
            take,
            keep=qos > 0 and self._options.clock != "receipt",
            settings=lambda topic: topic.endswith("/LWT"),
        )
        broker.run(stop, emit.refuse)

    def _take(self, message: Message) -> tuple[list[SensorReadings], list[ReadingError]]:
        what = message.topic.rsplit("/", 1)[-1]
        if what == "LWT":
            self._presence.say(message.topic.removesuffix("/LWT"), message.payload)
        elif what == "STATE":
            self.note_state(message.topic, message.payload)
        else:
            return self.read(message.topic, message.payload)
        return [], []

    def describe(self) -> list[str]:
        """See :class:`Source`."""
        return [
            f"Tasmota devices at {self._broker!r}, topic {self._pattern.text}, "
            f"QoS {self._options.qos}, signed for as {self._options.level}",
            "sensors: <device>.<block>; units as the message names them",
            f"time: {self._options.clock}",
        ]


KINDS = {"tasmota": Kind(TasmotaOptions, Tasmota)}
