"""The bridge: from what a source hands over to signed envelopes in the durable spool."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench import bridge_leg
from bench.table import Row, Target
from bench.world import BenchError, Lab
from depin_id.device import Device
from depin_id.keys import SoftwareSigner
from depin_id.readings import Reading
from depin_id.senml import Decimal64
from firmware_bridge.gateway import Gateway
from firmware_bridge.items import GatewayLimits, Item, SensorReadings
from firmware_bridge.spool import Spool

GROUP = "bridge"
SENSORS = 8
_START = 1_790_000_000_000
_STEP_MS = 125
_MESSAGE = 300
"""Bytes of what is signed and spooled as a yardstick: about an envelope of one reading."""
_COMMIT = 256


def items(readings: int, together: int) -> list[list[Item]]:
    """Messages of a source, each with so many readings of one sensor."""
    found: list[list[Item]] = []
    for number in range(0, readings, together):
        made = tuple(
            Reading(
                "laeq",
                Decimal64(500 + (number + k) % 90, -1),
                "dB",
                Decimal64(_START + (number + k) * _STEP_MS, -3),
            )
            for k in range(together)
        )
        found.append([SensorReadings(f"m{number // together % SENSORS}", made)])
    return found


def raw_signing(seconds: float) -> float:
    """Signatures a second, nothing else."""
    signer, message = SoftwareSigner.generate("ed25519"), os.urandom(_MESSAGE)
    begin, count = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        for _ in range(50):
            signer.sign(message)
        count += 50
    return count / (time.perf_counter() - begin)


def raw_spool(folder: Path, count: int) -> float:
    """Envelopes a second into the spool alone, in commits as the bridge makes them."""
    made = [(number.to_bytes(32, "big"), os.urandom(_MESSAGE)) for number in range(count)]
    with Spool.open(folder / "raw") as spool:
        begin = time.perf_counter()
        for at in range(0, count, _COMMIT):
            spool.put(made[at : at + _COMMIT])
        return count / (time.perf_counter() - begin)


def through(folder: Path, network: str, messages: Sequence[Iterable[Item]], batch: int) -> float:
    """Readings a second from the source's hand to the durable spool."""
    limits = GatewayLimits(batch_count=batch, batch_age=3600.0, queue=len(messages) + 1)
    done: list[bool] = []
    with Device.create(folder / "gateway", role="gateway") as device:
        with Spool.open(folder / "spool", max_envelopes=1 << 22) as spool:
            gate = Gateway(device, network, spool, limits=limits)
            emit = gate.emitter("bench", "G0")
            begin = time.perf_counter()
            for message in messages:
                emit(list(message), lambda: done.append(True))
            while len(done) < len(messages) and gate.counts.refused.total() == 0:
                gate.step(0)
                if gate._queue.empty():
                    gate._seal(lambda batch: True)
            took = time.perf_counter() - begin
            if gate.counts.refused or len(done) != len(messages):
                raise BenchError(f"the bridge refused: {gate.counts.refused}")
    return gate.counts.taken.total() / took


def measure(lab: Lab) -> list[Row]:
    """Singles and packs, beside signing and spooling alone in the same run."""
    settings = lab.settings
    single, packed = items(settings.singles, 1), items(settings.packs * 60, 60)
    values: dict[str, list[float]] = {}
    for run in range(settings.runs):
        folder = lab.folder / f"bridge-{run}"
        for name in ("one", "packs"):
            (folder / name).mkdir(parents=True)
        values.setdefault("sign", []).append(raw_signing(settings.raw_seconds))
        values.setdefault("spool", []).append(raw_spool(folder, settings.singles))
        one = through(folder / "one", lab.did, single, 1)
        values.setdefault("one", []).append(one)
        rate = through(folder / "packs", lab.did, packed, 60) * 60
        values.setdefault("packs", []).append(rate)
    signed = [one / raw for one, raw in zip(values["one"], values["sign"], strict=True)]
    return [
        Row(GROUP, "signatures alone", "1/s", values["sign"]),
        Row(GROUP, "spool alone, commits of 256", "1/s", values["spool"]),
        Row(
            GROUP, "source to spool, each reading signed", "readings/s", values["one"],
            signed, "signatures alone", Target(5_000, "value"),
        ),
        Row(
            GROUP, "source to spool, packs of 60", "readings/s", values["packs"],
            [rate / raw for rate, raw in zip(values["packs"], values["sign"], strict=True)],
            "signatures alone", Target(100_000, "value"),
        ),
        *bridge_leg.measure(lab, items, raw_signing),
    ]  # fmt: skip
