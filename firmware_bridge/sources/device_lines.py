"""A device at a serial port that signs by itself: its envelopes up, the network's answers down."""

from __future__ import annotations

import collections
import logging
import threading
import time

from pydantic import Field

from depin_id import cose
from depin_id.device_lines import (
    BAUD,
    Dropped,
    Line,
    LinePort,
    LineReader,
    LogText,
    open_port,
    write_line,
)
from depin_id.envelope import parse_envelope
from depin_id.errors import ConfigError, DepinError, TransportError
from depin_id.statements import CHALLENGE, is_statement, read_statement
from firmware_bridge.gateway import Emitter
from firmware_bridge.sources.base import Context, Kind, SourceOptions
from firmware_bridge.sources.native import split

log = logging.getLogger("depin_bridge.device_lines")

_POLL = 0.2
_AGAIN = 1.0
_PIECE = 512
_MAX_KIDS = 64
_MAX_DOWN = 64
_LOGGED, _LOG_SECONDS = 50, 10.0


class DeviceLinesOptions(SourceOptions):
    """``kind = "device_lines"``: a port with a device that speaks docs/device-lines.md.

    What comes is wrapped as ``G0``: a port says nothing of who is plugged into it. What the device
    signed keeps the level of its own signature, whatever the gateway says.
    """

    port: str = Field(min_length=1, max_length=4096)
    """``/dev/ttyUSB0``, ``socket://HOST:PORT`` or ``unix:PATH``."""
    baud: int = Field(default=BAUD, ge=50, le=4_000_000)


class _Log:
    """The device's log at debug, so many lines in a while; it may write without end."""

    def __init__(self, name: str) -> None:
        self._name, self._count, self._since = name, 0, 0.0

    def __call__(self, text: bytes) -> None:
        now = time.monotonic()
        if now - self._since > _LOG_SECONDS:
            self._count, self._since = 0, now
        self._count += 1
        if text.strip() and self._count <= _LOGGED:
            log.debug("%s: %s", self._name, ascii(text[:200].decode("utf-8", "replace"))[1:-1])


class DeviceLines:
    """Envelopes and statements up; card, acknowledgements, challenges and resumes down.

    A port that is pulled is opened again. What comes down goes to the port on which its device was
    last heard; while the port is gone, the newest of it waits.
    """

    def __init__(self, options: DeviceLinesOptions, context: Context) -> None:
        if options.port.startswith("socket://") or "://" not in options.port:
            self._options, self._context = options, context
        else:
            raise ConfigError(
                "config.port", f"{context.name}: {options.port[:80]!r} is no serial port"
            )
        self._kids: collections.OrderedDict[bytes, None] = collections.OrderedDict()
        self._down: collections.deque[bytes] = collections.deque(maxlen=_MAX_DOWN)
        self._mutex = threading.Lock()
        self._log = _Log(context.name)
        self._heard = False
        self._card: bytes | None = None

    def run(self, emit: Emitter, stop: threading.Event) -> None:
        """See :class:`Source`."""
        emit.carrier.listen(self._deliver)
        while not stop.is_set():
            try:
                port = open_port(self._options.port, baud=self._options.baud)
            except TransportError as error:
                emit.refuse(error.code, error.message)
                stop.wait(_AGAIN)
                continue
            log.info("%s: port %s is open", self._context.name, self._options.port)
            try:
                self._serve(port, emit, stop)
            except TransportError as error:
                # A port that was pulled may be plugged in again.
                emit.refuse(error.code, error.message)
                stop.wait(_AGAIN)
            finally:
                port.close()

    def describe(self) -> list[str]:
        """See :class:`Source`."""
        return [
            f"envelopes of the device at {self._options.port}, wrapped as {self._options.level}; "
            "card, acknowledgements, challenges and resumes go down to it"
        ]

    def _serve(self, port: LinePort, emit: Emitter, stop: threading.Event) -> None:
        reader = LineReader()
        # Whoever was plugged in now may be another device, or the same one after a boot.
        self._heard, self._card = False, None
        while not stop.is_set():
            self._read(port, reader, _POLL, emit)
            if not self._heard:
                continue
            card = emit.carrier.card
            if card is not None and card != self._card:
                self._card = card
                self._send(port, reader, card, emit, stop)
            while self._down and not stop.is_set():
                message = self._down.popleft()
                try:
                    self._send(port, reader, message, emit, stop)
                except TransportError:
                    if len(self._down) < _MAX_DOWN:  # else newer ones have its room
                        self._down.appendleft(message)
                    raise

    def _read(self, port: LinePort, reader: LineReader, timeout: float, emit: Emitter) -> None:
        for item in reader.feed(port.read(timeout)):
            if isinstance(item, LogText):
                self._log(item.text)
            elif isinstance(item, Dropped):
                emit.refuse(item.code)
            else:
                self._heard = True
                self._take(item, emit)

    def _send(
        self,
        port: LinePort,
        reader: LineReader,
        message: bytes,
        emit: Emitter,
        stop: threading.Event,
    ) -> None:
        try:
            line = write_line("down", message)
        except DepinError as error:
            emit.refuse(error.code, f"{len(message)} bytes for the device: {error.message}")
            return
        for at in range(0, len(line), _PIECE):
            port.write(line[at : at + _PIECE])
            # A slow port takes seconds for a long line, and what comes meanwhile is not kept.
            self._read(port, reader, 0, emit)
            if stop.is_set():
                return

    # --- up ---

    def _take(self, line: Line, emit: Emitter) -> None:
        if line.verb not in ("up", "state"):
            return
        try:
            data = line.data()
            if line.verb == "up":
                items = split(data, int(self._context.wall()))
                if not items:
                    emit.refuse("envelope.malformed", "an empty line")
                for item in items:
                    self._meet_signer(item.data)
                emit(items)
            elif is_statement(data):
                self._meet_asker(data)
                emit.carrier.state(data)
            else:
                emit.refuse("statement.malformed", "a line says it has one")
        except DepinError as error:
            emit.refuse(error.code, error.message)

    def _meet_signer(self, envelope: bytes) -> None:
        try:
            self._meet(parse_envelope(envelope).kid)
        except DepinError:
            return  # it is carried all the same; whom it is of, the aggregator may tell

    def _meet_asker(self, data: bytes) -> None:
        statement = read_statement(data)
        if statement.kind == CHALLENGE and statement.parts:
            self._meet(statement.parts[0][:8])
        elif statement.parts:
            kid = cose.parse_sign1(statement.parts[0]).headers.get(cose.HEADER_KID)
            if isinstance(kid, bytes):
                self._meet(kid)

    def _meet(self, kid: bytes) -> None:
        with self._mutex:
            self._kids[kid] = None
            self._kids.move_to_end(kid)
            if len(self._kids) > _MAX_KIDS:
                self._kids.popitem(last=False)

    # --- down ---

    def _deliver(self, kid: bytes, data: bytes) -> None:
        """From any thread."""
        with self._mutex:
            mine = kid in self._kids
        if mine:
            self._down.append(data)


KINDS = {"device_lines": Kind(DeviceLinesOptions, DeviceLines)}
