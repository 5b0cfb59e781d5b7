"""The job of every peer, in its own environment: no import from this project, only from Python.

Each peer makes signed one-reading messages, then decodes and verifies them until time is up, on one
core; it prints one JSON object. Run by :mod:`bench.peers.run`, never imported there.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

_HEAD, _TAIL = bytes.fromhex("81a400646c6165710162644202c4822019"), bytes.fromhex("061a68e77800")
READING = {"n": "laeq", "u": "dB", "v": 55.4, "t": 1_760_000_000}


def payload(number: int) -> bytes:
    """One reading as SenML-CBOR: ``[{n: "laeq", u: "dB", v: 4([-1, value]), t: 1760000000}]``."""
    return _HEAD + (256 + number % 65_000).to_bytes(2, "big") + _TAIL


def measure(messages: Sequence[Any], take: Callable[[Any], object], seconds: float) -> None:
    """Take messages in turn for a while, and print how fast that was.

    Args:
        messages: as received. take: decodes and verifies one; raises when it does not verify.
    """
    for message in messages:
        take(message)  # caches are warm, and all of them verify
    count = 0
    began, used = time.perf_counter(), time.process_time()
    while time.perf_counter() - began < seconds:
        for message in messages:
            take(message)
        count += len(messages)
    result = {
        "count": count,
        "wall": time.perf_counter() - began,
        "processor": time.process_time() - used,
    }
    print(json.dumps(result))


def budget() -> tuple[int, float]:
    """Messages and seconds, from the command line."""
    return int(sys.argv[1]), float(sys.argv[2])
