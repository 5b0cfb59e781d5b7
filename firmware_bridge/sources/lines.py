"""Lines of text: from standard input, UDP or a serial port; JSON, ``name value unit`` or CSV."""

from __future__ import annotations

import csv
import threading
from typing import Any, Literal

from pydantic import Field

from depin_id.errors import ConfigError, ReadingError
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
from firmware_bridge.sources.line_feed import LineFeed, LineSplitter
from firmware_bridge.strict_json import RawNumber, parse

__all__ = ["KINDS", "LineSplitter", "Lines", "LinesOptions"]


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
        self._feed = LineFeed(
            options.input,
            host=options.host,
            port=options.port,
            device=options.device,
            baud=options.baud,
            max_line=options.max_line,
        )

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

        def take(line: bytes, wait: bool) -> None:
            try:
                item = self.read(line)
            except ReadingError as error:
                emit.refuse(error.code, error.message)
                return
            emit([item], wait=wait)

        self._feed.run(take, emit.refuse, stop)

    @property
    def bound(self) -> tuple[str, int] | None:
        """Where UDP is received, once it is."""
        return self._feed.bound

    def describe(self) -> list[str]:
        """See :class:`Source`."""
        options = self._options
        sensor = options.sensor or f"the name at {options.sensor_path}"
        return [
            f"{options.format} lines from {self._feed}, sensor {sensor}, "
            f"signed for as {options.level}",
            *describe_mapping(self._mapping),
        ]


KINDS = {"lines": Kind(LinesOptions, Lines)}
