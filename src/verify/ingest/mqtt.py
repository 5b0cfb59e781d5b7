"""Messages from an MQTT broker: acknowledged to it after the durable commit, never before.

MQTT 5, or 3.1.1 where the broker knows no better. The session is persistent: what was not
acknowledged comes again after a reconnect, from the broker.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

from depin_id.errors import TransportError
from depin_id.network import check_name, topics
from verify.ingest import Downlink, Handler
from verify.ingest.inbox import Arrival, Inbox
from verify.ingest.link import Link, OnEvent
from verify.ingest.loop import CommitLoop
from verify.ingest.options import BrokerAddress, TlsOptions, parse_broker_url
from verify.ingest.session import LinkOptions

__all__ = ["MqttSource", "TlsOptions"]

PROTOCOLS = ("auto", "5", "3.1.1")
_DAY = 86_400


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
        inbox: what is shared with other ways in; it has its own bounds.

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
        inbox: Inbox | None = None,
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
        self._name = check_name(network_name)
        self._clock = clock
        self._on_event = on_event
        if inbox is None:
            inbox = Inbox(queue_messages or 2 * batch_messages, queue_bytes or 2 * batch_bytes)
        self._inbox = inbox
        self._loop = CommitLoop(
            handler,
            inbox,
            batch_messages=batch_messages,
            batch_bytes=batch_bytes,
            batch_ms=batch_ms,
            clock=clock,
            on_event=on_event,
            commit_tries=commit_tries,
            retry_s=retry_s,
        )
        self._downlink_limit, self._downlink_wait_s = downlink_limit, downlink_wait_s
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
        return len(self._inbox), self._inbox.bytes

    @property
    def connected(self) -> bool:
        """Whether the broker has let us in."""
        return self._link is not None and self._link.connected

    def run(self, stop: threading.Event) -> None:
        """Feed the handler until ``stop`` is set; then finish the running batch and disconnect.

        Raises:
            TransportError: the broker refuses us for good: ``transport.refused``,
                ``transport.subscribe``, ``transport.tls``.
            DepinError: what the handler raised, when it was not transient or did not pass.
        """
        link = Link(self._options, self._clock, self._on_event, self._inbox)
        self._link = link
        link.start()
        try:
            self._loop.run(
                stop,
                alive=lambda: link.alive and link.error is None,
                done=lambda batch, downlinks: self._committed(link, batch, downlinks),
            )
        finally:
            if link.connected:
                link.drain(time.monotonic() + self._downlink_wait_s)
            link.stop(timeout_s=20.0)
        if link.error is not None:
            raise link.error

    def _committed(
        self, link: Link, batch: Sequence[Arrival], downlinks: Sequence[Downlink]
    ) -> None:
        """Acknowledge what was committed, then answer."""
        self._counts["committed"] += sum(item.message is not None for item in batch)
        link.acknowledge(batch)
        self._send(link, downlinks)

    def _send(self, link: Link, downlinks: Sequence[Downlink]) -> None:
        deadline = time.monotonic() + self._downlink_wait_s
        dropped = 0
        for downlink in downlinks:
            if downlink.reply:
                continue
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
