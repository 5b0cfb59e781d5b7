"""Kill -9 at random moments under load: nothing acknowledged is lost, nothing counts twice."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from depin_id.device import Device
from depin_id.envelope import parse_envelope
from depin_id.network import NetworkCard
from depin_id.readings import reading
from depin_id.senml import Decimal64
from tests.brokers import Mosquitto, mosquitto
from tests.endtoend.world import (
    Held,
    Process,
    Publisher,
    aggregator_process,
    bridge_process,
    check_acknowledged,
    check_audit,
    check_nothing_twice,
    journal,
    make_network,
    until,
)

LIVES = 10
SEEDS = [int(seed) for seed in os.environ.get("DEPIN_KILL_SEEDS", "20261").split(",")]
"""One by default; name more for a soak."""
POLICY = 'default_profile = "noise"\n[quota]\ndevice_per_minute = 0\ngateway_per_minute = 0\n'
UNLIMITED = ("max_queued_messages 0",)
"""What the broker confirmed it must also hold while nobody fetches it."""


class Load:
    """A device that measures as fast as its messages are acknowledged, each second once."""

    def __init__(self, device: Device, card: NetworkCard, broker: Mosquitto, seed: int) -> None:
        self._device, self._card = device, card
        self._random = random.Random(seed)
        self._second = int(time.time()) - 1_000_000
        self._stop = threading.Event()
        self.sent: list[bytes] = []
        self.publisher = Publisher(device, card, broker, window=30, resend_s=1.5)
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _envelope(self) -> bytes:
        readings = []
        for _ in range(self._random.randrange(1, 4)):
            self._second += 1
            readings.append(
                reading("laeq", self._random.randrange(300, 900) / 10, "dB", self._second)
            )
        return self._device.sign(readings, network=self._card.network)

    def _work(self) -> None:
        while not self._stop.is_set():
            envelopes = [self._envelope() for _ in range(self._random.randrange(1, 5))]
            ids = [
                parse_envelope(data).verify(self._card.network, self._device.public_key)
                for data in envelopes
            ]
            self.sent += ids
            payload = b"".join(envelopes)
            while not self.publisher.send(payload, ids, wait_s=0.2):
                if self._stop.is_set():
                    # Signed and never handed over: the next positions are missing for good.
                    del self.sent[-len(ids) :]
                    return

    def stop(self) -> None:
        """Measure no more; what is under way is still sent again."""
        self._stop.set()
        self._thread.join()

    def close(self) -> None:
        self.stop()
        self.publisher.close()

    def __enter__(self) -> Load:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _acknowledged(loads: list[Load]) -> int:
    return sum(len(load.publisher.acknowledged) for load in loads)


@pytest.mark.parametrize("seed", SEEDS)
def test_aggregator_killed_ten_times_under_load(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    print(f"\nseed {seed}")
    with ExitStack() as stack:
        devices = [
            stack.enter_context(Device.create(tmp_path / f"device-{number}", profile="noise"))
            for number in range(3)
        ]
        root, card = make_network(tmp_path, *(d.enrolment for d in devices), policy=POLICY)
        broker = stack.enter_context(mosquitto(tmp_path, extra=UNLIMITED))
        process = stack.enter_context(aggregator_process(root, broker))
        until(lambda: "mqtt.subscribed" in process.log, "subscription", process=process)
        loads = [
            stack.enter_context(Load(device, card, broker, dice.randrange(1 << 30)))
            for device in devices
        ]
        moments: Counter[str] = Counter()
        for life in range(LIVES):
            moments[_kill_somewhere(process, loads, dice, early=life % 3 == 2)] += 1
            process = stack.enter_context(aggregator_process(root, broker))
        for load in loads:
            load.stop()
        until(
            lambda: not any(load.publisher.unanswered for load in loads),
            "the last acknowledgement",
            process=process,
        )
        until(lambda: "mqtt.subscribed" in process.log, "subscription", process=process)
        process.finish()
        entries = list(journal(root))
        check_nothing_twice(entries)
        for load in loads:
            check_acknowledged(entries, load.publisher)
            assert set(load.publisher.acknowledged) == set(load.sent)
        assert {entry.code for entry in entries} == {"accepted"}
        assert {row.code for entry in entries for row in entry.rows} == {""}
        assert {entry.id for entry in entries} == {i for load in loads for i in load.sent}
        check_audit(root)
        print(
            f"killed {dict(moments)}; {len(entries)} envelopes, "
            f"{sum(load.publisher.resent for load in loads)} messages resent"
        )


def _kill_somewhere(
    process: Process, loads: list[Load], dice: random.Random, *, early: bool
) -> str:
    """Kill it while it starts, or after some acknowledgements and a moment more."""
    if early:
        deadline = time.monotonic() + dice.uniform(0.0, 1.0)
        until(lambda: time.monotonic() > deadline, "the moment")
        where = "working" if "committed" in process.log else "starting"
    else:
        wanted = _acknowledged(loads) + dice.randrange(1, 300)
        until(lambda: _acknowledged(loads) >= wanted, "load", process=process)
        deadline = time.monotonic() + dice.uniform(0.0, 0.06)
        until(lambda: time.monotonic() > deadline, "the moment")
        where = "working"
    assert process.running, process.log[-4000:]
    process.kill()
    return where


# --- the bridge -----------------------------------------------------------------------------------

SENSORS = ("attic", "cellar", "roof")
SOURCES = """
[[source]]
kind = "native_mqtt"
name = "natives"
topic = "site/envelopes/+"
url = "{url}"
[[source]]
kind = "mqtt_json"
name = "json"
topic = "tele/{{sensor}}/STATE"
url = "{url}"
time = "at"
[[source.reading]]
path = "laeq"
name = "laeq"
unit = "dB"
"""


def write_bridge(folder: Path, broker: Mosquitto) -> Path:
    """A configuration with both kinds of devices, beside the gateway's device."""
    url = f"mqtt://127.0.0.1:{broker.port}"
    config = folder / "bridge.toml"
    config.write_text(
        '[bridge]\ndevice = "gateway"\ncard = "net/card.cbor"\nspool = "bridge.spool"\n'
        f'batch_age = 0.1\n[uplink]\nurl = "{url}"\nack_timeout = 1.0\nretry_most = 0.5\n'
        + SOURCES.format(url=url)
    )
    return config


class Site:
    """A device that signs and sensors that cannot; all of them say each thing once.

    Attributes:
        native: ids of the envelopes that the broker confirmed.
        sensed: (sensor, second, value) of the messages that the broker confirmed.
    """

    def __init__(self, device: Device, card: NetworkCard, broker: Mosquitto, seed: int) -> None:
        self._device, self._card = device, card
        self._random = random.Random(seed)
        self._second = int(time.time()) - 1_000_000
        self._handed: dict[int, bytes | tuple[str, int, str]] = {}
        # Written by the client's thread alone; no lock, for it calls back under its own.
        self._confirmed: set[int] = set()
        client = paho.Client(
            CallbackAPIVersion.VERSION2, "site", protocol=MQTTProtocolVersion.MQTTv5
        )
        client.on_publish = lambda _, __, mid, *___: self._confirmed.add(mid)
        client.connect("127.0.0.1", broker.port)
        client.loop_start()
        self._client = client

    def _publish(self, topic: str, payload: bytes, what: bytes | tuple[str, int, str]) -> None:
        self._handed[self._client.publish(topic, payload, qos=1).mid] = what

    def speak(self, times: int) -> None:
        """So many messages of each kind."""
        for _ in range(times):
            self._second += 1
            level = Decimal64(self._random.randrange(300, 900), -1)
            data = self._device.sign(
                [reading("laeq", level, "dB", self._second)], network=self._card.network
            )
            identity = parse_envelope(data).verify(self._card.network, self._device.public_key)
            self._publish("site/envelopes/meter", data, identity)
            sensor = self._random.choice(SENSORS)
            message = f'{{"at": {self._second}, "laeq": {level}}}'
            self._publish(
                f"tele/{sensor}/STATE", message.encode(), (sensor, self._second, str(level))
            )

    @property
    def waiting(self) -> int:
        """Messages that the broker has not confirmed."""
        return len(self._handed) - len(self._confirmed)

    @property
    def native(self) -> set[bytes]:
        return {what for what in self._handed.values() if isinstance(what, bytes)}

    @property
    def sensed(self) -> set[tuple[str, int, str]]:
        return {what for what in self._handed.values() if isinstance(what, tuple)}

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _sensed(entries: list[Held], gateway: str) -> Counter[tuple[str, int, str]]:
    """What counts of the gateway's sensors: (sensor, second, value)."""
    return Counter(
        (row.subject.removeprefix(f"{gateway}#"), row.time_ms // 1000, row.value)
        for entry in entries
        if entry.subject.startswith(f"{gateway}#")
        for row in entry.rows
        if not row.code
    )


def _taken_in(process: Process) -> int:
    """How many envelopes the aggregator says it has accepted."""
    count = 0
    for line in process.log.splitlines():
        if '"committed"' in line and line.endswith("}"):
            event = json.loads(line)
            count += event["accepted"] + event["sightings"]
    return count


@pytest.mark.parametrize("seed", SEEDS)
def test_bridge_killed_ten_times_under_load(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    print(f"\nseed {seed}")
    with ExitStack() as stack:
        device = stack.enter_context(Device.create(tmp_path / "device", profile="noise"))
        with Device.create(tmp_path / "gateway", role="gateway") as made:
            gateway = made.enrolment
        root, card = make_network(tmp_path, device.enrolment, gateway, policy=POLICY)
        broker = stack.enter_context(mosquitto(tmp_path, extra=UNLIMITED))
        config = write_bridge(tmp_path, broker)
        aggregator = stack.enter_context(aggregator_process(root, broker))
        bridge = stack.enter_context(bridge_process(config))
        until(lambda: "mqtt.subscribed" in aggregator.log, "subscription")
        # Once, so that the broker holds the sessions before the first message.
        until(lambda: bridge.log.count("connected, MQTT") == 3, "bridge", process=bridge)
        site = stack.enter_context(Site(device, card, broker, dice.randrange(1 << 30)))
        for life in range(LIVES):
            _kill_bridge(bridge, aggregator, site, dice, early=life % 3 == 2)
            bridge = stack.enter_context(bridge_process(config))
        until(lambda: not site.waiting, "the broker's last answer")
        native, sensed = site.native, site.sensed

        def missing() -> int:
            entries = list(journal(root))
            found = {entry.id for entry in entries if entry.code == "accepted"}
            return len(native - found) + len(sensed - set(_sensed(entries, gateway.did)))

        until(lambda: not missing(), "the last reading", log=lambda: f"{missing()}\n{bridge.log}")
        # While it starts, a signal would end it as it ends any process.
        until(lambda: "connected, MQTT" in bridge.log, "bridge", process=bridge)
        bridge.finish()
        aggregator.finish()
        entries = list(journal(root))
        check_nothing_twice(entries)
        assert _sensed(entries, gateway.did) == Counter(sensed)
        assert {e.id for e in entries if e.subject == device.did} == native
        assert {entry.code for entry in entries} == {"accepted"}
        # A message that the bridge took twice is signed twice, and counts once.
        codes = Counter(row.code for entry in entries for row in entry.rows)
        assert set(codes) <= {"", "record.repeated"}
        assert codes[""] == len(native) + len(sensed) == LIVES * 80
        check_audit(root)
        print(
            f"{len(native)} envelopes and {len(sensed)} messages handed over; {dict(codes)}; "
            f"{sum(entry.sighting for entry in entries)} sightings"
        )


def _kill_bridge(
    bridge: Process, aggregator: Process, site: Site, dice: random.Random, *, early: bool
) -> None:
    """Kill it while it starts, or once something of what it carries has arrived."""
    before = _taken_in(aggregator)
    site.speak(40)
    wait_s = dice.uniform(0.0, 0.7) if early else dice.uniform(0.0, 0.06)
    if not early:
        wanted = before + dice.randrange(1, 60)
        until(lambda: _taken_in(aggregator) >= wanted, "load", process=bridge)
    deadline = time.monotonic() + wait_s
    until(lambda: time.monotonic() > deadline, "the moment")
    assert bridge.running, bridge.log[-4000:]
    bridge.kill()
