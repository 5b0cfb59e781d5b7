"""A dataset whose log agrees with it, and whose devices do not: the operator made it up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from depin_id.errors import DatasetError
from tests.dataset.support import refuses
from tests.verify.net import Net, level
from verify.checks import payload
from verify.checks.pack import PackOutcome, judge_pack
from verify.dataset import verify_dataset
from verify.dataset.rows import CheckedEntry, check_entry
from verify.dataset.signed import check_signed
from verify.leaf import EnvelopeLeaf


def test_what_devices_signed_passes_and_what_rests_on_the_log_is_counted(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        device, gateway = net.device(curve="p256"), net.gateway()
        net.send(gateway, gateway.wrap(device.next([level()])))
        net.send(gateway, gateway.next([level(51)], subject="#one"))
        net.send(device, device.next([level(500)]))
        net.aggregator.publish()
        assert verify_dataset(net.root / "public", keys=None).unproven == 0
        fresh = net.rotate(device)
        net.send(fresh, fresh.next([level(52, device.now - 9)]))
        net.aggregator.publish()
        assert verify_dataset(net.root / "public", keys=None).unproven == 1


def test_values_that_the_operator_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = judge_pack

    def changed(*sent: Any, **known: Any) -> PackOutcome:
        outcome = honest(*sent, **known)
        assert outcome.columns is not None
        return outcome._replace(columns=outcome.columns._replace(mantissas=[99], exponents=[0]))

    monkeypatch.setattr(payload, "judge_pack", changed)
    with Net(tmp_path) as net:
        device = net.device()
        net.send(device, device.next([level(50)]))
        net.aggregator.publish()
        refuses("dataset.signature", lambda: verify_dataset(net.root / "public", keys=None))


def test_bytes_that_nobody_signed(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        device, other = net.device(), net.device("other")
        net.send(device, device.next([level(50)]))
        size = net.size
        (entry,) = [
            item
            for item in net.aggregator.publisher.open_entries(0, size)
            if item.records is not None
        ]
        good = check_entry(entry)
        assert check_signed(good, net.did)
        assert entry.envelope is not None and good.content is not None
        assert isinstance(good.leaf, EnvelopeLeaf)
        forged = replace(entry, envelope=entry.envelope[:-1] + bytes([entry.envelope[-1] ^ 1]))
        for wrong in (
            CheckedEntry(forged, good.leaf, good.content),
            CheckedEntry(entry, good.leaf._replace(n=7), good.content),
            CheckedEntry(entry, good.leaf, replace(good.content, did=other.did)),
            CheckedEntry(entry, good.leaf, replace(good.content, subject=other.did)),
            CheckedEntry(entry, good.leaf, replace(good.content, rows=())),
        ):
            with pytest.raises(DatasetError, match="not what their device signed"):
                check_signed(wrong, net.did)
        with pytest.raises(DatasetError):
            check_signed(good, other.did)
