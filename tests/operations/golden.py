"""An aggregator's directory as each release wrote it.

Written by ``python -m tests.operations.golden --write``.
Made once a schema version and kept for ever: today's code has to open, audit, continue and rebuild
what every release before it wrote. Keys, clock and randomness are fixed, so that the same story can
be told again and compared.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from depin_id.keys import Curve, SoftwareSigner
from depin_id.readings import reading
from depin_id.testing import NOW
from tests.verify.net import Net, level
from verify.store import KeyStore
from verify.store.journal_schema import SCHEMA

FOLDER = Path(__file__).parent / "data"
NEWEST = FOLDER / f"aggregator-v{SCHEMA}.tar.xz"
KEPT = ("journal", "keys", "network", "quarantine", "public/log", "public/card.cbor", "policy.toml")
LATER = 'default_profile = "noise"\n[quota]\ndevice_per_minute = 900\n'


@contextmanager
def fixed() -> Iterator[None]:
    """No randomness but what follows from counting."""
    count = [0]

    def draw(size: int) -> bytes:
        count[0] += 1
        return hashlib.shake_256(b"golden %d" % count[0]).digest(size)

    def generate(curve: Curve = "ed25519") -> SoftwareSigner:
        return SoftwareSigner(curve, draw(32))

    defaults = KeyStore.open.__kwdefaults__
    with (
        patch.dict(defaults, randomness=draw),
        patch.object(SoftwareSigner, "generate", staticmethod(generate)),
    ):
        yield


def tell(folder: Path) -> Net:
    """The story: a bit of everything that a journal can hold, in two sealed files and an open one.

    It ends closed; ``folder/aggregator`` is the directory.
    """
    with fixed():
        net = Net(folder)
        first, gone, late = net.device(), net.device("gone"), net.device("late")
        gateway = net.gateway()
        sensor = net.device("sensor")
        for number in range(4):
            net.advance(2)
            net.send(first, first.next([level(50 + number, net.now_ms / 1000)]))
            net.send(gone, gone.next([level(60 + number, net.now_ms / 1000)]))
        net.aggregator.journal.rotate()
        inner = sensor.next([level(44, net.now_ms / 1000)])
        net.send(gateway, gateway.wrap(inner), b"\x00")
        net.send(first, first.next([reading("laeq", 9999, "dB", net.now_ms / 1000)]))
        net.policy(LATER)
        stranger = net.make("stranger")
        net.send("somebody", stranger.next([level(45, net.now_ms / 1000)]))
        net.enrol(stranger)
        net.aggregator.take_parked(stranger.key.kid)
        net.advance(30)
        net.send(late, late.next([level(46, net.now_ms / 1000)]))
        fork = late.envelope([level(47, net.now_ms / 1000)], n=0)
        net.send(late, fork)
        fresh = net.rotate(late)
        net.send(fresh, fresh.next([level(48, net.now_ms / 1000)]))
        net.erase(gone)
        net.aggregator.journal.rotate()
        net.revoke(sensor)
        net.send("nobody", net.make("unknown").next([level(49, net.now_ms / 1000)]))
        net.send(first, first.next([level(51, net.now_ms / 1000)]))
        net.close()
    return net


def pack(root: Path, file: Path) -> None:
    """Keep a directory."""

    def plain(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        info.mtime = NOW
        return None if info.name.endswith("lock") else info

    with tarfile.open(file, "w:xz", preset=9) as tar:
        for name in KEPT:
            tar.add(root / name, arcname=name, filter=plain)


def unpack(file: Path, target: Path) -> Path:
    """A kept directory, as it was."""
    with tarfile.open(file) as tar:
        tar.extractall(target, filter="tar")
    target.chmod(0o700)
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the newest version's file")
    if not parser.parse_args().write:
        parser.error("nothing to do without --write")
    folder = Path(tempfile.mkdtemp())
    try:
        pack(tell(folder).root, NEWEST)
    finally:
        shutil.rmtree(folder)
    print(NEWEST, NEWEST.stat().st_size)


if __name__ == "__main__":
    main()
