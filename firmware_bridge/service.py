"""The bridge as a service: sources, gateway and uplink together, until told to stop."""

from __future__ import annotations

import json
import logging
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from depin_id.carried import machine_boot
from depin_id.device import Device
from depin_id.errors import ConfigError, DepinError, StateError
from firmware_bridge.backoff import Backoff
from firmware_bridge.config import BridgeConfig, ConfiguredSource
from firmware_bridge.gateway import Gateway
from firmware_bridge.sources import Source
from firmware_bridge.spool import Spool
from firmware_bridge.uplink import Uplink

log = logging.getLogger("depin_bridge")

_DRAIN_SECONDS = 5.0
_SIGNAL_SECONDS = 0.5


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
        counts = getattr(record, "counts", None)
        if counts is not None:
            entry["counts"] = counts
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


def set_up_logs(*, json_logs: bool, verbose: bool = False) -> None:
    """Log to standard error, for people or for machines."""
    handler = logging.StreamHandler()
    handler.setFormatter(
        JsonLines()
        if json_logs
        else logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    )
    root = logging.getLogger("depin_bridge")
    root.handlers[:] = [handler]
    root.propagate = False
    root.setLevel(logging.DEBUG if verbose else logging.INFO)


class Bridge:
    """A configured bridge. :meth:`run` works until :meth:`stop`, or until something fails for good.

    Raises:
        DepinError: device, card, spool, certificates or a source cannot be used.
    """

    def __init__(self, config: BridgeConfig) -> None:
        self.config = config
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        card = config.card()
        self.device = Device.open(
            config.resolve(config.bridge.device),
            passphrase=config.passphrase(),
            boot=machine_boot(),
        )
        self._closing: list[Callable[[], None]] = [self.device.close]
        try:
            if self.device.enrolment.role != "gateway":
                raise ConfigError(
                    "device.role",
                    f"{self.device.did} is no gateway",
                    hint="make one: depin-bridge init DIR --network CARD",
                )
            key = self.device.public_key
            self.sources = config.make_sources(card, key.kid.hex())
            self._behalf = {part.name: config.behalf(part, key) for part in config.sources}
            self.spool = Spool.open(
                config.resolve(config.bridge.spool),
                max_bytes=config.bridge.spool_max_bytes,
                max_envelopes=config.bridge.spool_max_envelopes,
                policy=config.bridge.spool_policy,
            )
            self._closing.insert(0, self.spool.close)
            self.uplink = Uplink(
                self.device,
                card,
                self.spool,
                config.broker(),
                window=config.uplink.window,
                ack_timeout=config.uplink.ack_timeout,
                backoff=Backoff(most=config.uplink.retry_most),
            )
            self.gateway = Gateway(
                self.device,
                card.network,
                self.spool,
                notify=self.uplink.wake,
                limits=config.limits,
            )
            self.uplink.carry(self.gateway.carrier)
            self.gateway.carrier.offer_card(config.card_bytes(), card.network)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give device and spool back; after :meth:`run`."""
        for close in self._closing:
            close()

    def stop(self) -> None:
        """End :meth:`run` cleanly; from any thread or a signal handler."""
        self._stop.set()

    def run(self) -> None:
        """Work. What was answered is in the spool or acknowledged, however this ends.

        Raises:
            DepinError: what made it impossible to go on.
        """
        gateway = threading.Thread(target=self._guard, args=(self.gateway.run,), name="gateway")
        threads = [
            threading.Thread(
                target=self._guard, args=(self._run_source, *item), name=item[0].name, daemon=True
            )
            for item in self.sources
        ]
        self.uplink.start()
        gateway.start()
        for thread in threads:
            thread.start()
        try:
            self._watch()
        finally:
            self._stop.set()
            # First the sources, so that the gateway seals everything they handed over.
            deadline = time.monotonic() + _DRAIN_SECONDS
            for thread in threads:
                thread.join(max(0.0, deadline - time.monotonic()))
            self.gateway.stop()
            gateway.join()
            self.uplink.close()
            log.info("stopped", extra={"counts": self.counts()})
        if self._failure is not None:
            raise self._failure

    def _watch(self) -> None:
        every = self.config.bridge.status_every
        due = time.monotonic() + every
        # Never without a bound: a signal that another thread took, or that came just before the
        # wait began, does not end the wait, and its handler runs only when this thread goes on.
        while not self._stop.wait(_SIGNAL_SECONDS):
            if every and time.monotonic() >= due:
                due = time.monotonic() + every
                log.info("%s", self.status(), extra={"counts": self.counts()})

    def _run_source(self, part: ConfiguredSource, source: Source) -> None:
        emitter = self.gateway.emitter(part.name, part.level, self._behalf[part.name])
        source.run(emitter, self._stop)
        log.info("source %s ended", part.name)

    def _guard(self, work: Callable[..., None], *arguments: Any) -> None:
        """A thread that fails for good ends the whole bridge: a service manager starts it again."""
        try:
            work(*arguments)
        except DepinError as error:
            self._failure = error
            self._stop.set()
            self.gateway.stop()
        except Exception as error:
            log.exception("a part of the bridge failed")
            self._failure = StateError(
                "bridge.failed",
                f"{threading.current_thread().name}: {type(error).__name__}: {error}",
                hint="this is a defect: report it with the log",
            )
            self._stop.set()
            self.gateway.stop()

    def counts(self) -> dict[str, Any]:
        """Everything counted, JSON-ready."""
        spool, uplink, gateway = self.spool.counts, self.uplink.counts, self.gateway.counts
        return {
            "connected": self.uplink.connected,
            "spool": {
                "envelopes": spool.envelopes,
                "bytes": spool.bytes,
                "released": spool.released,
                "dropped": spool.dropped,
                "damaged": spool.damaged,
            },
            "uplink": {
                "messages": uplink.messages,
                "released": uplink.released,
                "resends": uplink.resends,
                "retries": uplink.retries,
                "too_large": uplink.too_large,
                "verdicts": dict(uplink.verdicts),
                "refused": dict(uplink.refused),
            },
            "taken": dict(gateway.taken),
            "spooled": gateway.spooled,
            "refused": {f"{name}: {code}": n for (name, code), n in gateway.refused.items()},
        }

    def status(self) -> str:
        """The counts in one line, for people."""
        spool, uplink, gateway = self.spool.counts, self.uplink.counts, self.gateway.counts
        state = "connected" if self.uplink.connected else f"offline ({self.uplink.problem})"
        return (
            f"{state}; taken {gateway.taken.total()}, refused {gateway.refused.total()}, "
            f"spooled {gateway.spooled}, waiting {spool.envelopes} ({spool.bytes} B), "
            f"acknowledged {uplink.released}, dropped {spool.dropped}"
        )


def run_until_signalled(bridge: Bridge) -> None:
    """Run in the main thread; SIGTERM and SIGINT end it cleanly.

    Raises: DepinError, as :meth:`Bridge.run`.
    """

    def end(*_: object) -> None:
        # Not here: the thread that a handler interrupts may hold the very lock that stop() takes.
        threading.Thread(target=bridge.stop, name="stop").start()

    previous = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        bridge.run()
    finally:
        bridge.close()
        for number, handler in previous.items():
            signal.signal(number, handler)
