"""Brokers that are killed, connections that lie, messages that come twice and out of order."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from depin_id.device import Device
from depin_id.network import NetworkCard
from tests.brokers import Mosquitto, mosquitto
from tests.endtoend.world import (
    check_acknowledged,
    check_audit,
    check_nothing_twice,
    journal,
    make_network,
    until,
)
from tests.faults.kills import POLICY, UNLIMITED, sensed
from tests.faults.load import Site, Speaker, write_bridge
from tests.faults.proxy import Proxy
from tests.faults.service import Service


class Town:
    """A broker, an aggregator that reaches it as it is told, and two devices that speak."""

    def __init__(self, stack: ExitStack, folder: Path, *, persistence: bool = False) -> None:
        self.folder, self.stack = folder, stack
        devices = [self.device(f"device-{number}") for number in range(3)]
        with Device.create(folder / "gateway", role="gateway") as made:
            gateway = made.enrolment
        self.gateway = gateway.did
        self.root, self.card = make_network(
            folder, *(device.enrolment for device in devices), gateway, policy=POLICY
        )
        self.broker = stack.enter_context(
            mosquitto(folder, persistence=persistence, extra=UNLIMITED)
        )
        self.devices = devices
        self.speakers: list[Speaker] = []

    def device(self, name: str) -> Device:
        return self.stack.enter_context(Device.create(self.folder / name, profile="noise"))

    def aggregator(self, port: int) -> Service:
        made = self.stack.enter_context(
            Service(
                *("verify.cli", "run", self.root, "--mqtt", f"mqtt://127.0.0.1:{port}"),
                "--json-logs",
                log=self.folder / "aggregator.log",
            )
        )
        made.wait_for("mqtt.subscribed")
        return made

    def speak(self, broker: Mosquitto | Proxy, *, rest_s: float = 0.02) -> None:
        self.speakers = [
            self.stack.enter_context(_speaker(device, self.card, broker, rest_s))
            for device in self.devices[:2]
        ]

    @property
    def acknowledged(self) -> int:
        return sum(len(speaker.acknowledged) for speaker in self.speakers)

    def hear(self, count: int, service: Service) -> None:
        """Wait until so many more envelopes were acknowledged."""
        wanted = self.acknowledged + count
        until(lambda: self.acknowledged >= wanted, "acknowledgements", log=lambda: service.log)

    def end(self, service: Service) -> None:
        for speaker in self.speakers:
            speaker.stop()
        until(
            lambda: not any(speaker.unanswered for speaker in self.speakers),
            "the last acknowledgement",
            log=lambda: service.log,
        )
        service.finish()
        assert service.statuses == [] and service.lives == 1, service.log[-3000:]
        assert "Traceback" not in service.log
        entries = list(journal(self.root))
        check_nothing_twice(entries)
        for speaker in self.speakers:
            check_acknowledged(entries, speaker)
            assert set(speaker.acknowledged) == set(speaker.sent)
        assert {entry.code for entry in entries} == {"accepted"}
        check_audit(self.root)


def _speaker(device: Device, card: NetworkCard, at: Mosquitto | Proxy, rest_s: float) -> Speaker:
    return Speaker(device, card, at, random.randrange(1 << 30), rest_s=rest_s)


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Callable[..., Town]]:
    with ExitStack() as stack:
        yield lambda **options: Town(stack, tmp_path, **options)


@pytest.mark.parametrize("persistence", [True, False])
def test_brokers_that_are_killed(town: Callable[..., Town], persistence: bool) -> None:
    """With what it persists, and with every session and message lost."""
    here = town(persistence=persistence)
    service = here.aggregator(here.broker.port)
    here.speak(here.broker)
    for pause_s in (0.0, 0.3):
        here.hear(20, service)
        here.broker.kill()
        time.sleep(pause_s)
        here.broker.start()
    here.hear(20, service)
    here.end(service)


def test_messages_that_come_twice_and_out_of_order(town: Callable[..., Town]) -> None:
    """On both sides of the broker: from devices, and again on the way to the aggregator."""
    here = town()
    with (
        Proxy(here.broker.port, mischief=0.5, seed=3) as before,
        Proxy(here.broker.port, mischief=0.5, seed=4) as behind,
    ):
        service = here.aggregator(behind.port)
        here.speak(before, rest_s=0.01)
        here.hear(150, service)
        here.end(service)
        for proxy in (before, behind):
            assert proxy.repeated > 5 and proxy.reordered > 5


def test_networks_that_part_and_meet(town: Callable[..., Town]) -> None:
    """Nothing is forwarded for a while, and connections end in the middle of messages."""
    here = town()
    with Proxy(here.broker.port) as proxy:
        service = here.aggregator(proxy.port)
        here.speak(here.broker)
        for fault in (proxy.freeze, proxy.cut, proxy.freeze, proxy.cut):
            here.hear(15, service)
            fault()
            time.sleep(0.3)
            proxy.thaw()
        here.hear(15, service)
        assert proxy.connections >= 3
        here.end(service)


@contextmanager
def _bridged(here: Town, broker: Mosquitto) -> Iterator[tuple[Service, Site]]:
    config = write_bridge(here.folder, broker)
    with Service(
        "firmware_bridge.cli", "run", config, "--json-logs", log=here.folder / "bridge.log"
    ) as bridge:
        until(lambda: bridge.process.log.count("connected, MQTT") == 3, "the bridge")
        with Site(here.devices[2], here.card, broker, 5) as site:
            yield bridge, site


def test_a_bridge_behind_a_broker_that_is_killed(town: Callable[..., Town]) -> None:
    """What the broker had confirmed and persisted comes through, once."""
    here = town(persistence=True)
    service = here.aggregator(here.broker.port)
    with _bridged(here, here.broker) as (bridge, site):
        for _ in range(2):
            site.speak(15)
            # A broker that is killed loses what it confirmed a moment ago and has not saved yet:
            # that is between it and who sent it, so only what got here is counted on.
            until(lambda: not site.waiting, "the broker's answer")
            _arrived(here, site, bridge)
            here.broker.kill()
            here.broker.start()
        site.speak(15)
        until(lambda: not site.waiting, "the broker's answer")
        _arrived(here, site, bridge)
        bridge.wait_for("connected, MQTT")
        bridge.finish()
    here.end(service)


def _arrived(here: Town, site: Site, bridge: Service) -> None:
    """Wait until all that was handed over is in the journal, and nothing else."""
    until(
        lambda: _carried(here) == (site.native, site.sensed),
        "the last reading",
        log=lambda: bridge.log,
    )


def _carried(here: Town) -> tuple[set[bytes], set[tuple[str, int, str]]]:
    time.sleep(0.1)
    entries = list(journal(here.root))
    native = {entry.id for entry in entries if entry.subject == here.devices[2].did}
    return native, set(sensed(entries, here.gateway))
