"""The demo's transport: an embedded broker on the loopback, and connections to it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion

from depin_id.envelope import MAX_BUNDLE
from depin_id.errors import ConfigError, TransportError

HOST = "127.0.0.1"
_TRIES = 10
_CONNECT_S = 30.0

Take = Callable[[bytes], None]


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class Broker:
    """An MQTT broker in a process of its own, on a free port of the loopback.

    Raises:
        ConfigError: ``demo.broker_missing``: the extra is not installed.
        TransportError: ``demo.broker``: it does not start.
    """

    def __init__(self) -> None:
        try:
            from iotcore import Broker as Embedded
        except ImportError as error:
            raise ConfigError(
                "demo.broker_missing",
                f"the demo's broker is not installed: {error}",
                hint='pip install "depin-id[demo]"',
            ) from error
        problem: Exception = OSError("no free port")
        for _ in range(_TRIES):
            self.port = _free_port()
            # Its own default would listen on all interfaces, without any authentication.
            self._embedded: Any = Embedded(
                port=self.port, listen=HOST, max_payload_size=4 * MAX_BUNDLE
            )
            try:
                self._embedded.start(timeout=30.0)
                return
            except (OSError, RuntimeError) as error:
                problem = error
        raise TransportError("demo.broker", f"the demo's broker does not start: {problem}")

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"mqtt://{HOST}:{self.port}"

    @property
    def running(self) -> bool:
        """Whether its process is alive."""
        return bool(self._embedded.is_running)

    def stop(self) -> None:
        """End it; a second call does nothing."""
        self._embedded.stop()


class Connection:
    """One connection to the broker, which may stand for many publishers.

    Args:
        port: of the broker.
        client_id: a name of its own.
    """

    def __init__(self, port: int, client_id: str) -> None:
        self._takers: dict[str, Take] = {}
        self._up = threading.Event()
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=MQTTProtocolVersion.MQTTv311,
            clean_session=True,
        )
        # Downlinks that come while a connection is restored are lost with it: so they are few.
        self._client.reconnect_delay_set(1, 2)
        self._client.on_connect = self._connected
        self._client.on_message = self._message
        try:
            self._client.connect(HOST, port, keepalive=60)
        except OSError as error:
            raise TransportError("demo.broker", f"the broker does not answer: {error}") from error
        self._client.loop_start()
        if not self._up.wait(_CONNECT_S):
            self.close()
            raise TransportError("demo.broker", "the broker does not let the demo in")

    def listen(self, topic: str, take: Take) -> None:
        """Hand every message of a topic to ``take``, in the connection's thread."""
        self._takers[topic] = take
        self._client.subscribe(topic, qos=1)

    def publish(self, topic: str, data: bytes) -> None:
        """Publish at least once (QoS 1); it is kept while the connection is away."""
        info = self._client.publish(topic, data, qos=1)
        if info.rc not in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_NO_CONN):
            raise TransportError("demo.publish", f"{topic}: {paho.error_string(info.rc)}")

    def close(self) -> None:
        """Disconnect; a second call does nothing."""
        self._client.disconnect()
        self._client.loop_stop()

    def _connected(self, client: paho.Client, *_: object) -> None:
        for topic in list(self._takers):
            client.subscribe(topic, qos=1)
        self._up.set()

    def _message(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        take = self._takers.get(message.topic)
        if take is not None:
            take(bytes(message.payload))
