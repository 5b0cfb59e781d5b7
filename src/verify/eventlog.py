"""The log of a running aggregator: one line an event, with a stable name and plain details.

Details are counts, codes and addresses of our own making, never readings, keys or what a client
wrote. A kind of event that comes too often is cut off, and the next line of its kind says how many
were left out: whoever sends garbage must not fill a disk.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Literal, TextIO

from depin_id.printable import printable

Format = Literal["text", "json"]
FORMATS: tuple[Format, ...] = ("text", "json")
UNBOUNDED = frozenset({"committed"})
"""Once a commit, so bounded by the disk's own pace."""

_BURST = 20.0
_PER_S = 1.0
_MAX_VALUE = 500


class EventLog:
    """Writes events; may be called from any thread.

    Args:
        form: ``text`` for people, ``json`` for machines.
        quiet: kinds that are left out.
        stream: where to write; standard error by default.
        wall: milliseconds since 1970. clock: seconds, monotonic.
    """

    def __init__(
        self,
        form: Format = "text",
        *,
        quiet: frozenset[str] = frozenset(),
        stream: TextIO | None = None,
        wall: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._form, self._quiet = form, quiet
        self._stream = stream
        self._wall, self._clock = wall, clock
        self._lock = threading.Lock()
        self._held: dict[str, tuple[float, float]] = {}
        self._left_out: dict[str, int] = {}

    def __call__(self, kind: str, detail: dict[str, object]) -> None:
        """One event: a dotted name from a fixed set, and its details."""
        if kind in self._quiet:
            return
        with self._lock:
            if kind not in UNBOUNDED and not self._may(kind):
                self._left_out[kind] = self._left_out.get(kind, 0) + 1
                return
            left_out = self._left_out.pop(kind, 0)
            extra: dict[str, object] = {"left_out": left_out} if left_out else {}
            line = self._line(kind, {**detail, **extra})
            stream = self._stream if self._stream is not None else sys.stderr
            try:
                print(line, file=stream, flush=True)
            except (OSError, ValueError):
                # A log that nobody takes must not end the aggregator.
                self._left_out[kind] = self._left_out.get(kind, 0) + 1

    def _may(self, kind: str) -> bool:
        now = self._clock()
        held, at = self._held.get(kind, (_BURST, now))
        held = min(_BURST, held + (now - at) * _PER_S)
        granted = held >= 1
        self._held[kind] = (held - 1 if granted else held, now)
        return granted

    def _line(self, kind: str, detail: dict[str, object]) -> str:
        short = {name: _bounded(value) for name, value in detail.items()}
        if self._form == "json":
            line: dict[str, Any] = {"time": self._wall(), "event": kind, **short}
            return json.dumps(line, default=str)
        rest = " ".join(f"{name}={value}" for name, value in short.items() if value)
        return printable(f"{kind} {rest}")


def _bounded(value: object) -> object:
    if isinstance(value, str) and len(value) > _MAX_VALUE:
        return value[:_MAX_VALUE] + "..."
    return value
