"""Histories of identities: verify a whole did:webvh log and use it, look up keys by time."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from random import Random
from typing import Final

from bench.peers import Peer, PeerMissing, call, environment
from bench.raw import raw_cost
from bench.table import Row, Target
from bench.world import BenchError, Lab
from depin_id.did.webvh import (
    create,
    documents,
    extend,
    make_document,
    parameters,
    rotate,
    verify_log,
)
from depin_id.did.webvh.times import format_time
from depin_id.keys import SoftwareSigner

GROUP: Final = "identity"
ENTRIES: Final = 1_000
LOOKUPS: Final = 200_000
WEBVH: Final = Peer("did-webvh", "peer_webvh.py", "verify a log and resolve a time in it", "")
_BEGIN: Final = 1_700_000_000_000
_STEP: Final = 3_600_000
_NOW: Final = _BEGIN + 10 * ENTRIES * _STEP


def make_log(count: int) -> bytes:
    """A log with pre-rotation: every entry brings a new update key and a new device key."""
    signers = [SoftwareSigner.generate() for _ in range(count + 1)]
    keys = [signer.public_key for signer in signers]
    log = create("example.com:device", signers[0], now_ms=_BEGIN, next_keys=[keys[1]])
    history = verify_log(log, now_ms=_NOW)
    for number in range(1, count):
        device = {"key-1": SoftwareSigner.generate().public_key}
        log += rotate(
            history,
            signers[number],
            now_ms=_BEGIN + number * _STEP,
            next_keys=[keys[number + 1]],
            document=make_document(history.did, device),
        )
        history = extend(history, log, now_ms=_NOW)
    return log


def _seconds(action: Callable[[], object], least: float) -> float:
    """Processor seconds of an action."""
    count, used, ends = 0, time.process_time(), time.perf_counter() + least
    while not count or time.perf_counter() < ends:
        action()
        count += 1
    return (time.process_time() - used) / count


def measure(lab: Lab) -> list[Row]:
    """Ours and did-webvh on one log, and what a look-up takes."""
    settings = lab.settings
    count = min(ENTRIES, settings.singles)
    log = make_log(count)
    middle = _BEGIN + count // 2 * _STEP
    folder = lab.folder / "history"
    folder.mkdir()
    (folder / "did.jsonl").write_bytes(log)

    def use() -> None:
        # As if seen for the first time: keys that were admitted before are remembered.
        for remembered in (parameters.admitted, parameters.key_hash, documents.cached_key):
            remembered.cache_clear()
        if verify_log(log, now_ms=_NOW).key_at(middle) is None:
            raise BenchError("the history has no key in its middle")

    raws = [raw_cost(settings.raw_seconds) for _ in range(settings.runs)]
    ours = [_seconds(use, settings.peer_seconds) for _ in range(settings.runs)]
    rows = []
    try:
        python, version = environment(WEBVH)
        words = ("measure", str(folder), format_time(middle), str(settings.peer_seconds))
        theirs = []
        for _ in range(settings.runs):
            found = call(python, WEBVH.script, *words)
            theirs.append(found["processor"] / found["count"])
        ratios = [raw * count / cost for raw, cost in zip(raws, theirs, strict=True)]
        name = f"did-webvh {version}: the same log"
        rates = [count / cost for cost in theirs]
        rows.append(Row(GROUP, name, "entries/s", rates, ratios, "raw PyNaCl, one core"))
        against = [cost / mine for cost, mine in zip(theirs, ours, strict=True)]
        target, of = Target(5.0), "did-webvh"
    except PeerMissing as missing:
        print(f"history: did-webvh is left out: {missing}", file=sys.stderr)
        against = [raw * count / mine for raw, mine in zip(raws, ours, strict=True)]
        target, of = None, "raw PyNaCl, one core"
    name = f"did:webvh history of {count} entries verified and used"
    rates = [count / mine for mine in ours]
    return [*rows, Row(GROUP, name, "entries/s", rates, against, of, target), *_uses(lab, log)]


def _uses(lab: Lab, log: bytes) -> list[Row]:
    """What is done with a verified history: a look-up, and one more entry."""
    settings, random = lab.settings, Random(1)
    history = verify_log(log, now_ms=_NOW)
    last = history.last.version_time_ms
    times = [random.randint(_BEGIN, last) for _ in range(LOOKUPS)]
    look_up = history.key_at
    look_up(last)
    rates, ratios, more, grown = [], [], [], []
    head = log[: log.rstrip(b"\n").rindex(b"\n") + 1]
    shorter = verify_log(head, now_ms=_NOW)
    for _ in range(settings.runs):
        raw = raw_cost(settings.raw_seconds)
        used = time.process_time()
        for moment in times:
            look_up(moment)
        rates.append(LOOKUPS / (time.process_time() - used))
        ratios.append(rates[-1] * raw)
        cost = _seconds(lambda: extend(shorter, log, now_ms=_NOW), settings.raw_seconds)
        more.append(1 / cost)
        grown.append(raw / cost)
    of = "raw PyNaCl, one core"
    return [
        Row(GROUP, "key at a time", "/s", rates, ratios, of, Target(1e6, "value")),
        Row(GROUP, "history extended by one entry", "/s", more, grown, of),
    ]
