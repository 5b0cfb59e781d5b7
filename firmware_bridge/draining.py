"""Sources that are about to be replaced: what they hand over meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from firmware_bridge.handover import Handover

MAX_HELD = 4096
"""Messages of a source that are held; brokers hand out far fewer without an answer."""
_FULL_WAIT = 0.02
Entry = TypeVar("Entry")


class Draining(Generic[Entry]):
    """Holds what drained sources hand over: theirs again if they go on, else nobody's.

    What is held is not answered, so of a source that ends it comes again to whoever follows. To a
    source that goes on nobody would send it again. Not locked: the caller does that.
    """

    def __init__(self) -> None:
        self._held: dict[str, list[Entry]] = {}

    def begin(self, source: str) -> None:
        """Hold what comes from now on."""
        self._held.setdefault(source, [])

    def hold(self, source: str, entry: Entry) -> bool | None:
        """Hold an entry; None: the source is not drained; False: there is no room for it."""
        held = self._held.get(source)
        if held is None:
            return None
        if len(held) >= MAX_HELD:
            return False
        held.append(entry)
        return True

    def end(self, source: str) -> list[Entry]:
        """Hold nothing any longer; gives what was held."""
        return self._held.pop(source, [])


def have_done(
    jobs: Handover[Any],
    work: Callable[[], None],
    timeout: float,
    stop: threading.Event,
) -> bool:
    """Have the thread that works off a queue do something; gives whether it did in time."""
    ready = threading.Event()
    deadline = time.monotonic() + timeout

    def run() -> None:
        work()
        ready.set()

    while time.monotonic() < deadline and not stop.is_set():
        if jobs.offer(run):
            return ready.wait(max(0.0, deadline - time.monotonic()))
        stop.wait(_FULL_WAIT)
    return False
