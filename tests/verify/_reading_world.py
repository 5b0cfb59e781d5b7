"""A small aggregator with a mixed, partly hostile history, and ways to tamper with it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from depin_id.device import Device
from depin_id.enrolment import Enrolment
from depin_id.keys import SoftwareSigner
from depin_id.networkdir import NetworkDir
from depin_id.readings import Reading, reading
from verify.aggregator import Aggregator
from verify.entries import Enrolled, Judged, Revoked, Rotated
from verify.fold import Fold
from verify.ingest import Message
from verify.replay import Opener
from verify.setup import init
from verify.store import Journal, KeyStore, NewBatch, Position, StoredEntry
from verify.workspace import Workspace

START = 1_800_000_000
POLICY = 'default_profile = "noise"\n[quota]\ndevice_per_minute = 1\ndevice_burst = 12\n'


@dataclass
class Clock:
    """Milliseconds since 1970 that only tests move."""

    ms: int = START * 1000

    def __call__(self) -> int:
        return self.ms

    def seconds(self) -> float:
        return self.ms / 1000


@dataclass
class House:
    """A network, an aggregator's directory and some devices."""

    folder: Path
    clock: Clock = field(default_factory=Clock)
    devices: dict[str, Device] = field(default_factory=dict)
    sent: list[tuple[bytes, int]] = field(default_factory=list)
    _random: int = 0

    @property
    def root(self) -> Path:
        return self.folder / "agg"

    @property
    def public(self) -> Path:
        return Workspace(self.root).public

    @property
    def network(self) -> NetworkDir:
        return NetworkDir(self.folder / "net")

    @property
    def did(self) -> str:
        return self.network.card.network

    def randomness(self, size: int) -> bytes:
        self._random += 1
        return self._random.to_bytes(8, "big").rjust(size, b"\x5a")[-size:]

    def aggregator(self) -> Aggregator:
        return Aggregator(self.root, clock=self.clock)

    def device(self, name: str, **about: Any) -> Device:
        made = Device.create(
            self.folder / name,
            name=name,
            wall=self.clock.seconds,
            monotonic=self.clock.seconds,
            **about,
        )
        self.devices[name] = made
        return made

    def again(self, name: str, copy: str) -> Device:
        """A second device with the same key and position: a clone."""
        self.devices[name].close()
        shutil.copytree(self.folder / name, self.folder / copy)
        for folder in (name, copy):
            self.devices[folder] = Device.open(
                self.folder / folder, wall=self.clock.seconds, monotonic=self.clock.seconds
            )
        return self.devices[copy]

    def take(self, aggregator: Aggregator, *envelopes: bytes, principal: str = "test") -> None:
        for envelope in envelopes:
            self.sent.append((envelope, self.clock.ms))
        message = Message(b"".join(envelopes), principal, self.clock.ms, "test", None)
        aggregator.ingest([message])

    def pack(self, name: str, first: float, count: int = 3, **how: Any) -> bytes:
        now = self.clock.ms // 1000
        values = [reading("laeq", first + i / 10, "dB", now - count + i) for i in range(count)]
        return self.devices[name].sign(values, network=self.did, **how)


def enrolled(enrolment: Enrolment, number: int) -> Enrolled:
    return Enrolled(number.to_bytes(16, "big"), 0, enrolment)


def build(folder: Path) -> House:
    """One of everything: accepted, sighting, sensor, duplicate, fork, rejected, quota, rotation."""
    house = House(folder)
    NetworkDir.create(folder / "net", "demo", wall=house.clock.seconds)
    init(house.root, folder / "net", policy_text=POLICY, clock=house.clock)
    for name in ("one", "two", "three", "chatty"):
        house.device(name, profile="noise", curve="p256" if name == "two" else "ed25519")
    house.device("gate", role="gateway")
    with house.aggregator() as aggregator:
        listed = [house.devices[name] for name in ("one", "two", "three", "chatty", "gate")]
        aggregator.administer(
            [enrolled(device.enrolment, i + 1) for i, device in enumerate(listed)]
        )
        _first_day(house, aggregator)
        house.clock.ms += 40_000
        _second_day(house, aggregator)
    return house


def _first_day(house: House, aggregator: Aggregator) -> None:
    first = house.pack("one", 60.5, 5)
    house.take(aggregator, first, house.pack("one", 200.5, 2))
    house.take(aggregator, first)
    house.clock.ms += 11_000
    carried = house.pack("two", 55.5)
    gate, did = house.devices["gate"], house.did
    seen = house.clock.ms // 1000
    house.take(aggregator, gate.wrap(carried, network=did, received_at=seen))
    house.take(aggregator, gate.wrap(carried, network=did, received_at=seen))
    house.take(aggregator, house.pack("gate", 44.5, subject="#s1", level="G0"))
    house.take(aggregator, house.devices["one"].sign_status({1: "ok"}, network=did))
    house.clock.ms += 11_000
    skipped = house.pack("two", 51.5)
    house.clock.ms += 1_000
    house.take(aggregator, house.pack("two", 52.5))
    house.take(aggregator, skipped)
    broken = bytearray(house.pack("two", 70.5))
    broken[-1] ^= 1
    house.take(aggregator, bytes(broken))
    house.take(aggregator, b"\x00" * 120)


def _second_day(house: House, aggregator: Aggregator) -> None:
    did = house.did
    for i in range(14):
        house.clock.ms += 100
        house.take(aggregator, house.pack("chatty", 30 + i, 1))
    clone = house.again("three", "clone")
    now = house.clock.ms // 1000
    house.take(aggregator, house.devices["three"].sign([_r(41.5, now)], network=did))
    house.clock.ms += 2_000
    forked = clone.sign([_r(42.5, now)], network=did)
    gate = house.devices["gate"]
    house.take(aggregator, gate.wrap(forked, network=did, received_at=now))
    house.take(aggregator, house.devices["three"].sign([_r(43.5, now)], network=did))
    fresh = SoftwareSigner.generate()
    one = house.devices["one"].did
    aggregator.administer([Rotated(one, fresh.public_key, house.clock.ms)])
    rotated = house.device("rotated", signer=fresh, profile="noise")
    assert rotated.did != one
    house.clock.ms += 11_000
    house.take(aggregator, house.pack("rotated", 61.5))
    house.take(aggregator, house.pack("one", 62.5))
    two = house.devices["two"].did
    aggregator.administer([Revoked(two, house.clock.ms, "sold")])
    house.clock.ms += 1_000
    house.take(aggregator, house.pack("two", 63.5))
    # What another device measured, word for word.
    stranger = house.device("stranger", profile="noise")
    house.take(aggregator, stranger.sign([_r(1.5, now)], network=did))
    aggregator.administer([enrolled(stranger.enrolment, 77)])
    aggregator.take_parked(stranger.public_key.kid)
    house.clock.ms += 11_000
    house.take(aggregator, house.pack("stranger", 33.5))


def _r(value: float, at: int) -> Reading:
    return reading("laeq", value, "dB", at)


# --- tampering ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """An entry with what it consumes."""

    entry: StoredEntry
    position: Position | None


def rows_of(root: Path) -> list[Row]:
    """All entries of a journal with their positions."""
    work, found, fold = Workspace(root), [], Fold()
    with (
        Journal.open(work.journal, read_only=True) as journal,
        KeyStore.open(work.keys, read_only=True) as keys,
    ):
        opener = Opener(fold, keys)
        for stored in journal.entries():
            opened = opener.open(stored)
            fold.apply(opened.entry, opened.at, opened.private)
            position = None
            if isinstance(opened.entry, Judged):
                change = opened.entry.change
                if change.consumes and change.stream is not None:
                    position = Position(
                        change.stream, change.epoch, change.n, stored.index, change.id, change.prev
                    )
            found.append(Row(stored, position))
    return found


def rewrite(root: Path, change: Callable[[list[Row]], list[Row]]) -> None:
    """Write the journal anew, chain of digests and all, as whoever holds the disk could."""
    work, rows = Workspace(root), change(rows_of(root))
    with Journal.open(work.journal, read_only=True) as journal:
        network = journal.network
    shutil.rmtree(work.journal)
    with Journal.create(work.journal, network=network) as journal:
        journal.append(
            NewBatch(
                received_at=rows[-1].entry.received_at,
                leaves=[row.entry.leaf for row in rows],
                deltas=[row.entry.delta for row in rows],
                sealed=[row.entry.sealed for row in rows],
                positions=[
                    row.position._replace(entry=index)
                    for index, row in enumerate(rows)
                    if row.position is not None
                ],
            )
        )


@contextmanager
def copied(house: House, to: Path) -> Iterator[Path]:
    """A copy of the aggregator's directory, to be tampered with."""
    root = to / "copy"
    shutil.copytree(house.root, root)
    try:
        yield root
    finally:
        shutil.rmtree(root)
