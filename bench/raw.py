"""The yardstick: Ed25519 verification by PyNaCl and nothing else."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from nacl.bindings import crypto_sign_open
from nacl.signing import SigningKey

from bench.settings import cores
from bench.table import Row
from bench.world import Lab

MESSAGE = 256
"""About what is signed of a one-reading envelope, in bytes."""
_KEYS = 64


def _signed() -> list[tuple[bytes, bytes]]:
    keys = [SigningKey.generate() for _ in range(_KEYS)]
    return [(bytes(key.sign(os.urandom(MESSAGE))), bytes(key.verify_key)) for key in keys]


_SIGNED = _signed()


def _verify_until(deadline: float) -> int:
    count = 0
    while time.perf_counter() < deadline:
        for signed, key in _SIGNED:
            crypto_sign_open(signed, key)
        count += _KEYS
    return count


def raw_rate(seconds: float, threads: int | None = None) -> float:
    """Verifications a second, on all cores unless told otherwise. PyNaCl releases the GIL."""
    threads = threads or cores()
    with ThreadPoolExecutor(threads) as pool:
        start = time.perf_counter()
        counts = list(pool.map(_verify_until, [start + seconds] * threads))
        return sum(counts) / (time.perf_counter() - start)


def raw_cost(seconds: float) -> float:
    """Processor seconds of one verification."""
    start = time.process_time()
    count = _verify_until(time.perf_counter() + seconds)
    return (time.process_time() - start) / max(1, count)


@dataclass(frozen=True)
class Spent:
    """What a number of envelopes took.

    Attributes:
        envelopes: how many. wall, processor: seconds until all was published.
        publishing: seconds of it after the last commit.
    """

    envelopes: int
    wall: float
    processor: float
    publishing: float


@dataclass
class Beside:
    """Runs with raw verification measured just before and just after each of them.

    In pairs, because a shared machine's speed drifts between one minute and the next.

    Attributes:
        rates: envelopes a second. ratios: to raw verification on all cores.
        costs: processor microseconds an envelope. cost_ratios: to that of one raw verification.
    """

    runs: list[Spent] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)
    cost_ratios: list[float] = field(default_factory=list)

    def add(self, run: Callable[[], Spent], seconds: float) -> None:
        """Carry out one run between two measurements of the yardstick."""
        before = raw_rate(seconds)
        one = raw_cost(seconds / 2)
        spent = run()
        after = raw_rate(seconds)
        self.runs.append(spent)
        self.rates.append(spent.envelopes / spent.wall)
        self.ratios.append(2 * self.rates[-1] / (before + after))
        self.costs.append(1e6 * spent.processor / spent.envelopes)
        self.cost_ratios.append(self.costs[-1] / 1e6 / one)


def measure(lab: Lab) -> list[Row]:
    """Raw verification on one core and on all."""
    seconds, runs = lab.settings.raw_seconds, range(lab.settings.runs)
    pairs = [(raw_rate(seconds, 1), raw_rate(seconds)) for _ in runs]
    return [
        Row("raw", "raw PyNaCl verification, one core", "/s", [one for one, _ in pairs]),
        Row(
            "raw",
            "raw PyNaCl verification, all cores",
            "/s",
            [every for _, every in pairs],
            [every / one for one, every in pairs],
            "one core",
        ),
    ]
