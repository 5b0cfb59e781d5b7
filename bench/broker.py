"""Through a real mosquitto, acknowledged to it after the commit."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from bench.settings import BUNDLE
from bench.table import Row, Target
from bench.world import BenchError, Lab, count, feed, messages
from depin_id.network import topics
from tests.brokers import Mosquitto
from verify.aggregator import Aggregator
from verify.ingest import Downlink, Message
from verify.ingest.mqtt import MqttSource
from verify.service import LiveHandler

PATIENCE = 60.0
RECEIVE_MAXIMUM = 1_000
"""What the aggregator asks for unless told otherwise."""
QUEUE = ("max_queued_messages 0", "max_queued_bytes 0")
"""The broker holds everything for an aggregator that is away: by default it keeps 1,000."""


def wait_for(condition: Any, what: str) -> None:
    """Poll until it holds; raise BenchError after a minute."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise BenchError(f"waited in vain for {what}")
        time.sleep(0.002)


class Counting(LiveHandler):
    """Knows how many messages its largest commit had, which shows what was really under way."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, lambda _kind, _detail: None)
        self.largest = 0

    def commit(self, messages: Sequence[Message]) -> Sequence[Downlink]:
        """Commit a batch."""
        self.largest = max(self.largest, len(messages))
        return super().commit(messages)


@contextmanager
def running(
    lab: Lab, broker: Mosquitto, root: Path, receive_maximum: int = RECEIVE_MAXIMUM
) -> Iterator[tuple[MqttSource, Counting]]:
    """A live aggregator on this broker, in a thread, as ``depin-verify run`` has it.

    The broker's own limit of 20 does not count here: mosquitto follows the receive maximum that an
    MQTT 5 client asks for, and goes beyond it once acknowledgements flow (see the rows' notes).
    """
    handler = Counting(root)
    connected = threading.Event()

    def heard(kind: str, _detail: dict[str, object]) -> None:
        if kind == "mqtt.subscribed":
            connected.set()

    source = MqttSource(
        f"mqtt://{broker.host}:{broker.port}",
        lab.network.card.name,
        handler,
        client_id="bench-aggregator",
        receive_maximum=receive_maximum,
        on_event=heard,
    )
    stop, errors = threading.Event(), list[BaseException]()

    def run() -> None:
        try:
            source.run(stop)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        wait_for(lambda: connected.is_set() or errors, "the aggregator's connection")
        yield source, handler
    finally:
        stop.set()
        thread.join(PATIENCE)
        handler.close()
    if errors:
        raise BenchError(f"the aggregator ended: {errors[0]}")


@contextmanager
def client(broker: Mosquitto) -> Iterator[paho.Client]:
    """A connected client with room for everything it is asked to publish."""
    made = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    made.max_inflight_messages_set(200)
    made.max_queued_messages_set(0)
    made.connect(broker.host, broker.port)
    made.loop_start()
    try:
        wait_for(made.is_connected, "the publisher's connection")
        yield made
    finally:
        made.disconnect()
        made.loop_stop()


def _publish(lab: Lab, broker: Mosquitto, found: Sequence[Message]) -> None:
    name = lab.network.card.name
    with client(broker) as publisher:
        sent = [
            publisher.publish(topics(name, bytes.fromhex(m.principal))[0], m.data, qos=1)
            for m in found
        ]
        wait_for(lambda: all(one.is_published() for one in sent), "the broker to take all")


def _through_broker(
    lab: Lab, broker: Mosquitto, found: Sequence[Message], root: Path, receive_maximum: int
) -> tuple[float, int]:
    """Seconds from connecting to the last commit, and the largest commit in messages.

    The messages wait in the broker before, so a publisher in Python takes nothing from it.
    """
    with running(lab, broker, root, receive_maximum):
        pass
    _publish(lab, broker, found)
    start = time.perf_counter()
    with running(lab, broker, root, receive_maximum) as (source, handler):
        wait_for(lambda: source.counts.get("committed", 0) >= len(found), "the last commit")
        return time.perf_counter() - start, handler.largest


def _compare(lab: Lab, what: str, receive_maximum: int, per_message: int, target: Target) -> Row:
    """Envelopes a second through the broker, and each as a ratio to the same through files."""
    settings = lab.settings
    envelopes = settings.messages if per_message == 1 else settings.singles
    signed = lab.signed(settings.senders, envelopes, 1)
    found = messages(signed, per_message)
    devices = [one.device for one in signed]
    values, ratios, largest = [], [], 0
    for number in range(min(3, settings.runs)):
        folder = lab.folder / f"broker-{receive_maximum}-{per_message}-{number}"
        root = lab.site(devices)
        with Mosquitto(folder, extra=QUEUE) as broker:
            took, most = _through_broker(lab, broker, found, root, receive_maximum)
        with Aggregator(lab.site(devices)) as aggregator:
            # Commits as large as those through the broker, or their size would be compared.
            start = time.perf_counter()
            feed(aggregator, found, most)
            by_file = count(signed) / (time.perf_counter() - start)
        with Aggregator(root) as aggregator:
            if aggregator.fold.tally.readings != count(signed):
                raise BenchError("not everything arrived through the broker")
        values.append(count(signed) / took)
        ratios.append(values[-1] / by_file)
        largest = max(largest, most)
    return Row(
        "broker",
        f"through mosquitto, {what}, receive maximum {receive_maximum:,}",
        "/s",
        values,
        ratios,
        "through files, to commit",
        target,
        note=f"at most {largest} messages in a commit",
    )


def measure(lab: Lab) -> list[Row]:
    """One-reading envelopes one a message and in bundles; small and large receive maximum."""
    bundles = f"bundles of {BUNDLE}"
    return [
        _compare(lab, "one a message", 20, 1, Target(0.5)),
        _compare(lab, "one a message", RECEIVE_MAXIMUM, 1, Target(0.5)),
        _compare(lab, bundles, 20, BUNDLE, Target(0.9)),
        _compare(lab, bundles, RECEIVE_MAXIMUM, BUNDLE, Target(0.9)),
    ]
