"""What a small aggregator writes, the same in every run: material for seeds."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from firmware_bridge.spool import Spool
from tests.verify.net import Net
from verify.reading import Reader
from verify.receipt import make_receipt
from verify.simulate import Plan, write


@dataclass
class Material:
    """Bytes of each kind, and files by name."""

    receipts: list[bytes] = field(default_factory=list)
    leaves: list[bytes] = field(default_factory=list)
    records: list[bytes] = field(default_factory=list)
    deltas: list[bytes] = field(default_factory=list)
    journal: bytes = b""
    spool: bytes = b""


def _make() -> Material:
    folder = Path(tempfile.mkdtemp(prefix="depin-fuzz-"))
    try:
        write(Plan(1, 0), folder / "run", aggregator=False)
        return _read(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _read(folder: Path) -> Material:
    made = Material()
    with Net(folder, network=folder / "run" / "network") as net:
        device, gateway = net.device(), net.gateway()
        first = device.next()
        net.send(device, first)
        net.send(gateway, gateway.wrap(device.next()))
        net.send(device, device.envelope(n=9, payload=b"\x80"))
        net.revoke(gateway)
        net.aggregator.publish()
    with Reader(net.root) as reader:
        for index in range(reader.size):
            opened = reader.opened(index)
            made.leaves.append(opened.stored.leaf)
            made.deltas.append(opened.stored.delta)
            made.receipts.append(make_receipt(reader, index))
            if opened.private is not None and opened.private.records is not None:
                made.records.append(opened.private.records)
    paths = sorted((net.root).rglob("journal-*.db"))
    made.journal = paths[0].read_bytes()
    with Spool.open(folder / "spool.db") as spool:
        spool.put([(bytes(32), first)])
    made.spool = (folder / "spool.db").read_bytes()
    return made


MATERIAL = _make()
