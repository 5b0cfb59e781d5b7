"""One MQTT client and its connection: all calls into paho come from one thread.

The thread connects, reads into the inbox while that has room, and carries out what the committing
thread asks for: acknowledgements and downlinks. Reading stops when the inbox is full; the broker
then runs into its in-flight limit and TCP into its window.
"""

from __future__ import annotations

import random
import selectors
import socket
import ssl
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from depin_id.errors import DepinError, TransportError
from verify.ingest import Message
from verify.ingest.inbox import Arrival, Inbox
from verify.ingest.outgoing import Outgoing
from verify.ingest.session import LinkOptions, connect_properties, judge, new_client, part

OnEvent = Callable[[str, dict[str, object]], None]

KEEPALIVE_S = 30
CONNECT_S = 15.0
STABLE_S = 10.0
FAREWELL_S = 2.0
_POLL_S = 0.5
_TAKEN_S = 0.001
_READS = 64
_UNSUPPORTED = "Unsupported protocol version"
_DENIED = {"Not authorized", "Bad user name or password", "Bad authentication method", "Banned"}
_OTHER = {
    MQTTProtocolVersion.MQTTv5: MQTTProtocolVersion.MQTTv311,
    MQTTProtocolVersion.MQTTv311: MQTTProtocolVersion.MQTTv5,
}


class Link:
    """The connection to a broker, kept up by a thread of its own.

    Args:
        options: where, as whom, what.
        clock: receipt time, milliseconds since 1970.
        on_event: called from the link's thread with a kind and details.
        inbox: where to put what arrives; reading stops while it is full.
    """

    def __init__(
        self,
        options: LinkOptions,
        clock: Callable[[], int],
        on_event: OnEvent,
        inbox: Inbox,
    ) -> None:
        self._options = options
        self._clock = clock
        self._on_event = on_event
        self.inbox = inbox
        inbox.on_room = self._wake
        self.counts: Counter[str] = Counter()
        self.error: DepinError | None = None
        self._commands: deque[Callable[[], None]] = deque()
        self._wake_r, self._wake_w = socket.socketpair()
        self._wake_r.setblocking(False)
        self._wake_w.setblocking(False)
        self._stopping = threading.Event()
        self._outgoing = Outgoing(lambda: self.alive)
        self._random = random.Random()
        self._generation = 0
        self._connected = False
        self._ever = False
        self._answered = self._reached = False
        self._reason = ""
        self._closed_early = 0
        self._source = str(options.address)
        v5 = options.protocol != "3.1.1"
        self._version = MQTTProtocolVersion.MQTTv5 if v5 else MQTTProtocolVersion.MQTTv311
        self._client = self._new_client()
        self._thread = threading.Thread(target=self._main, name="mqtt-link", daemon=True)

    # --- for the committing thread --------------------------------------------------------------

    def start(self) -> None:
        """Start connecting; errors that end the link are kept in ``error``."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Carry out what was asked for, disconnect, end the thread."""
        self._stopping.set()
        self._wake()
        self._thread.join(timeout_s)
        if not self.alive:
            self._wake_r.close()
            self._wake_w.close()

    @property
    def alive(self) -> bool:
        """Whether the thread is at work."""
        return self._thread.is_alive()

    @property
    def connected(self) -> bool:
        """Whether the broker has let us in."""
        return self._connected

    def acknowledge(self, arrivals: Iterable[Arrival]) -> None:
        """Acknowledge in the order given; what came by an earlier connection is left alone."""
        batch = [(item.connection, item.mid) for item in arrivals if item.mid]
        self._ask(lambda: self._send_acknowledgements(batch))

    def publish(self, topic: str, data: bytes, *, limit: int, deadline: float) -> bool:
        """Publish, not retained; waits while ``limit`` others are under way.

        Gives False, and publishes nothing, when there is no room before ``deadline`` (monotonic
        seconds).
        """
        qos = self._outgoing.begin(limit, deadline)
        if qos is None or (not qos and not self._has_room(limit, deadline)):
            return False
        self._ask(lambda: self._send_publish(topic, data, qos))
        return True

    def _has_room(self, limit: int, deadline: float) -> bool:
        """Whether the thread takes what waits to be sent; it does so while nothing is read too."""
        while len(self._commands) >= limit:
            if time.monotonic() >= deadline or self.error is not None or self._stopping.is_set():
                return False
            time.sleep(_TAKEN_S)
        return True

    def drain(self, deadline: float) -> bool:
        """Wait until the broker has taken all downlinks; False when it has not by then."""
        return self._outgoing.drain(deadline)

    def _ask(self, command: Callable[[], None]) -> None:
        self._commands.append(command)
        self._wake()

    def _wake(self) -> None:
        # A full buffer wakes the thread as well; a closed one has nobody to wake.
        with suppress(OSError):
            self._wake_w.send(b"\0")

    # --- the thread -----------------------------------------------------------------------------

    def _main(self) -> None:
        try:
            self._keep_connected()
        except DepinError as error:
            self.error = error
        except Exception as error:
            self.error = TransportError("transport.mqtt", f"{self._source}: {error!r}")
        finally:
            self.inbox.interrupt()

    def _keep_connected(self) -> None:
        attempt = 0
        while not self._stopping.is_set():
            began = time.monotonic()
            reason = self._one_connection()
            if self.error is not None:
                return
            if self._stopping.is_set():
                return
            attempt = 0 if self._answered and time.monotonic() - began > STABLE_S else attempt + 1
            bound = self._options.reconnect_min_s * 2 ** min(attempt - 1 if attempt else 0, 16)
            delay = min(bound, self._options.reconnect_max_s) * self._random.uniform(0.5, 1.0)
            self._event("mqtt.disconnected", reason=reason, retry_in_s=round(delay, 3))
            self._adapt_version()
            self._stopping.wait(delay)

    def _adapt_version(self) -> None:
        """Old brokers close the connection on an MQTT 5 CONNECT: try the other version in turn."""
        self._closed_early = 0 if self._answered else self._closed_early + 1
        if self._options.protocol == "auto" and self._closed_early >= 2 and self._reached:
            self._switch(_OTHER[self._version])

    def _switch(self, version: MQTTProtocolVersion) -> None:
        self._version, self._closed_early = version, 0
        self._client = self._new_client()
        self._outgoing.forget()
        self._event("mqtt.version", protocol="5" if self._v5 else "3.1.1")

    @property
    def _v5(self) -> bool:
        return self._version is MQTTProtocolVersion.MQTTv5

    def _one_connection(self) -> str:
        """Connect and serve until the connection ends; gives the reason."""
        self._generation += 1
        self._connected = self._answered = self._reached = False
        self._reason = "the connection was lost"
        self.inbox.reconnected()
        try:
            self._connect()
            self._reached = True
            self._serve()
        except ssl.SSLCertVerificationError as error:
            if not self._ever:
                raise TransportError(
                    "transport.tls",
                    f"{self._source}: {error}",
                    hint="check the authorities' file, the host name and the client's certificate",
                ) from error
            self._reason = str(error)
        except OSError as error:
            self._reason = error.strerror or str(error)
        except DepinError:
            raise
        except Exception as error:  # a broker that sends what paho cannot read
            self._reason = f"malformed packet: {error!r}"
        finally:
            part(self._client, FAREWELL_S if self._stopping.is_set() else 0.0)
            self._connected = False
        return self._reason

    def _connect(self) -> None:
        options = self._options
        properties = connect_properties(options) if self._v5 else None
        extra: dict[str, Any] = {"clean_start": False, "properties": properties} if self._v5 else {}
        self._client.connect(options.address.host, options.address.port, KEEPALIVE_S, **extra)

    def _serve(self) -> None:
        client = self._client
        give_up = time.monotonic() + CONNECT_S
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake_r, selectors.EVENT_READ)
            sock = client.socket()
            events = 0
            while sock is not None and client.socket() is sock:
                wanted = self._wanted()
                if wanted != events:
                    _watch(selector, sock, events, wanted)
                    events = wanted
                pending = events & selectors.EVENT_READ and getattr(sock, "pending", int)()
                ready = {key.fileobj for key, _ in selector.select(0 if pending else _POLL_S)}
                if self._wake_r in ready:
                    with suppress(BlockingIOError):
                        self._wake_r.recv(4096)
                if events & selectors.EVENT_READ and (pending or sock in ready):
                    if not self._read():
                        return
                self._run_commands()
                if client.want_write() and client.loop_write() != MQTTErrorCode.MQTT_ERR_SUCCESS:
                    return
                if client.loop_misc() != MQTTErrorCode.MQTT_ERR_SUCCESS:
                    self._reason = "the broker does not answer"
                    return
                if not self._answered and time.monotonic() > give_up:
                    self._reason = "the broker does not answer CONNECT"
                    return
                if self._stopping.is_set() and not self._commands and not client.want_write():
                    return

    def _wanted(self) -> int:
        write = selectors.EVENT_WRITE if self._client.want_write() else 0
        if self._connected and self.inbox.full:
            self._outgoing.stopped_reading()
            return write
        return write | selectors.EVENT_READ

    def _read(self) -> bool:
        """Read some packets: many at a time, for a poll costs as much as a small packet."""
        before = -1
        for _ in range(_READS):
            if before == len(self.inbox) or (self._connected and self.inbox.full):
                return True
            before = len(self.inbox)
            lost = self._client.loop_read() != MQTTErrorCode.MQTT_ERR_SUCCESS
            if lost or self.error is not None:
                return False
        return True

    def _run_commands(self) -> None:
        # What the broker does not take now waits here, where it is counted.
        while self._commands and self._connected and not self._client.want_write():
            self._commands.popleft()()

    def _send_acknowledgements(self, batch: list[tuple[int, int]]) -> None:
        current = [mid for connection, mid in batch if connection == self._generation]
        for mid in current:
            self._client.ack(mid, 1)
        self.inbox.acknowledged(len(current))

    def _send_publish(self, topic: str, data: bytes, qos: int) -> None:
        info = self._client.publish(topic, data, qos=qos)
        if info.rc not in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_NO_CONN):
            self.counts["downlink.failed"] += 1
            if qos:
                self._outgoing.failed()
        elif qos:
            self._outgoing.sent(info.mid)

    def _event(self, kind: str, **detail: object) -> None:
        self._on_event(kind, {"broker": self._source, **detail})

    # --- called by paho, in the thread ----------------------------------------------------------

    def _new_client(self) -> paho.Client:
        client = new_client(self._options, self._version)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_publish = lambda _client, _data, mid, *_: self._outgoing.answered(mid)
        client.on_disconnect = self._on_disconnect
        return client

    def _on_connect(
        self, client: paho.Client, _data: Any, _flags: Any, code: ReasonCode, _properties: Any
    ) -> None:
        self._answered = True
        name = code.getName()
        if code.is_failure:
            self._reason = f"the broker refused the connection: {name}"
            if name == _UNSUPPORTED and self._v5 and self._options.protocol == "auto":
                self._closed_early, self._answered = 2, False
            elif name in _DENIED and not self._ever:
                self.error = TransportError(
                    "transport.refused",
                    f"{self._source}: the broker refused the connection: {name}",
                    hint="check the name, the password or the certificate",
                )
            client.disconnect()
            return
        self._ever = self._connected = True
        self._event("mqtt.connected", protocol="5" if self._v5 else "3.1.1")
        topic = self._options.prefix + "+"
        if self._v5:
            client.subscribe(topic, options=SubscribeOptions(qos=1, retainHandling=2))
        else:
            client.subscribe(topic, qos=1)

    def _on_subscribe(
        self, _client: paho.Client, _data: Any, _mid: int, codes: list[ReasonCode], _properties: Any
    ) -> None:
        granted = [code.value for code in codes]
        if granted != [1]:
            self.error = TransportError(
                "transport.subscribe",
                f"{self._source}: the broker does not let us read {self._options.prefix}+ "
                f"with QoS 1: {', '.join(code.getName() for code in codes)}",
                hint="give the aggregator's account read access to this topic",
            )
            return
        self._event("mqtt.subscribed", topic=self._options.prefix + "+")

    def _on_disconnect(
        self, _client: paho.Client, _data: Any, _flags: Any, code: ReasonCode, _properties: Any
    ) -> None:
        self._connected = False
        if code.is_failure:
            self._reason = code.getName()

    def _on_message(self, _client: paho.Client, _data: Any, received: paho.MQTTMessage) -> None:
        refused, principal = judge(received, self._options.prefix)
        message = None
        if refused:
            self.counts[refused] += 1
        else:
            self.counts["received"] += 1
            data = bytes(received.payload)
            message = Message(data, principal, self._clock(), self._source, None)
        mid = received.mid if received.qos else 0
        if message is not None or mid:
            self.inbox.offer(Arrival(message, mid, self._generation))


def _watch(selector: selectors.BaseSelector, sock: Any, before: int, wanted: int) -> None:
    if not wanted:
        selector.unregister(sock)
    elif before:
        selector.modify(sock, wanted)
    else:
        selector.register(sock, wanted)
