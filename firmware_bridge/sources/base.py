"""What a source of input is, and how kinds of sources are found."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from depin_id.errors import ConfigError
from depin_id.network import NetworkCard
from depin_id.senml import Decimal64
from firmware_bridge import mapping
from firmware_bridge.gateway import Emitter
from firmware_bridge.options import MqttOptions

GROUP = "depin_bridge.sources"
"""Entry-point group of other people's kinds: name of the kind -> an object like ``Kind``."""

FilePath = Annotated[
    Path, BeforeValidator(lambda value: Path(value) if isinstance(value, str) and value else value)
]


class Source(Protocol):
    """One input: hands over what it has until told to stop."""

    def run(self, emit: Emitter, stop: threading.Event) -> None:
        """Work until ``stop`` is set, or the input ends; bad input is counted, never raised.

        Raises:
            TransportError: the input cannot be used at all.
        """

    def describe(self) -> list[str]:
        """What it reads and makes of it, a line each, for people."""


@dataclass(frozen=True)
class Context:
    """What a source is made with: the name of the configuration's part, and of the gateway."""

    name: str
    folder: Path
    kid: str
    card: NetworkCard
    wall: Callable[[], float] = time.time

    def path(self, path: Path) -> Path:
        """A path of the configuration, relative to its file."""
        return self.folder / path.expanduser()

    def now(self) -> Decimal64:
        """The wall clock in milliseconds, exactly."""
        return Decimal64(round(self.wall() * 1000), -3)


class Strict(BaseModel):
    """A part of the configuration: unknown keys and wrong types are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class SourceOptions(Strict):
    """What every ``[[source]]`` may say."""

    kind: str
    name: str = Field(default="", pattern=r"^[A-Za-z0-9._-]{0,32}$")
    level: Literal["G0", "G1"] = "G0"
    subject: str | None = None
    """DID of whose sensors it signs for, when they are not the gateway's own."""
    capability: FilePath | None = None
    """The capability of its owner that allows it; it has to be shown to the network."""

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.subject is None) != (self.capability is None):
            raise ValueError("subject and capability stand together")
        return self

    def unauthenticated(self) -> str | None:
        """Why it is not known who sent the input (law 5), or None: only then it may be ``G1``."""
        return f"a source of kind {self.kind} knows nothing of who sent its input"


class ReadingOptions(Strict):
    """One ``[[source.reading]]``."""

    path: str = Field(min_length=1, max_length=256)
    name: str
    unit: str | None = None
    type: Literal["number", "bool", "text"] = "number"
    scale: str = "1"
    required: bool = True


class BrokerOptions(SourceOptions):
    """A source at a broker."""

    url: str
    topic: str
    qos: Literal[0, 1] = 1
    ca: FilePath | None = None
    cert: FilePath | None = None
    key: FilePath | None = None
    username: str | None = None
    password_file: FilePath | None = None
    devices: Literal["mtls", "password"] | None = None
    """How this broker authenticates its sensors, each on its own topic; with neither, ``G0``."""

    def unauthenticated(self) -> str | None:
        """See :class:`SourceOptions`."""
        if self.devices is None:
            return "it does not say how the broker authenticates its sensors (devices)"
        return self.unprotected()

    def unprotected(self) -> str | None:
        """Why others could put words into this broker's mouth, or None."""
        return unprotected(self.url)

    def options(self, context: Context) -> MqttOptions:
        """The broker's address and credentials. Raises ConfigError."""
        return broker(self, context.path)


def unprotected(url: str) -> str | None:
    """Why what comes from an address cannot be believed: no TLS, and not on this machine."""
    try:
        exposed = MqttOptions.from_url(url).exposed
    except ConfigError:
        return None  # said, and better, where the address is used
    return "the way from the broker has no TLS (mqtts://)" if exposed else None


class Credentials(Protocol):
    """The keys of a configuration that reach a broker."""

    @property
    def url(self) -> str: ...
    @property
    def ca(self) -> Path | None: ...
    @property
    def cert(self) -> Path | None: ...
    @property
    def key(self) -> Path | None: ...
    @property
    def username(self) -> str | None: ...
    @property
    def password_file(self) -> Path | None: ...


def broker(options: Credentials, path: Callable[[Path], Path]) -> MqttOptions:
    """Address and credentials from a configuration.

    Raises:
        ConfigError: ``config.url``, ``config.tls``, ``config.file``.
    """
    password = None
    if options.password_file is not None:
        password = read_text(path(options.password_file), limit=4096).rstrip("\r\n")
    return MqttOptions.from_url(
        options.url,
        ca=None if options.ca is None else path(options.ca),
        cert=None if options.cert is None else path(options.cert),
        key=None if options.key is None else path(options.key),
        username=options.username,
        password=password,
    )


def read_text(path: Path, *, limit: int) -> str:
    """A small text file. Raises ConfigError ``config.file``."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(limit + 1)
    except (OSError, UnicodeDecodeError) as error:
        what = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigError("config.file", f"{path}: {what}") from error
    if len(text) > limit:
        raise ConfigError("config.file", f"{path}: longer than {limit} characters")
    return text


def declare(
    readings: list[ReadingOptions],
    *,
    where: str,
    time: str | None,
    time_unit: mapping.TimeUnit,
    sensor: str | None = None,
) -> mapping.ReadingMap:
    """The mapping of a source. Raises ConfigError."""
    rules = [reading.model_dump() for reading in readings]
    return mapping.declare(rules, where=where, time=time, time_unit=time_unit, sensor=sensor)


def describe_mapping(readings: mapping.ReadingMap) -> list[str]:
    """The mapping, a line a reading."""
    time = "when received" if readings.time is None else readings.time.text
    return [
        f"{rule.path.text} -> {rule.name}"
        + (f" in {rule.unit}" if rule.unit else f" ({rule.type})")
        + (f", times {rule.scale}" if str(rule.scale) != "1" else "")
        + ("" if rule.required else ", optional")
        for rule in readings.rules
    ] + [f"time: {time}"]


@dataclass(frozen=True)
class Kind:
    """A kind of source: its options and how one is made of them."""

    options: type[SourceOptions]
    make: Callable[[Any, Context], Source]


def kinds() -> dict[str, Kind]:
    """All kinds: the built-in ones, and those that installed packages bring.

    Raises:
        ConfigError: ``config.plugin``: a package's kind cannot be loaded.
    """
    from firmware_bridge.sources import (
        airrohr,
        chirpstack,
        esphome,
        homeassistant,
        lines,
        mqtt_json,
        native,
        nmea,
        sparkplug,
        tasmota,
        ttn,
    )

    found = {**native.KINDS, **mqtt_json.KINDS, **lines.KINDS}
    found |= {**tasmota.KINDS, **esphome.KINDS, **homeassistant.KINDS}
    found |= {**chirpstack.KINDS, **ttn.KINDS, **sparkplug.KINDS, **nmea.KINDS, **airrohr.KINDS}
    for point in entry_points(group=GROUP):
        try:
            kind = point.load()
        except Exception as error:
            raise ConfigError(
                "config.plugin", f"the source kind {point.name!r} cannot be loaded: {error}"
            ) from error
        if point.name in found or not isinstance(kind, Kind):
            raise ConfigError("config.plugin", f"{point.name!r} is taken, or is no Kind")
        found[point.name] = kind
    return found
