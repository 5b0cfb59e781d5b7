"""A network on one machine: a real broker, the aggregator and the bridge as processes."""

from __future__ import annotations

import collections
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from depin_id.ack import AckItem, read_ack
from depin_id.device import Device
from depin_id.enrolment import Enrolment
from depin_id.network import NetworkCard, topics
from depin_id.networkdir import NetworkDir
from tests.brokers import Mosquitto
from tests.paths import ROOT
from verify.admin import enrol
from verify.aggregator import Aggregator
from verify.entries import Judged
from verify.leaf import RecordsContent
from verify.log import leaf_hash
from verify.reading import Reader
from verify.setup import init

PATIENCE = 120.0
"""Seconds after which what was waited for will not come; machines of tests are loaded."""


def until(
    condition: Callable[[], Any],
    what: str,
    *,
    log: Callable[[], str] = lambda: "",
    process: Process | None = None,
) -> Any:
    """Poll until ``condition`` holds; gives what it gave. Without the process it never will."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        if process is not None:
            assert process.running, f"{what}: the process ended\n{process.log[-4000:]}"
        time.sleep(0.005)
    log = log if process is None else lambda: process.log
    raise AssertionError(f"{what}: not in {PATIENCE:g} s\n{log()[-4000:]}")


def environment() -> dict[str, str]:
    """What a child needs to find the code under test."""
    return {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}


def make_network(
    folder: Path,
    *devices: Enrolment,
    policy: str = 'default_profile = "noise"\n',
    clock: Callable[[], int] | None = None,
    asserted: bool = False,
) -> tuple[Path, NetworkCard]:
    """A network in ``folder/net`` and its aggregator, with these devices, in ``folder/agg``."""
    network = NetworkDir.create(folder / "net", "testnet")
    options: dict[str, Any] = {} if clock is None else {"clock": clock}
    init(
        folder / "agg", folder / "net", policy_text=policy, allow_asserted_time=asserted, **options
    )
    with Aggregator(folder / "agg", **options) as aggregator:
        answer = enrol(aggregator, devices)
    assert answer["refused"] == []
    return folder / "agg", network.card


class Process:
    """One of our commands as a process that is always ended."""

    def __init__(self, module: str, *arguments: str | Path, log: Path) -> None:
        self.log_file = log
        self._from = log.stat().st_size if log.exists() else 0
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=environment(),
                cwd=ROOT,
            )

    @property
    def log(self) -> str:
        """What this process has said so far."""
        with self.log_file.open("rb") as file:
            file.seek(self._from)
            return file.read().decode(errors="replace")

    @property
    def pid(self) -> int:
        """Its process number."""
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def wait(self) -> int:
        """Wait until it ends by itself; gives the exit status."""
        return self._process.wait(PATIENCE)

    def end(self, how: signal.Signals) -> int:
        """Send a signal and wait; gives the exit status."""
        if self.running:
            self._process.send_signal(how)
        try:
            return self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise AssertionError(f"it did not end on {how.name}:\n{self.log[-4000:]}") from None

    def kill(self) -> None:
        """Kill -9; fine when it has ended."""
        self.end(signal.SIGKILL)

    def finish(self) -> None:
        """End it as a service manager would; it must end cleanly."""
        assert self.end(signal.SIGTERM) == 0, self.log[-4000:]

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def aggregator_process(root: Path, broker: Mosquitto) -> Process:
    """``depin-verify run`` on a directory."""
    url = f"mqtt://127.0.0.1:{broker.port}"
    log = root.parent / "aggregator.log"
    return Process("verify.cli", "run", root, "--mqtt", url, "--json-logs", log=log)


def bridge_process(config: Path) -> Process:
    """``depin-bridge run`` on a configuration."""
    log = config.parent / "bridge.log"
    return Process("firmware_bridge.cli", "run", config, "--json-logs", log=log)


class At(Protocol):
    """A broker on this machine, or what stands for it."""

    port: int


@dataclass
class _Flight:
    payload: bytes
    ids: set[bytes]
    sent: float = 0.0


class Publisher:
    """A device on the broker that sends each message again until all of it is acknowledged.

    What it is told is checked at once: an acknowledgement that says something else of an envelope
    than an earlier one did is kept in :attr:`contradictions`.

    Args:
        window: messages under way.
        resend_s: seconds without an acknowledgement after which a message goes out again.
    """

    def __init__(
        self,
        device: Device,
        card: NetworkCard,
        broker: At,
        *,
        window: int = 64,
        resend_s: float = 2.0,
    ) -> None:
        self.device, self.card = device, card
        self.acknowledged: dict[bytes, AckItem] = {}
        self.contradictions: list[tuple[AckItem, AckItem]] = []
        self.resent = 0
        self._window, self._resend_s = window, resend_s
        self._flights: dict[int, _Flight] = {}
        self._flight_of: dict[bytes, int] = {}
        self._count = 0
        self._changed = threading.Condition()
        self._stop = False
        self._up, down = topics(card.name, device.public_key.kid)
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            f"publisher-{device.public_key.kid.hex()}",
            protocol=MQTTProtocolVersion.MQTTv5,
        )
        client.max_inflight_messages_set(window)
        client.on_connect = lambda c, *_: c.subscribe(down, 1)
        ready = threading.Event()
        client.on_subscribe = lambda *_: ready.set()
        client.on_message = lambda _, __, message: self._take(bytes(message.payload))
        client.connect("127.0.0.1", broker.port)
        client.loop_start()
        self._client = client
        self._thread = threading.Thread(target=self._resend, daemon=True)
        self._thread.start()
        assert ready.wait(PATIENCE)

    def close(self) -> None:
        with self._changed:
            self._stop = True
            self._changed.notify_all()
        self._thread.join()
        self._client.disconnect()
        self._client.loop_stop()

    def __enter__(self) -> Publisher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def unanswered(self) -> int:
        """Messages of which something is not acknowledged."""
        with self._changed:
            return len(self._flights)

    def send(self, payload: bytes, ids: Sequence[bytes], *, wait_s: float = PATIENCE) -> bool:
        """Hand a message over; waits for room in the window, and gives whether there was any."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._flights) < self._window, wait_s):
                return False
            self._count += 1
            flight = self._flights[self._count] = _Flight(payload, set(ids), time.monotonic())
            for identity in ids:
                self._flight_of[identity] = self._count
        self._client.publish(self._up, flight.payload, qos=1)
        return True

    def _resend(self) -> None:
        while True:
            with self._changed:
                if self._changed.wait_for(lambda: self._stop, self._resend_s / 10):
                    return
                now = time.monotonic()
                late = [f for f in self._flights.values() if now - f.sent > self._resend_s]
                for flight in late:
                    flight.sent = now
            for flight in late:
                self._client.publish(self._up, flight.payload, qos=1)
            self.resent += len(late)

    def _take(self, data: bytes) -> None:
        ack = read_ack(data, card=self.card, recipient=self.device.public_key.thumbprint)
        with self._changed:
            for item in ack.items:
                known = self.acknowledged.setdefault(item.id, item)
                if known != item:
                    self.contradictions.append((known, item))
                number = self._flight_of.pop(item.id, None)
                if number is not None:
                    flight = self._flights[number]
                    flight.ids.discard(item.id)
                    if not flight.ids:
                        del self._flights[number]
            self._changed.notify_all()


# --- what is in the journal -----------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One judged record: of which entry, whether it counts (code "") and what it says."""

    index: int
    subject: str
    name: str
    time_ms: int
    value: str
    code: str
    context: bool


@dataclass(frozen=True)
class Held:
    """One envelope's entry."""

    index: int
    id: bytes
    thumbprint: bytes
    position: tuple[int, int]
    subject: str
    code: str
    sighting: bool
    leaf_hash: bytes
    flags: tuple[str, ...]
    rows: tuple[Row, ...]


def journal(root: Path) -> Iterator[Held]:
    """Every envelope's entry of a directory, opened."""
    with Reader(root) as reader:
        for index in range(reader.size):
            opened = reader.opened(index)
            entry = opened.entry
            if not isinstance(entry, Judged):
                continue
            assert opened.private is not None
            change = entry.change
            rows: tuple[Row, ...] = ()
            if opened.private.records is not None:
                content = RecordsContent.decode(opened.private.records)
                rows = tuple(
                    Row(
                        index,
                        content.subject,
                        row.name,
                        # What a clock says, without the error that it states on both sides.
                        row.time_hi if row.time_lo is None else (row.time_lo + row.time_hi) // 2,
                        str(row.value),
                        row.code,
                        "record.context" in row.flags,
                    )
                    for row in content.rows
                )
            yield Held(
                index,
                change.id,
                change.thumbprint,
                (change.epoch, change.n),
                change.subject_did,
                entry.code,
                entry.sighting,
                leaf_hash(opened.stored.leaf),
                (),
                rows,
            )


def check_nothing_twice(entries: Sequence[Held], *, slot_ms: int = 1000) -> None:
    """No envelope, position or time slot is in the journal twice."""
    ids = collections.Counter(entry.id for entry in entries)
    assert max(ids.values()) == 1, "an envelope has two entries"
    places = collections.Counter((e.thumbprint, e.subject, e.position) for e in entries)
    assert max(places.values()) == 1, "a position was taken twice"
    slots = collections.Counter(
        (row.subject, row.name, row.time_ms // slot_ms)
        for entry in entries
        for row in entry.rows
        if not row.code and not row.context
    )
    assert not slots or max(slots.values()) == 1, "a time slot counts twice"


class Told(Protocol):
    """Who was acknowledged something."""

    @property
    def acknowledged(self) -> dict[bytes, AckItem]:
        """By identity."""

    @property
    def contradictions(self) -> list[tuple[AckItem, AckItem]]:
        """Acknowledgements of one envelope that say different things."""


def check_acknowledged(entries: Sequence[Held], publisher: Told) -> None:
    """What was acknowledged is in the journal just as the acknowledgement says."""
    held = {entry.index: entry for entry in entries}
    assert publisher.contradictions == []
    for identity, item in publisher.acknowledged.items():
        assert item.index is not None, item
        entry = held.get(item.index)
        assert entry is not None, f"entry {item.index} was acknowledged and is not there"
        assert (entry.id, entry.code, entry.leaf_hash) == (identity, item.code, item.leaf)


def check_audit(root: Path) -> None:
    """The journal judged again comes to the same."""
    from verify.audit import audit

    report = audit(root)
    assert report.ok, report.to_json()
