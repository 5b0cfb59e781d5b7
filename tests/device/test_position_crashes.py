"""Processes and machines that die anywhere, at random: no position is ever used twice."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from depin_id import Device, reading
from depin_id.envelope import NO_PREV, parse_envelope
from depin_id.errors import StateError
from depin_id.keys import CallbackSigner, SoftwareSigner
from depin_id.position import Position, PositionStore
from tests.device.support import NETWORK

KEY = bytes(range(32))
BOOT = bytes(16)
NETWORKS = ("did:key:a", "did:key:b")
SUBJECTS = (None, "#s")
SEEDS = 30
STEPS = 60


class Killed(BaseException):
    """What no handler of the code catches."""


class Machine:
    """A disk, and processes on it one after the other; each may die at any call of the system."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.folder = folder
        self.boots, self.left, self.carried = 1, 0, 0
        self.used = set[tuple[str, str | None, int, int]]()
        self.heads: dict[tuple[str, str | None], bytes] = {}
        folder.mkdir()
        PositionStore.create(folder, KEY)
        self.keep()
        self.store = self.open()

    def open(self) -> PositionStore:
        named = self.boots.to_bytes(16) if self.random.random() < 0.8 else None
        return PositionStore(self.folder, KEY, boot=named)

    def keep(self) -> None:
        """What is there after a power cut from now on."""
        self.durable = {item.name: item.read_bytes() for item in self.folder.iterdir()}

    def through(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The call, and now and then death before or after it."""

        def passed(*arguments: Any, **named: Any) -> Any:
            self.left -= 1
            if self.left == 0 and self.random.random() < 0.5:
                raise Killed
            found = call(*arguments, **named)
            if self.left == 0:
                raise Killed
            return found

        return passed

    def run(self) -> None:
        for _ in range(STEPS):
            self.left = self.random.randrange(1, 8) if self.random.random() < 0.3 else 0
            try:
                self.step()
            except Killed:
                self.die()

    def die(self) -> None:
        self.left = 0
        if self.random.random() < 0.3:
            # The power fails: what was not synced is lost, and the machine boots anew.
            for item in self.folder.iterdir():
                item.unlink()
            for name, data in self.durable.items():
                (self.folder / name).write_bytes(data)
            self.boots += 1
        self.store = self.open()

    def step(self) -> None:
        action = self.random.choice(("sign", "sign", "sign", "share", "end", "end", "die"))
        if action == "sign":
            self.sign(self.random.choice(NETWORKS), self.random.choice(SUBJECTS))
        elif action == "share":
            self.store.share(NETWORKS[0])
        elif action == "end":
            self.store.close()
            self.store = self.open()
        else:
            self.die()

    def sign(self, network: str, subject: str | None) -> None:
        with self.store.take(network, subject) as taken:
            taken.used(self.random.randbytes(8))
            at = (network, subject, taken.epoch, taken.n)
            assert at not in self.used
            assert taken.prev in (NO_PREV, self.heads.get((network, subject)))
            self.used.add(at)
            self.carried += self.store._shared and taken.n > 0
            self.heads[network, subject] = self.store._streams[network, subject or ""].head


def test_whatever_dies_no_position_is_used_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    carried = epochs = 0
    for seed in range(SEEDS):
        machine = Machine(tmp_path / str(seed), seed)
        with monkeypatch.context() as patched:
            for name in ("rename", "unlink"):
                patched.setattr(os, name, machine.through(getattr(os, name)))
            patched.setattr(os, "fsync", machine.through(lambda _, of=machine: of.keep()))
            machine.run()
        carried += machine.carried
        epochs += machine.store.epoch
    # It was about something.
    assert carried > SEEDS and epochs > SEEDS * 3


# --- closed while somebody is about to sign ------------------------------------------------------


def test_a_store_that_was_closed_gives_no_position(tmp_path: Path) -> None:
    """Another thread is past every check when the device is closed: the next goes on from there."""
    PositionStore.create(tmp_path, KEY)
    store = PositionStore(tmp_path, KEY, boot=BOOT)
    store.share(NETWORKS[0])
    late = store.take(NETWORKS[0], None)
    store.close()
    with pytest.raises(StateError) as refused, late:
        pass
    assert refused.value.code == "state.closed"
    for use in (lambda: store.share(NETWORKS[0]), lambda: store.resume_nonce(NETWORKS[0])):
        with pytest.raises(StateError, match="closed"):
            use()
    after = PositionStore(tmp_path, KEY, boot=BOOT)
    with after.take(NETWORKS[0], None) as position:
        assert (position.epoch, position.n) == (1, 0)


def test_a_signal_that_closes_the_device_stops_what_is_being_signed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handler runs in the thread that holds the lock, between two of its instructions."""
    inner = SoftwareSigner.generate()
    signed = list[bytes]()

    def sign(message: bytes) -> bytes:
        signed.append(message)
        return inner.sign(message)

    signer = CallbackSigner(inner.public_key, sign)
    Device.create(tmp_path / "d", signer=inner).close()
    device = Device.open(tmp_path / "d", signer=signer, boot=BOOT)
    device._positions.share(NETWORK.did)
    used = Position.used

    def interrupted(self: Position, message: bytes) -> None:
        device.close()
        used(self, message)

    with monkeypatch.context() as patched:
        patched.setattr(Position, "used", interrupted)
        with pytest.raises(StateError, match="closed"):
            device.sign([reading("LAeq", 50, "dB")], network=NETWORK.did)
    assert not signed
    with Device.open(tmp_path / "d", signer=signer, boot=BOOT) as again:
        found = parse_envelope(again.sign([reading("LAeq", 50, "dB")], network=NETWORK.did))
        assert (found.provenance.epoch, found.provenance.n) == (1, 0)
    assert len(signed) == 1
