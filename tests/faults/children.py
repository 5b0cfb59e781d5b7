"""Aggregators that are killed: ``python -m tests.faults.children WHAT ROOT ...``.

``ingest ROOT NETWORK ROUNDS``: takes envelopes one by one and says after each acknowledgement how
long the journal's write-ahead log was then; ends by kill -9 in the middle of the next.
``publish ROOT NETWORK NUMBER``: the same few envelopes, killed at the NUMBER-th time that a file is
given its name.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from depin_id.testing import NOW, TestDevice
from tests.verify.net import level
from verify.aggregator import Aggregator
from verify.ingest import Message

START_MS = (NOW + 100) * 1000


def envelopes(network: str, count: int) -> tuple[TestDevice, list[bytes]]:
    """What the device of the tests says, always the same."""
    device = TestDevice(network, seed="net")
    return device, [device.next([level(40 + n % 40, NOW + n)]) for n in range(count)]


def message(device: TestDevice, data: bytes) -> Message:
    return Message(data, device.key.kid.hex(), START_MS, "test", None)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def ingest(root: Path, network: str, rounds: int) -> None:
    device, sent = envelopes(network, rounds + 1)
    aggregator = Aggregator(root, clock=lambda: START_MS)
    newest = sorted((root / "journal").glob("journal-*.db"))[-1]
    log = newest.with_name(newest.name + "-wal")
    for data in sent[:-1]:
        aggregator.ingest([message(device, data)])
        os.write(1, f"{log.stat().st_size}\n".encode())
    connection: Any = aggregator.journal._open[aggregator.journal.files()[-1].sequence]
    # The next transaction gets as far as its last write, and never to its commit.
    connection._connection.set_trace_callback(lambda text: _die() if text == "COMMIT" else None)
    aggregator.ingest([message(device, sent[-1])])


def publish(root: Path, network: str, number: int) -> None:
    left = [number]

    def counted(real: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                _die()
            return real(*arguments, **named)

        return call

    for name in ("replace", "rename", "link"):
        setattr(os, name, counted(getattr(os, name)))
    device, sent = envelopes(network, 12)
    with Aggregator(root, clock=lambda: START_MS) as aggregator:
        for data in sent:
            aggregator.ingest([message(device, data)])
            os.write(1, b"acknowledged\n")
            aggregator.publish()
        aggregator.save_snapshot()
    os.write(1, f"left {left[0]}\n".encode())


if __name__ == "__main__":
    what, folder, did, count = sys.argv[1:]
    {"ingest": ingest, "publish": publish}[what](Path(folder), did, int(count))
