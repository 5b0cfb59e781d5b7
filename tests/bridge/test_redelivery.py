"""What a broker delivers again after a reconnect was handed over once, and is answered."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from firmware_bridge.backoff import Backoff
from firmware_bridge.mqtt import Connection, Message, Session, Subscription
from firmware_bridge.options import MqttOptions
from tests.bridge.world import until
from tests.brokers import mosquitto


class _Handler:
    """Keeps messages; answers them when told to, those of ``late`` while there is no connection."""

    def __init__(self) -> None:
        self.session: Session | None = None
        self.messages: list[Message] = []
        self.late: list[Message] = []

    def on_up(self, session: Session) -> None:
        self.session = session

    def on_message(self, message: Message) -> None:
        self.messages.append(message)

    def on_down(self) -> None:
        self.session = None
        for message in self.late:
            message.done()

    def tick(self) -> float:
        return 0.1

    def payloads(self) -> list[int]:
        return [int(message.payload) for message in list(self.messages)]


def test_a_connection_that_is_cut_repeats_no_reading(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as broker:
        options = MqttOptions.from_url(f"mqtt://127.0.0.1:{broker.port}")
        handler, stop = _Handler(), threading.Event()
        kept = Subscription(("s/+",), "bridge", keep=True)
        connection = Connection(options, kept, handler, backoff=Backoff(0.05, 0.05))
        thread = threading.Thread(target=connection.run, args=(stop,))
        thread.start()
        client = paho.Client(CallbackAPIVersion.VERSION2, "sensor")
        client.connect("127.0.0.1", broker.port)
        client.loop_start()

        def say(*numbers: int) -> None:
            for number in numbers:
                client.publish("s/a", str(number), qos=1)
            until(lambda: numbers[-1] in handler.payloads(), "what was said")

        def cut() -> None:
            connects, session = connection.connects, until(lambda: handler.session)
            sock = session.client.socket()
            assert isinstance(sock, socket.socket)
            sock.shutdown(socket.SHUT_RDWR)
            until(lambda: connection.connects > connects, "the reconnect")

        try:
            until(lambda: connection.up, "the connection")
            say(0, 1, 2)
            handler.late = handler.messages[:2]
            cut()
            say(3)
            cut()
            say(4)
            # The same words again are another reading: only what the broker sent before is not.
            client.publish("s/a", "4", qos=1)
            until(lambda: len(handler.messages) >= 6, "the same again")
            assert handler.payloads() == [0, 1, 2, 3, 4, 4]
            for message in handler.messages[2:]:
                message.done()
            # All are answered, so a session that is taken over has nothing left to deliver.
            until(lambda: not connection._answers._due, "the answers")
            cut()
            say(5)
            handler.messages[-1].done()
            until(lambda: not connection._answers._due, "the last answer")
        finally:
            stop.set()
            connection.wake()
            thread.join(30)
        left: list[bytes] = []
        other = paho.Client(CallbackAPIVersion.VERSION2, "bridge", clean_session=False)
        other.on_message = lambda _, __, message: left.append(bytes(message.payload))
        other.connect("127.0.0.1", broker.port)
        other.loop_start()
        client.publish("s/a", "6", qos=1)
        until(lambda: b"6" in left, "what comes next")
        for one in (client, other):
            one.disconnect()
            one.loop_stop()
    assert left == [b"6"] and handler.payloads() == [0, 1, 2, 3, 4, 4, 5]
