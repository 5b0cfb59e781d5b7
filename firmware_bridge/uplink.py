"""From the spool to the aggregator over MQTT, until each envelope is acknowledged.

A broker's PUBACK frees nothing: an envelope leaves the spool when a signed acknowledgement, newer
than the last, names exactly its identity. Until then it is sent again, in order.
"""

from __future__ import annotations

import collections
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from depin_id.ack import Ack
from depin_id.closing import Closing
from depin_id.envelope import MAX_BUNDLE
from depin_id.errors import DepinError
from depin_id.network import NetworkCard, topics
from firmware_bridge.backoff import Backoff
from firmware_bridge.carrying import Carrier
from firmware_bridge.mqtt import Connection, Message, Session, Subscription
from firmware_bridge.options import MqttOptions
from firmware_bridge.signing import SigningDevice, newest_card, own_identity
from firmware_bridge.spool import Spool, Spooled

log = logging.getLogger("depin_bridge.uplink")

WINDOW = 20
"""Messages under way at a time: what brokers take by default."""
ACK_TIMEOUT = 30.0
MAX_IN_BUNDLE = 1024
_MIN_PACKET = 256
_PACKET_OVERHEAD = 32
_MAX_CODES = 64


@dataclass
class UplinkCounts:
    """What the uplink did since it was made.

    Attributes:
        messages, envelopes: published, resends included.
        resends: times everything unacknowledged was sent again.
        released: envelopes that left the spool.
        retries: envelopes the aggregator asked to send again.
        too_large: envelopes over the broker's maximum packet size; they stay in the spool.
        verdicts: acknowledged envelopes by verdict code.
        refused: downlink messages that freed nothing, by reason.
        statements: of devices, sent up. handed_down: messages for devices.
    """

    messages: int = 0
    envelopes: int = 0
    resends: int = 0
    released: int = 0
    retries: int = 0
    too_large: int = 0
    verdicts: collections.Counter[str] = field(default_factory=collections.Counter)
    refused: collections.Counter[str] = field(default_factory=collections.Counter)
    statements: int = 0
    handed_down: int = 0


@dataclass
class _Flight:
    """One published message: what of it is unanswered, and when to stop waiting."""

    pending: set[bytes]
    deadline: float


class Uplink(Closing):
    """Sends what is in a spool and empties it as acknowledgements come in.

    Args:
        device: signs nothing here; its key names the topics and takes the acknowledgements.
        card: the network's card; newer signed ones that come down are taken.
        spool: open; closing it is the caller's.
        url: ``mqtts://host[:port]``, ``mqtt://`` or ready options.
        ca, cert, key, username, password: as :meth:`MqttOptions.from_url`.
        window: messages under way without an acknowledgement.
        ack_timeout: seconds after which everything unacknowledged is sent again; doubles each
            time without an answer, up to ``ack_timeout_most``.

    Raises:
        ConfigError: ``config.url``, ``config.tls``.
    """

    def __init__(
        self,
        device: SigningDevice,
        card: NetworkCard,
        spool: Spool,
        url: str | MqttOptions,
        *,
        ca: Path | str | None = None,
        cert: Path | str | None = None,
        key: Path | str | None = None,
        username: str | None = None,
        password: str | None = None,
        window: int = WINDOW,
        ack_timeout: float = ACK_TIMEOUT,
        ack_timeout_most: float = 600.0,
        bundle_bytes: int = MAX_BUNDLE,
        backoff: Backoff | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        options = (
            url
            if isinstance(url, MqttOptions)
            else MqttOptions.from_url(
                url, ca=ca, cert=cert, key=key, username=username, password=password
            )
        )
        self._device, self._spool = device, spool
        self._card = newest_card(device, card)
        self._window, self._bundle_bytes = window, min(bundle_bytes, MAX_BUNDLE)
        self._patience = Backoff(2 * ack_timeout, 2 * ack_timeout_most)
        self._monotonic = monotonic
        self.counts = UplinkCounts()
        kid = device.public_key.kid
        self._up_topic, self._down_topic = topics(self._card.name, kid)
        subscription = Subscription((self._down_topic,), f"depin-up-{kid.hex()}")
        self._connection = Connection(options, subscription, self, backoff=backoff)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._session: Session | None = None
        self._flights: list[_Flight] = []
        self._cursor = 0
        self._room = self._bundle_bytes
        self._wait = self._patience.next()
        self.since: float | None = None
        """When the connection came up (or went down), on the monotonic clock."""
        self._empty = threading.Condition()
        self._carrier = Carrier()

    def __enter__(self) -> Self:
        self.start()
        return self

    @property
    def card(self) -> NetworkCard:
        """The newest card of the network seen."""
        return self._card

    @property
    def connected(self) -> bool:
        """Whether the broker took our subscription and we are publishing."""
        return self._connection.up

    @property
    def problem(self) -> str:
        """Why there is no connection, for people; empty while there is one."""
        return self._connection.problem

    def start(self) -> None:
        """Connect in a thread of its own; returns at once, whether there is a broker or not."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._connection.run, args=(self._stop,), name="uplink", daemon=True
            )
            self._thread.start()

    def close(self) -> None:
        """Disconnect and end the thread. What is not acknowledged stays in the spool."""
        self._stop.set()
        self._connection.wake()
        if self._thread is not None:
            self._thread.join()

    def send(self, envelope: bytes) -> bytes:
        """Take one envelope that our device signed; it is durable when this returns.

        Returns:
            Its identity, 32 bytes.

        Raises:
            EnvelopeError, EncodingError: it is no envelope of this device.
            StateError: ``spool.full`` and as :meth:`Spool.put`.
        """
        return self.send_all([envelope])[0]

    def send_all(self, envelopes: Sequence[bytes]) -> list[bytes]:
        """Take several envelopes in one durable transaction; as :meth:`send`."""
        key, network = self._device.public_key, self._card.network
        pairs = [(own_identity(key, network, envelope), envelope) for envelope in envelopes]
        self._spool.put(pairs)
        self.wake()
        return [identity for identity, _ in pairs]

    def carry(self, carrier: Carrier) -> None:
        """Send statements of devices up as well, and hand on what comes down for them."""
        self._carrier = carrier
        carrier.wake = self.wake
        kept = self._device.card(self._card.network)
        if kept is not None:
            carrier.offer_card(kept, self._card.network)

    def wake(self) -> None:
        """Look into the spool now; after somebody else has put something into it."""
        self._connection.wake()

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until the spool is empty; gives whether it is after at most ``timeout`` seconds."""
        with self._empty:
            return self._empty.wait_for(lambda: not len(self._spool), timeout)

    # --- called by the connection, in its thread ---

    def on_up(self, session: Session) -> None:
        """Connected: everything that is not acknowledged is sent again, in order."""
        self._session, self.since = session, self._monotonic()
        room = self._bundle_bytes
        if session.max_packet is not None:
            overhead = len(self._up_topic) + _PACKET_OVERHEAD
            room = min(room, max(_MIN_PACKET, session.max_packet - overhead))
        self._room = room
        self._restart()

    def on_down(self) -> None:
        """Without a connection nothing is under way."""
        self._session, self.since = None, self._monotonic()
        self._flights.clear()

    def on_message(self, message: Message) -> None:
        """An acknowledgement, a card, or something that frees nothing."""
        message.done()
        if message.retain:
            # A retained message is old: whoever kept it can replay it for ever.
            self._refuse("retained")
            return
        try:
            ack = self._device.take_ack(message.payload, card=self._card)
        except DepinError as error:
            own = self._device.public_key.kid
            if self._carrier.hand_down(message.payload, self._card, own):
                self.counts.handed_down += 1
            elif not self._take_card(message.payload):
                self._refuse(error.code)
                log.info("downlink message refused: %s", error)
            return
        self._take_ack(ack)

    def tick(self) -> float:
        """Send what there is room for, and again what was not answered in time."""
        now = self._monotonic()
        if any(flight.deadline <= now for flight in self._flights):
            self._wait = self._patience.next()
            self.counts.resends += 1
            log.info("no acknowledgement: sending again, next wait %.1f s", self._wait)
            self._restart()
        try:
            self._state()
            self._fill(now)
        except DepinError as error:
            log.error("spool or broker: %s", error)
        return min((flight.deadline - now for flight in self._flights), default=1.0)

    # --- sending ---

    def _restart(self) -> None:
        self._flights.clear()
        self._cursor = 0

    def _state(self) -> None:
        while self._session is not None and (data := self._carrier.take()) is not None:
            if len(data) > self._room:
                self._refuse("statement.too_large")
                continue
            try:
                self._session.publish(self._up_topic, data)
            except DepinError:
                self._carrier.put_back(data)
                raise
            self.counts.statements += 1

    def _fill(self, now: float) -> None:
        session = self._session
        if session is None:
            return
        window = min(self._window, session.receive_maximum)
        while len(self._flights) < window and self._cursor < self._spool.last:
            batch = self._spool.peek(MAX_IN_BUNDLE, self._room, self._cursor)
            if not batch:
                self._cursor = self._spool.last
                return
            if len(batch) == 1 and len(batch[0].data) > self._room:
                self._skip(batch[0])
                continue
            session.publish(self._up_topic, b"".join(item.data for item in batch))
            self._flights.append(_Flight({item.id for item in batch}, now + self._wait))
            self._cursor = batch[-1].seq
            self.counts.messages += 1
            self.counts.envelopes += len(batch)

    def _skip(self, item: Spooled) -> None:
        self.counts.too_large += 1
        self._cursor = item.seq
        log.error(
            "envelope %s: %d bytes do not fit the broker's maximum packet size (%d left for it); "
            "it stays in the spool",
            item.id.hex()[:16],
            len(item.data),
            self._room,
        )

    # --- what comes down ---

    def _take_ack(self, ack: Ack) -> None:
        final = [item.id for item in ack.items if item.final]
        self.counts.retries += len(ack.items) - len(final)
        try:
            released = self._spool.release(final)
        except DepinError as error:
            log.error("acknowledged, but not released (it will be sent again): %s", error)
            return
        self.counts.released += released
        for item in ack.items:
            known = item.code in self.counts.verdicts or len(self.counts.verdicts) < _MAX_CODES
            self.counts.verdicts[item.code if known else "other"] += 1
        answered = set(final)
        for flight in self._flights:
            flight.pending -= answered
        self._flights = [flight for flight in self._flights if flight.pending]
        if released:
            self._patience.reset()
            self._wait = self._patience.next()
        with self._empty:
            self._empty.notify_all()

    def _take_card(self, data: bytes) -> bool:
        """Whether ``data`` is a newer card of our network; it is used from now on."""
        try:
            offered = self._device.take_card(data, network=self._card.network)
        except DepinError as error:
            log.debug("not taken as a card: %s", error)
            return False
        if offered.name != self._card.name:
            log.error("the network is called %s now: start again to use it", offered.name)
        elif offered.number > self._card.number:
            self._card = offered
            self._carrier.offer_card(data, offered.network)
            log.info("network card %d taken", offered.number)
        return True

    def _refuse(self, code: str) -> None:
        known = code in self.counts.refused or len(self.counts.refused) < _MAX_CODES
        self.counts.refused[code if known else "other"] += 1
