"""What the bridge does with input: wrap what is signed, sign for what cannot, spool both.

One thread wraps, signs and spools, so that the order of positions is the order in the spool. What
hands input over is told only after the durable transaction: a crash loses nothing that was
answered.
"""

from __future__ import annotations

import collections
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from depin_id.claims import MAX_SECONDS, Link, check_subject
from depin_id.envelope import MAX_BUNDLE
from depin_id.errors import DepinError, EncodingError, StateError
from depin_id.readings import Reading
from firmware_bridge.carrying import Carrier
from firmware_bridge.items import (
    Behalf,
    GatewayCounts,
    GatewayLimits,
    Item,
    NativeEnvelope,
    SensorReadings,
)
from firmware_bridge.signing import Level, SigningDevice, own_identity
from firmware_bridge.spool import Spool

log = logging.getLogger("depin_bridge.gateway")

_DRAIN = 256
_FULL_WAIT = 0.2


class _Receipt:
    """Calls back once everything of one message is durable or refused."""

    def __init__(self, parts: int, done: Callable[[], None] | None) -> None:
        self._parts, self._done = parts, done
        self.number = 0

    @property
    def waits(self) -> bool:
        return self._done is not None

    def part(self) -> None:
        self._parts -= 1
        if self._parts == 0 and self._done is not None:
            self._done()


@dataclass
class _Batch:
    """Readings of one sensor that wait to be sealed."""

    source: str
    deadline: float
    behalf: Behalf | None = None
    link: Link | None = None
    readings: list[Reading] = field(default_factory=list)
    receipts: list[_Receipt] = field(default_factory=list)


@dataclass(frozen=True)
class Emitter:
    """How one source hands over what it has; use from any thread."""

    source: str
    level: Level
    _gateway: Gateway
    behalf: Behalf | None = None

    def __call__(
        self, items: Sequence[Item], done: Callable[[], None] | None = None, *, wait: bool = True
    ) -> bool:
        """Hand items over.

        Args:
            done: called (in another thread) once all are durable or refused for good.
            wait: hold the caller while the queue is full; else drop and count ``queue.full``.

        Returns:
            False when they were not taken: dropped, or the bridge is stopping.
        """
        return self._gateway.take(self, tuple(items), done, wait=wait)

    @property
    def carrier(self) -> Carrier:
        """Takes statements up unchanged, and brings down what answers them."""
        return self._gateway.carrier

    def refuse(self, code: str, detail: str = "") -> None:
        """Count input that is no item, with the reason."""
        self._gateway.refuse(self.source, code, detail)


class Gateway:
    """Wraps and signs under the gateway's key into the spool.

    Args:
        device: of role gateway.
        network: the network's DID.
        spool: where envelopes go.
        notify: called after something was spooled (:meth:`Uplink.wake`).
    """

    def __init__(
        self,
        device: SigningDevice,
        network: str,
        spool: Spool,
        *,
        notify: Callable[[], None] = lambda: None,
        limits: GatewayLimits | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._device, self._network, self._spool, self._notify = device, network, spool, notify
        self.limits = limits or GatewayLimits()
        self.counts = GatewayCounts()
        self.carrier = Carrier()
        self._monotonic = monotonic
        self._queue: queue.Queue[tuple[Emitter, tuple[Item, ...], _Receipt]] = queue.Queue(
            self.limits.queue
        )
        self._batches: dict[tuple[str, Level], _Batch] = {}
        self._sensors: dict[str, str] = {}
        self._numbers: collections.Counter[str] = collections.Counter()
        self._ready: list[tuple[bytes, bytes]] = []
        self._ready_receipts: list[_Receipt] = []
        self._stop = threading.Event()
        self._mutex = threading.Lock()

    def emitter(self, source: str, level: Level, behalf: Behalf | None = None) -> Emitter:
        """What a source of this name and level hands over through.

        Args:
            behalf: on whose behalf its sensors are signed for; they are the gateway's without.
        """
        return Emitter(source, level, self, behalf)

    def stop(self) -> None:
        """Take nothing more; :meth:`run` seals what it has and ends."""
        self._stop.set()

    def refuse(self, source: str, code: str, detail: str = "") -> None:
        """Count what was dropped, with the reason."""
        with self._mutex:
            self.counts.refused[source, code] += 1
            first = self.counts.refused[source, code] == 1
        log.log(
            logging.WARNING if first else logging.DEBUG, "%s: %s: %s", source, code, detail[:200]
        )

    def take(
        self,
        emitter: Emitter,
        items: tuple[Item, ...],
        done: Callable[[], None] | None,
        *,
        wait: bool,
    ) -> bool:
        """See :class:`Emitter`."""
        if not items:
            if done is not None:
                done()
            return True
        entry = (emitter, items, _Receipt(len(items), done))
        while not self._stop.is_set():
            try:
                self._queue.put(entry, timeout=0.2 if wait else 0)
            except queue.Full:
                if not wait:
                    self.refuse(emitter.source, "queue.full")
                    return False
            else:
                with self._mutex:
                    self.counts.taken[emitter.source] += len(items)
                return True
        return False

    def run(self) -> None:
        """Work until :meth:`stop`; then seal and spool what was taken.

        Raises:
            StateError: device or spool cannot be written: nothing more is answered.
        """
        while not self._stop.is_set():
            self.step(0.2)
        while not self._queue.empty():
            self.step(0)
        self._seal(lambda batch: True)
        self._store()

    def step(self, wait: float) -> None:
        """One round: take what is there (waiting up to ``wait`` seconds), seal, spool, answer."""
        deadlines = [batch.deadline for batch in self._batches.values()]
        if deadlines:
            wait = max(0.0, min(wait, min(deadlines) - self._monotonic()))
        for _ in range(_DRAIN):
            try:
                entry = self._queue.get(block=wait > 0, timeout=wait or None)
            except queue.Empty:
                break
            wait = 0
            self._sort(*entry)
        now = self._monotonic()
        self._seal(lambda batch: batch.deadline <= now or self._holds_up(batch))
        self._store()

    def _holds_up(self, batch: _Batch) -> bool:
        """Whether too many messages of its source wait behind its oldest: answers go in order."""
        oldest = next((receipt.number for receipt in batch.receipts if receipt.waits), None)
        if oldest is None:
            return False
        return self._numbers[batch.source] - oldest + 1 >= self.limits.max_unanswered

    def _sort(self, emitter: Emitter, items: tuple[Item, ...], receipt: _Receipt) -> None:
        self._numbers[emitter.source] += 1
        receipt.number = self._numbers[emitter.source]
        for item in items:
            try:
                if isinstance(item, NativeEnvelope):
                    self._wrap(emitter, item, receipt)
                else:
                    self._collect(emitter, item, receipt)
            except StateError:
                raise
            except DepinError as error:
                self.refuse(emitter.source, error.code, error.message)
                receipt.part()

    def _wrap(self, emitter: Emitter, item: NativeEnvelope, receipt: _Receipt) -> None:
        if len(item.data) > MAX_BUNDLE:
            raise EncodingError("encoding.too_large", f"{len(item.data)} bytes")
        wrapped = self._device.wrap(
            item.data,
            network=self._network,
            received_at=max(0, min(item.received_at, MAX_SECONDS)),
            link=item.link,
            place=item.place,
            level=emitter.level,
        )
        self._add(wrapped, [receipt])

    def _collect(self, emitter: Emitter, item: SensorReadings, receipt: _Receipt) -> None:
        check_subject(f"#{item.sensor}")
        owner = self._sensors.get(item.sensor)
        if owner is None:
            if len(self._sensors) >= self.limits.max_sensors:
                raise EncodingError(
                    "sensor.too_many", f"{item.sensor!r} is one more than max_sensors"
                )
            self._sensors[item.sensor] = emitter.source
        elif owner != emitter.source:
            # Two inputs under one name would be one stream of two sensors.
            raise EncodingError("sensor.taken", f"{item.sensor!r} belongs to the source {owner}")
        key = (item.sensor, emitter.level)
        if item.link is not None:
            # Said of one message: it seals what waits, and then a pack of its own.
            self._seal(lambda other: other is self._batches.get(key))
        batch = self._batches.get(key)
        if batch is None:
            deadline = self._monotonic() + self.limits.batch_age
            batch = _Batch(emitter.source, deadline, emitter.behalf, item.link)
            self._batches[key] = batch
        batch.readings.extend(item.readings)
        batch.receipts.append(receipt)
        if item.link is not None or len(batch.readings) >= self.limits.batch_count:
            self._seal(lambda other: other is batch)

    def _seal(self, due: Callable[[_Batch], bool]) -> None:
        for key, batch in list(self._batches.items()):
            if due(batch):
                del self._batches[key]
                self._sign(key[0], key[1], batch, batch.readings)
                self._ready_receipts += batch.receipts

    def _sign(self, sensor: str, level: Level, batch: _Batch, readings: list[Reading]) -> None:
        try:
            behalf = batch.behalf
            envelope = self._device.sign(
                readings,
                network=self._network,
                subject=f"#{sensor}" if behalf is None else behalf.subject(sensor),
                level=level,
                link=batch.link,
                capability=None if behalf is None else behalf.capability,
            )
        except StateError:
            raise
        except DepinError as error:
            if len(readings) == 1:
                self.refuse(batch.source, error.code, error.message)
                return
            # Too large together, or one of them spoils the rest: the halves tell.
            half = len(readings) // 2
            self._sign(sensor, level, batch, readings[:half])
            self._sign(sensor, level, batch, readings[half:])
            return
        self._add(envelope, [])

    def _add(self, envelope: bytes, receipts: list[_Receipt]) -> None:
        identity = own_identity(self._device.public_key, self._network, envelope)
        self._ready.append((identity, envelope))
        self._ready_receipts += receipts

    def _store(self) -> None:
        """Spool what is ready, then answer. A full spool holds everything up until there is room.

        Only what cannot be spooled at the end of :meth:`run` is given up, unanswered.
        """
        while self._ready:
            try:
                self._put(len(self._ready))
            except StateError as error:
                if error.code != "spool.full":
                    raise
                if not self._put_some() and self._stop.wait(_FULL_WAIT):
                    self.refuse("gateway", error.code, error.message)
                    self._ready, self._ready_receipts = [], []
                    return
        receipts, self._ready_receipts = self._ready_receipts, []
        for receipt in receipts:
            receipt.part()

    def _put(self, count: int) -> None:
        self._spool.put(self._ready[:count])
        del self._ready[:count]
        self.counts.spooled += count
        self._notify()

    def _put_some(self) -> bool:
        """What fits of what is ready, from the front; whether any did."""
        before = len(self._ready)
        try:
            while self._ready:
                self._put(1)
        except StateError as error:
            if error.code != "spool.full":
                raise
        return len(self._ready) < before
