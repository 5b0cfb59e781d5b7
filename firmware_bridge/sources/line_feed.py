"""Where lines come from: standard input, UDP, a TCP server, or a serial port."""

from __future__ import annotations

import importlib
import os
import select
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, Literal

from depin_id.errors import ConfigError, TransportError

_POLL = 0.2
_CHUNK = 65_536
_CONNECT = 10.0
_AGAIN = 1.0

Take = Callable[[bytes, bool], None]
"""Gets a line, and whether its sender can be held back while there is no room."""
Refuse = Callable[[str, str], None]


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


class LineFeed:
    """Lines from one input until told to stop; what goes wrong there is counted."""

    def __init__(
        self,
        input: Literal["stdin", "udp", "tcp", "serial"],
        *,
        host: str,
        port: int,
        device: str | None,
        baud: int,
        max_line: int,
    ) -> None:
        self._input, self._host, self._port = input, host, port
        self._device, self._baud, self._max_line = device, baud, max_line
        self.bound: tuple[str, int] | None = None
        """Where UDP is received, once it is."""

    def __str__(self) -> str:
        return {
            "stdin": "standard input",
            "udp": f"UDP {self._host}:{self._port}",
            "tcp": f"TCP {self._host}:{self._port}",
            "serial": f"serial port {self._device} at {self._baud} baud",
        }[self._input]

    def run(self, take: Take, refuse: Refuse, stop: threading.Event) -> None:
        """Work until ``stop`` is set or standard input ends.

        Raises:
            TransportError: ``source.udp``: the address cannot be used.
            ConfigError: ``config.serial``: the package for serial ports is missing.
        """
        work = {
            "stdin": self._stdin,
            "udp": self._udp,
            "tcp": self._tcp,
            "serial": self._serial,
        }[self._input]
        work(take, refuse, stop)

    def _splitter(self, refuse: Refuse) -> LineSplitter:
        return LineSplitter(self._max_line, lambda code: refuse(code, ""))

    def _stdin(self, take: Take, refuse: Refuse, stop: threading.Event) -> None:
        splitter = self._splitter(refuse)
        handle = sys.stdin.fileno()
        while not stop.is_set():
            if not select.select([handle], [], [], _POLL)[0]:
                continue
            data = os.read(handle, _CHUNK)
            for line in splitter.feed(data) if data else splitter.end():
                take(line, True)
            if not data:
                return

    def _udp(self, take: Take, refuse: Refuse, stop: threading.Event) -> None:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            try:
                sock.bind((self._host, self._port))
            except OSError as error:
                raise TransportError(
                    "source.udp", f"{self._host}:{self._port}: {error.strerror or error}"
                ) from error
            sock.settimeout(_POLL)
            self.bound = sock.getsockname()[:2]
            while not stop.is_set():
                try:
                    data = sock.recv(_CHUNK)
                except TimeoutError:
                    continue
                except OSError as error:
                    refuse("source.udp", str(error))
                    continue
                splitter = self._splitter(refuse)
                for line in (*splitter.feed(data), *splitter.end()):
                    # Nobody is held back at the other end: what finds no room is counted.
                    take(line, False)

    def _tcp(self, take: Take, refuse: Refuse, stop: threading.Event) -> None:
        while not stop.is_set():
            splitter = self._splitter(refuse)
            try:
                with socket.create_connection((self._host, self._port), _CONNECT) as sock:
                    sock.settimeout(_POLL)
                    while not stop.is_set():
                        try:
                            data = sock.recv(_CHUNK)
                        except TimeoutError:
                            continue
                        if not data:
                            break
                        for line in splitter.feed(data):
                            take(line, True)
            except OSError as error:
                refuse("source.tcp", str(error))
            stop.wait(_AGAIN)

    def _serial(self, take: Take, refuse: Refuse, stop: threading.Event) -> None:
        serial = _pyserial()
        while not stop.is_set():
            splitter = self._splitter(refuse)
            try:
                with serial.Serial(self._device, self._baud, timeout=_POLL) as port:
                    while not stop.is_set():
                        for line in splitter.feed(port.read(256)):
                            take(line, True)
            except (OSError, ValueError) as error:  # SerialException is an OSError
                # A port that was pulled may be plugged in again.
                refuse("source.serial", str(error))
                stop.wait(_AGAIN)


def _pyserial() -> Any:
    try:
        return importlib.import_module("serial")
    except ImportError as error:
        raise ConfigError(
            "config.serial",
            "serial ports need the package pyserial",
            hint="pip install 'depin-id[bridge]'",
        ) from error
