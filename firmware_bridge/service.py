"""The bridge as a service: sources, gateway and uplink together, until told to stop."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from depin_id.carried import machine_boot
from depin_id.device import Device
from depin_id.errors import ConfigError, DepinError, StateError
from firmware_bridge.at_work import Sources
from firmware_bridge.backoff import Backoff
from firmware_bridge.clock import BridgeClock
from firmware_bridge.config import BridgeConfig, load_config
from firmware_bridge.gateway import Gateway
from firmware_bridge.logs import JsonLines as JsonLines
from firmware_bridge.logs import set_level
from firmware_bridge.logs import set_up_logs as set_up_logs
from firmware_bridge.metrics import Metrics
from firmware_bridge.options import MqttOptions
from firmware_bridge.reload import Plan, plan, prepare, seen
from firmware_bridge.spool import Spool
from firmware_bridge.state import counts_of, health_of, status_line
from firmware_bridge.uplink import Uplink
from firmware_bridge.web import Web, json_page

log = logging.getLogger("depin_bridge")

_DRAIN_SECONDS = 5.0
_SIGNAL_SECONDS = 0.5


class Bridge:
    """A configured bridge. :meth:`run` works until :meth:`stop`, or until something fails for good.

    Raises:
        DepinError: device, card, spool, certificates or a source cannot be used.
    """

    def __init__(self, config: BridgeConfig) -> None:
        self.config = config
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._reload_wanted = False
        self.reload_problem = ""
        """Why the last reload changed nothing; empty when it was taken, or there was none."""
        self.reloads = 0
        self.web: Web | None = None
        self._card = config.card()
        self.device = Device.open(
            config.resolve(config.bridge.device),
            passphrase=config.passphrase(),
            boot=machine_boot(),
            wall=lambda: self.clock.timeline(),
        )
        self._closing: list[Callable[[], None]] = [self.device.close]
        try:
            self._check_role()
            self._open(config)
        except BaseException:
            self.close()
            raise

    def _check_role(self) -> None:
        if self.device.enrolment.role != "gateway":
            raise ConfigError(
                "device.role",
                f"{self.device.did} is no gateway",
                hint="make one: depin-bridge init DIR --network CARD",
            )

    def _open(self, config: BridgeConfig) -> None:
        bridge = config.bridge
        prepared = prepare(config, self._card, self.device.public_key, self._now)
        self.spool = Spool.open(
            config.resolve(bridge.spool),
            max_bytes=bridge.spool_max_bytes,
            max_envelopes=bridge.spool_max_envelopes,
            policy=bridge.spool_policy,
        )
        self._closing.insert(0, self.spool.close)
        self.clock = BridgeClock(config.clock_bound, floor=self.spool.time)
        self.gateway = Gateway(
            self.device,
            self._card.network,
            self.spool,
            notify=lambda: self.uplink.wake(),
            limits=config.limits,
            connected=lambda: self.uplink.connected,
            clock=self.clock,
        )
        self.gateway.carrier.offer_card(config.card_bytes(), self._card.network)
        self._uplink_seen = seen(config, config.uplink)
        self.uplink = self._make_uplink(config, config.broker())
        self._prepared = prepared
        self.sources = Sources(self.gateway, self._guard)

    def _now(self) -> float:
        return self.clock.timeline()

    def _make_uplink(self, config: BridgeConfig, broker: MqttOptions) -> Uplink:
        made = Uplink(
            self.device,
            self._card,
            self.spool,
            broker,
            window=config.uplink.window,
            ack_timeout=config.uplink.ack_timeout,
            backoff=Backoff(most=config.uplink.retry_most),
        )
        made.carry(self.gateway.carrier)
        return made

    def close(self) -> None:
        """Give device and spool back; after :meth:`run`."""
        for close in self._closing:
            close()

    def stop(self) -> None:
        """End :meth:`run` cleanly; from any thread or a signal handler."""
        self._stop.set()

    def want_reload(self) -> None:
        """Take up the configuration file again, soon; from any thread or a signal handler."""
        self._reload_wanted = True

    def run(self) -> None:
        """Work. What was answered is in the spool or acknowledged, however this ends.

        Raises:
            DepinError: what made it impossible to go on.
        """
        gateway = threading.Thread(target=self._guard, args=(self.gateway.run,), name="gateway")
        self.web = self._serve()
        self.uplink.start()
        gateway.start()
        for prepared in self._prepared:
            self.sources.begin(prepared)
        try:
            self._watch()
        finally:
            self._stop.set()
            # First the sources, so that the gateway seals everything they handed over.
            self.sources.end_all(_DRAIN_SECONDS)
            self.gateway.stop()
            gateway.join()
            self.uplink.close()
            if self.web is not None:
                self.web.close()
            log.info("stopped", extra={"counts": self.counts()})
        if self._failure is not None:
            raise self._failure

    def _watch(self) -> None:
        due = time.monotonic() + self.config.bridge.status_every
        # Never without a bound: a signal that another thread took, or that came just before the
        # wait began, does not end the wait, and its handler runs only when this thread goes on.
        while not self._stop.wait(_SIGNAL_SECONDS):
            if self._reload_wanted:
                self._reload_wanted = False
                self.reload()
            every = self.config.bridge.status_every
            if every and time.monotonic() >= due:
                due = time.monotonic() + every
                log.info("%s", status_line(self), extra={"counts": self.counts()})

    def _serve(self) -> Web | None:
        """Metrics are for those who look; that they cannot be served ends nothing."""
        address = self.config.bridge.metrics
        if not address:
            return None
        try:
            web = Web(
                address,
                {
                    "/metrics": Metrics(self.counts, self.health).page,
                    "/healthz": self._health_page,
                    "/status": lambda: json_page(self.health() | {"counts": self.counts()}),
                },
            )
        except DepinError as error:
            log.error("no metrics: %s", error)
            return None
        log.info("metrics at port %d: /metrics, /healthz, /status", web.port)
        return web

    def _health_page(self) -> tuple[int, str, bytes]:
        health = self.health()
        return json_page(health, 200 if health["ok"] else 503)

    # --- another configuration ---

    def reload(self) -> None:
        """Take up the configuration file: all of it or, when anything is wrong, nothing."""
        config = self.config
        try:
            found = plan(
                config,
                load_config(config.path),
                self.sources.running,
                self._uplink_seen,
                self._card,
                self.device.public_key,
                self._now,
            )
            self.sources.drain(found.ended)
        except DepinError as error:
            self.reload_problem = str(error)
            log.error("configuration not taken, nothing changed: %s", error)
            return
        except Exception as error:
            self.reload_problem = f"{type(error).__name__}: {error}"
            log.exception("configuration not taken, nothing changed")
            return
        try:
            self._apply(found)
        except DepinError as error:
            self._failure = error
            self._stop.set()

    def _apply(self, found: Plan) -> None:
        old, new = self.config, found.config
        self.sources.end(found.ended)
        bridge = new.bridge
        self.spool.limit(bridge.spool_max_bytes, bridge.spool_max_envelopes, bridge.spool_policy)
        self.gateway.set_limits(new.limits)
        self.clock.set_bound(new.clock_bound)
        if old.bridge.log_level != bridge.log_level:
            set_level(bridge.log_level)
        self.config = new
        if found.broker is not None:
            self._replace_uplink(found.broker)
        self._uplink_seen = found.uplink_seen
        for prepared in found.begun:
            self.sources.begin(prepared)
        self.reload_problem = ""
        self.reloads += 1
        begun = [prepared.part.name for prepared in found.begun]
        log.info(
            "configuration taken: sources ended %s, started %s%s",
            ", ".join(found.ended) or "none",
            ", ".join(begun) or "none",
            "" if found.broker is None else f"; uplink to {found.broker!r}",
        )

    def _replace_uplink(self, broker: MqttOptions) -> None:
        """What was under way is in the spool, and is sent again."""
        fresh = self._make_uplink(self.config, broker)
        self.uplink.close()
        fresh.counts = self.uplink.counts
        self.uplink = fresh
        fresh.start()

    # --- what it says of itself ---

    def _guard(self, work: Callable[..., None], *arguments: Any) -> None:
        """A thread that fails for good ends the whole bridge: a service manager starts it again."""
        try:
            work(*arguments)
        except DepinError as error:
            self._fail(error)
        except Exception as error:
            log.exception("a part of the bridge failed")
            self._fail(
                StateError(
                    "bridge.failed",
                    f"{threading.current_thread().name}: {type(error).__name__}: {error}",
                    hint="this is a defect: report it with the log",
                )
            )

    def _fail(self, error: DepinError) -> None:
        self._failure = error
        self._stop.set()
        self.gateway.stop()

    def counts(self) -> dict[str, Any]:
        """Everything counted, JSON-ready."""
        return counts_of(self)

    def health(self) -> dict[str, Any]:
        """Whether it can do its work, JSON-ready."""
        return health_of(self)

    def status(self) -> str:
        """The counts in one line, for people."""
        return status_line(self)


def run_until_signalled(bridge: Bridge) -> None:
    """Run in the main thread; SIGTERM and SIGINT end it cleanly, SIGHUP reloads.

    Raises: DepinError, as :meth:`Bridge.run`.
    """

    def end(*_: object) -> None:
        # Not here: the thread that a handler interrupts may hold the very lock that stop() takes.
        threading.Thread(target=bridge.stop, name="stop").start()

    handlers = {
        signal.SIGTERM: end,
        signal.SIGINT: end,
        signal.SIGHUP: lambda *_: bridge.want_reload(),
    }
    previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        bridge.run()
    finally:
        bridge.close()
        for number, handler in previous.items():
            with suppress(ValueError):
                signal.signal(number, handler)
