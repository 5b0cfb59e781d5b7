"""What the bridge does with input: wrap what is signed, sign for what cannot, spool both.

One thread wraps, signs and spools, so that the order of positions is the order in the spool. What
hands input over is told only after the durable transaction: a crash loses nothing that was
answered.
"""

from __future__ import annotations

import collections
import logging
import threading
import time
import weakref
from collections.abc import Callable

from depin_id.claims import check_subject
from depin_id.envelope import KIND_ENVELOPE, KIND_GATEWAY, MAX_BUNDLE
from depin_id.errors import DepinError, EncodingError, StateError
from depin_id.readings import Reading
from firmware_bridge.batches import Batch, Receipt, moved, received_at
from firmware_bridge.carrying import Carrier
from firmware_bridge.clock import BridgeClock
from firmware_bridge.draining import Draining, have_done
from firmware_bridge.emitter import Emitter as Emitter
from firmware_bridge.handover import Handover
from firmware_bridge.items import (
    Behalf,
    GatewayCounts,
    GatewayLimits,
    Item,
    NativeEnvelope,
    SensorReadings,
)
from firmware_bridge.reporting import Reporter
from firmware_bridge.sensors import Sensors
from firmware_bridge.signing import Level, SigningDevice, signed_identity
from firmware_bridge.spool import Spool

log = logging.getLogger("depin_bridge.gateway")

_DRAIN = 1024
"""Messages that are sorted before what is ready goes to the disk: one commit for all of them."""
_COMMIT = 256
"""Envelopes that are ready for the disk, after which no further message is sorted before."""
_FULL_WAIT = 0.2
_ROOM_WAIT = 0.005

Entry = tuple[Emitter, tuple[Item, ...], Receipt, float, float]
"""Items, when they were handed over on the clock's time line, and the line's base then."""


class Gateway:
    """Wraps and signs under the gateway's key into the spool.

    Args:
        device: of role gateway.
        network: the network's DID.
        spool: where envelopes go.
        notify: called after something was spooled (:meth:`Uplink.wake`).
        connected: whether the uplink is up, which is when dropped ranges are reported.
        clock: which times are believed; the device has its time line for a wall clock.
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
        connected: Callable[[], bool] = lambda: False,
        clock: BridgeClock | None = None,
    ) -> None:
        self.clock = clock or BridgeClock()
        self._base = self.clock.base
        self._reports = Reporter(device, network, spool, self.clock, connected)
        self._draining: Draining[Entry] = Draining()
        self._again: collections.deque[Entry] = collections.deque()
        self._emitters: weakref.WeakSet[Emitter] = weakref.WeakSet()
        self._device, self._network, self._spool, self._notify = device, network, spool, notify
        self.limits = limits or GatewayLimits()
        self.counts = GatewayCounts()
        self.carrier = Carrier()
        self._monotonic = monotonic
        self._queue: Handover[Entry | Callable[[], None]] = Handover(self.limits.queue)
        self._batches: dict[tuple[str, Level], Batch] = {}
        self._sensors = Sensors()
        self._numbers: collections.Counter[str] = collections.Counter()
        self._ready: list[tuple[bytes, bytes]] = []
        self._ready_receipts: list[Receipt] = []
        self._stop = threading.Event()
        self._mutex = threading.Lock()

    def emitter(self, source: str, level: Level, behalf: Behalf | None = None) -> Emitter:
        """What a source of this name and level hands over through.

        Args:
            behalf: on whose behalf its sensors are signed for; they are the gateway's without.
        """
        made = Emitter(source, level, self, behalf)
        with self._mutex:
            self._emitters.add(made)
        return made

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
        clock = self.clock
        entry = (emitter, items, Receipt(len(items), done), clock.timeline(), clock.base)
        while not self._stop.is_set():
            with self._mutex:
                if emitter.ended.is_set():
                    return False  # a straggler, under rules that are no longer
                if done is not None and wait:
                    held = self._draining.hold(emitter.source, entry)
                    if held is not None:
                        return held
                if self._queue.offer(entry):
                    self.counts.taken[emitter.source] += len(items)
                    return True
            if not wait:
                self.refuse(emitter.source, "queue.full")
                return False
            self._stop.wait(_ROOM_WAIT)
        return False

    def snapshot(self) -> tuple[dict[str, int], dict[tuple[str, str], int]]:
        """What was taken by source, and what was refused by (source, code)."""
        with self._mutex:
            return dict(self.counts.taken), dict(self.counts.refused)

    # --- changes while it runs ---

    def set_limits(self, limits: GatewayLimits) -> None:
        """Other bounds from now on."""
        self.limits, self._queue.maxsize = limits, limits.queue

    def drain(self, source: str, timeout: float) -> bool:
        """Seal, spool and answer what a source handed over, and take nothing answered any more.

        Returns:
            False when that was not done in time (the spool is full): then :meth:`resume`.
        """
        with self._mutex:
            self._draining.begin(source)
        return have_done(self._queue, lambda: self._finish(source), timeout, self._stop)

    def resume(self, source: str) -> None:
        """A drained source goes on, with what it handed over meanwhile."""
        with self._mutex:
            held = self._draining.end(source)
            self.counts.taken[source] += sum(len(entry[1]) for entry in held)
            self._again.extend(held)

    def forget(self, source: str, timeout: float) -> None:
        """A drained source has ended: its sensors may come from another one from now on."""
        with self._mutex:
            for emitter in [one for one in self._emitters if one.source == source]:
                emitter.ended.set()
            self._draining.end(source)
        have_done(self._queue, lambda: self._finish(source, free=True), timeout, self._stop)
        self.carrier.forget(source)

    def _finish(self, source: str, *, free: bool = False) -> None:
        self._seal(lambda batch: batch.source == source)
        self._store()
        if free:
            self._sensors.free(source)

    def run(self) -> None:
        """Work until :meth:`stop`; then seal and spool what was taken.

        Raises:
            StateError: device or spool cannot be written: nothing more is answered.
        """
        while not self._stop.is_set():
            self.step(0.2)
        while self._again or not self._queue.empty():
            self.step(0)
        self._seal(lambda batch: True)
        self._store()

    def step(self, wait: float) -> None:
        """One round: take what is there (waiting up to ``wait`` seconds), seal, spool, answer."""
        deadlines = [batch.deadline for batch in self._batches.values()]
        if deadlines:
            wait = max(0.0, min(wait, min(deadlines) - self._monotonic()))
        while self._again:
            self._sort(*self._again.popleft())
        for entry in self._queue.take(_DRAIN, wait):
            if callable(entry):
                entry()
            else:
                self._sort(*entry)
            if len(self._ready) >= _COMMIT:
                self._store()
                self._look_at_clock()  # a full spool may have taken hours
        self._look_at_clock()
        now = self._monotonic()
        self._seal(lambda batch: batch.deadline <= now or self._holds_up(batch))
        self._store()
        if self._spool.unreported and self._reports.work(now, self._durable_time()):
            self._notify()

    def _look_at_clock(self) -> None:
        """When the clock was wrong, what waits gets the times it would have given."""
        self.clock.check()
        by, self._base = self.clock.base - self._base, self.clock.base
        if abs(by) > self.clock.slack:
            for batch in self._batches.values():
                batch.shift(by)

    def _identity(self, envelope: bytes, kind: str) -> bytes:
        return signed_identity(self._device.public_key, self._network, envelope, kind)

    def _durable_time(self) -> int | None:
        return int(self.clock.timeline()) if self.clock.believed else None

    def _holds_up(self, batch: Batch) -> bool:
        """Whether too many messages of its source wait behind its oldest: answers go in order."""
        oldest = next((receipt.number for receipt in batch.receipts if receipt.waits), None)
        if oldest is None:
            return False
        return self._numbers[batch.source] - oldest + 1 >= self.limits.max_unanswered

    def _sort(
        self,
        emitter: Emitter,
        items: tuple[Item, ...],
        receipt: Receipt,
        stamp: float,
        base: float,
    ) -> None:
        by = self._base - base
        if abs(by) <= self.clock.slack:
            by = 0.0
        self._numbers[emitter.source] += 1
        receipt.number = self._numbers[emitter.source]
        for item in items:
            try:
                if isinstance(item, NativeEnvelope):
                    self._wrap(emitter, item, receipt, stamp, by)
                else:
                    self._collect(emitter, item, receipt, stamp, by)
            except StateError:
                raise
            except DepinError as error:
                self.refuse(emitter.source, error.code, error.message)
                receipt.part()

    def _wrap(
        self, emitter: Emitter, item: NativeEnvelope, receipt: Receipt, stamp: float, by: float
    ) -> None:
        if len(item.data) > MAX_BUNDLE:
            raise EncodingError("encoding.too_large", f"{len(item.data)} bytes")
        seen = None if self.clock.claim is None else received_at(item, stamp, by)
        wrapped = self._device.wrap(
            item.data,
            network=self._network,
            received_at=seen,
            link=item.link,
            place=item.place,
            level=emitter.level,
            clock=self.clock.claim,
        )
        self._add(wrapped, KIND_GATEWAY, [receipt])

    def _collect(
        self, emitter: Emitter, item: SensorReadings, receipt: Receipt, stamp: float, by: float
    ) -> None:
        check_subject(f"#{item.sensor}")
        self._sensors.claim(item.sensor, emitter, self.limits.max_sensors)
        key = (item.sensor, emitter.level)
        batch = self._batches.get(key)
        if batch is not None and (item.link is not None or batch.behalf != emitter.behalf):
            # A link is said of one message, which gets a pack of its own; so does another's behalf.
            self._seal(lambda other: other is batch)
            batch = None
        if batch is None:
            deadline = self._monotonic() + self.limits.batch_age
            batch = Batch(emitter.source, deadline, emitter.behalf, item.link)
            self._batches[key] = batch
        readings = item.readings
        if by:
            readings = tuple(moved(reading, stamp, by) for reading in readings)
        batch.add(readings, stamp + by, receipt)
        if item.link is not None or len(batch.readings) >= self.limits.batch_count:
            self._seal(lambda other: other is batch)

    def _seal(self, due: Callable[[Batch], bool]) -> None:
        for key, batch in list(self._batches.items()):
            if due(batch):
                del self._batches[key]
                if self.clock.claim is None:
                    self.counts.by_receipt += batch.without_clock()
                self._sign(key[0], key[1], batch, batch.readings)
                self._ready_receipts += batch.receipts

    def _sign(self, sensor: str, level: Level, batch: Batch, readings: list[Reading]) -> None:
        try:
            behalf = batch.behalf
            envelope = self._device.sign(
                readings,
                network=self._network,
                subject=f"#{sensor}" if behalf is None else behalf.subject(sensor),
                level=level,
                link=batch.link,
                capability=None if behalf is None else behalf.capability,
                clock=self.clock.claim,
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
        self._add(envelope, KIND_ENVELOPE, [])

    def _add(self, envelope: bytes, kind: str, receipts: list[Receipt]) -> None:
        self._ready.append((self._identity(envelope, kind), envelope))
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
        self._spool.put(self._ready[:count], at=self._durable_time())
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
