"""Lines of text: from standard input, UDP or a serial port; JSON, ``name value unit`` or CSV."""

from __future__ import annotations

import csv
import importlib
import os
import select
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, Literal

from pydantic import Field

from depin_id.errors import ConfigError, ReadingError, TransportError
from firmware_bridge.gateway import Emitter
from firmware_bridge.items import SensorReadings
from firmware_bridge.mapping import sensor_name
from firmware_bridge.sources.base import (
    Context,
    Kind,
    ReadingOptions,
    SourceOptions,
    declare,
    describe_mapping,
)
from firmware_bridge.strict_json import RawNumber, parse

_POLL = 0.2
_CHUNK = 65_536


class LinesOptions(SourceOptions):
    """``kind = "lines"``.

    ``input`` is ``stdin``, ``udp`` (``host``, ``port``; a datagram may hold several lines) or
    ``serial`` (``device``, ``baud``). ``format`` is ``json``, ``plain`` (``name value unit``; the
    path of a reading is its name) or ``csv`` (the path is one of ``columns``). The sensor is the
    fixed ``sensor``, or at ``sensor_path``.
    """

    input: Literal["stdin", "udp", "serial"]
    format: Literal["json", "plain", "csv"] = "json"
    sensor: str | None = None
    sensor_path: str | None = None
    columns: list[str] = Field(default_factory=list)
    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65535)
    device: str | None = None
    baud: int = Field(default=9600, ge=50, le=4_000_000)
    max_line: int = Field(default=4096, ge=16, le=65_536)
    time: str | None = None
    time_unit: Literal["s", "ms"] = "s"
    reading: list[ReadingOptions] = Field(default_factory=list)


class LineSplitter:
    """Bytes to lines of bounded length; an overlong line is given up to its end."""

    def __init__(self, max_line: int, refuse: Callable[[str], None]) -> None:
        self._max, self._refuse = max_line, refuse
        self._rest = b""
        self._skipping = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The complete lines that ``data`` ends."""
        *lines, rest = (self._rest + data).split(b"\n")
        for line in lines:
            if self._skipping:
                self._skipping = False
            elif len(line) > self._max:
                self._refuse("line.too_long")
            elif line.strip():
                yield line
        if len(rest) > self._max and not self._skipping:
            self._refuse("line.too_long")
            self._skipping = True
        self._rest = b"" if self._skipping else rest

    def end(self) -> Iterator[bytes]:
        """The last line, when the input ended without a line end."""
        if self._rest.strip() and not self._skipping:
            yield self._rest
        self._rest = b""


class Lines:
    """Readings from lines; what is refused is counted with the reason."""

    def __init__(self, options: LinesOptions, context: Context) -> None:
        where = f"source {context.name}"
        if (options.sensor is None) == (options.sensor_path is None):
            raise ConfigError(
                "config.mapping", f"{where}: give one of sensor = 'NAME' and sensor_path = 'PATH'"
            )
        if options.sensor is not None:
            try:
                sensor_name(options.sensor)
            except ReadingError as error:
                raise ConfigError("config.mapping", f"{where}: {error.message}") from error
        if options.input == "serial" and options.device is None:
            raise ConfigError("config.mapping", f"{where}: give the device of the serial port")
        if (options.format == "csv") != bool(options.columns):
            raise ConfigError(
                "config.mapping", f"{where}: columns name the cells of format = 'csv', only of it"
            )
        self._options, self._context = options, context
        self._mapping = declare(
            options.reading,
            where=where,
            time=options.time,
            time_unit=options.time_unit,
            sensor=options.sensor_path,
        )
        if options.format != "json":
            self._check_flat(where)
        self._units = {rule.path.text: rule.unit for rule in self._mapping.rules}
        self._texts = {
            path.text for path in (self._mapping.time, self._mapping.sensor) if path is not None
        } | {rule.path.text for rule in self._mapping.rules if rule.type == "text"}
        self.bound: tuple[str, int] | None = None
        """Where UDP is received, once it is."""

    def _check_flat(self, where: str) -> None:
        """Names and columns are no documents: a path is one step, of the declared columns."""
        found = self._mapping
        paths = [rule.path for rule in found.rules] + [
            path for path in (found.time, found.sensor) if path is not None
        ]
        columns = self._options.columns
        for path in paths:
            if path.steps != (path.text,) or (columns and path.text not in columns):
                raise ConfigError(
                    "config.mapping",
                    f"{where}: {path.text!r} is not a name that a line can have",
                    hint="use one of columns (csv), or the name in front of the value (plain)",
                )

    # --- one line ---

    def read(self, line: bytes) -> SensorReadings:
        """What one line says.

        Raises:
            ReadingError: why it is refused.
        """
        if len(line) > self._options.max_line:
            raise ReadingError("line.too_long", f"over {self._options.max_line} bytes")
        document = self._document(line)
        sensor = self._mapping.sensor_in(document) or self._options.sensor or ""
        return SensorReadings(sensor, self._mapping.read(document, self._context.now()))

    def _document(self, line: bytes) -> Any:
        if self._options.format == "json":
            return parse(line, max_bytes=self._options.max_line)
        try:
            text = line.decode("utf-8").strip()
        except UnicodeDecodeError:
            raise ReadingError("line.encoding", "the line is not UTF-8 text") from None
        return self._plain(text) if self._options.format == "plain" else self._csv(text)

    def _plain(self, text: str) -> Any:
        """``name value [unit]``; the unit has to be the declared one, for nothing is converted."""
        parts = text.split()
        if not 2 <= len(parts) <= 3:
            raise ReadingError("line.format", "a line is: name value unit")
        name, value = parts[:2]
        if name not in self._units:
            raise ReadingError("line.unmapped", f"{name[:60]!r} is not mapped")
        unit = parts[2] if len(parts) == 3 else None
        if unit != self._units[name]:
            raise ReadingError(
                "line.unit", f"{name}: {unit!r} where {self._units[name]!r} is declared"
            )
        return {name: self._cell(name, value)}

    def _csv(self, text: str) -> Any:
        columns = self._options.columns
        try:
            cells = next(csv.reader([text], strict=True), [])
        except csv.Error as error:
            raise ReadingError("line.format", f"not CSV: {error}") from None
        if len(cells) != len(columns):
            raise ReadingError("line.format", f"{len(cells)} cells, {len(columns)} columns")
        return {
            column: self._cell(column, cell.strip())
            for column, cell in zip(columns, cells, strict=True)
            if cell.strip()
        }

    def _cell(self, name: str, text: str) -> Any:
        if name in self._texts:
            return text
        return text == "true" if text in ("true", "false") else RawNumber(text)

    # --- the input ---

    def run(self, emit: Emitter, stop: threading.Event) -> None:
        """See :class:`Source`."""
        if self._options.input == "stdin":
            self._run_stdin(emit, stop)
        elif self._options.input == "udp":
            self._run_udp(emit, stop)
        else:
            self._run_serial(emit, stop)

    def _take(self, line: bytes, emit: Emitter, *, wait: bool) -> None:
        try:
            item = self.read(line)
        except ReadingError as error:
            emit.refuse(error.code, error.message)
            return
        emit([item], wait=wait)

    def _run_stdin(self, emit: Emitter, stop: threading.Event) -> None:
        splitter = LineSplitter(self._options.max_line, emit.refuse)
        handle = sys.stdin.fileno()
        while not stop.is_set():
            if not select.select([handle], [], [], _POLL)[0]:
                continue
            data = os.read(handle, _CHUNK)
            lines = splitter.feed(data) if data else splitter.end()
            for line in lines:
                self._take(line, emit, wait=True)
            if not data:
                return

    def _run_udp(self, emit: Emitter, stop: threading.Event) -> None:
        options = self._options
        family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            try:
                sock.bind((options.host, options.port))
            except OSError as error:
                raise TransportError(
                    "source.udp", f"{options.host}:{options.port}: {error.strerror or error}"
                ) from error
            sock.settimeout(_POLL)
            self.bound = sock.getsockname()[:2]
            while not stop.is_set():
                try:
                    data = sock.recv(_CHUNK)
                except TimeoutError:
                    continue
                except OSError as error:
                    emit.refuse("source.udp", str(error))
                    continue
                splitter = LineSplitter(options.max_line, emit.refuse)
                for line in (*splitter.feed(data), *splitter.end()):
                    # Nobody is held back at the other end: what finds no room is counted.
                    self._take(line, emit, wait=False)

    def _run_serial(self, emit: Emitter, stop: threading.Event) -> None:
        serial = _serial()
        while not stop.is_set():
            splitter = LineSplitter(self._options.max_line, emit.refuse)
            try:
                with serial.Serial(self._options.device, self._options.baud, timeout=_POLL) as port:
                    while not stop.is_set():
                        for line in splitter.feed(port.read(256)):
                            self._take(line, emit, wait=True)
            except (OSError, ValueError) as error:  # SerialException is an OSError
                # A port that was pulled may be plugged in again.
                emit.refuse("source.serial", str(error))
                stop.wait(1.0)

    def describe(self) -> list[str]:
        """See :class:`Source`."""
        options = self._options
        where = {
            "stdin": "standard input",
            "udp": f"UDP {options.host}:{options.port}",
            "serial": f"serial port {options.device} at {options.baud} baud",
        }[options.input]
        sensor = options.sensor or f"the name at {options.sensor_path}"
        return [
            f"{options.format} lines from {where}, sensor {sensor}, signed for as {options.level}",
            *describe_mapping(self._mapping),
        ]


def _serial() -> Any:
    try:
        return importlib.import_module("serial")
    except ImportError as error:
        raise ConfigError(
            "config.serial",
            "serial ports need the package pyserial",
            hint="pip install 'depin-id[bridge]'",
        ) from error


KINDS = {"lines": Kind(LinesOptions, Lines)}
