"""A recording handler, a source in a thread and a publisher."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from tests.brokers import Mosquitto
from verify.ingest import Downlink, Message
from verify.ingest.mqtt import MqttSource

NAME = "testnet"
KID = "00112233445566ff"
UP = f"depin/v1/{NAME}/up/{KID}"
PATIENCE = 60.0


def wait_for(condition: Callable[[], Any], what: str = "condition") -> None:
    """Poll until the condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.01)


class Recorder:
    """A handler that keeps what it was given; ``gate`` closed makes it block."""

    def __init__(self) -> None:
        self.batches: list[list[Message]] = []
        self.failures: list[Exception] = []
        self.calls = 0
        self.idles = 0
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.answer: Callable[[Message], list[Downlink]] = lambda _: []

    def commit(self, messages: Sequence[Message]) -> list[Downlink]:
        self.calls += 1
        self.entered.set()
        assert self.gate.wait(PATIENCE)
        if self.failures:
            raise self.failures.pop(0)
        self.batches.append(list(messages))
        return [downlink for message in messages for downlink in self.answer(message)]

    def idle(self, now_ms: int) -> list[Downlink]:
        self.idles += 1
        return []

    @property
    def data(self) -> list[bytes]:
        return [message.data for batch in self.batches for message in batch]


class Running:
    """A source at work."""

    def __init__(self, url: str, handler: Any, **options: Any) -> None:
        self.events: list[tuple[str, dict[str, object]]] = []
        self.stop = threading.Event()
        self.error: BaseException | None = None
        options.setdefault("client_id", "aggregator")
        options.setdefault("reconnect_min_s", 0.05)
        options.setdefault("reconnect_max_s", 0.5)
        options.setdefault("retry_s", 0.01)
        self.source = MqttSource(
            url,
            NAME,
            handler,
            on_event=lambda kind, detail: self.events.append((kind, detail)),
            **options,
        )
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.source.run(self.stop)
        except BaseException as error:
            self.error = error

    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.events]

    def subscribed(self, times: int = 1) -> None:
        wait_for(
            lambda: self.kinds().count("mqtt.subscribed") >= times or self.error, "subscription"
        )
        assert self.error is None, self.error

    def end(self) -> None:
        self.stop.set()
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()


@contextlib.contextmanager
def running(broker: Mosquitto | int, handler: Any, **options: Any) -> Iterator[Running]:
    """A subscribed source, ended at the end."""
    port = broker if isinstance(broker, int) else broker.port
    url = options.pop("url", f"mqtt://127.0.0.1:{port}")
    source = Running(url, handler, **options)
    try:
        yield source
    finally:
        handler.gate.set()
        source.end()


@contextlib.contextmanager
def publisher(broker: Mosquitto) -> Iterator[paho.Client]:
    """A connected publisher."""
    client = paho.Client(
        CallbackAPIVersion.VERSION2, client_id="", protocol=MQTTProtocolVersion.MQTTv5
    )
    client.max_queued_messages_set(0)
    client.connect(broker.host, broker.port)
    client.loop_start()
    wait_for(client.is_connected, "the publisher")
    try:
        yield client
    finally:
        client.disconnect()
        client.loop_stop()


def send(broker: Mosquitto, items: Sequence[bytes], *, topic: str = UP, **options: Any) -> None:
    """Publish with QoS 1 and wait until the broker has all of it."""
    with publisher(broker) as client:
        infos = [client.publish(topic, item, qos=1, **options) for item in items]
        for info in infos:
            info.wait_for_publish(PATIENCE)
            assert info.is_published()
