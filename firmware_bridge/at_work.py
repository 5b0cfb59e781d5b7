"""The sources at work, each in a thread of its own that can be ended alone."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from depin_id.errors import StateError
from firmware_bridge.gateway import Gateway
from firmware_bridge.reload import Prepared

log = logging.getLogger("depin_bridge")

DRAIN_SECONDS = 30.0
_END_SECONDS = 45.0


@dataclass
class _Working:
    prepared: Prepared
    stop: threading.Event
    thread: threading.Thread


class Sources:
    """Starts and ends sources.

    Args:
        gateway: what they hand over to.
        guard: runs the work of a thread, and ends the bridge when that fails for good.
    """

    def __init__(self, gateway: Gateway, guard: Callable[..., None]) -> None:
        self._gateway, self._guard = gateway, guard
        self._working: dict[str, _Working] = {}

    @property
    def running(self) -> dict[str, Prepared]:
        """What is at work, or has ended by itself, by name."""
        return {name: working.prepared for name, working in self._working.items()}

    def alive(self) -> dict[str, bool]:
        """Whether each source is still at work, by name."""
        return {name: item.thread.is_alive() for name, item in list(self._working.items())}

    def begin(self, prepared: Prepared) -> None:
        """Start a source."""
        name, stop = prepared.part.name, threading.Event()
        thread = threading.Thread(
            target=self._guard, args=(self._run, prepared, stop), name=name, daemon=True
        )
        self._working[name] = _Working(prepared, stop, thread)
        thread.start()

    def _run(self, prepared: Prepared, stop: threading.Event) -> None:
        part = prepared.part
        emitter = self._gateway.emitter(part.name, part.level, prepared.behalf)
        prepared.source.run(emitter, stop)
        log.info("source %s ended", part.name)

    def drain(self, names: tuple[str, ...]) -> None:
        """Spool and answer all that these handed over; they hand nothing over after that.

        Raises:
            StateError: ``reload.busy``: it took too long, and all of them go on.
        """
        for index, name in enumerate(names):
            if self._gateway.drain(name, DRAIN_SECONDS):
                continue
            for other in names[: index + 1]:
                self._gateway.resume(other)
            raise StateError(
                "reload.busy",
                f"what source {name} handed over was not in the spool after {DRAIN_SECONDS:g} s",
                hint="is the spool full? connect the uplink, then reload again",
            )

    def end(self, names: tuple[str, ...]) -> None:
        """End drained sources.

        Raises:
            StateError: ``reload.stuck``: one does not end; only a new start helps.
        """
        for name in names:
            self._working[name].stop.set()
        deadline = time.monotonic() + _END_SECONDS
        for name in names:
            thread = self._working[name].thread
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                raise StateError(
                    "reload.stuck", f"source {name} does not end", hint="restart the bridge"
                )
            del self._working[name]
            self._gateway.forget(name, DRAIN_SECONDS)

    def end_all(self, seconds: float) -> None:
        """End everything that ends in time, after what it handed over is spooled and answered."""
        deadline = time.monotonic() + seconds
        working = dict(self._working)
        for name, item in working.items():
            if item.thread.is_alive():
                self._gateway.drain(name, max(0.0, deadline - time.monotonic()))
        for item in working.values():
            item.stop.set()
        deadline = time.monotonic() + seconds
        for item in working.values():
            item.thread.join(max(0.0, deadline - time.monotonic()))
