"""Whatever happens: no level without a result of its boot, and the audit agrees."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from depin_id import cbor
from depin_id.attestation.ear import decode_result
from depin_id.attestation.result import CONTRAINDICATED, AttestationResult
from depin_id.errors import DepinError
from depin_id.testing import TestDevice
from tests.results import toy
from tests.verify.net import POLICY, Net, level, picture
from verify.audit import audit
from verify.entries import Judged, Rotated
from verify.replay import Opener
from verify.results.entries import Disavowed, ResultTaken
from verify.store import Quarantine

SHARING = "[attestation]\ndids_per_root = 2\nmax_age_s = 3000\n"
STEP = st.tuples(
    st.sampled_from(
        ["send", "send", "send", "attest", "attest", "reboot", "pass", "crash"]
        + ["insecure", "unapproved", "revoke", "erase", "rotate", "again", "future"]
    ),
    st.integers(0, 1),
    st.integers(1, 4000),
)


@pytest.fixture(scope="module", autouse=True)
def format_of_toys() -> Iterator[None]:
    with toy.toys():
        yield


class Story:
    """Two devices on one piece of hardware, and what becomes of them."""

    def __init__(self, net: Net) -> None:
        self.net = net
        self.devices = [net.device("one"), net.device("two")]
        self.dids = [device.did for device in self.devices]
        self.roots = [b"\x05" * 32, b"\x05" * 32]
        self.sent: list[tuple[TestDevice, bytes]] = []
        self.number = count()

    def step(self, what: str, who: int, amount: int) -> None:
        if what == "pass":
            self.net.advance(amount)
            return
        if what == "crash":
            self.net.reopen(forget_snapshot=bool(amount % 2))
            return
        device = self.devices[who]
        try:
            self._act(what, who, device, amount)
        except DepinError:
            pass  # refused: nothing came of it

    def _act(self, what: str, who: int, device: TestDevice, amount: int) -> None:
        net, root = self.net, self.roots[who]
        acts: dict[str, Callable[[], Any]] = {
            "reboot": device.reboot,
            "attest": lambda: toy.attest(net, device, device.epoch, root=root),
            "insecure": lambda: toy.attest(net, device, device.epoch, root=root, secure=False),
            "future": lambda: toy.attest(net, device, device.epoch + 1, root=root),
            "unapproved": lambda: toy.attest(
                net, device, device.epoch, root=root, firmware=toy.BAD
            ),
            "revoke": lambda: toy.revoke(net, root, since=max(0, net.now_ms - amount * 1000)),
            "erase": lambda: self._erase(who) if amount < 400 else None,
            "rotate": lambda: self._rotate(who),
            "send": lambda: self._send(device),
            "again": lambda: self.sent and net.send(*self.sent[amount % len(self.sent)]),
        }
        acts[what]()

    def _send(self, device: TestDevice) -> None:
        device.now = self.net.now_ms // 1000
        envelope = device.next([level(40 + next(self.number), device.now)])
        self.sent.append((device, envelope))
        self.net.send(device, envelope)

    def _erase(self, who: int) -> None:
        held = self.net.fold.registry.device(self.dids[who])
        assert held is not None
        self.net.aggregator.erase(held)

    def _rotate(self, who: int) -> None:
        fresh = self.net.make(f"next {next(self.number)}")
        entry = Rotated(self.dids[who], fresh.key, self.net.now_ms)
        self.net.aggregator.administer([entry])
        # It is the same device, under its first key's DID.
        fresh.enrolment = replace(fresh.enrolment, did=self.dids[who])
        self.devices[who] = fresh


def entries(net: Net) -> Iterator[tuple[Any, int]]:
    opener = Opener(net.fold, net.aggregator.keys)
    for stored in net.aggregator.journal.entries():
        opened = opener.open(stored)
        yield opened.entry, opened.at


def grounded(net: Net) -> None:
    """Every accepted entry of a level stands on a result that was good for it."""
    results: dict[bytes, tuple[AttestationResult, int]] = {}
    unseen: set[bytes] = set()
    disavowed: dict[bytes, int] = {}
    leaves = iter(net.leaves())
    for entry, at in entries(net):
        if isinstance(entry, ResultTaken):
            if entry.private is None:
                unseen.add(entry.digest[:16])
            else:
                payload, *_ = cbor.decode(entry.private, max_bytes=1 << 20)
                results[entry.digest[:16]] = decode_result(payload), at
        elif isinstance(entry, Disavowed):
            for identity in entry.ids:
                disavowed[identity] = min(entry.since, disavowed.get(identity, entry.since))
        elif isinstance(entry, Judged):
            leaf = next(leaves)
            if leaf.code != "accepted" or leaf.level not in ("D2", "D3"):
                continue
            identity = entry.change.result
            assert identity, "a level without a result"
            if identity in unseen:
                continue
            result, taken = results[identity]
            assert (result.boot, result.thumbprint) == (leaf.epoch, entry.change.thumbprint)
            assert result.level == leaf.level
            assert result.vector.status < CONTRAINDICATED
            assert at < result.not_after
            assert taken <= at or "parked" in entry.receipt_flags
            assert at < disavowed.get(identity, at + 1)


@pytest.mark.parametrize("required", [True, False])
@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(steps=st.lists(STEP, min_size=4, max_size=22))
def test_no_level_without_a_result_of_its_boot(
    required: bool, steps: list[tuple[str, int, int]]
) -> None:
    base = POLICY + SHARING + ('[attestation.required]\nnoise = "D2"\n' if required else "")
    with TemporaryDirectory() as folder, Net(Path(folder), policy=base) as net:
        toy.trust_toys(net)
        story = Story(net)
        for step in steps:
            story.step(*step)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Quarantine, "delete", lambda *_: 0)
            story.step("attest", 0, 1)
        net.reopen(forget_snapshot=True)
        before = picture(net.fold)
        net.reopen()
        assert picture(net.fold) == before
        grounded(net)
        net.close()
        report = audit(net.root)
        assert report.ok, report.difference
