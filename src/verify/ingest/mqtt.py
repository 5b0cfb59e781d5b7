"""Messages from an MQTT broker: acknowledged to it after the durable commit, never before.

MQTT 5, or 3.1.1 where the broker knows no better. The session is persistent: what was not
acknowledged comes again after a reconnect, from the broker.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

from depin_id.errors import StateError, TransportError
from depin_id.network import check_name, topics
from verify.ingest import Downlink, Handler, Message
from verify.ingest.inbox import Arrival
from verify.ingest.link import Link, OnEvent
from verify.ingest.options import BrokerAddress, TlsOptions, parse_broker_url
from verify.ingest.session import LinkOptions

__all__ = ["MqttSource", "TlsOptions"]

TRANSIENT = (StateError, TransportError)
"""Errors of a commit after which the same batch is tried again: storage and network recover."""

PROTOCOLS = ("auto", "5", "3.1.1")
_DAY = 86_400
_IDLE_S = 1.0


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _no_event(_kind: str, _detail: dict[str, object]) -> None:
    pass


class MqttSource:
    """Reads ``depin/v1/<network name>/up/+`` of one broker and feeds a handler.

    Args:
        url: ``mqtt://[user[:password]@]host[:port]``, or ``mqtts://`` for TLS.
        network_name: the name in the topics.
        handler: commits batches; its calls come from the thread that calls :meth:`run`.
        client_id: name of the persistent session; one aggregator, one name.
        tls: files for ``mqtts://``; None trusts the system's authorities.
        username, password: take precedence over those of the URL.
        batch_messages, batch_bytes, batch_ms: bounds of a batch; a batch is also closed when the
            arrivals pause, or when the broker waits for acknowledgements.
        receive_maximum: unacknowledged messages asked for (MQTT 5); the broker may send fewer.
        queue_messages, queue_bytes: bounds of what is read and not committed; by default twice a
            batch. When they are reached, reading stops.
        clock: receipt time in milliseconds since 1970; need not be monotonic.
        on_event: called with a kind and details, for logs, from any thread.
        session_expiry_s: how long the broker keeps the session of an absent aggregator (MQTT 5).
        protocol: ``auto``, ``5`` or ``3.1.1``.
        commit_tries, retry_s: tries of one batch when the commit fails with a StateError or a
            TransportError, and the first pause between them, which doubles.
        downlink_limit, downlink_wait_s: downlinks under way to the broker, and how long one batch
            of them may wait for room; then they are dropped and counted.
        reconnect_min_s, reconnect_max_s: bounds of the pause before a reconnect.

    Raises:
        TransportError: ``transport.url``, ``transport.tls`` or ``transport.options``.
        NetworkError: ``network.name``.
    """

    def __init__(
        self,
        url: str,
        network_name: str,
        handler: Handler,
        *,
        client_id: str,
        tls: TlsOptions | None = None,
        username: str | None = None,
        password: str | None = None,
        batch_messages: int = 1000,
        batch_bytes: int = 16 << 20,
        batch_ms: int = 50,
        receive_maximum: int = 1000,
        queue_messages: int | None = None,
        queue_bytes: int | None = None,
        clock: Callable[[], int] = _now_ms,
        on_event: OnEvent = _no_event,
        session_expiry_s: int = 7 * _DAY,
        protocol: str = "auto",
        commit_tries: int = 5,
        retry_s: float = 0.5,
        downlink_limit: int = 1000,
        downlink_wait_s: float = 5.0,
        reconnect_min_s: float = 0.5,
        reconnect_max_s: float = 30.0,
    ) -> None:
        address = parse_broker_url(url)
        if tls is not None and not address.tls:
            raise TransportError(
                "transport.url", "TLS files are given for mqtt://", hint="write mqtts://"
            )
        _check(client_id, protocol, receive_maximum, session_expiry_s)
        positive = (batch_messages, batch_bytes, batch_ms, commit_tries, downlink_limit)
        if min(*positive, queue_messages or 1, queue_bytes or 1, reconnect_min_s) <= 0:
            raise TransportError("transport.options", "a bound of the source is not above zero")
        self._handler = handler
        self._name = check_name(network_name)
        self._clock = clock
        self._on_event = on_event
        self._batch = (batch_messages, batch_bytes, batch_ms / 1000)
        self._tries, self._retry_s = commit_tries, retry_s
        self._downlink_limit, self._downlink_wait_s = downlink_limit, downlink_wait_s
        self._queue = (queue_messages or 2 * batch_messages, queue_bytes or 2 * batch_bytes)
        self._options = LinkOptions(
            address=address,
            context=(tls or TlsOptions()).context() if address.tls else None,
            username=username if username is not None else address.username,
            password=password if password is not None else address.password,
            client_id=client_id,
            prefix=topics(self._name, b"")[0],
            receive_maximum=receive_maximum,
            session_expiry_s=session_expiry_s,
            protocol=protocol,
            reconnect_min_s=reconnect_min_s,
            reconnect_max_s=max(reconnect_max_s, reconnect_min_s),
        )
        self._counts: Counter[str] = Counter()
        self._link: Link | None = None

    @property
    def address(self) -> BrokerAddress:
        """Where the broker is."""
        return self._options.address

    @property
    def counts(self) -> dict[str, int]:
        """Messages ``received``, ``refused.retained``, ``refused.topic``, ``refused.oversized``,
        ``committed``; downlinks ``downlink.sent`` and ``downlink.dropped``."""
        link = self._link
        return dict(self._counts + (link.counts if link is not None else Counter()))

    @property
    def queued(self) -> tuple[int, int]:
        """Messages and bytes read and not yet taken into a batch."""
        link = self._link
        return (0, 0) if link is None else (len(link.inbox), link.inbox.bytes)

    def run(self, stop: threading.Event) -> None:
        """Feed the handler until ``stop`` is set; then finish the running batch and disconnect.

        Raises:
            TransportError: the broker refuses us for good: ``transport.refused``,
                ``transport.subscribe``, ``transport.tls``.
            DepinError: what the handler raised, when it was not transient or did not pass.
        """
        link = Link(
            self._options,
            self._clock,
            self._on_event,
            inbox_messages=self._queue[0],
            inbox_bytes=self._queue[1],
        )
        self._link = link
        watcher = threading.Thread(target=_interrupt, args=(stop, link), daemon=True)
        link.start()
        watcher.start()
        try:
            self._loop(link, stop)
        finally:
            if link.connected:
                link.drain(time.monotonic() + self._downlink_wait_s)
            link.stop(timeout_s=20.0)
        if link.error is not None:
            raise link.error

    def _loop(self, link: Link, stop: threading.Event) -> None:
        messages, size, linger_s = self._batch
        quiet_since = time.monotonic()
        while not stop.is_set() and link.alive and link.error is None:
            batch = link.inbox.take(
                messages=messages,
                size=size,
                wait_s=_IDLE_S,
                linger_s=linger_s,
                gap_s=max(0.002, linger_s / 10),
            )
            if batch:
                if not self._commit(link, batch, stop):
                    return
                quiet_since = time.monotonic()
            elif not stop.is_set() and time.monotonic() - quiet_since >= _IDLE_S * 0.9:
                self._send(link, self._handler.idle(self._clock()))
                quiet_since = time.monotonic()

    def _commit(self, link: Link, batch: list[Arrival], stop: threading.Event) -> bool:
        """Commit, then acknowledge, then answer; False when stopped before it was committed."""
        messages = [item.message for item in batch if item.message is not None]
        downlinks: Sequence[Downlink] = ()
        if messages:
            answer = self._try(messages, stop)
            if answer is None:
                return False
            downlinks = answer
        self._counts["committed"] += len(messages)
        link.acknowledge(batch)
        self._send(link, downlinks)
        return True

    def _try(self, messages: list[Message], stop: threading.Event) -> Sequence[Downlink] | None:
        for attempt in range(1, self._tries + 1):
            try:
                return self._handler.commit(messages)
            except TRANSIENT as error:
                self._on_event(
                    "commit.failed",
                    {"code": error.code, "message": str(error), "try": attempt},
                )
                if attempt == self._tries:
                    raise
            if stop.wait(self._retry_s * 2 ** (attempt - 1)):
                return None
        return None

    def _send(self, link: Link, downlinks: Sequence[Downlink]) -> None:
        deadline = time.monotonic() + self._downlink_wait_s
        dropped = 0
        for downlink in downlinks:
            topic = topics(self._name, downlink.kid)[1]
            sent = link.publish(topic, downlink.data, limit=self._downlink_limit, deadline=deadline)
            self._counts["downlink.sent" if sent else "downlink.dropped"] += 1
            dropped += not sent
        if dropped:
            self._on_event("downlink.dropped", {"count": dropped})


def _check(client_id: str, protocol: str, receive_maximum: int, session_expiry_s: int) -> None:
    if not 1 <= len(client_id.encode(errors="replace")) <= 65_535 or "\0" in client_id:
        raise TransportError(
            "transport.options",
            "a persistent session needs a client_id",
            hint="name the aggregator",
        )
    if protocol not in PROTOCOLS:
        raise TransportError("transport.options", f"protocol is one of {', '.join(PROTOCOLS)}")
    if not 1 <= receive_maximum <= 65_535 or not 0 <= session_expiry_s < 1 << 32:
        raise TransportError(
            "transport.options", "receive_maximum is 1..65535, session_expiry_s below 2^32"
        )


def _interrupt(stop: threading.Event, link: Link) -> None:
    """Ends the waiting for messages when ``stop`` is set, without polling in the commit loop."""
    while link.alive:
        if stop.wait(_IDLE_S):
            link.inbox.interrupt()
            return
