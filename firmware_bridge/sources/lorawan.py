"""What sources behind a LoRaWAN network server share.

The server has checked the frame's MIC before it publishes an uplink, so the device was
authenticated to the server. That is worth ``G1`` only where nobody else can publish in the server's
name, and where the way from there to here is protected: the first has to be declared.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from depin_id.claims import Link
from depin_id.errors import ConfigError, EncodingError, ReadingError
from depin_id.readings import Reading, parse_time
from depin_id.senml import Decimal64
from firmware_bridge.gateway import Emitter
from firmware_bridge.items import SensorReadings
from firmware_bridge.mapping import TopicPattern
from firmware_bridge.mqtt import Message
from firmware_bridge.sources.base import (
    BrokerOptions,
    Context,
    FilePath,
    ReadingOptions,
    declare,
    describe_mapping,
)
from firmware_bridge.sources.broker import BrokerInput
from firmware_bridge.sources.frames import Frame, FrameMemory
from firmware_bridge.strict_json import RawNumber

MAX_GATEWAYS = 256
_MAX_TEXT = 128
_MAX_COUNTER = (1 << 32) - 1


class LorawanOptions(BrokerOptions):
    """What ``chirpstack`` and ``ttn`` have in common.

    ``names`` gives devices other names, ``prefix`` comes before all of them. ``time`` is the
    ``receipt`` here, or what the ``server`` or the best ``gateway`` says of the uplink. With
    ``radio`` the frame counter and the gateways are signed as readings too.
    """

    names: dict[str, str] = Field(default_factory=dict)
    prefix: str = ""
    time: Literal["receipt", "server", "gateway"] = "receipt"
    radio: bool = False
    publishers: Literal["network_server"] | None = None
    """Who may publish under this topic, as the broker enforces it; ``G0`` while it is not said."""
    counter_resets: bool = False
    """Take frame counters that go back without a new session; then old frames can be replayed."""
    memory: FilePath | None = None
    """The file that remembers which frames were taken; ``<name>.frames`` without it."""
    reading: list[ReadingOptions] = Field(default_factory=list)

    @model_validator(mode="after")
    def _no_devices(self) -> Self:
        if self.devices is not None:
            raise ValueError("devices do not publish here: say who does (publishers)")
        return self

    def unauthenticated(self) -> str | None:
        """See :class:`SourceOptions`."""
        if self.publishers is None:
            return "it does not say that only the network server may publish there (publishers)"
        if self.counter_resets:
            return "with counter_resets an old frame can be sent again"
        return self.unprotected()


@dataclass(frozen=True)
class Reception:
    """How one gateway heard the frame."""

    gateway: str
    link: Link | None
    time: Any = None

    @property
    def quality(self) -> tuple[int, int]:
        """What makes one better than another: SNR, then RSSI; a missing SNR stands for 0."""
        if self.link is None:
            return -1_000_000, -1_000_000
        snr, rssi = self.link.snr_ddb, self.link.rssi_dbm
        return (0 if snr is None else snr), (-1_000_000 if rssi is None else rssi)


@dataclass(frozen=True)
class Uplink:
    """One uplink as a network server publishes it.

    Attributes:
        name: of the device. values: what the server decoded.
        server_time: as it stood in the message, or None.
    """

    frame: Frame
    name: str
    values: Any
    receptions: tuple[Reception, ...]
    server_time: Any = None

    @property
    def best(self) -> Reception | None:
        """The reception with the best link; its numbers stay together."""
        return max(self.receptions, key=lambda one: one.quality, default=None)


def text(value: Any, where: str, *, limit: int = _MAX_TEXT) -> str:
    """A text that is there and short. Raises ReadingError ``input.type``."""
    if type(value) is not str or not 0 < len(value) <= limit:
        raise ReadingError("input.type", f"{where} is no text of 1 to {limit} characters")
    return value


def table(value: Any, where: str) -> dict[str, Any]:
    """An object. Raises ReadingError ``input.type``."""
    if not isinstance(value, dict):
        raise ReadingError("input.type", f"{where} is no object")
    return value


def counter(value: Any, where: str, *, most: int = _MAX_COUNTER) -> int:
    """A whole number from 0; one that is missing is 0, as protobuf's JSON leaves 0 out.

    Raises:
        ReadingError: ``input.type``.
    """
    if value is None:
        return 0
    if isinstance(value, RawNumber) and value.isdecimal() and len(value) <= 10:
        number = int(value)
        if number <= most:
            return number
    raise ReadingError("input.type", f"{where} is no whole number from 0 to {most}")


def link(rssi: Any, snr: Any) -> Link | None:
    """Radio quality: RSSI in whole dBm, SNR in tenths of dB, both rounded down.

    Raises:
        ReadingError: ``input.type``.
    """
    if rssi is None and snr is None:
        return None
    return Link(_level(rssi, 0, "rssi"), _level(snr, -1, "snr"))


def _level(value: Any, exponent: int, where: str) -> int | None:
    if value is None:
        return None
    try:
        if isinstance(value, RawNumber):
            number = Decimal64.from_text("0" if value.strip("-0.") == "" else str(value))
            found = number.floor_scaled(exponent)
            if abs(found) <= 10_000:
                return found
    except EncodingError:
        pass
    raise ReadingError("input.type", f"{where} is no level of a radio")


class LorawanSource(ABC):
    """Readings from uplinks; a message is answered when its pack is in the spool."""

    server: str
    """What to call the network server."""

    def __init__(self, options: LorawanOptions, context: Context) -> None:
        self._options, self._context = options, context
        self._pattern = TopicPattern(options.topic)
        if not self._pattern.names_sensor:
            raise ConfigError(
                "config.mapping",
                f"source {context.name}: the topic does not name the device",
                hint="put {sensor} where the topic has the device",
            )
        self._mapping = declare(
            options.reading, where=f"source {context.name}", time=None, time_unit="s"
        )
        self._broker = options.options(context)
        name = f"{context.name}.frames"
        path = context.folder / name if options.memory is None else context.path(options.memory)
        self.memory = FrameMemory(path, resets=options.counter_resets)

    @abstractmethod
    def parse(self, topic: str, payload: bytes) -> Uplink | None:
        """The uplink in a message; None for what is none and was dealt with.

        Raises:
            ReadingError: why it is refused.
        """

    def read(self, uplink: Uplink) -> SensorReadings:
        """What an uplink says. Raises ReadingError."""
        time = self._time(uplink)
        best = uplink.best
        readings = self._mapping.read(uplink.values, time)
        if self._options.radio:
            readings += self._radio(uplink, time)
        return SensorReadings(uplink.name, readings, None if best is None else best.link)

    def _time(self, uplink: Uplink) -> Decimal64:
        if self._options.time == "receipt":
            return self._context.now()
        best = uplink.best
        server = self._options.time == "server"
        value = uplink.server_time if server else None if best is None else best.time
        if type(value) is not str or "T" not in value or len(value) > 40:
            raise ReadingError("input.time", f"the {self._options.time} says no time")
        return parse_time(value)

    def _radio(self, uplink: Uplink, time: Decimal64) -> tuple[Reading, ...]:
        count = Decimal64.from_int
        found = [
            Reading("fcnt", count(uplink.frame.counter), "count", time),
            Reading("gateways", count(len(uplink.receptions)), "count", time),
        ]
        if uplink.best is not None:
            found.append(Reading("gateway", uplink.best.gateway, None, time))
        return tuple(found)

    def run(self, emit: Emitter, stop: threading.Event) -> None:
        """See :class:`Source`."""
        client_id = f"depin-in-{self._context.kid}-{self._context.name}"
        topic, qos = self._pattern.filter, self._options.qos
        self.memory.open()
        try:
            broker = BrokerInput(
                self._broker,
                topic,
                client_id,
                qos,
                lambda message: self.take(message, emit),
                # What waited for us would get the time of our coming back.
                keep=qos > 0 and self._options.time != "receipt",
            )
            broker.run(stop, emit.refuse)
        finally:
            self.memory.close()

    def take(self, message: Message, emit: Emitter) -> None:
        """One message: a reading, a copy that waits for the first of its kind, or a refusal."""
        done = message.done
        uplink = None
        try:
            uplink = self.parse(message.topic, message.payload)
            if uplink is None:
                done()
                return
            item = self.read(uplink)
            self.memory.claim(uplink.frame)
        except ReadingError as error:
            emit.refuse(error.code, f"{message.topic[:100]}: {error.message}")
            if uplink is not None and error.code == "frame.duplicate":
                self.memory.after(uplink.frame, done)
            else:
                done()
            return
        frame = uplink.frame

        def settled() -> None:
            self.memory.settle(frame)
            done()

        if not emit([item], settled, wait=message.qos > 0):
            self.memory.unclaim(frame)

    def describe(self) -> list[str]:
        """See :class:`Source`."""
        options = self._options
        times = {
            "receipt": "when received",
            "server": "as the network server says",
            "gateway": "as the best gateway says",
        }
        *lines, _ = describe_mapping(self._mapping)
        return [
            f"{self.server} uplinks from {self._broker!r}, topic {self._pattern.text}, "
            f"QoS {options.qos}, signed for as {options.level}",
            *lines,
            *(["also fcnt, gateways and gateway"] if options.radio else []),
            f"time: {times[options.time]}",
            "frame counters may go back" if options.counter_resets else "each frame counter once",
        ]
