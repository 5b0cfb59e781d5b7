"""Real recordings the whole way: signed, through a broker or a file, judged, kept, proved."""

from __future__ import annotations

import csv
import json
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from depin_id.device import Device
from depin_id.envelope import bundle, parse_envelope
from depin_id.errors import ReadingError
from depin_id.network import NetworkCard
from depin_id.readings import Reading, reading
from depin_id.senml import Decimal64
from tests.brokers import mosquitto
from tests.endtoend.world import (
    Held,
    Publisher,
    check_acknowledged,
    check_audit,
    check_nothing_twice,
    journal,
    make_network,
    until,
)
from tests.paths import data
from verify.aggregator import Aggregator
from verify.batch import Summary
from verify.ingest import Message
from verify.ingest.mqtt import MqttSource

PACK = 60


class Wall:
    """A clock that stands where the recording is."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds

    def ms(self) -> int:
        return int(self.seconds * 1000)


# --- a day of a sound level meter, over a broker --------------------------------------------------


def _meter() -> list[tuple[int, str]]:
    """(seconds since 1970, level) of each second; the export's local time is taken for UTC."""
    with data("noise_monitor/laeq1s.csv").open(newline="") as file:
        rows = csv.reader(file)
        next(rows)
        return [
            (int(datetime.fromisoformat(row[0]).replace(tzinfo=UTC).timestamp()), row[1])
            for row in rows
        ]


@contextmanager
def _running(root: Path, url: str, card: NetworkCard, wall: Wall) -> Iterator[None]:
    """The aggregator on a broker, in a thread, its clock the recording's."""
    stop = threading.Event()
    failed: list[BaseException] = []

    def work() -> None:
        try:
            with Aggregator(root, clock=wall.ms) as aggregator:
                source = MqttSource(
                    url, card.name, aggregator, client_id="aggregator", clock=wall.ms
                )
                source.run(stop)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    if failed:
        raise failed[0]


def test_a_day_of_a_noise_monitor_through_a_broker(tmp_path: Path) -> None:
    """86,401 readings in packs of 60: every one is accepted, each second once."""
    rows = _meter()
    assert len(rows) == 86_401
    began = time.monotonic()
    wall = Wall(rows[0][0])
    start = rows[0][0]
    with Device.create(
        tmp_path / "meter", profile="noise", wall=wall, monotonic=lambda: wall() - start
    ) as device:
        root, card = make_network(tmp_path, device.enrolment, clock=wall.ms)
        packs = 0
        with ExitStack() as stack:
            broker = stack.enter_context(mosquitto(tmp_path))
            stack.enter_context(_running(root, f"mqtt://127.0.0.1:{broker.port}", card, wall))
            publisher = stack.enter_context(Publisher(device, card, broker, resend_s=10))
            for at in range(0, len(rows), PACK):
                part = rows[at : at + PACK]
                wall.seconds = part[-1][0] + 0.3
                envelope = device.sign(
                    [
                        Reading("laeq", Decimal64.from_text(level), "dB", Decimal64(second))
                        for second, level in part
                    ],
                    network=card.network,
                )
                identity = parse_envelope(envelope).verify(card.network, device.public_key)
                assert publisher.send(envelope, [identity])
                packs += 1
            until(lambda: not publisher.unanswered, "acknowledgement of the last pack")
    took = time.monotonic() - began
    entries = list(journal(root))
    check_acknowledged(entries, publisher)
    check_nothing_twice(entries)
    assert {entry.code for entry in entries} == {"accepted"}
    counted = [row for entry in entries for row in entry.rows]
    print(
        f"\n{len(counted)} readings in {packs} packs, {len(publisher.acknowledged)} acknowledged, "
        f"{publisher.resent} resent, 0 rejected, {took:.1f} s with signing and broker"
    )
    assert len(publisher.acknowledged) == len(entries) == packs == 1441
    assert {row.code for row in counted} == {""}
    # What is kept is what was measured, each second once.
    kept = {(row.time_ms // 1000, Decimal64.from_text(row.value)) for row in counted}
    assert len(counted) == len(kept) == 86_401
    assert kept == {(second, Decimal64.from_text(level)) for second, level in rows}
    check_audit(root)
