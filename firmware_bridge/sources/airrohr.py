"""Sensor.Community (airRohr) stations that push to an API of one's own over HTTP.

A station says which chip it is, and nothing proves it. A password that all stations share keeps
strangers out, and tells no station from another: that is no authentication of a source. A client
certificate that names the station is, so only with ``client_ca`` the level may be ``G1``.
"""

from __future__ import annotations

import hashlib
import ipaddress
import logging
import re
import threading
from collections import OrderedDict
from typing import Any, Final, Self

from pydantic import Field, model_validator

from depin_id.claims import Link
from depin_id.errors import ConfigError, EncodingError, ReadingError
from depin_id.readings import Reading
from depin_id.senml import Decimal64
from firmware_bridge.gateway import Emitter
from firmware_bridge.items import SensorReadings
from firmware_bridge.mapping import sensor_name
from firmware_bridge.sources.base import Context, FilePath, Kind, SourceOptions, read_text
from firmware_bridge.sources.http_push import Push, PushLimits, PushServer, server_context
from firmware_bridge.strict_json import RawNumber, parse

log = logging.getLogger("depin_bridge.airrohr")

_CHIP = re.compile(r"(?:(esp8266|esp32)-)?([0-9A-Fa-f]{1,16})", re.ASCII)
_ZERO = re.compile(r"-?0+(?:\.0+)?", re.ASCII)
_SIGNAL = re.compile(r"(-?\d{1,3})(?: ?dBm)?", re.ASCII)
_MAX_VALUES = 64
_MAX_REMEMBERED = 10_000
_SAME_SECONDS = 60.0

_PM = {"P0": "pm1", "P1": "pm10", "P2": "pm2.5", "P4": "pm4"}
_CLIMATE = {"temperature": "Cel", "humidity": "%RH", "pressure": "Pa"}


def _table() -> dict[str, tuple[str, str]]:
    """Value types of the firmware: the reading's name and its unit."""
    found = {"P1": ("pm10", "ug/m3"), "P2": ("pm2.5", "ug/m3")}
    for model in ("SDS", "PMS", "HPM", "NPM", "IPS", "SPS30"):
        found |= {f"{model}_{part}": (name, "ug/m3") for part, name in _PM.items()}
    for model in ("", "BME280_", "BMP280_", "BMP_", "DHT22_", "HTU21D_", "SHT3X_", "SCD30_"):
        found |= {f"{model}{part}": (part, unit) for part, unit in _CLIMATE.items()}
    found |= {"DS18B20_temperature": ("temperature", "Cel"), "SCD30_co2_ppm": ("co2", "ppm")}
    found |= {
        "DNMS_noise_LAeq": ("LAeq", "dB"),
        "DNMS_noise_LA_min": ("LAmin", "dB"),
        "DNMS_noise_LA_max": ("LAmax", "dB"),
        "noise_LAeq": ("LAeq", "dB"),
        "noise_LA_min": ("LAmin", "dB"),
        "noise_LA_max": ("LAmax", "dB"),
    }
    return found


VALUES: Final = _table()


class AirrohrOptions(SourceOptions):
    """``kind = "airrohr"``: the station's "own API" is this ``host``, ``port`` and ``path``.

    A sensor is named by its chip, ``esp8266-12331981``; ``names`` gives another one, ``prefix``
    comes before all of them. ``values`` are the value types to take; all known ones without it.
    With ``cert`` and ``key`` it is HTTPS, with ``client_ca`` for stations that have a certificate
    which names their chip (as common name, or as the end of a URI). ``username`` and
    ``password_file`` are for all stations.
    """

    host: str = "127.0.0.1"
    port: int = Field(ge=0, le=65535)
    path: str = Field(default="/data", pattern=r"^/[A-Za-z0-9._/-]{0,128}$")
    cert: FilePath | None = None
    key: FilePath | None = None
    client_ca: FilePath | None = None
    username: str | None = None
    password_file: FilePath | None = None
    connections: int = Field(default=64, ge=1, le=1024)
    names: dict[str, str] = Field(default_factory=dict)
    prefix: str = ""
    values: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.cert is None) != (self.key is None):
            raise ValueError("cert and key stand together")
        if self.client_ca is not None and self.cert is None:
            raise ValueError("client_ca needs cert and key")
        if (self.username is None) != (self.password_file is None):
            raise ValueError("username and password_file stand together")
        if self.username is not None and self.cert is None and not self.local:
            raise ValueError("a password goes over TLS (cert, key) or stays on this machine")
        unknown = set(self.values) - VALUES.keys()
        if unknown:
            raise ValueError(f"{sorted(unknown)[0][:40]!r} is no value type with a known unit")
        return self

    @property
    def local(self) -> bool:
        """Whether it listens on this machine only."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def unauthenticated(self) -> str | None:
        """See :class:`SourceOptions`."""
        if self.client_ca is None:
            return "without client certificates (client_ca) anyone may claim to be any station"
        return None


class Airrohr:
    """Readings from what stations push; 200 only once they are in the spool."""

    def __init__(self, options: AirrohrOptions, context: Context) -> None:
        self._options, self._context = options, context
        self._wanted = {
            key: value
            for key, value in VALUES.items()
            if not options.values or key in options.values
        }
        self._tls = None
        if options.cert is not None and options.key is not None:
            ca = options.client_ca
            self._tls = server_context(
                context.path(options.cert),
                context.path(options.key),
                None if ca is None else context.path(ca),
            )
        self._password = None
        if options.username is not None and options.password_file is not None:
            text = read_text(context.path(options.password_file), limit=4096).rstrip("\r\n")
            if ":" in options.username or not text:
                raise ConfigError(
                    "config.file",
                    f"source {context.name}: a colon in the name, or an empty password",
                )
            self._password = options.username, text
        self._lock = threading.Lock()
        self._last: OrderedDict[str, tuple[bytes, float, threading.Event]] = OrderedDict()
        self.port = 0
        """Where it listens, once it does."""

    def read(self, push: Push) -> SensorReadings:
        """What a station says. Raises ReadingError."""
        document = parse(push.body)
        if not isinstance(document, dict):
            raise ReadingError("input.type", "the body is no object")
        chip = self._chip(push, document)
        if self._options.client_ca is not None and not _names(push.names, chip):
            raise ReadingError("airrohr.certificate", f"the certificate is not that of {chip}")
        values = _values(document.get("sensordatavalues"))
        now = self._context.now()
        readings: dict[str, Reading] = {}
        for kind, value in values.items():
            if kind not in self._wanted:
                continue
            name, unit = self._wanted[kind]
            if name in readings:
                raise ReadingError(
                    "airrohr.twice",
                    f"{kind} is a second {name}",
                    hint="say which value types to take (values)",
                )
            readings[name] = Reading(name, _number(kind, value), unit, now)
        if not readings:
            raise ReadingError("input.missing", "none of the values is one to take")
        sensor = sensor_name(chip, self._options.names, self._options.prefix)
        return SensorReadings(sensor, tuple(readings.values()), _link(values.get("signal")))

    def _chip(self, push: Push, document: dict[str, Any]) -> str:
        """The chip that header and body name: one of them, or both alike."""
        said = [document.get("esp8266id"), document.get("esp32id"), push.headers.get("x-sensor")]
        chips = set()
        for text in said:
            if text is None:
                continue
            match = _CHIP.fullmatch(text) if isinstance(text, str) else None
            if match is None:
                raise ReadingError("sensor.name", f"{str(text)[:40]!r} is no chip's id")
            chips.add((match[1], match[2].lower()))
        numbers = {number for _, number in chips}
        makes = {make for make, _ in chips if make}
        if len(numbers) != 1 or len(makes) > 1:
            raise ReadingError("airrohr.sensor", "header and body name no chip, or two")
        return f"{makes.pop() if makes else 'esp8266'}-{numbers.pop()}"

    def _claim(self, sensor: str, body: bytes) -> tuple[bool, threading.Event]:
        """Whether a station has just said the same, and what is set once that is durable."""
        digest, now = hashlib.sha256(body).digest(), self._context.wall()
        with self._lock:
            before = self._last.get(sensor)
            if before and before[0] == digest and abs(now - before[1]) < _SAME_SECONDS:
                return True, before[2]
            self._last.pop(sensor, None)
            self._last[sensor] = digest, now, threading.Event()
            if len(self._last) > _MAX_REMEMBERED:
                self._last.popitem(last=False)
            return False, self._last[sensor][2]

    def _forget(self, sensor: str) -> None:
        with self._lock:
            self._last.pop(sensor, None)

    def take(self, push: Push, emit: Emitter, patience: float) -> tuple[int, str]:
        """One request, to its answer."""
        try:
            item = self.read(push)
        except ReadingError as error:
            emit.refuse(error.code, error.message)
            return (403 if error.code == "airrohr.certificate" else 400), error.code
        again, durable = self._claim(item.sensor, push.body)
        if again:
            # Sent again because our answer was late or lost.
            emit.refuse("airrohr.duplicate", item.sensor)
        elif not emit([item], durable.set, wait=False):
            self._forget(item.sensor)
            return 503, "there is no room just now"
        if not durable.wait(patience):
            return 503, "it is not in the spool yet"
        return 200, "ok"

    def run(self, emit: Emitter, stop: threading.Event) -> None:
        """See :class:`Source`."""
        limits = PushLimits(connections=self._options.connections)
        server = PushServer(
            self._options.host,
            self._options.port,
            lambda push: self.take(push, emit, limits.answer_s),
            path=self._options.path,
            refuse=emit.refuse,
            context=self._tls,
            password=self._password,
            limits=limits,
        )
        self.port = server.port
        scheme = "http" if self._tls is None else "https"
        log.info(
            "%s: %s at %s, port %d, %s",
            self._context.name,
            scheme,
            self._options.host,
            server.port,
            self._options.path,
        )
        server.serve(stop)

    def describe(self) -> list[str]:
        """See :class:`Source`."""
        options = self._options
        scheme = "HTTPS" if options.cert is not None else "HTTP"
        who = "any client"
        if options.client_ca is not None:
            who = "stations with a certificate"
        elif options.username is not None:
            who = "clients with the password"
        lines = [
            f"airRohr over {scheme} at {options.host}:{options.port}{options.path}, {who}, "
            f"signed for as {options.level}",
            f"values: {', '.join(options.values) or 'all with a known unit'}",
            "time: when received",
        ]
        if options.cert is None and not options.local:
            lines.append("warning: HTTP without TLS: anyone on the way can change what is said")
        return lines


def _names(names: frozenset[str], chip: str) -> bool:
    """Whether a certificate names a chip: ``esp32-1``, or a URI that ends in that.

    A number alone is that of an ESP8266, or one certificate would speak for two sensors.
    """
    wanted = {chip, chip.removeprefix("esp8266-")}
    return any(
        name.lower() in wanted or (":" in name and re.split(r"[:/]", name.lower())[-1] in wanted)
        for name in names
    )


def _values(entries: Any) -> dict[str, Any]:
    """Value types and values, each type once."""
    if not isinstance(entries, list) or len(entries) > _MAX_VALUES:
        raise ReadingError("input.type", f"sensordatavalues is no list of at most {_MAX_VALUES}")
    found: dict[str, Any] = {}
    for entry in entries:
        kind = entry.get("value_type") if isinstance(entry, dict) else None
        if type(kind) is not str or not 0 < len(kind) <= 64 or "value" not in entry:
            raise ReadingError("input.type", "a value has no value_type or no value")
        if kind in found:
            raise ReadingError("airrohr.twice", f"{kind} twice in one message")
        found[kind] = entry["value"]
    return found


def _number(kind: str, value: Any) -> Decimal64:
    """A value, which the firmware writes as text and others as a number."""
    try:
        if type(value) is str or isinstance(value, RawNumber):
            text = str(value)
            # What rounds to zero from below is printed with a sign.
            return Decimal64.from_text("0" if _ZERO.fullmatch(text) else text)
    except EncodingError as error:
        raise ReadingError("input.number", f"{kind}: {error.message}") from None
    raise ReadingError("input.type", f"{kind} is no number")


def _link(signal: Any) -> Link | None:
    """WiFi's strength at the station, in dBm; what says nothing is left out."""
    if not isinstance(signal, str):
        return None
    match = _SIGNAL.fullmatch(signal.strip())
    return None if match is None else Link(int(match[1]), None)


KINDS = {"airrohr": Kind(AirrohrOptions, Airrohr)}
