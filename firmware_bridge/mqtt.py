"""One MQTT connection that keeps itself up: MQTT 5, else 3.1.1; subscribe first, then the rest.

Everything happens in the one thread that calls :meth:`Connection.run`; other threads hand it work
with :meth:`Connection.post`.
"""

from __future__ import annotations

import collections
import contextlib
import logging
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from depin_id.envelope import MAX_BUNDLE
from depin_id.errors import TransportError
from firmware_bridge.answers import Answers
from firmware_bridge.backoff import Backoff
from firmware_bridge.options import MqttOptions

log = logging.getLogger("depin_bridge.mqtt")

MAX_INCOMING = MAX_BUNDLE + 4096
"""The largest packet we let a broker send us (MQTT 5), in bytes."""
_SESSION_SECONDS = 7 * 86_400
_SETTLE_SECONDS = 2.0
_STEADY_SECONDS = 10.0
"""A connection that lasted this long was a good one: the next wait is short again."""


@dataclass(frozen=True)
class Message:
    """An incoming message; ``done`` answers it (QoS 1) and may be called from any thread."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    done: Callable[[], None]


@dataclass(frozen=True)
class Session:
    """A connection that is up and subscribed.

    Attributes:
        max_packet: the largest packet the broker takes, in bytes; None when it did not say.
        receive_maximum: how many unanswered messages the broker takes.
        protocol: ``5`` or ``3.1.1``.
    """

    client: paho.Client
    max_packet: int | None
    receive_maximum: int
    protocol: str

    def publish(self, topic: str, payload: bytes) -> None:
        """Hand a QoS 1 message over. Raises TransportError ``mqtt.publish``."""
        try:
            result = self.client.publish(topic, payload, qos=1)
        except (ValueError, OSError, RuntimeError) as error:
            raise TransportError("mqtt.publish", str(error)) from error
        if result.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise TransportError("mqtt.publish", paho.error_string(result.rc))


class Handler(Protocol):
    """Who uses a connection; all of it is called in the connection's thread."""

    def on_up(self, session: Session) -> None:
        """Connected and subscribed."""

    def on_message(self, message: Message) -> None:
        """A message came in."""

    def on_down(self) -> None:
        """The connection is gone."""

    def tick(self) -> float:
        """Called often while up; gives the seconds after which it wants to be called again."""


@dataclass(frozen=True)
class Subscription:
    """What a connection asks for, and how.

    Attributes:
        topics: filters, all with ``qos``.
        client_id: the name of the session at the broker.
        keep: let the broker keep the session (and what it holds for us) while we are away.
        receive_maximum: unanswered messages we take at a time (MQTT 5).
    """

    topics: tuple[str, ...]
    client_id: str
    qos: int = 1
    keep: bool = False
    receive_maximum: int = 100


class Connection:
    """Keeps one connection up until told to stop."""

    def __init__(
        self,
        options: MqttOptions,
        subscription: Subscription,
        handler: Handler,
        *,
        backoff: Backoff | None = None,
    ) -> None:
        self._options = options
        self._subscription = subscription
        self._handler = handler
        self._backoff = backoff or Backoff()
        self._protocol = MQTTProtocolVersion.MQTTv5
        self._posted: collections.deque[Callable[[], None]] = collections.deque()
        self._answers = Answers()
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)
        self._answered = self._up = False
        self.problem = ""
        """Why the last try failed, for people; empty while up."""
        self.connects = 0

    @property
    def up(self) -> bool:
        """Whether it is connected and subscribed."""
        return self._up

    def post(self, work: Callable[[], None]) -> None:
        """Have ``work`` done in the connection's thread, soon; from any thread."""
        self._posted.append(work)
        self.wake()

    def wake(self) -> None:
        """Have :meth:`Handler.tick` called now; from any thread."""
        with contextlib.suppress(OSError):
            self._wake_write.send(b"\0")

    def run(self, stop: threading.Event) -> None:
        """Connect, and again whenever the connection is lost, until ``stop`` is set."""
        try:
            while not stop.is_set():
                protocol = self._protocol
                self._answered = False
                began = time.monotonic()
                try:
                    self._session(stop)
                finally:
                    if self._up:
                        self._up = False
                        self._handler.on_down()
                if stop.is_set():
                    return
                if time.monotonic() - began > _STEADY_SECONDS:
                    self._backoff.reset()
                if protocol is not self._protocol and protocol is MQTTProtocolVersion.MQTTv5:
                    continue  # the older protocol is tried at once
                delay = self._backoff.next()
                log.warning("%r: %s; again in %.1f s", self._options, self.problem, delay)
                stop.wait(delay)
        finally:
            self._wake_read.close()
            self._wake_write.close()

    def _client(self) -> paho.Client:
        five = self._protocol is MQTTProtocolVersion.MQTTv5
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._subscription.client_id,
            clean_session=None if five else not self._subscription.keep,
            protocol=self._protocol,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.connect_timeout = self._options.connect_timeout
        client.max_queued_messages_set(1000)
        if self._options.context is not None:
            client.tls_set_context(self._options.context)
        if self._options.username is not None:
            client.username_pw_set(self._options.username, self._options.password)
        # Registered, so that paho never writes from inside a call: this thread writes.
        client.on_socket_register_write = lambda *_: None
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_disconnect = self._on_disconnect
        self._answers.begin(client)
        return client

    def _session(self, stop: threading.Event) -> None:
        client = self._client()
        self.problem = "the broker closed the connection"
        connected = False
        try:
            self._connect(client)
            connected = True
            self._pump(client, stop)
        except Exception as error:
            # A hostile broker can make the client library raise nearly anything.
            self.problem = f"{type(error).__name__}: {error}"
            log.debug("connection lost", exc_info=True)
        finally:
            with contextlib.suppress(Exception):
                client.on_disconnect = None
                client.disconnect()
                client.loop_write()
        if connected and not self._answered:
            self._other_protocol()

    def _connect(self, client: paho.Client) -> None:
        options, subscription = self._options, self._subscription
        if self._protocol is not MQTTProtocolVersion.MQTTv5:
            client.connect(options.host, options.port, options.keepalive)
            return
        make_properties: Callable[[int], Properties] = Properties
        properties = make_properties(PacketTypes.CONNECT)
        properties.ReceiveMaximum = subscription.receive_maximum
        properties.MaximumPacketSize = MAX_INCOMING
        if subscription.keep:
            properties.SessionExpiryInterval = _SESSION_SECONDS
        client.connect(
            options.host,
            options.port,
            options.keepalive,
            clean_start=not subscription.keep,
            properties=properties,
        )

    def _other_protocol(self) -> None:
        five = self._protocol is MQTTProtocolVersion.MQTTv5
        self._protocol = MQTTProtocolVersion.MQTTv311 if five else MQTTProtocolVersion.MQTTv5

    def _pump(self, client: paho.Client, stop: threading.Event) -> None:
        poll = select.poll()
        poll.register(self._wake_read, select.POLLIN)
        deadline = time.monotonic() + self._options.connect_timeout
        while not stop.is_set():
            if not self._up and time.monotonic() > deadline:
                self.problem = "the broker did not answer in time"
                return
            self._do_posted()
            wait = min(1.0, self._handler.tick()) if self._up else 0.2
            sock = client.socket()
            if not isinstance(sock, socket.socket):
                return
            pending = isinstance(sock, ssl.SSLSocket) and sock.pending() > 0
            poll.register(sock, select.POLLIN | (select.POLLOUT if client.want_write() else 0))
            try:
                events = dict(poll.poll(0 if pending else max(0, wait) * 1000))
            finally:
                poll.unregister(sock)
            self._step(client, pending or bool(events.get(sock.fileno(), 0) & ~select.POLLOUT))
        self._settle(client)

    def _settle(self, client: paho.Client) -> None:
        """Have the broker take our last answers in before the connection is closed.

        What comes meanwhile is not answered and comes again. A socket that is closed over unread
        messages would take the answers with it; an UNSUBSCRIBE is answered after they are read.
        """
        client.on_message = None
        self._do_posted()
        if not (self._up and self._subscription.keep):
            return
        settled: list[bool] = []
        client.on_unsubscribe = lambda *_: settled.append(True)
        client.unsubscribe("depin/settled")
        deadline = time.monotonic() + _SETTLE_SECONDS
        while not settled and client.is_connected() and time.monotonic() < deadline:
            client.loop_write()
            sock = client.socket()
            if not isinstance(sock, socket.socket):
                return
            if not (isinstance(sock, ssl.SSLSocket) and sock.pending()):
                select.select([sock], [], [], 0.05)
            client.loop_read()

    def _step(self, client: paho.Client, readable: bool) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wake_read.recv(4096)
        if readable:
            client.loop_read()
        if client.want_write():
            client.loop_write()
        client.loop_misc()

    def _do_posted(self) -> None:
        while self._posted:
            self._posted.popleft()()

    def _on_connect(
        self,
        client: paho.Client,
        userdata: Any,
        flags: paho.ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            self.problem = f"the broker refused us: {reason}"
            self._answered = "protocol version" not in str(reason).lower()
            return
        self._answered = True
        self._limits = properties
        client.subscribe([(topic, self._subscription.qos) for topic in self._subscription.topics])

    def _on_subscribe(
        self,
        client: paho.Client,
        userdata: Any,
        mid: int,
        reasons: list[ReasonCode],
        properties: Properties | None,
    ) -> None:
        if any(reason.is_failure for reason in reasons):
            self.problem = f"the broker refused {self._subscription.topics}: {reasons[0]}"
            client.disconnect()
            return
        self._up = True
        self.problem = ""
        self.connects += 1
        five = self._protocol is MQTTProtocolVersion.MQTTv5
        limits = self._limits
        session = Session(
            client,
            getattr(limits, "MaximumPacketSize", None),
            int(getattr(limits, "ReceiveMaximum", 65_535)),
            "5" if five else "3.1.1",
        )
        log.info("%r: connected, MQTT %s", self._options, session.protocol)
        self._handler.on_up(session)

    _limits: Properties | None = None

    def _on_message(self, client: paho.Client, userdata: Any, message: paho.MQTTMessage) -> None:
        qos = message.qos
        # The bytes of the topic: they need not be text.
        answer, again = self._answers.meet(message, message._topic) if qos else (None, False)

        def done() -> None:
            if answer is not None:
                self.post(lambda: self._answers.ready(answer))

        if again:
            log.debug("%r: message %d was handed over before", self._options, message.mid)
            return
        try:
            topic = message.topic
        except UnicodeDecodeError:
            done()
            return
        self._handler.on_message(
            Message(topic, bytes(message.payload), qos, bool(message.retain), done)
        )

    def _on_disconnect(
        self,
        client: paho.Client,
        userdata: Any,
        flags: paho.DisconnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if self._up or not self.problem:
            self.problem = f"disconnected: {reason}"
