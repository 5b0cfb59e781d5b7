"""Positions from a GNSS receiver: NMEA 0183 sentences, put together for each moment.

A receiver says one moment in several sentences (GGA, RMC, GSA). They are one set of readings, taken
when the next moment begins. Numbers come from the text: a latitude is degrees and sixtieths, and as
a sixtieth is no decimal, it is rounded half to even to 1e-8 degree (a millimetre). Speed is knots
in the text and ``m/s`` in the reading, two digits finer than the text.
"""

from __future__ import annotations

import importlib
import re
import threading
import time as clock
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any, Literal

from pydantic import Field

from depin_id.errors import ConfigError, EncodingError, ReadingError
from depin_id.readings import Reading
from depin_id.senml import Decimal64
from firmware_bridge import units
from firmware_bridge.gateway import Emitter
from firmware_bridge.items import SensorReadings
from firmware_bridge.mapping import sensor_name
from firmware_bridge.sources.base import Context, Kind, SourceOptions
from firmware_bridge.sources.line_feed import LineFeed

pynmea2: Any = importlib.import_module("pynmea2")  # it has no types

_TALKERS = frozenset(("GP", "GN", "GL", "GA", "GB", "BD"))
_SENTENCE = re.compile(r"\$[A-Z0-9]{4,8},[\x20-\x29\x2b-\x7e]*\*[0-9A-Fa-f]{2}", re.ASCII)
_WANTED = frozenset(("GGA", "RMC", "GSA"))
_TIME = re.compile(r"([01]\d|2[0-3])([0-5]\d)([0-5]\d)(?:\.(\d{1,6}))?", re.ASCII)
_DATE = re.compile(r"(\d{2})(\d{2})(\d{2})", re.ASCII)
_ANGLE = re.compile(r"(\d{2,3})([0-5]\d(?:\.\d{1,9})?)", re.ASCII)
_COUNT = re.compile(r"\d{1,3}", re.ASCII)
_NUMBER = re.compile(r"-?\d{1,6}(?:\.\d{1,6})?", re.ASCII)
_MAX_LINE = 512
_PLACES = 8
_FIXES = frozenset("123459")
"""Qualities of GGA that are a measured fix: not 0 none, 6 estimated, 7 typed in, 8 simulated."""
_MODES = frozenset(("", "A", "D", "F", "R", "P"))
"""Modes of RMC that are a measured fix: not N none, E estimated, M typed in, S simulated."""

Part = Literal["position", "altitude", "speed", "satellites", "hdop"]


class NmeaOptions(SourceOptions):
    """``kind = "nmea"``.

    ``input`` is ``serial`` (``device``, ``baud``), ``tcp`` (a server's ``host``, ``port``), ``udp``
    (where to listen) or ``stdin``. ``sensor`` names the receiver. ``time`` is the ``receipt`` here,
    or the receiver's own (``gnss``: date and time of RMC). ``every`` is the seconds between two
    positions, at least one.
    """

    input: Literal["serial", "tcp", "udp", "stdin"]
    sensor: str
    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65535)
    device: str | None = None
    baud: int = Field(default=9600, ge=50, le=4_000_000)
    time: Literal["receipt", "gnss"] = "receipt"
    every: float = Field(default=1.0, ge=1, le=86_400)
    take: list[Part] = Field(
        default=["position", "altitude", "speed", "satellites", "hdop"], min_length=1
    )


@dataclass
class _Moment:
    """The sentences of one moment: the fields of each, its time of day in front."""

    of_day: str
    received: Decimal64
    gga: list[str] | None = None
    rmc: list[str] | None = None
    gsa: list[list[str]] = field(default_factory=list)


class Nmea:
    """Readings from sentences; what has no fix, or no right checksum, is counted."""

    def __init__(
        self,
        options: NmeaOptions,
        context: Context,
        *,
        monotonic: Callable[[], float] = clock.monotonic,
    ) -> None:
        where = f"source {context.name}"
        try:
            sensor_name(options.sensor)
        except ReadingError as error:
            raise ConfigError("config.mapping", f"{where}: {error.message}") from error
        if options.input == "serial" and options.device is None:
            raise ConfigError("config.mapping", f"{where}: give the device of the serial port")
        if options.input == "tcp" and options.port == 0:
            raise ConfigError("config.mapping", f"{where}: give the port of the server")
        self._options, self._context, self._monotonic = options, context, monotonic
        self._moment: _Moment | None = None
        self._next = 0.0
        self._feed = LineFeed(
            options.input,
            host=options.host,
            port=options.port,
            device=options.device,
            baud=options.baud,
            max_line=_MAX_LINE,
        )

    def read(self, line: bytes) -> SensorReadings | None:
        """Take a sentence in.

        Returns:
            The readings of the moment before, when this sentence begins another one.

        Raises:
            ReadingError: why the sentence, or the moment before, is refused.
        """
        talker, kind, data = sentence(line)
        if kind not in _WANTED:
            return None
        if talker not in _TALKERS:
            raise ReadingError("nmea.talker", f"{talker} is no satellite system")
        moment = self._moment
        if kind == "GSA":
            if moment is not None and len(moment.gsa) < 8:
                moment.gsa.append(data)
            return None
        if not data or _TIME.fullmatch(data[0]) is None:
            # Before the first fix there is no time: then the moment before is over too.
            before, self._moment = moment, None
            if before is not None:
                return self._finish(before)
            raise ReadingError("nmea.no_fix", f"{kind} without a time")
        finished = None
        if moment is None or moment.of_day != data[0]:
            finished = moment
            self._moment = moment = _Moment(data[0], self._context.now())
        if kind == "GGA":
            moment.gga = data
        else:
            moment.rmc = data
        return None if finished is None else self._finish(finished)

    def end(self) -> SensorReadings | None:
        """The readings of the last moment, when the input ended. Raises ReadingError."""
        moment, self._moment = self._moment, None
        return None if moment is None else self._finish(moment)

    def _finish(self, moment: _Moment) -> SensorReadings | None:
        _check_fix(moment)
        now = self._monotonic()
        if now < self._next:
            raise ReadingError("nmea.rate", f"positions are taken every {self._options.every:g} s")
        time = moment.received if self._options.time == "receipt" else _instant(moment)
        readings = tuple(
            Reading(name, value, unit, time)
            for name, value, unit in _values(moment, frozenset(self._options.take))
        )
        if not readings:
            raise ReadingError("input.missing", "nothing of what is taken is in the sentences")
        self._next = now + self._options.every
        return SensorReadings(self._options.sensor, readings)

    def run(self, emit: Emitter, stop: threading.Event) -> None:
        """See :class:`Source`."""

        def hand_on(read: Callable[[], SensorReadings | None], wait: bool) -> None:
            try:
                item = read()
            except ReadingError as error:
                emit.refuse(error.code, error.message)
                return
            if item is not None:
                emit([item], wait=wait)

        self._feed.run(lambda line, wait: hand_on(lambda: self.read(line), wait), emit.refuse, stop)
        hand_on(self.end, True)

    def describe(self) -> list[str]:
        """See :class:`Source`."""
        options = self._options
        return [
            f"NMEA 0183 from {self._feed}, sensor {options.sensor}, signed for as {options.level}",
            f"{', '.join(options.take)}, at most every {options.every:g} s",
            "time: " + ("when received" if options.time == "receipt" else "the receiver's"),
        ]


def sentence(line: bytes) -> tuple[str, str, list[str]]:
    """Talker, kind and fields of a sentence with a right checksum.

    Raises:
        ReadingError: ``nmea.sentence``, ``nmea.checksum``.
    """
    text = line.strip(b"\r\n\t ").decode("ascii", "replace")
    if len(text) > _MAX_LINE or _SENTENCE.fullmatch(text) is None:
        if "*" not in text[-3:]:
            raise ReadingError("nmea.checksum", "a line without a checksum")
        raise ReadingError("nmea.sentence", f"{text[:40]!r} is no sentence")
    try:
        found = pynmea2.parse(text, check=True)
    except pynmea2.ChecksumError:
        raise ReadingError("nmea.checksum", f"{text[:40]!r} has another checksum") from None
    except pynmea2.SentenceTypeError:
        return "", "", []
    except (pynmea2.ParseError, ValueError, TypeError, AttributeError, IndexError, KeyError):
        raise ReadingError("nmea.sentence", f"{text[:40]!r} is no sentence") from None
    if not isinstance(found, pynmea2.TalkerSentence):
        return "", "", []
    return str(found.talker), str(found.sentence_type), [str(item) for item in found.data]


def _item(data: list[str] | None, index: int) -> str:
    return data[index] if data is not None and index < len(data) else ""


def _check_fix(moment: _Moment) -> None:
    """Refuse a moment in which any sentence says that there is no measured fix."""
    gga, rmc = moment.gga, moment.rmc
    if gga is not None and _item(gga, 5) not in _FIXES:
        raise ReadingError("nmea.no_fix", f"GGA: quality {_item(gga, 5)[:8]!r}")
    if rmc is not None and (_item(rmc, 1) != "A" or _item(rmc, 11) not in _MODES):
        raise ReadingError("nmea.no_fix", f"RMC: status {_item(rmc, 1)[:8]!r}")
    if any(_item(gsa, 1) == "1" for gsa in moment.gsa) and not any(
        _item(gsa, 1) in ("2", "3") for gsa in moment.gsa
    ):
        raise ReadingError("nmea.no_fix", "GSA: no fix")


def _instant(moment: _Moment) -> Decimal64:
    """Date and time of RMC, exactly; years are those of this century."""
    day, at = _DATE.fullmatch(_item(moment.rmc, 8)), _TIME.fullmatch(moment.of_day)
    if day is None or at is None:
        raise ReadingError("nmea.no_time", "there is no RMC with a date")
    try:
        whole = datetime(
            2000 + int(day[3]), int(day[2]), int(day[1]), int(at[1]), int(at[2]), int(at[3]),
            tzinfo=UTC,
        )  # fmt: skip
    except ValueError:
        raise ReadingError("nmea.no_time", f"{day[0]} is no date") from None
    fraction = at[4] or ""
    seconds = int(whole.timestamp()) * 10 ** len(fraction) + int(fraction or "0")
    return Decimal64(seconds, -len(fraction))


def _values(moment: _Moment, wanted: frozenset[Part]) -> list[tuple[str, Decimal64, str]]:
    found: list[tuple[str, Decimal64, str]] = []
    gga, rmc = moment.gga, moment.rmc
    if "position" in wanted:
        fields = gga[1:5] if gga is not None else (rmc or [])[2:6]
        lat, north, lon, east = (*fields, "", "", "", "")[:4]
        found.append(("lat", degrees(lat, north, "NS", 90), "lat"))
        found.append(("lon", degrees(lon, east, "EW", 180), "lon"))
    if "altitude" in wanted and _item(gga, 8):
        if _item(gga, 9) != "M":
            raise ReadingError("nmea.value", f"the altitude is in {_item(gga, 9)[:8]!r}, not in M")
        found.append(("altitude", _number(_item(gga, 8), "altitude"), "m"))
    if "speed" in wanted and _item(rmc, 6):
        _number(_item(rmc, 6), "speed")
        found.append(("speed", units.require("kn").apply(_item(rmc, 6)), "m/s"))
    if "satellites" in wanted and _item(gga, 6):
        if _COUNT.fullmatch(_item(gga, 6)) is None:
            raise ReadingError("nmea.value", "the count of satellites is no number")
        found.append(("satellites", Decimal64(int(_item(gga, 6))), "count"))
    hdop = _item(gga, 7) or next((_item(gsa, 15) for gsa in moment.gsa), "")
    if "hdop" in wanted and hdop:
        found.append(("hdop", _number(hdop, "hdop"), "/"))
    return found


def _number(text: str, what: str) -> Decimal64:
    try:
        if _NUMBER.fullmatch(text) is not None:
            return Decimal64.from_text("0" if not text.strip("-0.") else text)
    except EncodingError:
        pass
    raise ReadingError("nmea.value", f"{what}: {text[:20]!r} is no number")


def degrees(text: str, side: str, sides: str, most: int) -> Decimal64:
    """An angle ``dddmm.mmm`` and its hemisphere as degrees, to 1e-8.

    Raises:
        ReadingError: ``nmea.value``.
    """
    match = _ANGLE.fullmatch(text)
    if match is None or len(match[1]) != len(str(most)) or side not in tuple(sides):
        raise ReadingError("nmea.value", f"{text[:20]!r} {side[:4]!r} is no angle")
    exact = int(match[1]) + Fraction(match[2]) / 60
    if exact > most:
        raise ReadingError("nmea.value", f"{text[:20]!r} is over {most} degrees")
    whole = round(exact * 10**_PLACES)
    return Decimal64(-whole if side == sides[1] else whole, -_PLACES)


KINDS = {"nmea": Kind(NmeaOptions, Nmea)}
