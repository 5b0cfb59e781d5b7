"""Lines of text between a device and what stands beside it (docs/device-lines.md).

A line proves nothing: what it carries is signed, or is refused. This is the codec and the port; the
C side is ``firmware_bridge/firmware/src/lines.c``.
"""

from __future__ import annotations

import importlib
import re
import select
import socket
import termios
import threading
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NoReturn, Protocol

from depin_id.errors import ConfigError, EncodingError, TransportError

MAX_LINE: Final = 65_536
"""Bound on a line, in bytes, with its end."""
MAX_WORDS: Final = 8
"""The verb and its arguments."""
INTRO: Final = b"depin "
BAUD: Final = 115_200
_TAIL: Final = 10
_WORD: Final = re.compile(rb"(?!\*)[!-~]+")
_HEX: Final = re.compile(r"(?:[0-9a-f]{2})*")
_CRC: Final = re.compile(rb" \*([0-9a-f]{8})")
_CHUNK: Final = 4096
_POLL: Final = 0.2
_GONE: Final = (OSError, ValueError, TypeError, termios.error)
"""What a pulled port raises; SerialException is an OSError."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line whose checksum held: its verb and its arguments."""

    verb: str
    arguments: tuple[str, ...] = ()

    def data(self, index: int = -1) -> bytes:
        """The bytes of an argument in hexadecimal. Raises EncodingError ``line.malformed``."""
        if not -len(self.arguments) <= index < len(self.arguments):
            _wrong(f"{self.verb} has {len(self.arguments)} arguments")
        text = self.arguments[index]
        if _HEX.fullmatch(text) is None:
            _wrong(f"an argument of {self.verb} is not hexadecimal")
        return bytes.fromhex(text)


@dataclass(frozen=True, slots=True)
class LogText:
    """A line that is the device's log, as it came, without its end."""

    text: bytes


@dataclass(frozen=True, slots=True)
class Dropped:
    """A line that was not taken: ``line.too_long``, ``line.malformed`` or ``line.checksum``."""

    code: str


def _wrong(what: str) -> NoReturn:
    raise EncodingError("line.malformed", what)


def write_line(verb: str, *arguments: str | bytes) -> bytes:
    """A line with its end; bytes become hexadecimal.

    Raises:
        EncodingError: ``line.malformed``, ``line.too_long``.
    """
    words = [argument.hex() if isinstance(argument, bytes) else argument for argument in arguments]
    try:
        raw = [word.encode("ascii") for word in (verb, *words)]
    except UnicodeEncodeError:
        _wrong("a word is not visible ASCII")
    if len(raw) > MAX_WORDS or any(_WORD.fullmatch(word) is None for word in raw):
        _wrong(f"a line has 1 to {MAX_WORDS} words of visible ASCII without '*' in front")
    body = INTRO + b" ".join(raw)
    line = b"%b *%08x\n" % (body, zlib.crc32(body))
    if len(line) > MAX_LINE:
        raise EncodingError("line.too_long", f"{len(line)} bytes, a line has at most {MAX_LINE}")
    return line


def read_line(line: bytes) -> Line:
    """Read a line that begins with ``depin ``, without its LF.

    Raises:
        EncodingError: ``line.malformed``, ``line.checksum``, ``line.too_long``.
    """
    if len(line) >= MAX_LINE:
        raise EncodingError("line.too_long", f"a line has at most {MAX_LINE} bytes")
    line = line.removesuffix(b"\r")
    body, tail = line[:-_TAIL], line[-_TAIL:]
    said = _CRC.fullmatch(tail)
    if not body.startswith(INTRO) or said is None:
        _wrong("it does not begin with 'depin ' or has no checksum")
    if int(said[1], 16) != zlib.crc32(body):
        raise EncodingError("line.checksum", "the checksum is another one's")
    words = body[len(INTRO) :].split(b" ", MAX_WORDS)
    if len(words) > MAX_WORDS or any(_WORD.fullmatch(word) is None for word in words):
        _wrong(f"it is not 1 to {MAX_WORDS} words with one space between")
    verb, *arguments = (word.decode("ascii") for word in words)
    return Line(verb, tuple(arguments))


class LineReader:
    """Bytes as they come to lines; holds at most one line. Not for several threads."""

    def __init__(self, max_line: int = MAX_LINE) -> None:
        self._max = max_line
        self._rest = bytearray()
        self._skipping = False

    def feed(self, data: bytes) -> Iterator[Line | LogText | Dropped]:
        """What these bytes complete, in order; what is dropped is told, never raised."""
        start = 0
        while (end := data.find(b"\n", start)) >= 0:
            yield from self._more(data[start:end])
            start = end + 1
            line, self._rest = bytes(self._rest), bytearray()
            if self._skipping:
                self._skipping = False
            else:
                yield self._read(line)
        yield from self._more(data[start:])

    def _more(self, piece: bytes) -> Iterator[Line | LogText | Dropped]:
        if self._skipping:
            return
        self._rest += piece[: self._max]
        if len(self._rest) >= self._max:
            self._skipping = True
            mine = self._rest.startswith(INTRO)
            head, self._rest = bytes(self._rest[:256]), bytearray()
            yield Dropped("line.too_long") if mine else LogText(head)

    def _read(self, line: bytes) -> Line | LogText | Dropped:
        if not line.startswith(INTRO):
            return LogText(line.removesuffix(b"\r"))
        try:
            return read_line(line)
        except EncodingError as error:
            return Dropped(error.code)


# --- ports ---


class LinePort(Protocol):
    """Bytes to and from a device."""

    def read(self, timeout: float) -> bytes:
        """What came, or nothing after ``timeout`` seconds. Raises TransportError ``port.lost``."""

    def write(self, data: bytes) -> None:
        """Send all of it. Raises TransportError ``port.lost``."""

    def close(self) -> None:
        """Give the port back."""


def _lost(what: object) -> TransportError:
    return TransportError("port.lost", f"the port is gone: {what}", hint="plug it in again")


class SocketPort:
    """A device behind a stream socket: an emulator's serial line, or a terminal server."""

    def __init__(self, sock: socket.socket, *, write_timeout: float = 10.0) -> None:
        sock.setblocking(False)
        self._sock, self._write_timeout = sock, write_timeout
        self._mutex = threading.Lock()

    def read(self, timeout: float) -> bytes:
        """See :class:`LinePort`."""
        try:
            if not select.select([self._sock], [], [], timeout)[0]:
                return b""
            data = self._sock.recv(_CHUNK)
        except BlockingIOError:
            return b""
        except (OSError, ValueError) as error:
            raise _lost(error) from error
        if not data:
            raise _lost("the other end closed it")
        return data

    def write(self, data: bytes) -> None:
        """See :class:`LinePort`."""
        end = time.monotonic() + self._write_timeout
        view = memoryview(data)
        with self._mutex:
            while view:
                try:
                    view = view[self._sock.send(view) :]
                except BlockingIOError:
                    if time.monotonic() > end:
                        raise _lost("it takes nothing") from None
                    select.select([], [self._sock], [], _POLL)
                except (OSError, ValueError) as error:
                    raise _lost(error) from error

    def close(self) -> None:
        """See :class:`LinePort`."""
        self._sock.close()


class SerialPort:
    """A serial port of this machine, or a pseudo terminal, by pyserial."""

    def __init__(self, path: str, baud: int, *, write_timeout: float = 10.0) -> None:
        serial = _pyserial()
        # Exclusive: two programs that share a port each get half of every line.
        self._port: Any = serial.Serial(
            path, baud, timeout=0, write_timeout=write_timeout, exclusive=True
        )
        self._mutex = threading.Lock()

    def read(self, timeout: float) -> bytes:
        """See :class:`LinePort`."""
        try:
            if not select.select([self._port.fileno()], [], [], timeout)[0]:
                return b""
            data: bytes = self._port.read(_CHUNK)
        except _GONE as error:
            raise _lost(error) from error
        return data

    def write(self, data: bytes) -> None:
        """See :class:`LinePort`."""
        try:
            with self._mutex:
                self._port.write(data)
        except _GONE as error:
            raise _lost(error) from error

    def close(self) -> None:
        """See :class:`LinePort`."""
        self._port.close()


def _pyserial() -> Any:
    try:
        return importlib.import_module("serial")
    except ImportError as error:
        raise ConfigError(
            "config.serial",
            "serial ports need the package pyserial",
            hint="pip install 'depin-id[serial]'",
        ) from error


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isdecimal() or not 0 < int(port[:6]) < 65_536:
        raise ConfigError(
            "config.port", f"{text[:80]!r} is no HOST:PORT", hint="socket://127.0.0.1:4000"
        )
    return host, int(port)


def open_port(url: str, *, baud: int = BAUD, timeout: float = 5.0) -> LinePort:
    """A port by its path or address.

    Args:
        url: ``/dev/ttyUSB0`` or another path of a serial port or pseudo terminal;
            ``socket://HOST:PORT``; ``unix:PATH``.
        baud: of a serial port. timeout: of connecting, in seconds.

    Raises:
        TransportError: ``port.unusable``. ConfigError: ``config.port``, ``config.serial``.
    """
    if not 0 < len(url) <= 4096 or "\0" in url:
        raise ConfigError("config.port", "the port is empty or over 4096 characters")
    try:
        if url.startswith("socket://"):
            host, port = _address(url.removeprefix("socket://"))
            return SocketPort(socket.create_connection((host, port), timeout))
        if url.startswith("unix:"):
            return SocketPort(_unix(url.removeprefix("unix:"), timeout))
        if "://" in url:
            raise ConfigError(
                "config.port", f"{url[:80]!r} is no port", hint="a path, socket:// or unix:"
            )
        return SerialPort(url, baud)
    except (OSError, ValueError, termios.error) as error:
        raise TransportError(
            "port.unusable", f"{url[:200]}: {error}", hint="is it plugged in, and yours to use?"
        ) from error


def _unix(path: str, timeout: float) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout)
        sock.connect(path)
    except BaseException:
        sock.close()
        raise
    return sock
