"""Log lines: for people or for machines, and never a flood."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

BURST = 5
WINDOW = 60.0
_MAX_KEYS = 1024


def printable(text: str) -> str:
    """Text on one line that moves no cursor: topics and values are written by anybody."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and ``counts`` of a status."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        entry: dict[str, Any] = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name in ("counts", "suppressed"):
            value = getattr(record, name, None)
            if value:
                entry[name] = value
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry)  # in ASCII: a terminal shows what it is told in nothing else


class ForPeople(logging.Formatter):
    """Time, level, where, what; and how many like it were left out."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line without a traceback."""
        return printable(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        """The line, and the traceback if there is one."""
        text = "\n".join(map(printable, super().format(record).split("\n")))
        suppressed = getattr(record, "suppressed", 0)
        return f"{text} ({suppressed} more like it were left out)" if suppressed else text


class Flood(logging.Filter):
    """Lets each cause speak five times a minute, and says how often it was silenced.

    A cause is a message's text before values are put in, and the first of these: the source.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._monotonic = monotonic
        self._mutex = threading.Lock()
        self._causes: dict[tuple[str, str, str], list[float]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is logged."""
        first = record.args[0] if isinstance(record.args, tuple) and record.args else ""
        key = (record.name, str(record.msg)[:200], str(first)[:64])
        now = self._monotonic()
        with self._mutex:
            if key not in self._causes and len(self._causes) >= _MAX_KEYS:
                key = (record.name, "", "")
            # When it began to count, how many it let by, how many it did not.
            cause = self._causes.setdefault(key, [now, 0, 0])
            if now - cause[0] >= WINDOW:
                record.suppressed = int(cause[2])
                cause[:] = [now, 0, 0]
            if cause[1] >= BURST:
                cause[2] += 1
                return False
            cause[1] += 1
            return True


def set_up_logs(*, json_logs: bool, verbose: bool = False) -> None:
    """Log to standard error, for people or for machines."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if json_logs else ForPeople())
    if not verbose:
        handler.addFilter(Flood())
    root = logging.getLogger("depin_bridge")
    root.handlers[:] = [handler]
    root.propagate = False
    set_level("debug" if verbose else "info")


def set_level(name: str) -> None:
    """``debug``, ``info``, ``warning`` or ``error`` from now on."""
    logging.getLogger("depin_bridge").setLevel(name.upper())
