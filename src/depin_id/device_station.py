"""Asking a device over its lines: one request at a time, each answered in time or given up."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from depin_id.device_lines import Dropped, Line, LinePort, LineReader, LogText, write_line
from depin_id.errors import EncodingError, StateError, TransportError

TIMEOUT: Final = 3.0
TRIES: Final = 3
"""Of what may be asked again: a line may be lost, and a device may still be starting."""
_MAX_NOISE: Final = 1 << 20
_WHY: Final = {
    "locked": "it is locked, and nothing of it is written again",
    "unknown": "it does not know that, or has none",
    "storage": "its storage failed",
    "random": "it has no randomness",
    "malformed": "it could not read what was asked",
    "lost": "its records are damaged",
}


class DeviceRefused(StateError):
    """The device said no.

    Attributes:
        why: the code of the device's line (docs/device-lines.md).
    """

    def __init__(self, what: str, why: str) -> None:
        meaning = _WHY.get(why, f"it says {why[:40]!r}")
        super().__init__("device.refused", f"the device refused {what}: {meaning}")
        self.why = why


class Station:
    """A device at a port. Not for several threads.

    Args:
        port: already open; the caller closes it.
        timeout: seconds that an answer may take.
        log: is told the device's log, a line each, at most 200 characters.
    """

    def __init__(
        self,
        port: LinePort,
        *,
        timeout: float = TIMEOUT,
        log: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._port, self._timeout, self._log = port, timeout, log
        self._reader = LineReader()
        self._secrets: set[str] = set()
        self.dropped = 0
        """Lines that came damaged."""

    def ask(self, what: str) -> tuple[str, ...]:
        """The values of ``depin is WHAT VALUE...``.

        Raises:
            DeviceRefused: it said no. TransportError: ``device.silent``, ``port.lost``.
        """
        return self._request(("ask", what), what, TRIES)

    def prove(self, nonce: bytes) -> bytes:
        """The statement that proves possession. Raises as :meth:`ask`, and EncodingError."""
        values = self._request(("prove", nonce), "proof", TRIES)
        return Line("is", values).data()

    def do(self, verb: str, *arguments: str | bytes, again: bool = True) -> None:
        """Have something done; it is durable then.

        Args:
            again: whether it is harmless to say it twice.

        Raises: as :meth:`ask`.
        """
        self._request((verb, *arguments), None, TRIES if again else 1)

    def _request(
        self, words: tuple[str | bytes, ...], what: str | None, tries: int
    ) -> tuple[str, ...]:
        verb, *arguments = words
        line = write_line(str(verb), *arguments)
        if verb == "write":
            self._secrets |= {item.hex() for item in arguments if isinstance(item, bytes)}
        for attempt in range(tries):
            # An empty line first: whatever half a line the device has of before ends here.
            self._port.write(b"\n" + line if attempt else line)
            answer = self._answer(str(verb), what)
            if answer is not None:
                return answer
        raise TransportError(
            "device.silent",
            f"no answer to {verb!r} after {tries * self._timeout:g} s"
            + (f"; {self.dropped} lines came damaged" if self.dropped else ""),
            hint="is it the right port and speed, and does its firmware answer lines?",
        )

    def _answer(self, verb: str, what: str | None) -> tuple[str, ...] | None:
        end, noise = time.monotonic() + self._timeout, 0
        while (left := end - time.monotonic()) > 0 and noise < _MAX_NOISE:
            data = self._port.read(min(left, 0.2))
            noise += len(data)
            for item in self._reader.feed(data):
                if isinstance(item, LogText):
                    self._log(self._shown(item.text))
                elif isinstance(item, Dropped):
                    self.dropped += 1
                elif (values := _answers(item, verb, what)) is not None:
                    return values
        return None

    def _shown(self, text: bytes) -> str:
        """A line of the log. A console that echoes what it is told must not put a key there."""
        shown = text.decode("utf-8", "replace")
        lower = shown.lower()
        if any(key[:16] in lower or key[-16:] in lower for key in self._secrets):
            return "(a line with the key that was written)"
        return shown[:200]


def _answers(line: Line, verb: str, what: str | None) -> tuple[str, ...] | None:
    """The values, if the line answers; another line, an earlier answer too, is let be."""
    head, values = line.arguments[:1], line.arguments[1:]
    if line.verb == "no" and head == (verb,):
        raise DeviceRefused(verb, values[0] if values else "")
    if what is None and line.verb == "done" and head == (verb,):
        return values
    if what is not None and line.verb == "is" and head == (what,):
        return values
    return None


def one_value(values: tuple[str, ...], what: str) -> str:
    """The only value. Raises EncodingError ``line.malformed``."""
    if len(values) != 1:
        raise EncodingError("line.malformed", f"'is {what}' has {len(values)} values, not one")
    return values[0]
