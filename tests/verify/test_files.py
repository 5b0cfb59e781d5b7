"""A journal of several files: the same verdicts, positions and proofs as one of one file."""

from __future__ import annotations

from pathlib import Path

import pytest

from depin_id.errors import StateError
from depin_id.testing import NOW
from tests.verify.net import Net, level
from verify.audit import audit
from verify.dataset import verify_dataset
from verify.reading import Reader
from verify.receipt import check_receipt, make_receipt


def test_positions_are_known_across_files_and_audit_passes(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        device, clone = net.device(), net.make()
        sent = [device.next([level(50 + n, NOW - 90 + n)]) for n in range(3)]
        assert net.send(device, sent[0], sent[2]).accepted == 2
        net.aggregator.journal.rotate()
        again = net.send(device, sent[0], sent[2])
        assert (again.duplicates, again.accepted) == (2, 0)
        other = clone.envelope([level(70, NOW - 80)], n=0)
        assert net.send(device, other).rejected == {"sequence.forked": 1}
        net.aggregator.journal.rotate()
        net.reopen(forget_snapshot=True)
        assert net.send(device, sent[1]).rejected == {"key.suspended": 1}
        assert len(net.aggregator.journal.files()) == 3
        index = net.size - 1
    report = audit(net.root)
    assert report.ok, report.to_json()
    assert verify_dataset(net.root / "public", keys=None, network=net.did).complete
    with Reader(net.root) as reader:
        checked = check_receipt(make_receipt(reader, index), network=net.did)
    assert checked.to_json()["verdict"] == "key.suspended"


def test_an_older_journal_cannot_rewrite_the_published_log(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        device = net.device()
        net.send(device, device.envelope([level(50, NOW - 10)], n=0))
        net.close()
        older = {path.name: path.read_bytes() for path in (net.root / "journal").glob("*.db")}
        net.reopen()
        net.send(device, device.envelope([level(51, NOW - 9)], n=1))
        net.close()
        for path in (net.root / "journal").glob("*.db*"):
            path.unlink()
        for name, data in older.items():
            (net.root / "journal" / name).write_bytes(data)
        with pytest.raises(StateError) as caught:
            net.reopen()
        assert caught.value.code == "state.rewrites_log"
