"""How much is measured: a full run, and a quick one that only shows that everything works."""

from __future__ import annotations

import os
from dataclasses import dataclass

POLICY = 'default_profile = "noise"\n[quota]\ndevice_per_minute = 0\n'
"""Without a quota: the bench sends in a second what a device sends in weeks."""

PACK = 60
"""Records in a pack."""
BUNDLE = 50
"""One-reading envelopes in a message, where messages are bundles."""
PACKS_A_BUNDLE = 5
COMMIT = 1_000
"""Envelopes handed over at once where nothing else decides it, as the MQTT source does."""


@dataclass(frozen=True)
class Settings:
    """Sizes of one run.

    Attributes:
        runs: how often each measurement is repeated; best and median are reported.
        raw_seconds: how long the yardstick is measured before each of them.
        senders: devices that the envelopes of one measurement come from.
        singles, packs: one-reading envelopes and 60-record packs of one measurement.
        messages: messages through the broker.
        receipts: receipts that are made and checked.
        devices, few_devices: the large fleet and the small one it is compared with.
        latency_messages, latency_rate: how many are timed, and how many a second.
        peer_messages, peer_seconds: messages that peers take in turn, and for how long.
        overload_s: seconds of overload.
        factory_devices: devices of a production batch.
    """

    runs: int = 3
    raw_seconds: float = 0.5
    senders: int = 40
    singles: int = 12_000
    packs: int = 3_000
    messages: int = 3_000
    receipts: int = 300
    devices: int = 10_000
    few_devices: int = 1_000
    latency_messages: int = 10_000
    latency_rate: float = 1_000.0
    peer_messages: int = 500
    peer_seconds: float = 2.0
    overload_s: float = 60.0
    factory_devices: int = 100_000


QUICK = Settings(
    runs=2,
    raw_seconds=0.05,
    senders=5,
    singles=100,
    packs=10,
    messages=100,
    receipts=10,
    devices=300,
    few_devices=50,
    latency_messages=10,
    overload_s=4.0,
    factory_devices=200,
    latency_rate=50.0,
    peer_messages=20,
    peer_seconds=0.05,
)


def cores() -> int:
    """Processors this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1
