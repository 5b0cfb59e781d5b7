"""From publishing an envelope to holding its acknowledgement, at a given rate.

The aggregator is `depin-verify run` in a process of its own, as in production; senders and the
broker share the machine with it.
"""

from __future__ import annotations

import signal
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.broker import client, wait_for
from bench.raw import raw_rate
from bench.table import Row, Target
from bench.world import Lab, sign
from depin_id.ack import read_ack
from depin_id.network import topics
from tests.brokers import Mosquitto
from tests.endtoend.world import aggregator_process


@contextmanager
def process(root: Path, broker: Mosquitto) -> Iterator[None]:
    """``depin-verify run``, subscribed."""
    running = aggregator_process(root, broker)
    try:
        wait_for(lambda: "mqtt.subscribed" in running.log, "the aggregator's subscription")
        yield
    finally:
        running.end(signal.SIGTERM)


def _latencies(lab: Lab) -> list[float]:
    """Milliseconds for each envelope."""
    settings = lab.settings
    signed = sign(lab.device(), settings.latency_messages, 1)
    device = signed.device
    up, down = topics(lab.network.card.name, signed.kid)
    identities = [device.identity(envelope) for envelope in signed.envelopes]
    sent: dict[bytes, float] = {}
    took: dict[bytes, float] = {}
    lock = threading.Lock()

    def heard(_client: Any, _data: Any, message: Any) -> None:
        now = time.perf_counter()
        ack = read_ack(message.payload, card=lab.network.card, recipient=device.key.thumbprint)
        with lock:
            for item in ack.items:
                took.setdefault(item.id, now - sent[item.id])

    with Mosquitto(lab.folder / "broker-latency") as broker:
        with process(lab.site([device]), broker), client(broker) as sender:
            ready = threading.Event()
            sender.on_subscribe = lambda *_: ready.set()
            sender.on_message = heard
            sender.subscribe(down, qos=1)
            wait_for(ready.is_set, "the subscription")
            start = time.perf_counter()
            for number, envelope in enumerate(signed.envelopes):
                due = start + number / settings.latency_rate
                time.sleep(max(0.0, due - time.perf_counter()))
                sent[identities[number]] = time.perf_counter()
                sender.publish(up, envelope, qos=1)
            wait_for(lambda: len(took) == len(signed.envelopes), "the last acknowledgement")
    return [1000 * seconds for seconds in took.values()]


def measure(lab: Lab) -> list[Row]:
    """Median and 99th percentile over all envelopes of one run."""
    found = sorted(_latencies(lab))
    one_verification = 1000 / raw_rate(lab.settings.raw_seconds, 1)
    p99 = found[min(len(found) - 1, int(0.99 * len(found)))]
    rate = f"{lab.settings.latency_rate:g}"
    targets = {"p50": None, "p99": Target(250, "value", at_least=False)}
    return [
        Row(
            "latency",
            f"publish to signed acknowledgement at {rate} a second, {name}",
            "ms",
            [value],
            [value / one_verification],
            "one raw verification",
            targets[name],
            more_is_better=False,
        )
        for name, value in (("p50", statistics.median(found)), ("p99", p99))
    ]
