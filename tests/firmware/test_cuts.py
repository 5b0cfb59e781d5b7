"""Power cuts at random instructions of emulated devices: no position is signed twice."""

from __future__ import annotations

import hashlib
import struct
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from depin_id import cbor
from tests.firmware.emulator import TARGETS, run

CUTS = {"m0": 1000, "m3": 1500, "m4": 1500, "rv32": 1500}
"""Fewer where it is the same code in another encoding, and the slowest to run."""
_HEAD = struct.Struct("<cIHHH")
_PROVENANCE = -65537
_LOST = -7


@dataclass(frozen=True)
class Told:
    """A record of the log: what happened, in which boot, and its stores begun and done by then."""

    kind: str
    boot: int
    begun: int
    done: int
    data: bytes

    @property
    def number(self) -> int:
        return int.from_bytes(self.data, "little", signed=True)


def read_log(data: bytes) -> list[Told]:
    found = []
    at = 0
    while at < len(data):
        kind, boot, begun, done, size = _HEAD.unpack_from(data, at)
        at += _HEAD.size + size
        found.append(Told(kind.decode(), boot, begun, done, data[at - size : at]))
    assert at == len(data)
    return found


@dataclass
class Judge:
    """Reads a log from its begin to its end and holds against it what a device may never do."""

    signed: dict[tuple[int, int], bytes] = field(default_factory=dict)
    epoch: int = 0
    boot: int = -1
    last_boot: int = -1
    next: int = 0
    prev: bytes = bytes(16)
    nonce: bytes = b""
    damaged: bool = False
    above: int = -1
    skipped: int = 0

    def take(self, told: Told) -> None:
        if (act := getattr(self, f"_{told.kind}", None)) is not None:
            act(told)

    def _s(self, told: Told) -> None:
        structure = cbor.decode(told.data)
        assert isinstance(structure, list) and structure[0] == "Signature1"
        header = cbor.decode(structure[1])
        assert isinstance(header, dict)
        epoch, n, prev, *_ = header[_PROVENANCE]
        assert (epoch, n) not in self.signed, "a position was signed twice"
        self.signed[epoch, n] = told.data
        if told.boot != self.boot:
            self._first(told, epoch)
        assert (epoch, n, prev) == (self.epoch, self.next, self.prev)
        assert told.begun == told.done >= 1, "signed before its boot was durable"
        self.next, self.prev = n + 1, hashlib.sha256(told.data).digest()[:16]

    def _first(self, told: Told, epoch: int) -> None:
        # Each boot takes one epoch; one that was cut off, or found a damaged record, two.
        boots = told.boot - self.last_boot
        assert self.epoch < epoch <= max(self.epoch, self.above) + 2 * boots, "gaps are bounded"
        assert epoch > self.above
        self.skipped += epoch - self.epoch - 1
        self.epoch, self.boot, self.last_boot = epoch, told.boot, told.boot
        self.next, self.prev, self.nonce = 0, bytes(16), b""

    def _e(self, told: Told) -> None:
        item = cbor.decode(told.data)
        protected, _, payload, signature = item.value
        assert self.signed[self.epoch, self.next - 1].endswith(cbor.encode(payload))
        assert cbor.encode(protected) in self.signed[self.epoch, self.next - 1]
        assert len(signature) == 64 and told.boot == self.boot

    def _d(self, told: Told) -> None:
        self.damaged = True
        self.nonce = b""

    def _n(self, told: Told) -> None:
        assert self.damaged, "lost without damage"
        assert self.nonce in (b"", told.data), "another nonce before the first was answered"
        self.nonce = told.data

    def _r(self, told: Told) -> None:
        self.above, self.nonce = told.number, b""

    def _x(self, told: Told) -> None:
        assert told.number == _LOST and self.damaged


def judge(log: list[Told]) -> Judge:
    found = Judge()
    for told in log:
        found.take(told)
    return found


@pytest.mark.parametrize("target", TARGETS)
def test_no_position_is_signed_twice_whenever_the_power_goes(target: str, tmp_path: Path) -> None:
    seed = int.from_bytes(hashlib.sha256(target.encode()).digest()[:4], "little")
    (tmp_path / "seed").write_bytes(struct.pack("<II", seed, CUTS[target]))
    run(target, "cuts", tmp_path)
    log = read_log((tmp_path / "cuts").read_bytes())
    assert log[-1].kind == "z", "it did not come to its end"

    count = Counter(told.kind for told in log)
    found = judge(log)
    cuts = CUTS[target]
    assert count["c"] == cuts
    assert count["s"] == len(found.signed) > cuts
    # Each of what can go wrong did, and often enough to mean something.
    torn = [told for told in log if told.kind == "c" and told.data]
    assert len(torn) > 100 and len({told.data for told in torn}) > 60, "cuts inside a store"
    assert count["s"] - count["e"] > 100, "cuts between a signature and its envelope"
    assert count["r"] > 15 and count["d"] > 40, "losses and resumes"
    assert found.skipped < 2 * cuts


def test_a_device_that_signs_twice_would_be_seen(tmp_path: Path) -> None:
    (tmp_path / "seed").write_bytes(struct.pack("<II", 7, 60))
    run("m4", "cuts", tmp_path)
    log = read_log((tmp_path / "cuts").read_bytes())
    judge(log)
    signed = [told for told in log if told.kind == "s"]
    again = Told("s", log[-1].boot + 1, 1, 1, signed[-1].data)
    with pytest.raises(AssertionError, match="signed twice"):
        judge([*log, again])
    early = [t if t is not signed[0] else Told("s", t.boot, 1, 0, t.data) for t in log]
    with pytest.raises(AssertionError, match="durable"):
        judge(early)
    whole = [told for told in log if told.kind != "d"]
    if any(told.kind in "nx" for told in log):
        with pytest.raises(AssertionError):
            judge(whole)
