"""A network, devices, signed envelopes and fresh aggregators, all below one temporary folder."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from bench.settings import BUNDLE, COMMIT, PACK, POLICY, Settings
from depin_id.networkdir import NetworkDir
from depin_id.readings import Reading, reading
from depin_id.testing import TestDevice
from verify.aggregator import Aggregator
from verify.batch import Summary
from verify.entries import Enrolled
from verify.ingest import Message
from verify.setup import init


class BenchError(Exception):
    """What was measured did not do what it should have done, so its figure means nothing."""


@dataclass(frozen=True)
class Signed:
    """Envelopes of one device, in order."""

    device: TestDevice
    envelopes: tuple[bytes, ...]

    @property
    def kid(self) -> bytes:
        """The device's kid, as in topics."""
        return self.device.key.kid


class Lab:
    """Where everything is measured.

    Attributes:
        settings: how much. folder: for everything that is written. network: the network.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.settings = settings
        self.folder = folder
        self.network = NetworkDir.create(folder / "network", "bench")
        self._seed = os.urandom(16).hex()
        self._made = 0
        self._signed: dict[tuple[int, int, int], list[Signed]] = {}

    @property
    def did(self) -> str:
        """The network's DID."""
        return self.network.card.network

    def device(self) -> TestDevice:
        """A new device, in memory."""
        self._made += 1
        name = str(self._made)
        now = int(time.time())
        return TestDevice(self.did, name, seed=self._seed, now=now, profile="noise")

    def signed(self, senders: int, envelopes: int, records: int) -> list[Signed]:
        """``senders`` devices with together about so many envelopes; signed once, then kept."""
        each = max(1, envelopes // senders)
        asked = (senders, each, records)
        if asked not in self._signed:
            devices = [self.device() for _ in range(senders)]
            self._signed[asked] = [sign(device, each, records) for device in devices]
        return self._signed[asked]

    def singles(self) -> list[Signed]:
        """One-reading envelopes."""
        return self.signed(self.settings.senders, self.settings.singles, 1)

    def packs(self) -> list[Signed]:
        """Envelopes of 60 records."""
        return self.signed(self.settings.senders, self.settings.packs, PACK)

    def site(self, devices: Sequence[TestDevice]) -> Path:
        """A new aggregator's directory where these devices are enrolled."""
        self._made += 1
        root = self.folder / f"site-{self._made}"
        init(root, self.folder / "network", policy_text=POLICY)
        with Aggregator(root) as aggregator:
            enrol(aggregator, devices)
        return root


def enrol(aggregator: Aggregator, devices: Sequence[TestDevice]) -> None:
    """Enrol devices, valid since ever."""
    aggregator.administer([Enrolled(os.urandom(16), 0, device.enrolment) for device in devices])


def levels(draw: Random, count: int, first: int) -> list[Reading]:
    """Noise levels, one a second from ``first`` (seconds since 1970)."""
    return [
        reading("laeq", draw.randrange(350, 950) / 10, "dB", first + step) for step in range(count)
    ]


def sign(device: TestDevice, envelopes: int, records: int) -> Signed:
    """Chained envelopes of so many records each, up to now and without a repeated time slot."""
    # Values that no other device sent: what was copied from another is refused.
    draw = Random(device.did)
    first = device.now - envelopes * records
    made = [device.next(levels(draw, records, first + step * records)) for step in range(envelopes)]
    return Signed(device, tuple(made))


def messages(signed: Sequence[Signed], per_message: int = BUNDLE) -> list[Message]:
    """Bundles, the devices in turn."""
    now = time.time_ns() // 1_000_000
    found = []
    most = max(len(one.envelopes) for one in signed)
    for start in range(0, most, per_message):
        for one in signed:
            part = one.envelopes[start : start + per_message]
            if part:
                found.append(Message(b"".join(part), one.kid.hex(), now, "bench", None))
    return found


def feed(aggregator: Aggregator, found: Sequence[Message], at_once: int) -> Summary:
    """Ingest messages, ``at_once`` of them in a commit."""
    total = Summary()
    for start in range(0, len(found), at_once):
        summary, _ = aggregator.ingest(found[start : start + at_once])
        total.add(summary)
    return total


def messages_at_once(per_message: int) -> int:
    """How many messages make up one commit of usual size."""
    return max(1, COMMIT // per_message)


def check_all_accepted(summary: Summary, envelopes: int) -> None:
    """Raise BenchError unless every envelope was accepted."""
    if summary.accepted != envelopes:
        raise BenchError(f"{envelopes} envelopes were sent: {summary.to_json()}")


def count(signed: Sequence[Signed]) -> int:
    """How many envelopes there are."""
    return sum(len(one.envelopes) for one in signed)
